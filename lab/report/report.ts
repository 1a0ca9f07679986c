/** `report.html`: what a run was, what came of it, and how, in one file that needs nothing else. */
import { sha256 } from "@noble/hashes/sha2.js";
import { configField, configFields, differences, readConfig, valueAt } from "../config.ts";
import { formatValue } from "../config_fields.ts";
import {
  duration,
  fixed,
  formatBytes,
  formatFigure,
  groupThousands,
  percent,
  shortCount,
} from "../format.ts";
import { metrics } from "../metrics.ts";
import { calibrationChart, type ChartOptions, intervalBar, lineChart, type Series } from "./chart.ts";
import {
  type Author,
  type AuthorFigures,
  authorName,
  type Evaluation,
  type Match,
  type Mean,
  type ReportData,
  type SampleRow,
  type SampleSummary,
  type StageName,
} from "./data.ts";
import { type Content, type Html, html, marked, trusted } from "./html.ts";
import { script, style } from "./style.ts";

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
  const win = evaluation && theMatch(evaluation, "ppo", "sft");
  const model = String(run.config.model ?? "");
  const what = model === "demo" ? "the demo model" : model.split("/").at(-1)!;
  if (!win) return `Learning to summarise with ${what}`;
  const won = win.raw.lower > 0.5 ? "beats" : win.raw.upper < 0.5 ? "falls behind" : "is level with";
  return `PPO ${won} SFT on ${percent(win.raw.rate)} of ${win.raw.count} posts`;
}

function lead({ run, stages, evaluation }: ReportData): string {
  const seconds = stages.filter(({ ran }) => ran).reduce((sum, stage) => sum + stage.seconds, 0);
  const { adapter, runtime } = run.device;
  const times = seconds > 0 ? ` in ${duration(seconds)}` : "";
  const judged = evaluation
    ? ` Judged by ${
      judgeName(evaluation.matches[0]?.judge ?? "nobody")
    } on ${evaluation.posts} ${evaluation.split} posts.`
    : "";
  return `TL;DR summaries, the published recipe: ${
    stages.map(({ name }) => name).join(" → ")
  }${times} on ${adapter} (${runtimeName(runtime)}), seed ${run.config.seed}.${judged}`;
}

