/** Micro-batches that fit the adapter, or a budget of memory. */
import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { configure, type Overrides } from "../../lab/config.ts";
import { fitMicroBatches } from "../../lab/micro_batches.ts";
import { planRun } from "../../lab/plan.ts";
import { gpuTest, withGpu } from "../kernels/testing.ts";
import { openToy, runToy, toy, toyDataset, toyDisk } from "./toy.ts";

gpuTest(
  "micro-batches are as configured where they fit, and the largest within a budget where there is one",
  () =>
    withGpu({ limits: "default" }, async (gpu) => {
      const files = await toyDisk(gpu), dataset = await toyDataset();
      const opened = async (more: Overrides) =>
        await openToy({ gpu, files, dataset, config: configure("demo", { ...toy, ...more }) });
      await runToy({ gpu, files, dataset, config: configure("demo", toy), stages: ["preprocess"] });

      const free = await opened({});
      const asConfigured = await fitMicroBatches(free);
      await free.directory.release();
      assertEquals([asConfigured.config, asConfigured.notes], [free.config, []]);

      // 128 MiB a binding, rows of 2 · 24 f32: 699,050 rows.
      const huge = await opened({ sft: { ...toy.sft, microTokens: 1_000_000 } });
      const bound = await fitMicroBatches(huge);
      await huge.directory.release();
      assertEquals(bound.config.sft.microTokens, 500_000);
      assertEquals(bound.notes, [
        "sft: micro-batches of 500000 tokens, as this adapter binds no more than 128 MiB at once.",
      ]);

      const tight = await opened({ memory: 0.5 });
      const fitted = await fitMicroBatches(tight);
      for (const stage of ["sft", "reward", "ppo"] as const) {
        assert([16_384, 8192, 4096, 2048, 1024, 512].includes(fitted.config[stage].microTokens));
        assertEquals(fitted.config[stage].batch, tight.config[stage].batch);
      }
      const plans = await planRun({ ...tight, config: fitted.config }, ["sft", "reward", "ppo"], {
        clock: () => 0,
        measure: "auto",
      });
      await tight.directory.release();
      for (const { name, peakMemory } of plans) assert(peakMemory <= 2 ** 29, `${name}: ${peakMemory}`);

      const none = await opened({ memory: 0.001 });
      await assertRejects(
        () => fitMicroBatches(none),
        RangeError,
        "sft does not fit into --memory 0.001 GiB: in micro-batches of 512 tokens it takes ",
      );
      await none.directory.release();
    }),
);
