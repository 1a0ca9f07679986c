/** What the views add to the lab's colour scales: their names, and colours as CSS has them. */
import { chooseScale, colourAt, type ColourScale, type ScaleKind, type Theme } from "../../inspect/colour.ts";
import type { Aggregate, Histogram, Overview } from "../../inspect/types.ts";
import { largest } from "./cells.ts";
import type { TensorViewState } from "./tensor_view_state.ts";

export const aggregates: readonly { name: Aggregate; label: string; signed: boolean; about: string }[] = [
  {
    name: "extreme",
    label: "extreme",
    signed: true,
    about: "the value of largest magnitude, with its sign,",
  },
  { name: "mean", label: "mean", signed: true, about: "the mean" },
  { name: "rms", label: "rms", signed: false, about: "the root of the mean square" },
  { name: "absolute", label: "max |x|", signed: false, about: "the largest magnitude" },
  { name: "deviation", label: "deviation", signed: false, about: "the standard deviation" },
  { name: "zeros", label: "zeros", signed: false, about: "the share of exact zeros" },
  { name: "nonFinite", label: "NaN, ∞", signed: false, about: "how many are NaN or infinite" },
];

export const aggregateNamed = (name: Aggregate) => aggregates.find((one) => one.name === name)!;

export const scaleKinds: readonly { kind: ScaleKind; label: string; about: string }[] = [
  { kind: "quantile", label: "± q99.5", about: "Colours to the 99.5 % quantile of |x|" },
  { kind: "deviations", label: "3 rms", about: "Colours to three root mean squares" },
  { kind: "minmax", label: "min–max", about: "Colours to the largest |x|" },
  { kind: "arcsinh", label: "arcsinh", about: "Colours to the largest |x|, logarithmic beyond the median" },
  { kind: "fixed", label: "fixed", about: "Colours to a fixed end" },
];

/** The colour of a position on a scale, −1 … 1, as CSS has it. */
export function cssColour(position: number, theme: Theme): string {
  return `rgb(${colourAt(position, theme).join(" ")})`;
}

/** Letters that can be read on it. */
export function lettersOn(position: number, theme: Theme): string {
  const [r, g, b] = colourAt(position, theme).map((channel) => {
    const share = channel / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  // Where black and white have the same contrast, by WCAG 2.
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}

/** The theme that an element is shown in, told by its letters: bright ones stand on dark ground. */
export function themeOf(element: Element): Theme {
  const [r, g, b] = getComputedStyle(element).color.match(/[\d.]+/g)!.map(Number);
  return 0.299 * r + 0.587 * g + 0.114 * b > 128 ? "dark" : "light";
}

/** The colour of a model's role, told by its place; grey for others. */
export function roleColour(place: string): string {
  const role = /(?:^|\/)(sft|reward|ppo)\/?$/.exec(place)?.[1];
  return `var(--role-${role === "ppo" ? "policy" : role ?? "reference"})`;
}

/** The colours of a view. @param overview of the whole: until the spread is known, they are those of its cells */
export function scaleOfView(
  { aggregate, scale: kind, fixed: extent }: TensorViewState,
  histogram: Histogram | null,
  overview: Overview | undefined,
): ColourScale {
  if (aggregate === "zeros") return { kind: "fixed", extent: 1 };
  if (aggregate === "nonFinite") {
    return { kind: "fixed", extent: Math.max(1, largest(overview?.nonFinite)) };
  }
  if (histogram) return chooseScale(histogram, { kind, extent });
  return { kind, extent: extent ?? (largest(overview?.extreme) || 1) };
}
