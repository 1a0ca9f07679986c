/** One metric over steps, of one run or several overlaid: uPlot over curves that are thinned to what the pixels can show. */
import { css, html, LitElement, nothing } from "lit";
import { styleMap } from "lit/directives/style-map.js";
import uPlot from "uplot";
import { formatFigure, percent, shortCount } from "../../format.ts";
import { metrics } from "../../metrics.ts";
import { type Curve, nearestPlace } from "../../runs/columns.ts";
import { smoothed, thinned } from "../../runs/curves.ts";
import { colourOf, faint, onTheme } from "./colours.ts";

/** A run's curve. */
export interface ChartCurve {
  /** "A" */
  label: string;
  /** A style variable. */
  colour: string;
  curve: Curve;
}

/** How all charts of a board are drawn. */
export interface ChartLook {
  /** Weight of the past in the smoothing; 0 for none. */
  smoothing: number;
  log: boolean;
  /** The steps shown; undefined for all. */
  zoom?: readonly [number, number];
}

const height = 132;

/** Charts are made one a frame, so that scrolling through many never waits for more than one. */
const waiting: (() => void)[] = [];
function inTurn(work: () => void) {
  if (waiting.push(work) === 1) requestAnimationFrame(nextTurn);
}
function nextTurn() {
  waiting.shift()?.();
  if (waiting.length > 0) requestAnimationFrame(nextTurn);
}

const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    (target as RunChart).nearby = isIntersecting;
    if (isIntersecting) inTurn(() => (target as RunChart).draw());
  }
}, { rootMargin: "400px 0px" });

export class RunChart extends LitElement {
  static override properties = {
    name: {},
    curves: { attribute: false },
    look: { attribute: false },
    version: { attribute: false },
    marks: { attribute: false },
    at: { state: true },
  };
  /** The metric, as metrics.jsonl has it. */
  declare name: string;
  declare curves: readonly ChartCurve[];
  declare look: ChartLook;
  /** Changes when a curve has. */
  declare version: string;
  /** Steps at which something was raised. */
  declare marks: readonly number[];
  /** The step that values are told of; null for the last. */
  declare private at: number | null;
  nearby = false;
  private plot: uPlot | null = null;
  /** What the plot was made for: another needs another plot. */
  private madeFor = "";
  private quiet = () => {};
  private resized = new ResizeObserver(() => inTurn(() => this.draw()));

  static override styles = css`
    :host {
      display: block;
      min-width: 0;
      border-top: 1px solid var(--rule);
      padding-top: 5px;
      contain: layout style;
    }
    .head {
      display: flex;
      gap: 2px 10px;
      align-items: baseline;
      font: 13px/1.4 var(--sans);
      font-variant-numeric: tabular-nums;
      min-height: 18px;
    }
    h4 {
      font: 600 13px/1.4 var(--sans);
      margin: 0;
      white-space: nowrap;
      overflow: hidden;
      text-overflow: ellipsis;
      flex: 0 1 auto;
      min-width: 5ch;
    }
    .values {
      margin-left: auto;
      display: flex;
      flex-wrap: wrap;
      justify-content: flex-end;
      gap: 0 10px;
      flex: none;
      max-width: 62%;
    }
    .values b {
      font-weight: 600;
    }
    .values i {
      font: 600 11px/1 var(--sans);
      font-style: normal;
      color: var(--k);
      margin-right: 3px;
    }
    .sub {
      font: 11px/1.4 var(--sans);
      color: var(--muted);
      margin: 0 0 2px;
      white-space: nowrap;
      overflow: hidden;
      text-overflow: ellipsis;
    }
    .sub code {
      font: 11px/1.4 var(--mono);
    }
    .plot {
      height: ${height}px;
      position: relative;
      border-radius: 2px;
    }
    .plot:focus-visible {
      outline: 2px solid var(--accent);
      outline-offset: 1px;
    }
    .none {
      color: var(--muted);
      font: 12px/1.4 var(--sans);
      margin: 0;
      padding-top: 8px;
    }
    .uplot,
    .u-wrap {
      position: relative;
      user-select: none;
    }
    .u-over,
    .u-under {
      position: absolute;
    }
    .uplot canvas {
      display: block;
      position: relative;
      width: 100%;
      height: 100%;
    }
    .u-over {
      cursor: crosshair;
    }
    .u-select {
      background: color-mix(in srgb, var(--accent) 14%, transparent);
      position: absolute;
      pointer-events: none;
    }
    .u-cursor-x {
      position: absolute;
      left: 0;
      top: 0;
      height: 100%;
      border-right: 1px solid var(--muted);
      pointer-events: none;
      will-change: transform;
    }
    .u-cursor-y,
    .u-legend,
    .u-axis {
      display: none;
    }
    .u-cursor-pt {
      position: absolute;
      left: 0;
      top: 0;
      border-radius: 50%;
      pointer-events: none;
      will-change: transform;
    }
    .u-off {
      display: none;
    }
  `;

