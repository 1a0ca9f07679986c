/** What is foreseen of a run, beside what the run then takes. */
import { assert, assertEquals } from "deno-std/assert/mod.js";
import { configure } from "../../lab/config.ts";
import { planRun } from "../../lab/plan.ts";
import { memoryTable, planTable, type StagePlan } from "../../lab/plan_table.ts";
import { stageNames } from "../../lab/report/data.ts";
import { gpuTest, withGpu } from "../kernels/testing.ts";
import { openToy, runToy, toy, toyDataset, toyDisk } from "./toy.ts";

gpuTest(
  "the plan's memory is within 10 % of what a run takes, and its steps are the run's",
  () =>
    withGpu({}, async (gpu) => {
      const files = await toyDisk(gpu), dataset = await toyDataset();
      const setting = { gpu, files, dataset, config: configure("demo", toy) };
      await runToy({ ...setting, stages: ["preprocess"] });
      gpu.trim();
      const before = gpu.counters.submissions;
      const run = await openToy(setting);
      const plans = await planRun(run, stageNames, { clock: () => performance.now(), measure: "auto" });
      await run.directory.release();
      assertEquals(gpu.counters.submissions, before, "a short run's plan needs no device");
      assertEquals(await files.exists("run/metrics.jsonl"), true);

      const facts = (await runToy(setting)).filter(({ name }) => name !== "preprocess");
      assertEquals(plans.map(({ name }) => name), facts.map(({ name }) => name));
      for (const [i, { name, steps, tokens, peakMemory, memory, seconds }] of plans.entries()) {
        const fact = facts[i];
        assertEquals(seconds, undefined);
        const ratio = peakMemory / fact.peakMemory!;
        assert(ratio > 0.9 && ratio < 1.1, `${name}: foreseen ${peakMemory}, taken ${fact.peakMemory}`);
        assertEquals(memory.reduce((sum, { bytes }) => sum + bytes, 0), peakMemory, name);
        if (name !== "evaluate") assertEquals(steps, fact.steps);
        // Of what is trained on alone; evaluations come on top.
        assert(tokens >= (fact.tokens ?? 0), `${name}: ${tokens} tokens foreseen, ${fact.tokens} trained on`);
      }
    }),
);

gpuTest(
  "measured rates foretell a positive time for each stage, and leave the device as it was",
  () =>
    withGpu({}, async (gpu) => {
      const files = await toyDisk(gpu), dataset = await toyDataset();
      const setting = { gpu, files, dataset, config: configure("demo", toy) };
      await runToy({ ...setting, stages: ["preprocess"] });
      gpu.trim();
      const held = gpu.memory.bytes;
      const run = await openToy(setting);
      const plans = await planRun(run, ["sft", "evaluate"], {
        clock: () => performance.now(),
        measure: "always",
      });
      await run.directory.release();
      assertEquals(plans.map(({ name }) => name), ["sft", "evaluate"]);
      for (const { seconds } of plans) assert(seconds! > 0 && seconds! < 600, `${seconds} s`);
      // Tables of turns and constants stay, they are the device's.
      assert(gpu.memory.bytes - held < 1 << 20, `${gpu.memory.bytes - held} bytes are left`);
    }),
);

const sample: StagePlan[] = [{
  name: "sft",
  steps: 911,
  unit: "steps",
  tokens: 43_800_000,
  flops: 1.3e17,
  peakMemory: 9.1e9,
  memory: [
    { name: "policy weights 0", bytes: 3 << 20, lifetime: "persistent", count: 1 },
    { name: "policy weights 1", bytes: 1 << 20, lifetime: "persistent", count: 1 },
    { name: "pool of 2.0 MiB", bytes: 8 << 20, lifetime: "pooled", count: 4 },
    { name: "pool of 1.0 MiB", bytes: 1 << 20, lifetime: "pooled", count: 1 },
  ],
}];

Deno.test("the plan as a table: aligned, within 80 columns, with times only where they are known", () => {
  assertEquals(planTable([]), []);
  const table = planTable(sample);
  assertEquals(table, [
    "Plan         steps   tokens    FLOPs   peak memory",
    "sft      911 steps    43.8M   1.3e17      8.48 GiB",
    "in all                43.8M   1.3e17      8.48 GiB",
  ]);
  const timed = planTable(sample.map((plan) => ({ ...plan, seconds: 16_560 })));
  assert(timed[0].endsWith("time") && timed[1].endsWith("4:36:00"));
  for (const line of [...table, ...timed]) assert(line.length <= 80);
});

Deno.test("memory by purpose: numbered buffers are one row, the pool is one row", () => {
  assertEquals(memoryTable(sample), [
    "",
    "Memory of sft: 8.48 GiB at the peak",
    "activations and scratch       pooled   5 buffers   9 MiB",
    "policy weights            persistent   2 buffers   4 MiB",
  ]);
});
