/** How the elements of a matrix are spread: counts by sign and magnitude over the whole range of f32, from which quantiles follow. */
import source from "./histogram.wgsl" with { type: "text" };
import { mostIterations } from "./device.ts";
import type { Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import type { Matrix } from "./matrix.ts";
import type { Tensor } from "./tensor.ts";

const histogramKernel = kernel("histogram", source);

/** Bins for one sign: 255 finite exponents (that of subnormal numbers included), each in eight. */
export const histogramBins = 2040;

/** Elements that a workgroup takes at a time, by lanes. */
const run = 256;

/** What lies between bins of one sign: 2041 edges, from 0 to 2¹²⁸. Bin b holds magnitudes in [edges[b], edges[b + 1]). */
export const histogramEdges: Float64Array<ArrayBuffer> = (() => {
  const bits = Uint32Array.from({ length: histogramBins + 1 }, (_, b) => b << 20);
  const edges = Float64Array.from(new Float32Array(bits.buffer));
  edges[histogramBins] = 2 ** 128;
  return edges;
})();

/**
 * Counts and sums every element.
 * @param scale multiplies every element before it is summed: a power of two, so that no square over- or underflows
 * @returns counts u32 [slices, 4096] and partial sums f32 [G, 2], for {@link readHistogram}
 */
export function histogram(
  gpu: Gpu,
  { columns, parts }: Matrix,
  scale = 1,
): { counts: Tensor; partial: Tensor } {
  // On a CPU each core has a slice of its own, so that none waits for another's cache.
  const { lanes, words, most, slices } = gpu.facts.software
    ? { lanes: 8, words: 16, most: 32, slices: 32 }
    : { lanes: 256, words: 4096, most: 256, slices: 1 };
  const groupsOf = (size: number) => {
    const runs = Math.ceil(size / (run * lanes));
    // A run of 256 elements a lane is as many iterations, and one more for itself.
    return Math.max(1, Math.min(most, runs), Math.ceil(runs / Math.floor(mostIterations / (run + 1))));
  };
  const rows = parts.reduce((sum, part) => sum + groupsOf(part.rows * columns), 0);
  const counts = gpu.empty([slices, 4096], "histogram", "u32"),
    partial = gpu.empty([rows, 2], "histogram.partial");
  gpu.clear(counts);
  let to = 0, base = 0;
  for (const { tensor, from, rows } of parts) {
    const size = rows * columns, groups = groupsOf(size);
    const scalars = { size, offset: from, base, to, groups, slices, scale };
    gpu.run(histogramKernel, { x: tensor, counts, partial }, scalars, [groups], { lanes, words });
    to += groups;
    base += size;
  }
  return { counts, partial };
}

/** A histogram on the host. */
export interface Counted {
  /** [2040] each: finite elements above and below zero, by magnitude; see {@link histogramEdges}. */
  positive: Uint32Array<ArrayBuffer>;
  negative: Uint32Array<ArrayBuffer>;
  zeros: number;
  plusInfinity: number;
  minusInfinity: number;
  nan: number;
  /** Place, row-major, of the first element that is not finite; -1 where all are. */
  firstNonFinite: number;
  /** Of the finite elements; 0 where there are none. */
  min: number;
  max: number;
  /** Σ x and Σ x² over the finite elements. */
  sum: number;
  squares: number;
}

/** Makes sense of what {@link histogram} left. */
export function readHistogram(
  slices: Uint32Array<ArrayBuffer>,
  partial: Float32Array<ArrayBuffer>,
  scale = 1,
): Counted {
  let sum = 0, squares = 0;
  for (let g = 0; g < partial.length; g += 2) {
    sum += partial[g];
    squares += partial[g + 1];
  }
  const counts = slices.slice(0, 4096);
  for (let at = 4096; at < slices.length; at++) {
    const slot = at % 4096;
    if (slot < 4084) counts[slot] += slices[at];
    else counts[slot] = Math.max(counts[slot], slices[at]);
  }
  const [zeros, plusInfinity, minusInfinity, nan] = counts.subarray(4080, 4084);
  const magnitude = (bits: number) => new Float32Array(Uint32Array.of(bits).buffer)[0];
  const [largest, lowest, notSmallest, notHighest] = counts.subarray(4084, 4088);
  // Of one sign alone, the end towards zero is that sign's smallest magnitude, unless there are zeros.
  const max = largest > 0 ? magnitude(largest) : zeros > 0 || lowest === 0 ? 0 : -magnitude(~notHighest);
  const min = lowest > 0 ? -magnitude(lowest) : zeros > 0 || largest === 0 ? 0 : magnitude(~notSmallest);
  return {
    positive: counts.slice(0, histogramBins),
    negative: counts.slice(histogramBins, 2 * histogramBins),
    zeros,
    plusInfinity,
    minusInfinity,
    nan,
    firstNonFinite: counts[4088] === 0 ? -1 : ~counts[4088] >>> 0,
    min,
    max,
    sum: sum / scale,
    squares: squares / scale / scale,
  };
}

/** The same in f64 on the host. */
export function histogramReference(x: Float32Array<ArrayBuffer>): Counted {
  const bits = new Uint32Array(x.buffer, x.byteOffset, x.length);
  const counted: Counted = {
    positive: new Uint32Array(histogramBins),
    negative: new Uint32Array(histogramBins),
    zeros: 0,
    plusInfinity: 0,
    minusInfinity: 0,
    nan: 0,
    firstNonFinite: -1,
    min: 0,
    max: 0,
    sum: 0,
    squares: 0,
  };
  let finite = 0;
  x.forEach((value, i) => {
    if (!Number.isFinite(value)) {
      if (counted.firstNonFinite < 0) counted.firstNonFinite = i;
      if (Number.isNaN(value)) counted.nan++;
      else if (value > 0) counted.plusInfinity++;
      else counted.minusInfinity++;
      return;
    }
    counted.min = finite === 0 ? value : Math.min(counted.min, value);
    counted.max = finite === 0 ? value : Math.max(counted.max, value);
    finite++;
    counted.sum += value;
    counted.squares += value ** 2;
    if (value === 0) counted.zeros++;
    else (value > 0 ? counted.positive : counted.negative)[(bits[i] & 0x7fffffff) >> 20]++;
  });
  return counted;
}