  constructor() {
    super();
    this.name = "";
    this.curves = [];
    this.look = { smoothing: 0, log: false };
    this.version = "";
    this.marks = [];
    this.at = null;
  }

  override connectedCallback() {
    super.connectedCallback();
    near.observe(this);
    this.resized.observe(this);
    this.quiet = onTheme(() => {
      this.drop();
      if (this.nearby) this.draw();
    });
  }

  override disconnectedCallback() {
    super.disconnectedCallback();
    near.unobserve(this);
    this.resized.disconnect();
    this.quiet();
    this.drop();
  }

  override render() {
    const { title = this.name, unit = "", doc = "", share } = metrics.get(this.name) ?? {};
    const value = (y: number | undefined) =>
      y === undefined ? "–" : Number.isNaN(y) ? "not finite" : share ? percent(y, 1) : formatFigure(y);
    const several = this.curves.length > 1;
    const told = this.curves.map((one) => ({ ...one, value: value(this.valueAt(one.curve)) }));
    const place = this.at === null ? "last" : `at ${this.at}`;
    return html`
      <div class="head">
        <h4 title=${title}>${title}</h4>
        <span class="values">${told.map(({ label, colour, value }) =>
          html`<span style=${styleMap({ "--k": `var(${colour})` })}>${
            several ? html`<i>${label}</i>` : nothing
          }<b>${value}</b></span>`
        )}</span>
      </div>
      <p class="sub" title=${doc}>${unit
        ? html`
          ${unit} ·
        `
        : nothing}<code>${this.name}</code> · ${doc}</p>
      ${this.curves.length === 0 ? html`<p class="none">Not measured in the runs shown.</p>` : html`
        <div class="plot" tabindex="0" role="slider" aria-label=${`${title}, ${place}`}
          aria-valuemin=${this.range()[0]} aria-valuemax=${this.range()[1]}
          aria-valuenow=${this.at ?? this.range()[1]}
          aria-valuetext=${told.map(({ label, value }) => `${several ? `${label} ` : ""}${value}`).join(", ")}
          @keydown=${this.onKey}></div>
      `}
    `;
  }

  override updated(changed: Map<string, unknown>) {
    // The cursor, which changes most, changes no curve.
    if (this.nearby && ["name", "curves", "look", "version", "marks"].some((one) => changed.has(one))) {
      this.draw();
    }
  }

  private valueAt({ x, y }: Curve): number | undefined {
    return y[this.at === null ? y.length - 1 : nearestPlace(x, this.at)];
  }

  /** The steps of all curves. */
  private range(): [number, number] {
    const some = this.curves.map(({ curve: { x } }) => x).filter((x) => x.length > 0);
    if (some.length === 0) return [0, 1];
    return [Math.min(...some.map((x) => x[0])), Math.max(...some.map((x) => x[x.length - 1]))];
  }

  private onKey(event: KeyboardEvent) {
    const [low, high] = this.look.zoom ?? this.range();
    const step = event.shiftKey ? Math.max(1, Math.round((high - low) / 10)) : 1;
    const now = this.at ?? high;
    const longest = this.curves.map(({ curve }) => curve.x).sort((a, b) => b.length - a.length)[0];
    const place = nearestPlace(longest, now);
    const to = {
      ArrowRight: longest[Math.min(longest.length - 1, place + step)],
      ArrowLeft: longest[Math.max(0, place - step)],
      Home: low,
      End: high,
    }[event.key];
    if (to === undefined || !this.plot) return;
    event.preventDefault();
    // Through the plot, whose cursor moves those of the others: the third argument, which its types leave out, publishes it.
    const setCursor = this.plot.setCursor as (
      at: { left: number; top: number },
      fire: boolean,
      publish: boolean,
    ) => void;
    setCursor({ left: this.plot.valToPos(to, "x"), top: height / 2 }, true, true);
  }

  // ---- the plot ----

  private drop() {
    this.plot?.destroy();
    this.plot = null;
  }

