/** <tensor-rows>: rows by their norm, and the way to a row by its token or number. */
import { css, html, LitElement, nothing } from "lit";
import type { Marginals } from "../../inspect/types.ts";
import { significant } from "../numbers.ts";
import type { AxisLabels } from "./labels.ts";

type Order = "largest" | "smallest" | "mean";

const shown = 12;

export class TensorRows extends LitElement {
  static override properties = {
    labels: { attribute: false },
    marginals: { attribute: false },
    count: { type: Number },
    sought: { state: true },
    order: { state: true },
  };
  declare labels: AxisLabels | null;
  declare marginals: Marginals | null;
  declare count: number;
  declare private sought: string;
  declare private order: Order;

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
    input,
    select {
      font: 12px/1.5 var(--sans);
      color: var(--ink);
      background: var(--paper);
      border: 1px solid var(--rule);
      border-radius: 3px;
      padding: 2px 6px;
      margin: 0;
    }
    input {
      width: 12em;
    }
    ol {
      list-style: none;
      margin: 6px 0 0;
      padding: 0;
    }
    button {
      display: grid;
      grid-template-columns: minmax(0, 1fr) 64px minmax(40px, 30%);
      gap: 8px;
      align-items: center;
      width: 100%;
      font: 12px/1.75 var(--mono);
      color: var(--ink);
      text-align: left;
      background: none;
      border: 0;
      border-bottom: 1px solid var(--rule);
      padding: 0;
      cursor: pointer;
    }
    button:hover {
      background: var(--alt);
    }
    .name {
      overflow: hidden;
      text-overflow: ellipsis;
      white-space: pre;
    }
    .value {
      text-align: right;
    }
    .bar {
      display: block;
      height: 7px;
      background: var(--muted);
    }
    :focus-visible {
      outline: 2px solid var(--accent);
      outline-offset: 1px;
    }
    p {
      margin: 6px 0 0;
    }
  `;

  constructor() {
    super();
    this.labels = null;
    this.marginals = null;
    this.count = 0;
    this.sought = "";
    this.order = "largest";
  }

  override render() {
    const { labels, marginals } = this;
    if (!labels || this.count < 2) return nothing;
    const rows = this.sought !== "" ? labels.find(this.sought).slice(0, shown) : this.ordered();
    const norm = marginals?.norm;
    const of = (row: number) => (this.order === "mean" ? marginals?.mean : norm)?.[row] ?? NaN;
    const most = Math.max(1e-300, ...rows.map((row) => Math.abs(of(row))));
    const named = labels.short(0) !== "";
    return html`
      <div class="head">
        <h3>Rows</h3>
        <input type="search" placeholder=${named
          ? "token or number"
          : "number"} aria-label="Find a row by ${named ? "token or " : ""}number" .value=${this.sought}
          @input=${(event: Event) => this.sought = (event.target as HTMLInputElement).value}
          @keydown=${(event: KeyboardEvent) => event.key === "Enter" && rows.length > 0 && this.go(rows[0])}>
        <select aria-label="Order" ?disabled=${this.sought !== ""}
          @change=${(event: Event) => this.order = (event.target as HTMLSelectElement).value as Order}>
          <option value="largest">largest norm</option>
          <option value="smallest">smallest norm</option>
          <option value="mean">largest |mean|</option>
        </select>
      </div>
      ${!norm
        ? html`<p>Summing ${this.count.toLocaleString("en")} rows …</p>`
        : rows.length === 0
        ? html`<p>No row is called “${this.sought}”.</p>`
        : html`<ol>${
          rows.map((row) =>
            html`<li><button type="button" @click=${() => this.go(row)}><span class="name">${
              labels.long(row)
            }</span><span class="value">${significant(of(row), 4)}</span><span class="bar" style="width: ${
              Math.abs(of(row)) / most * 100
            }%"></span></button></li>`
          )
        }</ol>`}
    `;
  }

  /** The first few rows of the order, without sorting all of what may be 150,000. */
  private ordered(): number[] {
    const { marginals, order } = this;
    if (!marginals) return [];
    const of = order === "mean" ? marginals.mean.map(Math.abs) : marginals.norm;
    const sign = order === "smallest" ? 1 : -1;
    const best: number[] = [];
    for (let row = 0; row < of.length; row++) {
      if (best.length === shown && sign * of[row] >= sign * of[best[shown - 1]]) continue;
      let at = best.length;
      while (at > 0 && sign * of[row] < sign * of[best[at - 1]]) at--;
      best.splice(at, 0, row);
      if (best.length > shown) best.pop();
    }
    return best;
  }

  private go(row: number): void {
    this.dispatchEvent(new CustomEvent("go", { detail: row }));
  }
}

customElements.define("tensor-rows", TensorRows);
