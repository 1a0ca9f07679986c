/**
 * The page: a post, the summary that a model writes of it, and a summary of one's own that the model rates. It opens on what was computed
 * ahead of time; the GPU starts when something is to be computed.
 */
import { proxy } from "comlink";
import { html, LitElement, nothing } from "lit";
import type { Example } from "../demo/example.ts";
import type { Post } from "../query.ts";
import type { Drawing, ShownToken, Written } from "../summarise.ts";
import { keepDraft, readDraft } from "./drafts.ts";
import { type Engine, EngineLost, startEngine } from "./engine.ts";
import { count, duration, size } from "./numbers.ts";
import "./token_strip.ts";
import type { Opened, Timed } from "../writing_service.ts";

/** A result on show. */
interface Shown {
  written: Pick<Written, "text" | "tokens"> & Partial<Written>;
  /** What it was computed from, to tell when that has changed. */
  of: string;
  /** Who computed it, when, and how long it took. */
  source: string;
}

type Panel = "summary" | "rating";

/** The model folder: the demo's, or the one that `?model=` names. */
const shippedModel = "base";
const asked = new URLSearchParams(location.search).get("model");
const model = asked ? new URL(asked, document.baseURI).href : shippedModel;

export class PrecisPage extends LitElement {
  static override properties = {
    example: { state: true },
    post: { state: true },
    own: { state: true },
    drawing: { state: true },
    shown: { state: true },
    busy: { state: true },
    status: { state: true },
    trouble: { state: true },
    opened: { state: true },
  };
  declare private example: Example | null;
  declare private post: Post;
  /** The summary that is to be rated. */
  declare private own: string;
  declare private drawing: Drawing;
  declare private shown: Partial<Record<Panel, Shown>>;
  declare private busy: Panel | null;
  declare private status: string;
  /** What went wrong, and what the button beside it does about it. */
  declare private trouble: { said: string; remedy?: { label: string; run: () => void } } | null;
  declare private opened: Opened | null;
  private engine: Engine | null = null;

  constructor() {
    super();
    this.example = null;
    this.post = { subreddit: "", title: "", post: "" };
    this.own = "";
    this.drawing = { temperature: 0, seed: 1 };
    this.shown = {};
    this.busy = null;
    this.status = "";
    this.trouble = null;
    this.opened = null;
  }

  /** The style sheet is the document's: this element is the whole page. */
  override createRenderRoot() {
    return this;
  }

  override async connectedCallback() {
    super.connectedCallback();
    this.replaceChildren();
    const draft = readDraft().catch(() => undefined); // some private windows keep nothing
    try {
      const answer = await fetch(new URL("demo/example.json", document.baseURI));
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      this.take(await answer.json());
    } catch (error) {
      this.trouble = {
        said: `The result that ships with the page cannot be read (${(error as Error).message}).`,
      };
    }
    const kept = await draft;
    if (kept) this.post = kept;
  }

  /** Shows the shipped post and, unless another model is asked for, what was computed of it. */
  private take(example: Example) {
    this.example = example;
    this.post = example.post;
    this.own = example.reference;
    if (model !== shippedModel) return;
    const source = `Computed ahead of time on ${example.adapter}; it ships with the page.`;
    this.shown = {
      summary: { written: example.summary, of: this.identity("summary"), source },
      rating: { written: example.rated, of: this.identity("rating"), source },
    };
  }

  /** What the panel's result depends on. */
  private identity(panel: Panel): string {
    const { subreddit, title, post } = this.post;
    const { temperature, seed } = this.drawing;
    const how = panel === "rating" ? [this.own.trim()] : temperature === 0 ? [0] : [temperature, seed];
    return JSON.stringify([subreddit, title, post, ...how]);
  }

  // ---- computing ----

  private running(): Engine {
    if (!this.engine) {
      const engine = this.engine = startEngine();
      engine.lost.catch((error) => this.engine === engine && this.say(error));
    }
    return this.engine;
  }

  /** What the page itself speaks to; see the end of this file. */
  async openLab() {
    const engine = this.running();
    const received = proxy((bytes: number) => this.status = `Fetching the model: ${size(bytes)}`);
    this.opened ??= await engine.unlessLost(engine.lab.writing.open(model, received));
    return engine.lab;
  }

