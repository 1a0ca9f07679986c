/** A stage's metrics as small multiples with one cursor, in the groups of TRL's names. */
import { html, LitElement, nothing } from "lit";
import { keyed } from "lit/directives/keyed.js";
import { styleMap } from "lit/directives/style-map.js";
import { formatFigure } from "../../format.ts";
import { metrics } from "../../metrics.ts";
import type { StageName } from "../../report/data.ts";
import { nearestPlace } from "../../runs/columns.ts";
import { groupMetrics, type MetricGroup, roleOf } from "../../runs/groups.ts";
import "./chart.ts";
import type { ChartCurve, ChartLook } from "./chart.ts";
import type { WatchedRun } from "./watch.ts";

export class RunCurves extends LitElement {
  static override properties = {
    runs: { attribute: false },
    stage: {},
    version: {},
    filter: { state: true },
    smoothing: { state: true },
    log: { state: true },
    table: { state: true },
    zooms: { state: true },
    at: { state: true },
  };
  declare runs: readonly WatchedRun[];
  declare stage: StageName;
  declare version: string;
  declare private filter: string;
  declare private smoothing: number;
  declare private log: boolean;
  /** Whether the values at the cursor stand in a table. */
  declare private table: boolean;
  /** The steps shown, of each stage. */
  declare private zooms: Partial<Record<StageName, readonly [number, number]>>;
  declare private at: number | null;

  constructor() {
    super();
    this.runs = [];
    this.stage = "ppo";
    this.version = "";
    this.filter = "";
    this.smoothing = 0;
    this.log = false;
    this.table = false;
    this.zooms = {};
    this.at = null;
  }

  /** The style sheet is the document's. */
  override createRenderRoot() {
    return this;
  }

  override connectedCallback() {
    super.connectedCallback();
    this.addEventListener("chart-zoom", (event) => {
      this.zooms = { ...this.zooms, [this.stage]: (event as CustomEvent).detail };
    });
    this.addEventListener("chart-at", (event) => {
      if (this.table) this.at = (event as CustomEvent).detail ?? this.at;
    });
  }

  /** Puts the cursor into the search. */
  search() {
    this.querySelector<HTMLInputElement>("input[type=search]")?.focus();
  }

  toggleLog() {
    this.log = !this.log;
  }

  resetZoom() {
    this.zooms = { ...this.zooms, [this.stage]: undefined };
  }

