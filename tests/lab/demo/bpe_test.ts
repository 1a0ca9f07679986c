import { assert, assertEquals } from "deno-std/assert/mod.js";
import { tokenizerConfigJson, tokenizerJson, trainBpe } from "../../../lab/demo/bpe.ts";
import { buildTokenizer } from "../../../lab/tokenizer.ts";

Deno.test("merges are learnt in the order of their counts, worked out by hand", () => {
  // Pieces: "low" ×5 (one without the space), "lower" ×2, "newest" ×6, "widest" ×3: the example of Sennrich et al. 2016.
  const text =
    "low low low low low lower lower newest newest newest newest newest newest widest widest widest";
  const { merges } = trainBpe([text], 5);
  // e+s and s+t both occur 9 times: e+s sorts first; then es+t 9; lo: l+o 7, o+w 7: l+o first; then lo+w 7;
  // then Ġ+low, Ġ+n, n+e, e+w and w+est 6 each: e+w sorts first.
  assertEquals(merges, [["e", "s"], ["es", "t"], ["l", "o"], ["lo", "w"], ["e", "w"]]);
});

Deno.test("training does not depend on the order of the texts, and stops where nothing repeats", () => {
  const texts = ["my goat ate my homework", "my dog ate my shoes", "the goat and the dog"];
  assertEquals(trainBpe(texts, 20), trainBpe(texts.toReversed(), 20));
  assertEquals(trainBpe(["abc"], 20).merges, []);
  assertEquals(trainBpe([], 20).tokens.length, 256);
});

Deno.test("merges never cross digits, words or line ends, as in Qwen2's split", () => {
  const { tokens } = trainBpe(["100 100 100\n\na b.\n\na b.\n\n 100", "100 100"], 100);
  assert(!tokens.some((token) => /\d\d/.test(token)), "two digits in one token");
  assert(tokens.includes(".ĊĊ"));
});

Deno.test("the written tokenizer loads, gives <|endoftext|> the next id and round-trips any text", async () => {
  const bpe = trainBpe(["my goat ate my homework, my goat ate my shoes"], 20);
  const tokenizer = await buildTokenizer(
    "tokenizer.json",
    JSON.parse(tokenizerJson(bpe)),
    JSON.parse(tokenizerConfigJson(bpe)),
    Infinity,
  );
  assertEquals(tokenizer.eosId, bpe.tokens.length);
  assertEquals(tokenizer.padId, bpe.tokens.length + 1);
  assertEquals(tokenizer.encode("<|endoftext|>"), [bpe.tokens.length]);
  for (const text of ["my goat", "🐐 中文 é\n\n\t", "\u0000\u00ad\u007f"]) {
    assertEquals(tokenizer.decode(tokenizer.encode(text)), text);
  }
});
