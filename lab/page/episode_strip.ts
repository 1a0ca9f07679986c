/**
 * An episode of PPO token by token: a column a token, a lane a number, from log-probability to ratio. Pointing at a number tells what it was
 * computed from; pointing at a token, what else the model might have said, where somebody can tell. Needs nothing but its data and the
 * colours of the style sheet around it, so it stands in a notebook's output as well.
 */
import { css, html, LitElement, nothing } from "lit";
import { classMap } from "lit/directives/class-map.js";
import { guard } from "lit/directives/guard.js";
import { type Episode, type EpisodeSettings, figure, type Lane, lanesOf } from "../runs/episode.ts";
import { spoken, written } from "./token_text.ts";

/** A token that might have stood in a place. */
export interface Alternative {
  id: number;
  text: string;
  /** nats */
  logprob: number;
  /** From 0, with the other model. */
  rankElsewhere?: number;
}

/** The likeliest tokens of one place, likeliest first. */
export interface Alternatives {
  policy: Alternative[];
  reference: Alternative[];
  /** Which policy that is: a heading, and a sentence on whether it is the one that sampled the episode. */
  whose: { name: string; says: string };
}

/** A cell of the table: a slot, and a lane or the token itself. */
interface Cell {
  slot: number;
  /** −1 is the token's own row. */
  lane: number;
}

/** Lanes drawn to one scale, as they are compared with each other. */
const scales: Record<string, string> = {
  "log π new": "log π old",
  "log π ref": "log π old",
  "return": "value",
  "advantage": "value",
};

export class EpisodeStrip extends LitElement {
  static override properties = {
    episode: { attribute: false },
    settings: { attribute: false },
    text: { attribute: false },
    alternatives: { attribute: false },
    responseLength: { type: Number },
    at: { state: true },
    pinned: { state: true },
    found: { state: true },
  };
  declare episode: Episode | null;
  declare settings: EpisodeSettings;
  /** A token's text; without it, ids are shown. */
  declare text: ((id: number) => string) | undefined;
  /** The likeliest tokens in the place of response token `slot`; where absent, nobody can tell. */
  declare alternatives: ((episode: Episode, slot: number) => Promise<Alternatives>) | undefined;
  /** Slots of a response, most of them perhaps behind its end; 0 where not known. */
  declare responseLength: number;
  declare private at: Cell | null;
  declare private pinned: Cell | null;
  /** What was found for a slot, or why nothing was. */
  declare private found: { slot: number; alternatives?: Alternatives; trouble?: string } | null;
  /** The one cell that Tab comes to. */
  private entry: Cell = { slot: 0, lane: -1 };
  private asked = 0;
  /** Of the episode; none of them changes while somebody points. */
  private lanes: Lane[] = [];

