/** A cell of a notebook: its text or its code, what came of it, and how it stands. */
import { html, LitElement, nothing } from "lit";
import { guard } from "lit/directives/guard.js";
import type { Cell, CodeCell } from "../../notebook/ipynb.ts";
import { isCode } from "../../notebook/ipynb.ts";
import { duration } from "../numbers.ts";
import type { CellEditor } from "./editor.ts";
import { markdownFragment } from "./markdown.ts";
import { type OutputContext, outputView } from "./outputs.ts";
import type { CellState } from "./runner.ts";

/** What a cell asks of its notebook; the event "cell-does" carries it. */
export type CellAct =
  | { act: "select" | "edit" | "leave" | "run" | "reveal" | "delete" | "insert" | "convert" | "accept" }
  | { act: "move"; by: -1 | 1 }
  | { act: "source"; source: string }
  | { act: "trouble"; said: string }
  | { act: "ran"; how: "stay" | "next" | "insert" }
  | { act: "beyond"; direction: -1 | 1 };

const words: Record<CellState["status"], string> = {
  unrun: "not run",
  queued: "waiting",
  running: "running",
  fresh: "run",
  stale: "stale",
  failed: "failed",
  verified: "verified",
  differs: "differs",
};

export class NotebookCell extends LitElement {
  static override properties = {
    cell: { attribute: false },
    // The same object changes in place; a counter says when.
    version: { type: Number },
    position: { type: Number },
    state: { attribute: false },
    selected: { type: Boolean },
    editing: { type: Boolean },
    open: { type: Boolean },
    readonly: { type: Boolean },
    context: { attribute: false },
    names: { attribute: false },
  };
  declare cell: Cell;
  declare version: number;
  /** From 1. */
  declare position: number;
  declare state: CellState;
  declare selected: boolean;
  declare editing: boolean;
  /** Whether its code is shown. */
  declare open: boolean;
  declare readonly: boolean;
  declare context: OutputContext;
  declare names: () => readonly string[];
  private editor: CellEditor | null = null;
  private opening: Promise<void> | null = null;
  private colours: typeof import("./editor.ts").colouredCode | null = null;

  /** The style sheet is the document's. */
  override createRenderRoot() {
    return this;
  }

  private does(act: CellAct) {
    this.dispatchEvent(new CustomEvent<CellAct>("cell-does", { detail: act, bubbles: true }));
  }

  /** Puts the keyboard into the cell as a whole. */
  override focus(options?: FocusOptions) {
    this.querySelector<HTMLElement>("section")?.focus(options);
  }

  // ---- the editor ----

  override updated() {
    if (this.editing && !this.editor) this.opening ??= this.openEditor().finally(() => this.opening = null);
    else if (!this.editing && this.editor) this.closeEditor();
    else if (this.editor && this.editor.source !== this.cell.source) {
      // Changed from elsewhere: split, or undone.
      this.closeEditor();
      this.requestUpdate();
    }
    this.editor?.mark(this.state.faults);
    if (this.open && isCode(this.cell) && !this.colours) {
      import("./editor.ts").then(({ colouredCode }) => {
        this.colours = colouredCode;
        this.requestUpdate();
      }, () => {}); // Code is read without colours, too.
    }
  }

  private async openEditor() {
    let openEditor: typeof import("./editor.ts").openEditor;
    try {
      ({ openEditor } = await import("./editor.ts"));
    } catch (error) {
      this.does({ act: "leave" });
      this.does({ act: "trouble", said: (error as Error).message });
      return;
    }
    const parent = this.querySelector<HTMLElement>(".editor");
    if (!this.editing || !parent || this.editor) return;
    this.editor = openEditor(this.cell.id, {
      parent,
      source: this.cell.source,
      language: isCode(this.cell) ? "typescript" : "markdown",
      label: `Cell ${this.position}, ${isCode(this.cell) ? "code" : "text"}`,
      names: this.names,
      changed: (source) => this.does({ act: "source", source }),
      left: () => this.does({ act: "leave" }),
      ran: (how) => this.does({ act: "ran", how }),
      beyond: (direction) => this.does({ act: "beyond", direction }),
    });
    this.editor.focus();
    this.editor.mark(this.state.faults);
  }

  private closeEditor() {
    this.editor?.destroy();
    this.editor = null;
  }

  override disconnectedCallback() {
    super.disconnectedCallback();
    this.closeEditor();
  }

  // ---- rendering ----

  override render() {
    const { cell, state, position, selected } = this;
    const kind = isCode(cell) ? "code" : cell.cell_type === "raw" ? "raw text" : "text";
    const label = `Cell ${position}, ${kind}${isCode(cell) ? `, ${words[state.status]}` : ""}`;
    return html`
      <section class="cell ${isCode(cell) ? "code" : "text"} ${state.status}" aria-label=${label}
        tabindex=${selected ? 0 : -1} ?data-selected=${selected} ?data-editing=${this.editing}
        @focusin=${() => selected || this.does({ act: "select" })} @click=${() =>
          selected || this.does({ act: "select" })}>
            ${isCode(cell) ? this.code(cell) : this.prose(cell)}
            ${this.readonly ? nothing : this.toolbar(kind)}
          </section>
    `;
  }

