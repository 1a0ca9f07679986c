/** Rows of a matrix in an order other than that in which they lie: by what they measure. */
import type { Marginals, RowMeasure } from "./types.ts";

/**
 * What each row measures, over its finite values; NaN where it has none.
 * @param columns of the matrix
 */
export function rowMeasures(
  { norm, mean, largest, nonFinite }: Marginals,
  columns: number,
  by: Exclude<RowMeasure, "change">,
): Float64Array<ArrayBuffer> {
  return Float64Array.from(norm, (length, row) => {
    const finite = columns - nonFinite[row];
    if (finite === 0) return NaN;
    return { rms: length / Math.sqrt(finite), absolute: largest[row], mean: mean[row] }[by];
  });
}

/**
 * Row numbers by their measures: equal ones as they lie, rows without a measure behind all others.
 * @param rising the smallest first; else the largest
 */
export function rowOrder(measures: ArrayLike<number>, rising = false): Uint32Array<ArrayBuffer> {
  const sign = rising ? 1 : -1;
  const keys = Float64Array.from(measures, (value) => Number.isNaN(value) ? Infinity : sign * value);
  // Two that are infinite have no difference.
  return Uint32Array.from(keys, (_, row) => row)
    .sort((a, b) => keys[a] < keys[b] ? -1 : keys[a] > keys[b] ? 1 : a - b);
}

/** Where each row stands in an order. */
export function placesIn(order: Uint32Array): Uint32Array<ArrayBuffer> {
  const places = new Uint32Array(order.length);
  for (let place = 0; place < order.length; place++) places[order[place]] = place;
  return places;
}