  static override styles = css`
    :host {
      display: block;
      --up: light-dark(#1f5fa0, #7fb4f2);
      --down: var(--negative, #d0503c);
    }
    .scroll {
      overflow-x: auto;
      border-top: 1px solid var(--rule);
      border-bottom: 1px solid var(--rule);
    }
    table {
      border-collapse: separate;
      border-spacing: 0;
      font: 11px/1.3 var(--sans);
      font-variant-numeric: tabular-nums;
    }
    th {
      font-weight: 400;
      text-align: left;
      padding: 0;
    }
    tbody th {
      position: sticky;
      left: 0;
      z-index: 1;
      background: var(--paper);
      padding: 0 8px 0 0;
      white-space: nowrap;
      border-right: 1px solid var(--rule);
      color: var(--k, var(--ink));
    }
    tbody th small {
      color: var(--muted);
      font-size: 10px;
    }
    thead th:first-child {
      position: sticky;
      left: 0;
      z-index: 1;
      background: var(--paper);
      border-right: 1px solid var(--rule);
      color: var(--muted);
      vertical-align: bottom;
      padding: 0 8px 3px 0;
    }
    thead th button {
      font: 13px/1.4 var(--mono);
      color: var(--ink);
      border: 0;
      margin: 0;
      padding: 3px 4px;
      width: 100%;
      min-width: 42px;
      text-align: left;
      white-space: pre;
      cursor: pointer;
      border-radius: 2px;
      background: color-mix(in oklab, var(--tone) calc(var(--strength) * 45%), transparent);
    }
    .mark {
      color: var(--muted);
    }
    td {
      padding: 0;
      border-left: 1px solid transparent;
    }
    td button,
    td span.empty {
      display: block;
      position: relative;
      font: inherit;
      color: var(--ink);
      background: none;
      border: 0;
      margin: 0;
      padding: 1px 4px 1px 4px;
      width: 100%;
      height: 18px;
      text-align: right;
      white-space: nowrap;
      cursor: pointer;
    }
    td span.empty {
      background: repeating-linear-gradient(135deg, transparent 0 3px, var(--rule) 3px 4px);
    }
    td i {
      position: absolute;
      top: 2px;
      bottom: 2px;
      background: var(--k);
      opacity: .3;
      border-radius: 1px;
    }
    td u {
      position: absolute;
      top: 0;
      bottom: 0;
      width: 0;
      border-left: 1px dashed var(--muted);
      opacity: .6;
    }
    td span.value {
      position: relative;
    }
    .clipped span.value::before {
      content: "✂";
      margin-right: 2px;
    }
    .mask td {
      color: var(--muted);
      text-align: center;
      font-size: 10px;
      padding: 1px 2px;
      border-top: 1px solid var(--rule);
      white-space: nowrap;
    }
    .mask td.out {
      background: repeating-linear-gradient(135deg, transparent 0 3px, var(--rule) 3px 4px);
    }
    td.same button,
    th.same button {
      background-color: color-mix(in oklab, var(--ink) 7%, transparent);
    }
    button.at {
      outline: 1px solid var(--ink);
      outline-offset: -1px;
    }
    button.pinned {
      outline: 2px solid var(--accent);
      outline-offset: -2px;
    }
    button:focus-visible {
      outline: 2px solid var(--accent);
      outline-offset: -2px;
    }
    .readout {
      font: 13px/1.5 var(--sans);
      font-variant-numeric: tabular-nums;
      min-height: 3em;
      margin: 8px 0 0;
      max-width: 110ch;
    }
    .readout code,
    .others code {
      font: 12px/1.3 var(--mono);
      white-space: pre;
      background: var(--alt);
      padding: 1px 4px;
      border-radius: 3px;
    }
    .others {
      display: grid;
      grid-template-columns: repeat(2, minmax(0, 300px));
      gap: 0 32px;
      margin: 4px 0 0;
      font: 12px/1.5 var(--sans);
      font-variant-numeric: tabular-nums;
    }
    .others h4 {
      font: 600 12px/1.5 var(--sans);
      margin: 0;
      color: var(--k);
    }
    .others ol {
      list-style: none;
      margin: 0;
      padding: 0;
    }
    .others li {
      display: grid;
      grid-template-columns: 2ch minmax(0, 1fr) 7ch 5ch;
      gap: 8px;
      align-items: baseline;
    }
    .others li > :nth-child(n + 3) {
      text-align: right;
    }
    .others code {
      justify-self: start;
      max-width: 100%;
      overflow: hidden;
      text-overflow: ellipsis;
    }
    .others .chosen {
      font-weight: 600;
    }
    .hint {
      color: var(--muted);
      font: 12px/1.5 var(--sans);
      margin: 4px 0 0;
    }
    @media (max-width: 500px) {
      .others {
        gap: 0 12px;
      }
      .others li {
        grid-template-columns: 2ch minmax(0, 1fr) 6ch;
      }
      .others li > :nth-child(4) {
        display: none;
      }
    }
  `;

  constructor() {
    super();
    this.episode = null;
    this.responseLength = 0;
    this.at = this.pinned = null;
    this.found = null;
    this.settings = {
      clipRange: 0.2,
      gamma: 1,
      lambda: 0.95,
      klEstimator: "k1",
      whitenRewards: false,
    };
  }

