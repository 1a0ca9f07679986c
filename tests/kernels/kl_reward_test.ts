import { assertEquals } from "deno-std/assert/mod.js";
import { klReward, klRewardReference, type RewardOptions } from "../../kernels/kl_reward.ts";
import golden from "../oracles/golden/ppo_losses.json" with { type: "json" };
import { assertClose, gpuTest } from "./testing.ts";

const { B, T, beta, old, ref, last, hasEos, scores, rewards, variants } = golden.ppo;
const host = { logprob: old.flat(), reference: ref.flat(), last, hasEos, scores };

const cases: [string, RewardOptions, number[][]][] = [
  ["k1, the score behind the last token, −1 without EOS", { beta }, rewards],
  ["the score at the last token", { beta, scoreSlot: "last" }, variants.atLast],
  [
    "a penalty subtracted without EOS",
    { beta, missingEos: "subtract", missingEosValue: 1.5 },
    variants.subtract,
  ],
  ["nothing done about a missing EOS", { beta, missingEos: "none" }, variants.none],
  ["k2", { beta, estimator: 2 }, variants.k2],
  ["k3", { beta, estimator: 3 }, variants.k3],
];

for (const [name, options, expected] of cases) {
  gpuTest(`rewards are PyTorch's: ${name}`, async (gpu) => {
    const { reward, penalty } = gpu.scope(() => {
      const result = klReward(gpu, {
        logprob: gpu.from(Float32Array.from(host.logprob), [B, T], "logprob"),
        reference: gpu.from(Float32Array.from(host.reference), [B, T], "reference"),
        last: gpu.from(Uint32Array.from(last), [B], "last"),
        hasEos: gpu.from(Uint32Array.from(hasEos), [B], "hasEos"),
        scores: gpu.from(Float32Array.from(scores), [B], "scores"),
      }, options);
      return { reward: gpu.keep(result.reward), penalty: gpu.keep(result.penalty) };
    });
    const [actual, charged] = await gpu.read(reward, penalty);
    const inF64 = klRewardReference(host, options);
    assertClose(inF64.reward, expected.flat(), 1e-10, "reward in f64");
    assertClose(actual, expected.flat(), 1e-5, "reward");
    assertClose(charged, inF64.penalty, 1e-5, "penalty");
    assertEquals([...actual].slice(2, T), Array(T - 2).fill(0), "row 0 ends at its first token");
  });
}
