/**
 * The view of runs: a list of those at hand, and what the open ones have come to, overlaid. Runs are named in the address
 * (`?run=runs/demo&run=https://…/run/`), so a view can be passed on; without a name the run that changed last is opened.
 */
import { html, LitElement, nothing } from "lit";
import { classMap } from "lit/directives/class-map.js";
import { styleMap } from "lit/directives/style-map.js";
import { duration, formatFigure, groupThousands } from "../../format.ts";
import { type StageName, stageNames } from "../../report/data.ts";
import type { ListedRun } from "../../runs/listing.ts";
import { stagesDone } from "../../runs/run.ts";
import { currentStage, remaining } from "../../runs/state.ts";
import "../nav.ts";
import { filesOfDrop, filesOfInput, folderIndex } from "./files.ts";
import { alarmList, checksTable } from "./checks.ts";
import "./configuration.ts";
import "./curves.ts";
import type { RunCurves } from "./curves.ts";
import "./episodes.ts";
import type { RunEpisodes } from "./episodes.ts";
import { evaluationTables } from "./evaluation.ts";
import { type PickedRun, pickedRuns } from "./picked.ts";
import "./plane.ts";
import "./samples.ts";
import type { RunSamples } from "./samples.ts";
import { type WatchedRun, watchPicked, watchUrl } from "./watch.ts";

const tabs = ["sft", "reward", "ppo", "evaluate", "samples", "episodes", "configuration"] as const;
type Tab = typeof tabs[number];

const tabNames: Record<Tab, string> = {
  sft: "SFT",
  reward: "Reward",
  ppo: "PPO",
  evaluate: "Evaluation",
  samples: "Samples",
  episodes: "Episodes",
  configuration: "Configuration",
};

/** What keys do. */
const keys: readonly [key: string, does: string][] = [
  ["1 … 7", "go to a tab"],
  ["/", "search metrics or fields"],
  ["[ ]", "update before, after"],
  [", .", "episode before, after"],
  ["l", "logarithmic scale"],
  ["z", "show all steps again"],
  ["← →", "in a chart: move the cursor; with Shift by a tenth"],
  ["Esc", "let go"],
  ["?", "this list"],
];

/** Milliseconds between looks at which runs there are. */
const listEvery = 10_000;

const stateGlyphs = { running: "●", stale: "◐", finished: "✓", stopped: "■" } as const;
const stateWords = {
  running: "running",
  stale: "silent",
  finished: "finished",
  stopped: "stopped",
} as const;

export class PrecisRuns extends LitElement {
  static override properties = {
    listed: { state: true },
    picked: { state: true },
    open: { state: true },
    tab: { state: true },
    help: { state: true },
    dropping: { state: true },
    looking: { state: true },
    tick: { state: true },
    trouble: { state: true },
  };
  /** What the server has; null where it does not tell. */
  declare private listed: ListedRun[] | null | undefined;
  declare private picked: PickedRun[];
  declare private open: WatchedRun[];
  /** Null for the usual: the last stage with figures. */
  declare private tab: Tab | null;
  declare private help: boolean;
  declare private dropping: boolean;
  /** Files that were found so far in what was dropped; null where nothing is being looked through. */
  declare private looking: number | null;
  /** Grows with every change of an open run, and now and then. */
  declare private tick: number;
  declare private trouble: string;
  private readyRuns: WatchedRun[] = [];
  private readyOf = "";

  constructor() {
    super();
    this.picked = [];
    this.open = [];
    this.tab = null;
    this.help = this.dropping = false;
    this.looking = null;
    this.tick = 0;
    this.trouble = "";
  }

  /** The style sheet is the document's. */
  override createRenderRoot() {
    return this;
  }

  override async connectedCallback() {
    super.connectedCallback();
    this.replaceChildren();
    document.addEventListener("keydown", this.onKey);
    for (const type of ["dragover", "dragleave", "drop"] as const) {
      document.addEventListener(type, this.onDrag);
    }
    const asked = new URLSearchParams(location.search).getAll("run");
    this.tab = tabs.find((tab) => `#${tab}` === location.hash) ?? null;
    for (const address of asked) this.openUrl(address);
    await this.list();
    if (asked.length === 0 && this.listed && this.listed.length > 0) this.openUrl(addressOf(this.listed[0]));
    setInterval(() => document.hidden || this.list(), listEvery);
    // Times that are told go on without news.
    setInterval(() => document.hidden || this.tick++, 5000);
  }