  override willUpdate(changed: Map<string, unknown>) {
    if (this.episode && (changed.has("episode") || changed.has("settings"))) {
      this.lanes = lanesOf(this.episode, this.settings);
    }
    if (!changed.has("episode")) return;
    this.at = this.pinned = this.found = null;
    this.entry = { slot: 0, lane: -1 };
  }

  /** What is pointed at is marked by hand: to draw a thousand cells anew with every move would be felt. */
  override updated() {
    const root = this.renderRoot;
    for (const marked of root.querySelectorAll(".at, .same")) marked.classList.remove("at", "same");
    if (!this.at) return;
    for (const cell of root.querySelectorAll(`[data-slot="${this.at.slot}"]`)) cell.classList.add("same");
    root.querySelector(`button[data-cell="${this.at.slot},${this.at.lane}"]`)?.classList.add("at");
  }

  override render() {
    const { episode } = this;
    if (!episode) {
      return html`
        <p
          class="hint">An episode would stand here, token by token: log-probabilities, KL, reward, value, return, advantage, ratio.
                Stage ppo writes four of every update.</p>
      `;
    }
    const { lanes } = this;
    return html`
      <div class="scroll" @keydown=${this.onKey} @pointerover=${this.onPoint} @focusin=${this.onFocus}
        @click=${this.onClick} @pointerleave=${() => this.at = null}>
        ${guard(
          [episode, lanes, this.text, this.responseLength, this.pinned],
          () => this.table(episode, lanes),
        )}
      </div>
      <p class="readout" aria-live="polite">${this.readout(episode, lanes)}</p>
      ${this.others(episode)}
    `;
  }

  private table(episode: Episode, lanes: readonly Lane[]) {
    const count = episode.response.length;
    const slots = Math.max(count, ...lanes.map(({ values }) => values.length));
    const tail = Math.max(0, this.responseLength - slots);
    const full = fullScales(lanes);
    return html`
      <table role="grid" aria-label=${`Episode of update ${episode.update}: ${count} tokens, ${lanes.length} lanes`}>
        <thead>
          <tr>
            <th scope="col">token</th>
            ${Array.from({ length: slots }, (_, slot) => this.head(episode, slot))}
          </tr>
        </thead>
        <tbody>
          ${lanes.map((lane, l) =>
            html`<tr style=${`--k: var(--role-${lane.role}, var(--ink))`}>
              <th scope="row">${lane.name} <small>± ${figure(full[l])}</small></th>
              ${Array.from({ length: slots }, (_, slot) => this.cell(lane, l, slot, full[l]))}
            </tr>`
          )}
          <tr class="mask">
            <th scope="row">mask</th>
            ${Array.from(
              { length: slots },
              (_, slot) =>
                slot < count
                  ? html`<td title="The policy and the critic are trained on this token.">in</td>`
                  : html`<td class="out" title="Behind the last token: only the critic has a slot here, for the score.">critic</td>`,
            )}
            ${tail > 0
              ? html`<td class="out" title="Behind the end: no loss, no mean, counts these slots.">+${tail}</td>`
              : nothing}
          </tr>
        </tbody>
      </table>
    `;
  }

  private textOf(id: number): string {
    return this.text?.(id) ?? `#${id}`;
  }

  /** A token as a chip, tinted by its whitened advantage: blue is better than expected, red worse. */
  private head({ response, whitened }: Episode, slot: number) {
    if (slot >= response.length) {
      return html`<th scope="col" data-slot=${slot}>${
        this.button({ slot, lane: -1 }, html`<span class="mark">behind</span>`, {
          name: "the slot behind the last token",
          style: "--strength: 0; --tone: var(--up)",
        })
      }</th>`;
    }
    const text = this.textOf(response[slot]);
    const strength = Math.min(1, Math.abs(whitened[slot] ?? 0) / 3);
    return html`<th scope="col" data-slot=${slot}>${
      this.button({ slot, lane: -1 }, written(text), {
        name: `token ${slot + 1}: ${spoken(text)}, whitened advantage ${figure(whitened[slot])}`,
        style: `--strength: ${strength.toFixed(2)}; --tone: var(${whitened[slot] < 0 ? "--down" : "--up"})`,
      })
    }</th>`;
  }

