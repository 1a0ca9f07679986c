/** How long AdamW's next update of a tensor is, without taking it. */
import source from "./update_norm.wgsl" with { type: "text" };
import type { Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import type { Matrix } from "./matrix.ts";
import { stageOne } from "./reduce.ts";
import type { Tensor } from "./tensor.ts";

const updateNormKernel = kernel("update_norm", source);

/** What AdamW's update is computed with (see adamw.ts). */
export interface UpdateRule {
  beta1: number;
  beta2: number;
  eps: number;
  /** How many steps the moments have behind them. */
  step: number;
}

/**
 * Squares of m̂ / (√v̂ + eps) in partial sums, to be added up: times the learning rate, their root is the update's norm, weight decay aside.
 * @param first AdamW's first moments; or the gradients, where `second` is left out: then it is the update of a first step
 * @param second AdamW's second moments, in parts like those of `first`
 * @returns [C]
 */
export function updateNorm(gpu: Gpu, first: Matrix, second: Matrix | undefined, rule: UpdateRule): Tensor {
  const sizes = first.parts.map(({ rows }) => rows * first.columns);
  const counts = sizes.map((size) => stageOne(size, 64, 32768));
  const partial = gpu.empty([counts.reduce((sum, count) => sum + count, 0)], "update_norm");
  let to = 0;
  first.parts.forEach(({ tensor, from }, i) => {
    const other = second?.parts[i] ?? { tensor, from };
    const scalars = {
      size: sizes[i],
      firstOffset: from,
      secondOffset: other.from,
      C: counts[i],
      to,
      squared: second ? 0 : 1,
      firstScale: second ? 1 / (1 - rule.beta1 ** rule.step) : 1,
      secondScale: second ? 1 / (1 - rule.beta2 ** rule.step) : 1,
      eps: rule.eps,
    };
    const bindings = { first: tensor, second: other.tensor, partial };
    gpu.run(updateNormKernel, bindings, scalars, [Math.ceil(counts[i] / 64)]);
    to += counts[i];
  });
  return partial;
}

/** The norm in f64 on the host. */
export function updateNormReference(
  first: ArrayLike<number>,
  second: ArrayLike<number> | undefined,
  { beta1, beta2, eps, step }: UpdateRule,
): number {
  let squares = 0;
  for (let i = 0; i < first.length; i++) {
    const u = second
      ? first[i] / (1 - beta1 ** step) / (Math.sqrt(second[i] / (1 - beta2 ** step)) + eps)
      : first[i] / (Math.abs(first[i]) + eps);
    if (Number.isFinite(u)) squares += u ** 2;
  }
  return Math.sqrt(squares);
}
