/** Per-token rewards of PPO on summaries: a KL penalty at every token, the reward model's score at one (arXiv 2009.01325, §3.4). */
import source from "./kl_reward.wgsl" with { type: "text" };
import { elementwise, type Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import type { Tensor } from "./tensor.ts";

const forward = kernel("kl_reward", source);

export interface RewardOptions {
  /** β, nats to reward. */
  beta: number;
  /** Which estimate of the KL divergence is charged: d, d²/2 or exp(−d) − 1 + d, with d = log π − log π_ref. Default 1. */
  estimator?: 1 | 2 | 3;
  /** `after`: the slot behind the last token, where there is one, as the released recipe has it; `last`: at the last token. */
  scoreSlot?: "after" | "last";
  /** What a response without EOS gets: `missingEosValue` instead of its score, its score less that value, or its score. */
  missingEos?: "replace" | "subtract" | "none";
  /** −1 by default for `replace`, 1 for `subtract`. */
  missingEosValue?: number;
}

/** What the options come to, as the kernels take it. */
export function rewardParams(options: RewardOptions) {
  const missing = options.missingEos ?? "replace";
  return {
    beta: options.beta,
    estimator: options.estimator ?? 1,
    scoreAfter: (options.scoreSlot ?? "after") === "after" ? 1 : 0,
    missingEos: { none: 0, replace: 1, subtract: 2 }[missing],
    missingValue: options.missingEosValue ?? (missing === "replace" ? -1 : 1),
  };
}

/**
 * @param rollout `logprob` and `reference` f32 [B, T]: log-probabilities of the sampled tokens under the policy that drew them and
 * under the reference model; `last`, `hasEos` u32 [B] from firstEos; `scores` f32 [B]
 * @returns `reward` f32 [B, T], and `penalty` f32 [B, T], the KL estimate that was charged; nothing after the last token is read
 */
export function klReward(
  gpu: Gpu,
  rollout: { logprob: Tensor; reference: Tensor; last: Tensor; hasEos: Tensor; scores: Tensor },
  options: RewardOptions,
): { reward: Tensor; penalty: Tensor } {
  const [B, T] = rollout.logprob.shape;
  const reward = gpu.empty([B, T], "reward"), penalty = gpu.empty([B, T], "klPenalty");
  gpu.run(forward, { ...rollout, reward, penalty }, { B, T, ...rewardParams(options) }, elementwise(B * T));
  return { reward, penalty };
}

/** The same in f64 on the host. */
export function klRewardReference(
  rollout: {
    logprob: ArrayLike<number>;
    reference: ArrayLike<number>;
    last: ArrayLike<number>;
    hasEos: ArrayLike<number>;
    scores: ArrayLike<number>;
  },
  options: RewardOptions,
): { reward: Float64Array; penalty: Float64Array } {
  const { logprob, reference, last, hasEos, scores } = rollout;
  const { beta, estimator, scoreAfter, missingEos, missingValue } = rewardParams(options);
  const B = last.length, T = logprob.length / B;
  const reward = new Float64Array(B * T), penalty = new Float64Array(B * T);
  for (let b = 0; b < B; b++) {
    for (let t = 0; t <= last[b]; t++) {
      const i = b * T + t, d = logprob[i] - reference[i];
      penalty[i] = estimator === 1 ? d : estimator === 2 ? d * d / 2 : Math.exp(-d) - 1 + d;
      reward[i] = -beta * penalty[i];
    }
    let score = scores[b];
    if (!hasEos[b] && missingEos === 1) score = missingValue;
    if (!hasEos[b] && missingEos === 2) score -= missingValue;
    reward[b * T + (scoreAfter && last[b] + 1 < T ? last[b] + 1 : last[b])] += score;
  }
  return { reward, penalty };
}