  private cell(lane: Lane, l: number, slot: number, full: number) {
    if (slot >= lane.values.length) return html`<td><span class="empty"></span></td>`;
    const value = lane.values[slot];
    // The base stands in the middle; a bar to its right is above it.
    const share = Math.max(-1, Math.min(1, (value - lane.base) / full));
    const from = 50 + 50 * Math.min(0, share), width = 50 * Math.abs(share);
    return html`<td data-slot=${slot} class=${lane.clipped?.(slot) ? "clipped" : ""}>${
      this.button(
        { slot, lane: l },
        html`<i style=${`left: ${from.toFixed(1)}%; width: ${width.toFixed(1)}%`}></i>${
          lane.band?.map((edge) =>
            html`<u style=${`left: ${(50 + 50 * (edge - lane.base) / full).toFixed(1)}%`}></u>`
          )
        }<span class="value">${shown(lane, value)}</span>`,
        { name: `${lane.name} ${shown(lane, value)}` },
      )
    }</td>`;
  }

  private button(cell: Cell, content: unknown, { name, style = "" }: { name: string; style?: string }) {
    const pinned = sameCell(this.pinned, cell);
    return html`
      <button type="button" data-cell=${`${cell.slot},${cell.lane}`} tabindex=${sameCell(this.entry, cell)
        ? 0
        : -1} aria-label=${name}
        aria-pressed=${pinned} class=${pinned ? "pinned" : ""} style=${style}>${content}</button>
    `;
  }

  private onPoint(event: Event) {
    const cell = cellOf(event);
    if (cell && !sameCell(this.at, cell)) this.look(cell);
  }

  private onFocus(event: Event) {
    const cell = cellOf(event);
    if (!cell) return;
    this.renderRoot.querySelector('button[tabindex="0"]')?.setAttribute("tabindex", "-1");
    (event.target as Element).setAttribute("tabindex", "0");
    this.look(this.entry = cell);
  }

  private onClick(event: Event) {
    const cell = cellOf(event);
    if (cell) this.pinned = sameCell(this.pinned, cell) ? null : cell;
  }

  private look(cell: Cell) {
    this.at = cell;
    if (!this.alternatives || !this.episode || cell.slot >= this.episode.response.length) return;
    if (this.found?.slot === cell.slot) return;
    // Whoever only passes by asks nothing.
    const asked = ++this.asked, { slot } = cell, { episode } = this;
    setTimeout(async () => {
      if (asked !== this.asked) return;
      try {
        const alternatives = await this.alternatives!(episode, slot);
        if (asked === this.asked) this.found = { slot, alternatives };
      } catch (error) {
        if (asked === this.asked) this.found = { slot, trouble: (error as Error).message };
      }
    }, 120);
  }

  private readout(episode: Episode, lanes: readonly Lane[]) {
    const cell = this.at ?? this.pinned;
    if (cell) {
      const { slot, lane } = cell;
      const id = episode.response[slot];
      const place = id === undefined
        ? html`The slot behind the last token`
        : html`Token ${slot + 1} of ${episode.response.length}: <code>${this.textOf(id)}</code>, id ${id}`;
      if (lane >= 0) {
        return html`${place}. ${lanes[lane].formula(slot)}${lanes[lane].unit ? ` ${lanes[lane].unit}` : ""}.`;
      }
      return html`${place}. ${
        lanes.filter(({ values }) => slot < values.length).map(({ name, values }) =>
          `${name} ${figure(values[slot])}`
        )
          .join(" · ")
      }`;
    }
    const sum = (values: readonly number[]) => values.reduce((total, x) => total + x, 0);
    const kl = lanes.find(({ name }) => name === "KL")!.values;
    const price = episode.beta ?? this.settings.beta;
    const moved = lanes.find(({ name }) => name === "ratio")?.values;
    return html`
      ${episode.response.length} tokens${episode.ended ? "" : ", no EOS"}; score ${figure(
        episode.score,
      )}, KL ${figure(sum(kl))} nats${price === undefined ? "" : `, β ${figure(price)}`}, rewards ${figure(
        sum(episode.reward),
      )} in all.
            <span
        class="hint">Chips: whitened advantage, blue better than expected, red worse. Bars to both sides of ${moved
          ? "0, of the ratio of 1; dashed, its clip band"
          : "0. This run did not record ratios; runs of this version do"}. Hatched: masked.</span>
    `;
  }

