/**
 * Everything that one PPO update makes of a rollout, in f64 and with every number in between: rewards, advantages with each term of their
 * sum, whitening, and for each pass over the batch ratios, clipping and losses. The GPU computes the same in f32 (lab/stages/ppo_update.ts);
 * here nothing is hidden in a kernel. Notation: slot t = 0 … T−1, L the last token's, policy quantities at t ≤ L, the critic's at t ≤ L+1.
 */
import { rewardParams } from "../../kernels/kl_reward.ts";
import type { Config } from "../config.ts";
import { rewardOptions } from "../stages/ppo_update.ts";

/** What can be turned without sampling anew. Names and meanings are those of the configuration's section `ppo`. */
export type Knobs = Pick<Config["ppo"], typeof knobNames[number]>;

export const knobNames = [
  "klCoef",
  "klEstimator",
  "missingEos",
  "missingEosPenalty",
  "scoreSlot",
  "gamma",
  "lambda",
  "whitenRewards",
  "whitenAdvantages",
  "clipRange",
  "dualClip",
  "valueClipRange",
  "valueCoef",
  "learningRate",
  "epochs",
] as const;

/** The knobs as a configuration has them. */
export function knobsOf({ ppo }: Pick<Config, "ppo">): Knobs {
  return Object.fromEntries(knobNames.map((name) => [name, ppo[name]])) as Knobs;
}

/** What was measured of an episode before the update. Arrays are by slot. */
export interface ObservedEpisode {
  /** L. */
  last: number;
  hasEos: boolean;
  /** The reward model's, whatever it is replaced by without EOS. */
  score: number;
  /** log π and log π_ref of the sampled tokens, nats; L+1 numbers each. */
  logprob: readonly number[];
  reference: readonly number[];
  /** V before each token; min(L+2, T) numbers. */
  value: readonly number[];
}

/** What policy and critic, in the course of the update, make of the same episodes; the first pass has them as they sampled. */
export interface ObservedPass {
  logprob: readonly (readonly number[])[];
  value: readonly (readonly number[])[];
}

/** One summand of an advantage: (γλ)^l · δ_{t+l}. */
export interface AdvantageTerm {
  slot: number;
  weight: number;
  delta: number;
  product: number;
}

/** A slot of an episode up to L+1. What the policy has none of, behind L, is null. */
export interface DerivedSlot {
  slot: number;
  logprob: number | null;
  reference: number | null;
  /** log π − log π_ref, nats. */
  logRatio: number | null;
  /** The estimate of the KL divergence that is charged. */
  penalty: number | null;
  /** −β · penalty. */
  klReward: number;
  /** What is paid here beside it: the score, at one slot. */
  paid: number;
  /** Their sum. */
  plainReward: number;
  /** The reward that the advantages are made from: whitened, where that is on. */
  reward: number;
  /** V_t and V_{t+1}. */
  value: number;
  following: number;
  delta: number;
  terms: AdvantageTerm[];
  advantage: number;
  /** The advantage that the policy loss sees; null behind L. */
  whitened: number | null;
  return: number;
}

export interface DerivedEpisode {
  last: number;
  hasEos: boolean;
  score: number;
  /** The score as it is paid, and where. */
  paidScore: number;
  scoreSlot: number;
  slots: DerivedSlot[];
}

/** How a set of numbers was whitened. */
export interface Moments {
  /** Slots that count. */
  count: number;
  sum: number;
  mean: number;
  /** Biased: divided by the count. */
  variance: number;
  eps: number;
  deviation: number;
}

/** A slot in one pass. The policy's part is null behind L. */
export interface PassSlot {
  slot: number;
  policy: {
    logprob: number;
    ratio: number;
    bounded: number;
    /** −A·ρ, and −A·clip(ρ). */
    unclipped: number;
    clipped: number;
    isClipped: boolean;
    isDualClipped: boolean;
    loss: number;
    /** ∂(policy loss)/∂(log π). */
    slope: number;
  } | null;
  critic: {
    value: number;
    bounded: number;
    /** (V − R)², and (clip(V) − R)². */
    unclipped: number;
    clipped: number;
    isClipped: boolean;
    /** ½ of the larger. */
    loss: number;
    /** ∂(value loss)/∂V, without the coefficient. */
    slope: number;
  };
}

export interface DerivedPass {
  /** By episode. */
  slots: PassSlot[][];
  policyTokens: number;
  valueSlots: number;
  policyLoss: number;
  valueLoss: number;
  /** policyLoss + valueCoef · valueLoss. */
  loss: number;
  /** Means over the slots that count; names as they are logged. */
  figures: Record<string, number>;
}

export interface Derivation {
  knobs: Knobs;
  /** T. */
  slots: number;
  episodes: DerivedEpisode[];
  /** Of the rewards, where these are whitened. */
  rewardMoments: Moments | null;
  /** Of the advantages, where these are whitened. */
  advantageMoments: Moments | null;
  passes: DerivedPass[];
  /** Means over episodes; names as they are logged. */
  figures: Record<string, number>;
}

