/**
 * The inspector: a model's tensors in a list, and in panes what there is to see of them. What is on show stands in the page's address.
 */
import { proxy } from "comlink";
import { html, LitElement, nothing, type PropertyValues } from "lit";
import type { Example } from "../../demo/example.ts";
import {
  type Capture,
  type InspectedModel,
  type InspectedText,
  type TensorEntry,
  usualPatterns,
} from "../../inspect/types.ts";
import { type Engine, EngineLost, startEngine } from "../engine.ts";
import "../nav.ts";
import { duration, size } from "../numbers.ts";
import "./alternatives_view.ts";
import { type Address, type Pane, panes, type Prompt, readAddress, writeAddress } from "./address.ts";
import "./attention_view.ts";
import { modelChooser, otherChooser } from "./choosers.ts";
import "./compare_view.ts";
import "./flow_view.ts";
import { footer } from "./footer.ts";
import { helpDialog, pageKeys } from "./keys.ts";
import "./kernel_view.ts";
import "./lens_view.ts";
import { type Checkpoint, checkpointsOf, modelName, offeredPlaces, runOfPlace } from "./places.ts";
import { extras } from "./prompt_form.ts";
import { findPublished } from "./published.ts";
import { type Inspector, inspectorOf } from "./service.ts";
import { noWebGpu, strayNotice, troubleNotice } from "./notices.ts";
import { type TensorTree } from "./tensor_tree.ts";
import "./tensor_tree.ts";
import type { TensorView } from "./tensor_view.ts";
import "./tensor_view.ts";
import { usualTensorView } from "./tensor_view_state.ts";
import { waysTo } from "./ways.ts";

/** Models up to so many parameters are run through a text without being asked to, gradients and all. */
const small = 2e7;

const noPrompt: Prompt = {
  kind: "text",
  text: "",
  post: { subreddit: "", title: "", post: "" },
  summary: "",
};

export class InspectPage extends LitElement {
  static override properties = {
    address: { state: true },
    prompt: { state: true },
    opened: { state: true },
    entries: { state: true },
    vocabulary: { state: true },
    capture: { state: true },
    captured: { state: true },
    busy: { state: true },
    status: { state: true },
    trouble: { state: true },
    offered: { state: true },
    checkpoints: { state: true },
    listed: { state: true },
  };
  declare private address: Address;
  declare private prompt: Prompt;
  declare private opened: InspectedModel | null;
  declare private entries: readonly TensorEntry[];
  declare private vocabulary: readonly string[];
  declare private capture: Capture | null;
  /** What the capture was made of, to tell when that has changed. */
  declare private captured: string;
  /** What a run is doing; empty for none. */
  declare private busy: string;
  /** What opening the model is doing. */
  declare private status: string;
  declare private trouble: { said: string; lost: boolean } | null;
  /** Places that can be opened, found out once. */
  declare private offered: readonly string[];
  /** Of the run that the model is of, the newest of each stage first. */
  declare private checkpoints: readonly Checkpoint[];
  /** The list of tensors is shown, where there is no room for it beside the panes. */
  declare private listed: boolean;
  private engine: Engine | null = null;
  private service: Inspector | null = null;
  private lookedUp: Promise<void> = Promise.resolve();

  constructor() {
    super();
    this.address = readAddress(location.search);
    this.prompt = this.address.prompt ?? noPrompt;
    this.opened = null;
    this.entries = [];
    this.vocabulary = [];
    this.capture = null;
    this.captured = "";
    this.busy = this.status = "";
    this.trouble = null;
    this.offered = [];
    this.checkpoints = [];
    this.listed = false;
  }

  /** The style sheet is the document's: this element is the whole page. */
  override createRenderRoot() {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.replaceChildren();
    addEventListener("popstate", this.onPop);
    document.addEventListener("keydown", this.onKey);
    this.lookedUp = this.shippedPrompt();
    const engine = "gpu" in navigator ? this.running().engine : null;
    offeredPlaces(engine).then((offered) => this.offered = offered);
    if (engine) this.open();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    removeEventListener("popstate", this.onPop);
    document.removeEventListener("keydown", this.onKey);
    this.stop();
  }

