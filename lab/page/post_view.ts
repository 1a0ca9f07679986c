/**
 * A post, the summaries that models write of it, and a summary of one's own that a model rates. It shows what was computed before; the GPU
 * starts when something is to be computed.
 */
import { proxy } from "comlink";
import { html, LitElement, nothing } from "lit";
import type { Post } from "../query.ts";
import type { Drawing, ShownToken, Written } from "../summarise.ts";
import type { Opened, Timed } from "../writing_service.ts";
import { EngineLost, sharedEngine } from "./engine.ts";
import { count, duration, size } from "./numbers.ts";
import "./token_strip.ts";

/** A token as outputs have it. */
interface StoredToken {
  id?: number;
  text: string;
  values?: Record<string, unknown>;
}

/** A post as `lab.post` puts it out: plain data, as it is stored in a notebook. */
export interface PostOutput {
  subreddit: string;
  title: string;
  post: string;
  /** The human summary, which is offered to be rated. */
  summary?: string;
  /** What models wrote of it, by the models' places. */
  written: { model: string; text: string; done: boolean; tokens: StoredToken[] }[];
  /** How the first of them rates the human summary. */
  rated?: { tokens: StoredToken[] };
}

type Result = Pick<Written, "text" | "tokens"> & Partial<Written>;

/** A result on show. */
interface Shown {
  written: Result;
  /** What it was computed from, to tell when that has changed. */
  of: string;
  /** Who computed it, when, and how long it took. */
  source: string;
}

/** A place whose model summarises, or the rating of one's own summary. */
type Panel = { summarises: string } | { rates: string };
const keyOf = (panel: Panel) => "rates" in panel ? "rating" : `summary ${panel.summarises}`;

const fields = ["subreddit", "title", "post"] as const;

export class PostView extends LitElement {
  static override properties = {
    value: { attribute: false },
    draft: { attribute: false },
    model: {},
    own: { state: true },
    drawing: { state: true },
    shown: { state: true },
    busy: { state: true },
    status: { state: true },
    trouble: { state: true },
    opened: { state: true },
  };
  declare value: PostOutput;
  /** The post as the reader has changed it; the event "draft" tells of every change. */
  declare draft: Post | null;
  /** The one model to ask in place of those that the value names. */
  declare model: string | null;
  /** The summary that is to be rated. */
  declare private own: string;
  declare private drawing: Drawing;
  declare private shown: Record<string, Shown>;
  declare private busy: string | null;
  declare private status: string;
  /** What went wrong, and what the button beside it does about it. */
  declare private trouble: { said: string; remedy?: { label: string; run: () => void } } | null;
  declare private opened: Opened | null;

  constructor() {
    super();
    this.value = { subreddit: "", title: "", post: "", written: [] };
    this.draft = null;
    this.model = null;
    this.own = "";
    this.drawing = { temperature: 0, seed: 1 };
    this.shown = {};
    this.busy = null;
    this.status = "";
    this.trouble = null;
    this.opened = null;
  }

  /** The style sheet is the document's. */
  override createRenderRoot() {
    return this;
  }

  override willUpdate(changed: Map<string, unknown>) {
    if (!changed.has("value") && !changed.has("model")) return;
    const { summary = "", written, rated } = this.value;
    if (!changed.has("value") || this.own === "" || this.own !== summary) this.own = summary;
    this.shown = {};
    if (this.model) return;
    for (const { model, text, done, tokens } of written) {
      const source = done ? "Stored with the notebook." : "Being written …";
      this.keep({ summarises: model }, { text, tokens: tokens.map(shownToken) }, source);
    }
    if (rated) this.keep({ rates: this.models[0] }, { text: summary, tokens: rated.tokens.map(shownToken) });
  }

  private keep(panel: Panel, written: Result, source = "Stored with the notebook.") {
    this.show(panel, { written, of: this.identity(panel, this.value), source });
  }

  private get models(): string[] {
    if (this.model) return [this.model];
    const places = this.value.written.map(({ model }) => model);
    return places.length > 0 ? places : ["base"];
  }

  private get post(): Post {
    return this.draft ?? this.value;
  }

  /** What the panel's result depends on. */
  private identity(panel: Panel, { subreddit, title, post }: Post = this.post): string {
    const { temperature, seed } = this.drawing;
    const how = "rates" in panel ? [this.own.trim()] : temperature === 0 ? [0] : [temperature, seed];
    return JSON.stringify([subreddit, title, post, ...how]);
  }

  // ---- computing ----