function tiles({ evaluation, stages }: ReportData): Content {
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
  const win = evaluation && theMatch(evaluation, "ppo", "sft");
  if (win) {
    const { rate, lower, upper } = win.raw;
    found.push(["PPO preferred to SFT", percent(rate), `95 %: ${percent(lower)} to ${percent(upper)}`]);
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
  change("ROUGE-L, base → SFT", of("base")?.rougeL, of("sft")?.rougeL, 3, "against the references");
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
  const checks = stages.flatMap(({ invariants }) => invariants ?? []);
  if (checks.length > 0) {
    const passed = checks.filter((check) => check.passed).length;
    found.push([
      "First-update invariants",
      `${passed}/${checks.length}`,
      passed === checks.length ? "all hold" : "see PPO below",
    ]);
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

function theMatch(evaluation: Evaluation, ours: Match["ours"], theirs: Author): Match | undefined {
  return evaluation.matches.find((match) => match.ours === ours && match.theirs === theirs);
}

// ---- result ----

function resultSection(evaluation: Evaluation): Html {
  const { authors, matches, bestOf, notes, temperature } = evaluation;
  const columns: [title: string, of: (figures: AuthorFigures) => Content | undefined][] = [
    ["Gold score", ({ gold }) => gold && mean(gold)],
    ["Reward score", ({ reward }) => reward && mean(reward)],
    ["Length", ({ length }) => length && mean(length, 1)],
    ["EOS", ({ eosRate }) => eosRate === undefined ? undefined : percent(eosRate, 1)],
    ["KL to SFT", ({ kl }) => kl && mean(kl, 1)],
    ["ROUGE-1", ({ rouge1 }) => rouge1 === undefined ? undefined : fixed(rouge1, 3)],
    ["ROUGE-2", ({ rouge2 }) => rouge2 === undefined ? undefined : fixed(rouge2, 3)],
    ["ROUGE-L", ({ rougeL }) => rougeL === undefined ? undefined : fixed(rougeL, 3)],
    ["Loss, response", ({ lossResponse }) => lossResponse === undefined ? undefined : fixed(lossResponse, 3)],
    [
      "Loss, all tokens",
      ({ lossWithQuery }) => lossWithQuery === undefined ? undefined : fixed(lossWithQuery, 3),
    ],
  ];
  const used = columns.filter(([, of]) => authors.some((figures) => of(figures) !== undefined));
  return html`
    <p
      class="about">Summaries of ${evaluation.posts} ${evaluation
        .split} posts at temperature ${temperature}. Means with half the width of their 95 % intervals; lengths in tokens, KL in nats a response, losses of the reference summaries in nats a token.</p>
    <div class="scroll">
      <table>
        <thead>
          <tr><th scope="col">Summaries by</th>${used.map(([title]) =>
            html`<th scope="col" class="number">${title}</th>`
          )}</tr>
        </thead>
        <tbody>${authors.map((figures) =>
          html`<tr${
            figures.author === "ppo" && trusted(' class="strong"')
          }><th scope="row"><span class="author a-${figures.author}">${
            authorName(figures.author)
          }</span></th>${used.map(([, of]) => html`<td class="number">${of(figures) ?? "–"}</td>`)}</tr>`
        )}</tbody>
      </table>
    </div>
    ${matches.length > 0 && html`<h3>Win rates</h3>${matchTable(matches)}`}
    ${matches.some(({ byLength }) => byLength?.length) && html`
      <h3>Win rate by length</h3>
      <div class="charts">${matches.filter(({ byLength }) => byLength?.length).map(lengthChart)}</div>
    `}
    ${bestOf.length > 0 && html`
      <h3>Best of N</h3>
      <p
        class="about">Samples of the SFT policy, the best by our reward model: a cheap ceiling for what the same reward can do at a known KL.</p>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Policy</th>
              <th scope="col" class="number">KL</th>
              <th scope="col" class="number">Gold score</th>
              <th scope="col" class="number">Reward score</th>
              <th scope="col" class="number">Length</th>
            </tr>
          </thead>
          <tbody>${[
            ...bestOf.map((one) => ({
              name: `Best of ${one.n}`,
              kl: fixed(one.kl, 2) as Content,
              ...{ gold: one.gold, reward: one.reward, length: one.length },
            })),
            ...authors.filter(({ author }) => author === "ppo").map((one) => ({
              name: "PPO",
              kl: one.kl ? mean(one.kl, 2) : "–",
              gold: one.gold,
              reward: one.reward,
              length: one.length,
            })),
          ].map(({ name, kl, gold, reward, length }) =>
            html`
              <tr>
                <th scope="row">${name}</th>
                <td class="number">${kl}</td>
                <td class="number">${gold ? mean(gold) : "–"}</td>
                <td class="number">${reward ? mean(reward) : "–"}</td>
                <td class="number">${length ? mean(length, 1) : "–"}</td>
              </tr>
            `
          )}</tbody>
        </table>
      </div>
    `}
    ${notes && notes.length > 0 &&
      html`<ul class="notes">${notes.map((note) => html`<li>${note}</li>`)}</ul>`}
  `;
}

function matchTable(matches: readonly Match[]): Html {
  const orders = [...new Set(matches.map((match) => match.orders))];
  const hasLength = matches.some(({ lengthControlled }) => lengthControlled);
  const hasDifference = matches.some(({ difference }) => difference);
  const range = ({ lower, upper }: { lower: number; upper: number }) =>
    html`<small>${percent(lower)}–${percent(upper)}</small>`;
  return html`
    <div class="scroll">
      <table>
        <thead>
          <tr><th scope="col">Preferred</th><th scope="col">to</th><th scope="col">by</th><th scope="col" class="number">Win rate</th><th scope="col">0 to 100 %</th>${hasLength &&
            html`<th scope="col" class="number">At equal length</th>`}<th scope="col" class="number">Won · tied · lost</th>${hasDifference &&
            html`<th scope="col" class="number">Score difference</th>`}</tr>
        </thead>
        <tbody>${matches.map(({ ours, theirs, judge, raw, lengthControlled, difference }) =>
          html`<tr><th scope="row"><span class="author a-${ours.startsWith("best") ? "best" : ours}">${
            authorName(ours)
          }</span></th><td><span class="author a-${theirs}">${authorName(theirs)}</span></td><td>${
            judgeName(judge)
          }</td><td class="number"><b>${percent(raw.rate, 1)}</b> ${range(raw)}</td><td>${
            intervalBar(raw)
          }</td>${
            hasLength &&
            html`<td class="number">${
              lengthControlled ? html`${percent(lengthControlled.rate, 1)} ${range(lengthControlled)}` : "–"
            }</td>`
          }<td class="number">${raw.wins} · ${raw.ties} · ${raw.losses}</td>${
            hasDifference && html`<td class="number">${
              difference
                ? html`${signed(difference.difference)} <small>${signed(difference.lower)} to ${
                  signed(difference.upper)
                }</small>`
                : "–"
            }</td>`
          }</tr>`
        )}</tbody>
        <caption>Ties count half; intervals are 95 %, by post. ${orders.includes("both")
          ? "Each pair was judged in both orders"
          : "Each pair was judged once, in a random order"}${matches.some(({ orderDisagreement }) =>
            orderDisagreement
          )
          ? `, which disagreed on ${
            percent(Math.max(...matches.map(({ orderDisagreement }) => orderDisagreement ?? 0)), 1)
          } at most`
          : ""}.${hasLength
          ? " At equal length: logistic regression on the log length ratio (P1 App. F)."
          : ""}</caption>
      </table>
    </div>
  `;
}

function lengthChart({ ours, theirs, byLength, judge }: Match): Html {
  const bins = byLength!.filter(({ winRate }) => winRate !== null);
  return lineChart({
    title: `${authorName(ours)} against ${authorName(theirs)}`,
    unit: `by ${judgeName(judge)}`,
    xName: "length ratio, log₂",
    share: true,
    include: [0.5],
    rule: { y: 0.5, name: "level" },
    series: [{
      name: "win rate",
      x: bins.map(({ from, to }) => Number(((from + to) / 2 / Math.LN2).toFixed(3))),
      y: bins.map(({ winRate }) => winRate!.rate),
      colour: ours === "ppo" ? 2 : 1,
      points: true,
    }],
  });
}

// ---- samples ----

const sampleOrder: SampleSummary["author"][] = ["reference", "base", "sft", "ppo"];

function samplesSection({ samples, temperature }: Evaluation): Html | undefined {
  if (samples.length === 0) return undefined;
  const others = new Set(samples.flatMap(({ summaries }) => summaries.map(({ author }) => author)));
  const authors = [...sampleOrder.filter((author) => others.delete(author)), ...[...others].sort()];
  const hasFacts = samples.some(({ facts, summaries }) =>
    facts?.length || summaries.some((one) => one.facts?.length)
  );
  const hasFaults = samples.some(({ summaries }) => summaries.some((one) => one.faults?.length));
  return html`
    <p
      class="about">The same posts, summarised by each model in turn (temperature ${temperature}).${hasFacts &&
        html`
          <mark class="fact">Underlined</mark>: facts that a summary should carry.
        `}${hasFaults && html`
        <mark class="fault">Wavy</mark>: what it should not contain.
      `}</p>
    <div class="scroll">
      <table class="samples">
        <thead>
          <tr><th scope="col">Post</th>${authors.map((author) =>
            html`<th scope="col"><span class="author a-${author.startsWith("best") ? "best" : author}">${
              authorName(author)
            }</span></th>`
          )}</tr>
        </thead>
        <tbody>${samples.map((row) => {
          const best = (of: "gold" | "reward") =>
            Math.max(
              ...row.summaries.filter(({ author }) => author !== "reference").map((one) =>
                one[of] ?? -Infinity
              ),
            );
          const top = { gold: best("gold"), reward: best("reward") };
          return html`
            <tr><td>${postCell(row)}</td>${authors.map((author) =>
              html`<td data-label="${authorName(author)}" class="a-${
                author.startsWith("best") ? "best" : author
              }">${
                row.summaries.filter((one) => one.author === author).map((one) => summaryCell(one, top))
              }</td>`
            )}</tr>
          `;
        })}</tbody>
      </table>
    </div>
  `;
}

function postCell({ subreddit, title, post, facts }: SampleRow): Html {
  const phrases = (facts ?? []).map((phrase) => ({ phrase, mark: "fact" as const }));
  const long = post.length > 420;
  const short = long ? post.slice(0, 300).toWellFormed().replace(/\s+\S*$/, "") + " …" : post;
  return html`<p class="sub">r/${subreddit}</p><p class="title">${title}</p><p>${marked(short, phrases)}</p>${
    long && html`
      <details>
        <summary>whole post</summary>
        <p>${marked(post, phrases)}</p>
      </details>
    `
  }`;
}

function summaryCell(one: SampleSummary, top: { gold: number; reward: number }): Html {
  const phrases = [
    ...(one.facts ?? []).map((phrase) => ({ phrase, mark: "fact" as const })),
    ...(one.faults ?? []).map((phrase) => ({ phrase, mark: "fault" as const })),
  ];
  const score = (name: "gold" | "reward") =>
    one[name] !== undefined &&
    html`<span>${name} <b${
      one.author !== "reference" && one[name] === top[name] && trusted(' class="best"')
    }>${fixed(one[name], 2)}</b></span>`;
  return html`<p>${
    one.text.trim() === "" ? html`<span class="muted">(empty)</span>` : marked(one.text.trim(), phrases)
  }</p>
<p class="scores">${score("gold")}${score("reward")}${
    one.length !== undefined && html`<span>${one.length} tokens</span>`
  }${one.ended === false && html`<span>no end</span>`}</p>`;
}

// ---- stages ----

function has({ metrics: records }: ReportData, stage: StageName): boolean {
  return records.some((record) => record.stage === stage);
}

/** A metric over steps; of a step that was recorded twice, the later. Undefined where it was never measured. */
export function curve(
  data: ReportData,
  stage: StageName,
  name: string,
  options: Partial<Series> = {},
): Series | undefined {
  const at = new Map<number, number | null>();
  for (const record of data.metrics) {
    const value = record[name];
    if (record.stage === stage && (typeof value === "number" || value === null)) at.set(record.step, value);
  }
  if (at.size === 0) return undefined;
  const points = [...at].sort(([a], [b]) => a - b);
  return {
    name: metrics.get(name)?.title ?? name,
    x: points.map(([step]) => step),
    y: points.map(([, value]) => value !== null && Number.isFinite(value) ? value : null),
    colour: 1,
    ...options,
  };
}

function chartOf(
  data: ReportData,
  stage: StageName,
  names: readonly (string | [name: string, options: Partial<Series>])[],
  options: Partial<ChartOptions> = {},
): Html {
  const first = metrics.get(typeof names[0] === "string" ? names[0] : names[0][0]);
  const series = names.map((one, i) => {
    const [name, wanted] = typeof one === "string" ? [one, {}] : one;
    return curve(data, stage, name, { colour: (i % 4 + 1) as Series["colour"], ...wanted });
  });
  return lineChart({
    title: first?.title ?? "",
    unit: first?.unit,
    doc: first?.doc,
    share: first?.share,
    xName: stage === "ppo" ? "update" : "step",
    ...options,
    series: series.filter((one) => one !== undefined),
  });
}

function stageLine(data: ReportData, name: StageName): Content {
  const stage = data.stages.find((one) => one.name === name);
  if (!stage) return null;
  const facts = [
    stage.steps !== undefined && `${groupThousands(stage.steps)} ${name === "ppo" ? "updates" : "steps"}`,
    stage.tokens !== undefined && `${shortCount(stage.tokens)} tokens`,
    stage.ran ? duration(stage.seconds) : "taken from an earlier run",
  ].filter((fact) => fact);
  return html`<p class="about">${facts.join(" · ")}${stage.summary && html`. ${stage.summary}.`}</p>`;
}

function sftSection(data: ReportData): Html {
  const validation = { name: "validation", colour: 2, points: true } as const;
  return html`${stageLine(data, "sft")}
<div class="charts">
${
    chartOf(
      data,
      "sft",
      [["precis/loss_response", { name: "training" }], ["eval/loss_response", validation]],
      { title: "Loss of responses", doc: "Response tokens only." },
    )
  }
${
    chartOf(data, "sft", [["precis/loss_query_and_response", { name: "training" }], [
      "eval/loss_query_and_response",
      validation,
    ]], { title: "Loss of all tokens", doc: "Query tokens counted, as the published recipe trains." })
  }
${
    chartOf(data, "sft", [["eval/rougeL", { name: "ROUGE-L", colour: 2, points: true }], ["eval/rouge1", {
      name: "ROUGE-1",
      colour: 1,
      points: true,
    }], ["eval/rouge2", { name: "ROUGE-2", colour: 4, points: true }]], { title: "ROUGE" })
  }
${chartOf(data, "sft", ["grad_norm"])}
${chartOf(data, "sft", ["lr"])}
</div>`;
}

function rewardSection(data: ReportData): Html {
  const figures = data.evaluation?.reward;
  const noise = figures?.labelNoise;
  const validation = { name: "held out", colour: 2, points: true } as const;
  const groups = ["all", "split", "batch", "confidence"] as const;
  const rows = groups.flatMap((by) => figures?.accuracy.filter((row) => row.by === by) ?? []);
  return html`${stageLine(data, "reward")}
<div class="charts">
${
    chartOf(data, "reward", [["loss", { name: "training" }], ["eval/loss", validation]], {
      title: "Pairwise loss",
      doc: "Mean −log σ(r_chosen − r_rejected); chance is ln 2 = 0.693.",
      rule: { y: Math.LN2, name: "chance" },
    })
  }
${
    chartOf(data, "reward", [["accuracy", { name: "training" }], ["eval/accuracy", validation]], {
      title: "Accuracy",
      doc: "Share of pairs whose preferred summary scores higher.",
      ...(noise ? { rule: { y: 1 - noise, name: `ceiling: ${percent(noise)} of labels are wrong` } } : {}),
    })
  }
${figures ? calibrationChart(figures.calibration) : null}
${chartOf(data, "reward", ["precis/margin"])}
${chartOf(data, "reward", ["grad_norm"])}
${chartOf(data, "reward", ["lr"])}
</div>
${
    rows.length > 0 && html`
      <h3>Held-out accuracy</h3>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Pairs</th>
              <th scope="col" class="number">Accuracy</th>
              <th scope="col">0 to 100 %</th>
              <th scope="col" class="number">Pairs</th>
              <th scope="col" class="number">Loss</th>
            </tr>
          </thead>
          <tbody>${rows.map(({ by, name, accuracy, loss }) =>
            html`
              <tr${by === "all" && trusted(' class="strong"')}>
                <th scope="row">${by === "all"
                  ? "All"
                  : html`<small class="muted">${by}</small> ${name}`}</th>
                <td class="number"><b>${percent(accuracy.rate, 1)}</b> <small>${percent(
                  accuracy.lower,
                )}–${percent(accuracy.upper)}</small></td>
                <td>${intervalBar(accuracy)}</td>
                <td class="number">${groupThousands(accuracy.count)}</td>
                <td class="number">${loss === undefined ? "–" : fixed(loss, 3)}</td>
                </tr>
            `
          )}</tbody>
          <caption>${[
            figures?.goldAgreement !== undefined &&
            `The gold rule agrees with ${percent(figures.goldAgreement, 1)} of these labels.`,
            figures?.referenceMean !== undefined &&
            `Mean score of the SFT references after normalisation: ${fixed(figures.referenceMean, 4)}.`,
            "Confidence: 1 and 9 are the sure ends of the scale.",
          ].filter((one) => one).join(" ")}</caption>
        </table>
      </div>
    `
  }`;
}

function ppoSection(data: ReportData): Html {
  const checks = data.stages.find(({ name }) => name === "ppo")?.invariants ?? [];
  const limit = Number(
    (data.run.config.ppo as { responseLength?: number } | undefined)?.responseLength ?? NaN,
  );
  const sparse = (name: string) => data.metrics.some((record) => record[name] !== undefined);
  const lengthName = sparse("precis/length") ? "precis/length" : "val/length";
  const eosName = sparse("precis/eos_rate") ? "precis/eos_rate" : "val/eos_fraction";
  return html`${stageLine(data, "ppo")}
${
    checks.length > 0 && html`
      <h3>What must hold in the first update</h3>
      <div class="panel">
        <ul class="checks">${checks.map(({ name, found, expected, passed, tolerance }) =>
          html`<li><span class="mark ${passed ? "yes" : "no"}" role="img" aria-label="${
            passed ? "holds" : "does not hold"
          }">${passed ? "✓" : "✗"}</span><span>${name}</span><span class="found">${formatFigure(found)}${
            expected !== 0 && html`, expected ${formatFigure(expected)}`
          } ± ${formatFigure(tolerance)}</span></li>`
        )}</ul>
      </div>
      <h3>Curves</h3>
    `
  }
<div class="charts">
${
    chartOf(data, "ppo", [["objective/scores", { name: "score" }], ["objective/rlhf_reward", {
      name: "less KL",
      colour: 4,
    }]], {
      title: "Reward score",
      doc: "The reward model's score of samples, and what is left of it after the KL penalty.",
    })
  }
${sparse("precis/gold_score") ? chartOf(data, "ppo", [["precis/gold_score", { colour: 2 }]]) : null}
${chartOf(data, "ppo", ["objective/kl"])}
${chartOf(data, "ppo", [lengthName], Number.isFinite(limit) ? { rule: { y: limit, name: "limit" } } : {})}
${chartOf(data, "ppo", [eosName])}
${chartOf(data, "ppo", ["policy/entropy_avg"])}
${chartOf(data, "ppo", [["val/explained_variance", { colour: 3 }]], { include: [0] })}
${chartOf(data, "ppo", [["loss/value_avg", { colour: 3 }]])}
${chartOf(data, "ppo", ["loss/policy_avg"])}
${
    chartOf(data, "ppo", [["policy/clipfrac_avg", { name: "policy" }], ["val/clipfrac_avg", {
      name: "value",
      colour: 3,
    }]], { title: "Clip fraction", doc: "Share of tokens whose ratio, or value, is clipped." })
  }
${chartOf(data, "ppo", ["val/ratio"], { include: [1] })}
${chartOf(data, "ppo", ["policy/approxkl_avg"])}
${chartOf(data, "ppo", ["grad_norm"])}
${chartOf(data, "ppo", [["objective/kl_coef", { colour: 4 }]])}
${chartOf(data, "ppo", ["lr"])}
</div>`;
}

// ---- the run ----

function runSection({ run, stages }: ReportData): Html {
  const total = stages.reduce((sum, { seconds }) => sum + seconds, 0);
  const { device } = run;
  const abilities = [
    device.software && "shaders run on the CPU",
    device.f16 && "f16",
    device.subgroups && "subgroups",
    device.matrixUnits?.length > 0 && "matrix units",
    device.timestamps && "timestamps",
  ].filter((one) => one);
  const facts: [string, Content][] = [
    ["Adapter", device.adapter],
    ["Driver", [device.vendor, device.driver].filter((one) => one).join(" · ")],
    ["Runtime", runtimeName(device.runtime)],
    ["Features", abilities.join(", ") || "none beyond WebGPU's core"],
    ["Seed", String(run.config.seed)],
    ["Started", run.startedAt.replace("T", " ").replace(/\.\d+Z$|Z$/, " UTC")],
    ...Object.entries(run.versions).map(([name, version]): [string, Content] => [name, version]),
    ...(run.kernelDigest
      ? [["Kernels, SHA-256", html`<code>${run.kernelDigest}</code>`] as [string, Content]]
      : []),
    ...(run.choices ?? []).map((choice): [string, Content] => ["Chosen", choice]),
  ];
  const plan = stages.flatMap((stage) => (stage.memoryPlan ?? []).length > 0 ? [stage] : []);
  const longest = Math.max(...stages.map(({ seconds }) => seconds), 1e-9);
  return html`
    <div class="columns">
      <div>
        <h3>What it ran on</h3>
        <div class="panel">
          <dl class="facts">${facts.filter(([, value]) => value !== "").map(([name, value]) =>
            html`
              <dt>${name}</dt>
              <dd>${value}</dd>
            `
          )}</dl>
        </div>
      </div>
      <div>
        <h3>Time and memory</h3>
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Stage</th>
                <th scope="col" class="number">Time</th>
                <th scope="col" class="number">Tokens/s</th>
                <th scope="col" class="number">Peak memory</th>
              </tr>
            </thead>
            <tbody>${stages.map(({ name, ran, seconds, tokens, peakMemory }) =>
              html`
                <tr>
                  <th scope="row">${name}${ran &&
                    html`<div class="bar" style="width:${Math.round(100 * seconds / longest)}%"></div>`}</th>
                  <td class="number">${ran ? duration(seconds) : "earlier run"}</td>
                  <td class="number">${ran && tokens && seconds > 0 ? shortCount(tokens / seconds) : "–"}</td>
                  <td class="number">${peakMemory === undefined ? "–" : formatBytes(peakMemory)}</td>
                </tr>
              `
            )}<tr class="strong"><th scope="row">Total</th><td class="number">${duration(
              total,
            )}</td><td></td><td></td></tr></tbody>
          </table>
        </div>
      </div>
    </div>
    ${Object.keys(run.kernels).length > 0 && html`
      <h3>Kernel variants</h3>
      <div class="panel">
        <dl class="facts">${Object.entries(run.kernels).map(([name, variant]) =>
          html`
            <dt><code>${name}</code></dt>
            <dd>${variant}</dd>
          `
        )}</dl>
      </div>
    `}
    ${plan.length > 0 && html`
      <h3>Memory plan</h3>
      <div class="columns">${plan.map(({ name, memoryPlan }) => {
        const rows = [...memoryPlan!].sort((a, b) => b.bytes - a.bytes);
        const rest = rows.splice(12);
        return html`
          <details class="panel" ${name === plan.at(-1)!.name && trusted(" open")}>
            <summary style="padding:10px 14px">${name}: ${formatBytes(
              memoryPlan!.reduce((sum, { bytes }) => sum + bytes, 0),
            )}</summary>
            <table>
              <tbody>${rows.map((row) =>
                html`
                  <tr>
                    <td>${row.name}${row.count > 1 && html`
                      <small>× ${row.count}</small>
                    `}</td>
                    <td><small>${row.lifetime}</small></td>
                    <td class="number">${formatBytes(row.bytes)}</td>
                  </tr>
                `
              )}${rest.length > 0 && html`
                <tr>
                  <td class="muted">${rest.length} more</td>
                  <td></td>
                  <td class="number">${formatBytes(rest.reduce((sum, { bytes }) => sum + bytes, 0))}</td>
                </tr>
              `}</tbody>
            </table>
          </details>
        `;
      })}</div>
    `}
    ${run.inputs && Object.keys(run.inputs).length > 0 && html`
      <h3>Inputs, by SHA-256</h3>
      <div class="panel">
        <dl class="facts">${Object.entries(run.inputs).map(([name, digest]) =>
          html`
            <dt>${name}</dt>
            <dd><code>${digest}</code></dd>
          `
        )}</dl>
      </div>
    `}
  `;
}

function configurationSection({ run }: ReportData): Html {
  let config;
  try {
    config = readConfig(run.config);
  } catch {
    // A run of another version: show what it says without knowing its fields.
    return html`<pre><code>${JSON.stringify(run.config, null, 2)}</code></pre>`;
  }
  const different = differences(config);
  return html`
    <p class="about">${different.length === 0
      ? "Every field is as in the published recipe."
      : `${different.length} of ${configFields.length} fields differ from the published recipe.`}</p>
    ${different.length > 0 && html`
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Field</th>
              <th scope="col" class="number">Here</th>
              <th scope="col" class="number">Published</th>
              <th scope="col">What it is</th>
            </tr>
          </thead>
          <tbody>${different.map(({ path, value, published }) => {
            const { field } = configField(path)!;
            return html`
              <tr>
                <th scope="row"><code>${path}</code></th>
                <td class="number">${formatValue(value) || "none"}</td>
                <td class="number">${formatValue(published) || "none"}</td>
                <td>${field.doc}${field.unit && html`
                  <small>${field.unit}</small>
                `}</td>
              </tr>
            `;
          })}</tbody>
        </table>
      </div>
    `}
    <details style="margin-top:12px">
      <summary>all fields</summary>
      <div class="scroll">
        <table>
          <tbody>${configFields.map(({ path, field }) =>
            html`
              <tr>
                <th scope="row"><code>${path}</code></th>
                <td class="number">${formatValue(valueAt(config, path)) || "none"}</td>
                <td>${field.doc}</td>
                <td><small>${field.from}</small></td>
              </tr>
            `
          )}</tbody>
        </table>
      </div>
    </details>
  `;
}

// ---- words and numbers ----

function judgeName(judge: string): string {
  return judge === "gold" ? "the gold rule" : judge === "reward" ? "the reward model" : judge;
}

function runtimeName(runtime: string): string {
  return runtime === "native"
    ? "Deno's own WebGPU"
    : runtime === "dawn"
    ? "Dawn"
    : runtime === "browser"
    ? "the browser's WebGPU"
    : runtime;
}

function mean({ mean, lower, upper }: Mean, decimals = 2): Content {
  const half = lower !== undefined && upper !== undefined ? (upper - lower) / 2 : undefined;
  return half === undefined
    ? fixed(mean, decimals)
    : html`${fixed(mean, decimals)} <small>± ${fixed(half, decimals)}</small>`;
}

function signed(value: number): string {
  return value > 0 ? `+${fixed(value)}` : fixed(value);
}