const eps = 1e-8;

/**
 * Derives an update.
 * @param T slots of a response
 * @param passes none, or one for each pass over the batch
 */
export function derive(
  T: number,
  observed: readonly ObservedEpisode[],
  passes: readonly ObservedPass[],
  knobs: Knobs,
): Derivation {
  const episodes = observed.map((episode) => rewardsOf(T, episode, knobs));
  const rewardMoments = knobs.whitenRewards
    ? momentsOf(episodes.flatMap(({ slots }) => slots.map(({ plainReward }) => plainReward)))
    : null;
  for (const { slots } of episodes) {
    for (const slot of slots) {
      slot.reward = rewardMoments
        ? (slot.plainReward - rewardMoments.mean) / rewardMoments.deviation + rewardMoments.mean
        : slot.plainReward;
    }
  }
  for (const { slots } of episodes) advantagesOf(slots, knobs);
  const counted = episodes.flatMap(({ slots, last }) => slots.slice(0, last + 1));
  const advantageMoments = knobs.whitenAdvantages
    ? momentsOf(counted.map(({ advantage }) => advantage))
    : null;
  for (const slot of counted) {
    slot.whitened = advantageMoments
      ? (slot.advantage - advantageMoments.mean) / advantageMoments.deviation
      : slot.advantage;
  }
  return {
    knobs,
    slots: T,
    episodes,
    rewardMoments,
    advantageMoments,
    passes: passes.map((pass) => passOf(observed, episodes, pass, knobs)),
    figures: figuresOf(episodes),
  };
}

function rewardsOf(T: number, episode: ObservedEpisode, knobs: Knobs): DerivedEpisode {
  const { last, hasEos, score } = episode;
  const { beta, estimator, scoreAfter, missingEos, missingValue } = rewardParams(
    rewardOptions(knobs, knobs.klCoef),
  );
  const paidScore = hasEos || missingEos === 0
    ? score
    : missingEos === 1
    ? missingValue
    : score - missingValue;
  const scoreSlot = scoreAfter && last + 1 < T ? last + 1 : last;
  const slots = Array.from({ length: Math.min(last + 2, T) }, (_, slot): DerivedSlot => {
    const live = slot <= last;
    const d = live ? episode.logprob[slot] - episode.reference[slot] : 0;
    const penalty = estimator === 1 ? d : estimator === 2 ? d * d / 2 : Math.exp(-d) - 1 + d;
    const klReward = live ? -beta * penalty : 0;
    const paid = slot === scoreSlot ? paidScore : 0;
    return {
      slot,
      logprob: live ? episode.logprob[slot] : null,
      reference: live ? episode.reference[slot] : null,
      logRatio: live ? d : null,
      penalty: live ? penalty : null,
      klReward,
      paid,
      plainReward: klReward + paid,
      reward: NaN,
      value: episode.value[slot],
      following: episode.value[slot + 1] ?? 0,
      delta: NaN,
      terms: [],
      advantage: NaN,
      whitened: null,
      return: NaN,
    };
  });
  return { last, hasEos, score, paidScore, scoreSlot, slots };
}

/** δ_t = r_t + γ·V_{t+1} − V_t;  A_t = Σ_l (γλ)^l · δ_{t+l};  R_t = A_t + V_t. */
function advantagesOf(slots: DerivedSlot[], { gamma, lambda }: Knobs): void {
  for (const slot of slots) slot.delta = slot.reward + gamma * slot.following - slot.value;
  slots.forEach((slot, t) => {
    slot.terms = slots.slice(t).map(({ slot: at, delta }, l) => {
      const weight = (gamma * lambda) ** l;
      return { slot: at, weight, delta, product: weight * delta };
    });
    slot.advantage = slot.terms.reduce((sum, { product }) => sum + product, 0);
    slot.return = slot.advantage + slot.value;
  });
}

function momentsOf(values: readonly number[]): Moments {
  const count = values.length;
  const sum = values.reduce((total, x) => total + x, 0);
  const mean = sum / count;
  const variance = values.reduce((total, x) => total + (x - mean) ** 2, 0) / count;
  return { count, sum, mean, variance, eps, deviation: Math.sqrt(variance + eps) };
}

