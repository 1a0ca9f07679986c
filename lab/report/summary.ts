/** The result in short, for the end of a run in the terminal. */
import { columnsOf, fitColumns, fixed, percent } from "../format.ts";
import {
  alarmPlace,
  authorName,
  type Match,
  type Mean,
  type ReportData,
  type SampleSummary,
} from "./data.ts";
import { judgeName } from "./words.ts";

/**
 * Authors with their figures, win rates, and a few posts with everybody's summaries, as plain lines.
 * @param width columns; no line is wider. Below 40 it is taken as 40.
 * @param posts how many posts to show
 */
export function terminalSummary(
  { evaluation, stages, alarms = [] }: ReportData,
  width = 80,
  posts = 3,
): string {
  const columns = Math.max(40, width);
  const lines: string[] = [];
  const failed = stages.flatMap(({ invariants }) => invariants ?? []).filter(({ passed }) => !passed);
  if (evaluation) {
    const value = (mean: Mean | undefined, decimals: number) => mean ? fixed(mean.mean, decimals) : "–";
    const table = [
      ["", "gold", "reward", "length", "EOS", "KL", "ROUGE-L"],
      ...evaluation.authors.map((one) => [
        authorName(one.author),
        value(one.gold, 2),
        value(one.reward, 2),
        value(one.length, 1),
        percent(one.eosRate),
        value(one.kl, 1),
        fixed(one.rougeL, 3),
      ]),
    ];
    // A column without any figure is no column; the last ones go first where the terminal is narrow.
    const used = table[0].map((_, c) => c).filter((c) =>
      c === 0 || table.slice(1).some((row) => row[c] !== "–")
    );
    const widths = used.map((c) => Math.max(...table.map((row) => columnsOf(row[c]))));
    while (used.length > 2 && 2 + widths.reduce((sum, one) => sum + one + 2, -2) > columns) {
      used.pop();
      widths.pop();
    }
    lines.push(`Summaries of ${evaluation.posts} ${evaluation.split} posts`, "");
    for (const row of table) {
      const cells = used.map((c, i) => i === 0 ? row[c].padEnd(widths[i]) : row[c].padStart(widths[i]));
      lines.push(`  ${cells.join("  ")}`);
    }
    lines.push("", ...evaluation.matches.map((match) => `  ${matchLine(match)}`));
    for (const { title, subreddit, summaries } of evaluation.samples.slice(0, posts)) {
      lines.push("", `  r/${oneLine(subreddit)}: ${oneLine(title)}`);
      lines.push(...summaries.map((one) => sampleLine(one, columns)));
    }
  }
  for (const { name, found } of failed) {
    lines.push("", `Does not hold in the first update: ${name} (found ${found ?? "no finite number"}).`);
  }
  // Cut to the terminal's width here; they were shown in full when they were raised, and stand so in the report.
  if (alarms.length > 0) lines.push("");
  for (const alarm of alarms) lines.push(`Alarm in ${alarmPlace(alarm)}: ${alarm.sentence}`);
  return lines.map((line) => fitColumns(line, columns).trimEnd()).join("\n");
}

function matchLine({ ours, theirs, raw, lengthControlled, judge, orderDisagreement = 0 }: Match): string {
  const range = `${percent(raw.lower)} to ${percent(raw.upper)}`;
  const equal = lengthControlled ? `, at equal length ${percent(lengthControlled.rate)}` : "";
  return `${authorName(ours)} over ${authorName(theirs)}: ${percent(raw.rate)} (${range}${equal}) by ${
    judgeName(judge)
  }${orderDisagreement > 0 ? `; orders differ on ${percent(orderDisagreement)}` : ""}`;
}

function sampleLine({ author, text, gold, reward }: SampleSummary, columns: number): string {
  const scores = [gold, reward].filter((score) => score !== undefined).map((score) =>
    fixed(score, 1).padStart(5)
  );
  const tail = scores.length > 0 ? `  ${scores.join(" ")}` : "";
  const head = `    ${authorName(author).padEnd(10)} `;
  const room = Math.max(8, columns - columnsOf(head) - tail.length);
  const fitted = fitColumns(oneLine(text) || "(empty)", room);
  return head + fitted + " ".repeat(Math.max(0, room - columnsOf(fitted))) + tail;
}

/** Without control characters, line breaks and marks that turn the direction of writing. */
function oneLine(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.toWellFormed().replace(/[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\s]+/g, " ")
    .trim();
}
