/** What stands around the cells: the bar with the notebook's state, the notices, the outline. */
import { html, nothing } from "lit";
import { guard } from "lit/directives/guard.js";
import type { Cell } from "../../notebook/ipynb.ts";
import type { Commands } from "./commands.ts";
import type { Keeping } from "./keeper.ts";
import { headingsOf } from "./markdown.ts";
import type { Standing } from "./runner.ts";

export interface BarState {
  standing: Standing | null;
  /** Null where nothing is kept yet. */
  keeping: Keeping | null;
  reading: boolean;
  /** Whether the menu of ways to share is open. */
  menu: boolean;
  turnMenu(open: boolean): void;
  go(id: string): void;
}

const shares = [["ipynb", "A file (.ipynb)"], ["link", "A link that carries it"], [
  "html",
  "A page to read (.html)",
]] as const;

export function barView(page: Commands, { standing, keeping, reading, menu, turnMenu, go }: BarState) {
  const none = page.at === null;
  const left = ({ currentTarget, relatedTarget }: FocusEvent) => {
    if (!(currentTarget as HTMLElement).contains(relatedTarget as Node)) turnMenu(false);
  };
  const share = (how: typeof shares[number][0]) => {
    turnMenu(false);
    page.share(how);
  };
  return html`
    <section class="bar" aria-label="Notebook">
      <div class="standing" aria-live="polite">${standing
        ? standingView(standing, go)
        : nothing}${keeping?.state === "kept"
        ? html`<span class="hint">kept in this browser</span>`
        : keeping?.state === "writing"
        ? html`<span class="hint">keeping …</span>`
        : nothing}</div>
      <div class="tools" role="toolbar" aria-label="Notebook">
          ${page.busy
            ? html`<button type="button" class="danger" @click=${() => page.interrupt()}>Interrupt</button>`
            : html`<button type="button" class="primary" ?disabled=${none} @click=${() =>
              page.runAll()}>Run all</button>`}
          <button type="button" aria-pressed=${!reading} ?disabled=${none} title="Show all code (R)"
            @click=${() => page.turnReading()}>Code</button>
          <span class="menu" @focusout=${left} @keydown=${(event: KeyboardEvent) =>
            menuKey(event, () => turnMenu(false))}>
            <button type="button" aria-haspopup="menu" aria-expanded=${menu} ?disabled=${none}
              @click=${() => turnMenu(!menu)}>Share</button>
            ${menu
              ? html`<span role="menu" aria-label="Share">${
                shares.map(([how, name]) =>
                  html`<button type="button" role="menuitem" @click=${() => share(how)}>${name}</button>`
                )
              }</span>`
              : nothing}
          </span>
          <button type="button" @click=${() => page.openList()}>Open</button>
          <button type="button" @click=${() => page.openNew()}>New</button>
          <button type="button" class="quiet" title="All actions" @click=${() =>
            page.showActions()}><kbd>Ctrl K</kbd> <span class="visually-hidden">All actions</span></button>
          <button type="button" class="quiet" title="Keys" @click=${() =>
            page.showKeys()}><kbd>?</kbd> <span class="visually-hidden">Keys</span></button>
        </div>
    </section>
  `;
}

function standingView({ word, said, at }: Standing, go: (id: string) => void) {
  const text = html`<b class="badge ${word.replace(" ", "-")}">${word}</b><span>${said}</span>`;
  return at
    ? html`<button type="button" class="quiet" title="Go to the cell" @click=${() => go(at)}>${text}</button>`
    : html`<p>${text}</p>`;
}

function menuKey(event: KeyboardEvent, close: () => void) {
  const holder = event.currentTarget as HTMLElement;
  const items = [...holder.querySelectorAll<HTMLElement>("[role=menuitem]")];
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (items.length === 0) return;
  if (event.key === "Escape") {
    close();
    holder.querySelector("button")!.focus();
  } else if (step) {
    const at = items.indexOf(document.activeElement as HTMLElement);
    items[(Math.max(at, step > 0 ? -1 : 0) + step + items.length) % items.length].focus();
  } else return;
  event.preventDefault();
  event.stopPropagation();
}

export interface Notice {
  said: string;
  remedies?: { label: string; run: () => void }[];
  /** Takes it away; absent while what it tells of lasts. */
  dismiss?: () => void;
}

export function noticesView(notices: readonly Notice[]) {
  return html`<div class="notices">${
    notices.map(({ said, remedies = [], dismiss }) =>
      html`<div class="notice" role="alert"><p>${said}</p>${
        remedies.map(({ label, run }) => html`<button type="button" @click=${run}>${label}</button>`)
      }${
        dismiss
          ? html`<button type="button" class="quiet" aria-label="Dismiss" @click=${dismiss}>×</button>`
          : nothing
      }</div>`
    )
  }</div>`;
}

/** The headings of the text cells. */
export function outlineView(cells: readonly Cell[], selected: string, go: (id: string) => void) {
  const texts = cells.filter(({ cell_type }) => cell_type === "markdown");
  return guard([selected, ...texts.map(({ id, source }) => `${id} ${source}`)], () => {
    const entries = texts.flatMap(({ id, source }) =>
      headingsOf(source).map((heading) => ({ ...heading, id }))
    );
    return html`<nav class="outline" aria-label="Outline">${
      entries.length === 0
        ? html`<p class="hint">Headings of text cells (“# …”) are listed here.</p>`
        : html`<ol>${
          entries.map(({ level, text, id }) =>
            html`<li class="level-${Math.min(level, 4)}"><a href="#${id}" aria-current=${id === selected}
            @click=${(event: Event) => {
              event.preventDefault();
              go(id);
            }}>${text}</a></li>`
          )
        }</ol>`
    }</nav>`;
  });
}
