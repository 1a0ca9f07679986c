/** <compare-view>: two checkpoints of one shape: how far each tensor moved, which rows most, and the same text through both. */
import { css, html, LitElement, nothing, type PropertyValues } from "lit";
import type { InspectedText, MovedRow, SamePrompt, TensorChange, TensorEntry } from "../../inspect/types.ts";
import { chooseScale } from "../../inspect/colour.ts";
import { nats, percent, significant } from "../numbers.ts";
import { visible } from "./labels.ts";
import { cssColour, lettersOn, roleColour, themeOf } from "./palette.ts";
import { paneStyle } from "./pane_style.ts";
import type { Inspector } from "./service.ts";
import "./tensor_view.ts";
import { type TensorViewState, usualTensorView } from "./tensor_view_state.ts";

/** Rows that are told of. */
const k = 16;

/** Tokens that each goes on with. */
const continued = 40;

/** Nats of difference at which a token has its full shade. */
const full = 2;

export class CompareView extends LitElement {
  static override properties = {
    service: { attribute: false },
    a: {},
    b: {},
    text: { attribute: false },
    tensor: {},
    changes: { state: true },
    rows: { state: true },
    same: { state: true },
    at: { state: true },
    vocabulary: { attribute: false },
    pair: { state: true },
    view: { state: true },
    pointed: { state: true },
    trouble: { state: true },
  };
  declare service: Inspector | null;
  declare a: string;
  /** Empty until one is chosen. */
  declare b: string;
  declare text: InspectedText | null;
  /** Name of the tensor whose rows are told of. */
  declare tensor: string;
  declare vocabulary: readonly string[];
  /** The tensor in either checkpoint, drawn on one scale and moved together. */
  declare private pair: { entries: [TensorEntry, TensorEntry]; extent: number } | null;
  declare private view: TensorViewState;
  declare private pointed: { row: number; column: number } | null;
  declare private changes: TensorChange[] | null;
  declare private rows: MovedRow[] | null;
  declare private same: SamePrompt | null;
  declare private at: number | null;
  declare private trouble: string;
  private asked = { changes: "", rows: "", same: "", pair: "" };

  static override styles = [
    paneStyle,
    css`
      section {
        margin: 0 0 28px;
      }
      .grid {
        border-collapse: separate;
        border-spacing: 1px;
        width: auto;
      }
      .grid th,
      .grid td {
        border: 0;
        padding: 0;
      }
      .grid th {
        font: 11px/1.5 var(--mono);
        padding: 0 8px 0 0;
      }
      .grid thead th {
        padding: 0 3px 2px;
        max-width: 68px;
        white-space: normal;
        vertical-align: bottom;
        text-align: right;
      }
      td.row {
        max-width: 120px;
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .grid button {
        border: 0;
        border-radius: 0;
        width: 100%;
        min-width: 68px;
        padding: 2px 4px;
        font: 12px/1.5 var(--mono);
        text-align: right;
      }
      .grid button[aria-pressed="true"] {
        outline: 2px solid var(--accent);
        outline-offset: -1px;
      }
      .pair {
        display: grid;
        grid-template-columns: minmax(0, auto) minmax(280px, 1fr);
        gap: 32px;
      }
      .maps {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(min(340px, 100%), 1fr));
        gap: 24px;
      }
      .strip {
        font: 14px/1.7 var(--mono);
        margin: 0;
        overflow-wrap: anywhere;
      }
      .strip button {
        font: inherit;
        border: 0;
        border-radius: 2px;
        padding: 0 1px;
        margin: 0 1px 0 0;
        line-height: 1.5;
        white-space: pre-wrap;
        background: color-mix(in oklab, var(--negative) calc(var(--surprise, 0) * 55%), transparent);
      }
      .strip button.at {
        outline: 2px solid var(--accent);
      }
      .readout {
        min-height: 1.6em;
        margin: 8px 0;
      }
      .written {
        font: 15px/1.5 var(--serif);
        border-left: 2px solid var(--rule);
        padding-left: 10px;
        margin: 4px 0 12px;
        white-space: pre-wrap;
      }
      @media (max-width: 900px) {
        .pair {
          grid-template-columns: minmax(0, 1fr);
        }
      }
    `,
  ];

