/** The palette, the cheat sheet and the list of notebooks: dialogs that Escape closes and that give the keyboard back. */
import { html, LitElement, nothing } from "lit";
import { sharedEngine } from "../engine.ts";
import { size } from "../numbers.ts";
import "../storage/panel.ts";
import type { StoragePanel } from "../storage/panel.ts";
import { type Action, keyName } from "./actions.ts";
import type { Shipped } from "./library.ts";
import type { Kept } from "./storage.ts";

/** Opens a dialog; a click beside it closes it, as Escape does. */
function show(element: LitElement): void {
  const dialog = element.querySelector("dialog")!;
  if (!dialog.open) dialog.showModal();
}

const closeBeside = (event: MouseEvent) => {
  if (event.target === event.currentTarget) (event.currentTarget as HTMLDialogElement).close();
};

/** Every action by name; what is typed narrows the list. */
export class ActionPalette extends LitElement {
  static override properties = { actions: { attribute: false }, typed: { state: true }, at: { state: true } };
  declare actions: readonly Action[];
  declare private typed: string;
  declare private at: number;

  constructor() {
    super();
    this.actions = [];
    this.typed = "";
    this.at = 0;
  }

  override createRenderRoot() {
    return this;
  }

  async show() {
    this.typed = "";
    this.at = 0;
    this.requestUpdate();
    await this.updateComplete;
    show(this);
    const input = this.querySelector("input")!;
    input.value = "";
    input.focus();
  }

  private get fitting(): Action[] {
    const words = this.typed.toLowerCase().split(/\s+/).filter(Boolean);
    return this.actions.filter(({ name, can }) =>
      (can?.() ?? true) && words.every((word) => name.toLowerCase().includes(word))
    );
  }

  private choose(action: Action | undefined) {
    this.querySelector("dialog")!.close();
    action?.run();
  }

  private onKey(event: KeyboardEvent) {
    const { length } = this.fitting;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && length > 0) {
      event.preventDefault();
      this.at = (this.at + step + length) % length;
      this.updateComplete.then(() =>
        this.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" })
      );
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.choose(this.fitting[this.at]);
    }
    event.stopPropagation();
  }

  override render() {
    const { fitting, at } = this;
    return html`<dialog class="palette" aria-label="All actions" @click=${closeBeside}>
      <input type="text" role="combobox" aria-expanded="true" aria-controls="palette-list" aria-label="Find an action"
        aria-activedescendant=${
      fitting.length > 0 ? `palette-${at}` : nothing
    } autocomplete="off" spellcheck="false"
        placeholder="What to do?" @keydown=${this.onKey} @input=${(event: Event) => {
      this.typed = (event.target as HTMLInputElement).value;
      this.at = 0;
    }}>
      <ul role="listbox" id="palette-list" aria-label="Actions">${
      fitting.map((action, i) =>
        html`<li role="option" id="palette-${i}" aria-selected=${i === at} @click=${() =>
          this.choose(action)}>
          <span>${action.name}</span>${keysView(action)}</li>`
      )
    }</ul>
      ${fitting.length === 0 ? html`<p class="hint">Nothing is called so.</p>` : nothing}
    </dialog>`;
  }
}

function keysView({ keys }: Action) {
  return keys.length === 0
    ? nothing
    : html`<span class="keys">${
      keys.slice(0, 2).map((key, i) =>
        html`${i > 0 ? html`<span class="or">or</span>` : nothing}${
          keyName(key).split(" ").map((part) => html`<kbd>${part}</kbd>`)
        }`
      )
    }</span>`;
}

/** All keys at a glance. */
export class KeySheet extends LitElement {
  static override properties = { actions: { attribute: false } };
  declare actions: readonly Action[];

  constructor() {
    super();
    this.actions = [];
  }

  override createRenderRoot() {
    return this;
  }

  async show() {
    this.requestUpdate();
    await this.updateComplete;
    show(this);
  }

  override render() {
    const groups = Map.groupBy(this.actions.filter(({ keys }) => keys.length > 0), ({ group }) => group);
    return html`
      <dialog class="sheet" aria-labelledby="sheet-title" @click=${closeBeside}>
        <h2 id="sheet-title">Keys</h2>
        <p class="hint">Cells are chosen with the arrow keys. Enter writes in a cell, Escape leaves it.</p>
        <div class="groups">${Array.from(groups, ([group, actions]) =>
          html`
            <section>
              <h3>${group}</h3>
              <dl>${actions.map((action) =>
                html`
                  <div>
                    <dt>${keysView(action)}</dt>
                    <dd>${action.name}</dd>
                  </div>
                `
              )}</dl>
            </section>
          `)}</div>
        <form method="dialog"><button>Close</button></form>
      </dialog>
    `;
  }
}

