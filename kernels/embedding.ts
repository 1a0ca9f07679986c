/** Token embedding over a table that may be too long for one binding. */
import forwardSource from "./embedding.wgsl" with { type: "text" };
import gradSource from "./embedding_grad.wgsl" with { type: "text" };
import { elementwise, type Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import { gradientTarget, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

const forward = kernel("embedding", forwardSource);
const grad = kernel("embedding_grad", gradSource);

/**
 * A [V, D] matrix as consecutive row ranges, each a tensor [rows, D] within the limits of one binding and with a gradient of
 * its own. Row v of the matrix is row v − (rows of the ranges before) of its range.
 */
export type RowRanges = readonly Tensor[];

/** V and D of a matrix in ranges. */
export function rangesShape(ranges: RowRanges): [number, number] {
  return [ranges.reduce((rows, range) => rows + range.shape[0], 0), ranges[0].shape[1]];
}

/** Which positions hold which id, sorted on the host, so that the gradient of each row of the table has one owner. */
export interface EmbeddingIndex {
  /** u32 [T]: positions sorted by id, equal ids by position. */
  order: Tensor;
  /** u32 [N + 1]: where the positions of each distinct id begin in `order`. */
  starts: Tensor;
  /** u32 [N]: the distinct ids, rising. */
  distinct: Tensor;
  /** `distinct` on the host. */
  ids: Uint32Array<ArrayBuffer>;
}

/**
 * Sorts the ids [T] of a micro-batch for {@link embedding}'s gradient. The tensors live until the end of the current scope,
 * which must not end before the backward pass.
 */
export function embeddingIndex(gpu: Gpu, ids: Uint32Array): EmbeddingIndex {
  const T = ids.length;
  // One number sorts by id, then by position: both fit 53 bits together.
  const keys = Float64Array.from(ids, (id, t) => id * T + t).sort();
  const order = new Uint32Array(T);
  const starts: number[] = [];
  const distinct: number[] = [];
  keys.forEach((key, j) => {
    const id = Math.floor(key / T);
    order[j] = key - id * T;
    if (distinct.at(-1) !== id) {
      distinct.push(id);
      starts.push(j);
    }
  });
  starts.push(T);
  const rising = Uint32Array.from(distinct);
  return {
    order: gpu.from(order, [T], "embedding.order"),
    starts: gpu.from(Uint32Array.from(starts), [starts.length], "embedding.starts"),
    distinct: gpu.from(rising, [rising.length], "embedding.ids"),
    ids: rising,
  };
}

/**
 * Rows of the table by id: x[t] = table[tokens[t]].
 * @param table [V, D] in row ranges
 * @param tokens u32 [T]
 * @param index of the same tokens; needed where a gradient of the table is wanted
 * @returns [T, D]; a row is NaN where an unchecked id lies outside the table
 * @throws if an id of `index` lies outside the table
 */
export function embedding(gpu: Gpu, table: RowRanges, tokens: Tensor, index?: EmbeddingIndex): Tensor {
  const [V, D] = rangesShape(table);
  const T = tokens.size;
  const largest = index?.ids.at(-1);
  if (largest !== undefined && largest >= V) {
    throw new Error(`embedding: id ${largest} is outside the table of ${V} rows (${table[0].name})`);
  }
  const x = gpu.empty([T, D], "embedding");
  let first = 0;
  for (const rows of table) {
    const count = rows.shape[0];
    const last = first + count === V ? 1 : 0;
    gpu.run(forward, { rows, tokens, x }, { T, D, first, count, last, outside: NaN }, elementwise(T * D));
    first += count;
  }
  if (!gpu.tape || !table.some((rows) => rows.requiresGrad)) return x;
  if (!index) {
    throw new Error("embedding: the table wants a gradient, so the tokens' embeddingIndex must be given");
  }
  const { order, starts, distinct, ids } = index;
  record(gpu, "embedding", table, [x], ([dx]) => {
    if (!dx) return;
    let first = 0, begin = 0;
    for (const rows of table) {
      let end = begin;
      while (end < ids.length && ids[end] < first + rows.shape[0]) end++;
      const target = gradientTarget(gpu, rows);
      if (target) {
        if (!target.accumulate) gpu.clear(target.into);
        const scalars = { D, first, begin, end };
        const size = (end - begin) * D;
        if (size > 0) {
          gpu.run(grad, { dx, order, starts, ids: distinct, dRows: target.into }, scalars, elementwise(size));
        }
      }
      first += rows.shape[0];
      begin = end;
    }
  });
  return x;
}

/** The same in f64 on the host, with the gradient of the table for the gradient `dx` [T, D] of the result. */
export function embeddingReference(
  table: ArrayLike<number>,
  D: number,
  tokens: ArrayLike<number>,
  dx?: ArrayLike<number>,
): { x: Float64Array; dtable: Float64Array } {
  const x = new Float64Array(tokens.length * D), dtable = new Float64Array(table.length);
  for (let t = 0; t < tokens.length; t++) {
    for (let d = 0; d < D; d++) {
      x[t * D + d] = table[tokens[t] * D + d];
      if (dx) dtable[tokens[t] * D + d] += dx[t * D + d];
    }
  }
  return { x, dtable };
}
