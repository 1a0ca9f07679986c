/** The sum of each column: the gradient of a bias. */
import source from "./column_sums.wgsl" with { type: "text" };
import type { Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import { sumRows } from "./reduce.ts";
import type { Tensor } from "./tensor.ts";

const columnSumsKernel = kernel("column_sums", source);

/** Rows that one invocation sums before the second stage. */
const chunkRows = 64;

/** sums [N] (+)= the column sums of `y` [T, N]: chunks of 64 rows in order, then the chunks in order. */
export function columnSums(gpu: Gpu, y: Tensor, sums: Tensor, accumulate: 0 | 1): void {
  const N = sums.size, T = y.size / N;
  const chunks = Math.ceil(T / chunkRows);
  const partial = gpu.hold([chunks, N], "column_sums.partial");
  gpu.run(columnSumsKernel, { y, partial }, { T, N, rows: chunkRows }, [Math.ceil(N / 64), chunks]);
  sumRows(gpu, partial, sums, accumulate);
  gpu.release(partial);
}
