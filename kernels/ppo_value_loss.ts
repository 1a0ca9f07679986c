/** The critic's clipped squared error, as PPO implementations since OpenAI's baselines have it (arXiv 2403.17031). */
import source from "./ppo_value_loss.wgsl" with { type: "text" };
import { scaleInto } from "./elementwise.ts";
import type { Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import { fold, stageOne } from "./reduce.ts";
import { gradientTarget, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

const forward = kernel("ppo_value_loss", source);

/** What `sums` holds, in order; all are sums over rows. Kept in step with ppo_value_loss.wgsl by a test. */
export const valueSums = [
  "loss",
  "rows",
  "clipped",
  "value",
  "error",
  "errorSquares",
  "return",
  "returnSquares",
] as const;

export interface ValueLossInputs {
  /** f32 [R]: the critic's values; the loss is differentiated in them. */
  value: Tensor;
  /** u32 [R]: b·T + t of each row, up to one slot beyond the last token. Slots not below B·T count for nothing. */
  slots: Tensor;
  /** f32 [B, T] (or flat): the critic's values at rollout time. */
  oldValues: Tensor;
  /** f32 [B, T] (or flat), from unwhitened advantages. */
  returns: Tensor;
}

export interface ValueLossOptions {
  /** What the summed loss is divided by: the rows of the micro-batch, or of the whole minibatch. */
  denominator: number;
  /** How far a value may move from the old one before the clipped branch; null for the plain squared error. */
  clipRange: number | null;
  /** Sums [8] of earlier micro-batches to add to, instead of a new tensor; they must have started as zeros. */
  into?: Tensor;
}

/**
 * @returns `loss` [1], ½ Σ over rows / denominator (the coefficient 0.1 is the caller's), and `sums` [8]: {@link valueSums}
 * @throws if the sizes do not fit
 */
export function ppoValueLoss(
  gpu: Gpu,
  { value, slots, oldValues, returns }: ValueLossInputs,
  { denominator, clipRange, into }: ValueLossOptions,
): { loss: Tensor; sums: Tensor } {
  const R = value.size, S = valueSums.length;
  if (slots.size !== R || oldValues.size !== returns.size) {
    throw new Error(
      `ppoValueLoss: ${R} rows with ${slots.size} slots, ${oldValues.size} old values with ${returns.size} returns`,
    );
  }
  const slope = gpu.empty([R], "ppoValueLoss.slope");
  const C = stageOne(R);
  const { sums, first: loss } = gpu.scope(() => {
    const partial = gpu.empty([C, S], "ppoValueLoss.partial");
    const params = { R, C, slotCount: oldValues.size, range: clipRange ?? -1 };
    gpu.run(forward, { value, slots, oldValues, returns, slope, partial }, params, [Math.ceil(C / 64)]);
    return fold(gpu, partial, { scale: 1 / denominator, into });
  });
  record(gpu, "ppoValueLoss", [value], [loss], ([dloss]) => {
    const into = dloss && gradientTarget(gpu, value);
    if (into) scaleInto(gpu, slope, dloss, into, { factor: 1 / denominator });
  }, [slope]);
  return { loss, sums };
}

/** Means over the rows that were counted; names as TRL logs them where it does. */
export function valueStatistics(sums: ArrayLike<number>): Record<string, number> {
  const [loss, rows, clipped, value, error, errorSquares, returns, returnSquares] = Array.from(sums);
  const spread = returnSquares / rows - (returns / rows) ** 2;
  return {
    "loss/value_avg": loss / rows,
    "val/clipfrac_avg": clipped / rows,
    "val/mean": value / rows,
    "val/error": error / rows,
    "val/mse": errorSquares / rows,
    "val/return": returns / rows,
    "val/explained_variance": 1 - (errorSquares / rows - (error / rows) ** 2) / spread,
    "val/rows": rows,
  };
}

/** The same in f64 on the host, with the gradient. */
export function ppoValueLossReference(
  inputs: {
    value: ArrayLike<number>;
    slots: ArrayLike<number>;
    oldValues: ArrayLike<number>;
    returns: ArrayLike<number>;
  },
  { denominator, clipRange }: ValueLossOptions,
): { loss: number; gradient: Float64Array; sums: number[] } {
  const sums = valueSums.map(() => 0);
  const gradient = new Float64Array(inputs.value.length);
  for (let r = 0; r < gradient.length; r++) {
    const s = inputs.slots[r];
    if (s >= inputs.returns.length) continue;
    const value = inputs.value[r], goal = inputs.returns[s], old = inputs.oldValues[s];
    const range = clipRange ?? Infinity;
    const bounded = Math.min(Math.max(value, old - range), old + range);
    const unclipped = (value - goal) ** 2, clipped = (bounded - goal) ** 2;
    const share = clipped > unclipped ? 0 : bounded !== value && clipped === unclipped ? 0.5 : 1;
    gradient[r] = share * (value - goal) / denominator;
    const row = [
      Math.max(unclipped, clipped) / 2,
      1,
      clipped > unclipped ? 1 : 0,
      value,
      value - goal,
      unclipped,
      goal,
      goal ** 2,
    ];
    row.forEach((term, i) => sums[i] += term);
  }
  return { loss: sums[0] / denominator, gradient, sums };
}
