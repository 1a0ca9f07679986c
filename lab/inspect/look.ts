/** Looks at a matrix on the device: cells, counts, marginals, values. Only what is shown leaves the device. */
import type { Gpu } from "../../kernels/gpu.ts";
import { type Cells, cellStarts, heatMap, readCells } from "../../kernels/heat_map.ts";
import { histogram as histogramOf, histogramEdges, readHistogram } from "../../kernels/histogram.ts";
import type { Matrix } from "../../kernels/matrix.ts";
import { Profile } from "../../kernels/profile.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import { quantiles, usualMagnitudes, usualQuantiles } from "./quantiles.ts";
import {
  type Cost,
  type Histogram,
  type Marginals,
  mostValues,
  type Overview,
  type Rect,
  type Values,
} from "./types.ts";

/**
 * Encodes, submits and reads back, telling what the kernels took.
 * @param encode returns what is to be read; it is freed afterwards
 */
export async function measured<T>(
  gpu: Gpu,
  bytes: number,
  encode: () => Tensor[],
  read: (values: Uint32Array<ArrayBuffer>[]) => T,
): Promise<{ result: T; cost: Cost }> {
  const start = performance.now();
  gpu.submit();
  // Somebody else may be timing this.
  const profile = gpu.facts.timestamps && !gpu.profile ? new Profile(gpu) : null;
  if (profile) gpu.profile = profile;
  let tensors: Tensor[];
  try {
    tensors = gpu.scope(encode);
    gpu.submit();
  } finally {
    if (profile) gpu.profile = null;
  }
  try {
    const values = await gpu.readU32(...tensors);
    const times = await profile?.each();
    const gpuMilliseconds = times?.reduce((sum, microseconds) => sum + microseconds / 1000, 0);
    const result = read(values);
    return { result, cost: { bytes, gpuMilliseconds, milliseconds: performance.now() - start } };
  } finally {
    for (const tensor of tensors) gpu.release(tensor);
    profile?.destroy();
  }
}

/** Words as the floats that they are. */
export function floats(words: Uint32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  return new Float32Array(words.buffer, words.byteOffset, words.length);
}

/** The power of two that brings a tensor's largest magnitude to about 1, so that squares neither over- nor underflow. */
function scaleOf(largest: number): number {
  return largest > 0 ? 2 ** -Math.max(-126, Math.min(126, Math.floor(Math.log2(largest)))) : 1;
}

/** Whether squares of numbers up to this one are sure to stay within f32, and to be told from zero, without a scale. */
function needsScale(largest: number): boolean {
  return largest > 1e15 || (largest > 0 && largest < 1e-12);
}

/**
 * A part of a matrix in at most width × height cells.
 * @param order as the service's `overview` takes it
 */
export async function overviewOf(
  gpu: Gpu,
  matrix: Matrix,
  rect: Rect,
  width: number,
  height: number,
  order?: Uint32Array<ArrayBuffer>,
): Promise<Omit<Overview, "id">> {
  const part = clipped(matrix, rect);
  const rowStarts = cellStarts(part.row0, part.row1, height);
  const columnStarts = cellStarts(part.column0, part.column1, width);
  const { result, cost } = await cellsOf(gpu, matrix, rowStarts, columnStarts, order);
  const over = (sums: Float64Array, finish: (mean: number) => number) =>
    Float32Array.from(sums, (sum, i) => result.finite[i] > 0 ? finish(sum / result.finite[i]) : 0);
  return {
    rect: part,
    width: columnStarts.length - 1,
    height: rowStarts.length - 1,
    rowStarts,
    columnStarts,
    extreme: result.extreme,
    mean: over(result.sum, (mean) => mean),
    rms: over(result.squares, Math.sqrt),
    nonFinite: result.nonFinite,
    zeros: result.zeros,
    cost,
  };
}

async function cellsOf(
  gpu: Gpu,
  matrix: Matrix,
  rowStarts: Uint32Array<ArrayBuffer>,
  columnStarts: Uint32Array<ArrayBuffer>,
  order?: Uint32Array<ArrayBuffer>,
): Promise<{ result: Cells; cost: Cost }> {
  const elements = (rowStarts.at(-1)! - rowStarts[0]) * (columnStarts.at(-1)! - columnStarts[0]);
  const pass = (scale: number) =>
    measured(
      gpu,
      4 * elements,
      () => [heatMap(gpu, matrix, rowStarts, columnStarts, scale, order)],
      ([raw]) => readCells(raw, rowStarts, columnStarts, scale),
    );
  const first = await pass(1);
  const largest = first.result.extreme.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (!needsScale(largest)) return first;
  const { result, cost } = await pass(scaleOf(largest));
  return { result, cost: both(first.cost, cost) };
}

/** What two passes cost together. */
function both(a: Cost, b: Cost): Cost {
  return {
    bytes: a.bytes + b.bytes,
    gpuMilliseconds: a.gpuMilliseconds === undefined ? undefined : a.gpuMilliseconds + b.gpuMilliseconds!,
    milliseconds: a.milliseconds + b.milliseconds,
  };
}

