/** What a histogram of eight bins an octave tells: even bins to draw. */
import type { Histogram } from "../../inspect/types.ts";

type Counts = Pick<Histogram, "edges" | "positive" | "negative" | "zeros">;

/**
 * Elements in each of so many even bins from `low` to `high`. What lies outside is left out; zeros are in the bin that 0 falls into.
 */
export function evenBins(
  { edges, positive, negative, zeros }: Counts,
  low: number,
  high: number,
  count: number,
): Float64Array {
  const bins = new Float64Array(count), width = (high - low) / count;
  const spread = (from: number, to: number, elements: number) => {
    if (to <= low || from >= high) return;
    const first = Math.max(0, Math.floor((from - low) / width));
    const last = Math.min(count - 1, Math.floor((to - low) / width));
    for (let bin = first; bin <= last; bin++) {
      const start = low + bin * width;
      const part = (Math.min(to, start + width) - Math.max(from, start)) / (to - from);
      if (part > 0) bins[bin] += elements * part;
    }
  };
  for (let bin = 0; bin < positive.length; bin++) {
    if (positive[bin] > 0) spread(edges[bin], edges[bin + 1], positive[bin]);
    if (negative[bin] > 0) spread(-edges[bin + 1], -edges[bin], negative[bin]);
  }
  if (zeros > 0 && low <= 0 && high > 0) bins[Math.min(count - 1, Math.floor(-low / width))] += zeros;
  return bins;
}
