import { assert, assertEquals } from "deno-std/assert/mod.js";
import { tableOf, type TokenTable } from "../../lab/dataset.ts";
import {
  countTokens,
  type Lengths,
  lengthsOf,
  lengthTable,
  publishedLengths,
  shownRow,
} from "../../lab/lengths.ts";
import type { Tokenizer } from "../../lab/tokenizer.ts";

const rows = [[3, 2], [7, 1], [4, 9], [1, 1], [6, 5]].map(([query, response]) => ({
  tokens: Array(query + response).fill(65),
  queryLength: query,
}));

Deno.test("lengths are those counted by hand, and do not depend on how a table is divided", () => {
  const counted = (...parts: (typeof rows)[]) =>
    lengthsOf(
      parts.map((part) =>
        countTokens({ ...tableOf(part), truncated: part.length > 2 ? 1 : 0, spanning: part.length })
      ),
    );
  const whole = counted(rows);
  assertEquals(whole, {
    rows: 5,
    longestQuery: 7,
    longestResponse: 9,
    longestSequence: 13,
    meanQuery: 21 / 5,
    meanResponse: 18 / 5,
    truncated: 1,
    spanning: 5,
  });
  assertEquals(counted(rows.slice(0, 1), rows.slice(1), []), whole);
  assertEquals(counted([]).meanQuery, 0);
});

const lengths = (change: Partial<Lengths> = {}): Lengths => ({
  rows: 0,
  longestQuery: 512,
  longestResponse: 63,
  longestSequence: 575,
  meanQuery: 301.25,
  meanResponse: 35,
  truncated: 1234,
  spanning: 0,
  ...change,
});

Deno.test("the table is aligned, starts no line with a space and fits 80 columns", () => {
  const text = lengthTable({
    "posts-train": lengths({ rows: 116_722 }),
    "pairs-cnndm": lengths(),
    b: lengths({ rows: 1 }),
  });
  const lines = text.split("\n");
  assertEquals(lines.length, 4);
  assertEquals(new Set(lines.map((line) => line.length)), new Set([77]));
  assert(lines.every((line) => /^\S/.test(line)));
  assertEquals(lines[2].split(/\s+/), [
    "posts-train",
    "116,722",
    "512",
    "301.3",
    "63",
    "35.0",
    "575",
    "1,234",
  ]);
});

const qwen = { eosId: 151_643, padId: 151_665 } as Tokenizer;
const whole = {
  "posts-train": lengths({ rows: 116_722 }),
  "posts-validation": lengths({ rows: 6_447, longestResponse: 60 }),
  "posts-test": lengths({ rows: 6_553 }),
  "pairs-train": lengths({ rows: 2 * 92_858, longestResponse: 133, longestSequence: 645 }),
  "pairs-valid1": lengths({ rows: 2 * 83_000, longestResponse: 120 }),
  "pairs-valid2": lengths({ rows: 2 * 802 }),
};

Deno.test("of the whole published set, lengths are compared with the published ones", () => {
  assertEquals(publishedLengths(whole, qwen), [
    "The longest query has 512 tokens, as published for Qwen2.5.",
    "The longest reference has 63 tokens, as published for Qwen2.5.",
    "The longest compared summary has 133 tokens, as published for Qwen2.5.",
    "The longest query with a compared summary has 645 tokens, as published for Qwen2.5.",
  ]);
  const other = {
    ...whole,
    "posts-train": lengths({ rows: 116_722, longestResponse: 58 }),
    "posts-test": lengths({ rows: 6_553, longestResponse: 61 }),
    "pairs-valid2": lengths({ rows: 2 * 802, longestResponse: 140 }),
  };
  const [, reference, summary] = publishedLengths(other, qwen);
  assertEquals(reference, "The longest reference has 61 tokens; published for Qwen2.5 are 63.");
  assertEquals(summary, "The longest compared summary has 140 tokens; published for Qwen2.5 are 133.");
});

Deno.test("of another set, or in another tokenizer's tokens, nothing is compared", () => {
  assertEquals(publishedLengths({ ...whole, "posts-test": lengths({ rows: 6_552 }) }, qwen).length, 2);
  assertEquals(publishedLengths({ ...whole, "pairs-train": lengths({ rows: 92_858 }) }, qwen).length, 2);
  assertEquals(publishedLengths(whole, { ...qwen, padId: 768 }), []);
});

Deno.test("a row is shown in lines of 80 columns, its line breaks marked, a long query without its middle", () => {
  const letters = {
    decode: (ids: ArrayLike<number>) => String.fromCharCode(...Array.from(ids)),
  } as Tokenizer;
  const ids = (text: string) => Array.from(text, (character) => character.charCodeAt(0));
  const table = (query: string, response: string): TokenTable =>
    tableOf([{ tokens: ids(query + response), queryLength: query.length }]);
  assertEquals(
    shownRow("posts-train", 0, table("A\n\nB\r\nC:", " Short."), letters),
    "posts-train, row 1: 8 tokens of query, 7 of response\n│ A↵↵B↵C:\n→ Short.",
  );
  const long = shownRow(
    "x",
    0,
    table("begin " + "word ".repeat(400) + "end:", " " + "answer ".repeat(30)),
    letters,
  );
  assert(long.split("\n").every((line) => line.length <= 80), long);
  assert(long.includes("│ begin word") && long.includes(" … ") && long.includes("end:\n→ answer"), long);
  assert(long.length < 700);
});
