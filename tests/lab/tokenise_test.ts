import { assert, assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { diskFiles } from "../../headless/files.ts";
import { type Comparison, readComparisons } from "../../lab/comparisons.ts";
import { queryAt, sequenceAt, type SummarisedPost } from "../../lab/dataset.ts";
import { QueryError } from "../../lab/query.ts";
import { tokeniseBatch } from "../../lab/tokenise.ts";
import { loadTokenizer } from "../../lab/tokenizer.ts";

const demo = decodeURIComponent(new URL("../../public/demo", import.meta.url).pathname);
const tokenizer = await loadTokenizer((path) => diskFiles().read(path), demo);
const limits = { queryTokens: 96, responseTokens: 32, preferenceTokens: 24 };

const ofPost = (post: SummarisedPost) => tokeniseBatch(tokenizer, { kind: "posts", rows: [post] }, limits);
const ofPair = (pair: Comparison) => tokeniseBatch(tokenizer, { kind: "pairs", rows: [pair] }, limits);

function comparison(info: Record<string, string>, ...texts: string[]): Comparison {
  const row = { info, summaries: texts.map((text) => ({ text })), choice: 1, split: "valid1" };
  return [...readComparisons("b.json", new TextEncoder().encode(JSON.stringify(row)))][0];
}

const post = { id: "t3_1", subreddit: "tifu", title: "A", post: "We met on Monday.\nThen it rained." };

Deno.test("a post's row is its query, a space, the summary and EOS; nothing is padded", () => {
  const table = ofPost({ ...post, summary: "it rained" });
  const query = queryAt(table, 0), tokens = sequenceAt(table, 0);
  assertEquals(table.truncated, 0);
  assertEquals(
    tokenizer.decode(query),
    "SUBREDDIT: r/tifu\n\nTITLE: A\n\nPOST: We met on Monday.\nThen it rained.\n\nTL;DR:",
  );
  assertEquals(tokenizer.decode(tokens.slice(query.length)), " it rained<|endoftext|>");
  assertEquals(tokens.at(-1), tokenizer.eosId);
  assert(!tokens.includes(tokenizer.padId));
});

Deno.test("a summary that cannot be used is named by its post, and by file and line where it was read", () => {
  assertThrows(
    () => ofPost({ ...post, summary: "a <|endoftext|> b" }),
    QueryError,
    "The summary of post t3_1 contains <|endoftext|> itself",
  );
  assertThrows(
    () => ofPair(comparison(post, " a\ud800", " b")),
    QueryError,
    "b.json:1: A summary compared on t3_1 is not valid Unicode",
  );
});

Deno.test("a token that spans a post's query and its summary is an error that names the post", () => {
  // No tokenizer in use does this before a space.
  const joining = {
    ...tokenizer,
    encode: (text: string) => tokenizer.encode(text.replace("TL;DR: it", "TL;DR:it")),
  };
  const batch = { kind: "posts" as const, rows: [{ ...post, summary: "it rained" }] };
  assertThrows(
    () => tokeniseBatch(joining, batch, limits),
    QueryError,
    "In post t3_1 a token spans query and summary; correct how the summary begins.",
  );
});

Deno.test("a comparison has the chosen row before the rejected one, and brings its own space", () => {
  const table = ofPair(comparison(post, " it poured", " it rained"));
  assertEquals(
    [0, 1].map((row) => tokenizer.decode(sequenceAt(table, row).slice(table.queryLengths[row]))),
    [" it rained<|endoftext|>", " it poured<|endoftext|>"],
  );
  assertEquals(table.spanning, 0);
  assertThrows(
    () => ofPair(comparison(post, " it rained".repeat(20), " b")),
    QueryError,
    "comparison on t3_1 the response has",
  );
});

Deno.test("an article's summaries may begin without a space and be longer than a post's", () => {
  const article = { id: "x", site: "cnn", article: "It rained.\nThen it stopped." };
  const long = "It rained " + "and rained ".repeat(30);
  const table = ofPair(comparison(article, long, "'s it"));
  for (const [i, text] of ["'s it", long].entries()) {
    const [query, tokens] = [queryAt(table, i), sequenceAt(table, i)];
    assertEquals(
      tokenizer.decode(tokens),
      `Article:\nIt rained.\nThen it stopped.\n\nTL;DR:${text}<|endoftext|>`,
    );
    assert(query.length > 0 && query.length < tokens.length);
  }
  assert(sequenceAt(table, 1).length - table.queryLengths[1] > limits.preferenceTokens);
});
