/** <tensor-histogram>: how a tensor's values are spread, with quantiles; a part of it brushed is what the map shows alone. */
import { css, html, LitElement, nothing, svg } from "lit";
import { shareBelow } from "../../inspect/quantiles.ts";
import type { Histogram } from "../../inspect/types.ts";
import { percent, significant } from "../numbers.ts";
import { evenBins } from "./spread.ts";

const width = 480, height = 110, bins = 120;

export class TensorHistogram extends LitElement {
  static override properties = {
    histogram: { attribute: false },
    only: { attribute: false },
    ends: { attribute: false },
    logarithmic: { state: true },
    tails: { state: true },
    brush: { state: true },
  };
  declare histogram: Histogram | null;
  declare only: { low: number; high: number } | undefined;
  /** Ends of the colours, marked. */
  declare ends: readonly number[];
  /** Counts on a logarithmic scale. */
  declare private logarithmic: boolean;
  /** From the smallest value to the largest; else the middle 99.8 %. */
  declare private tails: boolean;
  declare private brush: { from: number; to: number } | null;

  static override styles = css`
    :host {
      display: block;
      font-size: 12px;
      color: var(--muted);
      font-variant-numeric: tabular-nums;
    }
    h3 {
      font: 600 12px/1.5 var(--sans);
      color: var(--ink);
      margin: 0;
      flex: 1;
    }
    .head {
      display: flex;
      gap: 12px;
      align-items: baseline;
      flex-wrap: wrap;
    }
    label {
      display: inline-flex;
      gap: 4px;
      align-items: center;
    }
    input {
      margin: 0;
    }
    svg {
      display: block;
      width: 100%;
      height: 110px;
      touch-action: pan-y;
      cursor: col-resize;
      margin: 4px 0 0;
    }
    .bars {
      fill: var(--muted);
    }
    .faint {
      fill: var(--rule);
    }
    .axis {
      stroke: var(--rule);
    }
    .domain {
      stroke: var(--accent);
      stroke-dasharray: 2 2;
    }
    .quantile {
      stroke: var(--ink);
    }
    .ends {
      display: flex;
      justify-content: space-between;
      font: 11px/1.5 var(--mono);
    }
    dl {
      display: grid;
      grid-template-columns: repeat(auto-fill, minmax(112px, 1fr));
      gap: 0 16px;
      margin: 6px 0 0;
    }
    dl div {
      display: flex;
      justify-content: space-between;
      border-bottom: 1px solid var(--rule);
      line-height: 1.7;
    }
    dd {
      margin: 0;
      font: 12px/1.7 var(--mono);
      color: var(--ink);
    }
    p {
      margin: 4px 0 0;
    }
    :focus-visible {
      outline: 2px solid var(--accent);
      outline-offset: 1px;
    }
  `;

  constructor() {
    super();
    this.histogram = null;
    this.ends = [];
    this.logarithmic = false;
    this.tails = false;
    this.brush = null;
  }

  /** What the horizontal axis covers. */
  private get range(): { low: number; high: number } {
    const { min, max, quantiles } = this.histogram!;
    const at = (q: number, otherwise: number) =>
      quantiles.find((one) => Math.abs(one.q - q) < 1e-9)?.value ?? otherwise;
    const [low, high] = this.tails ? [min, max] : [at(0.001, min), at(0.999, max)];
    // Ends do not lie on an edge, and a tensor of one value has a width.
    const room = (high - low) * 0.01 || Math.abs(high) * 0.01 || 1;
    return { low: low - room, high: high + room };
  }