  private async compute(panel: Panel) {
    if (this.busy) return;
    this.busy = panel;
    this.trouble = null;
    this.status = "Opening the GPU";
    const of = this.identity(panel), post = { ...this.post }, before = this.shown;
    const first = !this.opened;
    let listening = true;
    try {
      const lab = await this.openLab();
      const engine = this.running();
      this.status = first ? "Compiling the kernels" : "Reading the post";
      const tokens: ShownToken[] = [];
      const onToken = (token: ShownToken) => {
        if (!listening) return; // the last words of a worker that is lost
        tokens.push(token);
        this.status = `${tokens.length} tokens`;
        const text = tokens.map(({ text }) => text).join("").replace("<|endoftext|>", "").trim();
        this.show("summary", { written: { text, tokens: [...tokens] }, of, source: "" });
      };
      const written = await engine.unlessLost(
        panel === "summary"
          ? lab.writing.summarise(model, post, { ...this.drawing }, proxy(onToken))
          : lab.writing.rate(model, post, this.own),
      );
      this.show(panel, { written, of, source: this.sourceOf(written, panel) });
    } catch (error) {
      this.shown = before;
      this.say(error as Error);
    } finally {
      listening = false;
      this.busy = null;
      this.status = "";
    }
  }

  private show(panel: Panel, shown: Shown) {
    this.shown = { ...this.shown, [panel]: shown };
  }

  private sourceOf({ tokens, milliseconds, queryTokens, charactersCut }: Timed, panel: Panel): string {
    const { adapter, software } = this.opened!.facts;
    const rate = panel === "summary" ? `, ${(tokens.length / milliseconds * 1000).toFixed(1)} tokens/s` : "";
    const how = panel === "rating"
      ? ""
      : this.drawing.temperature === 0
      ? " greedy,"
      : ` temperature ${this.drawing.temperature}, seed ${this.drawing.seed},`;
    const cut = charactersCut > 0
      ? ` The last ${charactersCut} characters of the post did not fit and were not read.`
      : "";
    return `Computed here on ${adapter}${software ? " (software)" : ""} in ${
      duration(milliseconds)
    }:${how} ` +
      `${queryTokens} tokens read, ${tokens.length} ${
        panel === "summary" ? "written" : "rated"
      }${rate}.${cut}`;
  }

  private say(error: Error) {
    if (error instanceof EngineLost) {
      const run = () => {
        this.stop();
        this.trouble = null;
      };
      const remedy = { label: "Start the GPU again", run };
      this.trouble = { said: `${error.message} What is on show was computed before.`, remedy };
    } else this.trouble = { said: error.message };
  }

  /** Lets go of the worker; the next computation starts another. */
  private stop() {
    this.engine?.stop();
    this.engine = null;
    this.opened = null;
  }

  override disconnectedCallback() {
    super.disconnectedCallback();
    this.stop();
  }

  // ---- editing ----

  private edit(change: Partial<Post>) {
    this.post = { subreddit: this.post.subreddit, title: this.post.title, post: this.post.post, ...change };
    keepDraft(this.isShipped() ? null : this.post).catch(() => {});
  }

  private isShipped(): boolean {
    const shipped = this.example?.post;
    return !shipped ||
      (["subreddit", "title", "post"] as const).every((field) => shipped[field] === this.post[field]);
  }

  private reset() {
    keepDraft(null).catch(() => {});
    if (this.example) this.take(this.example);
  }

  private onKey(event: KeyboardEvent, panel: Panel) {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    this.compute(panel);
  }

  // ---- rendering ----

  override render() {
    return html`
      ${this.notice()}
      <main>
        ${this.postForm()}
        <div class="results">
          ${this.panel(
            "summary",
            `Its summary, by ${model === shippedModel ? "the demo’s base model" : asked}`,
          )}
          ${this.ownForm()}
        </div>
      </main>
      ${this.footer()}
    `;
  }

  private notice() {
    if (!("gpu" in navigator)) {
      return html`
        <p
          class="notice">This browser has no WebGPU, so nothing new can be computed here; what is on show was computed ahead of
                time. Chrome and Edge have it, Safari from 26 on, and Firefox on Windows and on Macs with Apple chips. It also needs a secure address: https, or localhost.</p>
      `;
    }
    if (!this.trouble) return nothing;
    const { said, remedy } = this.trouble;
    return html`<div class="notice" role="alert"><p>${said}</p>${
      remedy ? html`<button type="button" @click=${remedy.run}>${remedy.label}</button>` : nothing
    }</div>`;
  }

