/** Picks rows: the output layer is worth computing only where a token is scored, which here is a third of all positions. */
import source from "./gather_rows.wgsl" with { type: "text" };
import { elementwise, type Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import { gradientTarget, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

const gather = kernel("gather_rows", source);
const none = 0xffffffff;

/**
 * The rows `rows` of `x` [T, D], in that order. Differentiable: rows not picked get a gradient of zero.
 * @param rows positions in [0, T), strictly rising
 * @returns [R, D]
 * @throws if the rows do not rise or leave `x`
 */
export function gatherRows(gpu: Gpu, x: Tensor, rows: Uint32Array<ArrayBuffer>): Tensor {
  const [T, D] = x.shape;
  const R = rows.length;
  rows.forEach((row, i) => {
    if (row >= T || (i > 0 && row <= rows[i - 1])) {
      throw new Error(
        `gatherRows: row ${row} at position ${i} does not rise strictly within the ${T} rows of ${x.name}`,
      );
    }
  });
  const picked = gpu.empty([R, D], "gather_rows");
  const map = gpu.from(rows, [R], "gather_rows.map");
  gpu.run(gather, { x, map, y: picked }, { M: R, D, accumulate: 0 }, elementwise(R * D));
  gpu.release(map);
  if (!gpu.tape || !x.requiresGrad) return picked;
  const inverse = new Uint32Array(T).fill(none);
  rows.forEach((row, i) => inverse[row] = i);
  const back = gpu.from(inverse, [T], "gather_rows.inverse");
  record(gpu, "gather_rows", [x], [picked], ([gradient]) => {
    const dx = gradientTarget(gpu, x);
    if (!gradient || !dx) return;
    const scalars = { M: T, D, accumulate: dx.accumulate };
    gpu.run(gather, { x: gradient, map: back, y: dx.into }, scalars, elementwise(T * D));
  }, [back]);
  return picked;
}

/** The same on the host, with the gradient of `x` for the gradient `dy` [R, D] of the result. */
export function gatherRowsReference(
  x: ArrayLike<number>,
  D: number,
  rows: ArrayLike<number>,
  dy?: ArrayLike<number>,
): { y: Float64Array; dx: Float64Array } {
  const y = new Float64Array(rows.length * D), dx = new Float64Array(x.length);
  for (let i = 0; i < rows.length; i++) {
    for (let d = 0; d < D; d++) {
      y[i * D + d] = x[rows[i] * D + d];
      if (dy) dx[rows[i] * D + d] += dy[i * D + d];
    }
  }
  return { y, dx };
}
