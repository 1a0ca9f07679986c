/** Order statistics from counts, with the bin that the true one lies in. */
import { type Counted, histogramBins, histogramEdges } from "../../kernels/histogram.ts";
import type { Histogram, Quantile } from "./types.ts";

/** Quantiles that a histogram comes with. */
export const usualQuantiles = [0.001, 0.005, 0.025, 0.25, 0.5, 0.75, 0.975, 0.995, 0.999];

/** Quantiles of magnitudes that it comes with: scales of colour are cut at the higher ones. */
export const usualMagnitudes = [0.5, 0.9, 0.99, 0.995, 0.999, 0.9999];

type Counts = Pick<Counted, "positive" | "negative" | "zeros">;

/** A run of values between two bounds, from the lowest to the highest. */
interface Bin {
  low: number;
  high: number;
  count: number;
}

function* rising({ positive, negative, zeros }: Counts): Generator<Bin> {
  for (let b = histogramBins - 1; b >= 0; b--) {
    if (negative[b] > 0) yield { low: -histogramEdges[b + 1], high: -histogramEdges[b], count: negative[b] };
  }
  if (zeros > 0) yield { low: 0, high: 0, count: zeros };
  for (let b = 0; b < histogramBins; b++) {
    if (positive[b] > 0) yield { low: histogramEdges[b], high: histogramEdges[b + 1], count: positive[b] };
  }
}

function* risingMagnitudes({ positive, negative, zeros }: Counts): Generator<Bin> {
  if (zeros > 0) yield { low: 0, high: 0, count: zeros };
  for (let b = 0; b < histogramBins; b++) {
    const count = positive[b] + negative[b];
    if (count > 0) yield { low: histogramEdges[b], high: histogramEdges[b + 1], count };
  }
}

/**
 * The values below which so much of the finite elements lies: element ⌈q·n⌉ of the sorted ones. `low` and `high` bound it surely; they are at
 * most an eighth apart, relative to the lower one, for normal numbers. Empty where there are no finite elements.
 */
export function quantiles(
  counts: Counts,
  qs: readonly number[],
  { magnitudes = false, min = -Infinity, max = Infinity } = {},
): Quantile[] {
  const bins = [...(magnitudes ? risingMagnitudes(counts) : rising(counts))];
  const total = bins.reduce((sum, { count }) => sum + count, 0);
  if (total === 0) return [];
  return qs.map((q) => {
    const rank = Math.min(total, Math.max(1, Math.ceil(q * total)));
    let before = 0, at = 0;
    while (before + bins[at].count < rank) before += bins[at++].count;
    const { count } = bins[at];
    const low = Math.max(bins[at].low, min), high = Math.min(bins[at].high, max);
    return { q, value: low + (high - low) * (rank - before - 0.5) / count, low, high };
  });
}

/** The share of the finite elements that are below a value, interpolated within its bin. */
export function shareBelow(histogram: Histogram, value: number): number {
  if (histogram.finite === 0) return 0;
  let below = 0;
  for (const { low, high, count } of rising(histogram)) {
    if (high <= value && low < value) below += count;
    else if (low < value) below += count * (value - low) / (high - low);
  }
  return below / histogram.finite;
}