  private postForm() {
    const { subreddit, title, post } = this.post;
    const value = (event: Event) => (event.target as HTMLInputElement).value;
    const cannot = this.busy !== null || !("gpu" in navigator) || post.trim() === "";
    return html`
      <form class="post" @submit=${(event: Event) => {
        event.preventDefault();
        this.compute("summary");
      }}
        @keydown=${(event: KeyboardEvent) => this.onKey(event, "summary")}>
        <h2>The post</h2>
        <div class="row">
          <label
            class="subreddit">Subreddit<span><b>r/</b><input autocomplete="off" spellcheck="false" .value=${subreddit}
            @input=${(event: Event) => this.edit({ subreddit: value(event) })}></span></label>
          <label class="title">Title<input autocomplete="off" .value=${title}
            @input=${(event: Event) => this.edit({ title: value(event) })}></label>
        </div>
        <label>Post<textarea rows="8" .value=${post}
          @input=${(event: Event) => this.edit({ post: value(event) })}></textarea></label>
        <div class="row">
          <label class="number">Temperature<input type="number" min="0" max="5" step="0.1" .value=${String(
            this.drawing.temperature,
          )}
            @change=${(event: Event) => this.draw(event, { temperature: Number(value(event)) })}></label>
          <label class="number">Seed<input type="number" min="0" max="4294967295" step="1" .value=${String(
            this.drawing.seed,
          )}
            ?disabled=${this.drawing.temperature === 0}
            @change=${(event: Event) => this.draw(event, { seed: Number(value(event)) })}></label>
          <p class="hint">${this.drawing.temperature === 0
            ? "Greedy: always the likeliest token."
            : "Drawn: the same seed draws the same summary."}</p>
        </div>
        <div class="row actions">
          <button class="primary" ?disabled=${cannot}>Summarise</button>
          <button type="button" ?hidden=${this.isShipped()} @click=${this
            .reset}>Back to the shipped post</button>
          <p class="hint keys"><kbd>Ctrl</kbd> <kbd>Enter</kbd></p>
        </div>
      </form>
    `;
  }

  private draw(event: Event, change: Partial<Drawing>) {
    const input = event.target as HTMLInputElement;
    if (input.value !== "" && input.reportValidity()) this.drawing = { ...this.drawing, ...change };
  }

  private ownForm() {
    const cannot = this.busy !== null || !("gpu" in navigator) || this.own.trim() === "" ||
      this.post.post.trim() === "";
    return html`
      <section class="own">
        <h2>A summary of your own, rated by the same model</h2>
        <form class="row" @submit=${(event: Event) => {
          event.preventDefault();
          this.compute("rating");
        }}>
          <input aria-label="Your summary" autocomplete="off" .value=${this.own}
            @input=${(event: Event) => this.own = (event.target as HTMLInputElement).value}>
          <button ?disabled=${cannot}>Rate</button>
        </form>
        ${this.result("rating")}
      </section>
    `;
  }

  private panel(name: Panel, title: string) {
    const written = this.shown[name]?.written;
    return html`
      <section class=${name}>
        <h2>${title}</h2>
        <p class="text">${written?.text ??
          (this.busy === name
            ? ""
            : html`<span class="hint">Nothing yet: “Summarise” writes one.</span>`)}</p>
        ${this.result(name)}
      </section>
    `;
  }

  private result(name: Panel) {
    const shown = this.shown[name];
    const stale = shown && this.busy !== name && shown.source !== "" && shown.of !== this.identity(name);
    return html`
      <token-strip .tokens=${shown?.written.tokens ?? []} label=${name === "summary"
        ? "Tokens of the summary"
        : "Tokens of your summary"}></token-strip>
      <p class="source ${stale ? "stale" : ""}" aria-live=${this.busy === name
        ? "off"
        : "polite"}>${this.busy === name
        ? html`<span class="busy">${this.status} …</span>`
        : html`${
          stale
            ? html`
              <b>Of the text before your change.</b>
            `
            : nothing
        }${shown?.source}`}</p>
    `;
  }

  private footer() {
    const { opened } = this;
    return html`<footer>
      ${
      opened
        ? html`<p>${opened.facts.adapter}: ${
          opened.facts.runtime === "dawn" ? "Chromium’s WebGPU" : "this browser’s WebGPU"
        },
          subgroups ${opened.facts.subgroups ? "yes" : "no"}, f16 ${
          opened.facts.f16 ? "yes" : "no"
        }. Model of ${count(opened.model.parameters)} parameters,
          ${opened.model.layers} layers, ${opened.model.vocabulary} ids, from <code>${opened.model.place}</code>:
          ${size(opened.bytes)} in ${duration(opened.milliseconds)}.</p>`
        : nothing
    }
      <p>Nothing that you type leaves this browser; your post is kept here between visits. Logprobs and entropies are natural logarithms at temperature 1.</p>
    </footer>`;
  }
}

customElements.define("precis-page", PrecisPage);

Object.assign(globalThis, {
  /** For the console: `(await openLab()).writing.rateIds("base", [1, 2, 3])`. */
  openLab: () => document.querySelector<PrecisPage>("precis-page")!.openLab(),
});