  /** Makes the plot, or gives it its data anew. */
  draw() {
    const host = this.renderRoot.querySelector<HTMLElement>(".plot");
    if (!host || !this.isConnected || host.clientWidth === 0) return this.drop();
    const { log, smoothing } = this.look;
    const data = this.data(host.clientWidth);
    const madeFor = JSON.stringify([
      log,
      this.curves.map(({ label, colour }) => [label, colour]),
      smoothing > 0,
      positive(data),
    ]);
    if (this.plot && madeFor === this.madeFor && this.plot.root.isConnected) {
      if (this.plot.width !== host.clientWidth) this.plot.setSize({ width: host.clientWidth, height });
      this.plot.setData(data, true);
      return;
    }
    this.drop();
    this.madeFor = madeFor;
    host.replaceChildren();
    this.plot = new uPlot(this.options(host.clientWidth, positive(data)), data, host);
  }

  /** The steps shown, raw and smoothed values of each curve; null where a value was not finite. */
  private data(width: number): uPlot.AlignedData {
    const [from, to] = this.look.zoom ?? this.range();
    const { smoothing } = this.look;
    const tables = this.curves.map(({ curve }): uPlot.AlignedData => {
      const raw = thinned(curve, from, to, width);
      const nulls = ({ y }: Curve) => Array.from(y, (value) => Number.isFinite(value) ? value : null);
      if (smoothing === 0) return [Array.from(raw.x), nulls(raw)];
      const smooth = thinned(smoothed(curve, smoothing), from, to, width);
      const at = new Map(Array.from(smooth.x, (x, i) => [x, smooth.y[i]]));
      // Both are thinned each by its own extremes; what one has and the other has not is left open.
      const all = [...new Set([...raw.x, ...smooth.x])].sort((a, b) => a - b);
      const rawAt = new Map(Array.from(raw.x, (x, i) => [x, raw.y[i]]));
      const column = (values: Map<number, number>) =>
        all.map((x) => {
          const value = values.get(x);
          return value === undefined ? undefined : Number.isFinite(value) ? value : null;
        });
      return [all, column(rawAt), column(at)];
    });
    return tables.length === 1 ? tables[0] : uPlot.join(tables);
  }

