/**
 * Numbers to colours. Scales diverge from zero, blue above and red below, as far apart in lightness as in hue, so that they can be told apart by
 * whoever does not see the hues. What a scale leaves out at its ends is clipped, and the share of it is told.
 */
import { shareBelow } from "./quantiles.ts";
import type { Aggregate, Histogram, Overview } from "./types.ts";

export type ScaleKind = "quantile" | "deviations" | "minmax" | "arcsinh" | "fixed";

/** From −extent to extent, symmetric about zero. */
export interface ColourScale {
  kind: ScaleKind;
  extent: number;
  /** Values are taken as arcsinh(x / softness) where it is given: linear near zero, logarithmic further out. */
  softness?: number;
}

export interface ScaleOptions {
  kind?: ScaleKind;
  /** Of the magnitudes; what `quantile` cuts at. Default 0.995. */
  quantile?: number;
  /** For `fixed`: shared by tensors that are compared. */
  extent?: number;
}

/**
 * A scale for a tensor.
 * - quantile: ±the 99.5 % quantile of the magnitudes (the upper bound of its bin, so that no more than said is clipped)
 * - deviations: ±3 root mean squares
 * - minmax: ±the largest magnitude
 * - arcsinh: the same, soft around the median magnitude
 * - fixed: ±extent
 */
export function chooseScale(histogram: Histogram, options: ScaleOptions = {}): ColourScale {
  const { kind = "quantile", quantile = 0.995 } = options;
  const largest = Math.max(Math.abs(histogram.min), Math.abs(histogram.max));
  const magnitude = (q: number) => histogram.magnitudes.find((one) => one.q === q);
  const positive = (extent: number) => extent > 0 && extent < Infinity ? extent : largest > 0 ? largest : 1;
  if (kind === "fixed") return { kind, extent: positive(options.extent ?? largest) };
  if (kind === "deviations") return { kind, extent: positive(3 * histogram.rms) };
  if (kind === "minmax") return { kind, extent: positive(largest) };
  if (kind === "arcsinh") {
    const softness = magnitude(0.5)?.value ?? 0;
    return { kind, extent: positive(largest), softness: softness > 0 ? softness : positive(largest) };
  }
  const cut = magnitude(quantile);
  if (!cut && histogram.finite > 0) {
    throw new RangeError(
      `The histogram has no ${quantile} quantile of magnitudes; it has ${
        histogram.magnitudes.map(({ q }) => q).join(", ")
      }.`,
    );
  }
  return { kind, extent: positive(Math.min(cut?.high ?? 0, largest)) };
}

/** Shares of the finite elements that lie below and above a scale. Exact at the ends of bins, interpolated within. */
export function clippedShares(
  histogram: Histogram,
  { extent }: ColourScale,
): { below: number; above: number } {
  const above = histogram.max > extent ? 1 - shareBelow(histogram, extent) : 0;
  return { below: histogram.min < -extent ? shareBelow(histogram, -extent) : 0, above: Math.max(0, above) };
}

/** Where a value lies on a scale: −1 at its lower end, 0 at zero, 1 at its upper end; beyond them no further. */
export function position({ extent, softness }: ColourScale, value: number): number {
  const t = softness ? Math.asinh(value / softness) / Math.asinh(extent / softness) : value / extent;
  return Math.max(-1, Math.min(1, t));
}

/** The value at a position: for the ticks of a legend. */
export function valueAt({ extent, softness }: ColourScale, t: number): number {
  return softness ? softness * Math.sinh(t * Math.asinh(extent / softness)) : t * extent;
}

export type Theme = "light" | "dark";

/** Red, green, blue from 0 to 255. */
export type Colour = readonly [number, number, number];

/** What is not finite. No scale comes near it. */
export const nonFiniteColour: Colour = [208, 0, 208];

/** Steps on either side of zero. */
const steps = 255;
const tables: Record<Theme, Uint8ClampedArray> = { light: table("light"), dark: table("dark") };

/** The colour of a position on a scale. */
export function colourAt(t: number, theme: Theme = "light"): Colour {
  const i = 3 * Math.round((t + 1) * steps);
  const colours = tables[theme];
  return [colours[i], colours[i + 1], colours[i + 2]];
}

/**
 * Colours in OKLCH: zero is as light as the page (or as dark), and lightness and chroma go evenly to both ends.
 */
