/** What came of runs: the evaluation's figures of all of them side by side. */
import { html, nothing } from "lit";
import { styleMap } from "lit/directives/style-map.js";
import { fixed, percent } from "../../format.ts";
import { type AuthorFigures, authorName, type Match, type Mean } from "../../report/data.ts";
import type { WatchedRun } from "./watch.ts";

type Row = readonly [name: string, of: (figures: AuthorFigures) => string];

const mean = (value: Mean | undefined, decimals: number) => value ? fixed(value.mean, decimals) : "–";

const figures: readonly Row[] = [
  ["gold score", ({ gold }) => mean(gold, 2)],
  ["reward", ({ reward }) => mean(reward, 2)],
  ["KL, nats", ({ kl }) => mean(kl, 2)],
  ["length, tokens", ({ length }) => mean(length, 1)],
  ["EOS rate", ({ eosRate }) => percent(eosRate, 1)],
  ["ROUGE-L", ({ rougeL }) => fixed(rougeL, 3)],
  ["loss, response", ({ lossResponse }) => fixed(lossResponse, 3)],
];

/** Tables of authors and of matches, a column a run; a sentence where no run has been evaluated. */
export function evaluationTables(runs: readonly WatchedRun[]) {
  const done = runs.filter(({ seen }) => seen.evaluation);
  if (done.length === 0) {
    return html`
      <p
        class="empty">Here would be what base, SFT and PPO policies write of held-out posts: rewards, KL, lengths, ROUGE, win rates
            with intervals. Stage evaluate measures it; <code>deno task train --stages evaluate --out …</code> runs it alone.</p>
    `;
  }
  const several = runs.length > 1;
  const heads = done.map((run) =>
    html`<th scope="col" class="number" style=${styleMap({ "--k": `var(${run.colour})` })}>${
      several
        ? html`
          <span class="letter">${run.label}</span>
        `
        : nothing
    }${run.name}</th>`
  );
  const authors = [
    ...new Set(done.flatMap(({ seen }) => seen.evaluation!.authors.map(({ author }) => author))),
  ];
  const matchKey = ({ ours, theirs, judge }: Match) =>
    `${authorName(ours)} against ${authorName(theirs)}, by ${judge}`;
  const matches = [...new Set(done.flatMap(({ seen }) => seen.evaluation!.matches.map(matchKey)))];
  const rows = authors.flatMap((author) => {
    const of = done.map(({ seen }) => seen.evaluation!.authors.find((one) => one.author === author));
    return figures.map(([name, value]) => ({ author, name, values: of.map((one) => one ? value(one) : "–") }))
      .filter(({ values }) => values.some((value) => value !== "–"));
  });
  return html`
    <p class="hint">${done.map(({ label, seen: { evaluation } }) =>
      `${several ? `${label}: ` : ""}${evaluation!.posts} ${evaluation!.split} posts`
    ).join("; ")}. The report of each run has more: calibration, best of N, tables of posts.</p>
    <div class="pair">
      <div class="scroll" tabindex="0" role="region" aria-label="Figures of each author">
        <table class="dense">
          <thead>
            <tr><th scope="col">Author</th><th scope="col">Figure</th>${heads}</tr>
          </thead>
          <tbody>${rows.map(({ author, name, values }, i) =>
            html`<tr class=${rows[i - 1]?.author === author ? "" : "begins"}><th scope="row" style=${
              styleMap({
                "--k": `var(--role-${author === "ppo" ? "policy" : author === "sft" ? "sft" : "reference"})`,
              })
            }>${
              rows[i - 1]?.author === author ? nothing : html`<b class="role">${authorName(author)}</b>`
            }</th><td>${name}</td>${values.map((value) => html`<td class="number">${value}</td>`)}</tr>`
          )}</tbody>
        </table>
      </div>
      <div class="scroll" tabindex="0" role="region" aria-label="Win rates">
        <table class="dense">
          <thead>
            <tr><th scope="col">Win rate</th>${heads}</tr>
          </thead>
          <tbody>${matches.map((key) =>
            html`<tr><th scope="row">${key}</th>${
              done.map(({ seen }) => {
                const match = seen.evaluation!.matches.find((one) => matchKey(one) === key);
                return html`<td class="number">${
                  match
                    ? html`<b>${percent(match.raw.rate, 1)}</b> <small>${percent(match.raw.lower)}–${
                      percent(match.raw.upper)
                    }</small>`
                    : "–"
                }</td>`;
              })
            }</tr>`
          )}</tbody>
        </table>
      </div>
    </div>
  `;
}