  private options(width: number, positive: boolean): uPlot.Options {
    const { log, smoothing } = this.look;
    const muted = colourOf("--muted"), rule = colourOf("--rule");
    const { share } = metrics.get(this.name) ?? {};
    const several = this.curves.length > 1;
    const font = `11px ${getComputedStyle(this).getPropertyValue("--sans")}`;
    const line = (colour: string, over: Partial<uPlot.Series> = {}): uPlot.Series => ({
      stroke: colour,
      width: 1.25,
      points: { size: 4, fill: colour },
      ...over,
    });
    return {
      width,
      height,
      padding: [6, several ? 16 : 6, 0, 0],
      legend: { show: false },
      cursor: {
        sync: {
          key: "runs",
          setSeries: false,
          scales: ["x", null],
          filters: { pub: (type) => type === "mousemove" || type === "mouseleave" },
        },
        drag: { x: true, y: false, setScale: false },
        y: false,
        points: { size: 6 },
        bind: {
          dblclick: () => () => {
            this.tell("zoom", undefined);
            return null;
          },
        },
      },
      scales: {
        x: { time: false, range: () => [...padded(this.look.zoom ?? this.range())] as [number, number] },
        y: log ? { distr: positive ? 3 : 4, asinh: 0.01 } : {
          range: (_, low, high) => this.extentOf(low, high, share),
        },
      },
      axes: [
        {
          stroke: muted,
          font,
          size: 20,
          gap: 3,
          grid: { show: false },
          ticks: { stroke: rule, width: 1, size: 3 },
          incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 1e4, 2e4, 5e4, 1e5],
          values: (_, at) => at.map((x) => formatFigure(x)),
        },
        {
          stroke: muted,
          font,
          size: 44,
          gap: 4,
          space: 24,
          grid: { stroke: rule, width: 0.5 },
          ticks: { show: false },
          values: (_, at) => at.map((y) => y === null ? "" : share ? percent(y) : short(y)),
        },
      ],
      series: [
        {},
        ...this.curves.flatMap(({ colour }) => {
          const solid = colourOf(colour);
          return smoothing > 0
            ? [line(faint(solid, 0.3), { width: 1, points: { show: false } }), line(solid, { width: 1.6 })]
            : [line(solid)];
        }),
      ],
      hooks: {
        setCursor: [(plot) => {
          const { left } = plot.cursor;
          const x = left === undefined || left < 0 ? null : Math.round(plot.posToVal(left, "x"));
          if (x === this.at) return;
          this.at = x;
          // Of all charts that the cursor moves in, the one that it is over tells.
          if ((plot.cursor as { event?: unknown }).event || this.shadowRoot!.activeElement) {
            this.tell("at", x);
          }
        }],
        setSelect: [(plot) => {
          const { left, width } = plot.select;
          if (width < 4) return;
          const [low, high] = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          this.tell("zoom", [Math.floor(low), Math.ceil(high)]);
        }],
        draw: [(plot) => {
          this.drawMarks(plot);
          if (several) this.drawLabels(plot, font);
        }],
      },
    };
  }

  /** The range of an axis that holds what is shown; shares stay within theirs. */
  private extentOf(low: number | null, high: number | null, share?: boolean): [number, number] {
    if (low === null || high === null) return [0, 1];
    // What differs by rounding alone is flat.
    const flat = high - low <= 1e-9 * Math.max(Math.abs(low), Math.abs(high));
    const room = flat ? Math.abs(high) / 10 || 1 : 0.07 * (high - low);
    const [from, to] = [low - room, high + room];
    return share ? [Math.max(0, from), Math.min(1, to)] : [from, to];
  }

  /** Alarms as lines from top to bottom, values that were not finite as crosses at the bottom. */
  private drawMarks(plot: uPlot) {
    const { ctx, bbox } = plot, ratio = devicePixelRatio;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colourOf("--negative");
    ctx.lineWidth = ratio;
    for (const step of this.marks) {
      const x = plot.valToPos(step, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.setLineDash([2 * ratio, 3 * ratio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.font = `${10 * ratio}px sans-serif`;
    ctx.textAlign = "center";
    let last = -Infinity;
    for (const { curve: { x, y } } of this.curves) {
      for (let i = 0; i < y.length; i++) {
        if (Number.isFinite(y[i])) continue;
        const at = plot.valToPos(x[i], "x", true);
        if (at < bbox.left || at > bbox.left + bbox.width || Math.abs(at - last) < 6 * ratio) continue;
        ctx.fillText("✕", at, bbox.top + bbox.height - 2 * ratio);
        last = at;
      }
    }
    ctx.restore();
  }

  /** The runs' letters where their lines end. */
  private drawLabels(plot: uPlot, font: string) {
    const { ctx, bbox } = plot, ratio = devicePixelRatio, line = 11 * ratio;
    const [from, to] = this.look.zoom ?? this.range();
    const ends = this.curves.flatMap(({ curve, label, colour }) => {
      const drawn = this.look.smoothing > 0 ? smoothed(curve, this.look.smoothing) : curve;
      const place = Math.min(nearestPlace(drawn.x, to), drawn.x.length - 1);
      if (place < 0 || drawn.x[place] < from || !Number.isFinite(drawn.y[place])) return [];
      return [{
        label,
        colour,
        x: plot.valToPos(drawn.x[place], "x", true),
        y: plot.valToPos(drawn.y[place], "y", true),
      }];
    }).sort((a, b) => a.y - b.y);
    // Labels that would cover each other move apart, downwards.
    for (let i = 1; i < ends.length; i++) ends[i].y = Math.max(ends[i].y, ends[i - 1].y + line);
    ctx.save();
    ctx.font = font.replace(/^11px/, `600 ${11 * ratio}px`);
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    for (const { label, colour, x, y } of ends) {
      ctx.fillStyle = colourOf(colour);
      ctx.fillText(label, Math.min(x, bbox.left + bbox.width) + 4 * ratio, y);
    }
    ctx.restore();
  }

  private tell(name: string, detail: unknown) {
    this.dispatchEvent(new CustomEvent(`chart-${name}`, { detail, bubbles: true, composed: true }));
  }
}

/** A range with some room, and never empty. */
function padded([low, high]: readonly [number, number]): [number, number] {
  return high > low ? [low, high] : [low - 0.5, high + 0.5];
}

/** Whether all values can stand on a logarithmic axis. */
function positive([, ...columns]: uPlot.AlignedData): boolean {
  return columns.every((column) => Array.from(column).every((y) => y === null || y === undefined || y > 0));
}

/** A tick's number in few characters. */
function short(y: number): string {
  const size = Math.abs(y);
  if (size >= 1e4) return shortCount(y).replace("-", "−");
  if (size < 1e-3 && y !== 0) return y.toExponential(0).replace(/-/g, "−");
  return String(Number(y.toPrecision(4))).replace("-", "−");
}

customElements.define("run-chart", RunChart);
