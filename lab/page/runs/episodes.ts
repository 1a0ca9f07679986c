/** The episodes that PPO wrote down: any update's, one at a time, token by token. */
import { html, LitElement, nothing } from "lit";
import { styleMap } from "lit/directives/style-map.js";
import { DamagedFileError, joinPath } from "../../bytes.ts";
import { configField } from "../../config.ts";
import { readQwen2Config } from "../../qwen2.ts";
import type { Episode, EpisodeSettings } from "../../runs/episode.ts";
import type { Tokenizer } from "../../tokenizer.ts";
import "../episode_strip.ts";
import { size } from "../numbers.ts";
import { askAlternatives, canAsk } from "./alternatives.ts";
import type { WatchedRun } from "./watch.ts";

export class RunEpisodes extends LitElement {
  static override properties = {
    runs: { attribute: false },
    version: {},
    asking: { state: true },
    modelBytes: { state: true },
    chosen: { state: true },
    range: { state: true },
    moment: { state: true },
    place: { state: true },
    episodes: { state: true },
    tokenizer: { state: true },
    trouble: { state: true },
  };
  declare runs: readonly WatchedRun[];
  declare version: string;
  /** Whether the run's models are asked for alternatives: they may be large, and the GPU busy. */
  declare private asking: boolean;
  /** Of the policy's weights; the reference's are as many. */
  declare private modelBytes: number;
  /** The key of the run that is shown. */
  declare private chosen: string;
  /** First and last update with episodes. */
  declare private range: [number, number] | undefined;
  /** The update shown; null for the last. */
  declare private moment: number | null;
  /** Which of its episodes. */
  declare private place: number;
  declare private episodes: { key: string; update: number; of: Episode[] } | null;
  /** Of the run that is shown; a sentence where there is none. */
  declare private tokenizer: Tokenizer | string | null;
  declare private trouble: string;
  private asked = "";
  private tokenizerOf = "";

  constructor() {
    super();
    this.runs = [];
    this.version = this.chosen = this.trouble = "";
    this.moment = null;
    this.asking = false;
    this.modelBytes = this.place = 0;
    this.episodes = null;
    this.tokenizer = null;
  }

  /** The style sheet is the document's. */
  override createRenderRoot() {
    return this;
  }

  /** Goes to the update before or after. */
  step(by: number) {
    if (!this.range) return;
    const to = Math.min(this.range[1], Math.max(this.range[0], this.shownUpdate() + by));
    this.moment = to === this.range[1] ? null : to;
  }

  /** Goes to the update's episode before or after. */
  turn(by: number) {
    const count = this.episodes?.of.length ?? 1;
    this.place = (this.place + by + count) % count;
  }

  private run(): WatchedRun | undefined {
    return this.runs.find(({ key }) => key === this.chosen) ??
      this.runs.find(({ seen }) => seen.columns.lastStep("ppo") > 0) ?? this.runs[0];
  }

  private shownUpdate(): number {
    const [first, last] = this.range ?? [0, 0];
    return Math.min(last, Math.max(first, this.moment ?? last));
  }

  override willUpdate() {
    const run = this.run();
    if (run?.ready) void this.fetch(run);
  }

  /** Reads the episodes to be shown, where they are not those that are there. */
  private async fetch(run: WatchedRun) {
    const wanted = `${run.key} ${this.moment ?? `the last of ${run.seen.columns.lastStep("ppo")}`}`;
    if (this.asked === wanted) return;
    this.asked = wanted;
    try {
      const range = await run.seen.episodes.range();
      if (this.asked !== wanted) return;
      this.range = range;
      const update = this.shownUpdate();
      const of = range ? await run.seen.episodes.at(update) : [];
      if (this.asked !== wanted) return;
      this.episodes = { key: run.key, update, of };
      this.place = Math.min(this.place, Math.max(0, of.length - 1));
      this.trouble = "";
    } catch (error) {
      if (this.asked === wanted) this.trouble = (error as Error).message;
    }
    if (this.tokenizerOf !== run.key) {
      this.tokenizerOf = run.key;
      this.tokenizer = await tokenizerOf(run).catch((error) => (error as Error).message);
      const weights = joinPath(run.seen.path, "models/ppo/model.safetensors");
      this.modelBytes = canAsk(run) ? await run.seen.files.size(weights).catch(() => 0) : 0;
    }
  }

