/** Summaries of a fixed set of posts in the course of PPO: a scrubber over updates, differences word by word, rewards; or two of them blind. */
import { html, LitElement, nothing, svg } from "lit";
import { classMap } from "lit/directives/class-map.js";
import { styleMap } from "lit/directives/style-map.js";
import { fixed } from "../../format.ts";
import type { SampledPost } from "../../runs/samples.ts";
import { wordDiff } from "../../runs/words.ts";
import "./blind.ts";
import type { Contender } from "./blind.ts";
import type { WatchedRun } from "./watch.ts";

export class RunSamples extends LitElement {
  static override properties = {
    runs: { attribute: false },
    version: {},
    chosen: { state: true },
    moment: { state: true },
    baseline: { state: true },
    blind: { state: true },
  };
  declare runs: readonly WatchedRun[];
  declare version: string;
  /** The key of the run that is shown. */
  declare private chosen: string;
  /** The update that is shown; null for the last. */
  declare private moment: number | null;
  /** What summaries are held against: "reference", "previous", "none", or an update. */
  declare private baseline: string;
  declare private blind: boolean;

  constructor() {
    super();
    this.runs = [];
    this.version = this.chosen = "";
    this.moment = null;
    this.baseline = "0";
    this.blind = false;
  }

  /** The style sheet is the document's. */
  override createRenderRoot() {
    return this;
  }

  /** Goes to the update before or after. */
  step(by: number) {
    const book = this.run()?.seen.samples;
    if (!book || book.updates.length === 0) return;
    const place = Math.max(0, Math.min(book.updates.length - 1, this.place(book.updates) + by));
    this.moment = place === book.updates.length - 1 ? null : book.updates[place];
  }

  private run(): WatchedRun | undefined {
    const with_ = this.runs.filter(({ seen }) => seen.samples.posts.length > 0);
    return with_.find(({ key }) => key === this.chosen) ?? with_[0];
  }

  private place(updates: readonly number[]): number {
    const at = this.moment === null ? -1 : updates.indexOf(this.moment);
    return at < 0 ? updates.length - 1 : at;
  }

  override render() {
    const run = this.run();
    if (!run) {
      return html`
        <p
          class="empty">Here would be what the policy writes about the same posts, from the SFT policy on, update by update. Stage
                ppo writes such summaries every <code>--ppo.sampleEvery</code> updates; ${this.runs.length ===
                    0
                  ? "open a run to see them."
                  : "no open run has any yet."}</p>
      `;
    }
    const { updates, posts, rewards } = run.seen.samples;
    const place = this.place(updates), update = updates[place];
    const choices = this.runs.filter(({ seen }) => seen.samples.posts.length > 0);
    return html`
      <div class="tools">
        ${choices.length > 1
          ? html`<div class="segments" role="group" aria-label="Run">${
            choices.map((one) =>
              html`
                <button type="button" aria-pressed=${one === run} style=${styleMap({
                  "--k": `var(${one.colour})`,
                })}
                  @click=${() => this.chosen = one.key}><span class="letter">${one.label}</span> ${one
                    .name}</button>
              `
            )
          }</div>`
          : nothing}
        <div class="segments" role="group" aria-label="View">
          <button type="button" aria-pressed=${!this.blind} @click=${() =>
            this.blind = false}>Over time</button>
          <button type="button" aria-pressed=${this.blind} @click=${() =>
            this.blind = true}>Blind A/B</button>
        </div>
        ${this.blind ? nothing : html`
          <label class="scrub">Update <output>${update}</output>
            <button type="button" class="small" aria-label="Update before" ?disabled=${place ===
              0} @click=${() => this.step(-1)}>[</button>
            <input type="range" min="0" max=${updates.length - 1} .value=${String(
              place,
            )} aria-valuetext=${`update ${update}`} @input=${(event: Event) => {
              const to = Number((event.target as HTMLInputElement).value);
              this.moment = to === updates.length - 1 ? null : updates[to];
            }}>
            <button type="button" class="small" aria-label="Update after" ?disabled=${place ===
              updates.length - 1} @click=${() => this.step(1)}>]</button>
          </label>
          <label class="choice">held against
            <select @change=${(event: Event) => this.baseline = (event.target as HTMLSelectElement).value}>
              ${[
                ["reference", "the reference"],
                ["previous", "the update before"],
                ...updates.map((one) => [String(one), one === 0 ? "the SFT policy" : `update ${one}`]),
                ["none", "nothing"],
              ].map(([value, name]) =>
                html`<option value=${value} ?selected=${value === this.baseline}>${name}</option>`
              )}
            </select>
          </label>
        `}
      </div>
      ${this.blind ? html`<run-blind .contenders=${this.contenders(choices)}></run-blind>` : html`
        <p
          class="hint">${posts.length} posts. Bars: reward, from ${fixed(rewards?.[0])} to ${fixed(
            rewards?.[1],
          )}. <del>Struck</del>: only in what it is held against; <ins>underlined</ins>: only in this update.</p>
        <ol class="samples">${posts.map((post) => this.row(post, updates, update, rewards!))}</ol>
      `}
    `;
  }

