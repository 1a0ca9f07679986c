/** What is done to a curve before it is drawn: thinned to what the pixels can show, smoothed, paired with another. */
import { type Curve, lowerBound } from "./columns.ts";

/**
 * Of each of `buckets` equal parts of [from, to] the first, lowest, highest and last point, in order: a line through these covers the
 * same pixels as one through all of them, and no spike is lost. The neighbours outside are kept too, so that lines leave the picture where
 * they should. A value that is not finite breaks the line: one of each run of them is kept, as NaN. Few enough points stay as they are.
 */
export function thinned({ x, y }: Curve, from: number, to: number, buckets: number): Curve {
  const first = Math.max(0, lowerBound(x, from) - 1);
  const beyond = lowerBound(x, to);
  // The point at `to` itself, where there is one, and one beyond.
  const end = Math.min(x.length, beyond + (x[beyond] === to ? 2 : 1));
  if (end - first <= 4 * buckets || !(to > from)) {
    return { x: x.subarray(first, end), y: y.subarray(first, end) };
  }
  const keep: number[] = [];
  const bucketOf = (i: number) =>
    Math.min(buckets, Math.max(-1, Math.floor((x[i] - from) / (to - from) * buckets)));
  for (let i = first; i < end;) {
    const bucket = bucketOf(i), start = i;
    let low = -1, high = -1, gap = -1;
    for (; i < end && bucketOf(i) === bucket; i++) {
      if (!Number.isFinite(y[i])) {
        if (gap < 0) gap = i;
      } else {
        if (low < 0 || y[i] < y[low]) low = i;
        if (high < 0 || y[i] > y[high]) high = i;
      }
    }
    const some = [start, low, high, gap, i - 1].filter((place) => place >= 0).sort((a, b) => a - b);
    for (const place of some) if (place !== keep.at(-1)) keep.push(place);
  }
  return { x: Float64Array.from(keep, (i) => x[i]), y: Float64Array.from(keep, (i) => y[i]) };
}

/**
 * An exponential moving average, corrected for its start: s = Σ wᵏ·y₋ₖ / Σ wᵏ over finite values. Where a value is not finite, so is the average.
 * @param weight of the past, from 0 (no smoothing) to below 1
 */
export function smoothed({ x, y }: Curve, weight: number): Curve {
  const out = new Float64Array(y.length);
  let sum = 0, total = 0;
  for (let i = 0; i < y.length; i++) {
    if (Number.isFinite(y[i])) {
      sum = weight * sum + y[i];
      total = weight * total + 1;
      out[i] = sum / total;
    } else out[i] = NaN;
  }
  return { x, y: out };
}

/** The points of two metrics at the steps that have both, finite. */
export function paired(a: Curve, b: Curve): { step: number; a: number; b: number }[] {
  const points: { step: number; a: number; b: number }[] = [];
  for (let i = 0, j = 0; i < a.x.length && j < b.x.length;) {
    if (a.x[i] < b.x[j]) i++;
    else if (a.x[i] > b.x[j]) j++;
    else {
      if (Number.isFinite(a.y[i]) && Number.isFinite(b.y[j])) {
        points.push({ step: a.x[i], a: a.y[i], b: b.y[j] });
      }
      i++;
      j++;
    }
  }
  return points;
}

/** Lowest and highest finite value of points within [from, to]; undefined where there is none. */
export function extent({ x, y }: Curve, from = -Infinity, to = Infinity): [number, number] | undefined {
  let low = Infinity, high = -Infinity;
  for (let i = lowerBound(x, from); i < x.length && x[i] <= to; i++) {
    if (!Number.isFinite(y[i])) continue;
    if (y[i] < low) low = y[i];
    if (y[i] > high) high = y[i];
  }
  return low <= high ? [low, high] : undefined;
}
