/** Devices that are lost in the middle of a run: it goes on by itself, to the same bits, and says so. */
import { assert, assertEquals, assertMatch, assertRejects } from "deno-std/assert/mod.js";
import { openGpu } from "../../headless/devices.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { GpuError } from "../../kernels/gpu_error.ts";
import { configure } from "../../lab/config.ts";
import { readAlarms } from "../../lab/health.ts";
import { planRun } from "../../lab/plan.ts";
import { type Progress, silent } from "../../lab/progress.ts";
import type { StageName } from "../../lab/report/data.ts";
import { testRuntime } from "../kernels/testing.ts";
import { fingerprint, openToy, runToy, toy, toyDataset, toyDisk } from "./toy.ts";

const stages: StageName[] = ["preprocess", "sft", "reward", "ppo"];

/** Takes the device away right before its `count`-th submission from now, as a driver's reset does. */
function lose(gpu: Gpu, count: number): Gpu {
  const submit = gpu.submit.bind(gpu);
  let left = count;
  gpu.submit = () => {
    if (--left === 0) gpu.device.destroy();
    submit();
  };
  return gpu;
}

/**
 * Runs the toy pipeline and takes the device away in the given stages, so many submissions after they have begun, as often as the
 * stage has counts.
 */
async function runWithLosses(
  lasting: Partial<Record<StageName, number[]>>,
  choices: [string, string][] = [],
) {
  const dataset = await toyDataset();
  const config = configure("demo", { ...toy, seed: 4 });
  const opened: Gpu[] = [];
  let refusals = 1;
  const reopen = async () => {
    if (opened.length === 2 && refusals-- > 0) throw new Error("no adapter");
    return await open();
  };
  const open = async () => {
    opened.push(await openGpu(testRuntime));
    return opened.at(-1)!;
  };
  const notes: string[] = [];
  const progress: Progress = {
    note: (text) => void notes.push(text),
    stage: (name, total) => {
      const count = lasting[name as StageName]?.shift();
      if (count !== undefined) lose(opened.at(-1)!, count);
      return silent.stage(name, total);
    },
  };
  const first = await open();
  const files = await toyDisk(first);
  for (const [shapes, variant] of choices) first.choices.set(shapes, variant);
  try {
    await runToy({ gpu: first, files, dataset, config, stages, reopenGpu: reopen, progress });
  } finally {
    for (const gpu of opened) gpu.destroy();
  }
  return { files, notes, opened };
}

const lossTest = (name: string, fn: () => Promise<void>) =>
  Deno.test({ name, fn, sanitizeOps: false, sanitizeResources: false });

lossTest(
  "three lost devices later a run has the bits of an undisturbed one, and has told of each",
  async () => {
    const whole = await runWithLosses({});
    assertEquals([whole.opened.length, whole.notes.filter((note) => note.includes("device"))], [1, []]);
    const kept: [string, string][] = [["matmul 16", "as measured long ago"]];
    const { files, notes, opened } = await runWithLosses({ sft: [6], reward: [5], ppo: [12] }, kept);
    assertEquals(opened.length, 4);
    assertEquals(
      opened.map(({ choices }) => choices.get("matmul 16")),
      Array(4).fill("as measured long ago"),
    );
    assertEquals(
      await fingerprint(files, { evaluated: false }),
      await fingerprint(whole.files, { evaluated: false }),
    );
    assert(
      notes.some((note) => note.includes("not back yet (no adapter); trying again in 1 s")),
      notes.join("\n"),
    );
    const told = notes.filter((note) => note.includes("opened again"));
    assertEquals(told.length, 3, notes.join("\n"));
    for (const note of told) {
      assertMatch(
        note,
        /^(sft|reward|ppo): the GPU device was lost in .*: .*\. It was opened again, and the stage goes on/,
      );
    }
    const alarms = (await readAlarms({ files, path: "run" })).filter(({ figure }) => figure === "device");
    assertEquals(alarms.map(({ reaction }) => reaction), ["reopen", "reopen", "reopen"]);
    assertEquals(alarms.map(({ stage }) => stage), ["sft", "reward", "ppo"]);
  },
);

lossTest(
  "a device that is lost while a plan is measured is opened again, and the plan has no times",
  async () => {
    const dataset = await toyDataset(), config = configure("demo", toy);
    const opened = [await openGpu(testRuntime)];
    const reopenGpu = async () => {
      opened.push(await openGpu(testRuntime));
      return opened.at(-1)!;
    };
    const notes: string[] = [];
    const progress: Progress = {
      note: (text) => void (text.includes("GPU device") && notes.push(text)),
      stage: (name, total) => ({
        ...silent.stage(name, total),
        step: (done) => void (name === "measure" && done === 1 && lose(opened[0], 2)),
      }),
    };
    const files = await toyDisk(opened[0]);
    const setting = { gpu: opened[0], files, dataset, config, progress, reopenGpu };
    await runToy({ ...setting, stages: ["preprocess"] });
    const run = await openToy(setting);
    const options = { clock: () => performance.now(), measure: "always" } as const;
    try {
      const plans = await planRun(run, ["sft"], options);
      assertEquals(plans.map(({ name, seconds }) => [name, seconds]), [["sft", undefined]]);
      assertEquals([opened.length, run.gpu], [2, opened[1]]);
      assertEquals(notes.length, 1, notes.join("\n"));
      assertMatch(
        notes[0],
        /^While a few steps were measured, the GPU device was lost .*the plan has no times\.$/,
      );
      // What is left to do is done by the new one.
      assert((await planRun(run, ["sft"], options))[0].seconds! > 0);
      // Nowhere else to go: one sentence.
      await assertRejects(
        () => planRun({ ...run, gpu: lose(run.gpu, 4), reopenGpu: undefined }, ["sft"], options),
        GpuError,
      );
    } finally {
      await run.directory.release();
      for (const gpu of opened) gpu.destroy();
    }
  },
);

lossTest("the fourth loss ends the run with a sentence", async () => {
  const error = await assertRejects(() => runWithLosses({ sft: [2, 4, 6, 8] }), GpuError);
  assertMatch(error.message, /^the GPU device was lost in sft: 4 times in one run; the last time: /);
});

lossTest("a lost device's memory is freed, though it was in use", async () => {
  const gpu = await openGpu(testRuntime);
  if (!gpu.facts.software) return gpu.destroy(); // elsewhere it is not the process's own
  const bytes = 128 << 20;
  const weights = gpu.persistent([bytes / 4], "weights"), pooled = gpu.hold([bytes / 4], "activation");
  for (const tensor of [weights, pooled]) gpu.clear(tensor);
  await gpu.finish();
  const before = Deno.memoryUsage().rss;
  gpu.device.destroy();
  await gpu.device.lost;
  gpu.destroy();
  const freed = before - Deno.memoryUsage().rss;
  assert(freed > 1.8 * bytes, `${freed} of ${2 * bytes} bytes were freed`);
});
