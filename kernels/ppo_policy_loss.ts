/** PPO's clipped policy loss (arXiv 1707.06347, eq. 7) on gathered rows, with what one wants to know about the step. */
import source from "./ppo_policy_loss.wgsl" with { type: "text" };
import { scaleInto } from "./elementwise.ts";
import type { Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import { fold, stageOne } from "./reduce.ts";
import { gradientTarget, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

const forward = kernel("ppo_policy_loss", source);

/** What `sums` holds, in order: sums over rows, and last a maximum. Kept in step with ppo_policy_loss.wgsl by a test. */
export const policySums = [
  "loss",
  "tokens",
  "k1",
  "k2",
  "k3",
  "clipped",
  "dualClipped",
  "ratioChange",
  "ratioChangeSquares",
  "maxRatioChange",
] as const;

export interface PolicyLossInputs {
  /** f32 [R]: log-probabilities of the sampled tokens under the policy being trained; the loss is differentiated in them. */
  logprob: Tensor;
  /** u32 [R]: b·T + t of each row. A slot that is not below B·T (see `unusedSlot`) makes the row count for nothing. */
  slots: Tensor;
  /** f32 [B, T] (or flat): under the policy that drew the samples. */
  oldLogprob: Tensor;
  /** f32 [B, T] (or flat), whitened as wanted. */
  advantages: Tensor;
}

export interface PolicyLossOptions {
  /** What the summed loss is divided by: the tokens of the micro-batch, or of the whole minibatch. */
  denominator: number;
  /** ε, or ε below and above 1. */
  clipRange: number | { low: number; high: number };
  /** The bound c > 1 of dual-clip PPO (arXiv 1912.09729): where A < 0 the loss is at most −A·c. None if left out. */
  dualClip?: number;
  /** Sums [10] of earlier micro-batches to add to, instead of a new tensor; they must have started as zeros. */
  into?: Tensor;
}

/**
 * @returns `loss` [1], Σ over rows / denominator, and `sums` [10]: {@link policySums}, for {@link policyStatistics}
 * @throws if the sizes do not fit or the dual clip is not above 1
 */
export function ppoPolicyLoss(
  gpu: Gpu,
  { logprob, slots, oldLogprob, advantages }: PolicyLossInputs,
  { denominator, clipRange, dualClip, into }: PolicyLossOptions,
): { loss: Tensor; sums: Tensor } {
  const R = logprob.size, S = policySums.length;
  if (slots.size !== R || oldLogprob.size !== advantages.size) {
    throw new Error(
      `ppoPolicyLoss: ${R} rows with ${slots.size} slots, ${oldLogprob.size} old log-probabilities with ${advantages.size} advantages`,
    );
  }
  if (dualClip !== undefined && !(dualClip > 1)) {
    throw new Error(`ppoPolicyLoss: the dual clip must be above 1, not ${dualClip}`);
  }
  const { low, high } = typeof clipRange === "number" ? { low: clipRange, high: clipRange } : clipRange;
  const slope = gpu.empty([R], "ppoPolicyLoss.slope");
  const C = stageOne(R);
  const { sums, first: loss } = gpu.scope(() => {
    const partial = gpu.empty([C, S], "ppoPolicyLoss.partial");
    const params = { R, C, slotCount: oldLogprob.size, low, high, dual: dualClip ?? 0 };
    gpu.run(forward, { logprob, slots, oldLogprob, advantages, slope, partial }, params, [Math.ceil(C / 64)]);
    return fold(gpu, partial, { scale: 1 / denominator, maxFrom: S - 1, into });
  });
  record(gpu, "ppoPolicyLoss", [logprob], [loss], ([dloss]) => {
    const into = dloss && gradientTarget(gpu, logprob);
    if (into) scaleInto(gpu, slope, dloss, into, { factor: 1 / denominator });
  }, [slope]);
  return { loss, sums };
}

/**
 * Means over the tokens that were counted. Names as TRL logs them where it does; the masked versions.
 * @param sums {@link policySums}, of one or more micro-batches
 * @param slots B·T of the same micro-batches, to add the reference's unmasked means: there Δ = 0, so only the divisor differs
 */
export function policyStatistics(sums: ArrayLike<number>, slots?: number): Record<string, number> {
  const [loss, tokens, k1, k2, k3, clipped, dualClipped, change, squares, largest] = Array.from(sums);
  const statistics: Record<string, number> = {
    "loss/policy_avg": loss / tokens,
    "policy/approxkl_avg": k2 / tokens,
    "policy/approxkl_k1": k1 / tokens,
    "policy/approxkl_k3": k3 / tokens,
    "policy/clipfrac_avg": clipped / tokens,
    "policy/dual_clipfrac": dualClipped / tokens,
    "val/ratio": 1 + change / tokens,
    "val/ratio_var": squares / tokens - (change / tokens) ** 2,
    "val/ratio_max_change": largest,
    "policy/tokens": tokens,
  };
  if (slots !== undefined) {
    statistics["policy/approxkl_unmasked"] = k2 / slots;
    statistics["policy/clipfrac_unmasked"] = clipped / slots;
  }
  return statistics;
}

/** The same in f64 on the host, with the gradient of Σ loss / rows-in-use and the sums as {@link policySums} names them. */
export function ppoPolicyLossReference(
  inputs: {
    logprob: ArrayLike<number>;
    slots: ArrayLike<number>;
    oldLogprob: ArrayLike<number>;
    advantages: ArrayLike<number>;
  },
  { denominator, clipRange, dualClip }: PolicyLossOptions,
): { loss: number; gradient: Float64Array; sums: number[] } {
  const { low, high } = typeof clipRange === "number" ? { low: clipRange, high: clipRange } : clipRange;
  const sums = policySums.map(() => 0);
  const gradient = new Float64Array(inputs.logprob.length);
  for (let r = 0; r < gradient.length; r++) {
    const s = inputs.slots[r];
    if (s >= inputs.oldLogprob.length) continue;
    const advantage = inputs.advantages[s], delta = inputs.logprob[r] - inputs.oldLogprob[s];
    const ratio = Math.exp(delta), bounded = Math.min(Math.max(ratio, 1 - low), 1 + high);
    const unclipped = -advantage * ratio, clipped = -advantage * bounded;
    let worst = Math.max(unclipped, clipped), slope = clipped > unclipped ? 0 : unclipped, dual = 0;
    if (dualClip && advantage < 0 && worst > -advantage * dualClip) {
      worst = -advantage * dualClip;
      slope = 0;
      dual = 1;
    }
    gradient[r] = slope / denominator;
    const row = [
      worst,
      1,
      -delta,
      delta ** 2 / 2,
      ratio - 1 - delta,
      clipped > unclipped ? 1 : 0,
      dual,
      ratio - 1,
      (ratio - 1) ** 2,
    ];
    row.forEach((value, i) => sums[i] += value);
    sums[9] = Math.max(sums[9], Math.abs(ratio - 1));
  }
  return { loss: sums[0] / denominator, gradient, sums };
}
