/** A run's folder as it is looked at: from its first line to its last, while it grows, and told in short. */
import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { type Files, memoryFiles } from "../../../lab/bytes.ts";
import { random } from "../../../lab/demo/random.ts";
import { listRuns } from "../../../lab/runs/listing.ts";
import { openRun } from "../../../lab/runs/run.ts";
import { currentStage, pace, remaining, stateOf } from "../../../lab/runs/state.ts";
import { ppoLine, syntheticRun } from "./synthetic.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

function within(folder: string, files: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(files).map(([path, text]) => [`${folder}/${path}`, text]));
}

/** Files of a server that does not tell what it has. */
function silent(files: Files): Files {
  return { ...files, list: () => Promise.reject(new Error("not told")) };
}

for (
  const [name, seenAs] of [["a folder", (files: Files) => files], [
    "a server that lists nothing",
    silent,
  ]] as const
) {
  Deno.test(`a finished run is read from ${name}`, async () => {
    const files = seenAs(memoryFiles(within("runs/a", syntheticRun({ updates: 16 }))));
    const { seen, refresh } = openRun(files, "runs/a", () => 0);
    assertEquals(await refresh(), true);
    assertEquals(seen.state, "finished");
    assertEquals(seen.columns.stages(), ["sft", "reward", "ppo"]);
    assertEquals(seen.columns.lastStep("ppo"), 16);
    assertEquals(seen.samples.updates, [0, 2, 4, 6, 8, 10, 12, 14, 16]);
    assertEquals(seen.invariants.map(({ passed }) => passed), [true, false]);
    assertEquals(seen.record!.config.seed, 1);
    assertEquals(await seen.episodes.range(), [1, 16]);
    assertEquals(seen.troubles, []);
    const version = seen.version;
    assertEquals([await refresh(), seen.version], [false, version]);
  });
}

Deno.test("a running run is followed, cut back by its resumption, and finished", async () => {
  const files = memoryFiles(within("a", syntheticRun({ updates: 10, running: true })));
  let now = 1_000_000;
  const { seen, refresh } = openRun(files, "a", () => now);
  await refresh();
  assertEquals([seen.state, seen.holder?.host, currentStage(seen.stages.map((s) => s.name))], [
    "running",
    "spark",
    "ppo",
  ]);
  const draw = random(9).uniform;
  const size = await files.size("a/metrics.jsonl");
  for (const update of [11, 12, 13]) {
    now += 20_000;
    await files.append("a/metrics.jsonl", bytes(ppoLine(update, 20, draw)));
    assertEquals(await refresh(), true);
  }
  assertEquals([seen.columns.lastStep("ppo"), seen.pace.stepTime], [13, 20_000]);
  assertEquals(remaining(seen.plan, "ppo", 13, seen.pace.stepTime), {
    steps: 20,
    stage: 140_000,
    all: 140_000,
  });
  await files.truncate("a/metrics.jsonl", size);
  assertEquals([await refresh(), seen.columns.lastStep("ppo")], [true, 10]);
  // A line that is damaged is told, and what has been read stays.
  await files.append("a/metrics.jsonl", bytes("{]\n"));
  assertEquals([await refresh(), seen.columns.lastStep("ppo")], [true, 10]);
  assert(seen.troubles[0].startsWith("a/metrics.jsonl:"), seen.troubles[0]);
  await files.remove("a/lock.json");
  await refresh();
  assertEquals(seen.state, "stopped");
});

Deno.test("what is no run directory is refused in a sentence", async () => {
  const open = openRun(memoryFiles({ "a/metrics.jsonl": "" }), "a", () => 0);
  await assertRejects(() => open.refresh(), Error, "a has no run.json, so it is no run directory");
});

Deno.test("states follow from lock, stages and silence", () => {
  const hour = 3_600_000;
  const all = ["preprocess", "sft", "reward", "ppo", "evaluate"] as const;
  assertEquals(stateOf({ locked: true, done: ["preprocess"], silence: 60_000 }), "running");
  assertEquals(stateOf({ locked: true, done: ["preprocess"] }), "running");
  assertEquals(stateOf({ locked: true, done: ["preprocess"], silence: hour }), "stale");
  assertEquals(stateOf({ locked: true, done: ["preprocess"], silence: hour, stepTime: hour / 5 }), "running");
  assertEquals(stateOf({ locked: true, done: all.slice(0, 4), silence: 2 * hour }), "running");
  assertEquals(stateOf({ locked: false, done: all }), "finished");
  assertEquals(stateOf({ locked: false, done: ["preprocess", "sft"], planned: ["sft"] }), "finished");
  assertEquals(stateOf({ locked: false, done: ["preprocess", "sft"] }), "stopped");
});

Deno.test("a pace is that of the steps seen since the first change", () => {
  const steps = pace();
  for (const [step, time] of [[100, 0], [101, 9000], [101, 9500], [102, 10_000], [104, 12_000]]) {
    steps.see("ppo", step, time);
  }
  assertEquals(steps.stepTime, 1000);
  steps.see("evaluate", 0, 13_000);
  assertEquals(steps.stepTime, undefined);
  assertEquals(remaining([], "ppo", 1, 1), {});
});

Deno.test("the runs of a folder are listed, the one changed last first, damaged ones too", async () => {
  const files = {
    ...memoryFiles({
      ...within("runs/one", syntheticRun({ updates: 2 })),
      ...within("runs/sweep/two", syntheticRun({ updates: 2, seed: 2, running: true })),
      "runs/bad/run.json": "{",
      "runs/a/b/c/d/run.json": "{}",
      "runs/readme.txt": "",
    }),
    changedAt: (path: string) =>
      Promise.resolve(path.includes("two") ? 2000 : path.includes("one") ? 1000 : 500),
  };
  const runs = await listRuns(files, "runs", 3000);
  assertEquals(runs.map(({ path, state, seed }) => [path, state, seed]), [
    ["sweep/two", "running", 2],
    ["one", "finished", 1],
    ["bad", "stopped", undefined],
  ]);
  assertEquals((await listRuns(files, "runs/one", 0)).map(({ path }) => path), [""]);
  assertEquals(await listRuns(files, "nowhere", 0), []);
});
