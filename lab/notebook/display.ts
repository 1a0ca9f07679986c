/**
 * What cells show, as outputs of a notebook: each as JSON of ours for the page, beside what GitHub and JupyterLab show of it. Pure: the
 * same in the page's frame, in the headless worker and in JupyterLab's kernel.
 */
import { formatFigure } from "../format.ts";
import { html } from "../report/html.ts";
import { type Series, svgChart } from "./chart_picture.ts";
import type { TensorStatistics } from "./held_tensor.ts";
import type { DisplayOutput, MimeBundle } from "./ipynb.ts";
import { tensorPicture } from "./tensor_picture.ts";

/** A tensor in cells: at most 96 × 96 of them. */
export interface TensorView {
  rows: number;
  columns: number;
  /** Cells across and down. */
  width: number;
  height: number;
  /** [height, width]: of each cell the value of the largest magnitude; NaN where one is not finite. */
  extreme: Float32Array;
  stats: TensorStatistics;
  digest: string;
}

/** A token, with numbers to stack under it. */
export interface StripToken {
  text: string;
  id?: number;
  /** By name: logprob, entropy, kl, reward, value, advantage, ratio, mask … */
  values?: Record<string, number>;
}

/** What a knob of `lab.knobs` is. */
export type Knob =
  | { value: number; min: number; max: number; step?: number; label?: string }
  | { value: boolean; label?: string }
  | { value: string; choices: string[]; label?: string };

export const mime = {
  tensor: "application/vnd.precis.tensor+json",
  strip: "application/vnd.precis.strip+json",
  chart: "application/vnd.precis.chart+json",
  table: "application/vnd.precis.table+json",
  check: "application/vnd.precis.check+json",
  post: "application/vnd.precis.post+json",
  knobs: "application/vnd.precis.knobs+json",
} as const;

export function display(data: MimeBundle, caption?: string): DisplayOutput {
  return { output_type: "display_data", data, metadata: caption === undefined ? {} : { lab: { caption } } };
}

export function textBundle(text: string): MimeBundle {
  return { "text/plain": text };
}

export function markdownBundle(text: string): MimeBundle {
  return { "text/markdown": text, "text/plain": text };
}

/** A picture of the tensor with its statistics; of a model's weight, where the model is, so that all of it can be looked at. */
export async function tensorBundle(
  { name, shape, dtype, place }: { name: string; shape: readonly number[]; dtype: string; place?: string },
  view: TensorView,
): Promise<MimeBundle> {
  const { stats, digest, rows, columns, width, height } = view;
  const bad = stats.nan + stats.infinite;
  const figures = [
    `mean ${formatFigure(stats.mean)}`,
    `rms ${formatFigure(stats.rms)}`,
    `${formatFigure(stats.min)} to ${formatFigure(stats.max)}`,
    ...(bad > 0 ? [`${bad} not finite`] : []),
  ];
  return {
    [mime.tensor]: {
      name,
      shape: [...shape],
      dtype,
      ...(place !== undefined && { place }),
      stats: jsonOf(stats),
      digest,
      view: { rows, columns, width, height, aggregate: "extreme" },
    },
    ...(width * height > 1 && { "image/png": await tensorPicture(view) }),
    "text/plain": `${name} ${dtype}[${shape.join(", ")}]  ${figures.join(", ")}`,
  };
}

