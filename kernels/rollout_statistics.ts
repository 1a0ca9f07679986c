/** What one logs of a rollout (arXiv 2403.17031 and TRL's PPO): divergence, entropy, scores, lengths. */
import source from "./rollout_statistics.wgsl" with { type: "text" };
import type { Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import { type RewardOptions, rewardParams } from "./kl_reward.ts";
import { fold } from "./reduce.ts";
import type { Tensor } from "./tensor.ts";

const forward = kernel("rollout_statistics", source);

/** What {@link rolloutSums} returns, in order: sums over responses, and from the 13th on maxima. */
export const rolloutSumNames = [
  "responses",
  "k1",
  "k2",
  "k3",
  "surprise",
  "nonScoreReward",
  "score",
  "scoreSquares",
  "rawScore",
  "rawScoreSquares",
  "tokens",
  "lengthSquares",
  "withEos",
  "maxScore",
  "minusMinScore",
  "maxLength",
] as const;

const firstMaximum = rolloutSumNames.indexOf("maxScore");

/**
 * @param rollout as klReward takes it
 * @returns [16]: {@link rolloutSumNames}, for {@link rolloutStatistics}
 */
export function rolloutSums(
  gpu: Gpu,
  rollout: { logprob: Tensor; reference: Tensor; last: Tensor; hasEos: Tensor; scores: Tensor },
  options: RewardOptions,
): Tensor {
  const [B, T] = rollout.logprob.shape;
  const { beta, estimator, missingEos, missingValue } = rewardParams(options);
  return gpu.scope(() => {
    const partial = gpu.empty([B, rolloutSumNames.length], "rolloutSums.partial");
    const params = { B, T, beta, estimator, missingEos, missingValue };
    gpu.run(forward, { ...rollout, partial }, params, [Math.ceil(B / 64)]);
    return fold(gpu, partial, { maxFrom: firstMaximum }).sums;
  });
}

/**
 * Means over responses; names as TRL logs them where it does. KL and entropy are in nats a response.
 * @param sums {@link rolloutSumNames}
 * @param T slots a response has; with it comes the reference's entropy, which counts each slot after the end as −1
 */
export function rolloutStatistics(sums: ArrayLike<number>, T?: number): Record<string, number> {
  const of = Object.fromEntries(rolloutSumNames.map((name, i) => [name, sums[i]])) as Record<
    typeof rolloutSumNames[number],
    number
  >;
  const n = of.responses;
  const deviation = (total: number, squares: number) =>
    Math.sqrt(Math.max(0, squares / n - (total / n) ** 2));
  const statistics: Record<string, number> = {
    "objective/kl": of.k1 / n,
    "objective/kl_k2": of.k2 / n,
    "objective/kl_k3": of.k3 / n,
    "objective/kl_per_token": of.k1 / of.tokens,
    "objective/entropy": of.surprise / n,
    "objective/entropy_per_token": of.surprise / of.tokens,
    "objective/non_score_reward": of.nonScoreReward / n,
    "objective/scores": of.score / n,
    "objective/scores_std": deviation(of.score, of.scoreSquares),
    "objective/scores_max": of.maxScore,
    "objective/scores_min": -of.minusMinScore,
    "objective/raw_scores": of.rawScore / n,
    "objective/raw_scores_std": deviation(of.rawScore, of.rawScoreSquares),
    "objective/rlhf_reward": (of.nonScoreReward + of.score) / n,
    "val/length": of.tokens / n,
    "val/length_std": deviation(of.tokens, of.lengthSquares),
    "val/length_max": of.maxLength,
    "val/eos_fraction": of.withEos / n,
  };
  if (T !== undefined) {
    statistics["objective/entropy_with_sentinels"] = (of.surprise - (n * T - of.tokens)) / n;
  }
  return statistics;
}
