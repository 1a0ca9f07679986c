/** Disks that fill up, turn read-only or rot under a run: it loses one interval between checkpoints at most, and never its way. */
import { assert, assertEquals, assertMatch, assertRejects } from "deno-std/assert/mod.js";
import type { Gpu } from "../../kernels/gpu.ts";
import { FileAccessError, type Files, joinPath, memoryFiles } from "../../lab/bytes.ts";
import { newestCheckpoint, requireRoom, writeCheckpointFolder } from "../../lab/checkpoints.ts";
import { configure } from "../../lab/config.ts";
import { type Progress, silent } from "../../lab/progress.ts";
import type { StageName } from "../../lab/report/data.ts";
import { checkpointsDue, Stopped } from "../../lab/run.ts";
import { gpuTest } from "../kernels/testing.ts";
import { runToy, toy, toyDataset, toyDisk } from "./toy.ts";

const stages: StageName[] = ["preprocess", "sft"];
const every = 2;
const config = configure("demo", {
  ...toy,
  seed: 5,
  sft: { ...toy.sft, evalEvery: 0, epochs: 2 },
  checkpoints: { every },
});

/** The same files, through which something may go wrong before anything is changed. */
function guarded(files: Files, fault: (path: string, bytes: number) => void): Files {
  const sizeOf = async (content: Uint8Array | AsyncIterable<Uint8Array>) => {
    if (content instanceof Uint8Array) return content;
    const pieces: number[] = [];
    for await (const piece of content) pieces.push(...piece);
    return Uint8Array.from(pieces);
  };
  return {
    ...files,
    writeAtomic: async (path, content) => {
      const whole = await sizeOf(content);
      fault(path, whole.length);
      await files.writeAtomic(path, whole);
    },
    append: async (path, bytes) => {
      fault(path, bytes.length);
      await files.append(path, bytes);
    },
    rename: async (from, to) => (fault(from, 0), await files.rename(from, to)),
    makeDirectory: async (path) => (fault(path, 0), await files.makeDirectory(path)),
  };
}

/** Bytes below a folder. */
async function used(files: Files, folder: string): Promise<number> {
  let sum = 0;
  for (const name of await files.list(folder)) {
    const path = joinPath(folder, name);
    sum += name.endsWith("/") ? await used(files, path.replace(/\/$/, "")) : await files.size(path);
  }
  return sum;
}

/** Steps that are on record, and the one that a resumed run would go on from. */
async function reached(files: Files): Promise<{ recorded: number; kept: number }> {
  const text = new TextDecoder().decode(await files.read("run/metrics.jsonl"));
  const steps = text.split("\n").filter((line) => line.startsWith('{"stage":"sft"') && line.endsWith("}"))
    .map((line) => JSON.parse(line).step as number);
  const { checkpoint } = await newestCheckpoint(files, "run", "sft");
  return { recorded: Math.max(0, ...steps), kept: checkpoint?.step ?? 0 };
}

async function outcome(files: Files): Promise<string[]> {
  return await Promise.all(
    ["run/models/sft/model.safetensors", "run/metrics.jsonl"].map(async (path) =>
      String((await files.read(path)).reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193) >>> 0, 7))
    ),
  );
}

async function undisturbed(gpu: Gpu) {
  const dataset = await toyDataset();
  const files = await toyDisk(gpu);
  await runToy({ gpu, files, dataset, config, stages });
  return { dataset, expected: await outcome(files) };
}

gpuTest("a disk that is full at any moment, or turns read-only, costs one interval at most", async (gpu) => {
  const { dataset, expected } = await undisturbed(gpu);
  let cut = 0;
  for (const kind of ["full", "read-only"] as const) {
    for (const share of [0.3, 0.6, 0.9]) {
      const files = await toyDisk(gpu);
      let changes = 0;
      const most = kind === "full" ? share * 1_000_000 : Math.round(share * 60);
      const broken = guarded(files, (path, bytes) => {
        changes += kind === "full" ? bytes : 1;
        if (path.startsWith("run/") && !path.includes("lock") && changes > most) {
          throw new FileAccessError(`Could not write ${path}: ${kind}.`);
        }
      });
      const error = await runToy({ gpu, files: broken, dataset, config, stages }).then(
        () => undefined,
        (e) => e,
      );
      if (!error) continue;
      cut++;
      assertMatch(error.message, /^Could not write run\/.*: (full|read-only)\.$/);
      const { recorded, kept } = await reached(files).catch(() => ({ recorded: 0, kept: 0 }));
      assert(recorded - kept <= every, `${kind} ${share}: step ${recorded} was reached, ${kept} is kept`);
      await runToy({ gpu, files, dataset, config, stages });
      assertEquals(await outcome(files), expected, `${kind} at ${share}`);
    }
  }
  assert(cut >= 4, `only ${cut} runs were disturbed`);
});

