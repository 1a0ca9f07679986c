/** Rows that repeat earlier rows of the same tensor: what was computed once for several sequences that begin alike. */
import source from "./repeat_rows.wgsl" with { type: "text" };
import { elementwise, type Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import type { Tensor } from "./tensor.ts";

const repeat = kernel("repeat_rows", source);

/**
 * Copies within `x`, whose first extent counts rows: row `first + i` becomes row `sources[i]`. Not differentiable.
 * @param sources u32 [copies]; `rows` are the same on the host, each below `first`
 * @param width elements of each row that are copied, from its beginning; default all
 * @throws if a source is not below `first`, or the copies leave `x`
 */
export function repeatRows(
  gpu: Gpu,
  x: Tensor,
  { first, sources, rows, width }: { first: number; sources: Tensor; rows: Uint32Array; width?: number },
): void {
  const stride = x.size / x.shape[0], copied = width ?? stride;
  if (first + rows.length > x.shape[0] || copied > stride || sources.size !== rows.length) {
    throw new Error(
      `repeatRows: ${rows.length} rows of ${copied} from row ${first} do not fit ${x.name} [${x.shape}]`,
    );
  }
  const late = rows.find((row) => row >= first);
  if (late !== undefined) throw new Error(`repeatRows: row ${late} of ${x.name} is not below row ${first}`);
  const units = rows.length * copied;
  gpu.run(repeat, { sources, x }, { units, first, width: copied, stride }, elementwise(units));
}

/** The same in f64 on the host. */
export function repeatRowsReference(
  x: ArrayLike<number>,
  stride: number,
  { first, rows, width = stride }: { first: number; rows: ArrayLike<number>; width?: number },
): Float64Array {
  const result = Float64Array.from(x);
  for (let i = 0; i < rows.length; i++) {
    for (let j = 0; j < width; j++) result[(first + i) * stride + j] = x[rows[i] * stride + j];
  }
  return result;
}
