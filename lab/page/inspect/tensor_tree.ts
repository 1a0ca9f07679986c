/** <tensor-tree>: every tensor there is, by layer, with search; what was captured of a text below the weights. */
import { css, html, LitElement, nothing, type PropertyValues } from "lit";
import type { StrayTensor, TensorEntry } from "../../inspect/types.ts";
import { size } from "../numbers.ts";
import { matches } from "./matches.ts";
import type { Way } from "./ways.ts";

const groups = [
  ["weight", "Weights"],
  ["first moment", "First moments"],
  ["second moment", "Second moments"],
  ["activation", "Activations"],
  ["activation gradient", "Gradients of activations"],
  ["weight gradient", "Gradients of weights"],
  ["cache", "Keys and values"],
] as const;

export class TensorTree extends LitElement {
  static override properties = {
    entries: { attribute: false },
    ways: { attribute: false },
    strays: { attribute: false },
    chosen: {},
    sought: { state: true },
  };
  declare entries: readonly TensorEntry[];
  /** Weights with values that are not finite. */
  declare strays: readonly StrayTensor[];
  /** To what could be listed and is not. */
  declare ways: readonly Way[];
  /** Id of the tensor on show. */
  declare chosen: string;
  declare private sought: string;
  /** Whether the ways are on show; they stay so when the model changes. */
  private opened = false;

  static override styles = css`
    :host {
      display: block;
      font-size: 12px;
      font-variant-numeric: tabular-nums;
    }
    input {
      font: 13px/1.5 var(--sans);
      color: var(--ink);
      background: transparent;
      border: 1px solid var(--rule);
      border-radius: 3px;
      padding: 3px 8px;
      width: 100%;
      margin: 0 0 6px;
      box-sizing: border-box;
    }
    .list {
      overflow: auto;
      max-height: var(--tree-height, calc(100vh - 280px));
      border-top: 1px solid var(--rule);
    }
    h2 {
      font: 600 12px/1.5 var(--sans);
      margin: 10px 0 2px;
      display: flex;
      justify-content: space-between;
      gap: 8px;
    }
    h2 span {
      font-weight: 400;
      color: var(--muted);
    }
    details {
      border-bottom: 1px solid var(--rule);
    }
    summary {
      cursor: pointer;
      color: var(--muted);
      line-height: 1.9;
    }
    button {
      display: grid;
      grid-template-columns: minmax(0, 1fr) auto 58px;
      gap: 10px;
      width: 100%;
      font: 12px/1.8 var(--mono);
      color: var(--ink);
      text-align: left;
      background: none;
      border: 0;
      border-left: 2px solid transparent;
      padding: 0 0 0 6px;
      cursor: pointer;
    }
    button:hover {
      background: var(--alt);
    }
    button[aria-current="true"] {
      border-color: var(--accent);
      background: var(--alt);
    }
    .name {
      overflow: hidden;
      text-overflow: ellipsis;
      white-space: nowrap;
    }
    .stray {
      color: light-dark(#a8006f, #ff77c8);
    }
    .shape,
    .bytes {
      color: var(--muted);
      font-size: 11px;
    }
    .bytes {
      text-align: right;
    }
    /* Both are to be seen at once. */
    .list:has(+ .ways[open]) {
      max-height: 36vh;
    }
    .ways {
      max-height: 40vh;
      overflow: auto;
      border-bottom: 0;
    }
    .ways summary {
      line-height: 1.5;
      padding: 4px 0;
      color: var(--ink);
    }
    .way p {
      margin: 0 0 4px;
    }
    .acts {
      display: flex;
      flex-wrap: wrap;
      gap: 4px;
    }
    button.act {
      display: inline-block;
      width: auto;
      font: 12px/1.5 var(--sans);
      border: 1px solid var(--rule);
      border-radius: 3px;
      padding: 1px 8px;
    }
    p {
      color: var(--muted);
      margin: 8px 0;
    }
    :focus-visible {
      outline: 2px solid var(--accent);
      outline-offset: -1px;
    }
  `;

  constructor() {
    super();
    this.entries = [];
    this.ways = [];
    this.strays = [];
    this.chosen = "";
    this.sought = "";
  }

  /** Goes to the search field. */
  search(): void {
    const input = this.renderRoot.querySelector("input")!;
    input.focus();
    input.select();
  }

  override updated(changed: PropertyValues<this>): void {
    if (changed.has("chosen")) {
      this.renderRoot.querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
    }
  }