gpuTest(
  "room is asked for before a stage and before each checkpoint, in a sentence with both figures",
  async (gpu) => {
    const { dataset, expected } = await undisturbed(gpu);
    const files = await toyDisk(gpu);
    let size = 300_000;
    const small: Files = {
      ...files,
      freeSpace: async () => Math.max(0, size - (await files.exists("run") ? await used(files, "run") : 0)),
    };
    const run = () => runToy({ gpu, files: small, dataset, config, stages });
    const sentence =
      /^Stage sft needs [\d.]+ KiB in run, but [\d.]+ KiB are free on its disk; free some, or .*--out/;
    assertMatch((await assertRejects(run, FileAccessError)).message, sentence);
    assertEquals(await files.exists("run/checkpoints/sft"), false, "nothing has been begun");

    // Enough for the stage at first, but then something else takes the room away.
    size = 2_000_000;
    const notes: string[] = [];
    const progress: Progress = { ...silent, note: (text) => void notes.push(text) };
    let questions = 0;
    const shrinking: Files = {
      ...small,
      freeSpace: async (path) => (++questions > 2 ? 20_000 : await small.freeSpace!(path)),
    };
    const error = await assertRejects(
      () => runToy({ gpu, files: shrinking, dataset, config, stages, progress }),
      FileAccessError,
    );
    assertMatch(error.message, /^A checkpoint of sft needs [\d.]+ KiB in run, but 19.5 KiB are free/);
    const { recorded, kept } = await reached(files);
    assertEquals([recorded, kept], [2 * every, every]);
    assertEquals((await files.list("run/checkpoints/sft")).filter((name) => name.includes("partial")), []);
    await run();
    assertEquals(await outcome(files), expected);
  },
);

Deno.test("an older checkpoint makes room for the next one, but the newest never does", async () => {
  const memory = memoryFiles();
  const save = (step: number) =>
    writeCheckpointFolder(
      memory,
      "run",
      "sft",
      step,
      (folder, files) => files.writeAtomic(`${folder}/w`, new Uint8Array(1000)),
      { keep: 3 },
    );
  await memory.makeDirectory("run");
  for (const step of [1, 2, 3]) await save(step);
  const files: Files = { ...memory, freeSpace: async () => 5000 - await used(memory, "run") };
  assertEquals(await requireRoom(files, "run", "sft", 1000, "X"), undefined);
  assertMatch((await requireRoom(files, "run", "sft", 3000, "X"))!, /^Older checkpoints of sft were removed/);
  assertEquals(await memory.list("run/checkpoints/sft"), ["step-000003/"]);
  await assertRejects(() => requireRoom(files, "run", "sft", 4500, "X"), FileAccessError, "X needs 4.39 KiB");
  assertEquals(await memory.list("run/checkpoints/sft"), ["step-000003/"]);
  assertEquals(
    await requireRoom(memory, "run", "sft", 1e15, "X"),
    undefined,
    "nothing is known of this disk",
  );
});

gpuTest(
  "a newest checkpoint with one flipped bit is passed over, said, and costs one interval",
  async (gpu) => {
    const { dataset, expected } = await undisturbed(gpu);
    for (const name of ["optimizer.safetensors", "model.safetensors", "config.json"]) {
      const files = await toyDisk(gpu);
      let questions = 0;
      await assertRejects(
        () => runToy({ gpu, files, dataset, config, stages, stopping: () => ++questions > 7 }),
        Stopped,
      );
      const { checkpoint } = await newestCheckpoint(files, "run", "sft");
      const path = joinPath(checkpoint!.folder, "policy", name);
      const bytes = await files.read(path);
      bytes[bytes.length >> 1] ^= 1;
      await files.writeAtomic(path, bytes);
      const { kept } = await reached(files);
      assert(kept > 0 && checkpoint!.step - kept <= every, `${checkpoint!.step} is damaged, ${kept} is left`);
      const notes: string[] = [];
      const progress: Progress = { ...silent, note: (text) => void notes.push(text) };
      await runToy({ gpu, files, dataset, config, stages, progress });
      assert(notes.some((note) => note.includes(path) && note.includes("other bytes")), notes.join("\n"));
      assertEquals(await outcome(files), expected);
    }
  },
);

Deno.test("a checkpoint is due every so many steps, and where these are slow every so many minutes", async () => {
  const due = (checkpoints: { every: number; minutes: number }) =>
    checkpointsDue({ config: configure("demo", { checkpoints }) });
  const steps = [1, 2, 3, 4, 5, 6];
  assertEquals(steps.filter(due({ every: 3, minutes: 30 })), [3, 6]);
  assertEquals(steps.filter(due({ every: 0, minutes: 0 })), []);
  const slow = due({ every: 0, minutes: 0.02 / 60 });
  assertEquals(slow(1), false);
  await new Promise((resume) => setTimeout(resume, 30));
  assertEquals([slow(2), slow(3)], [true, false]);
});

Deno.test("what a checkpoint's digests vouch for is what was to be written, not what the disk made of it", async () => {
  const memory = memoryFiles();
  await memory.makeDirectory("run");
  const garbling: Files = {
    ...memory,
    writeAtomic: async (path, content) => {
      if (!path.endsWith("/w")) return await memory.writeAtomic(path, content);
      const bytes = (content as Uint8Array).slice();
      bytes[3] ^= 4;
      await memory.writeAtomic(path, bytes);
    },
  };
  await writeCheckpointFolder(
    garbling,
    "run",
    "sft",
    1,
    (folder, files) => files.writeAtomic(`${folder}/w`, new Uint8Array(8)),
  );
  const { checkpoint, damaged } = await newestCheckpoint(memory, "run", "sft");
  assertEquals(checkpoint, undefined);
  assertMatch(damaged[0], /w has other bytes than were written/);
});