  override render() {
    const names = [...new Set(this.runs.flatMap(({ seen }) => seen.columns.names(this.stage)))]
      .filter((name) => this.runs.some(({ seen }) => seen.columns.curve(this.stage, name)));
    if (names.length === 0) return this.empty();
    const wanted = this.filter.trim().toLowerCase().split(/\s+/).filter((word) => word !== "");
    const found = names.filter((name) => {
      const { title = "", doc = "" } = metrics.get(name) ?? {};
      const text = `${name} ${title} ${doc}`.toLowerCase();
      return wanted.every((word) => text.includes(word));
    });
    const zoom = this.zooms[this.stage];
    const look: ChartLook = { smoothing: this.smoothing, log: this.log, zoom };
    return html`
      <div class="tools">
        <label class="search">
          <span class="sr">Search metrics</span>
          <input type="search" placeholder="Search ${names.length} metrics  /" .value=${this
            .filter} @input=${(event: Event) => this.filter = (event.target as HTMLInputElement).value}>
        </label>
        <label class="smooth">Smoothing
          <input type="range" min="0" max="0.98" step="0.02" .value=${String(this.smoothing)} @input=${(
            event: Event,
          ) => this.smoothing = Number((event.target as HTMLInputElement).value)}><output>${this.smoothing
            .toFixed(2)}</output>
        </label>
        <label class="check"><input type="checkbox" .checked=${this.log} @change=${() =>
          this.toggleLog()}> Log scale</label>
        <label class="check"><input type="checkbox" .checked=${this.table} @change=${() =>
          this.table = !this.table}> Values in a table</label>
        ${zoom
          ? html`<button type="button" class="small" @click=${() => this.resetZoom()}>Steps ${zoom[0]} to ${
            zoom[1]
          }: show all</button>`
          : html`<span class="hint">Drag to zoom, double-click to reset</span>`}
      </div>
      ${this.table ? this.values(groupMetrics(found).flatMap(({ names }) => names)) : nothing}
      ${found.length === 0
        ? html`<p class="empty">No metric's name, title or description has ${
          wanted.map((word, i) => html`${i > 0 ? " and " : ""}“${word}”`)
        } in it.</p>`
        : sections(found).map(({ title, names }) =>
          html`
            <section class="group" aria-label=${title || "Metrics"}>
              <h3 class=${title ? "" : "sr"}>${title || "metrics"} <small>${names.length}</small></h3>
              <div class="charts">${names.map((name) =>
                keyed(`${this.stage} ${name}`, this.chart(name, look))
              )}</div>
            </section>
          `
        )}
    `;
  }

  private chart(name: string, look: ChartLook) {
    const marks = this.runs.flatMap(({ seen }) =>
      seen.alarms.filter(({ stage, figure }) => stage === this.stage && figure === name).map(({ step }) =>
        step
      )
    );
    return html`
      <run-chart .name=${name} .look=${look} .curves=${this.curvesOf(name)} .marks=${marks}
        .version=${this.version}></run-chart>
    `;
  }

  /** A run on its own has the colours of roles; runs side by side have each their own. */
  private curvesOf(name: string): ChartCurve[] {
    const alone = this.runs.length === 1;
    return this.runs.flatMap(({ label, colour, seen }) => {
      const curve = seen.columns.curve(this.stage, name);
      return curve ? [{ label, colour: alone ? `--role-${roleOf(this.stage, name)}` : colour, curve }] : [];
    });
  }

  private values(names: readonly string[]) {
    const at = this.at;
    return html`
      <div class="scroll values-table" tabindex="0" role="region" aria-label="Values">
        <table class="dense">
          <thead>
            <tr>
                <th scope="col">${at === null
                  ? "Last values"
                  : `${this.stage === "ppo" ? "Update" : "Step"} ${at}`}</th>
                ${this.runs.map((run) =>
                  html`<th scope="col" class="number" style=${
                    styleMap({ "--k": `var(${run.colour})` })
                  }><span class="letter">${run.label}</span> ${run.name}</th>`
                )}
              </tr>
          </thead>
          <tbody>${names.map((name) =>
            html`<tr><th scope="row">${metrics.get(name)?.title ?? name} <code>${name}</code></th>${
              this.runs.map(({ seen }) => {
                const curve = seen.columns.curve(this.stage, name);
                const place = !curve ? -1 : at === null ? curve.x.length - 1 : nearestPlace(curve.x, at);
                const step = place >= 0 && at !== null && curve!.x[place] !== at
                  ? html`
                    <small>at ${curve!.x[place]}</small>
                  `
                  : "";
                return html`<td class="number">${
                  place < 0 ? "–" : formatFigure(curve!.y[place])
                }${step}</td>`;
              })
            }</tr>`
          )}</tbody>
        </table>
      </div>
    `;
  }

  private empty() {
    const what: Partial<Record<StageName, string>> = {
      sft: "loss, ROUGE and learning rate of supervised fine-tuning, step by step",
      reward: "loss, accuracy and margin of the reward model, step by step",
      ppo: "score, KL, ratios, values and lengths of PPO, update by update",
    };
    return html`<p class="empty">Here would be ${what[this.stage] ?? "this stage's figures"}. ${
      this.runs.length === 0
        ? "Open a run to see them."
        : html`No open run has got as far; <code>deno task train --stages ${this.stage} --out …</code> runs the stage alone, once
          those before it are done.`
    }</p>`;
  }
}

/** Metrics in their groups; few of them in one, as headings would take more room than they order. */
function sections(names: readonly string[]): MetricGroup[] {
  const groups = groupMetrics(names);
  return names.length > 15 ? groups : [{ title: "", names: groups.flatMap((group) => group.names) }];
}

customElements.define("run-curves", RunCurves);