  constructor() {
    super();
    this.service = null;
    this.a = this.b = this.tensor = "";
    this.text = null;
    this.vocabulary = [];
    this.pair = null;
    this.view = usualTensorView;
    this.pointed = null;
    this.changes = null;
    this.rows = null;
    this.same = null;
    this.at = null;
    this.trouble = "";
  }

  override willUpdate(changed: PropertyValues<this>): void {
    const { service, a, b, tensor, text } = this;
    if (!service || !b || a === b) return;
    if (changed.has("service")) this.asked = { changes: "", rows: "", same: "", pair: "" };
    const pair = JSON.stringify([a, b]);
    if (pair !== this.asked.changes) {
      this.changes = null;
      this.trouble = "";
      this.ask("changes", pair, () => service.changes(a, b), (changes) => this.changes = changes);
    }
    const rows = JSON.stringify([a, b, tensor]);
    if (tensor && rows !== this.asked.rows) {
      this.rows = null;
      this.ask("rows", rows, () => service.movedRows(a, b, tensor, k), (rows) => this.rows = rows);
    }
    if (tensor && rows !== this.asked.pair) {
      this.pair = null;
      this.ask("pair", rows, async () => {
        const ids = [a, b].map((place) => `${place}#weights/${tensor}`);
        const [first, second] = await Promise.all(ids.map((id) => service.tensor(id)));
        const { extent } = chooseScale(await service.histogram(ids[0]));
        return {
          entries: [first, second] as [TensorEntry, TensorEntry],
          extent: Number(extent.toPrecision(3)),
        };
      }, (pair) => {
        this.pair = pair;
        this.view = { ...usualTensorView, scale: "fixed", fixed: pair.extent, order: this.view.order };
      });
    }
    const same = JSON.stringify([a, b, text]);
    if (text && same !== this.asked.same) {
      this.same = null;
      this.ask("same", same, () => service.samePrompt(a, b, text, continued), (same) => this.same = same);
    }
  }

  private async ask<T>(
    what: "changes" | "rows" | "same" | "pair",
    key: string,
    work: () => Promise<T>,
    take: (result: T) => void,
  ): Promise<void> {
    this.asked[what] = key;
    try {
      const result = await work();
      if (this.asked[what] === key) take(result);
    } catch (error) {
      if (this.asked[what] === key) this.trouble = (error as Error).message;
    }
  }

  override render() {
    const { a, b } = this;
    if (!b || a === b) {
      return html`
        <p
          class="hint">Here the difference between <b>${a}</b> and a second checkpoint of the same shape would be. Name one beside
                the model: the demo ships <code>sft</code> and <code>ppo</code> beside <code>base</code>; of a run, <code>runs/demo/models/sft</code>.</p>
      `;
    }
    return html`
      ${this.trouble ? html`<p class="bad" role="alert">${this.trouble}</p>` : nothing}
      <div class="pair">
        <section><h2>From ${a} to ${b}: ‖change‖ ÷ ‖weight‖ of each tensor</h2>${this.changes
          ? this.grid(this.changes)
          : this.trouble
          ? nothing
          : html`<p class="hint">Comparing all tensors …</p>`}</section>
        <section><h2>Rows of ${this.tensor || "a tensor"} that moved most</h2>${this.moved()}</section>
      </div>
      <section><h2>${this.tensor || "A tensor"} in both, on one scale</h2>${this.both()}</section>
      <section><h2>The same text through both</h2>${this.prompt()}</section>
    `;
  }

