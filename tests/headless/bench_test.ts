import { assert, assertEquals, assertRejects, assertStringIncludes } from "deno-std/assert/mod.js";
import { type BenchReport, benchTask, formatBench } from "../../headless/bench.ts";

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
  assertStringIncludes(text, "50 %");
  assertEquals(text.split("\n").filter((line) => line.includes("–")).length, 2);
});