  private async list() {
    const index = await folderIndex(new URL("runs/index.json", document.baseURI).href);
    this.listed = index?.runs ?? (this.listed || null);
  }

  private changed = () => {
    this.tick++;
  };

  private openUrl(address: string) {
    const run = watchUrl(address, this.open, this.changed);
    if (this.open.some(({ key }) => key === run.key)) run.close();
    else this.open = [...this.open, run];
    this.keepAddress();
  }

  private openPicked(picked: PickedRun) {
    this.open = [...this.open, watchPicked(picked, this.open, this.changed)];
  }

  private close(run: WatchedRun) {
    run.close();
    this.open = this.open.filter((one) => one !== run);
    this.keepAddress();
  }

  /** What is open, in the address. */
  private keepAddress() {
    const base = new URL("./", document.baseURI).href;
    const query = this.open.flatMap(({ url }) =>
      url ? [`run=${inQuery(url.startsWith(base) ? url.slice(base.length).replace(/\/$/, "") : url)}`] : []
    ).join("&");
    const hash = this.tab ? `#${this.tab}` : "";
    history.replaceState(null, "", `${location.pathname}${query && `?${query}`}${hash}`);
  }

  private show(tab: Tab) {
    this.tab = tab;
    this.keepAddress();
  }

  private shown(): Tab {
    if (this.tab) return this.tab;
    const stages = new Set(this.open.flatMap(({ seen }) => seen.columns.stages()));
    return (["ppo", "reward", "sft"] as const).find((stage) => stages.has(stage)) ?? "ppo";
  }

  /** @param unreadable paths of what was picked as well */
  private async take(files: Map<string, File>, unreadable: readonly string[] = []) {
    const runs = await pickedRuns(files, this.picked);
    const lacks = unreadable.length === 0
      ? ""
      : `${unreadable.length === 1 ? "" : `${unreadable.length} files or folders, such as `}${
        unreadable[0]
      }, could not be read: ${runs.length > 0 ? "what is shown lacks them." : "may this browser read them?"}`;
    const none = runs.length > 0
      ? ""
      : "There is no run.json in what was picked: pick a run's folder, or one with several of them.";
    this.trouble = [none, lacks].filter((said) => said).join(" ");
    if (runs.length === 0) return;
    const again = ({ key }: { key: string }) => runs.some((run) => run.key === key);
    const reopened = this.open.filter(again).map(({ key }) => key);
    for (const run of this.open.filter(again)) this.close(run);
    this.picked = [...this.picked.filter((one) => !again(one)), ...runs];
    for (const run of runs) if (run === runs[0] || reopened.includes(run.key)) this.openPicked(run);
  }

  // ---- keys and drops ----