/** What of a rectangle lies within a matrix. @throws RangeError where nothing does */
function clipped({ rows, columns }: Matrix, rect: Rect): Rect {
  const part = {
    row0: Math.max(0, rect.row0),
    row1: Math.min(rows, rect.row1),
    column0: Math.max(0, rect.column0),
    column1: Math.min(columns, rect.column1),
  };
  if (!(part.row0 < part.row1 && part.column0 < part.column1)) {
    throw new RangeError(
      `Rows ${rect.row0} to ${rect.row1} and columns ${rect.column0} to ${rect.column1} are not in a matrix of [${rows}, ${columns}].`,
    );
  }
  return part;
}

/** Counts every element of a matrix. Two passes where the first one's sums over- or underflow. */
export async function countsOf(gpu: Gpu, matrix: Matrix): Promise<Omit<Histogram, "id">> {
  const bytes = 4 * matrix.rows * matrix.columns;
  const pass = (scale: number) =>
    measured(
      gpu,
      bytes,
      () => Object.values(histogramOf(gpu, matrix, scale)),
      ([counts, partial]) => readHistogram(counts, floats(partial), scale),
    );
  let { result: counted, cost } = await pass(1);
  const largest = Math.max(-counted.min, counted.max);
  if (needsScale(largest)) {
    const again = await pass(scaleOf(largest));
    counted = again.result;
    cost = both(cost, again.cost);
  }
  const { positive, negative, zeros, nan, plusInfinity, minusInfinity, firstNonFinite, min, max } = counted;
  const count = matrix.rows * matrix.columns, finite = count - nan - plusInfinity - minusInfinity;
  const mean = finite > 0 ? counted.sum / finite : 0;
  const square = finite > 0 ? counted.squares / finite : 0;
  return {
    edges: histogramEdges,
    positive,
    negative,
    count,
    finite,
    zeros,
    subnormals: subnormals(positive) + subnormals(negative),
    nan,
    plusInfinity,
    minusInfinity,
    firstNonFinite: firstNonFinite < 0 ? undefined : {
      row: Math.floor(firstNonFinite / matrix.columns),
      column: firstNonFinite % matrix.columns,
    },
    min,
    max,
    mean,
    rms: Math.sqrt(square),
    deviation: Math.sqrt(Math.max(0, square - mean ** 2)),
    quantiles: quantiles(counted, usualQuantiles, { min, max }),
    magnitudes: quantiles(counted, usualMagnitudes, { magnitudes: true, max: largest }),
    cost,
  };
}

/** The first eight bins are those of exponent 0. */
function subnormals(bins: Uint32Array): number {
  return bins.subarray(0, 8).reduce((sum, count) => sum + count, 0);
}

/** Bands that a matrix is cut into for sums over its columns, at most: enough to keep a device busy. */
const columnBands = 256;

/** Norm, mean and largest magnitude of each row, or of each column. */
export async function marginalsOf(
  gpu: Gpu,
  matrix: Matrix,
  axis: "rows" | "columns",
): Promise<Omit<Marginals, "id">> {
  const { rows, columns } = matrix;
  const rowStarts = cellStarts(0, rows, axis === "rows" ? rows : columnBands);
  const columnStarts = axis === "rows" ? Uint32Array.of(0, columns) : cellStarts(0, columns, columns);
  const { result, cost } = await cellsOf(gpu, matrix, rowStarts, columnStarts);
  const count = axis === "rows" ? rows : columns, bands = result.extreme.length / count;
  const [norm, mean, largest, finite] = [0, 1, 2, 3].map(() => new Float64Array(count));
  const nonFinite = new Uint32Array(count);
  for (let band = 0; band < bands; band++) {
    for (let i = 0; i < count; i++) {
      const cell = band * count + i;
      norm[i] += result.squares[cell];
      mean[i] += result.sum[cell];
      largest[i] = Math.max(largest[i], Math.abs(result.extreme[cell]));
      finite[i] += result.finite[cell];
      nonFinite[i] += result.nonFinite[cell];
    }
  }
  for (let i = 0; i < count; i++) {
    norm[i] = Math.sqrt(norm[i]);
    mean[i] = finite[i] > 0 ? mean[i] / finite[i] : 0;
  }
  return { axis, norm, mean, largest, nonFinite, cost };
}

/**
 * Exact values, bit for bit.
 * @throws RangeError where they are too many, or not in the matrix
 */
export async function valuesOf(gpu: Gpu, matrix: Matrix, rect: Rect): Promise<Omit<Values, "id">> {
  const part = clipped(matrix, rect);
  const [row0, column0] = [Math.floor(part.row0), Math.floor(part.column0)];
  const [row1, column1] = [Math.ceil(part.row1), Math.ceil(part.column1)];
  const width = column1 - column0, height = row1 - row0;
  if (width * height > mostValues) {
    throw new RangeError(`${height} × ${width} values are asked for, and ${mostValues} can be had at once.`);
  }
  const wanted: { tensor: Tensor; from: number; count: number }[] = [];
  let start = 0;
  for (const { tensor, from, rows } of matrix.parts) {
    for (let row = Math.max(row0, start); row < Math.min(row1, start + rows); row++) {
      wanted.push({ tensor, from: from + (row - start) * matrix.columns + column0, count: width });
    }
    start += rows;
  }
  const values = new Float32Array(width * height);
  const words = new Uint32Array(values.buffer); // copied as words: a NaN's payload need not survive as a number
  (await gpu.readParts(wanted)).forEach((row, i) => words.set(new Uint32Array(row.buffer), i * width));
  return { row0, row1, column0, column1, values };
}