/** Rows as a table; the columns are the fields of the first rows, in order of appearance. */
export function tableBundle(
  rows: readonly Record<string, unknown>[],
  columns?: readonly string[],
): MimeBundle {
  const names = columns ?? [...new Set(rows.slice(0, 100).flatMap((row) => Object.keys(row)))];
  const cells = rows.map((row) => names.map((name) => jsonOf(row[name])));
  const texts = cells.map((row) => row.map((cell) => cellText(cell)));
  const numeric = names.map((_, i) => cells.every((row) => row[i] === null || typeof row[i] === "number"));
  const widths = names.map((name, i) => Math.max(name.length, ...texts.map((row) => row[i].length)));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => numeric[i] ? cell.padStart(widths[i]) : cell.padEnd(widths[i])).join("  ").trimEnd();
  return {
    [mime.table]: { columns: [...names], rows: cells },
    "text/html": html`
      <table>
        <thead>
          <tr>${names.map((name) => html`<th>${name}</th>`)}</tr>
        </thead>
        <tbody>${texts.map((row) => html`<tr>${row.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody>
      </table>
    `.toString(),
    "text/plain": [line(names), line(widths.map((width) => "─".repeat(width))), ...texts.map(line)].join(
      "\n",
    ),
  };
}

/** Curves over what they share. */
export function chartBundle(
  series: readonly Series[],
  options: { title?: string; xName?: string; unit?: string },
): MimeBundle {
  const json = series.map(({ name, x, y, colour, points }) => ({
    name,
    x: x.map(Number),
    y: y.map((value) => value === null || !Number.isFinite(value) ? null : value),
    ...(colour !== undefined && { colour }),
    ...(points !== undefined && { points }),
  }));
  const ends = json.map(({ name, y }) => {
    const there = y.filter((value) => value !== null);
    return `${name}: ${formatFigure(there[0])} → ${formatFigure(there.at(-1))}, ${there.length} points`;
  });
  return {
    [mime.chart]: { ...options, series: json },
    "image/svg+xml": svgChart(json, options),
    "text/plain": [options.title, ...ends].filter((line) => line !== undefined).join("\n"),
  };
}

/** Tokens in a row with their numbers below. */
export function stripBundle(tokens: readonly StripToken[]): MimeBundle {
  const lanes = [...new Set(tokens.flatMap(({ values }) => Object.keys(values ?? {})))];
  const plain = tokens.map(({ text }) => text).join("");
  return {
    [mime.strip]: {
      lanes,
      tokens: tokens.map(({ text, id, values }) => ({
        text,
        ...(id !== undefined && { id }),
        values: lanes.map((lane) => jsonOf(values?.[lane] ?? null)),
      })),
    },
    "text/html": html`
      <table>
        <tbody><tr><th></th>${tokens.map(({ text }) => html`<td><code>${text}</code></td>`)}</tr>${lanes.map((
          lane,
        ) =>
          html`<tr><th>${lane}</th>${
            tokens.map(({ values }) =>
              html`<td>${values?.[lane] === undefined ? "" : formatFigure(values[lane])}</td>`
            )
          }</tr>`
        )}</tbody>
      </table>
    `.toString(),
    "text/plain": [
      plain,
      ...lanes.map((lane) =>
        `${lane}: ${tokens.map(({ values }) => formatFigure(values?.[lane])).join(" ")}`
      ),
    ].join("\n"),
  };
}

/** A post with what was written about it so far. */
export function postBundle(
  post: { subreddit: string; title: string; post: string; summary?: string },
  written: { model: string; text: string; done: boolean; tokens: StripToken[] }[],
): MimeBundle {
  const { subreddit, title, post: body, summary } = post;
  return {
    [mime.post]: {
      subreddit,
      title,
      post: body,
      ...(summary !== undefined && { summary }),
      written: jsonOf(written),
    },
    "text/html": html`<article><p>r/${subreddit}</p><h4>${title}</h4><p>${body}</p>${
      summary !== undefined && html`<p><b>human:</b> ${summary}</p>`
    }${written.map(({ model, text }) => html`<p><b>${model}:</b> ${text}</p>`)}</article>`.toString(),
    "text/plain": [
      `r/${subreddit}: ${title}`,
      body,
      ...(summary !== undefined ? [`human: ${summary}`] : []),
      ...written.map(({ model, text }) => `${model}: ${text}`),
    ].join("\n\n"),
  };
}

export function knobsBundle(knobs: Record<string, Knob>, values: Record<string, unknown>): MimeBundle {
  return {
    // Stored notebooks sort their keys.
    [mime.knobs]: { knobs: jsonOf(knobs), order: Object.keys(knobs), values: jsonOf(values) },
    "text/plain": Object.entries(values).map(([name, value]) => `${name} = ${value}`).join("\n"),
  };
}

function cellText(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : formatFigure(value);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** A value as JSON has it: numbers that it lacks as texts, typed arrays as lists, what it cannot have as null. */
export function jsonOf(value: unknown): unknown {
  if (typeof value === "number") return Number.isFinite(value) ? value + 0 : String(value);
  if (typeof value === "bigint") return String(value);
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
    return Array.from(value as unknown as ArrayLike<unknown>, jsonOf);
  }
  if (Array.isArray(value)) return value.map(jsonOf);
  if (typeof value === "object") {
    return Object.fromEntries(
      Object.entries(value).filter(([, field]) => field !== undefined).map((
        [name, field],
      ) => [name, jsonOf(field)]),
    );
  }
  return null;
}