  private async compute(...panels: Panel[]) {
    if (this.busy) return;
    this.trouble = null;
    for (const panel of panels) {
      if (!await this.computeOne(panel)) break;
    }
  }

  /** Returns whether it could. */
  private async computeOne(panel: Panel): Promise<boolean> {
    const key = this.busy = keyOf(panel);
    this.status = "Opening the GPU";
    const of = this.identity(panel), post = { ...this.post }, before = this.shown;
    const engine = sharedEngine();
    let listening = true;
    try {
      const place = "rates" in panel ? panel.rates : panel.summarises;
      const first = this.opened?.model.place !== place;
      const received = proxy((bytes: number) => this.status = `Fetching the model: ${size(bytes)}`);
      this.opened = await engine.unlessLost(engine.lab.writing.open(place, received));
      this.status = first ? "Compiling the kernels" : "Reading the post";
      const tokens: ShownToken[] = [];
      const onToken = (token: ShownToken) => {
        if (!listening) return; // the last words of a worker that is lost
        tokens.push(token);
        this.status = `${tokens.length} tokens`;
        const text = tokens.map(({ text }) => text).join("").replace("<|endoftext|>", "").trim();
        this.show(panel, { written: { text, tokens: [...tokens] }, of, source: "" });
      };
      const written = await engine.unlessLost(
        "rates" in panel
          ? engine.lab.writing.rate(place, post, this.own)
          : engine.lab.writing.summarise(place, post, { ...this.drawing }, proxy(onToken)),
      );
      this.show(panel, { written, of, source: this.sourceOf(written, panel) });
      return true;
    } catch (error) {
      this.shown = before;
      this.say(error as Error);
      return false;
    } finally {
      listening = false;
      if (this.busy === key) this.busy = null;
      this.status = "";
    }
  }

  private show(panel: Panel, shown: Shown) {
    this.shown = { ...this.shown, [keyOf(panel)]: shown };
  }

  private sourceOf({ tokens, milliseconds, queryTokens, charactersCut }: Timed, panel: Panel): string {
    const { adapter, software } = this.opened!.facts;
    const rates = "rates" in panel;
    const rate = rates ? "" : `, ${(tokens.length / milliseconds * 1000).toFixed(1)} tokens/s`;
    const how = rates
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
      `${queryTokens} tokens read, ${tokens.length} ${rates ? "rated" : "written"}${rate}.${cut}`;
  }

  private say(error: Error) {
    if (error instanceof EngineLost) {
      const run = () => {
        sharedEngine().stop();
        this.opened = this.trouble = null;
      };
      const remedy = { label: "Start the GPU again", run };
      this.trouble = { said: `${error.message} What is on show was computed before.`, remedy };
    } else this.trouble = { said: error.message };
  }

  // ---- editing ----

  private edit(change: Partial<Post>) {
    const { subreddit, title, post } = this.post;
    const next: Post = { subreddit, title, post, ...change };
    const same = fields.every((field) => next[field] === this.value[field]);
    this.keepDraft(same ? null : next);
  }

  private keepDraft(draft: Post | null) {
    this.draft = draft;
    this.dispatchEvent(new CustomEvent("draft", { detail: draft, bubbles: true }));
  }

  private onKey(event: KeyboardEvent) {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    event.stopPropagation();
    this.summarise();
  }

  private summarise() {
    return this.compute(...this.models.map((summarises) => ({ summarises })));
  }

  private draw(event: Event, change: Partial<Drawing>) {
    const input = event.target as HTMLInputElement;
    if (input.value !== "" && input.reportValidity()) this.drawing = { ...this.drawing, ...change };
  }

  // ---- rendering ----

  override render() {
    return html`
      ${this.notice()}
      <div class="post-view">
        ${this.postForm()}
        <div class="results">
          ${this.models.map((place) => this.panel(place))}
          ${this.ownForm()}
        </div>
      </div>
      ${this.facts()}
    `;
  }