  override render() {
    const sought = this.sought.trim();
    const found = sought === "" ? this.entries : this.entries.filter((entry) => matches(entry, sought));
    return html`
      <input type="search" placeholder="Search: attn.qkv, layers.*.grad, q_proj" aria-label="Search tensors"
        .value=${this.sought} @input=${(event: Event) =>
          this.sought = (event.target as HTMLInputElement).value}
        @keydown=${(event: KeyboardEvent) => this.onSearchKey(event, found)}>
      <div class="list" @keydown=${this.onKey} tabindex="-1">
        ${groups.map(([role, title]) =>
          this.group(title, found.filter((entry) => entry.role === role), sought)
        )}
        ${this.entries.length === 0
          ? html`<p>Here the tensors would be listed, once the model is open.</p>`
          : found.length === 0
          ? html`<p>None of ${this.entries.length} tensors is called “${sought}”. A <code>*</code> stands for anything.</p>`
          : nothing}
      </div>
      ${this.ways.length > 0
        ? html`
          <details class="ways" ?open=${this.opened}
            @toggle=${(event: Event) =>
              this.opened = (event.target as HTMLDetailsElement).open}><summary>Also to be had: ${this.ways
              .map(({ title }, i) => i === 0 ? title : title.toLowerCase()).join(", ")}</summary>${this.ways
              .map((way) => this.way(way))}</details>
        `
        : nothing}
    `;
  }

  private way({ title, says, acts }: Way) {
    return html`
      <section class="way">
        <h2>${title}</h2>
        <p>${says}</p>
        ${acts.length > 0
          ? html`<p class="acts">${
            acts.map(({ label, act }) =>
              html`<button type="button" class="act" @click=${act}>${label}</button>`
            )
          }</p>`
          : nothing}
      </section>
    `;
  }

  private group(title: string, entries: readonly TensorEntry[], sought: string) {
    if (entries.length === 0) return nothing;
    const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
    const layers = new Map<number | undefined, TensorEntry[]>();
    for (const entry of entries) {
      const there = layers.get(entry.layer);
      if (there) there.push(entry);
      else layers.set(entry.layer, [entry]);
    }
    return html`<h2>${title} <span>${entries.length} tensors, ${size(bytes)}</span></h2>${
      Array.from(layers, ([layer, of]) =>
        layer === undefined
          ? of.map((entry) =>
            this.item(entry, entry.name)
          )
          : html`<details ?open=${
            sought !== "" || layers.size <= 6 || of.some(({ id }) => id === this.chosen)
          }><summary>layers.${layer}</summary>${
            of.map((entry) => this.item(entry, entry.name.replace(/^(weights\.)?layers\.\d+\./, "")))
          }</details>`)
    }`;
  }

  private item(entry: TensorEntry, name: string) {
    const published = entry.published.map((one) => one.name).join(", ");
    const stray = entry.role === "weight" && this.strays.find((one) => one.name === entry.name);
    return html`
      <button type="button" aria-current=${entry.id === this.chosen ? "true" : "false"}
        title=${published || entry.name} @click=${() => this.choose(entry)}><span class="name">${name}${stray
          ? html`
            <b class="stray" title="${stray.count} values are not finite">× ${stray.count.toLocaleString(
              "en",
            )}</b>
          `
          : nothing}</span><span
            class="shape">${entry.shape.join("×")}</span><span class="bytes">${size(
              entry.bytes,
            )}</span></button>
    `;
  }

  private choose(entry: TensorEntry): void {
    this.dispatchEvent(new CustomEvent("choose", { detail: entry }));
  }

  private onSearchKey(event: KeyboardEvent, found: readonly TensorEntry[]): void {
    if (event.key === "Enter" && found.length > 0) this.choose(found[0]);
    else if (event.key === "ArrowDown") this.renderRoot.querySelector("button")?.focus();
    else if (event.key === "Escape" && this.sought !== "") this.sought = "";
    else return;
    event.preventDefault();
  }

  private onKey(event: KeyboardEvent): void {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    const stops = [...this.renderRoot.querySelectorAll<HTMLElement>(".list button, .list summary")]
      .filter((stop) => stop.checkVisibility());
    const at = stops.indexOf(this.shadowRoot!.activeElement as HTMLElement);
    event.preventDefault();
    if (at + step < 0) this.search();
    else stops[Math.min(stops.length - 1, at + step)]?.focus();
  }
}

customElements.define("tensor-tree", TensorTree);
