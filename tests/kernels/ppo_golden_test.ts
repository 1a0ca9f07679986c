/**
 * One rollout of three responses whose every number was worked out by hand in f64: EOS in the middle, absent, and in the last slot. It is
 * run through the f64 references and through the kernels, from tokens to losses; slots without a number are garbage on purpose.
 */
import { assertEquals } from "deno-std/assert/mod.js";
import { weightedSum } from "../../kernels/elementwise.ts";
import { firstEos, firstEosReference, liveSlots, maskAfter } from "../../kernels/first_eos.ts";
import { gae, gaeReference } from "../../kernels/gae.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { klReward, klRewardReference } from "../../kernels/kl_reward.ts";
import { policyStatistics, ppoPolicyLoss, ppoPolicyLossReference } from "../../kernels/ppo_policy_loss.ts";
import { ppoValueLoss, ppoValueLossReference, valueStatistics } from "../../kernels/ppo_value_loss.ts";
import { rolloutStatistics, rolloutSums } from "../../kernels/rollout_statistics.ts";
import { whiten, whitenReference } from "../../kernels/whiten.ts";
import { gpuTest } from "./testing.ts";

const B = 3, T = 4, eos = 9, beta = 0.05, clipRange = 0.2, valueCoefficient = 0.1;
const reward = { beta }, advantage = { gamma: 1, lambda: 0.95 };

/** The rollout, with `after` in every slot that nothing may depend on. */
function rollout(after: number) {
  return {
    tokens: [1, eos, after > 0 ? eos : 2, 3, 4, 5, 6, 7, 1, 2, 3, eos],
    scores: [0.6, 0.123, 0.8], // the second is replaced by −1: no EOS
    old: [-1, -0.5, after, after, -0.7, -1.1, -0.3, -2, -0.2, -0.6, -0.9, -0.1],
    reference: [-1.2, -0.4, -after, after, -0.9, -1, -0.5, -1.5, -0.3, -0.6, -0.7, -0.4],
    values: [0.1, 0.3, 0.5, after, 0, -0.2, -0.4, -0.6, 0.2, 0.4, 0.5, 0.7],
    new: [-0.9, -0.9, after, after, -0.6, -1, -0.8, -1.7, -0.25, -0.3, -0.9, -0.2],
    newValues: [0.2, 0.6, 0.55, after, -0.1, -0.5, -0.5, -0.9, 0.2, 0.75, 0.6, 0.65],
  };
}

const expected = {
  last: [1, 3, 3],
  hasEos: [1, 0, 1],
  reward: [-0.01, 0.005, 0.6, 0, -0.01, 0.005, -0.01, -0.975, -0.005, 0, 0.01, 0.785],
  advantages: [
    ...[0.475, 0.3, 0.1, 0],
    ...[-0.906291, -0.732938, -0.56625, -0.375],
    ...[0.552402, 0.376213, 0.29075, 0.085],
  ],
  returns: [
    ...[0.575, 0.6, 0.6, 0],
    ...[-0.906291, -0.932938, -0.96625, -0.975],
    ...[0.752402, 0.776213, 0.79075, 0.785],
  ],
  whitened: [
    ...[1.020301, 0.680273, 0, 0],
    ...[-1.663572, -1.326744, -1.002867, -0.631265],
    ...[1.170694, 0.828355, 0.6623, 0.262524],
  ],
  moments: [10, -0.0501114, 0.2648782],
  losses: [0.0368148, 0.078458, 0.0446605],
  statistics: {
    "policy/approxkl_unmasked": 0.0263542,
    "policy/approxkl_avg": 0.031625,
    "policy/clipfrac_unmasked": 0.166667,
    "policy/clipfrac_avg": 0.2,
    "policy/tokens": 10,
    "loss/policy_avg": 0.0368148,
    "loss/value_avg": 0.078458,
    "val/rows": 11,
    "val/clipfrac_avg": 0.363636,
    "objective/kl": 0.0333333,
    "objective/non_score_reward": -0.00166667,
    "objective/rlhf_reward": 0.1316667,
    "objective/scores": 0.4 / 3,
    "objective/entropy_with_sentinels": 1.8,
    "objective/entropy": 2.4666667,
    "val/length": 10 / 3,
    "val/eos_fraction": 2 / 3,
  } as Record<string, number>,
};

/** The published numbers have six or seven decimals: half of their last digit, and `relative` besides. */
function assertNear(actual: ArrayLike<number>, wanted: ArrayLike<number>, relative: number, what: string) {
  assertEquals(actual.length, wanted.length, what);
  for (let i = 0; i < wanted.length; i++) {
    const error = Math.abs(actual[i] - wanted[i]);
    if (!(error <= 6e-7 + relative * Math.abs(wanted[i]))) {
      throw new Error(`${what}[${i}] is ${actual[i]}, expected ${wanted[i]}`);
    }
  }
}