  private row(
    post: SampledPost,
    updates: readonly number[],
    update: number,
    rewards: readonly [number, number],
  ) {
    const sample = post.summaries.get(update);
    const before = this.baseline === "previous"
      ? post.summaries.get(updates[updates.indexOf(update) - 1])
      : post.summaries.get(Number(this.baseline));
    const base = this.baseline === "reference"
      ? post.reference
      : this.baseline === "none"
      ? undefined
      : before?.summary;
    const text = sample?.summary.trim() ?? "";
    return html`<li>
      <div class="what">
        <h3>${post.title}</h3>
        <p><small>reference</small> ${post.reference}</p>
      </div>
      <div class="said">
        ${
      !sample ? html`<p class="hint">No summary at this update.</p>` : html`
        <p class="summary">${base === undefined
          ? text || html`<span class="hint">an empty summary</span>`
          : wordDiff(base.trim(), text).map(({ text, change }) =>
            change === "same" ? text : change === "new" ? html`<ins>${text}</ins>` : html`<del>${text}</del>`
          )}</p>
        <p class="figures">reward <b>${fixed(sample.reward)}</b>${before && before !== sample
          ? html`
            <span class=${classMap({
              more: sample.reward > before.reward,
              less: sample.reward < before.reward,
            })}>${sample.reward >= before.reward ? "▲" : "▼"} ${fixed(
              Math.abs(sample.reward - before.reward),
            )}</span>
          `
          : nothing}${sample.gold === undefined ? nothing : html`
          · gold <b>${fixed(sample.gold)}</b>
        `} · ${sample.length} tokens${sample.ended === false
          ? html`
            · <span class="less">no EOS</span>
          `
          : nothing}</p>
      `
    }
      </div>
      ${this.course(post, updates, update, rewards)}
    </li>`;
  }

  /** A post's rewards over all updates: a bar each, to be pressed. */
  private course(
    post: SampledPost,
    updates: readonly number[],
    update: number,
    [low, high]: readonly [number, number],
  ) {
    const width = 120, height = 34, each = width / updates.length;
    const y = (reward: number) => height - 2 - (reward - low) / (high - low || 1) * (height - 4);
    const zero = y(Math.min(high, Math.max(low, 0)));
    return html`<svg class="course" viewBox="0 0 ${width} ${height}" role="img" aria-label=${`Reward over updates: ${
      updates.filter((one) => post.summaries.has(one)).map((one) =>
        `${one}: ${fixed(post.summaries.get(one)!.reward)}`
      )
        .join(", ")
    }`}>
      <line x1="0" x2=${width} y1=${zero} y2=${zero} />
      ${
      updates.map((one, i) => {
        const sample = post.summaries.get(one);
        if (!sample) return nothing;
        const top = Math.min(zero, y(sample.reward)), size = Math.max(1, Math.abs(zero - y(sample.reward)));
        return svg`
          <rect class=${one === update ? "now" : ""} x=${i * each + each * 0.1} width=${each *
            0.8} y=${top} height=${size} />
          <rect
            class="press" x=${i * each} width=${each} y="0" height=${height} @click=${() =>
              this.moment = one}>
            <title>update ${one}: ${fixed(sample.reward)}</title>
          </rect>
        `;
      })
    }
    </svg>`;
  }

  /** Everybody who can be compared: the reference, and each run's updates. */
  private contenders(runs: readonly WatchedRun[]): Contender[] {
    const several = runs.length > 1;
    const [first] = runs;
    const reference: Contender = {
      name: "the reference",
      texts: new Map(first.seen.samples.posts.map(({ id, reference }) => [id, reference])),
      titles: new Map(first.seen.samples.posts.map(({ id, title }) => [id, title])),
    };
    return [
      reference,
      ...runs.flatMap(({ name, seen: { samples } }) =>
        samples.updates.map((update): Contender => ({
          name: `${several ? `${name}, ` : ""}${update === 0 ? "the SFT policy" : `update ${update}`}`,
          texts: new Map(samples.posts.flatMap(({ id, summaries }) => {
            const sample = summaries.get(update);
            return sample ? [[id, sample.summary] as const] : [];
          })),
          titles: new Map(samples.posts.map(({ id, title }) => [id, title])),
        }))
      ),
    ];
  }
}

customElements.define("run-samples", RunSamples);
