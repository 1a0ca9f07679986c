/** The notebook page: one open notebook, what is chosen in it, and everything that it can be told to do. */
import { html, LitElement, nothing } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { type Grant, ownersGrant, strangersGrant } from "../../notebook/grant.ts";
import { isCode } from "../../notebook/ipynb.ts";
import { sharedEngine } from "../engine.ts";
import { KeyReader } from "./actions.ts";
import "./card.ts";
import "./cell.ts";
import type { CellAct, NotebookCell } from "./cell.ts";
import { actionsOf, type Commands } from "./commands.ts";
import "./dialogs.ts";
import type { ActionPalette, KeySheet, OpenChoice, OpenDialog } from "./dialogs.ts";
import { type Keeper, type Keeping, startKeeper } from "./keeper.ts";
import {
  firstShipped,
  type Found,
  freshShipped,
  openForeign,
  openKept,
  openNew,
  openShipped,
  shippedNotebooks,
} from "./library.ts";
import { rememberRunning, wasCutOff } from "./cut_off.ts";
import { type CellKind, OpenNotebook } from "./open_notebook.ts";
import type { OutputContext } from "./outputs.ts";
import { Runner } from "./runner.ts";
import { barView, type Notice, noticesView, outlineView } from "./shell.ts";
import { forgetNotebook, keptNotebooks } from "./storage.ts";
import { whereWebGpuIs } from "../webgpu.ts";

/** The model that the address names in place of those of the posts. */
const askedModel = (() => {
  const asked = new URLSearchParams(location.search).get("model");
  return asked ? new URL(asked, document.baseURI).href : null;
})();

const noGpu =
  `This browser has no WebGPU: cells that need the GPU cannot run here, and everything that is stored can be read. ${whereWebGpuIs}`;

/** A notebook that is open, with what belongs to it. */
interface Opened {
  found: Found;
  open: OpenNotebook;
  runner: Runner;
  keeper: Keeper;
}

export class NotebookPage extends LitElement implements Commands {
  static override properties = {
    version: { state: true },
    selected: { state: true },
    editing: { state: true },
    reading: { state: true },
    keeping: { state: true },
    notice: { state: true },
    loading: { state: true },
    menu: { state: true },
    offline: { state: true },
  };
  /** Counts the changes of what is not a property: cells, and how they stand. */
  declare private version: number;
  declare private selected: string;
  declare private editing: string | null;
  /** Results first, code folded; otherwise code first. */
  declare private reading: boolean;
  declare private keeping: Keeping;
  declare private notice: Notice | null;
  declare private loading: boolean;
  declare private menu: boolean;
  declare private offline: boolean;
  private opened: Opened | null = null;
  /** Cells whose code is shown in reading, or hidden in working. */
  private readonly turned = new Set<string>();
  private readonly actions = actionsOf(this);
  private readonly keys = new KeyReader(() => this.actions);
  private focusChosen = false;
  private readonly listeners: [string, (event: never) => void][] = [
    ["keydown", (event: KeyboardEvent) => this.onKey(event)],
    ["hashchange", () => this.openAddress()],
    ["dragover", (event: DragEvent) => this.onDrag(event)],
    ["drop", (event: DragEvent) => this.onDrag(event)],
    [
      "beforeunload",
      (event: BeforeUnloadEvent) => (this.busy || this.keeping.state !== "kept") && event.preventDefault(),
    ],
    ["online", () => this.offline = false],
    ["offline", () => this.offline = true],
  ];

  constructor() {
    super();
    this.version = 0;
    this.selected = "";
    this.editing = null;
    this.reading = true;
    this.keeping = { state: "kept" };
    this.notice = null;
    this.loading = true;
    this.menu = false;
    this.offline = !navigator.onLine;
  }

  /** The style sheet is the document's. */
  override createRenderRoot() {
    return this;
  }