Deno.test("the golden rollout comes out of the f64 references", () => {
  const { tokens, scores, old, reference, values, new: next, newValues } = rollout(0.9);
  const { last, hasEos } = firstEosReference(tokens, T, eos);
  assertEquals({ last, hasEos }, { last: expected.last, hasEos: expected.hasEos });
  const rewards = klRewardReference({ logprob: old, reference, last, hasEos, scores }, reward).reward;
  assertNear(rewards, expected.reward, 0, "reward");
  const masked = values.map((v, i) => i % T <= last[Math.floor(i / T)] + 1 ? v : 0);
  const { advantages, returns } = gaeReference(rewards, masked, B, advantage);
  assertNear(advantages, expected.advantages, 0, "advantages");
  assertNear(returns, expected.returns, 0, "returns");
  const { whitened, mean, variance } = whitenReference(advantages, last);
  assertNear(whitened, expected.whitened, 0, "whitened");
  assertNear([10, mean, variance], expected.moments, 0, "moments");
  const slots = liveSlots(last, T), critic = liveSlots(last, T, 1);
  const policy = ppoPolicyLossReference({
    logprob: Array.from(slots, (slot) => next[slot]),
    slots,
    oldLogprob: old,
    advantages: whitened,
  }, { denominator: 10, clipRange });
  const value = ppoValueLossReference({
    value: Array.from(critic, (slot) => newValues[slot]),
    slots: critic,
    oldValues: masked,
    returns,
  }, { denominator: 11, clipRange });
  assertNear(
    [policy.loss, value.loss, policy.loss + valueCoefficient * value.loss],
    expected.losses,
    0,
    "losses",
  );
  const statistics = { ...policyStatistics(policy.sums, B * T), ...valueStatistics(value.sums) };
  for (const [name, number] of Object.entries(statistics)) {
    if (name in expected.statistics) assertNear([number], [expected.statistics[name]], 0, name);
  }
});

/** Everything that the kernels make of a rollout, read back: exact arrays and the three kinds of sums. */
async function throughKernels(
  gpu: Gpu,
  { tokens, scores, old, reference, values, ...fresh }: ReturnType<typeof rollout>,
) {
  const slots = liveSlots(expected.last, T), critic = liveSlots(expected.last, T, 1);
  const outputs = gpu.scope(() => {
    const tensor = (data: number[], name: string) =>
      gpu.from(Float32Array.from(data), [data.length / T, T], name);
    const { last, hasEos } = firstEos(gpu, gpu.from(Uint32Array.from(tokens), [B, T], "tokens"), eos);
    const drawn = {
      logprob: tensor(old, "old"),
      reference: tensor(reference, "reference"),
      last,
      hasEos,
      scores: gpu.from(Float32Array.from(scores), [B], "scores"),
    };
    const rewards = klReward(gpu, drawn, reward).reward;
    const masked = maskAfter(gpu, tensor(values, "values"), last, { beyond: 1 });
    const { advantages, returns } = gae(gpu, rewards, masked, advantage);
    const { whitened, moments } = whiten(gpu, advantages, last);
    const rows = (data: number[], at: Uint32Array, name: string) => {
      const gathered = gpu.from(Float32Array.from(at, (slot) => data[slot]), [at.length], name);
      gathered.requiresGrad = true;
      return gathered;
    };
    const logprob = rows(fresh.new, slots, "new"), value = rows(fresh.newValues, critic, "newValues");
    const kept: Record<string, typeof rewards> = {};
    const total = gpu.differentiate(() => {
      const policy = ppoPolicyLoss(gpu, {
        logprob,
        slots: gpu.from(slots, [slots.length], "slots"),
        oldLogprob: drawn.logprob,
        advantages: whitened,
      }, { denominator: slots.length, clipRange });
      const critics = ppoValueLoss(gpu, {
        value,
        slots: gpu.from(critic, [critic.length], "critic"),
        oldValues: masked,
        returns,
      }, { denominator: critic.length, clipRange });
      kept.policyLoss = gpu.keep(policy.loss);
      kept.valueLoss = gpu.keep(critics.loss);
      kept.policySums = policy.sums;
      kept.valueSums = critics.sums;
      return weightedSum(gpu, policy.loss, 1, critics.loss, valueCoefficient);
    });
    const all = {
      last,
      hasEos,
      rewards,
      advantages,
      returns,
      whitened,
      moments,
      total,
      ...kept,
      rolloutSums: rolloutSums(gpu, drawn, reward),
      dlogprob: logprob.grad!,
      dvalue: value.grad!,
    };
    return Object.entries(all).map(([name, tensor]) => [name, gpu.keep(tensor)] as const);
  });
  const read = await gpu.read(...outputs.map(([, tensor]) => tensor));
  return Object.fromEntries(outputs.map(([name], i) => [name, read[i]]));
}

gpuTest("the golden rollout comes out of the kernels", async (gpu) => {
  const actual = await throughKernels(gpu, rollout(0.9));
  assertEquals([...new Uint32Array(actual.last.buffer)], expected.last);
  assertEquals([...new Uint32Array(actual.hasEos.buffer)], expected.hasEos);
  assertNear(actual.rewards, expected.reward, 1e-5, "reward");
  assertNear(actual.advantages, expected.advantages, 1e-5, "advantages");
  assertNear(actual.returns, expected.returns, 1e-5, "returns");
  assertNear(actual.whitened, expected.whitened, 1e-5, "whitened");
  assertNear(actual.moments, expected.moments, 1e-5, "moments");
  const losses = [actual.policyLoss[0], actual.valueLoss[0], actual.total[0]];
  assertNear(losses, expected.losses, 1e-5, "losses");
  const statistics = {
    ...policyStatistics(actual.policySums, B * T),
    ...valueStatistics(actual.valueSums),
    ...rolloutStatistics(actual.rolloutSums, T),
  };
  for (const [name, number] of Object.entries(expected.statistics)) {
    assertNear([statistics[name]], [number], 1e-5, name);
  }
});

gpuTest("nothing after the end of a response changes a bit of any result", async (gpu) => {
  const calm = await throughKernels(gpu, rollout(0));
  for (const after of [0.9, -1e30, NaN, Infinity]) {
    const wild = await throughKernels(gpu, rollout(after));
    for (const [name, numbers] of Object.entries(wild)) {
      assertEquals(
        new Uint32Array(numbers.buffer),
        new Uint32Array(calm[name].buffer),
        `${name}, given ${after}`,
      );
    }
  }
});