  private prose({ source, cell_type }: Cell) {
    if (this.editing) return html`<div class="editor"></div>`;
    if (source.trim() === "") {
      return html`<p class="hint empty" @dblclick=${() =>
        this.does({ act: "edit" })}>An empty text. Enter begins to write.</p>`;
    }
    if (cell_type === "raw") return html`<pre class="raw">${source}</pre>`;
    return html`<div class="prose" @dblclick=${() => this.does({ act: "edit" })}>${
      guard([source], () => markdownFragment(source))
    }</div>`;
  }

  private code(cell: CodeCell) {
    const { open, position } = this;
    const first =
      cell.source.split("\n").find((line) => line.trim() !== "" && !/^(\/\/|import )/.test(line)) ??
        cell.source.split("\n")[0];
    const shown = open || this.editing;
    const source = shown ? this.source(cell) : nothing;
    const peek = html`
      <button type="button" class="peek" aria-expanded=${shown} @click=${() =>
        this.does({ act: "reveal" })}><span
        aria-hidden="true">${shown ? "▾" : "▸"}</span><span class="visually-hidden">${shown
          ? "Hide"
          : "Show"} the code of cell ${position}</span>${shown
          ? nothing
          : html`<code>${first || "empty"}</code>`}</button>
    `;
    const outputs = cell.outputs.length === 0
      ? nothing
      : html`<div class="outputs">${
        cell.outputs.map((output, i) => outputView(output, i, this.context))
      }</div>`;
    return html`
      <button type="button" class="gutter" tabindex="-1" aria-hidden="true" title=${this.said()}
        @click=${() => this.does({ act: "reveal" })}></button>
      ${source}${outputs}
      <div class="foot">${peek}${this.foot()}</div>
    `;
  }

  private source({ source }: CodeCell) {
    if (this.editing) return html`<div class="editor"></div>`;
    const edit = () => this.does({ act: "edit" });
    if (source === "") {
      return html`
        <p class="hint empty"
          @click=${edit}>An empty cell. Enter begins to write TypeScript; Shift Enter runs it.</p>
      `;
    }
    return html`<pre class="code-text" @dblclick=${edit}><code>${
      guard([source, this.colours], () => this.colours ? this.colours(source) : source)
    }</code></pre>`;
  }

  private said(): string {
    const { status, why } = this.state;
    return why.length > 0 ? `${words[status]}: ${why.join("; ")}` : words[status];
  }

  private foot() {
    const { status, milliseconds, gpuMilliseconds, progress } = this.state;
    const times = [
      milliseconds === undefined ? "" : duration(milliseconds),
      gpuMilliseconds ? `GPU ${duration(gpuMilliseconds)}` : "",
    ].filter(Boolean).join(" · ");
    const quiet = status === "fresh" || status === "unrun";
    const accept = () => this.does({ act: "accept" });
    return html`
      <span class="standing">${quiet ? nothing : html`<b>${this.said()}</b>`} ${status === "differs"
        ? html`<button type="button" class="quiet" @click=${accept}>Take it as it is now</button>`
        : nothing}</span>
      <span class="times">${progress ? progressView(progress) : times}</span>
    `;
  }

  private toolbar(kind: string) {
    const { position, state } = this;
    const button = (label: string, glyph: string, act: CellAct, keys: string) =>
      html`
        <button type="button" title="${label} (${keys})" aria-label="${label}, cell ${position}"
          tabindex=${this.selected ? 0 : -1} @click=${(event: Event) => {
            event.stopPropagation();
            this.does(act);
          }}>${glyph}</button>
      `;
    const code = kind === "code";
    return html`<div class="cell-tools" role="toolbar" aria-label="Cell ${position}">
      ${code && state.status !== "running" ? button("Run", "▶", { act: "run" }, "Shift Enter") : nothing}
      ${button("Edit", "✎", { act: "edit" }, "Enter")}
      ${
      button(code ? "Make it text" : "Make it code", code ? "¶" : "{}", { act: "convert" }, code ? "M" : "Y")
    }
      ${button("Move up", "↑", { act: "move", by: -1 }, "Alt ↑")}
      ${button("Move down", "↓", { act: "move", by: 1 }, "Alt ↓")}
      ${button("Insert a cell below", "+", { act: "insert" }, "B")}
      ${button("Delete", "×", { act: "delete" }, "D D")}
    </div>`;
  }
}

function progressView({ done, total, note }: NonNullable<CellState["progress"]>) {
  const share = total > 0 ? Math.min(1, Math.max(0, done / total)) : 0;
  return html`
    <progress max="1" .value=${share}
      aria-label="How far the cell is"></progress> ${done} of ${total} ${note}
  `;
}

customElements.define("notebook-cell", NotebookCell);