  private others(episode: Episode) {
    const slot = (this.at ?? this.pinned)?.slot;
    if (slot === undefined || slot >= episode.response.length) return nothing;
    if (!this.alternatives) {
      return html`
        <p
          class="hint">The ten likeliest tokens in this place need the run's models: they are told where the run's folder has
                them and a GPU is at hand.</p>
      `;
    }
    if (this.found?.slot !== slot) {
      return html`<p class="hint">Asking policy and reference for 10 tokens each.</p>`;
    }
    if (!this.found.alternatives) return html`<p class="hint">${this.found.trouble}</p>`;
    const { policy, reference, whose } = this.found.alternatives;
    const column = (title: string, role: string, own: Alternative[], other: Alternative[]) =>
      html`
        <div style=${`--k: var(--role-${role})`}>
          <h4>${title}</h4>
          <ol>${own.map(({ id, text, logprob, rankElsewhere }, rank) => {
            const there = rankElsewhere ?? other.findIndex((one) => one.id === id);
            const change = there < 0
              ? "new"
              : there === rank
              ? "="
              : there > rank
              ? `↑${there - rank}`
              : `↓${rank - there}`;
            return html`<li class=${classMap({ chosen: id === episode.response[slot] })}>
            <span class="mark">${rank + 1}</span><code>${written(text)}</code><span>${
              (100 * Math.exp(logprob)).toFixed(1)
            } %</span>
            <span class="mark">${change}</span>
          </li>`;
          })}</ol>
        </div>
      `;
    return html`
      <div class="others">${column(whose.name, "policy", policy, reference)}${column(
        "reference",
        "reference",
        reference,
        policy,
      )}</div>
      <p class="hint">${whose.says}</p>
    `;
  }

  private onKey(event: KeyboardEvent) {
    if (event.key === "Escape") {
      this.pinned = this.at = null;
      return;
    }
    const { slot, lane } = this.entry;
    const to = {
      ArrowRight: [slot + 1, lane],
      ArrowLeft: [slot - 1, lane],
      ArrowDown: [slot, lane + 1],
      ArrowUp: [slot, lane - 1],
      Home: [0, lane],
      End: [this.episode!.response.length - 1, lane],
    }[event.key];
    if (!to) return;
    event.preventDefault();
    this.renderRoot.querySelector<HTMLButtonElement>(`button[data-cell="${to}"]`)?.focus();
  }
}

function sameCell(a: Cell | null, b: Cell): boolean {
  return a?.slot === b.slot && a.lane === b.lane;
}

/** The cell that an event is about. */
function cellOf(event: Event): Cell | null {
  const button = (event.target as Element).closest<HTMLElement>("button[data-cell]");
  if (!button) return null;
  const [slot, lane] = button.dataset.cell!.split(",").map(Number);
  return { slot, lane };
}

/** A ratio's distance from 1 is what counts, so it has all its decimals. */
const shown = ({ base }: Lane, value: number) =>
  base === 1 && Number.isFinite(value) ? value.toFixed(3) : figure(value);

/** Of each lane the distance from its base at which a bar is full; lanes that are compared have one scale. */
function fullScales(lanes: readonly Lane[]): number[] {
  const own = lanes.map(({ values, base, band }) =>
    Math.max(
      1e-9,
      ...values.map((x) => Math.abs(x - base)).filter(Number.isFinite),
      band ? 2 * (band[1] - base) : 0,
    )
  );
  const groupOf = (name: string) => scales[name] ?? name;
  return lanes.map(({ name }) => Math.max(...own.filter((_, i) => groupOf(lanes[i].name) === groupOf(name))));
}

customElements.define("episode-strip", EpisodeStrip);
