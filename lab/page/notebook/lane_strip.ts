/** Tokens in a row that wraps, with a bar for each lane of numbers under every one; lanes have a scale each, with zero in it. */
import { css, html, LitElement, nothing } from "lit";
import { styleMap } from "lit/directives/style-map.js";
import { formatFigure } from "../../format.ts";

export interface LaneToken {
  text: string;
  id?: number;
  /** By lane; anything but a number where there is none. */
  values: unknown[];
}

export class LaneStrip extends LitElement {
  static override properties = {
    lanes: { attribute: false },
    tokens: { attribute: false },
    at: { state: true },
    pinned: { state: true },
  };
  declare lanes: readonly string[];
  declare tokens: readonly LaneToken[];
  /** The token that is told of below: the one pointed at, else the pinned one. */
  declare private at: number | null;
  declare private pinned: number | null;
  /** The one token that Tab comes to. */
  private entry = 0;

  static override styles = css`
    :host {
      display: block;
    }
    .strip {
      display: grid;
      grid-template-columns: auto minmax(0, 1fr);
      gap: 0 10px;
    }
    .tokens {
      display: flex;
      flex-wrap: wrap;
      gap: 6px 2px;
    }
    button {
      font: 14px/1.5 var(--mono);
      color: inherit;
      background: none;
      border: 0;
      margin: 0;
      padding: 2px 3px 0;
      border-radius: 3px;
      cursor: pointer;
      display: flex;
      flex-direction: column;
      align-items: stretch;
      min-width: 16px;
    }
    button:hover,
    button.at {
      outline: 1px solid var(--ink);
    }
    button.pinned,
    button:focus-visible {
      outline: 2px solid var(--accent);
    }
    .text {
      white-space: pre;
      text-align: left;
    }
    .blank {
      color: var(--muted);
    }
    i {
      display: block;
      height: 12px;
      margin: 0 -3px;
      border-top: 1px solid var(--rule);
      background: linear-gradient(var(--paint), var(--paint)) no-repeat 0 var(--from) / 100% var(--size);
    }
    .key {
      font: 12px/1.5 var(--sans);
      color: var(--muted);
      margin: 6px 0 0;
    }
    .key span {
      margin-right: 12px;
      white-space: nowrap;
    }
    .swatch {
      display: inline-block;
      width: 10px;
      height: 10px;
      margin-right: 4px;
      vertical-align: -1px;
    }
    .readout {
      font: 13px/1.5 var(--sans);
      font-variant-numeric: tabular-nums;
      min-height: 1.5em;
      margin: 4px 0 0;
    }
    code {
      font: 13px/1 var(--mono);
      white-space: pre;
      background: var(--alt);
      padding: 1px 4px;
      border-radius: 3px;
    }
  `;

  constructor() {
    super();
    this.lanes = [];
    this.tokens = [];
    this.at = this.pinned = null;
  }

  override willUpdate() {
    if (this.entry >= this.tokens.length) this.entry = 0;
    if (this.at !== null && this.at >= this.tokens.length) this.at = null;
    if (this.pinned !== null && this.pinned >= this.tokens.length) this.pinned = null;
  }

  override render() {
    const ranges = this.lanes.map((_, lane) => {
      const there = this.tokens.map(({ values }) => values[lane]).filter((value) =>
        typeof value === "number"
      );
      return { low: Math.min(0, ...there), high: Math.max(0, ...there) };
    });
    return html`
      <div class="tokens" role="group" aria-label="Tokens with ${this.lanes.join(
        ", ",
      )}. Arrow keys go from token to token."
        @keydown=${this.onKey} @pointerleave=${() => this.at = null}>
              ${this.tokens.map((token, i) => this.chip(token, i, ranges))}</div>
      <p class="key">${this.lanes.map((lane, i) =>
        html`<span><span class="swatch" style=${styleMap({ background: paintOf(lane, i) })}></span>${lane}, ${
          formatFigure(ranges[i].low)
        } to ${formatFigure(ranges[i].high)}</span>`
      )}</p>
      <p class="readout">${this.readout()}</p>
    `;
  }

  private chip({ text, values }: LaneToken, i: number, ranges: { low: number; high: number }[]) {
    return html`
      <button type="button" tabindex=${i === this.entry ? 0 : -1} aria-pressed=${i === this.pinned}
        class=${i === this.pinned ? "pinned" : i === this.at ? "at" : ""} aria-label=${this.spoken(i)}
        @pointerenter=${() => this.at = i} @focus=${() => this.at = this.entry = i} @blur=${() =>
          this.at = null}
        @click=${() => this.pinned = this.pinned === i ? null : i}>
            <span class="text">${text === "<|endoftext|>"
              ? html`<span class="blank">end</span>`
              : text.replace(/ /g, "·").replace(/\n/g, "↵")}</span>
            ${this.lanes.map((lane, n) => {
              const value = values[n], { low, high } = ranges[n];
              if (typeof value !== "number" || high === low) return html`<i></i>`;
              const [from, to] = [
                (high - Math.max(0, value)) / (high - low),
                (high - Math.min(0, value)) / (high - low),
              ];
              const size = to - from;
              // A background's place is a share of what is left beside it.
              return html`<i style=${
                styleMap({
                  "--paint": paintOf(lane, n),
                  "--size": `${100 * size}%`,
                  "--from": `${size >= 1 ? 0 : 100 * from / (1 - size)}%`,
                })
              }></i>`;
            })}</button>
    `;
  }

  private spoken(i: number): string {
    const { text, values } = this.tokens[i];
    const numbers = this.lanes.map((lane, n) =>
      typeof values[n] === "number" ? `${lane} ${formatFigure(values[n])}` : ""
    );
    return `${text === "<|endoftext|>" ? "end" : text.trim() || "blank"}: ${
      numbers.filter(Boolean).join(", ")
    }`;
  }

  private readout() {
    const i = this.at ?? this.pinned;
    if (i === null) return html`${this.tokens.length} tokens.`;
    const { text, id, values } = this.tokens[i];
    return html`Token ${i + 1} of ${this.tokens.length}: <code>${text}</code>${
      id === undefined ? nothing : `, id ${id}`
    }${
      this.lanes.map((lane, n) =>
        typeof values[n] === "number" ? html`, ${lane} <b>${formatFigure(values[n])}</b>` : nothing
      )
    }.`;
  }

  private onKey(event: KeyboardEvent) {
    if (event.key === "Escape") this.pinned = null;
    const last = this.tokens.length - 1;
    const to = { ArrowRight: this.entry + 1, ArrowLeft: this.entry - 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.renderRoot.querySelectorAll("button")[Math.min(last, Math.max(0, to))]?.focus();
  }
}

/** Colours of what has one everywhere; the rest in order. */
function paintOf(lane: string, index: number): string {
  const roles: [RegExp, string][] = [
    [/^(log ?p|logprob|nll|−log p)/i, "negative"],
    [/entropy|mask/i, "muted"],
    [/ref/i, "role-reference"],
    [/reward|score/i, "role-reward"],
    [/value|return|advantage/i, "role-value"],
    [/ratio|policy|kl/i, "role-policy"],
  ];
  const role = roles.find(([pattern]) => pattern.test(lane))?.[1];
  return `var(--${role ?? ["role-policy", "role-reward", "role-sft", "role-value"][index % 4]})`;
}

customElements.define("lane-strip", LaneStrip);
