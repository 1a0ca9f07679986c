/** The token strip: a text token by token, with lanes under each for how surprised and how unsure the model was. */
import { css, html, LitElement, nothing } from "lit";
import { classMap } from "lit/directives/class-map.js";
import { styleMap } from "lit/directives/style-map.js";
import type { ShownToken } from "../summarise.ts";
import { nats } from "./numbers.ts";
import { spoken, written } from "./token_text.ts";

/** Nats at which shade and bars are full; what lies beyond is counted under the strip. */
const full = 4;

const share = (value: number) => Math.min(1, Math.max(0, value / full));

export class TokenStrip extends LitElement {
  static override properties = {
    tokens: { attribute: false },
    label: {},
    at: { state: true },
    pinned: { state: true },
  };
  declare tokens: readonly ShownToken[];
  /** What the strip shows, for those who do not see it. */
  declare label: string;
  /** The token that is told of below: the one pointed at, else the pinned one. */
  declare private at: number | null;
  declare private pinned: number | null;
  /** The one token that Tab comes to. */
  private entry = 0;

  static override styles = css`
    :host {
      display: block;
    }
    .tokens {
      display: flex;
      flex-wrap: wrap;
      gap: 6px 2px;
      margin: 0;
    }
    button {
      font: 14px/1.5 var(--mono);
      color: inherit;
      border: 0;
      margin: 0;
      padding: 2px 3px 0;
      border-radius: 3px;
      cursor: pointer;
      display: flex;
      flex-direction: column;
      align-items: stretch;
      min-width: 14px;
      background: color-mix(in oklab, var(--negative) calc(var(--surprise) * 55%), transparent);
    }
    button:hover,
    button.at {
      outline: 1px solid var(--ink);
    }
    button.pinned {
      outline: 2px solid var(--accent);
    }
    button:focus-visible {
      outline: 2px solid var(--accent);
      outline-offset: 1px;
    }
    .text {
      white-space: pre;
      text-align: left;
      min-height: 1.5em;
    }

    .mark {
      color: color-mix(in oklab, currentColor 65%, transparent);
    }
    .lane {
      display: flex;
      height: 12px;
      border-top: 1px solid var(--rule);
      margin: 0 -3px;
    }
    .lane i {
      display: block;
      width: 100%;
      height: calc(var(--share) * 100%);
    }
    .logprob i {
      background: var(--negative);
    }
    .entropy {
      align-items: flex-end;
    }
    .entropy {
      border-bottom: 1px solid var(--rule);
    }
    .entropy i {
      background: var(--muted);
    }
    .readout {
      font: 13px/1.5 var(--sans);
      font-variant-numeric: tabular-nums;
      min-height: 3em;
      margin: 8px 0 0;
    }
    .readout code {
      font: 13px/1 var(--mono);
      white-space: pre;
      background: var(--alt);
      padding: 1px 4px;
      border-radius: 3px;
    }
    .key {
      color: var(--muted);
    }
    .swatch {
      display: inline-block;
      width: 10px;
      height: 10px;
      vertical-align: -1px;
      margin-right: 3px;
    }
    @media (max-width: 480px) {
      .readout {
        min-height: 4.5em;
      }
    }
  `;

  constructor() {
    super();
    this.tokens = [];
    this.label = "";
    this.at = null;
    this.pinned = null;
  }

  override willUpdate() {
    // Tokens come one by one while they are written; a shorter list is another text.
    const { length } = this.tokens;
    if (this.entry >= length) this.entry = 0;
    if (this.at !== null && this.at >= length) this.at = null;
    if (this.pinned !== null && this.pinned >= length) this.pinned = null;
  }

  override render() {
    return html`
      <div class="tokens" role="group" aria-label="${this.label}. Arrow keys go from token to token."
        @keydown=${this.onKey} @pointerleave=${() => this.at = null}>
        ${this.tokens.map((token, i) => this.chip(token, i))}
      </div>
      <p class="readout">${this.readout()}</p>
    `;
  }

  private chip({ text, logprob, entropy }: ShownToken, i: number) {
    const classes = { at: i === this.at, pinned: i === this.pinned };
    return html`
      <button type="button" class=${classMap(classes)} tabindex=${i === this.entry ? 0 : -1}
        style=${styleMap({ "--surprise": share(-logprob).toFixed(3) })}
        aria-label="${spoken(text)}: log p ${nats(logprob)}, entropy ${nats(entropy)} nats"
        aria-pressed=${i === this.pinned}
        @pointerenter=${() => this.at = i} @focus=${() => this.at = this.entry = i} @blur=${() =>
          this.at = null}
        @click=${() => this.pinned = this.pinned === i ? null : i}>
        <span class="text">${written(text)}</span>
        <span class="lane logprob"><i style=${styleMap({ "--share": share(-logprob).toFixed(3) })}></i></span>
        <span class="lane entropy"><i style=${styleMap({ "--share": share(entropy).toFixed(3) })}></i></span>
      </button>
    `;
  }

  private readout() {
    const i = this.at ?? this.pinned;
    if (i !== null) {
      const { id, text, logprob, entropy } = this.tokens[i];
      const p = Math.exp(logprob);
      return html`Token ${i + 1} of ${this.tokens.length}: <code>${text}</code>, id ${id}.
        log p ${nats(logprob)} (p ${p > 0.9995 ? "> 0.999" : p < 0.0005 ? "< 0.001" : p.toFixed(3)}),
        entropy ${nats(entropy)} nats.`;
    }
    if (this.tokens.length === 0) return nothing;
    const sum = (of: (token: ShownToken) => number) =>
      this.tokens.reduce((total, token) => total + of(token), 0);
    const beyond = this.tokens.filter(({ logprob, entropy }) => -logprob > full || entropy > full).length;
    return html`
      ${this.tokens.length} tokens, log p ${nats(sum(({ logprob }) => logprob))} nats in all,
            mean entropy ${nats(sum(({ entropy }) => entropy) / this.tokens.length)}.
            <span
        class="key"><span class="swatch" style="background: var(--negative)"></span>shade and upper bar: −log p;
            <span class="swatch" style="background: var(--muted)"></span>lower bar: entropy. Full at ${full} nats${beyond >
                0
              ? `, ${beyond} beyond`
              : ""}.</span>
    `;
  }

  private onKey(event: KeyboardEvent) {
    if (event.key === "Escape") {
      this.pinned = null;
      return;
    }
    const last = this.tokens.length - 1;
    const to = { ArrowRight: this.entry + 1, ArrowLeft: this.entry - 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const buttons = this.renderRoot.querySelectorAll("button");
    buttons[Math.min(last, Math.max(0, to))]?.focus();
  }
}

customElements.define("token-strip", TokenStrip);
