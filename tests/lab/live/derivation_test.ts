/** The derivation in f64 against the golden rollout that was worked out by hand, and against the kernels' references. */
import { assert, assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { gaeReference } from "../../../kernels/gae.ts";
import { klRewardReference } from "../../../kernels/kl_reward.ts";
import { ppoPolicyLossReference } from "../../../kernels/ppo_policy_loss.ts";
import { ppoValueLossReference } from "../../../kernels/ppo_value_loss.ts";
import { whitenReference } from "../../../kernels/whiten.ts";
import { presetConfig } from "../../../lab/config.ts";
import {
  derive,
  type DerivedSlot,
  type Knobs,
  knobsOf,
  type ObservedEpisode,
  type ObservedPass,
} from "../../../lab/live/derivation.ts";
import { type Input, quantities, trace } from "../../../lab/live/trace.ts";
import { rewardOptions } from "../../../lab/stages/ppo_update.ts";
import { uniforms } from "../../kernels/testing.ts";

const T = 4;
const golden: ObservedEpisode[] = [
  { last: 1, hasEos: true, score: 0.6, logprob: [-1, -0.5], reference: [-1.2, -0.4], value: [0.1, 0.3, 0.5] },
  {
    last: 3,
    hasEos: false,
    score: 0.123,
    logprob: [-0.7, -1.1, -0.3, -2],
    reference: [-0.9, -1, -0.5, -1.5],
    value: [0, -0.2, -0.4, -0.6],
  },
  {
    last: 3,
    hasEos: true,
    score: 0.8,
    logprob: [-0.2, -0.6, -0.9, -0.1],
    reference: [-0.3, -0.6, -0.7, -0.4],
    value: [0.2, 0.4, 0.5, 0.7],
  },
];
const pass: ObservedPass = {
  logprob: [[-0.9, -0.9], [-0.6, -1, -0.8, -1.7], [-0.25, -0.3, -0.9, -0.2]],
  value: [[0.2, 0.6, 0.55], [-0.1, -0.5, -0.5, -0.9], [0.2, 0.75, 0.6, 0.65]],
};
const recipe = knobsOf(presetConfig("spark"));

/** To half of the last digit that is published. */
function near(found: number | null, expected: number, what: string) {
  assert(found !== null && Math.abs(found - expected) <= 6e-7, `${what} is ${found}, not ${expected}`);
}

Deno.test("the golden update comes out of the derivation, to its last digit", () => {
  const derived = derive(T, golden, [pass], recipe);
  const expected: Partial<Record<keyof DerivedSlot, number[][]>> = {
    reward: [[-0.01, 0.005, 0.6], [-0.01, 0.005, -0.01, -0.975], [-0.005, 0, 0.01, 0.785]],
    advantage: [
      [0.475, 0.3, 0.1],
      [-0.906291, -0.732938, -0.56625, -0.375],
      [0.552402, 0.376213, 0.29075, 0.085],
    ],
    return: [
      [0.575, 0.6, 0.6],
      [-0.906291, -0.932938, -0.96625, -0.975],
      [0.752402, 0.776213, 0.79075, 0.785],
    ],
    whitened: [
      [1.020301, 0.680273],
      [-1.663572, -1.326744, -1.002867, -0.631265],
      [1.170694, 0.828355, 0.6623, 0.262524],
    ],
  };
  for (const [name, rows] of Object.entries(expected)) {
    rows.forEach((row, b) =>
      row.forEach((number, t) =>
        near(derived.episodes[b].slots[t][name as "reward"], number, `${name} of ${b} at ${t}`)
      )
    );
  }
  assertEquals(derived.episodes.map(({ scoreSlot, paidScore }) => [scoreSlot, paidScore]), [
    [2, 0.6],
    [3, -1],
    [3, 0.8],
  ]);
  assertEquals(derived.advantageMoments!.count, 10);
  near(derived.advantageMoments!.mean, -0.0501114, "mean");
  near(derived.advantageMoments!.variance, 0.2648782, "variance");
  const [first] = derived.passes;
  assertEquals([first.policyTokens, first.valueSlots], [10, 11]);
  near(first.policyLoss, 0.0368148, "policy loss");
  near(first.valueLoss, 0.078458, "value loss");
  near(first.loss, 0.0446605, "loss");
  near(first.figures["policy/approxkl_avg"], 0.031625, "approximate KL");
  near(first.figures["policy/clipfrac_avg"], 0.2, "clip fraction");
  near(first.figures["val/clipfrac_avg"], 0.363636, "value clip fraction");
  near(derived.figures["objective/kl"], 0.0333333, "KL");
  near(derived.figures["objective/non_score_reward"], -0.00166667, "KL's reward");
  near(derived.figures["objective/rlhf_reward"], 0.1316667, "reward");
  near(derived.figures["objective/entropy"], 2.4666667, "entropy");
});

/** Every way to turn the knobs that changes a formula. */
const turned: Partial<Knobs>[] = [
  {},
  { klCoef: 0.4, klEstimator: "k2" },
  { klEstimator: "k3", missingEos: "subtract", missingEosPenalty: 0.3 },
  { missingEos: "none", scoreSlot: "last" },
  { gamma: 0.9, lambda: 0.5 },
  { gamma: 0, lambda: 0 },
  { whitenRewards: true },
  { whitenAdvantages: false, whitenRewards: true, scoreSlot: "last" },
  { clipRange: 0.05, valueClipRange: 0.05, valueCoef: 0.5 },
  { dualClip: 1.2, clipRange: 0.01 },
  { valueClipRange: 0 },
];

Deno.test("however the knobs are turned, the kernels' references derive the same", () => {
  const { episodes, passes } = drawn(5, 9, 3);
  const last = episodes.map((episode) => episode.last), B = episodes.length, slots = 9;
  const rectangle = (rows: readonly (readonly number[])[]) => {
    const matrix = new Float64Array(B * slots);
    rows.forEach((row, b) => matrix.set(row, b * slots));
    return matrix;
  };
  for (const change of turned) {
    const knobs = { ...recipe, ...change };
    const derived = derive(slots, episodes, passes, knobs);
    const logprob = rectangle(episodes.map((one) => one.logprob)),
      value = rectangle(episodes.map((one) => one.value));
    const { reward: plain } = klRewardReference({
      logprob,
      reference: rectangle(episodes.map((one) => one.reference)),
      last,
      hasEos: episodes.map((one) => Number(one.hasEos)),
      scores: episodes.map((one) => one.score),
    }, rewardOptions(knobs, knobs.klCoef));
    const reward = knobs.whitenRewards
      ? whitenReference(plain, last, { beyond: 1, shiftMean: false }).whitened
      : plain;
    const { advantages, returns } = gaeReference(reward, value, B, knobs);
    const whitened = knobs.whitenAdvantages ? whitenReference(advantages, last).whitened : advantages;
    const at = (name: "reward" | "advantage" | "whitened" | "return", matrix: Float64Array) =>
      derived.episodes.forEach((episode, b) =>
        episode.slots.forEach((slot, t) => {
          if (slot[name] !== null) {
            near(slot[name], matrix[b * slots + t], `${name} (${JSON.stringify(change)})`);
          }
        })
      );
    at("reward", reward);
    at("advantage", advantages);
    at("whitened", whitened);
    at("return", returns);
    passes.forEach((pass, p) => {
      const rows = (beyond: 0 | 1) =>
        last.flatMap((L, b) =>
          Array.from({ length: Math.min(L + 1 + beyond, slots) }, (_, t) => b * slots + t)
        );
      const policy = ppoPolicyLossReference({
        logprob: pass.logprob.flat(),
        slots: rows(0),
        oldLogprob: logprob,
        advantages: whitened,
      }, { denominator: rows(0).length, clipRange: knobs.clipRange, dualClip: knobs.dualClip || undefined });
      const critic = ppoValueLossReference({
        value: pass.value.flat(),
        slots: rows(1),
        oldValues: value,
        returns,
      }, { denominator: rows(1).length, clipRange: knobs.valueClipRange || null });
      const found = derived.passes[p];
      near(found.policyLoss, policy.loss, "policy loss");
      near(found.valueLoss, critic.loss, "value loss");
      const flat = found.slots.flat();
      const slopes = flat.flatMap((slot) => slot.policy ? [slot.policy.slope] : []);
      slopes.forEach((slope, i) => near(slope, policy.gradient[i], "slope of the policy loss"));
      flat.forEach((slot, i) => near(slot.critic.slope, critic.gradient[i], "slope of the value loss"));
    });
  }
});

Deno.test("every number of a derivation can be traced to rollout, passes and knobs, and its formula gives it again", () => {
  const { episodes, passes } = drawn(3, 5, 2);
  for (const change of turned) {
    const derived = derive(5, episodes, passes, { ...recipe, ...change });
    const measured = new Set(["logprob", "reference", "score", "value", "newLogprob", "newValue"]);
    const follow = (one: Input, depth: number): void => {
      assert(depth < 12, "traces end");
      if (!one.at) return;
      const found = trace(derived, one.at);
      assertEquals(found.value, one.value);
      // Where nothing goes in, the number is measured, or 0 by definition.
      if (found.inputs.length === 0) assert(measured.has(one.at.quantity) || found.value === 0);
      if (one.at.quantity !== "loss" && depth > 4) return;
      for (const next of found.inputs) follow(next, depth + 1);
    };
    const loss = trace(derived, { quantity: "loss", pass: 1 });
    near(loss.value, derived.passes[1].loss, "loss");
    follow({ symbol: "L", value: loss.value, at: loss.at }, 0);
    const slots = { 1: derived.episodes[1].slots, 0: derived.episodes[0].slots };
    for (const slot of slots[1]) {
      for (
        const name of ["plainReward", "reward", "delta", "advantage", "return", "klReward", "paid"] as const
      ) {
        near(trace(derived, { quantity: name, episode: 1, slot: slot.slot }).value, slot[name], name);
      }
    }
    const one = trace(derived, { quantity: "whitened", episode: 0, slot: 0 });
    near(one.value, slots[0][0].whitened!, "whitened");
    const { policy, critic } = derived.passes[1].slots[0][0];
    near(trace(derived, { quantity: "tokenLoss", pass: 1 }).value, policy!.loss, "loss of a token");
    near(trace(derived, { quantity: "bounded", pass: 1 }).value, policy!.bounded, "clipped ratio");
    near(trace(derived, { quantity: "valueTokenLoss", pass: 1 }).value, critic.loss, "value loss of a slot");
  }
  const derived = derive(T, golden, [pass], recipe);
  const delta = trace(derived, { quantity: "delta", episode: 0, slot: 1 });
  assertEquals(delta.substituted, "0.005 + 1 · 0.5 − 0.3");
  const reward = trace(derived, { quantity: "klReward", episode: 0, slot: 0 });
  assertEquals([reward.substituted, reward.source], [
    "−0.05 · 0.2",
    "Stiennon et al. 2020, arXiv 2009.01325, §3.4; β = 0.05 there in App. B.1",
  ]);
  assertEquals(new Set(quantities.map(({ name }) => name)).size, quantities.length);
  assertThrows(
    () => trace(derived, { quantity: "ratio", episode: 0, slot: 2 }),
    RangeError,
    "ends at slot 1",
  );
  assertThrows(() => trace(derived, { quantity: "delta", episode: 7 }), RangeError, "no delta at episode 7");
  assertThrows(() => trace(derived, { quantity: "beauty" as "delta" }), RangeError, "there are logprob");
});

/** A made-up rollout whose episodes end in the middle, at the last slot, or not at all. */
function drawn(B: number, slots: number, passCount: number) {
  const next = uniforms(3);
  const row = (length: number, scale: number, shift: number) =>
    Array.from({ length }, () => (next() - 0.5) * scale + shift);
  const episodes = Array.from({ length: B }, (_, b): ObservedEpisode => {
    const last = b % 3 === 0 ? Math.floor(next() * (slots - 2)) : slots - 1;
    const logprob = row(last + 1, 1.5, -1);
    return {
      last,
      hasEos: b % 3 !== 1,
      score: 4 * next() - 2,
      logprob,
      reference: logprob.map((x) => x + next() - 0.5),
      value: row(Math.min(last + 2, slots), 2, 0),
    };
  });
  const passes = Array.from({ length: passCount }, (_, p): ObservedPass => ({
    logprob: episodes.map(({ logprob }) => logprob.map((x) => x + p * 0.6 * (next() - 0.5))),
    value: episodes.map(({ value }) => value.map((x) => x + p * 0.6 * (next() - 0.5))),
  }));
  return { episodes, passes };
}
