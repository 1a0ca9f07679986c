/** What `deno task generate` prints: a table or a list for the terminal, Markdown, a page, JSON. */
import { markedPhrases } from "../lab/demo/phrases.ts";
import { columnsOf, fitColumns } from "../lab/format.ts";
import type { SampleRow, SampleSummary } from "../lab/report/data.ts";
import { html, trusted } from "../lab/report/html.ts";
import { samplesSection } from "../lab/report/result_sections.ts";
import { style } from "../lab/report/style.ts";
import type { Outcome, Sample } from "./generate.ts";
import type { GivenPost } from "./generate_posts.ts";

export type Format = "text" | "markdown" | "html" | "json";

export interface Presentation {
  format: Format;
  /** Whether the posts came as a list; JSON is a list then. */
  many: boolean;
  /** Columns of the terminal. */
  width: number;
  temperature: number;
  /** The posts, outcome by outcome. */
  given: readonly GivenPost[];
}

/** Columns that a table's cell needs to be read; where there are fewer, summaries stand below each other. */
const narrowest = 18;

export function present(outcomes: readonly Outcome[], presentation: Presentation): string {
  const { format, many, width } = presentation;
  if (format === "json") return JSON.stringify(many ? outcomes : outcomes[0], null, 2);
  if (format === "markdown") return markdown(outcomes);
  if (format === "html") return page(outcomes, presentation);
  const { models } = outcomes[0];
  const tabular = models.length > 1 || outcomes.length > 1;
  const detailed = models.some(({ samples }) => samples.some(({ tokenLogprobs }) => tokenLogprobs));
  const room = Math.floor((width - 3 * models.length) / (models.length + 1.6));
  if (!tabular || detailed || room < narrowest) {
    return outcomes.map((outcome) => list(outcome, width)).join("\n\n");
  }
  return table(outcomes, room, width);
}

/** What the table calls a model: those of a run by their published names. */
function columnTitle(name: string): string {
  return { base: "base model tldr", sft: "SFT model tldr", ppo: "PPO" }[name] ?? name;
}

/** "9 tokens, gold 2.50" */
function factsOf({ tokens, ended, gold }: Sample): string {
  const end = ended ? "" : " without an end";
  return `${tokens.length} tokens${end}${gold === undefined ? "" : `, gold ${gold.toFixed(2)}`}`;
}

// ---- terminal ----

/** Without control characters, which could move the cursor or worse, and marks that turn the direction of writing. */
function printable(text: string): string {
  return text.toWellFormed()
    // deno-lint-ignore no-control-regex
    .replace(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+/g, " ");
}

function table(outcomes: readonly Outcome[], room: number, width: number): string {
  const { models } = outcomes[0];
  const widths = [width - models.length * (room + 3), ...models.map(() => room)];
  const line = (cells: readonly string[]) =>
    cells.map((cell, c) => cell + " ".repeat(Math.max(0, widths[c] - columnsOf(cell)))).join(" │ ").trimEnd();
  const rule = (cross: string) => widths.map((columns) => "─".repeat(columns)).join(`─${cross}─`);
  const lines = [line(["input", ...models.map(({ name }) => fitColumns(columnTitle(name), room))])];
  for (const { post, reference, models } of outcomes) {
    lines.push(rule("┼"));
    const cells = models.map(({ samples }) =>
      samples.flatMap((sample, i) => [
        ...(i > 0 ? [""] : []),
        ...wrap(sample.text || "(nothing)", room),
        ...wrap(`[${factsOf(sample)}]`, room),
      ])
    );
    const head = wrap(`r/${post.subreddit}${post.title && `: ${post.title}`}`, widths[0]);
    const tail = reference ? ["", ...wrap(`Reference: ${reference.text}`, widths[0])] : [];
    // The post takes the lines that the summaries leave, and a few in any case.
    const lineCount = Math.max(10, ...cells.map((cell) => cell.length - head.length - tail.length));
    const body = post.post.split(/\n+/).flatMap((paragraph) => wrap(paragraph, widths[0]));
    if (body.length > lineCount) {
      body.length = lineCount;
      body[lineCount - 1] = `${fitColumns(body[lineCount - 1], widths[0] - 2)} …`;
    }
    const columns = [[...head, ...body, ...tail], ...cells];
    const height = Math.max(...columns.map((column) => column.length));
    for (let i = 0; i < height; i++) lines.push(line(columns.map((column) => column[i] ?? "")));
  }
  return lines.join("\n");
}