  private grid(changes: TensorChange[]) {
    const layered = new Map<string, Map<string, TensorChange>>();
    const others: TensorChange[] = [], kinds: string[] = [];
    for (const change of changes) {
      const match = /^(layers\.\d+)\.(.*)$/.exec(change.name);
      if (!match) {
        others.push(change);
        continue;
      }
      const [, layer, kind] = match;
      if (!kinds.includes(kind)) kinds.push(kind);
      if (!layered.has(layer)) layered.set(layer, new Map());
      layered.get(layer)!.set(kind, change);
    }
    const most = Math.max(...changes.map(({ relative }) => Number.isFinite(relative) ? relative : 0), 1e-300);
    const least = Math.min(...changes.map(({ relative }) => relative > 0 ? relative : most), most);
    // Logarithmic: changes of one training differ by orders of magnitude.
    const shade = (relative: number) =>
      relative > 0
        ? 0.08 + 0.82 * (most > least ? Math.log(relative / least) / Math.log(most / least) : 1)
        : 0;
    return html`
      <div class="scroll">
        <table class="grid">
          <thead>
            <tr><td></td>${kinds.map((kind) =>
              html`<th scope="col">${kind.replace(".weight", "").replace(".", " ")}</th>`
            )}</tr>
          </thead>
          <tbody>${Array.from(
            layered,
            ([layer, of]) =>
              html`<tr><th scope="row">${layer.replace("layers.", "layer ")}</th>${
                kinds.map((kind) => html`<td>${this.cell(of.get(kind), shade)}</td>`)
              }</tr>`,
          )}${others.map((change) =>
            html`
              <tr>
                <th scope="row">${change.name}</th>
                <td>${this.cell(change, shade)}</td>
              </tr>
            `
          )}</tbody>
        </table>
      </div>
      <p class="small">Shades are logarithmic from ${percent(least)} to ${percent(
        most,
      )}. Equal tensors stay blank.</p>
    `;
  }

  private cell(change: TensorChange | undefined, shade: (relative: number) => number) {
    if (!change) return nothing;
    const theme = themeOf(this), at = shade(change.relative);
    const { name, relative, largest, norm, shape, nonFinite } = change;
    return html`
      <button type="button" aria-pressed=${name === this.tensor} aria-label="${name}: ${percent(relative)}"
        style="background: ${cssColour(at, theme)}; color: ${lettersOn(at, theme)}"
        title="${name} ${shape.join(" × ")}: ‖change‖ ${significant(norm)}, largest ${significant(
          largest,
        )}${nonFinite > 0 ? `, ${nonFinite} not finite` : ""}"
        @click=${() => this.choose(name)}>${relative === 0 ? "0" : percent(relative)}</button>
    `;
  }

  private choose(tensor: string): void {
    this.tensor = tensor;
    this.dispatchEvent(new CustomEvent("tensor", { detail: tensor }));
  }

  private moved() {
    const { rows, tensor } = this;
    if (!tensor) return html`<p class="hint">Choose a tensor from the grid.</p>`;
    if (!rows) return this.trouble ? nothing : html`<p class="hint">Comparing the rows of ${tensor} …</p>`;
    const most = Math.max(...rows.map(({ distance }) => distance), 1e-300);
    if (rows.every(({ distance }) => distance === 0)) return html`<p class="hint">No row of it moved.</p>`;
    return html`
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th>row</th>
              <th class="number">distance</th>
              <th class="number">relative</th>
              <th class="number">cosine</th>
              <td></td>
            </tr>
          </thead>
          <tbody>${rows.map(({ row, token, distance, relative, cosine }) =>
            html`
              <tr>
                <td class="mono row">${token === undefined ? row : html`“${visible(token)}” = ${row}`}</td>
                <td class="number">${significant(distance)}</td>
                <td class="number">${percent(relative)}</td>
                <td class="number">${cosine.toFixed(5)}</td>
                <td style="width: 25%"><span class="bar" style="width: ${distance / most * 100}%"></span></td>
              </tr>
            `
          )}</tbody>
        </table>
      </div>
    `;
  }