  /** Where no text is asked for, it is the demo's post with its summary. */
  private async shippedPrompt(): Promise<void> {
    if (this.address.prompt) return;
    try {
      const answer = await fetch(new URL("demo/example.json", document.baseURI));
      const { post, reference }: Example = await answer.json();
      if (!this.address.prompt) this.prompt = { kind: "summary", post, summary: reference, text: "" };
    } catch {
      // Then the text is empty, and the form says that it is to be written.
    }
  }

  private readonly onPop = () => {
    const before = this.address;
    this.address = readAddress(location.search);
    if (this.address.prompt) this.prompt = this.address.prompt;
    if (this.address.model !== before.model) this.open();
    else if (this.needsRun()) this.run();
  };

  private readonly onKey = (event: KeyboardEvent) => this.keys(event);

  private go(change: Partial<Address>, { step = false } = {}): void {
    this.address = { ...this.address, ...change };
    const url = location.pathname + writeAddress(this.address);
    // Another pane, model or tensor can be gone back from; a moved map cannot.
    if (step) history.pushState(null, "", url);
    else history.replaceState(null, "", url);
  }

  // ---- the engine ----

  private running(): { engine: Engine; service: Inspector } {
    if (!this.engine || !this.service) {
      const engine = this.engine = startEngine();
      this.service = inspectorOf(engine);
      engine.lost.catch((error) => this.engine === engine && this.say(error));
    }
    return { engine: this.engine, service: this.service };
  }

  private stop(): void {
    this.engine?.stop();
    this.engine = this.service = null;
    this.opened = this.capture = null;
    this.entries = [];
    this.captured = "";
  }

  private say(error: Error): void {
    const lost = error instanceof EngineLost;
    this.trouble = { said: error.message, lost };
    this.busy = this.status = "";
  }

  private async open(): Promise<void> {
    const { model } = this.address;
    const { service } = this.running();
    const still = () => this.address.model === model && this.service === service;
    this.trouble = null;
    this.opened = this.capture = null;
    this.entries = [];
    this.vocabulary = [];
    this.captured = "";
    this.status = `Opening ${model}`;
    this.lookForCheckpoints(model);
    const received = proxy((bytes: number) => still() && (this.status = `Opening ${model}: ${size(bytes)}`));
    try {
      const opened = await service.open(model, received);
      if (!still()) return;
      this.opened = opened;
      this.entries = await service.tensors(model);
      if (!still()) return;
      this.status = "";
      service.vocabulary(model).then((texts) => still() && (this.vocabulary = texts));
      await this.lookedUp;
      if (this.needsRun()) this.run();
    } catch (error) {
      if (still()) this.say(error as Error);
    }
  }

  private async lookForCheckpoints(model: string): Promise<void> {
    const run = runOfPlace(model);
    if (!run) this.checkpoints = [];
    if (!run || this.checkpoints.some(({ place }) => runOfPlace(place) === run)) return;
    const found = await checkpointsOf(run);
    if (this.address.model === model) this.checkpoints = found;
  }

  /** Whether what is on show is of a text that has not been run, and running it is a matter of moments or was asked for. */
  private needsRun(): boolean {
    const { pane, tensor, prompt } = this.address;
    const ofRun = tensor.startsWith("run/") || ["attention", "lens", "flow", "kernels"].includes(pane);
    return ofRun && !this.capture && this.busy === "" && this.opened !== null && this.runs() &&
      (prompt !== undefined || this.opened.parameters < small);
  }

  private get text(): InspectedText {
    const { kind, text, post, summary } = this.prompt;
    return kind === "text" ? { kind: "text", text } : { kind: "summary", post, summary };
  }

  /** What is kept: what was chosen; of small models, where nothing was, what all panes need. */
  private get keep(): readonly string[] {
    if (this.address.keep.length > 0) return this.address.keep;
    return this.opened && this.opened.parameters < small ? ["gradients", "dispatches"] : [];
  }

  /** Tokens that the model writes first. */
  private get write(): number {
    return this.speaks() ? this.address.write : 0;
  }

  private get identity(): string {
    return JSON.stringify([this.address.model, this.text, this.keep, this.write]);
  }

