/**
 * <lens-view>: what the residual stream behind every layer would say of the next token, put through final norm and head; coloured by how
 * likely the token that the model ends up with already is.
 */
import { css, html, LitElement, nothing, type PropertyValues } from "lit";
import type { Capture, LensCell, LogitLens } from "../../inspect/types.ts";
import { duration, nats, percent } from "../numbers.ts";
import { visible } from "./labels.ts";
import { newestOnly } from "./newest.ts";
import { cssColour, lettersOn, themeOf } from "./palette.ts";
import { paneStyle } from "./pane_style.ts";
import type { Inspector } from "./service.ts";

/** Candidates a cell. */
const k = 10;

/** Positions that are looked at in one go. */
const atOnce = 24;

export class LensView extends LitElement {
  static override properties = {
    service: { attribute: false },
    capture: { attribute: false },
    position: { type: Number },
    first: { state: true },
    lens: { state: true },
    at: { state: true },
    colouring: { state: true },
    trouble: { state: true },
  };
  declare service: Pick<Inspector, "logitLens"> | null;
  declare capture: Capture | null;
  /** The token that the text's views look at. */
  declare position: number | undefined;
  declare private first: number;
  declare private lens: LogitLens | null;
  declare private at: { depth: number; column: number } | null;
  declare private colouring: "final" | "next";
  declare private trouble: string;
  private askLens!: (question: { capture: string; positions: number[] }) => void;

  static override styles = [
    paneStyle,
    css`
      table {
        width: auto;
        border-collapse: separate;
        border-spacing: 1px;
      }
      th,
      td {
        border: 0;
        padding: 0;
      }
      thead th {
        font: 11px/1.3 var(--mono);
        text-align: left;
        max-width: 66px;
        overflow: hidden;
        text-overflow: ellipsis;
        padding: 0 3px 2px;
        white-space: pre;
      }
      thead th b {
        display: block;
        color: var(--ink);
        font-weight: 500;
        overflow: hidden;
        text-overflow: ellipsis;
      }
      tbody th {
        position: sticky;
        left: 0;
        background: var(--paper);
        padding-right: 8px;
        font: 11px/1.5 var(--mono);
      }
      td button {
        width: 66px;
        border: 0;
        border-radius: 0;
        padding: 1px 3px;
        font: 12px/1.5 var(--mono);
        text-align: left;
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: pre;
        display: block;
      }
      td button.at {
        outline: 2px solid var(--accent);
        outline-offset: -1px;
      }
      tr:last-child td {
        padding-top: 2px;
      }
      .cell {
        margin: 12px 0 0;
        border-top: 1px solid var(--rule);
        padding-top: 8px;
        min-height: 15em;
      }
      .cell table {
        border-collapse: collapse;
        width: 100%;
        max-width: 480px;
      }
      .cell td {
        border-bottom: 1px solid var(--rule);
        padding: 1px 10px 1px 0;
      }
      .cell tr.here td {
        font-weight: 600;
      }
    `,
  ];

  constructor() {
    super();
    this.service = null;
    this.capture = null;
    this.first = 0;
    this.lens = null;
    this.at = null;
    this.colouring = "final";
    this.trouble = "";
    this.askLens = newestOnly(
      ({ capture, positions }) => this.service!.logitLens(capture, positions, k),
      (lens, { capture }) => {
        if (capture !== this.capture?.id) return;
        this.lens = lens;
        this.at ??= { depth: lens.depths.length - 1, column: 0 };
      },
      (error) => this.trouble = error.message,
    );
  }

  override willUpdate(changed: PropertyValues<this>): void {
    const { capture } = this;
    if (changed.has("capture") && capture) {
      this.lens = null;
      this.at = null;
      this.trouble = "";
      // What is said of the first token of the response is said at the one before it.
      const about = this.position ?? Math.max(0, capture.response - 1);
      this.first = Math.max(0, Math.min(about, capture.tokens.length - atOnce));
      this.ask();
    }
  }

  private ask(): void {
    const { capture, first } = this;
    if (!capture || !this.service) return;
    const count = Math.min(atOnce, capture.tokens.length - first);
    this.askLens({ capture: capture.id, positions: Array.from({ length: count }, (_, i) => first + i) });
  }

  private turn(by: number): void {
    const most = Math.max(0, this.capture!.tokens.length - atOnce);
    this.first = Math.min(most, Math.max(0, this.first + by));
    this.at = null;
    this.ask();
  }

