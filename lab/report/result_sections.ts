/** The report's sections on the result: figures by author, win rates, best of N, and the summaries themselves. */
import { fixed, groupThousands, percent, shortCount } from "../format.ts";
import type { Difference, Rate } from "../winrate.ts";
import { intervalBar, lineChart, type Series } from "./chart.ts";
import {
  type AuthorFigures,
  authorName,
  type Evaluation,
  type JudgingFigures,
  type Match,
  type Optimisation,
  type OptimisationPoint,
  type SampleRow,
  type SampleSummary,
} from "./data.ts";
import { type Content, type Html, html, marked, trusted } from "./html.ts";
import { authorTag, interval, judgeName, mean, signed } from "./words.ts";

export function resultSection(evaluation: Evaluation): Html {
  const { authors, matches, bestOf, optimisation, judging, notes, temperature } = evaluation;
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
  const judges = [...new Set(matches.map(({ judge }) => judge))];
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
    ${judges.map((judge) => [
      matchTable(matches.filter((match) => match.judge === judge)),
      judging?.judge === judge && judgingLine(judging),
    ])}
    ${lengthCharts(matches)}
    ${bestOf.length > 0 && bestOfTable(evaluation)}
    ${optimisation && optimisationCharts(optimisation)}
    ${notes && notes.length > 0 &&
      html`<ul class="notes">${notes.map((note) => html`<li>${note}</li>`)}</ul>`}
  `;
}

/** The matches by one judge. */
function matchTable(matches: readonly Match[]): Html {
  const [{ judge, orders }] = matches;
  const differ = matches.some(({ orderDisagreement = 0 }) => orderDisagreement > 0);
  const rate = (one: Rate) => html`<b>${percent(one.rate, 1)}</b> <small>${interval(one)}</small>`;
  const change = ({ difference, lower, upper }: Difference) =>
    html`${signed(difference)} <small>${signed(lower)} to ${signed(upper)}</small>`;
  const columns: [title: string, number: boolean, of: (match: Match) => Content][] = [
    ["to", false, ({ theirs }) => authorTag(theirs)],
    ["Win rate", true, ({ raw }) => rate(raw)],
    ["0 to 100 %", false, ({ raw }) => intervalBar(raw)],
    ["At equal length", true, ({ lengthControlled }) => lengthControlled && rate(lengthControlled)],
    ["Won · tied · lost", true, ({ raw }) => `${raw.wins} · ${raw.ties} · ${raw.losses}`],
    ["Score difference, points", true, ({ difference }) => difference && change(difference)],
    ["Orders differ", true, ({ orderDisagreement }) => differ && percent(orderDisagreement, 1)],
    ["First shown won", true, ({ firstPreferred }) => differ && percent(firstPreferred, 1)],
    ["No verdict", true, ({ unread }) => unread && percent(unread, 1)],
  ];
  const used = columns.filter(([, , of]) => matches.some((match) => of(match)));
  const caption = [
    orders === "both"
      ? "Each pair was judged in both orders."
      : "Each pair was judged once, in a random order.",
    differ &&
    "A judge without a liking for a position prefers the summary shown first in half of its verdicts.",
    matches.some(({ unread }) => unread) && "Where an answer had no verdict, chance has decided.",
    "Ties count half; intervals are 95 %, by post.",
    matches.some(({ lengthControlled }) => lengthControlled) &&
    "At equal length: logistic regression on the log length ratio (P1 App. F).",
  ].filter((sentence) => sentence);
  return html`
    <h3>Win rates by ${judgeName(judge)}</h3>
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
      </table>
    </div>
    <p class="caption">${caption.join(" ")}</p>
  `;
}

/** What the remote judge took. */
function judgingLine(figures: JudgingFigures): Html {
  const { judge, comparisons, kept, requests, repeated, promptTokens, completionTokens, cost, unread } =
    figures;
  return html`
    <p
      class="about below">${judge} was asked for ${groupThousands(comparisons)} comparisons${kept > 0 &&
        `, ${groupThousands(kept)} of them answered in an earlier run`}: ${groupThousands(
          requests,
        )} requests (${repeated} repeated), ${shortCount(promptTokens)} tokens read, ${shortCount(
          completionTokens,
        )} written${cost !== undefined && `, ${fixed(cost)} in the unit of the prices`}. ${percent(
          comparisons > 0 ? unread / comparisons : 0,
          1,
        )} of the answers had no verdict.</p>
  `;
}

function bestOfTable({ bestOf, authors, optimisation }: Evaluation): Html {
  const sft = optimisation?.sft;
  const rows: { name: string; kl: Content; gold?: Content; reward?: Content; length?: Content }[] = [
    ...(sft
      ? [{
        name: "SFT, mean of samples",
        kl: "0",
        gold: sft.gold === undefined ? undefined : fixed(sft.gold),
        reward: fixed(sft.reward),
      }]
      : []),
    ...bestOf.map(({ n, kl, gold, reward, length }) => ({
      name: `Best of ${n}`,
      kl: fixed(kl, 2),
      gold: gold && mean(gold),
      reward: reward && mean(reward),
      length: length && mean(length, 1),
    })),
    ...authors.filter(({ author }) => author === "ppo").map(({ kl, gold, reward, length }) => ({
      name: "PPO",
      kl: kl ? mean(kl, 2) : "–",
      gold: gold && mean(gold),
      reward: reward && mean(reward),
      length: length && mean(length, 1),
    })),
  ];
  return html`
    <h3>Best of N</h3>
    <p
      class="about">Samples of the SFT policy, the best by our reward model: a cheap ceiling for what the same reward can do at a known KL, ln N − (N − 1) / N. PPO's summaries are those of the table above.</p>
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Policy</th>
            <th scope="col" class="number">KL, nats</th>
            <th scope="col" class="number">Gold score</th>
            <th scope="col" class="number">Reward score</th>
            <th scope="col" class="number">Length, tokens</th>
          </tr>
        </thead>
        <tbody>${rows.map(({ name, kl, gold, reward, length }) =>
          html`
            <tr>
              <th scope="row">${name}</th>
              <td class="number">${kl}</td>
              <td class="number">${gold ?? "–"}</td>
              <td class="number">${reward ?? "–"}</td>
              <td class="number">${length ?? "–"}</td>
            </tr>
          `
        )}</tbody>
      </table>
    </div>
  `;
}

/** Score against √KL: the gold score where there is one, as the reward rises with distance in any case. */
function optimisationCharts({ sft, bestOf, ppo }: Optimisation): Html | null {
  const charts = (["reward", "gold"] as const).flatMap((name) => {
    const curve = (
      title: string,
      points: readonly OptimisationPoint[],
      drawn: Pick<Series, "colour" | "points">,
    ): Series[] => {
      const known = points.filter((point) => point[name] !== undefined);
      if (known.length === 0) return [];
      return [{
        name: title,
        // Estimates near 0 may fall below it.
        x: known.map(({ kl }) => Number(Math.sqrt(Math.max(0, kl)).toFixed(4))),
        y: known.map((point) => point[name]!),
        ...drawn,
      }];
    };
    const series = [
      ...curve("best of n", bestOf.length > 0 ? [...(sft ? [sft] : []), ...bestOf] : [], {
        colour: 1,
        points: true,
      }),
      ...curve("PPO", ppo.length > 0 ? [...(sft ? [sft] : []), ...ppo] : [], {
        colour: 2,
        points: "scattered",
      }),
    ];
    if (series.length === 0) return [];
    return [lineChart({
      title: name === "reward" ? "Reward score" : "Gold score",
      unit: "points",
      xName: "√KL from SFT, √nats",
      doc: name === "reward"
        ? "What is optimised: it rises with distance from SFT."
        : "What it is optimised for: where it falls while the reward rises, the policy is over-optimised.",
      series,
    })];
  });
  if (charts.length === 0) return null;
  return html`
    <h3>Score against distance</h3>
    <div class="charts">${charts}</div>
  `;
}

/**
 * Win rate by length, as S1 draws it: a chart for each opponent, by the judge that counts. Best-of-n is left out: its posts are too few to be
 * divided once more.
 */
function lengthCharts(matches: readonly Match[]): Content {
  const drawn = matches.filter(({ ours, judge, byLength }) =>
    judge === matches[0].judge && byLength?.length && !ours.startsWith("best-of-")
  );
  if (drawn.length === 0) return null;
  return html`
    <h3>Win rate by length</h3>
    <div class="charts">${[...new Set(drawn.map(({ theirs }) => theirs))].map((theirs) =>
      lineChart({
        title: `Against ${authorName(theirs)}`,
        unit: `% won, by ${judgeName(drawn[0].judge)}`,
        xName: "length, ours to theirs, log₂",
        share: true,
        keys: "names",
        include: [0.5],
        rule: { y: 0.5, name: "level" },
        series: drawn.filter((match) => match.theirs === theirs).map(({ ours, byLength }) => {
          const bins = byLength!.filter(({ winRate }) => winRate !== null);
          return {
            name: authorName(ours),
            x: bins.map(({ from, to }) => Number(((from + to) / 2 / Math.LN2).toFixed(3))),
            y: bins.map(({ winRate }) => winRate!.rate),
            colour: ours === "ppo" ? 2 : 1,
            points: true,
          };
        }),
      })
    )}</div>
  `;
}

// ---- samples ----

const sampleOrder: SampleSummary["author"][] = ["reference", "base", "sft", "ppo"];

export function samplesSection(
  { samples, temperature }: Pick<Evaluation, "samples" | "temperature">,
): Html | undefined {
  if (samples.length === 0) return undefined;
  const others = new Set(samples.flatMap(({ summaries }) => summaries.map(({ author }) => author)));
  const authors = [
    ...sampleOrder.filter((author) => others.delete(author)),
    ...[...others].sort((a, b) => a.localeCompare(b, "en", { numeric: true })),
  ];
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
