/** What a map's colours mean, what its cells are, and how much lies beyond either end. */
import { html, nothing } from "lit";
import {
  aggregateOf,
  clippedShares,
  type ColourScale,
  sharesScale,
  type Theme,
  valueAt,
} from "../../inspect/colour.ts";
import type { Aggregate, Histogram, Overview } from "../../inspect/types.ts";
import { percent, significant } from "../numbers.ts";
import { cellSize, isExact } from "./cells.ts";
import { aggregateNamed, cssColour, scaleKinds } from "./palette.ts";

export interface Legend {
  scale: ColourScale;
  aggregate: Aggregate;
  theme: Theme;
  /** Null until the tensor has been counted. */
  histogram: Histogram | null;
  /** What is on show; null until there is something. */
  overview: Overview | null;
  /** What the rows are put in order by; empty as they lie. */
  order: string;
  /** What it cost, or what is going on. */
  cost: string | null;
}

export function legend({ scale, aggregate, theme, histogram, overview, order, cost }: Legend) {
  const { signed, about } = aggregateNamed(aggregate);
  const stops = Array.from({ length: 21 }, (_, i) => {
    const position = signed ? i / 10 - 1 : i / 20;
    return `${cssColour(position, theme)} ${i * 5}%`;
  });
  // Shares and counts are not in the tensor's unit, so that its spread says nothing of them.
  const own = sharesScale(aggregate);
  const clipped = histogram && own ? clippedShares(histogram, scale) : null;
  const beyond = clipped && (signed ? clipped : { below: 0, above: clipped.below + clipped.above });
  const full = overview && own && !isExact(overview) ? shareFull(overview, aggregate, scale.extent) : 0;
  const cells = !overview
    ? ""
    : isExact(overview)
    ? "Each cell is one element."
    : `Each cell is ${about} of ${cellSize(overview)}.`;
  const colours = own ? scaleKinds.find(({ kind }) => kind === scale.kind)!.about : "";
  return html`
    <div class="legend">
      <span class="scale">
        <span class="bar ${beyond?.below ? "below" : ""} ${beyond?.above ? "above" : ""}"
          style="background: linear-gradient(to right, ${stops.join(", ")})"></span>
        <span class="ends"><span>${signed ? significant(-scale.extent) : "0"}</span><span>${signed
          ? "0"
          : significant(valueAt(scale, 0.5), 2)}</span><span>${significant(scale.extent)}</span></span>
      </span>
      <p>${cells} ${colours}${beyond ? beyondText(beyond, signed) : ""}${full > 0.005
        ? ` Of the cells on show ${percent(full)} have the colour of an end.`
        : ""}${order
        ? html`
          <span class="order">Rows by ${order}.</span>
        `
        : nothing} ${cost ? html`<span class="cost">${cost}</span>` : nothing}</p>
    </div>
  `;
}

/** Of an overview the share last counted: a legend is drawn anew wherever the pointer goes. */
const counted = new WeakMap<Overview, { of: string; share: number }>();

/** The share of cells that lie beyond a scale. Extremes of many elements do so far more often than elements. */
function shareFull(overview: Overview, aggregate: Aggregate, extent: number): number {
  const of = `${aggregate} ${extent}`, known = counted.get(overview);
  if (known?.of === of) return known.share;
  const values = aggregateOf(overview, aggregate);
  let full = 0;
  for (const value of values) if (Math.abs(value) > extent) full++;
  counted.set(overview, { of, share: full / values.length });
  return full / values.length;
}

function beyondText({ below, above }: { below: number; above: number }, signed: boolean): string {
  if (below + above === 0) return ", nothing beyond.";
  return signed
    ? `; of all elements ${percent(below)} are below and ${percent(above)} above.`
    : `; ${percent(above)} of all elements are beyond.`;
}
