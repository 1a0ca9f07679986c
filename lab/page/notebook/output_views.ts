/** Views of what only the lab puts out, by MIME type, in the order in which they are preferred. */
import { html, nothing, type TemplateResult } from "lit";
import { isObject } from "../../bytes.ts";
import { formatFigure } from "../../format.ts";
import { mime } from "../../notebook/display.ts";
import type { PostOutput } from "../post_view.ts";
import "../post_view.ts";
import "./lane_strip.ts";
import type { LaneToken } from "./lane_strip.ts";
import "./line_chart.ts";
import type { Curve } from "./line_chart.ts";
import { knobsView } from "./knobs_view.ts";
import { draftOf, type OutputContext } from "./outputs.ts";
import "./weight_output.ts";

type Value = Record<string, unknown>;

export interface Place {
  /** All representations of the output. */
  data: Value;
  metadata: Value;
  index: number;
  context: OutputContext;
}

/** Each shows a value, or nothing where the value is not of its form: then the next representation is tried. */
export const views: Record<string, (value: Value, place: Place) => TemplateResult | null> = {
  [mime.post]: post,
  [mime.strip]: strip,
  [mime.chart]: chart,
  [mime.table]: table,
  [mime.check]: check,
  [mime.tensor]: tensor,
  [mime.knobs]: (value, { context }) => knobsView(value, context),
};

function post(value: Value, { metadata, index, context }: Place): TemplateResult | null {
  const texts = [value.subreddit, value.title, value.post];
  if (!texts.every((text) => typeof text === "string") || !isWritten(value.written)) return null;
  const keep = ({ detail }: CustomEvent) => {
    const lab = { ...isObject(metadata.lab) ? metadata.lab : {} };
    delete lab.draft;
    context.annotate(index, { ...metadata, lab: detail ? { ...lab, draft: detail } : lab });
  };
  return html`
    <post-view .value=${value as unknown as PostOutput} .draft=${draftOf(metadata)} .model=${context.model}
      @draft=${keep}></post-view>
  `;
}

/** What models wrote, as the view takes it; a list of anything else is no such output. */
function isWritten(value: unknown): boolean {
  return Array.isArray(value) &&
    value.every((one) =>
      isObject(one) && typeof one.model === "string" && typeof one.text === "string" &&
      Array.isArray(one.tokens) &&
      one.tokens.every((token) => isObject(token) && typeof token.text === "string")
    );
}

const isNumberOrNull = (value: unknown) => value === null || typeof value === "number";

function strip({ lanes, tokens }: Value): TemplateResult | null {
  if (!Array.isArray(lanes) || !Array.isArray(tokens)) return null;
  const sound = lanes.every((lane) => typeof lane === "string") &&
    tokens.every((token) => isObject(token) && typeof token.text === "string" && Array.isArray(token.values));
  if (!sound) return null;
  return html`<lane-strip .lanes=${lanes} .tokens=${tokens as unknown as LaneToken[]}></lane-strip>`;
}

function chart({ title, xName, unit, series }: Value): TemplateResult | null {
  const sound = Array.isArray(series) &&
    series.every((one) =>
      isObject(one) && typeof one.name === "string" && Array.isArray(one.x) && Array.isArray(one.y) &&
      one.x.length === one.y.length && one.x.every((x) => typeof x === "number") &&
      one.y.every(isNumberOrNull)
    );
  if (!sound) return null;
  const text = (value: unknown) => typeof value === "string" ? value : "";
  return html`
    <line-chart .curves=${series as unknown as Curve[]} .title=${text(title)} .xName=${text(xName)}
      .unit=${text(unit)}></line-chart>
  `;
}

/** Rows of a table that are shown at once. */
const mostRows = 200;