  override render() {
    const { histogram } = this;
    if (!histogram) return nothing;
    const { low, high } = this.range;
    const counts = evenBins(histogram, low, high, bins);
    const tall = (count: number) => this.logarithmic ? Math.log10(1 + count) : count;
    const most = Math.max(...counts.map(tall), 1e-9), each = width / bins;
    const x = (value: number) => (value - low) / (high - low) * width;
    const { brush, only } = this;
    const chosen = brush ? [Math.min(brush.from, brush.to), Math.max(brush.from, brush.to)] : only && [
      x(only.low),
      x(only.high),
    ];
    const line = (value: number, kind: string, from: number, to: number) =>
      value < low || value > high
        ? nothing
        : svg`<line class=${kind} x1=${x(value)} x2=${x(value)} y1=${from} y2=${to}></line>`;
    return html`
      <div class="head">
        <h3>Spread</h3>
        <label><input type="checkbox" .checked=${this.logarithmic} @change=${(event: Event) =>
          this.logarithmic = (event.target as HTMLInputElement).checked}>log counts</label>
        <label><input type="checkbox" .checked=${this.tails} @change=${(event: Event) =>
          this.tails = (event.target as HTMLInputElement).checked}>whole range</label>
      </div>
      <svg viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" role="img"
        aria-label="Histogram from ${significant(low)} to ${significant(high)}"
        @pointerdown=${this.onDown} @pointermove=${this.onMove} @pointerup=${this.onUp}
        @pointercancel=${() => this.brush = null}>
        <title>Drag over a part to show its values alone</title>
        ${Array.from(counts, (count, bin) => {
          const share = tall(count) / most * (height - 12), left = bin * each;
          const inside = !chosen || left + each > chosen[0] && left < chosen[1];
          return svg`
            <rect class=${inside ? "bars" : "faint"} x=${left} y=${height - 10 - share}
              width=${each - 0.5} height=${share}></rect>
          `;
        })}
        <line class="axis" x1="0" x2=${width} y1=${height - 10} y2=${height - 10}></line>
        ${this.ends.map((value) => line(value, "domain", 0, height - 10))}
        ${histogram.quantiles.map(({ value, q }) =>
          line(value, "quantile", height - 10, q === 0.5 ? height : height - 4)
        )}
      </svg>
      <div class="ends"><span>${significant(low)}</span><span>${significant(high)}</span></div>
      <dl>${this.numbers().map(([name, value]) =>
        html`
          <div>
            <dt>${name}</dt>
            <dd>${value}</dd>
          </div>
        `
      )}</dl>
      <p>${histogram.zeros.toLocaleString("en")} zeros of ${histogram.count.toLocaleString(
        "en",
      )} elements${histogram.subnormals > 0
        ? `, ${histogram.subnormals.toLocaleString("en")} subnormal`
        : ""}${histogram.finite < histogram.count
        ? html`; <b>${
          (histogram.count - histogram.finite).toLocaleString("en")
        } not finite</b>, and all else here is of the other ${histogram.finite.toLocaleString("en")}`
        : ""}${only
        ? html`; <b>${
          percent(shareBelow(histogram, only.high) - shareBelow(histogram, only.low))
        }</b> in the part chosen`
        : ""}.</p>
    `;
  }

  private numbers(): [string, string][] {
    const { min, max, mean, rms, deviation, quantiles } = this.histogram!;
    const marks = [0.001, 0.005, 0.025, 0.25, 0.5, 0.75, 0.975, 0.995, 0.999];
    const name = (q: number) => q === 0.5 ? "median" : `q${Number((q * 100).toFixed(1))}`;
    return [
      ["min", significant(min)],
      ...quantiles.filter(({ q }) => marks.some((mark) => Math.abs(mark - q) < 1e-9)).map((
        { q, value },
      ): [string, string] => [name(q), significant(value)]),
      ["max", significant(max)],
      ["mean", significant(mean)],
      ["rms", significant(rms)],
      ["deviation", significant(deviation)],
    ];
  }

  private at(event: PointerEvent): number {
    const { left, width: wide } = (event.currentTarget as Element).getBoundingClientRect();
    return Math.min(width, Math.max(0, (event.clientX - left) / wide * width));
  }

  private onDown(event: PointerEvent): void {
    (event.currentTarget as Element).setPointerCapture(event.pointerId);
    this.brush = { from: this.at(event), to: this.at(event) };
  }

  private onMove(event: PointerEvent): void {
    if (this.brush) this.brush = { ...this.brush, to: this.at(event) };
  }

  private onUp(): void {
    const { brush } = this;
    this.brush = null;
    if (!brush) return;
    const { low, high } = this.range;
    const [from, to] = [brush.from, brush.to].sort((a, b) => a - b).map((x) =>
      low + x / width * (high - low)
    );
    const digits = (value: number) => Number(value.toPrecision(4));
    // A click, without a way, lets all through again.
    const detail = Math.abs(brush.to - brush.from) < 3 ? undefined : { low: digits(from), high: digits(to) };
    this.dispatchEvent(new CustomEvent("only", { detail }));
  }
}

customElements.define("tensor-histogram", TensorHistogram);
