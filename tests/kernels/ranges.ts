/** Matrices in row ranges, for the tests of the kernels that read them. */
import type { Gpu } from "../../kernels/gpu.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import { parameter } from "./testing.ts";

/** `values` [V, D] as parameters, cut before the rows `cuts`. */
export function tensorRanges(
  gpu: Gpu,
  values: Float32Array<ArrayBuffer>,
  V: number,
  D: number,
  cuts: readonly number[] = [],
): Tensor[] {
  const ends = [...cuts, V];
  return ends.map((end, i) => {
    const start = i === 0 ? 0 : ends[i - 1];
    return parameter(gpu, values.slice(start * D, end * D), [end - start, D], `rows ${start}`);
  });
}

/** The ranges' numbers in one array. */
export function fold(parts: readonly Float32Array[]): Float32Array {
  return Float32Array.from(parts.flatMap((part) => [...part]));
}