  private onKey = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target as HTMLElement;
    if (event.key === "Escape") {
      this.help = false;
      if (target.matches("input")) target.blur();
      return;
    }
    if (target.closest("input:not([type=checkbox], [type=range]), select, textarea")) return;
    const curves = this.querySelector<RunCurves>("run-curves");
    const samples = this.querySelector<RunSamples>("run-samples");
    const episodes = this.querySelector<RunEpisodes>("run-episodes");
    const does: Record<string, () => void> = {
      "/": () => this.querySelector<HTMLInputElement>(".panel input[type=search]")?.focus(),
      "[": () => (samples ?? episodes)?.step(-1),
      "]": () => (samples ?? episodes)?.step(1),
      ",": () => episodes?.turn(-1),
      ".": () => episodes?.turn(1),
      "l": () => curves?.toggleLog(),
      "z": () => curves?.resetZoom(),
      "?": () => this.help = !this.help,
    };
    const tab = samples?.querySelector(".blind") ? undefined : tabs[Number(event.key) - 1];
    const work = tab ? () => this.show(tab) : does[event.key];
    if (!work) return;
    event.preventDefault();
    work();
  };

  private onDrag = async (event: DragEvent) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    this.dropping = event.type === "dragover";
    if (event.type !== "drop") return;
    this.looking = 0;
    const { files, unreadable } = await filesOfDrop(event.dataTransfer, (count) => this.looking = count);
    this.looking = null;
    await this.take(files, unreadable);
  };

  // ---- what is seen ----

  override render() {
    const tab = this.shown();
    return html`
      <main class="runs">
        <section class="list" aria-label="Runs at hand">${this.runList()}</section>
        <section class="board" aria-label="Open runs">
          <h1 class="sr">Runs</h1>
          ${this.looking === null
            ? nothing
            : html`<p class="hint" role="status">Looking through what was dropped: ${
              groupThousands(this.looking)
            } files so far.</p>`}
          ${this.trouble ? html`<p class="trouble" role="alert">${this.trouble}</p>` : nothing}
          ${this.open.length === 0
            ? this.welcome()
            : html`<div class="heads">${this.open.map((run) => this.head(run))}</div>`}
          <div class="tabs" role="tablist" aria-label="What of the runs" @keydown=${this.onTabKey}>${tabs.map(
            (one) =>
              html`
                <button type="button" role="tab" id=${`tab-${one}`} aria-controls="panel" aria-selected=${one ===
                  tab}
                  tabindex=${one === tab ? 0 : -1} @click=${() => this.show(one)}>${tabNames[one]}</button>
              `,
          )}</div>
          <div class="panel" role="tabpanel" id="panel" aria-labelledby=${`tab-${tab}`}>${this.panel(
            tab,
          )}</div>
        </section>
      </main>
      ${this.help ? this.keyList() : nothing}
      ${this.dropping
        ? html`
          <div class="dropping">
            <p>Drop a run's folder here.</p>
          </div>
        `
        : nothing}
    `;
  }

  override updated(changed: Map<string, unknown>) {
    if (!changed.has("tab")) return;
    const list = this.querySelector<HTMLElement>(".tabs"),
      tab = list?.querySelector<HTMLElement>("[aria-selected=true]");
    if (list && tab) list.scrollLeft = tab.offsetLeft - list.offsetLeft - 60;
  }

  private onTabKey(event: KeyboardEvent) {
    const at = tabs.indexOf(this.shown());
    const to = {
      ArrowRight: tabs[(at + 1) % tabs.length],
      ArrowLeft: tabs[(at + tabs.length - 1) % tabs.length],
      Home: tabs[0],
      End: tabs.at(-1),
    }[event.key];
    if (!to) return;
    event.preventDefault();
    this.show(to);
    this.querySelector<HTMLElement>(`#tab-${to}`)?.focus();
  }

  /** Changes when something of an open run has that a panel shows. */
  private version(): string {
    return this.open.map(({ key, seen }) =>
      `${key} ${seen.version} ${seen.columns.version} ${seen.samples.version}`
    ).join("|");
  }

  /** The runs that have been read; the same array for as long as nothing of them has changed, so that panels are not drawn for nothing. */
  private ready(version: string): WatchedRun[] {
    const runs = this.open.filter(({ ready }) => ready);
    const same = version === this.readyOf && runs.length === this.readyRuns.length &&
      runs.every((run, i) => run === this.readyRuns[i]);
    if (!same) [this.readyRuns, this.readyOf] = [runs, version];
    return this.readyRuns;
  }

  private panel(tab: Tab) {
    const version = this.version(), runs = this.ready(version);
    if (this.open.length > 0 && runs.length === 0 && this.open.some(({ trouble }) => !trouble)) {
      return html`<p class="empty">Reading: ${
        groupThousands(Math.round(this.open.reduce((sum, { received }) => sum + received, 0) / 1000))
      } kB have come.</p>`;
    }
    switch (tab) {
      case "sft":
      case "reward":
      case "ppo":
        return html`${
          tab === "ppo" && runs.length > 0
            ? html`
              <div class="pair over">
                <run-plane .runs=${runs} .version=${version}></run-plane>
                <div class="facts">${checksTable(runs)}${alarmList(runs)}</div>
              </div>
            `
            : nothing
        }<run-curves .runs=${runs} .stage=${tab as StageName} .version=${version}></run-curves>`;
      case "evaluate":
        return evaluationTables(runs);
      case "samples":
        return html`<run-samples .runs=${runs} .version=${version}></run-samples>`;
      case "episodes":
        return html`<run-episodes .runs=${runs} .version=${version}></run-episodes>`;
      case "configuration":
        return html`<run-configuration .runs=${runs} .version=${version}></run-configuration>`;
    }
  }

  private welcome() {
    return html`
      <p
        class="empty">No run is open. Runs of this machine stand in the list where <code>deno task lab</code> serves them;
            <code>deno task train --preset demo</code> makes one in a few minutes. Any folder of a run can be dropped here, or named by its address
            on a web server: <code>runs.html?run=https://…/my-run/</code>.</p>
    `;
  }

  private runList() {
    const isOpen = (key: string) => this.open.find((one) => one.key === key);
    const shown = new Set((this.listed ?? []).map((run) => keyOf(run)));
    const foreign = this.open.filter(({ key, url }) => url && !shown.has(key));
    const row = (key: string, name: string, tell: unknown, open: () => void) => {
      const run = isOpen(key);
      return html`
        <li class=${classMap({ open: run !== undefined })}
          style=${styleMap({
            "--k": run ? `var(${run.colour})` : "transparent",
          })}><label><input type="checkbox" .checked=${run !== undefined} @change=${() =>
            run ? this.close(run) : open()}><span class="letter">${run?.label ??
            ""}</span><span class="name">${name}</span>${tell}</label></li>
      `;
    };
    return html`
      <h2>Runs</h2>
      ${this.listed === undefined
        ? html`<p class="hint">Asking the server what it has.</p>`
        : this.listed === null
        ? html`<p class="hint">This server does not tell which runs it has; <code>deno task lab</code> does, and so does an
          <code>index.json</code> in its folder <code>runs/</code>.</p>`
        : this.listed.length === 0
        ? html`<p class="hint">The served folder has no runs yet. <code>deno task train --preset demo</code> makes one.</p>`
        : nothing}
      <ul>
        ${(this.listed ?? []).map((run) =>
          row(
            keyOf(run),
            run.path || "this folder",
            html`<small>${this.listedState(run)}</small>`,
            () => this.openUrl(addressOf(run)),
          )
        )}
        ${foreign.map((run) =>
          row(run.key, run.name, html`<small>${new URL(run.url!).host}</small>`, () => {})
        )}
        ${this.picked.map((run) =>
          row(run.key, run.name, html`<small>from this computer</small>`, () => this.openPicked(run))
        )}
      </ul>
      <div class="ways">
        <label class="pick small">Open a folder<input type="file" webkitdirectory @change=${(
          event: Event,
        ) => {
          const input = event.target as HTMLInputElement;
          this.take(filesOfInput(input.files!));
          input.value = "";
        }}></label>
        <form
          @submit=${(event: Event) => {
            event.preventDefault();
            const input = this.querySelector<HTMLInputElement>(".ways input[name=address]")!;
            if (input.value.trim()) this.openUrl(input.value.trim());
            input.value = "";
          }}><label><span class="sr">Address of a run's folder</span><input name="address" placeholder="Address of a run's folder"></label></form>
        <button type="button" class="small" @click=${() => this.help = true}>Keys <kbd>?</kbd></button>
      </div>
    `;
  }

  private listedState({ state, done, preset, seed, changedAt }: ListedRun) {
    const at = state === "finished" ? "" : ` at ${currentStage(done) ?? "the end"}`;
    const facts = [preset, seed !== undefined && `seed ${seed}`].filter((fact) => fact).join(" · ");
    return html`${this.stateMark(state)}${at}${
      changedAt === undefined ? "" : ` · ${ago(changedAt)}`
    }<br>${facts}`;
  }

  private stateMark(state: keyof typeof stateWords) {
    return html`<span class=${`state ${state}`}><span aria-hidden="true">${stateGlyphs[state]}</span> ${
      stateWords[state]
    }</span>`;
  }

  /** What an open run is doing, on one line. */
  private head(run: WatchedRun) {
    const { seen, label, name, colour, trouble } = run;
    const stage = seen.columns.stages().at(-1);
    const step = stage ? seen.columns.lastStep(stage) : -1;
    const facts: unknown[] = [];
    if (stage && seen.state !== "finished") {
      const { steps, stage: left, all } = remaining(seen.plan, stage, step, seen.pace.stepTime);
      const unit = stage === "ppo" ? "update" : "step";
      facts.push(
        html`${stage} ${unit} <b>${groupThousands(step)}</b>${steps ? ` of ${groupThousands(steps)}` : ""}`,
      );
      const { stepTime } = seen.pace;
      if (seen.state === "running") {
        if (stepTime !== undefined) {
          facts.push(`${duration(stepTime / 1000)} ${unit === "update" ? "an update" : "a step"}`);
        }
        if (left !== undefined && stagesDone(seen.stages).includes(stage) === false) {
          facts.push(
            `${duration(left / 1000)} left of ${stage}${
              all !== undefined && all > left ? `, ${duration(all / 1000)} in all` : ""
            }`,
          );
        }
      }
    }
    const last = (metric: string) => {
      const curve = seen.columns.curve("ppo", metric);
      return curve && formatFigure(curve.y.at(-1));
    };
    for (const [metric, what] of [["objective/scores", "score"], ["objective/kl", "KL"]] as const) {
      const value = last(metric);
      if (value !== undefined) facts.push(html`${what} <b>${value}</b>`);
    }
    if (seen.alarms.length > 0) facts.push(html`<span class="less">▲ ${seen.alarms.length} alarms</span>`);
    if (seen.changedAt !== undefined) facts.push(`changed ${ago(seen.changedAt)}`);
    if (seen.state === "stale" && seen.holder) {
      facts.push(
        `process ${seen.holder.pid} on ${seen.holder.host} holds it and has been silent: killed, or very slow`,
      );
    }
    const live = seen.state === "running" && run.url && !trouble;
    return html`<div class="head" style=${styleMap({ "--k": `var(${colour})` })}>
      <span class="letter">${label}</span><h2>${name}</h2>
      ${
      live
        ? html`<span class="live"><span aria-hidden="true">●</span> live</span>`
        : run.ready
        ? this.stateMark(seen.state)
        : nothing
    }
      <span class="stages">${
      (run.ready ? stageNames : []).map((one) => {
        const done = seen.stages.some(({ name }) => name === one);
        const now = !done && seen.state !== "finished" && currentStage(stagesDone(seen.stages)) === one;
        return html`<span class=${classMap({ done, now })} title=${`${one}: ${
          done ? "done" : now ? "not done yet" : "to come"
        }`}>${one}</span>`;
      })
    }</span>
      <span class="told">${facts.map((fact, i) => html`${i > 0 ? " · " : ""}${fact}`)}</span>
      <button type="button" class="small close" aria-label=${`Close ${name}`} @click=${() =>
      this.close(run)}>×</button>
      ${
      trouble
        ? html`<p class="trouble" role="alert">${trouble.said}${
          run.ready ? ` What had come by ${clock(trouble.since)} stays.` : ""
        }${trouble.again < Infinity ? ` It is tried again at ${clock(trouble.again)}.` : ""}</p>`
        : nothing
    }
      ${seen.troubles.map((said) => html`<p class="trouble">${said}</p>`)}
    </div>`;
  }

  private keyList() {
    return html`
      <div class="runs help" role="dialog" aria-label="Keys">
        <h2>Keys</h2>
        <dl>${keys.map(([key, does]) =>
          html`
            <dt>${key.split(" ").map((one) =>
              one === "…" ? " … " : html`
                <kbd>${one}</kbd>
              `
            )}</dt>
            <dd>${does}</dd>
          `
        )}</dl>
        <button type="button" class="small" @click=${() => this.help = false}>Close</button>
      </div>
    `;
  }
}

/** Where a listed run lies, from the page. */
const addressOf = ({ path }: ListedRun) =>
  path === "" ? "runs" : `runs/${path.split("/").map(encodeURIComponent).join("/")}`;

/** An address as a value in a query, slashes left readable. */
const inQuery = (address: string) =>
  encodeURIComponent(address).replaceAll("%2F", "/").replaceAll("%3A", ":");

const keyOf = (run: ListedRun) => new URL(`${addressOf(run)}/`, document.baseURI).href;

/** A time as how long ago it was. */
function ago(time: number): string {
  const seconds = Math.max(0, (Date.now() - time) / 1000);
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${Math.round(seconds)} s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86_400)} d ago`;
}

const clock = (time: number) => new Date(time).toTimeString().slice(0, 8);

customElements.define("precis-runs", PrecisRuns);