/** Which notebook to open. The event "open-notebook" carries the choice. */
export type OpenChoice = { shipped: string } | { kept: string } | { file: File } | { forget: string };

export class OpenDialog extends LitElement {
  static override properties = {
    shipped: { attribute: false },
    kept: { attribute: false },
    trouble: {},
    used: { state: true },
  };
  declare shipped: readonly Shipped[];
  declare kept: readonly Kept[];
  declare trouble: string;
  declare private used: string;

  constructor() {
    super();
    this.shipped = [];
    this.kept = [];
    this.trouble = "";
    this.used = "";
  }

  override createRenderRoot() {
    return this;
  }

  async show() {
    this.requestUpdate();
    await this.updateComplete;
    show(this);
    const { usage, quota } = await navigator.storage?.estimate?.().catch(() => ({ usage: 0, quota: 0 })) ??
      {};
    this.used = usage && quota
      ? `This page keeps ${size(usage)} here; the browser allows it ${size(quota)}.`
      : "";
  }

  private choose(detail: OpenChoice) {
    if (!("forget" in detail)) this.querySelector("dialog")!.close();
    this.dispatchEvent(new CustomEvent<OpenChoice>("open-notebook", { detail, bubbles: true }));
  }

  override render() {
    const mine = this.kept.filter(({ shipped }) => !shipped);
    const changed = new Set(this.kept.flatMap(({ shipped }) => shipped ?? []));
    return html`<dialog class="open-list" aria-labelledby="open-title" @click=${closeBeside}>
      <h2 id="open-title">Open a notebook</h2>
      ${this.trouble ? html`<p class="notice">${this.trouble}</p>` : nothing}
      <section><h3>It ships with the lab</h3>
        <ul>${
      this.shipped.map(({ name, title, about }) =>
        html`<li><button type="button" class="choice" @click=${() => this.choose({ shipped: name })}>
          <b>${title}</b>${
          changed.has(name)
            ? html`
              <span class="hint">changed here</span>
            `
            : nothing
        }<span>${about}</span></button></li>`
      )
    }</ul></section>
      <section><h3>Yours, in this browser</h3>
        ${
      mine.length === 0
        ? this.trouble ? html`<p class="hint">None can be kept.</p>` : html`
          <p
            class="hint">None yet. “New” begins one, and a file or a link that is opened and changed is kept here too.</p>
        `
        : html`<ul>${
          mine.map(({ id, title, changed, stranger }) =>
            html`<li><button type="button" class="choice" @click=${() => this.choose({ kept: id })}>
            <b>${title}</b><span>${stranger ? "From elsewhere. " : ""}Changed ${
              when(changed)
            }.</span></button>
            <button type="button" class="quiet" aria-label="Delete ${title}" @click=${() =>
              this.choose({ forget: id })}>Delete</button></li>`
          )
        }</ul>`
    }</section>
      <section><h3>From elsewhere</h3>
        <label class="file">A file (.ipynb), chosen here or dropped anywhere on the page
          <input type="file" accept=".ipynb,application/x-ipynb+json,application/json" @change=${(
      event: Event,
    ) => {
      const input = event.target as HTMLInputElement;
      if (input.files?.[0]) this.choose({ file: input.files[0] });
      input.value = "";
    }}></label></section>
      <details @toggle=${(event: Event) => this.look(event.target as HTMLDetailsElement)}>
        <summary>Weights and models that are kept on this device</summary>
        <storage-panel .engine=${sharedEngine}></storage-panel>
      </details>
      <form method="dialog"><p class="hint">${this.used}</p><button>Close</button></form>
    </dialog>`;
  }

  private async look(details: HTMLDetailsElement) {
    if (details.open) await details.querySelector<StoragePanel>("storage-panel")!.look();
  }
}

function when(time: number): string {
  return new Date(time).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
}

customElements.define("action-palette", ActionPalette);
customElements.define("key-sheet", KeySheet);
customElements.define("open-dialog", OpenDialog);