  private async run(): Promise<void> {
    const { service } = this.running();
    const { opened, text, keep, write, identity } = this;
    if (!opened || !this.runs() || this.busy) return;
    const start = performance.now();
    const tick = () => this.busy = `Running the text, ${duration(performance.now() - start)}`;
    tick();
    const ticking = setInterval(tick, 200);
    this.trouble = null;
    const before = this.capture;
    const flags = extras.slice(0, 3).map(({ pattern }) => pattern as string);
    try {
      const capture = await service.capture({
        place: opened.place,
        text,
        patterns: [...usualPatterns, ...keep.filter((pattern) => !flags.includes(pattern))],
        gradients: keep.includes("gradients"),
        dispatches: keep.includes("dispatches"),
        cache: keep.includes("cache"),
        write,
      });
      if (this.opened !== opened) return;
      this.capture = capture;
      this.captured = identity;
      if (before) await service.release(before.id);
    } catch (error) {
      if (this.opened === opened) this.say(error as Error);
    } finally {
      clearInterval(ticking);
      this.busy = "";
    }
  }

  // ---- what is on show ----

  override updated(changed: PropertyValues): void {
    if (changed.has("address") || changed.has("entries")) this.nameAsOurs();
    if (changed.has("address")) {
      this.querySelector('[role="tab"][aria-selected="true"]')?.scrollIntoView({
        block: "nearest",
        inline: "nearest",
      });
    }
  }

  private get all(): TensorEntry[] {
    return [...this.entries, ...this.capture?.tensors ?? []];
  }

  private get entry(): TensorEntry | null {
    const { tensor } = this.address;
    const id = tensor.startsWith("run/")
      ? `${this.capture?.id}#${tensor.slice(4)}`
      : `${this.address.model}#${tensor}`;
    return this.all.find((entry) => entry.id === id) ?? null;
  }

  /** The address may call a tensor by its published name; the list has ours. */
  private nameAsOurs(): void {
    const { tensor, view } = this.address;
    const found = this.entry ? null : findPublished(this.entries, tensor);
    if (found) this.go({ tensor: found.tensor, view: { ...view, rect: view.rect ?? found.rect } });
  }

  private choose(entry: TensorEntry): void {
    const [owner, name] = splitId(entry.id);
    const tensor = owner === this.capture?.id ? `run/${name}` : name;
    // What belongs to the old tensor goes; how cells are drawn stays.
    const { aggregate, scale, fixed, order } = this.address.view;
    const pane = this.address.pane === "kernels" ? "kernels" : "tensor";
    this.listed = false;
    this.go({ tensor, pane, view: { ...usualTensorView, aggregate, scale, fixed, order } }, { step: true });
  }

  /** Goes to a value of a weight, near enough to read it. */
  private async showValue(name: string, row: number, column: number): Promise<void> {
    const entry = this.entries.find((one) => one.role === "weight" && one.name === name);
    if (!entry) return;
    this.choose(entry);
    await this.updateComplete;
    const view = this.querySelector<TensorView>("tensor-view");
    await view?.updateComplete;
    view?.showElement(row, column);
  }

  private turnTo(pane: Pane): void {
    this.go({ pane }, { step: true });
    if (this.needsRun()) this.run();
  }

  private turnModel(model: string): void {
    if (!model || model === this.address.model) return;
    this.go({ model, view: { ...this.address.view, rect: undefined, pins: [], only: undefined } }, {
      step: true,
    });
    this.open();
  }

  private readonly keys = pageKeys({
    search: () => {
      this.listed = true;
      this.updateComplete.then(() => this.querySelector<TensorTree>("tensor-tree")?.search());
    },
    pane: (pane) => this.turnTo(pane),
    layer: (by) => this.step("layer", by),
    head: (by) => this.step("head", by),
    run: () => this.run(),
    model: () => this.querySelector<HTMLElement>(".models button")?.focus(),
    help: () => this.querySelector("dialog")?.showModal(),
  });

  /** The next layer or head: of the attention map, and of the tensor on show where it belongs to a layer. */
  private step(what: "layer" | "head", by: number): void {
    const { opened, entry, address } = this;
    if (!opened) return;
    const most = what === "layer" ? opened.config.layers : opened.config.queryHeads;
    if (address.pane !== "tensor" || what === "head") {
      this.go({ [what]: Math.min(most - 1, Math.max(0, address[what] + by)) });
      return;
    }
    if (entry?.layer === undefined) return;
    const name = entry.name.replace(/layers\.\d+\./, `layers.${entry.layer + by}.`);
    const next = this.all.find((one) => one.role === entry.role && one.name === name);
    if (next) this.go({ tensor: address.tensor.replace(entry.name, name), layer: next.layer! });
  }