function passOf(
  observed: readonly ObservedEpisode[],
  episodes: readonly DerivedEpisode[],
  pass: ObservedPass,
  knobs: Knobs,
): DerivedPass {
  const policyTokens = episodes.reduce((count, { last }) => count + last + 1, 0);
  const valueSlots = episodes.reduce((count, { slots }) => count + slots.length, 0);
  const { clipRange, dualClip, valueCoef } = knobs;
  const range = knobs.valueClipRange || Infinity;
  const slots = episodes.map(({ slots, last }, b) =>
    slots.map((derived): PassSlot => {
      const { slot } = derived;
      const value = pass.value[b][slot], goal = derived.return, old = observed[b].value[slot];
      const bounded = Math.min(Math.max(value, old - range), old + range);
      const unclipped = (value - goal) ** 2, clipped = (bounded - goal) ** 2;
      // Where both are equal although the value is out of range, the gradient is torch's: half of it flows.
      const share = clipped > unclipped ? 0 : bounded !== value && clipped === unclipped ? 0.5 : 1;
      const critic = {
        value,
        bounded,
        unclipped,
        clipped,
        isClipped: clipped > unclipped,
        loss: Math.max(unclipped, clipped) / 2,
        slope: share * (value - goal) / valueSlots,
      };
      if (slot > last) return { slot, policy: null, critic };
      const advantage = derived.whitened!, logprob = pass.logprob[b][slot];
      const ratio = Math.exp(logprob - observed[b].logprob[slot]);
      const boundedRatio = Math.min(Math.max(ratio, 1 - clipRange), 1 + clipRange);
      const plain = -advantage * ratio, cut = -advantage * boundedRatio;
      const most = dualClip && advantage < 0 ? -advantage * dualClip : Infinity;
      const isClipped = cut > plain, isDualClipped = Math.max(plain, cut) > most;
      return {
        slot,
        policy: {
          logprob,
          ratio,
          bounded: boundedRatio,
          unclipped: plain,
          clipped: cut,
          isClipped,
          isDualClipped,
          loss: Math.min(most, Math.max(plain, cut)),
          slope: isClipped || isDualClipped ? 0 : plain / policyTokens,
        },
        critic,
      };
    })
  );
  const policy = slots.flat().flatMap((one, i) => one.policy ? [{ ...one.policy, i }] : []);
  const critic = slots.flat().map((one) => one.critic);
  const mean = <T>(items: readonly T[], of: (item: T) => number) =>
    items.reduce((sum, item) => sum + of(item), 0) / items.length;
  const policyLoss = mean(policy, ({ loss }) => loss), valueLoss = mean(critic, ({ loss }) => loss);
  const old = observed.flatMap(({ logprob, last }) => logprob.slice(0, last + 1));
  const moved = policy.map(({ logprob, ratio }, n) => ({ delta: logprob - old[n], ratio }));
  const returns = episodes.flatMap(({ slots }) => slots.map((slot) => slot.return));
  const error = critic.map(({ value }, n) => value - returns[n]);
  const spread = mean(returns, (x) => x * x) - mean(returns, (x) => x) ** 2;
  return {
    slots,
    policyTokens,
    valueSlots,
    policyLoss,
    valueLoss,
    loss: policyLoss + valueCoef * valueLoss,
    figures: {
      "loss/policy_avg": policyLoss,
      "loss/value_avg": valueLoss,
      "policy/approxkl_avg": mean(moved, ({ delta }) => delta ** 2 / 2),
      "policy/approxkl_k1": mean(moved, ({ delta }) => -delta),
      "policy/approxkl_k3": mean(moved, ({ delta, ratio }) => ratio - 1 - delta),
      "policy/clipfrac_avg": mean(policy, ({ isClipped }) => Number(isClipped)),
      "policy/dual_clipfrac": mean(policy, ({ isDualClipped }) => Number(isDualClipped)),
      "val/ratio": mean(moved, ({ ratio }) => ratio),
      "val/ratio_max_change": Math.max(...moved.map(({ ratio }) => Math.abs(ratio - 1))),
      "val/clipfrac_avg": mean(critic, ({ isClipped }) => Number(isClipped)),
      "val/mean": mean(critic, ({ value }) => value),
      "val/error": mean(error, (x) => x),
      "val/mse": mean(error, (x) => x * x),
      "val/return": mean(returns, (x) => x),
      "val/explained_variance": 1 - (mean(error, (x) => x * x) - mean(error, (x) => x) ** 2) / spread,
    },
  };
}

function figuresOf(episodes: readonly DerivedEpisode[]): Record<string, number> {
  const mean = (of: (episode: DerivedEpisode) => number) =>
    episodes.reduce((sum, episode) => sum + of(episode), 0) / episodes.length;
  const total = (slots: readonly DerivedSlot[], of: (slot: DerivedSlot) => number | null) =>
    slots.reduce((sum, slot) => sum + (of(slot) ?? 0), 0);
  return {
    "objective/kl": mean(({ slots }) => total(slots, ({ logRatio }) => logRatio)),
    "objective/entropy": mean(({ slots }) => -total(slots, ({ logprob }) => logprob)),
    "objective/non_score_reward": mean(({ slots }) => total(slots, ({ klReward }) => klReward)),
    "objective/scores": mean(({ paidScore }) => paidScore),
    "objective/rlhf_reward": mean(({ slots, paidScore }) =>
      total(slots, ({ klReward }) => klReward) + paidScore
    ),
    "val/length": mean(({ last }) => last + 1),
    "val/eos_fraction": mean(({ hasEos }) => Number(hasEos)),
  };
}
