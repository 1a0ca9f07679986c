/** Curves over what they share, with the values under the pointer and each curve's name at its end. */
import { css, html, LitElement, nothing, svg } from "lit";
import { formatFigure } from "../../format.ts";

export interface Curve {
  name: string;
  x: number[];
  /** Null where there is no value; the curve is broken there. */
  y: (number | null)[];
  colour?: number;
  points?: boolean;
}

/** Size of the drawing and its margins, in the units of its view box. */
const frame = { width: 640, height: 240, left: 52, right: 96, top: 10, bottom: 34 } as const;
const inner = {
  width: frame.width - frame.left - frame.right,
  height: frame.height - frame.top - frame.bottom,
};

export class LineChart extends LitElement {
  static override properties = {
    curves: { attribute: false },
    title: { attribute: false },
    xName: { attribute: false },
    unit: { attribute: false },
    at: { state: true },
  };
  declare curves: readonly Curve[];
  declare title: string;
  declare xName: string;
  declare unit: string;
  /** The x that is pointed at. */
  declare private at: number | null;

  static override styles = css`
    :host {
      display: block;
      max-width: 720px;
      font: 12px/1.5 var(--sans);
      font-variant-numeric: tabular-nums;
    }
    svg {
      display: block;
      width: 100%;
      height: auto;
      overflow: visible;
    }
    text {
      font: 11px var(--sans);
      fill: var(--muted);
    }
    .title {
      font: 600 13px/1.4 var(--sans);
      margin: 0 0 4px;
    }
    .unit {
      font-weight: 400;
      color: var(--muted);
    }
    .grid {
      stroke: var(--rule);
      stroke-width: 1;
    }
    .curve {
      fill: none;
      stroke-width: 1.6;
      stroke-linejoin: round;
    }
    .cursor {
      stroke: var(--muted);
      stroke-width: 1;
      stroke-dasharray: 2 2;
    }
    .readout {
      margin: 0;
      min-height: 1.5em;
      color: var(--muted);
    }
    .readout b {
      font-weight: 600;
      color: var(--ink);
    }
    svg:focus-visible {
      outline: 2px solid var(--accent);
    }
  `;

  constructor() {
    super();
    this.curves = [];
    this.title = this.xName = this.unit = "";
    this.at = null;
  }

  override render() {
    const curves = this.curves.map((curve, i) => ({
      ...curve,
      paint: `var(--${
        [
          "role-policy",
          "role-reward",
          "role-sft",
          "role-value",
          "role-reference",
        ][((curve.colour ?? i + 1) - 1) % 5]
      })`,
    }));
    const xs = curves.flatMap(({ x }) => x),
      ys = curves.flatMap(({ y }) => y).filter((value) => value !== null);
    const title = this.title || this.unit
      ? html`<p class="title">${this.title} <span class="unit">${this.unit}</span></p>`
      : nothing;
    if (ys.length === 0) {
      return html`${title}<p class="readout">There is nothing to draw: no curve has a value.</p>`;
    }
    const [x0, x1] = span(xs, 0), [y0, y1] = span(ys, .06);
    const px = (x: number) => frame.left + (x - x0) / (x1 - x0) * inner.width;
    const py = (y: number) => frame.top + (y1 - y) / (y1 - y0) * inner.height;
    const move = (event: PointerEvent) => {
      const box = (event.currentTarget as SVGElement).getBoundingClientRect();
      this.at = nearest(
        xs,
        x0 + ((event.clientX - box.left) / box.width * frame.width - frame.left) / inner.width * (x1 - x0),
      );
    };
    const ends = placed(curves.map((curve) => {
      const last = curve.y.findLastIndex((value) => value !== null);
      return { ...curve, top: last < 0 ? frame.top : py(curve.y[last]!) };
    }));
    return html`
      ${title}<svg viewBox="0 0 ${frame.width} ${frame.height}" role="img" tabindex="0"
        aria-label="${this.title || "Chart"}: ${curves.map(({ name }) => name).join(
          ", ",
        )} over ${this.xName || "x"}. Arrow keys read values."
        @pointermove=${move} @pointerleave=${() => this.at = null} @keydown=${(event: KeyboardEvent) =>
          this.onKey(event, xs)}>
            ${ticks(y0, y1, 4).map((y) =>
              svg`
                <line class="grid" x1=${frame.left} x2=${frame.width - frame.right} y1=${py(y)} y2=${py(
                  y,
                )}></line>
                <text x=${frame.left - 8} y=${py(y) + 4} text-anchor="end">${label(y)}</text>
              `
            )}
            ${ticks(x0, x1, 6).map((x) =>
              svg`<text x=${px(x)} y=${frame.height - frame.bottom + 16} text-anchor="middle">${
                label(x)
              }</text>`
            )}
            <text x=${frame.left + inner.width / 2} y=${frame.height - 4} text-anchor="middle">${this
              .xName}</text>
            ${this.at === null
              ? nothing
              : svg`<line class="cursor" x1=${px(this.at)} x2=${px(this.at)} y1=${frame.top} y2=${
                frame.height - frame.bottom
              }></line>`}
            ${curves.map(({ x, y, paint, points }) =>
              svg`<path class="curve" stroke=${paint} d=${path(x, y, px, py)}></path>${
                points || x.length < 2
                  ? x.map((one, i) =>
                    y[i] === null
                      ? nothing
                      : svg`<circle r="2.5" fill=${paint} cx=${px(one)} cy=${py(y[i]!)}></circle>`
                  )
                  : nothing
              }`
            )}
            ${ends.map(({ name, paint, top }) =>
              svg`<text x=${frame.width - frame.right + 6} y=${top + 4} style="fill: ${paint}">${
                name.slice(0, 18)
              }</text>`
            )}
          </svg><p class="readout" aria-live="polite">${this.readout(curves)}</p>
    `;
  }