function table({ columns, rows }: Value): TemplateResult | null {
  if (!Array.isArray(columns) || !Array.isArray(rows) || !rows.every((row) => Array.isArray(row))) {
    return null;
  }
  const numeric = columns.map((_, i) => rows.every((row) => isNumberOrNull(row[i])));
  const cell = (value: unknown) => {
    if (value === null || value === undefined) return "";
    if (typeof value === "number") return Number.isInteger(value) ? String(value) : formatFigure(value);
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  };
  return html`
    <div class="table" tabindex="0" role="region" aria-label="Table">
      <table>
        <thead>
          <tr>${columns.map((name, i) =>
            html`<th scope="col" class=${numeric[i] ? "number" : ""}>${String(name)}</th>`
          )}</tr>
        </thead>
        <tbody>${rows.slice(0, mostRows).map((row) =>
          html`<tr>${
            columns.map((_, i) =>
              html`<td class=${numeric[i] ? "number" : ""} title=${
                numeric[i] && typeof row[i] === "number" ? String(row[i]) : nothing
              }>${cell(row[i])}</td>`
            )
          }</tr>`
        )}</tbody>
      </table>
    </div>${rows.length > mostRows
      ? html`<p class="caption">The first ${mostRows} of ${rows.length} rows.</p>`
      : nothing}
  `;
}

function check({ name, passed, tier, tolerance, found, expected, gap }: Value): TemplateResult | null {
  if (typeof name !== "string" || typeof passed !== "boolean") return null;
  const shown = (value: unknown) => typeof value === "string" ? value : JSON.stringify(value) ?? "nothing";
  const { absolute = 0, relative = 0 } = isObject(tolerance)
    ? tolerance as { absolute?: number; relative?: number }
    : {};
  const within = [absolute > 0 ? `± ${absolute}` : "", relative > 0 ? `± ${relative} of it` : ""].filter(
    Boolean,
  );
  const apart = isObject(gap) && typeof gap.absolute === "number"
    ? `, ${formatFigure(gap.absolute)} apart at ${String(gap.where)}`
    : isObject(gap)
    ? `, at ${String(gap.where)}`
    : "";
  return html`<p class="check ${passed ? "passed" : "failed"}"><b aria-hidden="true">${passed ? "✓" : "✗"}</b>
    <span><span class="visually-hidden">${passed ? "Holds: " : "Does not hold: "}</span>${name}
      <small>found <code>${shown(found)}</code>, expected <code>${shown(expected)}</code>${
    within.length > 0 ? ` ${within.join(" ")}` : " exactly"
  }${apart}; tier ${String(tier)}</small></span></p>`;
}

function tensor({ name, shape, dtype, place, stats, view }: Value, { data }: Place): TemplateResult | null {
  if (typeof name !== "string" || !Array.isArray(shape)) return null;
  const picture = data["image/png"];
  const figures = isObject(stats) ? stats : {};
  const figure = (key: string) => {
    const value = figures[key];
    return typeof value === "number" ? formatFigure(value) : String(value ?? "–");
  };
  const bad = [["nan", "NaN"], ["infinite", "infinite"]].filter(([key]) => Number(figures[key]) > 0);
  const { width = 0, height = 0 } = isObject(view) ? view as { width?: number; height?: number } : {};
  // Each cell of the picture is a whole number of pixels, and small tensors are not lost.
  const scale = Math.max(1, Math.min(12, Math.floor(288 / Math.max(1, width))));
  const whole = typeof picture === "string"
    ? html`
      <img class="picture" alt="Its values as colours: blue above zero, red below" width=${width * scale}
        height=${height * scale}
        src=${`data:image/png;base64,${picture.replace(/[^A-Za-z0-9+/=]/g, "")}`}>
    `
    : nothing;
  return html`<figure class="tensor">
    ${
    typeof place === "string"
      ? html`<weight-output .place=${place} .name=${name}>${whole}</weight-output>`
      : whole
  }
    <figcaption><b>${name}</b> <code>${String(dtype)}[${shape.join(", ")}]</code><br>mean ${
    figure("mean")
  }, rms ${figure("rms")}, ${figure("min")} to ${figure("max")}${
    bad.map(([key, word]) => html`, <b class="bad">${String(figures[key])} ${word}</b>`)
  }</figcaption></figure>`;
}