  // ---- rendering ----

  override render() {
    if (!("gpu" in navigator)) {
      return noWebGpu();
    }
    const { address, entry, opened } = this;
    return html`
      ${troubleNotice(this.trouble, (lost) => {
        if (lost) this.stop();
        this.open();
      })}
      ${opened
        ? strayNotice(opened.place, opened.strays, (name, row, column) => this.showValue(name, row, column))
        : nothing}
      <div class="bench ${this.listed ? "listed" : ""}">
        <aside aria-label="Model and tensors">
          ${modelChooser(
            this.address.model,
            this.offered,
            this.checkpoints,
            (model) => this.turnModel(model),
          )}
          <button type="button" class="lister" aria-expanded=${this.listed} @click=${() =>
            this.listed = !this.listed}>${this.listed
            ? "▾ Hide the tensors"
            : `▸ ${this.all.length} tensors`}</button>
          <tensor-tree .entries=${this.all} .ways=${this.ways()}
            .strays=${opened?.strays ?? []} chosen=${entry?.id ?? ""}
            @choose=${({ detail }: CustomEvent<TensorEntry>) => this.choose(detail)}></tensor-tree>
        </aside>
        <main>
          <h1 class="unseen">Inspect ${modelName(address.model)}</h1>
          <div class="tabs" role="tablist" aria-label="Views">${panes.map(({ name, label }) =>
            html`
              <button type="button" role="tab" id="tab-${name}" aria-selected=${name === address.pane}
                aria-controls="pane" tabindex=${name === address.pane ? 0 : -1} @keydown=${this.onTabKey}
                @click=${() => this.turnTo(name)}>${label}</button>
            `
          )}</div>
          ${address.pane === "tensor" && !address.tensor.startsWith("run/") && !this.capture
            ? nothing
            : this.form()}
          <div id="pane" role="tabpanel" aria-labelledby="tab-${address.pane}">${opened
            ? this.pane()
            : this.waiting()}</div>
        </main>
      </div>
      ${footer(this.opened)}
      ${helpDialog()}
    `;
  }

  private waiting() {
    return html`<p class="hint">${this.trouble ? "Nothing is open." : `${this.status || "Starting"} …`}</p>`;
  }

  /** To what the list of tensors does not have. */
  private ways() {
    const { opened, all, checkpoints } = this;
    if (!opened) return [];
    return waysTo({
      entries: all,
      checkpoints,
      runs: this.runs(),
      speaks: this.speaks(),
      open: (place) => this.turnModel(place),
      keep: async (patterns, role, write = this.address.write) => {
        this.go({ keep: [...new Set([...this.keep, ...patterns])], write });
        await this.run();
        const first = this.capture?.tensors.find((entry) => entry.role === role);
        if (first) this.choose(first);
      },
    });
  }

  private onTabKey(event: KeyboardEvent): void {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const at = panes.findIndex(({ name }) => name === this.address.pane);
    const { name } = panes[(at + step + panes.length) % panes.length];
    this.turnTo(name);
    this.updateComplete.then(() => this.querySelector<HTMLElement>(`#tab-${name}`)?.focus());
  }

  private form() {
    return html`
      <prompt-form .prompt=${this.prompt} .keep=${this.keep} .write=${this.speaks()
        ? this.address.write
        : -1} .capture=${this.capture}
        .stale=${this.captured !== this.identity} .busy=${this.busy} .disabled=${!this.runs()}
        @prompt=${({ detail }: CustomEvent<Prompt>) => {
          this.prompt = detail;
          this.go({ prompt: detail });
        }}
        @keep=${({ detail }: CustomEvent<string[]>) => this.go({ keep: detail })}
        @write=${({ detail }: CustomEvent<number>) => this.go({ write: detail })}
        @run=${() => this.run()}></prompt-form>
    `;
  }