  override connectedCallback() {
    super.connectedCallback();
    this.replaceChildren();
    for (const [kind, heard] of this.listeners) addEventListener(kind, heard as EventListener);
    this.openAddress();
  }

  override disconnectedCallback() {
    super.disconnectedCallback();
    for (const [kind, heard] of this.listeners) removeEventListener(kind, heard as EventListener);
    this.close();
  }

  // ---- opening ----

  /** Opens what the address names: a shipped notebook, one that is kept here, one that the link carries, or the first. */
  private async openAddress() {
    const { hash } = location;
    const fragment = new URLSearchParams(hash.slice(1));
    const kept = fragment.get("kept"), shipped = fragment.get("shipped");
    if (kept && kept === this.opened?.found.id) return;
    // Any other fragment is a place in the notebook that is open.
    const names = kept || shipped || hash.startsWith("#n=");
    if (!names && this.opened) return;
    await this.take(async () => {
      if (kept) return await this.mustBeKept(kept);
      if (shipped || !names) return await openShipped(shipped ?? firstShipped);
      const { notebookOfLink } = await import("./sharing.ts");
      return await openForeign("The link", await notebookOfLink(location.href));
    });
  }

  private async mustBeKept(id: string): Promise<Found> {
    const found = await openKept(id);
    if (!found) throw new Error("This browser does not keep that notebook (any more).");
    return found;
  }

  /** Opens a notebook; where that fails, what was open stays. @param address fragment for the address bar */
  private async take(find: () => Promise<Found> | Found, address?: string) {
    this.loading = true;
    try {
      const found = await find();
      await this.opened?.keeper.settled();
      this.close();
      this.show(found);
      if (address !== undefined) {
        history.replaceState(null, "", address || location.pathname + location.search);
      }
    } catch (error) {
      this.say((error as Error).message);
    } finally {
      this.loading = false;
    }
  }

  private show(found: Found) {
    const { id, shipped, stranger, notebook, kept } = found;
    this.notice = this.editing = null;
    this.turned.clear();
    this.keeping = { state: "kept" };
    const open = new OpenNotebook(notebook, (...changes) => {
      keeper.keep(...changes);
      runner.edited();
      if (!shipped && !location.hash.startsWith("#kept=")) history.replaceState(null, "", `#kept=${id}`);
      this.version++;
    });
    const whole = () => ({ title: open.title, metadata: notebook.metadata, cells: notebook.cells });
    const keeper = startKeeper({ id, shipped, stranger }, kept, whole, (keeping) => this.keeping = keeping);
    const grant = () => found.grant ?? (found.stranger ? strangersGrant : ownersGrant);
    const runner = new Runner(
      open,
      grant,
      !found.stranger,
      () => {
        this.version++;
        rememberRunning(id, runner.busy);
      },
      (said, remedy) => this.trouble(said, remedy),
    );
    this.opened = { found, open, runner, keeper };
    if (wasCutOff(id)) {
      this.say(
        "The page was left while cells ran. What they had not come to the end of is as it was before; Run all begins anew.",
      );
    }
    this.reading = !id.startsWith("own-");
    this.selected = notebook.cells[0]?.id ?? "";
    document.title = `${open.title} · Précis`;
    this.version++;
  }

  private close() {
    this.opened?.keeper.close();
    this.opened?.runner.close();
    this.opened = null;
  }

  private say(said: string, remedies: Notice["remedies"] = []) {
    this.notice = { said, remedies, dismiss: () => this.notice = null };
  }

  private trouble(said: string, remedy?: "gpu") {
    const run = () => {
      sharedEngine().stop();
      this.notice = null;
    };
    this.say(said, remedy ? [{ label: "Start the GPU again", run }] : []);
  }