  private readout(curves: readonly Curve[]) {
    if (this.at === null) return nothing;
    return html`${this.xName || "x"} <b>${label(this.at)}</b>${
      curves.map(({ name, x, y }) => {
        const value = y[x.indexOf(this.at!)];
        return value === undefined || value === null ? nothing : html`
          · ${name} <b>${formatFigure(value)}</b>
        `;
      })
    }`;
  }

  private onKey(event: KeyboardEvent, xs: readonly number[]) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const sorted = [...new Set(xs)].sort((a, b) => a - b);
    const at = this.at === null ? (step > 0 ? -1 : sorted.length) : sorted.indexOf(this.at);
    this.at = sorted[Math.max(0, Math.min(sorted.length - 1, at + step))];
  }
}

/** The least and the greatest, apart from each other, with a margin of a share of their distance. */
function span(values: readonly number[], margin: number): [number, number] {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low === high) return [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
  return [low - margin * (high - low), high + margin * (high - low)];
}

/** About so many round numbers within a range. */
function ticks(low: number, high: number, count: number): number[] {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough)!;
  const first = Math.ceil(low / step);
  return Array.from(
    { length: Math.floor(high / step) - first + 1 },
    (_, i) => Number(((first + i) * step).toPrecision(12)),
  );
}

function label(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 1e5
    ? String(value).replace("-", "−")
    : Number(value.toPrecision(3)).toString().replace("-", "−");
}

function path(
  x: readonly number[],
  y: readonly (number | null)[],
  px: (x: number) => number,
  py: (y: number) => number,
): string {
  let broken = true;
  return x.map((one, i) => {
    const value = y[i];
    if (value === null) {
      broken = true;
      return "";
    }
    const command = broken ? "M" : "L";
    broken = false;
    return `${command}${px(one).toFixed(1)} ${py(value).toFixed(1)}`;
  }).join("");
}

function nearest(xs: readonly number[], x: number): number {
  return xs.reduce((best, one) => Math.abs(one - x) < Math.abs(best - x) ? one : best, xs[0]);
}

/** Labels moved apart where they would cover each other. */
function placed<T extends { top: number }>(labels: T[]): T[] {
  const sorted = [...labels].sort((a, b) => a.top - b.top);
  for (let i = 1; i < sorted.length; i++) sorted[i].top = Math.max(sorted[i].top, sorted[i - 1].top + 13);
  return labels;
}

customElements.define("line-chart", LineChart);