  private pane() {
    const { address, service, capture, opened } = this;
    const position = ({ detail }: CustomEvent<number | undefined>) => this.go({ position: detail });
    switch (address.pane) {
      case "tensor":
        return this.tensorPane();
      case "attention":
        return html`
          <attention-view .service=${service} .capture=${capture} .layer=${address.layer} .head=${address
            .head}
            .scale=${address.scale} .sink=${address.sink} .position=${address.position}
            @attention-change=${({ detail }: CustomEvent<Partial<Address>>) =>
              this.go(detail)}></attention-view>
        `;
      case "lens":
        return html`
          <lens-view .service=${service} .capture=${this.speaks() ? capture : null}
            .position=${address.position}></lens-view>${this.mute()}
        `;
      case "tokens":
        return this.speaks()
          ? html`
            <div class="other">${this.otherModel()}</div>
            <alternatives-view .service=${service}
              .places=${[opened!.place, ...(address.other ? [address.other] : [])]} .text=${this
                .settled()}
              .position=${address.position} .from=${capture?.response ??
                1} @position=${position}></alternatives-view>
          `
          : this.mute();
      case "flow":
        return html`<flow-view .service=${service} .capture=${capture} .text=${this.settled()}></flow-view>`;
      case "kernels":
        return html`<kernel-view .service=${service} .capture=${capture} .tensor=${
          this.entry?.name ?? ""
        }></kernel-view>`;
      case "compare":
        return html`
          <div class="other">${this.otherModel()}</div>
          <compare-view .service=${service} .vocabulary=${this.vocabulary} .a=${opened!.place}
            .b=${address.other} .text=${this.settled()}
            .tensor=${address.tensor.startsWith("weights/") ? address.tensor.slice("weights/".length) : ""}
            @tensor=${({ detail }: CustomEvent<string>) =>
              this.go({ tensor: `weights/${detail}` })}></compare-view>
        `;
    }
  }

  /** The text, once it is one: what is being typed is not run at every letter, but with the capture, or as the page came. */
  private settled(): InspectedText | null {
    if (this.captured) return JSON.parse(this.captured)[1];
    const text = this.text;
    return (text.kind === "text" ? text.text : text.kind === "summary" ? text.post.post : "").length < 2
      ? null
      : text;
  }

  /** Whether a text can be run through the model. */
  private runs(): boolean {
    return this.opened !== null && this.opened.strays.length === 0;
  }

  private speaks(): boolean {
    return this.opened?.config.head !== "score";
  }

  private mute() {
    return this.speaks()
      ? nothing
      : html`<p class="hint">${
        this.opened!.place
      } is a reward model: it has a score in place of next tokens. Choose a
      language model for this view.</p>`;
  }

  private otherModel(label?: string) {
    const { model, other } = this.address;
    return otherChooser(model, other, this.offered, (other) => this.go({ other }), label);
  }

  private tensorPane() {
    const { entry, address, service } = this;
    if (!entry && this.busy) return html`<p class="hint">${this.busy} …</p>`;
    if (!entry && address.tensor.startsWith("run/")) {
      return html`<p class="hint">“${
        address.tensor.slice(4)
      }” is kept of a run once the text above is run, where its name is among those to be
        kept.</p>`;
    }
    if (!entry) {
      return html`<p class="hint">${address.model} has no tensor “${address.tensor}”; choose one from the list.</p>`;
    }
    const published = entry.published.map(({ name, row, rows }) =>
      entry.published.length > 1 ? `${name} (rows ${row}–${row + rows - 1})` : name
    );
    // What was captured of a text has no other of its kind.
    const than = address.tensor.startsWith("run/")
      ? undefined
      : address.other && `${address.other}#${address.tensor}`;
    return html`
      <div class="title">
        <h2>${entry.name}</h2>
        <p>${entry.role}, ${entry.shape.join(" × ")} ${entry.dtype}, ${size(
          entry.bytes,
        )}${published.length > 0 ? html`; published as ${published.join(", ")}` : nothing}</p>
      </div>
      ${address.view.order?.by === "change" && than !== undefined
        ? html`
          <div class="other">${this.otherModel("Rows by their change from")}</div>
        `
        : nothing}
      <tensor-view .source=${service} .entry=${entry} .orderedBy=${{ than }} .vocabulary=${this
        .vocabulary}
        .tokens=${this.capture?.tokens ?? []}
        @trouble=${(event: CustomEvent<Error>) =>
          event.detail instanceof EngineLost && event.preventDefault()}
        .view=${address.view} @view-change=${({ detail }: CustomEvent<Address["view"]>) =>
          this.go({ view: detail })}></tensor-view>
    `;
  }
}

function splitId(id: string): [owner: string, name: string] {
  const at = id.indexOf("#");
  return [id.slice(0, at), id.slice(at + 1)];
}

customElements.define("inspect-page", InspectPage);
