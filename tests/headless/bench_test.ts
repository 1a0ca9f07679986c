import { assert, assertEquals, assertRejects, assertStringIncludes } from "deno-std/assert/mod.js";
import { type BenchReport, benchTask, formatBench } from "../../headless/bench.ts";
import { verdictTable } from "../../headless/bench_verdict.ts";

Deno.test("bench explains itself and refuses what it does not know", async () => {
  assertStringIncludes(await benchTask(["--help"]), "--what");
  await assertRejects(() => benchTask(["--waht", "step"]), RangeError, "what");
});

Deno.test({
  name: "bench measures encoding in microseconds, as JSON and as text",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const report: BenchReport = JSON.parse(
      await benchTask(["--what", "encode", "--json", "--gpu", "native"]),
    );
    const { copyMicroseconds, gemmMicroseconds } = report.encode!;
    assert(copyMicroseconds > 0.05 && copyMicroseconds < 100, `${copyMicroseconds} µs`);
    assert(gemmMicroseconds > copyMicroseconds / 4);
    assertStringIncludes(formatBench(report), "µs");
  },
});

Deno.test("the table of products shows ratios, and dashes where a peer was left out", () => {
  const row = { where: "square", form: "NN", M: 2, N: 2, K: 2, ours: 4, gigabytesPerSecond: 1 } as const;
  const text = formatBench({
    adapter: "a",
    driver: "d",
    runtime: "native",
    clock: "wall",
    matmul: [{ ...row, jax: 2, tfjs: null }, { ...row, ours: 2, jax: null, tfjs: 0.5 }],
  });
  assertStringIncludes(text, "2.0×");
  assertStringIncludes(text, "4.0×");
  assert(text.split("\n").every((line) => line.length <= 80), text);
  assertEquals(
    text.split("\n\n")[1].split("\n").map((line) => line.match(/–/g)?.length ?? 0),
    [0, 2, 2],
  );
});

Deno.test("the verdict shows each layer's closest comparison and every one that misses", () => {
  const row = { form: "NT", M: 64, N: 8, K: 8, gigabytesPerSecond: 1 } as const;
  const report: BenchReport = {
    adapter: "a",
    driver: "d",
    runtime: "native",
    clock: "wall",
    matmul: [
      { ...row, where: "Qwen up y", ours: 9, jax: 3, tfjs: 1 },
      { ...row, where: "Qwen up dx", ours: 9, jax: 2, tfjs: 4 },
      { ...row, where: "Qwen down y", ours: 3, jax: 2, tfjs: null },
      { ...row, where: "Qwen down dx", ours: 3, jax: 2.5, tfjs: 1 },
    ],
    step: { shape: "s", ours: 10, jax: 42, ourLoss: 1, jaxLoss: 1 },
  };
  const { rows, sentence } = verdictTable(report);
  assertEquals(rows.slice(1).map((cells) => [cells[0], cells[5], cells.at(-1)]), [
    ["Qwen up dx NT 64×8×8", "2.3×", "yes"],
    ["Qwen down y NT 64×8×8", "1.5×", "NO"],
    ["Qwen down dx NT 64×8×8", "1.2×", "NO"],
    ["training step", "4.2×", "yes"],
  ]);
  assertStringIncludes(sentence, "2 of 5");
  assertStringIncludes(
    verdictTable({ ...report, matmul: report.matmul!.slice(0, 2) }).sentence,
    "all 3 comparisons hold",
  );
  const alone = report.matmul!.map((row) => ({ ...row, jax: null, tfjs: null }));
  assertStringIncludes(verdictTable({ ...report, matmul: alone, step: undefined }).sentence, "no verdict");
});
