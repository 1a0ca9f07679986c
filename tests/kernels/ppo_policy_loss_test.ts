import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { liveSlots, unusedSlot } from "../../kernels/first_eos.ts";
import {
  policyStatistics,
  policySums,
  ppoPolicyLoss,
  ppoPolicyLossReference,
} from "../../kernels/ppo_policy_loss.ts";
import golden from "../oracles/golden/ppo_losses.json" with { type: "json" };
import { assertClose, assertGradient, gpuTest, normals, parameter } from "./testing.ts";

const { B, T, last, old, whitened } = golden.ppo;
const slots = liveSlots(last, T);
const logprob = Float32Array.from(slots, (slot) => golden.ppo.new.flat()[slot]);

for (const { low, high, dual, loss, gradient, ...expected } of golden.ppo.policy) {
  gpuTest(
    `the policy loss with clip −${low} +${high}, dual ${dual}, is PyTorch's in value, gradient and statistics`,
    async (gpu) => {
      const options = { denominator: slots.length, clipRange: { low, high }, dualClip: dual ?? undefined };
      const R = slots.length;
      const input = parameter(gpu, logprob, [R], "logprob");
      const sums = gpu.persistent([policySums.length], "sums");
      const value = gpu.scope(() => {
        const tensors = {
          slots: gpu.from(slots, [R], "slots"),
          oldLogprob: gpu.from(Float32Array.from(old.flat()), [B, T], "old"),
          advantages: gpu.from(Float32Array.from(whitened.flat()), [B, T], "advantages"),
        };
        return gpu.keep(
          gpu.differentiate(() =>
            ppoPolicyLoss(gpu, { logprob: input, ...tensors }, { ...options, into: sums }).loss
          ),
        );
      });
      const [actual, dlogprob, totals] = await gpu.read(value, input.grad!, sums);
      const host = { logprob, slots, oldLogprob: old.flat(), advantages: whitened.flat() };
      const inF64 = ppoPolicyLossReference(host, options);
      const dense = Array.from(slots, (slot) => gradient.flat()[slot]);
      assertClose([inF64.loss], [loss], 1e-9, "loss in f64");
      assertClose(inF64.gradient, dense, 1e-9, "gradient in f64");
      assertClose(actual, [loss], 1e-5, "loss");
      assertClose(dlogprob, dense, 1e-5, "gradient");
      for (let i = 0; i < policySums.length; i++) {
        assertClose([totals[i]], [inF64.sums[i]], 1e-5, policySums[i]);
      }
      for (const at of [inF64.sums, totals]) {
        const statistics = policyStatistics(at, B * T);
        const named: [string, number][] = [
          ["loss/policy_avg", loss],
          ["policy/approxkl_avg", expected.approxkl],
          ["policy/approxkl_k1", expected.k1],
          ["policy/approxkl_k3", expected.k3],
          ["policy/clipfrac_avg", expected.clipfrac],
          ["val/ratio", expected.ratio],
          ["val/ratio_var", expected.ratioVariance],
          ["val/ratio_max_change", expected.maxRatioChange],
          ["policy/approxkl_unmasked", expected.legacyApproxkl],
          ["policy/clipfrac_unmasked", expected.legacyClipfrac],
        ];
        for (const [name, number] of named) assertClose([statistics[name]], [number], 1e-5, name);
      }
      assertGradient(
        (point) => ppoPolicyLossReference({ ...host, logprob: point }, options).loss,
        logprob,
        inF64.gradient,
      );
    },
  );
}

gpuTest(
  "micro-batches with unused rows add up to the whole minibatch, in gradients and sums",
  async (gpu) => {
    const R = 500, slotCount = 700, denominator = R;
    const next = normals(R, 5, 0.4),
      oldLogprob = normals(slotCount, 6, 0.1),
      advantages = normals(slotCount, 7);
    const at = Uint32Array.from({ length: R }, (_, r) => (r * 13) % slotCount);
    const expected = ppoPolicyLossReference({ logprob: next, slots: at, oldLogprob, advantages }, {
      denominator,
      clipRange: 0.2,
    });
    const sums = gpu.persistent([policySums.length], "sums");
    let total = 0;
    for (const [begin, end] of [[0, 130], [130, 131], [131, 500]]) {
      const padded = new Uint32Array(end - begin + 3).fill(unusedSlot);
      padded.set(at.slice(begin, end));
      const rows = new Float32Array(padded.length).fill(NaN);
      rows.set(next.slice(begin, end));
      const input = parameter(gpu, rows, [rows.length], "logprob");
      const loss = gpu.scope(() => {
        const tensors = {
          slots: gpu.from(padded, [padded.length], "slots"),
          oldLogprob: gpu.from(oldLogprob, [slotCount], "old"),
          advantages: gpu.from(advantages, [slotCount], "advantages"),
        };
        const options = { denominator, clipRange: 0.2, into: sums };
        return gpu.keep(
          gpu.differentiate(() => ppoPolicyLoss(gpu, { logprob: input, ...tensors }, options).loss),
        );
      });
      const [value, gradient] = await gpu.read(loss, input.grad!);
      total += value[0];
      assertClose(
        gradient,
        [...expected.gradient.slice(begin, end), 0, 0, 0],
        1e-5,
        `gradient from row ${begin}`,
      );
    }
    assertClose([total], [expected.loss], 1e-5, "loss");
    const [totals] = await gpu.read(sums);
    for (let i = 0; i < policySums.length; i++) {
      assertClose(
        [totals[i]],
        [expected.sums[i]],
        2e-5,
        policySums[i],
      );
    }
  },
);

gpuTest("an unmoved policy has ratio exactly 1, no divergence and nothing clipped", async (gpu) => {
  const sums = gpu.scope(() => {
    const tensor = gpu.from(logprob, [logprob.length], "logprob");
    const slots = gpu.from(Uint32Array.from(logprob, (_, i) => i), [logprob.length], "slots");
    const inputs = { logprob: tensor, slots, oldLogprob: tensor, advantages: tensor };
    return gpu.keep(ppoPolicyLoss(gpu, inputs, { denominator: 1, clipRange: 0.2 }).sums);
  });
  const [totals] = await gpu.read(sums);
  assertEquals([...totals.slice(2)], Array(8).fill(0));
});

gpuTest("a policy loss whose sizes do not fit, or whose dual clip is not above 1, is refused", (gpu) => {
  gpu.scope(() => {
    const four = gpu.empty([4], "four"), slots = gpu.empty([3], "slots", "u32");
    const inputs = { logprob: four, slots, oldLogprob: four, advantages: four };
    const options = { denominator: 1, clipRange: 0.2 };
    assertThrows(() => ppoPolicyLoss(gpu, inputs, options), Error, "4 rows with 3 slots");
    const fitting = { ...inputs, slots: gpu.empty([4], "slots", "u32") };
    assertThrows(() => ppoPolicyLoss(gpu, fitting, { ...options, dualClip: 1 }), Error, "above 1");
  });
});
