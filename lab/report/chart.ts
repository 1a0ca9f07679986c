/** Small charts as SVG text: curves over steps, calibration, intervals. Colours come from the page's style sheet. */
import { fixed, formatFigure, percent } from "../format.ts";
import type { CalibrationBucket, ScoreHistogram } from "./data.ts";
import { type Content, type Html, html } from "./html.ts";

/** One curve. `y` is null where there is no finite value; the curve is broken there. */
export interface Series {
  name: string;
  x: readonly number[];
  y: readonly (number | null)[];
  /** Which colour of the palette, 1 to 4. */
  colour: 1 | 2 | 3 | 4;
  /** Draw points too, for few values far apart; or points on a faint curve, where `x` goes back and forth. */
  points?: boolean | "scattered";
}

export interface ChartOptions {
  title: string;
  unit?: string;
  /** What is explained below the title. */
  doc?: string;
  /** What `x` is, with its unit: "step", "√KL, √nats". */
  xName: string;
  series: readonly Series[];
  /** Shares: the axis stays within 0 and 1 and has per cent. */
  share?: boolean;
  /** A horizontal line with a label: a limit, a target. */
  rule?: { y: number; name: string };
  /** What the y axis must contain. */
  include?: readonly number[];
  /** Whether the legend has the last values, which mean something at the end of a course, or names alone. */
  keys?: "values" | "names";
}

/** Size of a chart and of its margins, in the units of its view box. */
export const chartFrame = { width: 360, height: 190, left: 46, right: 10, top: 8, bottom: 36 } as const;
const { width, height, left, right, top, bottom } = chartFrame;

/** A card with a chart of one or more curves; an empty one says so. */
export function lineChart(options: ChartOptions): Html {
  const { title, unit, doc, xName, share, rule, keys = "values" } = options;
  const series = options.series.filter(({ y }) => y.some((value) => value !== null));
  const head = html`
    <figcaption>
      <h4>${title}${unit && html`
        <small>${unit}</small>
      `}</h4>
      ${series.length > 0 &&
        html`<p class="readout">${
          series.map((one) => legend(one, keys === "names" || series.length > 1, keys === "values", share))
        }</p>`}
    </figcaption>
  `;
  if (series.length === 0) {
    return html`<figure class="chart empty">${head}<p class="muted">not measured</p></figure>`;
  }
  const drawn = series.map((one) => ({ ...one, ...thinned(one) }));
  const ends = series.map(({ x }) => extremes(x));
  const xRange = widened(Math.min(...ends.map(([low]) => low)), Math.max(...ends.map(([, high]) => high)), 0);
  const values = series.flatMap(({ y }) => extremes(y)).concat(rule ? [rule.y] : [], options.include ?? []);
  let [low, high] = widened(Math.min(...values), Math.max(...values), 0.06);
  if (share) [low, high] = [Math.max(0, low), Math.min(1, high)];
  const px = (x: number) => round(left + (x - xRange[0]) / (xRange[1] - xRange[0]) * (width - left - right));
  const py = (y: number) => round(top + (high - y) / (high - low) * (height - top - bottom));
  const yTicks = [4, 6, 8, 12].map((count) => ticks(low, high, count)).find((some) => some.length > 2) ??
    [low, high];
  // What is counted has no halves.
  const counted = series.every(({ x }) => x.every(Number.isInteger));
  const xTicks = ticks(xRange[0], xRange[1], 5).filter((x) => !counted || Number.isInteger(x));
  const step = yTicks.length > 1 ? yTicks[1] - yTicks[0] : 1;
  const yLabel = (y: number) => share ? percent(y, step < 0.0099 ? 1 : 0) : tickLabel(y, step);
  const summary = series.map((one) => {
    const ends = one.y.filter((value) => value !== null);
    return `${one.name} from ${formatFigure(ends[0])} to ${formatFigure(ends.at(-1))}`;
  }).join("; ");

  return html`
    <figure class="chart" data-x="${xName}" data-share="${share ? "1" : ""}" data-range="${JSON.stringify(
      xRange,
    )}"
      data-series="${JSON.stringify(drawn.map(({ x, y, name }) => ({ name, x, y })))}">
      ${head}
      <svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}: ${summary}">
        ${yTicks.map((y) =>
          html`
            <line class="grid" x1="${left}" x2="${width - right}" y1="${py(y)}" y2="${py(y)}" />
            <text x="${left - 6}" y="${py(y) + 3.5}" text-anchor="end">${yLabel(y)}</text>
          `
        )}
        ${xAxis(xTicks, px, xName)}
        ${rule && html`
          <line class="rule" x1="${left}" x2="${width - right}" y1="${py(rule.y)}" y2="${py(rule.y)}" />
          <text class="axis" x="${width - right - 2}" y="${py(rule.y) - 4}" text-anchor="end">${rule
            .name}</text>
        `}
        ${drawn.map((one) => curves(one, px, py))}
        <line class="cursor" y1="${top}" y2="${height - bottom}" x1="0" x2="0"/>
      </svg>
      ${doc && html`<p class="doc">${doc}</p>`}
    </figure>
  `;
}

