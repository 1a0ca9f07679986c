/** How long the rows of token tables are: figures, a table of them for the terminal, and how they compare with published ones. */
import type { TokenisedTable, TokenTable } from "./dataset.ts";
import { columnsOf, fixed, groupThousands } from "./format.ts";
import { comparisonRowCounts } from "./comparisons.ts";
import { tldrRowCounts } from "./tldr.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Longest and mean lengths of a table, in tokens. */
export interface Lengths {
  /** Sequences: a comparison has two. */
  rows: number;
  longestQuery: number;
  longestResponse: number;
  longestSequence: number;
  meanQuery: number;
  meanResponse: number;
  /** Rows whose query lost its end. */
  truncated: number;
  /** Rows in which a token spans query and response; of comparisons alone. */
  spanning: number;
}

/** What is counted of each shard; all of it adds up. */
export interface TokenCounts {
  rows: number;
  queryTokens: number;
  responseTokens: number;
  longestQuery: number;
  longestResponse: number;
  longestSequence: number;
  truncated: number;
  spanning: number;
}

export function countTokens({ starts, queryLengths, truncated, spanning }: TokenisedTable): TokenCounts {
  const rows = queryLengths.length;
  let queryTokens = 0, longestQuery = 0, longestResponse = 0, longestSequence = 0;
  for (let i = 0; i < rows; i++) {
    const query = queryLengths[i], sequence = starts[i + 1] - starts[i];
    queryTokens += query;
    longestQuery = Math.max(longestQuery, query);
    longestResponse = Math.max(longestResponse, sequence - query);
    longestSequence = Math.max(longestSequence, sequence);
  }
  const responseTokens = starts[rows] - queryTokens;
  return {
    rows,
    queryTokens,
    responseTokens,
    longestQuery,
    longestResponse,
    longestSequence,
    truncated,
    spanning,
  };
}

/** Lengths of a table from the counts of its shards. */
export function lengthsOf(shards: readonly TokenCounts[]): Lengths {
  const sum = (name: keyof TokenCounts) => shards.reduce((total, shard) => total + shard[name], 0);
  const longest = (name: keyof TokenCounts) => shards.reduce((most, shard) => Math.max(most, shard[name]), 0);
  const rows = sum("rows");
  return {
    rows,
    longestQuery: longest("longestQuery"),
    longestResponse: longest("longestResponse"),
    longestSequence: longest("longestSequence"),
    meanQuery: sum("queryTokens") / Math.max(1, rows),
    meanResponse: sum("responseTokens") / Math.max(1, rows),
    truncated: sum("truncated"),
    spanning: sum("spanning"),
  };
}

/** A table of lengths, by name, 77 columns wide; empty tables are left out. */
export function lengthTable(tables: Record<string, Lengths>): string {
  const line = (name: string, ...cells: string[]) =>
    name.padEnd(17) + cells.map((cell, i) => cell.padStart([8, 10, 8, 10, 8, 8, 8][i])).join("");
  return [
    line("tokens", "", "query", "", "response", "", "whole", "queries"),
    line("split", "rows", "longest", "mean", "longest", "mean", "longest", "cut"),
    ...Object.entries(tables).filter(([, { rows }]) => rows > 0).map(([name, lengths]) =>
      line(
        name,
        groupThousands(lengths.rows),
        String(lengths.longestQuery),
        fixed(lengths.meanQuery, 1),
        String(lengths.longestResponse),
        fixed(lengths.meanResponse, 1),
        String(lengths.longestSequence),
        groupThousands(lengths.truncated),
      )
    ),
  ].join("\n");
}

/**
 * The longest of the whole published data in Qwen2.5's tokens, as liyuan24/dgx_spark_summary_from_human_feedback at dcebfe9 found them.
 * Its 645 for a query with a compared summary is the sum of the two limits.
 */
const published = { query: 512, response: 63, preference: 133, preferenceSequence: 645 };

/**
 * Sentences that compare lengths with the published ones: none where the data are not the whole published set, or the tokenizer is
 * not Qwen2.5's.
 */
export function publishedLengths(tables: Record<string, Lengths>, tokenizer: Tokenizer): string[] {
  if (tokenizer.eosId !== 151_643 || tokenizer.padId !== 151_665) return [];
  const whole = (names: readonly string[], counts: readonly number[]) =>
    names.every((name, i) => tables[name].rows === counts[i]);
  const longest = (names: readonly string[], value: (lengths: Lengths) => number) =>
    Math.max(...names.map((name) => value(tables[name])));
  const found: [string, number, number][] = [];
  const posts = ["posts-train", "posts-validation", "posts-test"];
  const { train, validation, test } = tldrRowCounts;
  if (whole(posts, [train, validation, test])) {
    found.push(["query", longest(posts, (lengths) => lengths.longestQuery), published.query]);
    found.push(["reference", longest(posts, (lengths) => lengths.longestResponse), published.response]);
  }
  const pairs = ["pairs-train", "pairs-valid1", "pairs-valid2"];
  const rows = pairs.map((name) => tables[name].rows);
  if (rows[0] === 2 * comparisonRowCounts.train && rows[1] + rows[2] === 2 * comparisonRowCounts.validation) {
    const summary = longest(pairs, (lengths) => lengths.longestResponse);
    found.push(["compared summary", summary, published.preference]);
    const sequence = longest(pairs, (lengths) => lengths.longestSequence);
    found.push(["query with a compared summary", sequence, published.preferenceSequence]);
  }
  return found.map(([what, tokens, expected]) =>
    tokens === expected
      ? `The longest ${what} has ${tokens} tokens, as published for Qwen2.5.`
      : `The longest ${what} has ${tokens} tokens; published for Qwen2.5 are ${expected}.`
  );
}

/** Characters shown of a long query, and columns of a line. */
const beginning = 200, end = 60, columns = 80;

/** A row as text, in lines of 80 columns: its query with the middle left out, and behind arrows its response; ↵ is a line break. */
export function shownRow(name: string, row: number, table: TokenTable, tokenizer: Tokenizer): string {
  const start = table.starts[row], response = start + table.queryLengths[row], stop = table.starts[row + 1];
  const text = (from: number, to: number) =>
    tokenizer.decode(table.tokens.subarray(from, to)).replace(/\r\n|\r|\n/g, "↵");
  const query = Array.from(text(start, response));
  const shown = query.length <= beginning + end
    ? query.join("")
    : `${query.slice(0, beginning).join("")} … ${query.slice(-end).join("")}`;
  return [
    `${name}, row ${row + 1}: ${response - start} tokens of query, ${stop - response} of response`,
    ...wrapped(shown).map((line) => `│ ${line}`),
    ...wrapped(text(response, stop).trimStart()).map((line) => `→ ${line}`),
  ].join("\n");
}

/** Lines of a text that leave room for a mark before them. */
function wrapped(text: string): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && columnsOf(`${line} ${word}`) > columns - 2) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
