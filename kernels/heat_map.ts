/** Any matrix in as few numbers as there are pixels: each cell is what all of its elements come to. */
import source from "./heat_map.wgsl" with { type: "text" };
import { mostIterations } from "./device.ts";
import type { Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import type { Matrix, MatrixPart } from "./matrix.ts";
import type { Tensor } from "./tensor.ts";

const heatMapKernel = kernel("heat_map", source);

/** Numbers of a cell in {@link heatMap}'s result. */
const cellNumbers = 5;

/** Bands of one dispatch at most: WebGPU allows 65,535 workgroups in a dimension. */
const mostBands = 32768;

/**
 * Where the cells of one axis begin, for elements [from, to) of it, fractions allowed, in at most `most` cells: rising whole numbers,
 * one more than cells, that cover every element the part touches. No cell is empty; where there are enough cells, each is one element.
 */
export function cellStarts(from: number, to: number, most: number): Uint32Array<ArrayBuffer> {
  const first = Math.floor(from), end = Math.max(first + 1, Math.ceil(to));
  const cells = Math.max(1, Math.min(most, end - first));
  const each = (to - from) / cells;
  return Uint32Array.from({ length: cells + 1 }, (_, i) => {
    if (i === 0) return first;
    if (i === cells) return end;
    // Cells are at least one element wide, so that rounding keeps them apart.
    return end - first <= most ? first + i : Math.round(from + i * each);
  });
}

/**
 * Aggregates cells of a matrix. Both lists of starts rise, have one more entry than there are cells, and stay within the matrix.
 * @param scale multiplies every element before it is summed: a power of two, so that no square over- or underflows
 * @param order the rows in the order in which they are looked at, for the places from the first of `rowStarts` to the last, which then are
 * places in that order; by default as they lie
 * @returns u32 [height, width, 5], for {@link readCells}
 */
export function heatMap(
  gpu: Gpu,
  matrix: Matrix,
  rowStarts: Uint32Array<ArrayBuffer>,
  columnStarts: Uint32Array<ArrayBuffer>,
  scale = 1,
  order?: Uint32Array<ArrayBuffer>,
): Tensor {
  const height = rowStarts.length - 1, width = columnStarts.length - 1;
  if (rowStarts[height] > matrix.rows || columnStarts[width] > matrix.columns) {
    throw new Error(
      `cells up to [${rowStarts[height]}, ${
        columnStarts[width]
      }] leave a matrix of [${matrix.rows}, ${matrix.columns}]`,
    );
  }
  const cells = gpu.empty([height, width, cellNumbers], "heat_map", "u32");
  const columns = gpu.from(columnStarts, [width + 1], "heat_map.columnStarts");
  const bandRows = (rowStarts[height] - rowStarts[0]) / height;
  let widest = 1;
  for (let x = 0; x < width; x++) widest = Math.max(widest, columnStarts[x + 1] - columnStarts[x]);
  const { across, down } = workgroup(gpu, columnStarts[width] - columnStarts[0], bandRows);
  const cellsEach = Math.max(1, Math.floor(across / widest));
  // Rows of a band that one dispatch may take: each goes round once for every `across` columns of its cell, and once more in 64.
  const rounds = Math.ceil(widest / across);
  const mostRows = Math.max(1, Math.floor(down * (mostIterations / rounds - 2) * 64 / 65));
  if (order) gpu.clear(cells);
  for (const { part, starts, order: own, rows, first } of stripsOf(matrix, rowStarts, order)) {
    const bands = gpu.from(starts, [height + 1], "heat_map.rowStarts");
    const list = own && gpu.from(own, [rows], "heat_map.order");
    let tallest = 1;
    for (let y = 0; y < height; y++) tallest = Math.max(tallest, starts[y + 1] - starts[y]);
    const step = tallest > mostRows ? mostRows : rows;
    let band = 0;
    for (let done = 0; done < rows; done += step) {
      const from = first + done, count = Math.min(step, rows - done);
      const offset = part.from + (own ? 0 : done * matrix.columns);
      while (band < height && starts[band + 1] <= from) band++;
      let end = band;
      while (end < height && starts[end] < from + count) end++;
      for (let firstBand = band; firstBand < end; firstBand += mostBands) {
        gpu.run(
          heatMapKernel,
          // Where the rows are as they lie, no order is read.
          { x: part.tensor, rowStarts: bands, columnStarts: columns, order: list ?? bands, cells },
          { columns: matrix.columns, offset, first: from, count, width, cellsEach, firstBand, scale },
          [Math.ceil(width / cellsEach), Math.min(mostBands, end - firstBand)],
          { across, down, ordered: own ? 1 : 0 },
        );
      }
    }
    for (const tensor of [bands, ...list ? [list] : []]) gpu.release(tensor);
  }
  gpu.release(columns);
  return cells;
}

/** What the kernel takes of one part of a matrix. */
interface Strip {
  part: MatrixPart;
  /** Where bands begin, in rows of the matrix, or in places of `order`. */
  starts: Uint32Array<ArrayBuffer>;
  /** Rows of the part in the order in which they are looked at. */
  order?: Uint32Array<ArrayBuffer>;
  /** How many rows are taken of the part, and the first of them as `starts` count. */
  rows: number;
  first: number;
}

function stripsOf(
  { rows, parts }: Matrix,
  rowStarts: Uint32Array<ArrayBuffer>,
  order: Uint32Array<ArrayBuffer> | undefined,
): Strip[] {
  let first = 0;
  if (!order) {
    return parts.map((part) => {
      const strip = { part, starts: rowStarts, rows: part.rows, first };
      first += part.rows;
      return strip;
    });
  }
  const height = rowStarts.length - 1;
  if (order.length !== rowStarts[height] - rowStarts[0]) {
    throw new Error(`an order of ${order.length} rows is given for ${rowStarts[height] - rowStarts[0]}`);
  }
  const stray = order.find((row) => row >= rows);
  if (stray !== undefined) throw new Error(`row ${stray} of an order is not among ${rows}`);
  return parts.map((part) => {
    const own = new Uint32Array(order.length), starts = new Uint32Array(height + 1);
    let count = 0;
    for (let band = 0; band < height; band++) {
      for (let place = rowStarts[band]; place < rowStarts[band + 1]; place++) {
        const row = order[place - rowStarts[0]] - first;
        if (row >= 0 && row < part.rows) own[count++] = row;
      }
      starts[band + 1] = count;
    }
    first += part.rows;
    return { part, starts, order: own.slice(0, count), rows: count, first: 0 };
  }).filter((strip) => strip.rows > 0);
}

/** Lanes along a row and rows at once: 256 lanes, as many of them along a row as there are columns; on CPU adapters one vector. */
function workgroup(gpu: Gpu, columns: number, bandRows: number): { across: number; down: number } {
  if (gpu.facts.software) return { across: 8, down: 1 };
  let across = 64;
  while (across < 256 && across < columns && bandRows * across < 256) across *= 2;
  let down = 256 / across;
  while (down > 1 && down > bandRows) down /= 2;
  return { across, down };
}

/** Cells on the host: [height, width] each. */
export interface Cells {
  /** The finite element of largest magnitude; 0 where there is none. */
  extreme: Float32Array<ArrayBuffer>;
  /** Σ x and Σ x² over the finite elements. */
  sum: Float64Array<ArrayBuffer>;
  squares: Float64Array<ArrayBuffer>;
  /** Elements that are finite, not finite, exactly zero. */
  finite: Uint32Array<ArrayBuffer>;
  nonFinite: Uint32Array<ArrayBuffer>;
  zeros: Uint32Array<ArrayBuffer>;
}

/** Makes sense of what {@link heatMap} left, given what it was given. */
export function readCells(
  raw: Uint32Array<ArrayBuffer>,
  rowStarts: ArrayLike<number>,
  columnStarts: ArrayLike<number>,
  scale = 1,
): Cells {
  const width = columnStarts.length - 1, count = raw.length / cellNumbers;
  const floats = new Float32Array(raw.buffer, raw.byteOffset, raw.length);
  const extreme = new Uint32Array(count);
  const sum = new Float64Array(count), squares = new Float64Array(count);
  const [finite, nonFinite, zeros] = [0, 1, 2].map(() => new Uint32Array(count));
  for (let i = 0; i < count; i++) {
    const at = i * cellNumbers, y = Math.floor(i / width), x = i - y * width;
    const elements = (rowStarts[y + 1] - rowStarts[y]) * (columnStarts[x + 1] - columnStarts[x]);
    nonFinite[i] = raw[at + 3];
    zeros[i] = raw[at + 4];
    finite[i] = elements - nonFinite[i];
    extreme[i] = finite[i] > 0 ? (raw[at] >>> 1) | (~raw[at] << 31) : 0;
    sum[i] = floats[at + 1] / scale;
    squares[i] = floats[at + 2] / scale / scale;
  }
  return { extreme: new Float32Array(extreme.buffer), sum, squares, finite, nonFinite, zeros };
}

/** The same in f64 on the host. @param order as {@link heatMap} takes it */
export function heatMapReference(
  x: Float32Array<ArrayBuffer>,
  columns: number,
  rowStarts: ArrayLike<number>,
  columnStarts: ArrayLike<number>,
  order?: ArrayLike<number>,
): Cells {
  const height = rowStarts.length - 1, width = columnStarts.length - 1, count = height * width;
  const extreme = new Float32Array(count), sum = new Float64Array(count), squares = new Float64Array(count);
  const [finite, nonFinite, zeros] = [0, 1, 2].map(() => new Uint32Array(count));
  for (let cellY = 0; cellY < height; cellY++) {
    for (let cellX = 0; cellX < width; cellX++) {
      const i = cellY * width + cellX;
      for (let place = rowStarts[cellY]; place < rowStarts[cellY + 1]; place++) {
        const row = order ? order[place - rowStarts[0]] : place;
        for (let column = columnStarts[cellX]; column < columnStarts[cellX + 1]; column++) {
          const value = x[row * columns + column];
          if (!Number.isFinite(value)) {
            nonFinite[i]++;
            continue;
          }
          const larger = Math.abs(value) - Math.abs(extreme[i]);
          if (finite[i] === 0 || larger > 0 || (larger === 0 && !(1 / value < 0))) extreme[i] = value;
          finite[i]++;
          if (value === 0) zeros[i]++;
          sum[i] += value;
          squares[i] += value ** 2;
        }
      }
    }
  }
  return { extreme, sum, squares, finite, nonFinite, zeros };
}
