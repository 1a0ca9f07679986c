/** What runs were configured with, and where they differ; what they ran on. */
import { html, LitElement, nothing } from "lit";
import { classMap } from "lit/directives/class-map.js";
import { styleMap } from "lit/directives/style-map.js";
import { duration, formatBytes, shortCount } from "../../format.ts";
import { fieldRows } from "../../runs/config_diff.ts";
import type { WatchedRun } from "./watch.ts";

type Shown = "differing" | "changed" | "all";

export class RunConfiguration extends LitElement {
  static override properties = {
    runs: { attribute: false },
    version: {},
    shown: { state: true },
    filter: { state: true },
  };
  declare runs: readonly WatchedRun[];
  declare version: string;
  /** Null for the usual: what differs between runs, or of one run from the published recipe. */
  declare private shown: Shown | null;
  declare private filter: string;

  constructor() {
    super();
    this.runs = [];
    this.version = this.filter = "";
    this.shown = null;
  }

  /** The style sheet is the document's. */
  override createRenderRoot() {
    return this;
  }

  search() {
    this.querySelector<HTMLInputElement>("input[type=search]")?.focus();
  }

  override render() {
    const runs = this.runs.filter(({ seen }) => seen.record);
    if (runs.length === 0) {
      return html`
        <p
          class="empty">The fields that a run was started with would stand here, beside those of the published recipe and of
                other runs. Open a run to see them.</p>
      `;
    }
    const rows = fieldRows(runs.map(({ seen }) => seen.record!.config));
    const several = runs.length > 1;
    const shown = this.shown ?? (several ? "differing" : "changed");
    const isChanged = ({ values, published, neutral }: typeof rows[number]) =>
      !neutral && values.some((value) => value !== undefined && value !== published);
    // What no result depends on comes last.
    const differing = rows.filter(({ differs }) => differs).sort((a, b) =>
        Number(a.neutral) - Number(b.neutral)
      ),
      changed = rows.filter(isChanged);
    const chosen = { differing, changed, all: rows }[shown];
    const wanted = this.filter.trim().toLowerCase();
    const found = chosen.filter(({ path, doc = "" }) => `${path} ${doc}`.toLowerCase().includes(wanted));
    const button = (of: Shown, text: string) =>
      html`<button type="button" aria-pressed=${shown === of} @click=${() =>
        this.shown = of}>${text}</button>`;
    return html`
      <div class="tools">
        <label
          class="search"><span class="sr">Search fields</span><input type="search" placeholder="Search fields  /"
          .value=${this.filter} @input=${(event: Event) =>
            this.filter = (event.target as HTMLInputElement).value}></label>
        <div class="segments" role="group" aria-label="Which fields">
          ${several ? button("differing", `Differ between runs ${differing.length}`) : nothing}
          ${button("changed", `Differ from the recipe ${changed.length}`)}
          ${button("all", `All ${rows.length}`)}
        </div>
      </div>
      ${found.length === 0
        ? html`<p class="empty">${
          wanted !== ""
            ? `No field here has “${this.filter.trim()}” in its name or description.`
            : shown === "differing"
            ? "The open runs have the same configuration, field by field."
            : "Every field is as in the published recipe."
        }</p>`
        : html`
          <div class="scroll" tabindex="0" role="region" aria-label="Configuration">
            <table class="dense fields">
              <thead>
                <tr><th scope="col">Field</th>${runs.map((run) =>
                  html`<th scope="col" class="number" style=${styleMap({ "--k": `var(${run.colour})` })}>${
                    several
                      ? html`
                        <span class="letter">${run.label}</span>
                      `
                      : nothing
                  }${run.name}</th>`
                )}<th scope="col" class="number">published</th><th scope="col">What it is</th></tr>
              </thead>
              <tbody>${found.map(({ path, values, published, doc, unit, from, differs, neutral }) =>
                html`<tr>
              <th scope="row"><code>${path}</code></th>
              ${
                  values.map((value) =>
                    html`<td class=${
                      classMap({
                        number: true,
                        differs: several && differs && !neutral,
                        as: value === published,
                      })
                    }>${value === undefined ? html`<small>not told</small>` : value || "none"}</td>`
                  )
                }
              <td class="number">${
                  published === undefined ? html`<small>unknown here</small>` : published || "none"
                }</td>
              <td class="doc">${doc ?? ""}${
                  unit
                    ? html`
                      <small>${unit}</small>
                    `
                    : nothing
                }${
                  from
                    ? html`
                      <small class="from">${from}</small>
                    `
                    : nothing
                }</td>
            </tr>`
              )}</tbody>
            </table>
          </div>
        `}
      <h3 class="section">What they ran on</h3>
      <div class="scroll" tabindex="0" role="region" aria-label="What they ran on">${this.facts(runs)}</div>
    `;
  }

  private facts(runs: readonly WatchedRun[]) {
    const rows: [name: string, of: (run: WatchedRun) => unknown][] = [
      [
        "Started",
        ({ seen }) => (seen.record!.startedAt ?? "").replace("T", " ").replace(/\.\d+Z$|Z$/, " UTC"),
      ],
      ["Adapter", ({ seen }) => seen.record!.device?.adapter ?? "–"],
      ["Runtime", ({ seen }) => seen.record!.device?.runtime ?? "–"],
      [
        "Kernels, SHA-256",
        ({ seen }) => html`<code>${String(seen.record!.kernelDigest ?? "–").slice(0, 16)}</code>`,
      ],
      [
        "Versions",
        ({ seen }) =>
          Object.entries(seen.record!.versions ?? {}).map(([name, version]) => `${name} ${version}`).join(
            ", ",
          ),
      ],
      ...(["preprocess", "sft", "reward", "ppo", "evaluate"] as const).map((
        stage,
      ): [string, (run: WatchedRun) => unknown] => [`Stage ${stage}`, ({ seen }) => {
        const facts = seen.stages.find(({ name }) => name === stage);
        if (!facts) return html`<small>not done</small>`;
        const { seconds, tokens, peakMemory } = facts;
        return [
          duration(seconds),
          tokens && seconds > 0 && `${shortCount(tokens / seconds)} tokens/s`,
          peakMemory && formatBytes(peakMemory),
        ].filter((one) => one).join(", ");
      }]),
      [
        "Report",
        ({ seen, url }) =>
          seen.hasReport && url
            ? html`<a href=${new URL("report.html", url).href}>report.html</a>`
            : html`<small>${seen.hasReport ? "in the picked folder" : "written at the end"}</small>`,
      ],
    ];
    return html`
      <table class="dense fields">
        <thead>
          <tr><th scope="col"><span class="sr">What</span></th>${runs.map((run) =>
            html`<th scope="col" style=${
              styleMap({ "--k": `var(${run.colour})` })
            }><span class="letter">${run.label}</span> ${run.name}</th>`
          )}</tr>
        </thead>
        <tbody>${rows.map(([name, of]) =>
          html`<tr><th scope="row">${name}</th>${runs.map((run) => html`<td>${of(run)}</td>`)}</tr>`
        )}</tbody>
      </table>
    `;
  }
}

customElements.define("run-configuration", RunConfiguration);
