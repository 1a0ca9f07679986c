/**
 * A tensor in a few numbers: enough to tell whether another run, on another implementation perhaps, computed the same up to a tolerance, and
 * small enough to lie in the notebook. What single elements between the samples do it cannot see; what the whole does it can.
 *
 *     sketchOf(data: ArrayLike<number>, shape: number[], seed: number): Sketch
 *     samplePositions(size: number, seed: number): number[]
 *     compareSketches(stored: Sketch, found: Sketch, tolerance: Tolerance): SketchComparison
 *     ulpsBetween(a: number, b: number): number
 */
import { mix } from "../demo/random.ts";
import type { Sketch, Tolerance } from "./records.ts";

/** Elements that are sampled; all of a smaller tensor. */
const samplesTaken = 64;

/**
 * The positions that are sampled, ascending: the tensor is cut into as many equal stretches, and one element is drawn in each.
 * @param size elements
 * @param seed 32 bits
 */
export function samplePositions(size: number, seed: number): number[] {
  const count = Math.min(size, samplesTaken);
  return Array.from({ length: count }, (_, i) => {
    const start = Math.floor(i * size / count), end = Math.floor((i + 1) * size / count);
    // 53 bits, so that every element of the largest tensor can be drawn.
    const high = mix(seed ^ mix(2 * i + 1)) >>> 11, low = mix(seed + mix(2 * i + 2));
    return start + Math.floor((high * 2 ** 32 + low) / 2 ** 53 * (end - start));
  });
}

/**
 * Sums run in 64 bits in the order of the elements, so that equal tensors have equal sketches.
 * @param shape its product is the number of elements
 */
export function sketchOf(data: ArrayLike<number>, shape: readonly number[], seed: number): Sketch {
  const size = shape.reduce((product, one) => product * one, 1);
  if (size !== data.length) {
    throw new RangeError(`${data.length} elements have no shape [${shape.join(", ")}].`);
  }
  // 32-bit floats cannot overflow these sums; 64-bit ones are summed in units of the largest.
  const unit = data instanceof Float64Array || Array.isArray(data) ? largest(data) || 1 : 1;
  let nonFinite = 0, sum = 0, squares = 0, absMax = 0;
  for (let i = 0; i < data.length; i++) {
    const value = data[i];
    if (!Number.isFinite(value)) {
      nonFinite++;
      continue;
    }
    sum += value / unit;
    squares += (value / unit) ** 2;
    absMax = Math.max(absMax, Math.abs(value));
  }
  const finite = Math.max(1, data.length - nonFinite);
  const mean = sum / finite * unit, rms = Math.sqrt(squares / finite) * unit;
  const samples = samplePositions(size, seed).map((at) => jsonNumber(data[at]));
  return { shape: [...shape], nonFinite, mean, rms, absMax, seed, samples };
}

function largest(data: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < data.length; i++) {
    if (Number.isFinite(data[i])) most = Math.max(most, Math.abs(data[i]));
  }
  return most;
}

type JsonNumber = number | "NaN" | "Infinity" | "-Infinity";

function jsonNumber(value: number): JsonNumber {
  // JSON has no −0 either, and reads one as it was written; canonical JSON writes 0.
  return Number.isFinite(value) ? value + 0 : String(value) as JsonNumber;
}

/** Two numbers that should be one. */
export interface Gap {
  /** What they are: "mean", or the element's place such as "[3, 17]". */
  where: string;
  /** Of an element: its position in row-major order. */
  index?: number;
  stored: number;
  found: number;
  absolute: number;
  /** Share of the stored value's size. */
  relative: number;
  /** Numbers of 32 bits that lie between them, where both are such numbers. */
  ulps?: number;
}

export interface SketchComparison {
  within: boolean;
  /** Why not, where it is no matter of numbers: the shape, NaNs. */
  why?: string;
  /** The first gap beyond the tolerance; else the widest one, if there is any. */
  gap?: Gap;
}

/**
 * Holds a sketch against the one in the notebook. Two numbers agree if they are no further apart than
 * `tolerance.absolute + tolerance.relative · rms`, with the stored tensor's root mean square.
 */
export function compareSketches(stored: Sketch, found: Sketch, tolerance: Tolerance): SketchComparison {
  const shapes = [stored, found].map(({ shape }) => `[${shape.join(", ")}]`);
  if (shapes[0] !== shapes[1]) {
    return { within: false, why: `its shape was ${shapes[0]} and is ${shapes[1]}` };
  }
  if (stored.nonFinite !== found.nonFinite) {
    const why = `${stored.nonFinite} elements were NaN or infinite and ${found.nonFinite} are`;
    return { within: false, why };
  }
  if (stored.seed !== found.seed || stored.samples.length !== found.samples.length) {
    return { within: false, why: "its elements were sampled at other places" };
  }
  const most = tolerance.absolute + tolerance.relative * stored.rms;
  const size = stored.shape.reduce((product, one) => product * one, 1);
  const positions = samplePositions(size, stored.seed);
  let widest: Gap | undefined;
  for (const [i, one] of stored.samples.entries()) {
    const a = Number(one), b = Number(found.samples[i]);
    if (Object.is(a, b)) continue;
    const gap = gapBetween(placeOf(positions[i], stored.shape), a, b);
    gap.index = positions[i];
    if (!(gap.absolute <= most)) return { within: false, gap };
    if (!widest || gap.absolute > widest.absolute) widest = gap;
  }
  for (const figure of ["mean", "rms", "absMax"] as const) {
    if (stored[figure] === found[figure]) continue;
    const gap = gapBetween(figure, stored[figure], found[figure]);
    if (!(gap.absolute <= most)) return { within: false, gap };
    widest ??= gap;
  }
  return { within: true, ...(widest && { gap: widest }) };
}

function gapBetween(where: string, stored: number, found: number): Gap {
  const absolute = Math.abs(stored - found);
  const gap: Gap = { where, stored, found, absolute, relative: absolute / Math.abs(stored) };
  if (Math.fround(stored) === stored && Math.fround(found) === found) gap.ulps = ulpsBetween(stored, found);
  return gap;
}

/** "[3, 17]" */
function placeOf(index: number, shape: readonly number[]): string {
  const place: number[] = [];
  for (const length of shape.toReversed()) {
    place.unshift(index % length);
    index = Math.floor(index / length);
  }
  return `[${place.join(", ")}]`;
}

/** How many steps from one 32-bit float to the next lie between two of them; NaN where one is not a number. */
export function ulpsBetween(a: number, b: number): number {
  const bits = new Int32Array(Float32Array.of(a, b).buffer);
  // The bits of negative numbers count downwards; both zeros are 0.
  const [from, to] = Array.from(bits, (one) => one < 0 ? -(one & 0x7fffffff) : one);
  return Number.isNaN(a) || Number.isNaN(b) ? NaN : Math.abs(from - to);
}
