/** Deterministic two-stage reductions: partial sums in a fixed order, then a second dispatch that adds the partials in order. */
import fillSource from "./fill.wgsl" with { type: "text" };
import foldSource from "./fold.wgsl" with { type: "text" };
import sumSource from "./sum.wgsl" with { type: "text" };
import sumRowsSource from "./sum_rows.wgsl" with { type: "text" };
import { elementwise, type Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import { gradientTarget, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

const fillKernel = kernel("fill", fillSource);
const foldKernel = kernel("fold", foldSource);
const sumKernel = kernel("sum", sumSource);
const sumRowsKernel = kernel("sum_rows", sumRowsSource);

/** One workgroup a row, folded into two dimensions: WebGPU allows 65,535 in each. */
export function rowGrid(rows: number): [number, number] {
  const x = Math.min(rows, 32768);
  return [x, Math.ceil(rows / Math.max(1, x))];
}

/** sums [D] (+)= the column sums of `partial` [C, D], row by row. */
export function sumRows(gpu: Gpu, partial: Tensor, sums: Tensor, accumulate: 0 | 1): void {
  const [C, D] = partial.shape;
  gpu.run(sumRowsKernel, { partial, sums }, { C, D, accumulate }, [Math.ceil(D / 64)]);
}

/**
 * How many invocations share `size` elements in a first stage: about `each` elements for one, at most `most` invocations.
 * Depends on nothing but its arguments, so that the order of summation is the same on every device.
 */
export function stageOne(size: number, each = 16, most = 8192): number {
  return Math.max(1, Math.min(most, Math.ceil(size / each)));
}

/**
 * The second stage: adds up the rows of `partial` [C, S]. Columns from `maxFrom` on are maxima instead of sums.
 * @param into accumulate into these sums [S] of earlier calls (which must have started as zeros) rather than into a new tensor
 * @returns sums [S], and `first` [1]: `scale` times the sum of column 0 of this call alone
 */
export function fold(
  gpu: Gpu,
  partial: Tensor,
  { scale = 1, maxFrom = Infinity, into }: { scale?: number; maxFrom?: number; into?: Tensor } = {},
): { sums: Tensor; first: Tensor } {
  const [C, S] = partial.shape;
  if (into && into.size !== S) {
    throw new Error(`${into.name} has ${into.size} elements, but ${S} sums go into it`);
  }
  const sums = into ?? gpu.empty([S], "fold.sums"), first = gpu.empty([1], "fold.first");
  const params = { C, S, maxFrom: Math.min(maxFrom, S), accumulate: into ? 1 : 0, scale };
  gpu.run(foldKernel, { partial, sums, first }, params, [S]);
  return { sums, first };
}

/** factor·Σ x over all elements, as a tensor [1]; differentiable. */
export function sum(gpu: Gpu, x: Tensor, factor = 1): Tensor {
  const total = gpu.empty([1], "sum");
  sumInto(gpu, x, { into: total, accumulate: 0 }, factor);
  record(gpu, "sum", [x], [total], ([dtotal]) => {
    const dx = dtotal && gradientTarget(gpu, x);
    if (!dx) return;
    const params = { size: x.size, factor, accumulate: dx.accumulate };
    gpu.run(fillKernel, { by: dtotal, y: dx.into }, params, elementwise(x.size));
  });
  return total;
}

/** The mean of all elements, as a tensor [1]; differentiable. */
export function mean(gpu: Gpu, x: Tensor): Tensor {
  return sum(gpu, x, 1 / x.size);
}

/** into [1] (+)= factor·Σ x. */
export function sumInto(
  gpu: Gpu,
  x: Tensor,
  { into, accumulate }: { into: Tensor; accumulate: 0 | 1 },
  factor = 1,
): void {
  const C = stageOne(x.size);
  gpu.scope(() => {
    const partial = gpu.empty([C, 1], "sum.partial");
    gpu.run(sumKernel, { x, partial }, { size: x.size, C }, [Math.ceil(C / 64)]);
    const { first } = fold(gpu, partial, { scale: factor });
    if (accumulate) gpu.addInto(into, first);
    else gpu.copy(into, first);
  });
}
