/** Single values in words: where they are, all that is known of them, and what their cell comes to. */
import { html, nothing } from "lit";
import { shareBelow } from "../../inspect/quantiles.ts";
import type { Histogram, Overview } from "../../inspect/types.ts";
import { describeValue } from "../../inspect/value.ts";
import { percent, significant } from "../numbers.ts";
import { cellAt } from "./cells.ts";
import type { AxisLabels } from "./labels.ts";
import type { Ordering } from "./ordering.ts";

interface Element_ {
  row: number;
  column: number;
}

/** @param value undefined until it is there */
function valueLine(
  { row, column }: Element_,
  value: number | undefined,
  { rows, columns }: { rows: AxisLabels; columns: AxisLabels },
  histogram: Histogram | null,
  letter: string,
  { placeOf, about, measures }: Ordering,
) {
  const mark = letter ? html`<i>${letter}</i>` : nothing;
  const where = html`[<b>${rows.long(row)}</b>, <b>${columns.long(column)}</b>]`;
  if (value === undefined) return html`<p>${mark}${where} …</p>`;
  const { text, hex, ulp } = describeValue(value);
  const facts = [hex];
  if (measures) {
    facts.push(
      `row ${placeOf(row) + 1} of ${measures.length.toLocaleString("en")} by ${about.split(",")[0]} ${
        significant(measures[row], 4)
      }`,
    );
  }
  if (Number.isFinite(value)) {
    facts.push(`ulp ${significant(ulp)}`);
    if (histogram) facts.push(`above ${percent(shareBelow(histogram, value))} of all`);
    if (histogram && histogram.deviation > 0) {
      facts.push(`z ${significant((value - histogram.mean) / histogram.deviation)}`);
    }
  }
  return html`<p>${mark}${where} <output>${
    text.replaceAll("-", "−").replace("Infinity", "∞")
  }</output> <span>${facts.join(", ")}</span></p>`;
}

/** What the cell that an element is in comes to, where it is of more than one. */
function cellLine(overview: Overview, { row, column }: Element_, { placeOf, order }: Ordering) {
  const cell = cellAt(overview, { row: placeOf(row), column });
  if (!cell) return nothing;
  const { extreme, mean, rms, zeros, nonFinite } = overview;
  const { index, rows, columns } = cell;
  if ((rows[1] - rows[0]) * (columns[1] - columns[0]) === 1) return nothing;
  const range = ([from, to]: [number, number]) => to - from === 1 ? `${from}` : `${from}–${to - 1}`;
  const deviation = Math.sqrt(Math.max(0, rms[index] ** 2 - mean[index] ** 2));
  const facts = [
    `extreme ${significant(extreme[index])}`,
    `mean ${significant(mean[index])}`,
    `rms ${significant(rms[index])}`,
    `deviation ${significant(deviation)}`,
    ...zeros[index] > 0 ? [`${zeros[index]} zeros`] : [],
    ...nonFinite[index] > 0 ? [`${nonFinite[index]} not finite`] : [],
  ];
  return html`<p class="cell">in the cell of ${
    order ? `places ${range([rows[0] + 1, rows[1] + 1])} of the order` : `rows ${range(rows)}`
  }, columns ${range(columns)}: ${facts.join(", ")}</p>`;
}

function differenceLine(a: number, b: number) {
  return html`<p><i>B − A</i><output>${significant(b - a, 7)}</output> <span>B ÷ A ${
    significant(b / a, 5)
  }</span></p>`;
}

/** What is told of the element that is pointed at, and of those that are pinned. */
export function readout({ at, pins, value, labels, histogram, overview, ordering, hints }: {
  at: Element_ | null;
  pins: readonly Element_[];
  /** Undefined until it is there. */
  value(element: Element_): number | undefined;
  labels: { rows: AxisLabels; columns: AxisLabels };
  histogram: Histogram | null;
  overview: Overview | undefined;
  ordering: Ordering;
  /** Whether it is told what can be done, while nothing else is. */
  hints: boolean;
}) {
  const line = (element: Element_, letter: string) =>
    valueLine(element, value(element), labels, histogram, letter, ordering);
  const [a, b] = pins.map(value);
  return html`<div class="readout">
    ${at ? line(at, "") : nothing}${at && overview ? cellLine(overview, at, ordering) : nothing}
    ${pins.map((pin, i) => line(pin, "AB"[i]))}
    ${a !== undefined && b !== undefined ? differenceLine(a, b) : nothing}
    ${
    !at && pins.length === 0 && hints
      ? html`
        <p
          class="hint">Point at the map for a value; a click pins it, Shift and a click pin a second. Wheel or pinch zooms, with
                Shift the columns alone, with Alt the rows.</p>
      `
      : nothing
  }
  </div>`;
}