  override render() {
    const { capture, lens } = this;
    if (!capture) {
      return html`
        <p
          class="hint">Here each layer’s guess at every next token would be. Run a text above: the residual stream is kept, and
                final norm and head are put behind every layer.</p>
      `;
    }
    if (this.trouble) return html`<p class="bad" role="alert">${this.trouble}</p>`;
    return html`
      ${this.controls()}
      ${lens
        ? html`
          <div class="scroll">${this.table(lens)}</div>
          <div class="cell">${this.detail(lens)}</div>
        `
        : html`<p class="hint">Looking through ${capture.layers + 1} depths at ${
          Math.min(atOnce, capture.tokens.length)
        } positions …</p>`}
    `;
  }

  private controls() {
    const { capture, first, lens } = this, count = capture!.tokens.length;
    const last = Math.min(count, first + atOnce);
    const choice = (colouring: "final" | "next", label: string) =>
      html`<label><input type="radio" name="colouring" .checked=${this.colouring === colouring}
        @change=${() => this.colouring = colouring}>${label}</label>`;
    return html`<div class="controls">
      <span role="group" aria-label="Positions"><button type="button" aria-label="Earlier positions" ?disabled=${
      first === 0
    }
        @click=${() => this.turn(-atOnce)}>←</button> positions ${first}–${last - 1} of ${count}
      <button type="button" aria-label="Later positions" ?disabled=${last === count}
        @click=${() => this.turn(atOnce)}>→</button></span>
      <span>Colour: probability of</span> ${choice("final", "the model’s own answer")} ${
      choice("next", "the token that follows")
    }
      ${lens ? html`<span>${duration(lens.cost.milliseconds)}</span>` : nothing}
    </div>`;
  }

  /** How likely a depth holds the token that the colour is about; undefined where that is not known. */
  private probability(lens: LogitLens, depth: number, column: number): number | undefined {
    const cell = lens.depths[depth].cells[column];
    if (this.colouring === "next") return cell.next && Math.exp(cell.next.logprob);
    const answer = lens.depths.at(-1)!.cells[column].top[0];
    const found = cell.top.find(({ id }) => id === answer.id);
    return found ? Math.exp(found.logprob) : 0;
  }

  private table(lens: LogitLens) {
    const theme = themeOf(this), { tokens } = this.capture!;
    const text = (index: number) => index < tokens.length ? visible(tokens[index].text) : "";
    return html`
      <table>
        <thead>
          <tr><td></td>${lens.positions.map((position) =>
            html`<th scope="col" title=${text(position)}>${position} <b>${text(position)}</b></th>`
          )}</tr>
        </thead>
        <tbody>${lens.depths.map(({ name, cells }, depth) =>
          html`<tr><th scope="row">${depthName(name, depth, lens.depths.length)}</th>${
            cells.map((cell, column) => {
              const p = this.probability(lens, depth, column);
              const style = p === undefined
                ? ""
                : `background: ${cssColour(p, theme)}; color: ${lettersOn(p, theme)}`;
              const at = this.at?.depth === depth && this.at.column === column;
              return html`<td><button type="button" class=${at ? "at" : ""} style=${style}
              aria-label="${depthName(name, depth, lens.depths.length)} at ${cell.position}: ${
                cell.top[0].text.trim() || "blank"
              }, ${percent(Math.exp(cell.top[0].logprob))}"
              @pointerenter=${() => this.at = { depth, column }} @focus=${() =>
                this.at = { depth, column }}>${visible(cell.top[0].text)}</button></td>`;
            })
          }</tr>`
        )}</tbody>
      </table>
    `;
  }

  private detail(lens: LogitLens) {
    const { depth, column } = this.at!;
    const { name, cells } = lens.depths[depth], cell: LensCell = cells[column];
    const { tokens } = this.capture!;
    return html`
      <p><b>${depthName(name, depth, lens.depths.length)}</b>, behind <code>${visible(
        tokens[cell.position]?.text ?? "",
      )}</code> (${cell.position}): entropy ${nats(cell.entropy)} nats${cell.next
        ? html`; the text goes on with <code>${visible(cell.next.text)}</code>, rank ${cell.next.rank}, ${
          percent(Math.exp(cell.next.logprob))
        }`
        : nothing}.</p>
      <table>
        <tbody>${cell.top.map(({ id, text, logprob, rank }) =>
          html`
            <tr class=${id === cell.next?.id ? "here" : ""}>
              <td class="number">${rank}</td>
              <td><code>${visible(text)}</code></td>
              <td class="number">${nats(logprob)}</td>
              <td class="number">${percent(Math.exp(logprob))}</td>
              <td style="width: 40%"><span class="bar" style="width: ${Math.exp(logprob) * 100}%"></span></td>
            </tr>
          `
        )}</tbody>
      </table>
    `;
  }
}

function depthName(name: string, depth: number, depths: number): string {
  if (depth === depths - 1) return "answer";
  const layer = /^layers\.(\d+)\./.exec(name);
  return layer ? `layer ${layer[1]}` : name;
}

customElements.define("lens-view", LensView);
