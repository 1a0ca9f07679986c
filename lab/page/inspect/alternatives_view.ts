/**
 * <alternatives-view>: a text token by token, and at each the likeliest tokens that could have been there, of one model or of two with the
 * change of rank between them.
 */
import { css, html, LitElement, nothing, type PropertyValues } from "lit";
import type { Alternatives, InspectedText, TokenAlternatives } from "../../inspect/types.ts";
import { nats, percent } from "../numbers.ts";
import { visible } from "./labels.ts";
import { roleColour } from "./palette.ts";
import { paneStyle } from "./pane_style.ts";
import type { Inspector } from "./service.ts";

const k = 10;

/** Nats at which a chip has its full shade, as on the token strip. */
const full = 4;

export class AlternativesView extends LitElement {
  static override properties = {
    service: { attribute: false },
    places: { attribute: false },
    text: { attribute: false },
    position: { type: Number },
    from: { type: Number },
    found: { state: true },
    at: { state: true },
    trouble: { state: true },
  };
  declare service: Pick<Inspector, "alternatives"> | null;
  /** One or two. */
  declare places: readonly string[];
  declare text: InspectedText | null;
  declare position: number | undefined;
  /** Tokens before it are shown without shade: they were given. */
  declare from: number;
  declare private found: Alternatives | null;
  declare private at: number | undefined;
  declare private trouble: string;
  private asked = "";

  static override styles = [
    paneStyle,
    css`
      .tokens {
        font: 14px/1.9 var(--mono);
        margin: 0 0 12px;
        overflow-wrap: anywhere;
      }
      .tokens button {
        font: inherit;
        line-height: 1.5;
        border: 0;
        border-radius: 2px;
        padding: 0 1px;
        margin: 0 1px 0 0;
        white-space: pre-wrap;
        background: color-mix(in oklab, var(--negative) calc(var(--surprise, 0) * 55%), transparent);
      }
      .tokens button.given {
        color: var(--muted);
      }
      .tokens button.at {
        outline: 2px solid var(--accent);
      }
      .models {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(min(320px, 100%), 1fr));
        gap: 24px;
        border-top: 1px solid var(--rule);
        padding-top: 10px;
        min-height: 19em;
      }
      .here td {
        font-weight: 600;
      }
      .up {
        color: var(--accent);
      }
    `,
  ];

  constructor() {
    super();
    this.service = null;
    this.places = [];
    this.text = null;
    this.from = 1;
    this.found = null;
    this.trouble = "";
  }

  override willUpdate(changed: PropertyValues<this>): void {
    if (!changed.has("places") && !changed.has("text") && !changed.has("service")) return;
    const { service, text, places } = this, asked = JSON.stringify([places, text]);
    if (!service || !text || places.length === 0 || asked === this.asked) return;
    this.asked = asked;
    this.found = null;
    this.trouble = "";
    service.alternatives([...places], text, k).then(
      (found) => asked === this.asked && (this.found = found),
      (error) => {
        if (asked !== this.asked) return;
        this.asked = "";
        this.trouble = error.message;
      },
    );
  }

  override render() {
    if (!this.text) {
      return html`<p class="hint">Here the likeliest alternatives to each token would be. Run a text above.</p>`;
    }
    if (this.trouble) return html`<p class="bad" role="alert">${this.trouble}</p>`;
    const { found } = this;
    if (!found) return html`<p class="hint">Running the text through ${this.places.join(" and ")} …</p>`;
    const first = mostSurprising(found.tokens.filter(({ position }) => position >= this.from));
    const at = this.at ?? this.position ?? first?.position;
    const token = found.tokens.find(({ position }) => position === at) ?? first;
    return html`
      <div class="tokens" role="group" aria-label="Tokens of the text">${found.tokens.map((token) =>
        this.chip(token, at)
      )}</div>
      ${token
        ? html`<div class="models">${token.models.map((_, model) => this.model(token, model))}</div>`
        : nothing}
    `;
  }

  private chip(token: TokenAlternatives, at: number | undefined) {
    const { position, text, models: [{ logprob, rank }] } = token;
    const given = position < this.from;
    const surprise = given ? 0 : Math.min(1, Math.max(0, -logprob / full));
    return html`
      <button type="button" class="${given ? "given" : ""} ${position === at ? "at" : ""}"
        style="--surprise: ${surprise.toFixed(3)}" aria-label="${text.trim() ||
          "blank"}, rank ${rank}, log p ${nats(logprob)}"
        aria-pressed=${position === this.position} @pointerenter=${() => this.at = position}
        @pointerleave=${() => this.at = undefined} @focus=${() => this.at = position} @blur=${() =>
          this.at = undefined} @click=${() => this.lock(position)}>${visible(text)}</button>
    `;
  }

  private lock(position: number): void {
    this.position = this.position === position ? undefined : position;
    this.dispatchEvent(new CustomEvent("position", { detail: this.position }));
  }

  private model(token: TokenAlternatives, which: number) {
    const { logprob, rank, entropy, top } = token.models[which];
    const two = token.models.length > 1;
    const within = top.some(({ id }) => id === token.id);
    return html`<div><h2><i style="background: ${roleColour(this.found!.places[which])}"></i>${
      this.found!.places[which]
    }</h2>
      <p class="small"><code>${visible(token.text)}</code> (${token.position}) has rank ${rank}, log p ${
      nats(logprob)
    }, ${percent(Math.exp(logprob))}; entropy ${nats(entropy)} nats.</p>
      <table><thead><tr><th class="number">rank</th><th>token</th><th class="number">log p</th><th class="number">p</th>${
      two ? html`<th>in ${this.found!.places[1 - which]}</th>` : nothing
    }<td></td></tr></thead><tbody>${
      top.map((candidate) =>
        html`<tr class=${candidate.id === token.id ? "here" : ""}><td class="number">${candidate.rank}</td>
          <td><code>${visible(candidate.text)}</code></td><td class="number">${nats(candidate.logprob)}</td>
          <td class="number">${percent(Math.exp(candidate.logprob))}</td>
          ${two ? html`<td class="mono">${change(candidate.rank, candidate.rankElsewhere)}</td>` : nothing}
          <td style="width: 25%"><span class="bar" style="width: ${
          Math.exp(candidate.logprob) * 100
        }%"></span></td></tr>`
      )
    }</tbody></table>${
      within ? nothing : html`<p class="small">The text’s own token is not among the ten.</p>`
    }</div>`;
  }
}

/** The token that the first model held least likely. */
function mostSurprising(tokens: readonly TokenAlternatives[]): TokenAlternatives | undefined {
  return tokens.reduce<TokenAlternatives | undefined>(
    (least, token) => !least || token.models[0].logprob < least.models[0].logprob ? token : least,
    undefined,
  );
}

/** Where a candidate stands with the other model. */
function change(rank: number, elsewhere: number | undefined) {
  if (elsewhere === undefined) return nothing;
  if (elsewhere === rank) return html`<span class="small">same</span>`;
  return elsewhere < rank
    ? html`<span class="up">${elsewhere} ↑${rank - elsewhere}</span>`
    : html`<span class="down">${elsewhere} ↓${elsewhere - rank}</span>`;
}

customElements.define("alternatives-view", AlternativesView);