  private onDrag(event: DragEvent) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    const file = event.type === "drop" ? event.dataTransfer.files[0] : undefined;
    if (file) this.openFile(file);
  }

  private openFile(file: File) {
    const bytes = file.arrayBuffer().catch(() => {
      throw new Error(
        `${file.name} cannot be read: it is a folder, or has gone meanwhile. A notebook is one file, .ipynb.`,
      );
    });
    return this.take(async () => await openForeign(file.name, new Uint8Array(await bytes)), "");
  }

  private readonly onChoice = async ({ detail }: CustomEvent<OpenChoice>) => {
    if ("shipped" in detail) {
      const address = detail.shipped === firstShipped ? "" : `#shipped=${detail.shipped}`;
      await this.take(() => openShipped(detail.shipped), address);
    } else if ("kept" in detail) await this.take(() => this.mustBeKept(detail.kept), `#kept=${detail.kept}`);
    else if ("file" in detail) await this.openFile(detail.file);
    else {
      await forgetNotebook(detail.forget);
      await this.listNotebooks();
    }
  };

  private async listNotebooks(): Promise<OpenDialog> {
    const dialog = this.querySelector<OpenDialog>("open-dialog")!;
    dialog.trouble = "";
    const failed = (error: Error) => {
      dialog.trouble = error.message;
      return [];
    };
    [dialog.shipped, dialog.kept] = await Promise.all([
      shippedNotebooks().catch(failed),
      keptNotebooks().catch(() => failed(new Error("This browser keeps nothing for this page."))),
    ]);
    return dialog;
  }

  // ---- commands ----

  get at() {
    const cells = this.opened?.open.cells ?? [];
    const index = cells.findIndex(({ id }) => id === this.selected);
    return index < 0 ? null : { cell: cells[index], index };
  }

  get busy() {
    return this.opened?.runner.busy ?? false;
  }

  get fromShipped() {
    return this.opened?.found.shipped !== undefined;
  }

  private get mayRun() {
    const { found } = this.opened!;
    return !found.stranger || found.grant !== undefined;
  }

  private choose(id: string | undefined) {
    if (id === undefined) return;
    this.selected = id;
    this.editing = null;
    this.focusChosen = true;
    this.requestUpdate();
  }

  edit(id: string) {
    if (this.opened!.open.cell(id)?.cell_type === "raw") return;
    this.selected = this.editing = id;
  }

  run(id: string, how: "stay" | "next" | "insert") {
    const { open, runner } = this.opened!, index = open.index(id);
    if (isCode(open.cells[index])) {
      if (this.mayRun) runner.run([id]);
      else return this.askFirst();
    }
    if (how === "insert") return this.insert(index + 1, "code");
    const next = open.cells[how === "next" ? index + 1 : index];
    if (next) this.choose(next.id);
    else this.insert(index + 1, "code");
  }

  runAll() {
    if (this.mayRun) this.opened!.runner.runAll();
    else this.askFirst();
  }

  /** A stranger's notebook runs once the card is answered. */
  private askFirst() {
    const card = this.querySelector<HTMLElement>("stranger-card");
    card?.scrollIntoView({ block: "center" });
    card?.querySelector("button")?.focus();
  }

  interrupt() {
    this.opened?.runner.interrupt();
  }

  restart() {
    this.opened?.runner.restart();
  }

  insert(index: number, kind: CellKind) {
    const cell = this.opened!.open.insert(index, kind);
    if (kind === "code" && this.reading) this.turned.add(cell.id);
    this.edit(cell.id);
  }

  delete(id: string) {
    const { open } = this.opened!, at = open.index(id);
    open.remove(id);
    if (open.cells.length === 0) open.insert(0, "code");
    this.choose(open.cells[Math.min(at, open.cells.length - 1)].id);
    this.say("The cell was deleted; Z brings it back.", [{
      label: "Bring it back",
      run: () => this.restore(),
    }]);
  }

  restore() {
    const cell = this.opened?.open.restore();
    if (!cell) return this.say("No cell was deleted since the notebook was opened.");
    this.notice = null;
    this.choose(cell.id);
  }

  convert(id: string, kind: CellKind) {
    this.choose(id);
    this.opened!.open.convert(id, kind);
    if (kind === "code" && !this.isRevealed(id)) this.reveal(id);
  }

  move(id: string, by: -1 | 1) {
    this.choose(id);
    this.opened!.open.move(id, by);
  }

  step(by: -1 | 1) {
    const { cells } = this.opened!.open;
    this.choose(cells[Math.max(0, Math.min(cells.length - 1, this.at!.index + by))]?.id);
  }

  private isRevealed(id: string): boolean {
    return this.turned.has(id) === this.reading;
  }

  reveal(id: string) {
    if (!this.turned.delete(id)) this.turned.add(id);
    this.version++;
  }

  clear(id?: string) {
    this.opened!.open.clearOutputs(id);
  }

  turnReading() {
    this.reading = !this.reading;
    this.turned.clear();
  }

  async share(how: "ipynb" | "link" | "html") {
    const { open } = this.opened!;
    try {
      const sharing = await import("./sharing.ts");
      const said = await sharing.share(open.notebook, open.title, how);
      if (said) this.say(said);
    } catch (error) {
      this.say((error as Error).message);
    }
  }

  async openList() {
    (await this.listNotebooks()).show();
  }

  openNew() {
    return this.take(openNew, "");
  }

  async backToShipped() {
    const { found: { id, shipped }, keeper } = this.opened!;
    await keeper.settled();
    await forgetNotebook(id).catch(() => {});
    await this.take(() => freshShipped(shipped!));
  }

  showActions() {
    this.querySelector<ActionPalette>("action-palette")!.show();
  }

  showKeys() {
    this.querySelector<KeySheet>("key-sheet")!.show();
  }

  private onKey(event: KeyboardEvent) {
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const target = event.target as HTMLElement;
    const writing = target.closest("input, textarea, select, [contenteditable], .cm-editor") !== null;
    // A control that has the keyboard keeps the keys that are its own.
    const { key, shiftKey, ctrlKey, metaKey, altKey } = event;
    const plain = !shiftKey && !ctrlKey && !metaKey && !altKey;
    const own = key === "Enter" || key === " " || key.startsWith("Arrow");
    if (plain && own && target.closest("button, a, summary, token-strip, [role=slider]")) return;
    const found = this.keys.read(event, writing);
    if (!found) return;
    event.preventDefault();
    if (found !== "waiting") found.run();
  }

  private readonly onAct = (event: CustomEvent<CellAct>) => {
    const { open, runner } = this.opened!;
    const { id } = (event.target as NotebookCell).cell, index = open.index(id);
    const { detail } = event;
    switch (detail.act) {
      case "select":
        this.selected = id;
        if (this.editing !== id) this.editing = null;
        return;
      case "source":
        return open.edit(id, detail.source);
      case "edit":
        return this.edit(id);
      case "leave":
        return this.choose(id);
      case "trouble":
        return this.say(detail.said);
      case "run":
        return this.run(id, "stay");
      case "ran":
        return this.run(id, detail.how);
      case "reveal":
        return this.reveal(id);
      case "beyond": {
        const next = open.cells[index + detail.direction];
        return next && this.edit(next.id);
      }
      case "move":
        return this.move(id, detail.by);
      case "insert":
        return this.insert(index + 1, "code");
      case "convert":
        return this.convert(id, isCode(open.cells[index]) ? "markdown" : "code");
      case "delete":
        return this.delete(id);
      case "accept":
        return runner.accept(id);
    }
  };

  private readonly onAllowed = ({ detail }: CustomEvent<Grant>) => {
    this.opened!.found.grant = detail;
    this.version++;
  };

  // ---- rendering ----

  override updated() {
    if (!this.focusChosen) return;
    this.focusChosen = false;
    const cell = this.querySelector<NotebookCell>(`notebook-cell[data-id="${this.selected}"]`);
    cell?.updateComplete.then(() => {
      cell.focus({ preventScroll: true });
      cell.scrollIntoView({ block: "nearest" });
    });
  }

  override render() {
    const { opened, keeping, reading, menu, actions } = this;
    const kept = opened && (keeping.state !== "kept" || opened.keeper.began) ? keeping : null;
    const standing = opened?.runner.standing() ?? null;
    const go = (id: string) => this.choose(id);
    return html`
      ${barView(this, { standing, keeping: kept, reading, menu, turnMenu: (open) => this.menu = open, go })}
      ${noticesView(this.notices())}
      ${opened ? this.body(opened) : html`
        <main class="empty">
          <p class="hint">${this.loading
            ? "Opening the notebook …"
            : "No notebook is open. “Open” lists those that ship with the lab, and yours; “New” begins one."}</p>
        </main>
      `}
      <action-palette .actions=${actions}></action-palette>
      <key-sheet .actions=${actions}></key-sheet>
      <open-dialog @open-notebook=${this.onChoice}></open-dialog>
    `;
  }

  private notices(): Notice[] {
    const { keeping, notice, opened } = this;
    const save = { label: "Save as a file", run: () => this.share("ipynb") };
    const notices: Notice[] = [];
    if (!("gpu" in navigator)) notices.push({ said: noGpu });
    if (this.offline) {
      notices.push({
        said:
          "There is no network. What is loaded goes on working, and changes are kept; models that are not loaded yet cannot be fetched.",
      });
    }
    if (keeping.state === "lost") {
      notices.push({
        said: `${keeping.why}: what you changed is in this tab alone. ${keeping.remedy}`,
        remedies: [save],
      });
    } else if (keeping.state === "elsewhere") {
      notices.push({
        said:
          "Another tab has changed this notebook. What you change here is not kept until you decide which of the two goes on.",
        remedies: [
          { label: "Take the other tab’s", run: () => this.take(() => this.mustBeKept(opened!.found.id)) },
          { label: "Keep this one", run: () => opened!.keeper.overrule() },
          save,
        ],
      });
    }
    return notice ? [...notices, notice] : notices;
  }

  private body({ open, runner, found }: Opened) {
    const context = (cell: string): OutputContext => ({
      cell,
      model: askedModel,
      annotate: (index, metadata) => open.annotate(cell, index, metadata),
      turn: (values) => runner.turn(cell, values),
    });
    const go = (id: string) => {
      this.choose(id);
      this.querySelector(`notebook-cell[data-id="${id}"]`)?.scrollIntoView({ block: "start" });
    };
    return html`<div class="notebook ${this.reading ? "reading" : "working"}">
      ${outlineView(open.cells, this.selected, go)}
      <main aria-label=${open.title} @cell-does=${this.onAct}>
        ${
      found.stranger && !found.grant
        ? html`<stranger-card .notebook=${open.notebook} @allowed=${this.onAllowed}></stranger-card>`
        : nothing
    }
        ${
      repeat(open.cells, ({ id }) => id, (cell, i) =>
        html`
          <notebook-cell data-id=${cell.id} .cell=${cell} .version=${this.version} .position=${i + 1}
            .state=${runner.state(cell.id)} .selected=${cell.id === this.selected}
            .editing=${cell.id === this.editing} .open=${this.isRevealed(cell.id)} .context=${context(
              cell.id,
            )}
            .names=${() => runner.namesBefore(cell.id)}></notebook-cell>
        `)
    }
        <div class="add">
          <button type="button" class="quiet" @click=${() =>
      this.insert(open.cells.length, "code")}>+ Code</button>
          <button type="button" class="quiet" @click=${() =>
      this.insert(open.cells.length, "markdown")}>+ Text</button>
        </div>
      </main>
    </div>`;
  }
}

customElements.define("notebook-page", NotebookPage);

Object.assign(globalThis, {
  /** For the console: `(await openLab()).writing.rateIds("base", [1, 2, 3])`. */
  openLab: () => sharedEngine().lab,
});
