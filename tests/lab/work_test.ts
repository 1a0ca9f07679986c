/** Counted operations of Qwen2.5-0.5B against arithmetic that was done by hand. */
import { assertAlmostEquals, assertEquals } from "deno-std/assert/mod.js";
import { publishedConfig } from "../../lab/random_checkpoint.ts";
import { addGeneration, addSequences, flopsOf, forwardFlops, noWork } from "../../lab/work.ts";

/** 14,912,384 parameters a layer, of which 14,909,440 are factors of products. */
const half = publishedConfig("Qwen/Qwen2.5-0.5B")!;

Deno.test("a token's forward pass costs 2 operations a weight, 0.716 GF in the body and 0.272 GF in the head", () => {
  const body = forwardFlops(half, { tokens: 1, attended: 0, headRows: 0 });
  assertAlmostEquals(body / 1e9, 0.716, 0.0005);
  const head = forwardFlops(half, { tokens: 0, attended: 0, headRows: 1 });
  assertAlmostEquals(head / 1e9, 0.272, 0.0005);
  // 575 tokens, causal: 0.025 GF a token on average.
  const attention = forwardFlops(half, { tokens: 0, attended: 575 * 576 / 2, headRows: 0 });
  assertAlmostEquals(attention / 575 / 1e9, 0.025, 0.0005);
});

Deno.test("the published SFT stage, padded, is 2.0e17 operations", () => {
  const work = noWork();
  addSequences(work.trained, [575], (length) => length, 116_722);
  assertEquals(flopsOf(half, work).toExponential(1), "2.0e+17");
});

Deno.test("writing token by token attends to as much as reading the whole", () => {
  const written = noWork(), read = noWork();
  addGeneration(written, [10, 3], 6);
  addSequences(read.read, [15, 8], () => 0);
  assertEquals(written.read.attended + written.written.attended, read.read.attended);
  assertEquals(written.read.tokens + written.written.tokens, read.read.tokens);
  assertEquals(written.read.headRows + written.written.headRows, 2 * 6);
});

Deno.test("a prompt that is answered often and read once costs one reading", () => {
  const shared = noWork(), apart = noWork();
  addGeneration(shared, [10], 6, 8, 1);
  addGeneration(apart, [10], 6, 8);
  assertEquals([shared.read.tokens, apart.read.tokens], [10, 80]);
  assertEquals(shared.read.headRows, apart.read.headRows);
  assertEquals(shared.written, apart.written);
});
