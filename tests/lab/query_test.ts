import { assert, assertEquals, assertThrows } from "deno-std/assert/mod.js";
import {
  cnndmQuery,
  cnndmQueryLimit,
  formatCnndmQuery,
  formatTldrQuery,
  padLeft,
  padRight,
  type Post,
  preferenceResponse,
  QueryError,
  referenceResponse,
  tldrQuery,
  tldrQueryLimit,
  tokenizeSequence,
  withoutLeftPadding,
} from "../../lab/query.ts";
import type { Tokenizer } from "../../lab/tokenizer.ts";
import { judgedPosts, qwenTokenizer } from "./qwen.ts";

const qwen = await qwenTokenizer();
const posts = await judgedPosts();

/**
 * A stand-in with one id a piece, pieces split as GPT-2's pre-tokenizer splits them: words of up to four letters are one token,
 * longer ones one for every four letters.
 */
const standIn: Tokenizer = {
  encode: (text) =>
    (text.match(/<\|endoftext\|>|'s| ?\p{L}+| ?[^\s\p{L}]+|\s+(?!\S)|\s+/gu) ?? []).flatMap((piece) =>
      piece === "<|endoftext|>" ? [0] : piece.match(/[^]{1,4}/gu)!.map((part) => 1 + part.codePointAt(0)!)
    ),
  decode: () => "",
  decodeToken: () => "",
  eosId: 0,
  padId: 2 ** 21,
  vocabularySize: 2 ** 21,
};

/** The published rule, word for word and nothing else: tokenise again after every single cut. Null where nothing is left. */
function literalRule(tokenizer: Tokenizer, post: Post, limit: number): string | null {
  let characters = Array.from(post.post);
  const query = () => formatTldrQuery({ ...post, post: characters.join("") });
  while (tokenizer.encode(query()).length > limit) {
    const newline = characters.lastIndexOf("\n");
    characters = characters.slice(0, newline >= 0 ? newline : -1);
    if (characters.length === 0) return null;
  }
  return query();
}

Deno.test("the query template, byte for byte", () => {
  const post = { subreddit: "tifu", title: "by testing", post: "One.\n\nTwo." };
  assertEquals(
    formatTldrQuery(post),
    "SUBREDDIT: r/tifu\n\nTITLE: by testing\n\nPOST: One.\n\nTwo.\n\nTL;DR:",
  );
  assertEquals(formatCnndmQuery({ article: "(CNN) -- x" }), "Article:\n(CNN) -- x\n\nTL;DR:\n");
  assertEquals([tldrQueryLimit, cnndmQueryLimit], [512, 1919]);
  assertEquals(tldrQuery(standIn, post).text, formatTldrQuery(post));
  assertEquals(cnndmQuery(standIn, { article: "A $& b" }).text, "Article:\nA $& b\n\nTL;DR:\n");
});

Deno.test("a query over the limit loses its last paragraphs, and single characters only where no newline is left", () => {
  const post = { subreddit: "a", title: "b", post: "one two three four\nfive six\nseven" };
  const whole = standIn.encode(formatTldrQuery(post)).length;
  const cut = tldrQuery(standIn, post, whole - 1);
  assertEquals(cut.text, formatTldrQuery({ ...post, post: "one two three four\nfive six" }));
  assertEquals(cut.cut, "\nseven".length);
  assertEquals(cut.tokens, standIn.encode(cut.text));
  // Nine characters are three tokens here, eight are two: one llama goes, whole.
  const line = { ...post, post: "one two three four 🦙🦙🦙🦙🦙🦙🦙🦙" };
  const lineTokens = standIn.encode(formatTldrQuery(line)).length;
  assertEquals(
    tldrQuery(standIn, line, lineTokens - 1).text,
    formatTldrQuery({ ...line, post: "one two three four 🦙🦙🦙🦙🦙🦙🦙" }),
  );
});

Deno.test("truncation gives what the literal rule gives, for texts of every kind and every limit", () => {
  let seed = 7;
  const below = (limit: number) => (seed = (seed * 48271) % 0x7fffffff) % limit;
  const pieces = [
    "word",
    "a",
    "I",
    " ",
    " ",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    "🦙",
    "👩‍👧",
    "é",
    "e\u0301",
    "5",
    "2026",
  ]
    .concat([
      ".",
      "...",
      "'s",
      " 's",
      "日本語",
      "שלום",
      "\0",
      "<|endoftext|>",
      "supercalifragilistic",
      "\u0301",
      " \u0301",
    ]);
  for (const tokenizer of [standIn, ...(qwen ? [qwen] : [])]) {
    for (let i = 0; i < 300; i++) {
      let text = "";
      const density = below(3);
      for (let j = 3 + below(60); j > 0; j--) {
        text += density > 0 && below(density + 1) > 0 ? " word" : pieces[below(pieces.length)];
      }
      const post = { subreddit: "x", title: "y", post: text };
      const whole = tokenizer.encode(formatTldrQuery(post)).length;
      const limit = Math.max(12, whole - below(whole));
      const expected = /\S/.test(text) ? literalRule(tokenizer, post, limit) : null;
      if (expected === null) assertThrows(() => tldrQuery(tokenizer, post, limit), QueryError);
      else assertEquals(tldrQuery(tokenizer, post, limit).text, expected, JSON.stringify({ text, limit }));
    }
  }
});

Deno.test({
  name: "real posts truncated to 300 tokens are what the literal rule gives",
  ignore: qwen === null || posts === null,
  fn() {
    let cut = 0;
    for (const { query, row } of posts!.slice(0, 100)) {
      const [, subreddit, title, text] = /^SUBREDDIT: r\/(.*?)\n\nTITLE: ([^]*?)\n\nPOST: ([^]*)\n\nTL;DR:$/
        .exec(query)!;
      const post = { id: String(row), subreddit, title, post: text };
      assertEquals(formatTldrQuery(post), query);
      const ours = tldrQuery(qwen!, post, 300);
      assert(ours.tokens.length <= 300);
      assertEquals(ours.text, literalRule(qwen!, post, 300));
      if (ours.cut > 0) cut++;
    }
    assert(cut > 30, `${cut} were cut`);
  },
});

Deno.test("posts of a megabyte are truncated in the time of a few", () => {
  const start = performance.now();
  const words = { subreddit: "a", title: "b", post: "many words ".repeat(90_000) };
  assert(standIn.encode(tldrQuery(standIn, words).text).length <= 512);
  for (const hopeless of ["a".repeat(1_000_000), "🦙".repeat(250_000), "🦙\n".repeat(100_000)]) {
    assertThrows(() => tldrQuery(standIn, { ...words, post: hopeless }), QueryError, "too long to truncate");
  }
  const narrow = { ...words, post: "a\n".repeat(500_000) };
  assert(standIn.encode(tldrQuery(standIn, narrow).text).length <= 512);
  const lines = { ...words, post: "a line of words\n".repeat(60_000) };
  assert(standIn.encode(tldrQuery(standIn, lines).text).length <= 512);
  assert(performance.now() - start < 20_000);
});

Deno.test("posts that cannot become a query are refused in one sentence", () => {
  const post = { id: "t3_x", subreddit: "a", title: "b", post: "text" };
  const refused = (change: Partial<Post>, message: string, limit?: number) =>
    assertThrows(() => tldrQuery(standIn, { ...post, ...change }, limit), QueryError, message);
  refused({ post: "" }, "Post t3_x is empty; leave it out.");
  refused({ post: " \n\t\u3000" }, "Post t3_x is empty");
  refused(
    { post: "a\udc00" },
    "Post t3_x's post is not valid Unicode (half a surrogate pair at character 1)",
  );
  refused({ title: "\ud83e" }, "Post t3_x's title is not valid Unicode");
  refused({ title: "word ".repeat(600) }, "Post t3_x cannot be truncated to a query of 512 tokens");
  refused({ post: "\nfirst paragraph is empty" }, "nothing of it is left", 12);
  refused(
    { id: undefined, post: "日".repeat(20_000) },
    "would take too long to truncate to a query of 512 tokens; shorten it or break it",
  );
  assertThrows(() => cnndmQuery(standIn, { id: "c", article: "\ud800" }), QueryError, "Article c is not");
  // Odd but sound: kept to the byte.
  for (const text of ["\0", "🦙🦙", "\u202eשלום", "a\r\nb"]) {
    assertEquals(tldrQuery(standIn, { ...post, post: text }).text, formatTldrQuery({ ...post, post: text }));
  }
});

Deno.test("a reference gets a space and EOS, a comparison's text gets EOS only", () => {
  assertEquals(referenceResponse("short."), " short.<|endoftext|>");
  assertEquals(preferenceResponse(" short."), " short.<|endoftext|>");
  assertThrows(() => preferenceResponse(" a<|endoftext|>b"), QueryError, "contains <|endoftext|> itself");
  assertThrows(() => referenceResponse("\ud800"), QueryError, "The summary is not valid Unicode");
});

Deno.test({
  name: "query and response are tokenised jointly, and it is said where a token spans both",
  ignore: qwen === null,
  fn() {
    const query = formatTldrQuery({ subreddit: "a", title: "b", post: "c" });
    const sequence = tokenizeSequence(qwen!, query, referenceResponse("short."));
    assert(sequence.separable);
    assertEquals(sequence.tokens.slice(sequence.queryLength), qwen!.encode(" short.<|endoftext|>"));
    // CNN/DM: the query's last newline goes, and ":String" is one token.
    const article = formatCnndmQuery({ article: "c" });
    const joined = tokenizeSequence(qwen!, article, preferenceResponse("String theory"));
    assertEquals(joined.tokens, qwen!.encode("Article:\nc\n\nTL;DR:String theory<|endoftext|>"));
    assert(!joined.separable);
    assert(tokenizeSequence(qwen!, article, preferenceResponse(" String theory")).separable);
  },
});

Deno.test("padding goes before queries and behind responses, and never cuts", () => {
  assertEquals([...padLeft([1, 2], 4, 9)], [9, 9, 1, 2]);
  assertEquals([...padRight([1, 2], 4, 9)], [1, 2, 9, 9]);
  assertEquals([...withoutLeftPadding(padLeft([1, 9, 2], 5, 9), 9)], [1, 9, 2]);
  assertThrows(() => padLeft([1, 2, 3], 2, 9), RangeError, "3 tokens do not fit a row of 2");
});
