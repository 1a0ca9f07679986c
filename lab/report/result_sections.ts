/** The report's sections on the result: figures by author, win rates, best of N, and the summaries themselves. */
import { fixed, percent } from "../format.ts";
import type { Difference, Rate } from "../winrate.ts";
import { intervalBar, lineChart } from "./chart.ts";
import {
  type AuthorFigures,
  authorName,
  type Evaluation,
  type Match,
  type SampleRow,
  type SampleSummary,
} from "./data.ts";
import { type Content, type Html, html, marked, trusted } from "./html.ts";
import { authorTag, judgeName, mean, signed } from "./words.ts";

export function resultSection(evaluation: Evaluation): Html {
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
  const judges = [...new Set(matches.map(({ judge }) => judge))];
  const both = matches.some(({ orders }) => orders === "both");
  const disagreement = Math.max(...matches.map(({ orderDisagreement }) => orderDisagreement ?? 0));
  const rate = (one: Rate) =>
    html`<b>${percent(one.rate, 1)}</b> <small>${percent(one.lower)}–${percent(one.upper)}</small>`;
  const change = ({ difference, lower, upper }: Difference) =>
    html`${signed(difference)} <small>${signed(lower)} to ${signed(upper)}</small>`;
  const columns: [title: string, number: boolean, of: (match: Match) => Content][] = [
    ["to", false, ({ theirs }) => authorTag(theirs)],
    ["by", false, ({ judge }) => judges.length > 1 && judgeName(judge)],
    ["Win rate", true, ({ raw }) => rate(raw)],
    ["0 to 100 %", false, ({ raw }) => intervalBar(raw)],
    ["At equal length", true, ({ lengthControlled }) => lengthControlled && rate(lengthControlled)],
    ["Won · tied · lost", true, ({ raw }) => `${raw.wins} · ${raw.ties} · ${raw.losses}`],
    ["Score difference", true, ({ difference }) => difference && change(difference)],
  ];
  const used = columns.filter(([, , of]) => matches.some((match) => of(match)));
  const caption = [
    judges.length === 1 && `Judged by ${judgeName(judges[0])}.`,
    both
      ? `Each pair was judged in both orders${
        disagreement > 0 ? `, which disagreed on ${percent(disagreement, 1)} at most` : ""
      }.`
      : "Each pair was judged once, in a random order.",
    "Ties count half; intervals are 95 %, by post.",
    matches.some(({ lengthControlled }) => lengthControlled) &&
    "At equal length: logistic regression on the log length ratio (P1 App. F).",
  ].filter((sentence) => sentence);
  return html`
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Preferred</th>${used.map(([title, number]) =>
              html`<th scope="col" class="${number && "number"}">${title}</th>`
            )}
          </tr>
        </thead>
        <tbody>${matches.map((match) =>
          html`
            <tr>
              <th scope="row">${authorTag(match.ours)}</th>${used.map(([, number, of]) =>
                html`<td class="${number && "number"}">${of(match) || "–"}</td>`
              )}
            </tr>
          `
        )}</tbody>
        <caption>${caption.join(" ")}</caption>
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

export function samplesSection({ samples, temperature }: Evaluation): Html | undefined {
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