function list({ post, reference, models }: Outcome, width: number): string {
  const names = Math.max(9, ...models.map(({ name }) => name.length));
  const cut = post.charactersCut > 0 ? `, its last ${post.charactersCut} characters cut off` : "";
  const lines = [
    printable(`r/${post.subreddit}${post.title && `: ${post.title}`} (${post.queryTokens} tokens${cut})`),
    "",
  ];
  const entry = (name: string, text: string, facts: string[]) => {
    wrap(text || "(nothing)", Math.max(20, width - 4 - names)).forEach((line, i) =>
      lines.push(`${(i ? "" : name).padEnd(names)}  ${line}`)
    );
    if (facts.length > 0) lines.push(`${"".padEnd(names)}  [${facts.join(", ")}]`);
  };
  if (reference) {
    entry(
      "reference",
      reference.text,
      reference.gold === undefined ? [] : [`gold ${reference.gold.toFixed(2)}`],
    );
  }
  for (const { name, samples } of models) {
    for (const sample of samples) {
      const [tokens, ...gold] = factsOf(sample).split(", ");
      entry(name, sample.text, [tokens, `logprob ${sample.logprob.toFixed(2)}`, ...gold]);
      for (const { token, logprob } of sample.tokenLogprobs ?? []) {
        lines.push(`${"".padEnd(names)}  ${logprob.toFixed(3).padStart(9)}  ${JSON.stringify(token)}`);
      }
    }
  }
  return lines.join("\n");
}

/** Breaks a text at spaces into lines of at most `width` columns; a longer word is cut. */
function wrap(text: string, width: number): string[] {
  const lines = [""];
  for (let word of printable(text).split(/\s+/)) {
    const line = lines[lines.length - 1];
    if (line && columnsOf(line) + 1 + columnsOf(word) > width) lines.push("");
    else if (line) word = ` ${word}`;
    while (columnsOf(word) > width) {
      let piece = "";
      for (const character of word) {
        if (columnsOf(piece + character) > width) break;
        piece += character;
      }
      if (piece === "") break;
      lines[lines.length - 1] += piece;
      lines.push("");
      word = word.slice(piece.length);
    }
    lines[lines.length - 1] += word;
  }
  return lines;
}

// ---- Markdown ----

function markdown(outcomes: readonly Outcome[]): string {
  const { models } = outcomes[0];
  const references = outcomes.some(({ reference }) => reference);
  const header = [
    "input",
    ...(references ? ["reference"] : []),
    ...models.map(({ name }) => columnTitle(name)),
  ];
  const rows = outcomes.map(({ post, reference, models }) => [
    `**${cell(`r/${post.subreddit}${post.title && `: ${post.title}`}`)}**<br>${cell(post.post)}`,
    ...(references
      ? [
        reference
          ? `${cell(reference.text)}${
            reference.gold === undefined ? "" : `<br>*gold ${reference.gold.toFixed(2)}*`
          }`
          : "",
      ]
      : []),
    ...models.map(({ samples }) =>
      samples.map((sample) => `${cell(sample.text) || "(nothing)"}<br>*${factsOf(sample)}*`).join("<br><br>")
    ),
  ]);
  return [header.map(cell), header.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join(
    "\n",
  );
}

/** A text that stands in a cell as it is, on one line. */
function cell(text: string): string {
  return printable(text)
    .replace(/[&<>]/g, (character) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[character]!)
    .replace(/[\\`*_{}\[\]|~#]/g, "\\$&")
    .trim()
    .replace(/\n+/g, "<br>");
}

// ---- a page ----

function page(outcomes: readonly Outcome[], { temperature, given }: Presentation): string {
  const samples = outcomes.map(({ post, reference, models }, i): SampleRow => {
    const { record } = given[i];
    const marks = (text: string) => record ? markedPhrases(record, text) : {};
    return {
      id: post.id ?? String(i + 1),
      subreddit: post.subreddit,
      title: post.title,
      post: post.post,
      ...(record && {
        facts: [record.facts.who, record.facts.what, record.facts.result, record.facts.question],
      }),
      summaries: [
        ...(reference ? [{ author: "reference" as const, ...reference, ...marks(reference.text) }] : []),
        ...models.flatMap(({ name, samples }) =>
          samples.map(({ text, gold, tokens, ended }): SampleSummary => ({
            author: name as SampleSummary["author"],
            text,
            gold,
            length: tokens.length,
            ended,
            ...marks(text),
          }))
        ),
      ],
    };
  });
  return html`
    <!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta http-equiv="Content-Security-Policy"
          content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>Précis: summaries</title>
        <style>${trusted(style)}</style>
      </head>
      <body>
        <main>
          <section><h2>${outcomes.length === 1
            ? "One post"
            : `${outcomes.length} posts`}</h2>${samplesSection({ samples, temperature })}</section>
        </main>
      </body>
    </html>
  `.source.trim();
}