function table(theme: Theme): Uint8ClampedArray {
  const colours = new Uint8ClampedArray(3 * (2 * steps + 1));
  const [zero, end] = theme === "light" ? [0.985, 0.42] : [0.17, 0.8];
  for (let i = -steps; i <= steps; i++) {
    const t = Math.abs(i) / steps;
    const [hue, chroma] = i < 0 ? [28, 0.17] : [255, 0.155];
    const rgb = oklch(
      zero + (end - zero) * t,
      chroma * Math.min(1, 1.6 * t) * (theme === "dark" ? 0.8 : 1),
      hue,
    );
    rgb.forEach((value, channel) => colours[3 * (i + steps) + channel] = 255 * value);
  }
  return colours;
}

/** OKLCH to sRGB, each channel 0 to 1 (Ottosson, "A perceptual color space for image processing", 2020); out of gamut is clamped. */
function oklch(lightness: number, chroma: number, hue: number): [number, number, number] {
  const a = chroma * Math.cos(hue * Math.PI / 180), b = chroma * Math.sin(hue * Math.PI / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3;
  const gamma = (x: number) =>
    x <= 0.0031308 ? 12.92 * Math.max(0, x) : 1.055 * Math.min(1, x) ** (1 / 2.4) - 0.055;
  return [
    gamma(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    gamma(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    gamma(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s),
  ];
}

/** The numbers that an overview shows of its cells: [height, width]. */
export function aggregateOf(overview: Overview, aggregate: Aggregate): Float32Array<ArrayBuffer> {
  const { extreme, mean, rms, zeros, nonFinite, width, rowStarts, columnStarts } = overview;
  switch (aggregate) {
    case "extreme":
      return extreme;
    case "mean":
      return mean;
    case "rms":
      return rms;
    case "absolute":
      return extreme.map(Math.abs);
    case "deviation":
      return mean.map((value, i) => Math.sqrt(Math.max(0, rms[i] ** 2 - value ** 2)));
    case "nonFinite":
      return Float32Array.from(nonFinite);
    case "zeros":
      return Float32Array.from(zeros, (count, i) => {
        const y = Math.floor(i / width), x = i % width;
        return count / ((rowStarts[y + 1] - rowStarts[y]) * (columnStarts[x + 1] - columnStarts[x]));
      });
  }
}

/** Whether an aggregate is in the tensor's own unit, so that its scale fits; shares and counts have scales of their own. */
export function sharesScale(aggregate: Aggregate): boolean {
  return aggregate !== "zeros" && aggregate !== "nonFinite";
}

/**
 * Cells as pixels, one each: RGBA [height, width, 4]. A cell with anything that is not finite in it has {@link nonFiniteColour}.
 * @param values of the cells, as {@link aggregateOf} gives them
 * @param only cells whose value lies outside are faint
 */
export function paint(
  values: Float32Array,
  nonFinite: Uint32Array,
  { extent, softness }: ColourScale,
  theme: Theme = "light",
  only: { low: number; high: number } = { low: -Infinity, high: Infinity },
): Uint8ClampedArray<ArrayBuffer> {
  // Half a million cells are painted between two frames: pixels whole, and no arithmetic but what is needed.
  const pixels = new Uint32Array(values.length);
  const { strong, faint, flag } = packed(theme);
  const factor = softness ? steps / Math.asinh(extent / softness) : steps / extent;
  for (let i = 0; i < values.length; i++) {
    const value = values[i], at = (softness ? Math.asinh(value / softness) : value) * factor;
    const colours = value < only.low || value > only.high ? faint : strong;
    pixels[i] = nonFinite[i] > 0 ? flag : colours[Math.round(Math.max(-steps, Math.min(steps, at))) + steps];
  }
  return new Uint8ClampedArray(pixels.buffer);
}

/** The table of a theme with each colour as the one word that its four bytes are in memory; `faint` lets through an eighth. */
function packed(theme: Theme): { strong: Uint32Array; faint: Uint32Array; flag: number } {
  const word = (alpha: number, ...rgb: number[]) => new Uint32Array(Uint8Array.of(...rgb, alpha).buffer)[0];
  const colours = tables[theme];
  const at = (alpha: number) =>
    Uint32Array.from(
      { length: 2 * steps + 1 },
      (_, i) => word(alpha, colours[3 * i], colours[3 * i + 1], colours[3 * i + 2]),
    );
  return { strong: at(255), faint: at(32), flag: word(255, ...nonFiniteColour) };
}
