import { assert, assertEquals } from "deno-std/assert/mod.js";
import { policyStatistics, policySums } from "../../kernels/ppo_policy_loss.ts";
import { valueStatistics, valueSums } from "../../kernels/ppo_value_loss.ts";
import { rolloutStatistics, rolloutSumNames } from "../../kernels/rollout_statistics.ts";
import { memoryFiles } from "../../lab/bytes.ts";
import { metrics, readMetrics } from "../../lab/metrics.ts";
import { stageNames } from "../../lab/report/data.ts";
import { feedDamaged } from "./damage.ts";

Deno.test("every statistic that the kernels name is in the table", () => {
  const ones = (names: readonly string[]) => names.map(() => 1);
  const named = {
    ...policyStatistics(ones(policySums), 8),
    ...valueStatistics(ones(valueSums)),
    ...rolloutStatistics(ones(rolloutSumNames), 8),
  };
  assertEquals(Object.keys(named).filter((name) => !metrics.has(name)), []);
});

Deno.test("every metric that a stage logs is in the table", async () => {
  const missing: string[] = [];
  for (const stage of ["sft", "reward", "ppo"]) {
    const source = await Deno.readTextFile(new URL(`../../lab/stages/${stage}.ts`, import.meta.url));
    for (const [, name] of source.matchAll(/["`]((?:precis|eval|objective|policy|val|loss)\/[\w]+)["`]/g)) {
      if (!metrics.has(name)) missing.push(`${stage}: ${name}`);
    }
  }
  assertEquals(missing, []);
});

Deno.test("every metric has a title, a description of a sentence and a stage", () => {
  for (const [name, { title, doc, stages, source }] of metrics) {
    assert(title && /[.\d]$/.test(doc) && stages.length > 0, name);
    assertEquals(source === "precis", name.startsWith("precis/"));
  }
});

Deno.test("a thousand damaged metrics.jsonl give records, or name the line that is none", async () => {
  const lines = stageNames.map((stage, step) =>
    JSON.stringify({ stage, step, loss: 2.5, lr: null, gpu: "x" }) + "\n"
  );
  assertEquals((await readMetrics(memoryFiles({ m: lines.join("") }), "m")).length, 5);
  await feedDamaged(lines.join(""), async (bytes) => {
    for (
      const { stage, step, ...figures } of await readMetrics(
        memoryFiles({ "metrics.jsonl": bytes }),
        "metrics.jsonl",
      )
    ) {
      assert(stageNames.includes(stage) && Number.isSafeInteger(step) && step >= 0);
      for (const figure of Object.values(figures)) {
        assert(figure === null || /number|string/.test(typeof figure));
      }
    }
  }, { names: "metrics.jsonl:" });
});