/** Ticks with their labels, and below them what they count. */
function xAxis(at: readonly number[], px: (x: number) => number, name: string): Content {
  const step = at.length > 1 ? at[1] - at[0] : 1;
  return [
    at.map((x) =>
      html`
        <line class="tick" x1="${px(x)}" x2="${px(x)}" y1="${height - bottom}" y2="${height - bottom + 4}" />
        <text x="${px(x)}" y="${height - bottom + 15}" text-anchor="middle">${Number.isInteger(x)
          ? formatFigure(x)
          : tickLabel(x, step)}</text>
      `
    ),
    html`
      <text class="axis" x="${(left + width - right) / 2}" y="${height -
        5}" text-anchor="middle">${name}</text>
    `,
  ];
}

function legend(one: Series, named: boolean, valued: boolean, share?: boolean): Html {
  const last = one.y.findLast((value) => value !== null);
  return html`
    <span class="key k${one.colour}">${named && `${one.name} `}<b>${valued &&
      (share ? percent(last, 1) : formatFigure(last))}</b></span>
  `;
}

/** The curve; where it is long and restless, faint, with its moving average over it. */
function curves(
  { x, y, colour, points }: Series,
  px: (x: number) => number,
  py: (y: number) => number,
): Content {
  const path = (values: readonly (number | null)[]) => {
    let text = "", down = false;
    values.forEach((value, i) => {
      if (value !== null) text += `${down ? "L" : "M"}${px(x[i])} ${py(value)}`;
      down = value !== null;
    });
    return text;
  };
  const present = y.filter((value) => value !== null).length;
  const dots = points || present <= 3
    ? y.map((value, i) =>
      value !== null && html`
        <circle class="k${colour}" cx="${px(x[i])}" cy="${py(value)}" r="2.4" />
      `
    )
    : [];
  if (points || present < 40) {
    return [
      html`
        <path class="${points === "scattered" && "faint "}k${colour}" d="${path(y)}" />
      `,
      dots,
    ];
  }
  return [
    html`
      <path class="faint k${colour}" d="${path(y)}" />
    `,
    html`
      <path class="k${colour}" d="${path(movingAverage(y, Math.max(2, Math.round(present / 40))))}" />
    `,
  ];
}

/** Mean over the finite values at most `reach` places away. */
export function movingAverage(y: readonly (number | null)[], reach: number): (number | null)[] {
  return y.map((value, i) => {
    if (value === null) return null;
    const near = y.slice(Math.max(0, i - reach), i + reach + 1).filter((one) => one !== null);
    return near.reduce((sum, one) => sum + one, 0) / near.length;
  });
}

/** At most 300 points: means over runs of neighbours, with six digits. */
function thinned({ x, y }: Series): { x: number[]; y: (number | null)[] } {
  const size = Math.ceil(x.length / 300);
  const at: number[] = [], means: (number | null)[] = [];
  for (let i = 0; i < x.length; i += size) {
    const some = y.slice(i, i + size).filter((value) => value !== null);
    at.push(x[Math.min(i + Math.floor(size / 2), x.length - 1)]);
    means.push(
      some.length === 0 ? null : Number((some.reduce((a, b) => a + b, 0) / some.length).toPrecision(6)),
    );
  }
  return { x: at, y: means };
}

function extremes(y: readonly (number | null)[]): [number, number] {
  let low = Infinity, high = -Infinity;
  for (const value of y) {
    if (value === null) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
}

function widened(low: number, high: number, by: number): [number, number] {
  if (low === high) {
    const half = Math.abs(low) > 1e-12 ? Math.abs(low) / 10 : 1;
    return [low - half, high + half];
  }
  return [low - by * (high - low), high + by * (high - low)];
}

/** Round numbers within a range, about `count` of them. */
export function ticks(low: number, high: number, count: number): number[] {
  const rough = (high - low) / count;
  if (!(rough > 0) || !Number.isFinite(rough)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) ?? 10);
  const found: number[] = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) {
    found.push(Number((i * step).toPrecision(12)));
  }
  return found;
}

function tickLabel(value: number, step: number): string {
  if (value === 0) return "0";
  const size = Math.max(Math.abs(value), Math.abs(step));
  if (size < 1e-3 || size >= 1e6) return formatFigure(value);
  return fixed(value, Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9))));
}

const round = (value: number) => Math.round(value * 100) / 100;

