/** `report.html`: what a run was, what came of it, and how, in one file that needs nothing else. */
import { sha256 } from "@noble/hashes/sha2.js";
import { duration, fixed, groupThousands, percent } from "../format.ts";
import { alarmPlace, type Author, type ReportData } from "./data.ts";
import { type Content, type Html, html, trusted } from "./html.ts";
import { resultSection, samplesSection } from "./result_sections.ts";
import { configurationSection, runSection } from "./run_sections.ts";
import { has, ppoSection, rewardSection, sftSection } from "./stage_sections.ts";
import { script, style } from "./style.ts";
import { interval, judgeName, matchOf, runtimeName } from "./words.ts";

/** The whole page as HTML text. Parts whose figures are missing are left out. */
export function buildReport(data: ReportData): string {
  const { run, evaluation } = data;
  const sections: [id: string, title: string, body: Html | undefined][] = [
    ["result", "Result", evaluation && resultSection(evaluation)],
    ["summaries", "Summaries side by side", evaluation && samplesSection(evaluation)],
    ["sft", "Supervised fine-tuning", has(data, "sft") ? sftSection(data) : undefined],
    ["reward", "Reward model", has(data, "reward") || evaluation?.reward ? rewardSection(data) : undefined],
    ["ppo", "PPO", has(data, "ppo") ? ppoSection(data) : undefined],
    ["run", "The run", runSection(data)],
    ["configuration", "Configuration", configurationSection(data)],
  ];
  const present = sections.filter(([, , body]) => body !== undefined);
  const preset = String(run.config.preset ?? "");
  // The policy allows this one script by its digest, so that no text of a post could run even if it escaped its place.
  const digest = btoa(String.fromCharCode(...sha256(new TextEncoder().encode(script))));
  return html`
    <!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta http-equiv="Content-Security-Policy"
          content="default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${trusted(
            digest,
          )}'; base-uri 'none'; form-action 'none'">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>Précis: ${headline(data)}</title>
        <style>${trusted(style)}</style>
      </head>
      <body>
        <header class="top">
        <p class="brand">Précis · run report${preset && ` · preset ${preset}`}</p>
        <h1>${headline(data)}</h1>
        <p class="lead">${lead(data)}</p>
        ${alarm(data)}
    ${tiles(data)}
        <nav aria-label="Sections">${present.map(([id, title]) => html`<a href="#${id}">${title}</a>`)}</nav>
            </header>
        <main>
        ${present.map(([id, title, body]) =>
          html`
            <section id="${id}"><h2>${title}</h2>${body}</section>
          `
        )}
        <footer>Made ${data.madeAt.replace("T", " ").replace(
          /\.\d+Z$|Z$/,
          " UTC",
        )} from run.json, metrics.jsonl and evaluation.json of this run. Names of metrics are those of TRL's PPO; means over tokens are masked.</footer>
            </main>
        <script>${trusted(script)}</script>
      </body>
    </html>
  `.source;
}

// ---- head ----

function headline({ run, evaluation }: ReportData): string {
  const win = evaluation && matchOf(evaluation, "ppo", "sft");
  const model = String(run.config.model ?? "");
  const what = model === "demo" ? "the demo model" : model.split("/").at(-1)!;
  if (!win) return `Learning to summarise with ${what}`;
  const { rate, lower, upper, count } = win.raw;
  if (lower > 0.5) return `PPO beats SFT on ${percent(rate)} of ${count} posts`;
  const verdict = upper < 0.5 ? "falls behind" : "is level with";
  return `PPO ${verdict} SFT: preferred on ${percent(rate)} of ${count} posts`;
}

function lead({ run, stages, evaluation }: ReportData): string {
  const seconds = stages.filter(({ ran }) => ran).reduce((sum, stage) => sum + stage.seconds, 0);
  const { adapter, runtime } = run.device;
  const times = seconds > 0 ? ` in ${duration(seconds)}` : "";
  const first = evaluation?.matches[0];
  const judged = evaluation
    ? ` Judged by ${judgeName(first?.judge ?? "nobody")} on ${
      first?.raw.count ?? evaluation.posts
    } ${evaluation.split} posts.`
    : "";
  return `TL;DR summaries, the published recipe: ${
    stages.map(({ name }) => name).join(" → ")
  }${times} on ${adapter} (${runtimeName(runtime)}), seed ${run.config.seed}.${judged}`;
}

/** What must not be overlooked. */
function alarm({ stages, alarms = [] }: ReportData): Content {
  const checks = stages.flatMap(({ invariants }) => invariants ?? []);
  const failed = checks.filter(({ passed }) => !passed).length;
  return html`${
    failed > 0 && html`
      <p
        class="alarm">${failed} of ${checks.length} first-update invariants ${failed === 1
          ? "does"
          : "do"} not hold: see <a href="#ppo">PPO</a>.</p>
    `
  }${
    alarms.map((alarm) =>
      html`
        <p class="alarm">${alarmPlace(alarm)}: ${alarm.sentence}</p>
      `
    )
  }`;
}

function tiles({ evaluation }: ReportData): Content {
  const found: [label: string, value: Content, detail: string][] = [];
  const of = (author: Author) => evaluation?.authors.find((one) => one.author === author);
  const change = (
    label: string,
    a: number | undefined,
    b: number | undefined,
    decimals: number,
    detail: string,
  ) => {
    if (a !== undefined && b !== undefined) {
      found.push([label, html`<small>${fixed(a, decimals)} →</small> ${fixed(b, decimals)}`, detail]);
    }
  };
  const win = evaluation && matchOf(evaluation, "ppo", "sft");
  if (win) {
    const { raw, lengthControlled } = win;
    const equal = lengthControlled ? `; at equal length ${percent(lengthControlled.rate)}` : "";
    found.push(["PPO preferred to SFT", percent(raw.rate), `95 %: ${interval(raw)}${equal}`]);
  }
  change(
    "Gold score, SFT → PPO",
    of("sft")?.gold?.mean,
    of("ppo")?.gold?.mean,
    2,
    "the rule that no model sees",
  );
  change(
    "Reward score, SFT → PPO",
    of("sft")?.reward?.mean,
    of("ppo")?.reward?.mean,
    2,
    "references average 0",
  );
  change("ROUGE-L, base → SFT", of("base")?.rougeL, of("sft")?.rougeL, 2, "against the references");
  const accuracy = evaluation?.reward?.accuracy.find(({ by }) => by === "all") ??
    evaluation?.reward?.accuracy[0];
  if (accuracy) {
    const noise = evaluation!.reward!.labelNoise;
    found.push([
      "Reward model, held out",
      percent(accuracy.accuracy.rate, 1),
      `of ${groupThousands(accuracy.accuracy.count)} pairs${
        noise ? `; ${percent(noise)} of labels are wrong` : ""
      }`,
    ]);
  }
  const kl = of("ppo")?.kl;
  if (kl) {
    found.push(["KL, PPO to SFT", html`${fixed(kl.mean, 1)} <small>nats</small>`, "a response, at the end"]);
  }
  if (found.length === 0) return null;
  return html`<div class="tiles">${
    found.map(([label, value, detail]) =>
      html`
        <div class="tile">
          <p class="label">${label}</p>
          <p class="value">${value}</p>
          <p class="detail">${detail}</p>
        </div>
      `
    )
  }</div>`;
}
