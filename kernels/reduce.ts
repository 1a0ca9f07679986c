/** Deterministic two-stage reductions: partial sums in a fixed order, then a second dispatch that adds the partials in order. */
import sumRowsSource from "./sum_rows.wgsl" with { type: "text" };
import type { Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import type { Tensor } from "./tensor.ts";

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
