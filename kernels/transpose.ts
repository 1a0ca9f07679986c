/** A matrix turned over, in a copy. */
import source from "./transpose.wgsl" with { type: "text" };
import type { Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import type { Tensor } from "./tensor.ts";
import { windowAt, windowed, windowRows } from "./window.ts";

const fromStorage = kernel("transpose", source);
const fromWindows = kernel("transpose", windowed(source, "x"));

/**
 * y [columns, rows] = xᵀ, for x [rows, columns] from element `offset` on, rows `stride` apart, and those of y `yStride`.
 * Columns, offset and stride are multiples of 4.
 * @param windows read x through windows (window.ts), where its rows fit into one
 */
export function transpose(
  gpu: Gpu,
  x: Tensor,
  y: Tensor,
  from: { rows: number; columns: number; offset?: number; stride?: number; yStride?: number },
  windows = false,
): void {
  const { rows, columns, offset = 0, stride = columns, yStride = rows } = from;
  if ([columns, offset, stride].some((extent) => extent % 4 !== 0)) {
    throw new Error(`transpose of ${x.name}: columns, offset and stride must be multiples of 4`);
  }
  const height = Math.min(columns / 4, 32768);
  const grid = (count: number) => [Math.ceil(count / 8), height, Math.ceil(columns / 4 / height)] as const;
  const step = windows ? windowRows(offset, stride, columns, 1) : 0;
  if (step === 0) {
    gpu.run(fromStorage, { x, y }, { rows, columns, offset, stride, yOffset: 0, yStride }, grid(rows));
    return;
  }
  for (let r = 0; r < rows; r += step) {
    const at = windowAt(x, offset + r * stride), count = Math.min(step, rows - r);
    const params = { rows: count, columns, offset: at.offset, stride, yOffset: r, yStride };
    gpu.run(fromWindows, { x, y }, params, grid(count), undefined, { x: at.start });
  }
}

/** The same in f64 on the host. */
export function transposeReference(x: ArrayLike<number>, rows: number, columns: number): Float64Array {
  return Float64Array.from(
    { length: rows * columns },
    (_, i) => x[(i % rows) * columns + Math.floor(i / rows)],
  );
}