  private both() {
    const { pair, service, view, vocabulary, pointed } = this;
    if (!this.tensor) return html`<p class="hint">Choose a tensor from the grid.</p>`;
    if (!pair) return this.trouble ? nothing : html`<p class="hint">Counting ${this.tensor} …</p>`;
    // Rows that face each other are the same row, whatever the order.
    const [{ id: than }, { id: of }] = pair.entries;
    return html`<div class="maps">${
      pair.entries.map((entry, which) =>
        html`
          <div>
            <p class="small"><i style="background: ${roleColour([this.a, this.b][which])}"></i><b>${[
              this.a,
              this.b,
            ][which]}</b></p>
            <tensor-view compact .most=${320} .source=${service} .entry=${entry} .vocabulary=${vocabulary}
              .view=${view} .orderedBy=${{ of, than }}
              .pointed=${pointed} @view-change=${({ detail }: CustomEvent<TensorViewState>) =>
                this.view = detail}
              @point=${({ detail }: CustomEvent<typeof pointed>) => this.pointed = detail}></tensor-view>
          </div>
        `
      )
    }</div>`;
  }

  private prompt() {
    const { same } = this;
    if (!this.text) return html`<p class="hint">Run a text above; it goes through both.</p>`;
    if (!same) {
      return this.trouble
        ? nothing
        : html`<p class="hint">Running the text through ${this.a} and ${this.b} …</p>`;
    }
    const sum = (which: 0 | 1) => same.tokens.reduce((total, { logprob }) => total + logprob[which], 0);
    const strip = (which: 0 | 1) =>
      html`
        <p
          class="small"><i style="background: ${roleColour(same.places[which])}"></i><b>${same
            .places[which]}</b>: ${nats(sum(which))} nats over ${same.tokens
            .length} tokens</p>
        <p class="strip" role="group" aria-label="Tokens as ${same.places[which]} rates them">${same.tokens
          .map(({ text, logprob }, i) =>
            html`
              <button type="button" class=${i === this.at ? "at" : ""}
                style="--surprise: ${Math.min(1, Math.max(0, -logprob[which] / 4)).toFixed(3)}"
                aria-label="${text.trim() || "blank"}, log p ${nats(logprob[which])}"
                @pointerenter=${() => this.at = i} @focus=${() => this.at = i}>${visible(text)}</button>
            `
          )}</p>
      `;
    return html`
      ${strip(0)}${strip(1)}
            <p
        class="small"><b>${same.places[1]} − ${same
          .places[0]}</b>, blue where the second finds it likelier; full at ${full} nats</p>
            <p class="strip">${this.differences(same)}</p>
            <p class="readout">${this.tokenLine(same)}</p>
            <h2>What each goes on with, greedily</h2>
            ${([0, 1] as const).map((which) =>
              html`
                <p class="small"><i style="background: ${roleColour(same.places[which])}"></i><b>${same
                  .places[which]}</b></p>
                <p class="written">${same.continuations[which].map(({ text }) => text).join("").replace(
                  "<|endoftext|>",
                  "",
                ).trim() || "(ends at once)"}</p>
              `
            )}
    `;
  }

  private differences({ tokens }: SamePrompt) {
    const theme = themeOf(this);
    return tokens.map(({ text, logprob: [a, b] }, i) => {
      const at = Math.max(-1, Math.min(1, (b - a) / full));
      return html`
        <button type="button" class=${i === this.at ? "at" : ""} aria-label="${text.trim() ||
          "blank"}, ${nats(b - a)} nats"
          style="background: ${cssColour(at, theme)}; color: ${lettersOn(at, theme)}"
          @pointerenter=${() => this.at = i} @focus=${() => this.at = i}>${visible(text)}</button>
      `;
    });
  }

  private tokenLine({ tokens, places }: SamePrompt) {
    const token = this.at === null ? undefined : tokens[this.at];
    if (!token) return html`<span class="small">Point at a token for its numbers.</span>`;
    const { text, position, logprob, entropy } = token;
    return html`<code>${visible(text)}</code> (${position}): ${
      ([0, 1] as const).map((which) =>
        html`
          <b>${places[which]}</b> log p ${nats(logprob[which])}, entropy ${nats(entropy[which])};
        `
      )
    } difference ${nats(logprob[1] - logprob[0])} nats.`;
  }
}

customElements.define("compare-view", CompareView);