  override render() {
    const run = this.run();
    if (!run || (this.episodes?.key === run.key && !this.range)) {
      return html`
        <p
          class="empty">Here would be episodes of PPO token by token: log-probabilities, KL, reward, value, return, advantage and
                ratio under each. Stage ppo writes four of every update into <code>episodes/ppo.jsonl</code>; ${run
                  ? `${run.name} has none yet.`
                  : "open a run to see them."}</p>
      `;
    }
    const update = this.shownUpdate(), [first, last] = this.range ?? [0, 0];
    const shown = this.episodes?.key === run.key ? this.episodes : null;
    const episode = shown?.of[this.place] ?? null;
    const text = typeof this.tokenizer === "object" && this.tokenizer ? this.tokenizer : undefined;
    return html`
      <div class="tools">
        ${this.runs.length > 1
          ? html`<div class="segments" role="group" aria-label="Run">${
            this.runs.map((one) =>
              html`
                <button type="button" aria-pressed=${one === run} style=${styleMap({
                  "--k": `var(${one.colour})`,
                })}
                  @click=${() => {
                    this.chosen = one.key;
                    this.moment = null;
                    this.range = undefined;
                  }}><span class="letter">${one.label}</span> ${one.name}</button>
              `
            )
          }</div>`
          : nothing}
        <label class="scrub">Update <input type="number" min=${first} max=${last} .value=${String(
          update,
        )} @change=${(event: Event) => this.moment = Number((event.target as HTMLInputElement).value)}>
          <button type="button" class="small" aria-label="Update before" ?disabled=${update <=
            first} @click=${() => this.step(-1)}>[</button>
          <input type="range" aria-label="Update" min=${first} max=${last} .value=${String(update)} @input=${(
            event: Event,
          ) => {
            const to = Number((event.target as HTMLInputElement).value);
            this.moment = to === last ? null : to;
          }}>
          <button type="button" class="small" aria-label="Update after" ?disabled=${update >=
            last} @click=${() => this.step(1)}>]</button>
        </label>
        <div class="segments" role="group" aria-label="Episode">${(shown?.of ?? []).map((one, i) =>
          html`
            <button type="button" aria-pressed=${i === this.place}
              @click=${() => this.place = i}>${i + 1} <small>${one.score.toFixed(2).replace(
                "-",
                "−",
              )}</small></button>
          `
        )}</div>
        <span class="hint">of the batch's first four, with their scores</span>
        ${canAsk(run)
          ? html`
            <label
              class="check"><input type="checkbox" .checked=${this.asking} @change=${() =>
                this.asking = !this.asking}> Top ten on hover <small class="hint">${this.modelBytes > 0
                ? `two models of ${size(this.modelBytes)} on the GPU`
                : "by two models on the GPU"}</small></label>
          `
          : nothing}
      </div>
      ${this.trouble ? html`<p class="trouble" role="alert">${this.trouble}</p>` : nothing}
      ${episode
        ? html`
          <details class="query">
            <summary>Query, ${episode.query.length} tokens</summary>
            <p>${text ? text.decode(episode.query) : episode.query.join(" ")}</p>
          </details>
          <episode-strip .episode=${episode} .settings=${settingsOf(run)} .text=${text &&
            ((id: number) => text.decodeToken(id))} .responseLength=${Number(
              field(run, "ppo.responseLength"),
            ) || 0}
            .alternatives=${this.asking && canAsk(run)
              ? (one: Episode, slot: number) => askAlternatives(run, one, slot)
              : undefined}></episode-strip>
          ${typeof this.tokenizer === "string"
            ? html`<p class="hint">Ids stand for texts: ${this.tokenizer}</p>`
            : nothing}
        `
        : nothing}
    `;
  }
}

/** A field of a run's configuration; today's default where its record does not have it. */
function field(run: WatchedRun, path: string): unknown {
  const value = path.split(".").reduce<unknown>(
    (at, name) => (at as Record<string, unknown> | undefined)?.[name],
    run.seen.record?.config,
  );
  return value ?? configField(path)?.field.default;
}

function settingsOf(run: WatchedRun): EpisodeSettings {
  const fixed = field(run, "ppo.klController") !== "adaptive";
  return {
    clipRange: Number(field(run, "ppo.clipRange")),
    beta: fixed ? Number(field(run, "ppo.klCoef")) : undefined,
    gamma: Number(field(run, "ppo.gamma")),
    lambda: Number(field(run, "ppo.lambda")),
    klEstimator: field(run, "ppo.klEstimator") as EpisodeSettings["klEstimator"],
    whitenRewards: field(run, "ppo.whitenRewards") === true,
  };
}

/** The tokenizer beside one of a run's models, or the demo's for a run of the demo. */
async function tokenizerOf(run: WatchedRun): Promise<Tokenizer> {
  const { loadTokenizer } = await import("../../tokenizer.ts");
  const { files, path, models } = run.seen;
  for (const model of ["ppo", "sft"]) {
    if (!models.includes(model)) continue;
    const folder = joinPath(path, "models", model);
    const { vocabulary } = await readQwen2Config(files, folder);
    return await loadTokenizer((name) => files.read(name), folder, vocabulary);
  }
  if (run.seen.record?.config.model === "demo") {
    const demo = new URL("demo/base/", document.baseURI);
    return await loadTokenizer(async (name) => {
      const answer = await fetch(new URL(name, demo));
      return new Uint8Array(await answer.arrayBuffer());
    }, "");
  }
  throw new DamagedFileError("the run's folder has no models/sft or models/ppo with a tokenizer.json.");
}

customElements.define("run-episodes", RunEpisodes);
