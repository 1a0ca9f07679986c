import { assert, assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { diskFiles } from "../../../headless/files.ts";
import { type Comparison, readComparisons } from "../../../lab/comparisons.ts";
import { QueryError } from "../../../lab/query.ts";
import { pairRows, postRow } from "../../../lab/stages/preprocess.ts";
import { loadTokenizer } from "../../../lab/tokenizer.ts";

const demo = decodeURIComponent(new URL("../../../public/demo", import.meta.url).pathname);
const tokenizer = await loadTokenizer((path) => diskFiles().read(path), demo);
const limits = { queryTokens: 96, responseTokens: 32, preferenceTokens: 24 };

function comparison(info: Record<string, string>, ...texts: string[]): Comparison {
  const row = { info, summaries: texts.map((text) => ({ text })), choice: 1, split: "valid1" };
  return [...readComparisons("b.json", new TextEncoder().encode(JSON.stringify(row)))][0];
}

const post = { id: "t3_1", subreddit: "tifu", title: "A", post: "We met on Monday.\nThen it rained." };

Deno.test("a post's row is its query, a space, the summary and EOS; nothing is padded", () => {
  const { tokens, queryLength, cut } = postRow(tokenizer, { ...post, summary: "it rained" }, limits);
  assertEquals(cut, 0);
  assertEquals(
    tokenizer.decode(tokens.slice(0, queryLength)),
    "SUBREDDIT: r/tifu\n\nTITLE: A\n\nPOST: We met on Monday.\nThen it rained.\n\nTL;DR:",
  );
  assertEquals(tokenizer.decode(tokens.slice(queryLength)), " it rained<|endoftext|>");
  assertEquals(tokens.at(-1), tokenizer.eosId);
  assert(!tokens.includes(tokenizer.padId));
});

Deno.test("a summary that cannot be used is named by its post", () => {
  assertThrows(
    () => postRow(tokenizer, { ...post, summary: "a <|endoftext|> b" }, limits),
    QueryError,
    "The summary of post t3_1 contains <|endoftext|> itself",
  );
  assertThrows(
    () => pairRows(tokenizer, comparison(post, " a\ud800", " b"), limits),
    QueryError,
    "A summary compared on t3_1 is not valid Unicode",
  );
});

Deno.test("a comparison has the chosen row before the rejected one, and brings its own space", () => {
  const rows = pairRows(tokenizer, comparison(post, " it poured", " it rained"), limits);
  assertEquals(
    rows.map(({ tokens, queryLength }) => tokenizer.decode(tokens.slice(queryLength))),
    [" it rained<|endoftext|>", " it poured<|endoftext|>"],
  );
  assertEquals(rows.map(({ separable }) => separable), [true, true]);
  assertThrows(
    () => pairRows(tokenizer, comparison(post, " it rained".repeat(20), " b"), limits),
    QueryError,
    "comparison on t3_1 the response has",
  );
});

Deno.test("an article's summaries may begin without a space and be longer than a post's", () => {
  const article = { id: "x", site: "cnn", article: "It rained.\nThen it stopped." };
  const long = "It rained " + "and rained ".repeat(30);
  const rows = pairRows(tokenizer, comparison(article, long, "'s it"), limits);
  for (const [i, text] of ["'s it", long].entries()) {
    const { tokens, queryLength } = rows[i];
    assertEquals(
      tokenizer.decode(tokens),
      `Article:\nIt rained.\nThen it stopped.\n\nTL;DR:${text}<|endoftext|>`,
    );
    assert(queryLength > 0 && queryLength < tokens.length);
  }
  assert(rows[1].tokens.length - rows[1].queryLength > limits.preferenceTokens);
});