/** Calibration: share of right pairs by score margin, beside σ(margin), the ideal. Areas of dots are numbers of pairs. */
export function calibrationChart(buckets: readonly CalibrationBucket[], error?: number): Html {
  if (buckets.length === 0) return lineChart({ title: "Calibration", xName: "margin", series: [] });
  const most = Math.max(...buckets.map(({ margin }) => margin), 1),
    all = Math.max(...buckets.map(({ count }) => count));
  const low = Math.min(0.5, ...buckets.map(({ accuracy, lower }) => lower ?? accuracy));
  const px = (x: number) => round(left + x / (most * 1.05) * (width - left - right));
  const py = (y: number) => round(top + 4 + (1 - y) / (1 - low) * (height - top - 4 - bottom));
  const ideal = Array.from({ length: 41 }, (_, i) => i / 40 * most * 1.05);
  return html`
    <figure class="chart">
      <figcaption>
        <h4>Calibration <small>accuracy, % of pairs</small></h4>
        <p class="readout"><span class="key k2">measured</span> <span class="key k4">ideal, σ(margin)</span></p>
      </figcaption>
      <svg viewBox="0 0 ${width} ${height}" role="img"
        aria-label="Accuracy by score margin, from ${percent(buckets[0].accuracy)} at ${fixed(
          buckets[0].margin,
        )} to ${percent(buckets.at(-1)!.accuracy)} at ${fixed(buckets.at(-1)!.margin)}">
        ${ticks(low, 1, 4).map((y) =>
          html`
            <line class="grid" x1="${left}" x2="${width - right}" y1="${py(y)}" y2="${py(y)}" />
            <text x="${left - 6}" y="${py(y) + 3.5}" text-anchor="end">${percent(y)}</text>
          `
        )}
        ${xAxis(ticks(0, most * 1.05, 5), px, "score margin |r_a − r_b|, points")}
        <path class="k4" d="${ideal.map((x, i) => `${i ? "L" : "M"}${px(x)} ${py(1 / (1 + Math.exp(-x)))}`)
          .join("")}"/>
        <path class="k2" d="${buckets.map(({ margin, accuracy }, i) =>
          `${i ? "L" : "M"}${px(margin)} ${py(accuracy)}`
        ).join("")}"/>
        ${buckets.map(({ margin, lower, upper }) =>
          lower !== undefined && upper !== undefined &&
          html`
            <line class="whisker k2" x1="${px(margin)}" x2="${px(margin)}" y1="${py(lower)}" y2="${py(
              upper,
            )}" />
          `
        )}
        ${buckets.map(({ margin, accuracy, count }) =>
          html`
            <circle class="k2" cx="${px(margin)}" cy="${py(accuracy)}" r="${round(
              2 + 4 * Math.sqrt(count / all),
            )}">
              <title>${count} pairs at ${fixed(margin)}: ${percent(accuracy, 1)}</title>
            </circle>
          `
        )}
      </svg>
      <p class="doc">How often the higher score is the preferred summary, with 95 % intervals.${error !==
          undefined && ` Mean distance from the ideal: ${percent(error, 1)}.`}</p>
    </figure>
  `;
}

/** How scores lie: the share of each kind of summary in each bin. */
export function histogramChart({ edges, ...counts }: ScoreHistogram): Html {
  const kinds = [["chosen", 1], ["rejected", 2], ["reference", 3]] as const;
  const x = edges.slice(1).map((edge, i) => Number(((edge + edges[i]) / 2).toPrecision(4)));
  const means: Content[] = [];
  const series = kinds.flatMap(([name, colour]): Series[] => {
    const total = counts[name].reduce((sum, count) => sum + count, 0);
    if (total === 0) return [];
    const mean = counts[name].reduce((sum, count, i) => sum + count * x[i], 0) / total;
    means.push(`${name} ${fixed(mean)}`);
    return [{ name, x, y: counts[name].map((count) => count / total), colour }];
  });
  return lineChart({
    title: "Scores",
    unit: "% of summaries in a bin",
    xName: "normalised score, points",
    doc: `Held-out pairs and the evaluation posts' references; means about ${means.join(", ")}.`,
    share: true,
    keys: "names",
    include: [0],
    series,
  });
}

/** A share with its interval on an axis from 0 to 100 %, one half marked. */
export function intervalBar({ rate, lower, upper }: { rate: number; lower: number; upper: number }): Html {
  const at = (share: number) => round(4 + 152 * share);
  const side = lower > 0.5 ? "good" : upper < 0.5 ? "bad" : "even";
  return html`
    <svg class="interval ${side}" viewBox="0 0 160 16" role="img"
      aria-label="${percent(rate, 1)}, interval ${percent(lower, 1)} to ${percent(upper, 1)}">
      <line class="grid" x1="4" x2="156" y1="8" y2="8" />
      <line class="half" x1="80" x2="80" y1="1" y2="15" />
      <line class="span" x1="${at(lower)}" x2="${at(upper)}" y1="8" y2="8" />
      <circle cx="${at(rate)}" cy="8" r="4" />
    </svg>
  `;
}