  private notice() {
    if (!("gpu" in navigator)) {
      return html`
        <p
          class="notice">This browser has no WebGPU, so nothing new can be computed here; what is on show was computed ahead of
          time.</p>
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
    const { temperature, seed } = this.drawing;
    const value = (event: Event) => (event.target as HTMLInputElement).value;
    const cannot = this.busy !== null || !("gpu" in navigator) || post.trim() === "";
    return html`
      <form class="post" aria-label="The post" @keydown=${this.onKey} @submit=${(event: Event) => {
        event.preventDefault();
        this.summarise();
      }}>
        <div class="row">
          <label class="subreddit">Subreddit<span><b>r/</b><input autocomplete="off" spellcheck="false"
            .value=${subreddit} @input=${(event: Event) =>
              this.edit({ subreddit: value(event) })}></span></label>
          <label class="title">Title<input autocomplete="off" .value=${title}
            @input=${(event: Event) => this.edit({ title: value(event) })}></label>
        </div>
        <label>Post: change one word<textarea rows="6" .value=${post}
          @input=${(event: Event) => this.edit({ post: value(event) })}></textarea></label>
        <div class="row">
          <label
            class="number">Temperature<input type="number" min="0" max="5" step="0.1" .value=${String(
              temperature,
            )} @change=${(event: Event) => this.draw(event, { temperature: Number(value(event)) })}></label>
          <label class="number">Seed<input type="number" min="0" max="4294967295" step="1" .value=${String(
            seed,
          )}
            ?disabled=${temperature === 0}
            @change=${(event: Event) => this.draw(event, { seed: Number(value(event)) })}></label>
          <p class="hint">${temperature === 0
            ? "Greedy: always the likeliest token."
            : "Drawn: the same seed draws the same summary."}</p>
        </div>
        <div class="row actions">
          <button class="primary" ?disabled=${cannot}>Summarise</button>
          <button type="button" ?hidden=${this.draft === null} @click=${() =>
            this.keepDraft(null)}>Back to the post as it was</button>
          <p class="hint keys"><kbd>Ctrl</kbd> <kbd>Enter</kbd></p>
        </div>
      </form>
    `;
  }

  private panel(place: string) {
    const panel = { summarises: place }, key = keyOf(panel), written = this.shown[key]?.written;
    return html`
      <section class="summary" aria-label=${`Summary by ${nameOf(place)}`}>
        <h2>Its summary, by ${nameOf(place)}</h2>
        <p class="text">${written?.text ??
          (this.busy === key ? "" : html`<span class="hint">Nothing yet: “Summarise” writes one.</span>`)}</p>
        ${this.result(panel, "Tokens of the summary")}
      </section>
    `;
  }

  private ownForm() {
    const cannot = this.busy !== null || !("gpu" in navigator) || this.own.trim() === "" ||
      this.post.post.trim() === "";
    const panel = { rates: this.models[0] };
    return html`
      <section class="own" aria-label="Your summary">
        <h2>A summary of your own, rated by ${nameOf(panel.rates)}</h2>
        <form class="row" @submit=${(event: Event) => {
          event.preventDefault();
          this.compute(panel);
        }}>
          <input aria-label="Your summary" autocomplete="off" .value=${this.own}
            @input=${(event: Event) => this.own = (event.target as HTMLInputElement).value}>
          <button ?disabled=${cannot}>Rate</button>
        </form>
        ${this.result(panel, "Tokens of your summary")}
      </section>
    `;
  }

  private result(panel: Panel, label: string) {
    const key = keyOf(panel), shown = this.shown[key], busy = this.busy === key;
    const stale = shown && !busy && shown.source !== "" && shown.of !== this.identity(panel);
    return html`
      <token-strip ?filled=${shown !== undefined} .tokens=${shown?.written.tokens ??
        []} label=${label}></token-strip>
      <p class="source ${stale ? "stale" : ""}" aria-live=${busy ? "off" : "polite"}>${busy
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

  private facts() {
    if (!this.opened) return nothing;
    const { facts, model, bytes, milliseconds } = this.opened;
    return html`
      <p
        class="facts">${facts.adapter}: ${facts.runtime === "dawn"
          ? "Chromium’s WebGPU"
          : "this browser’s WebGPU"}, subgroups ${facts.subgroups ? "yes" : "no"}, f16 ${facts.f16
          ? "yes"
          : "no"}. Model of ${count(model.parameters)} parameters, ${model.layers} layers, ${model
          .vocabulary} ids, from <code>${model.place}</code>:
            ${size(bytes)} in ${duration(milliseconds)}.</p>
    `;
  }
}

function shownToken({ id = -1, text, values }: StoredToken): ShownToken {
  const number = (value: unknown) => typeof value === "number" ? value : 0;
  return { id, text, logprob: number(values?.logprob), entropy: number(values?.entropy) };
}

/** What readers call a place. */
function nameOf(place: string): string {
  const demo: Record<string, string> = { base: "base", sft: "SFT", reward: "reward", ppo: "PPO" };
  return Object.hasOwn(demo, place) ? `the demo’s ${demo[place]} model` : place;
}

customElements.define("post-view", PostView);
