/** The whole pipeline at toy size: it runs, it repeats itself to the bit, and it goes on from any step as if it had never stopped. */
import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { readJson } from "../../lab/bytes.ts";
import { configure, type Overrides } from "../../lab/config.ts";
import type { StageName } from "../../lab/report/data.ts";
import { Stopped } from "../../lab/run.ts";
import { gpuTest, withGpu } from "../kernels/testing.ts";
import { fingerprint, runToy, toy, toyDataset, toyDisk } from "./toy.ts";

gpuTest("two runs with one seed are bit-equal, and a third with another seed is not", async (gpu) => {
  const dataset = await toyDataset();
  const prints = [];
  for (const seed of [1, 1, 2]) {
    const files = await toyDisk(gpu);
    await runToy({ gpu, files, dataset, config: configure("demo", { ...toy, seed }) });
    prints.push(await fingerprint(files));
  }
  assertEquals(prints[0], prints[1]);
  assert(prints[0]["run/models/ppo/model.safetensors"] !== prints[2]["run/models/ppo/model.safetensors"]);
});

gpuTest(
  "a run that is stopped again and again, at steps, in rollouts and in evaluations, is bit-equal to one that was not",
  async (gpu) => {
    const dataset = await toyDataset();
    const config = configure("demo", { ...toy, seed: 3 });
    const whole = await toyDisk(gpu);
    await runToy({ gpu, files: whole, dataset, config });
    const pieces = await toyDisk(gpu);
    const questions = [5, 4, 3, 9, 14, 25, 40];
    const places = new Set<string>();
    for (let attempt = 0;; attempt++) {
      assert(attempt < 60, [...places].join("; "));
      // It is asked all the time whether it is to stop: between steps, micro-batches, batches of responses.
      let left = questions[attempt % questions.length];
      try {
        await runToy({ gpu, files: pieces, dataset, config, stopping: () => --left <= 0 });
        break;
      } catch (error) {
        if (!(error instanceof Stopped)) throw error;
        places.add(/after (.*);/.exec(error.message)![1]);
      }
    }
    for (const stage of ["sft, step", "reward, step", "ppo, update", "sequences of evaluate"]) {
      assert([...places].some((place) => place.includes(stage)), `${[...places]} without ${stage}`);
    }
    assert(places.size >= 8, [...places].join("; "));
    assertEquals(await fingerprint(pieces), await fingerprint(whole));
  },
);

gpuTest(
  "a finished stage is skipped, and runs again when a field that it depends on changes",
  async (gpu) => {
    const dataset = await toyDataset();
    const files = await toyDisk(gpu);
    const stages: StageName[] = ["preprocess", "sft"];
    const ran = async (overrides: Overrides) =>
      (await runToy({ gpu, files, dataset, config: configure("demo", { ...toy, ...overrides }), stages }))
        .map(({ ran }) => ran);
    assertEquals(await ran({}), [true, true]);
    assertEquals(await ran({}), [false, false]);
    const sftRecords = async () => {
      const text = new TextDecoder().decode(await files.read("run/metrics.jsonl"));
      return text.split("\n").filter((line) => line.includes('"stage":"sft"')).length;
    };
    const recorded = await sftRecords();
    const slow = { sft: { ...toy.sft, learningRate: 1e-4 } };
    assertEquals(await ran(slow), [false, true]);
    assertEquals(await sftRecords(), recorded, "the first attempt's records are forgotten");
    // Half of another attempt must not pass for the whole of this one.
    await assertRejects(() =>
      runToy({
        gpu,
        files,
        dataset,
        config: configure("demo", toy),
        stages,
        stopping: () => true,
      }), Stopped);
    await assertRejects(
      () =>
        runToy({ gpu, files, dataset, config: configure("demo", { ...toy, ...slow }), stages: ["reward"] }),
      Error,
      "unfinished or has other settings",
    );
    assertEquals(await ran(slow), [false, true]);
    const table = "run/data/pairs-valid2.safetensors";
    const damaged = (await files.read(table)).slice();
    damaged[damaged.length - 1] ^= 1;
    await files.writeAtomic(table, damaged);
    assertEquals(await ran(slow), [true, true], "tables that are not as they were written are made again");
  },
);

gpuTest("a stage without its predecessor says what is missing", async (gpu) => {
  const files = await toyDisk(gpu);
  const dataset = await toyDataset();
  await assertRejects(
    () => runToy({ gpu, files, dataset, config: configure("demo", toy), stages: ["ppo"] }),
    Error,
    "which stage preprocess makes",
  );
});

Deno.test({
  name:
    "the whole pipeline, with first-update invariants, runs on a device with WebGPU's default limits and no features",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: () =>
    withGpu({ limits: "default", features: "none" }, async (gpu) => {
      const files = await toyDisk(gpu);
      await runToy({ gpu, files, dataset: await toyDataset(), config: configure("demo", toy) });
      const record = await readJson(files, "run/stages/ppo.json") as {
        output: { invariants: { name: string; passed: boolean }[] };
      };
      assert(record.output.invariants.length >= 5);
      assertEquals(record.output.invariants.filter(({ passed }) => !passed), []);
    }),
});
