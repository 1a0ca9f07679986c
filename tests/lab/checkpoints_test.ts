import { assert, assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { DamagedFileError, digestOfJson, type Files, memoryFiles } from "../../lab/bytes.ts";
import { newestCheckpoint, writeCheckpointFolder } from "../../lab/checkpoints.ts";
import { openRunDirectory, rewindAppends, type RunOwner } from "../../lab/run_directory.ts";
import { feedDamaged } from "./damage.ts";

const ME: RunOwner = { pid: 1, host: "here", instance: "a" };
const utf8 = (text: string) => new TextEncoder().encode(text);
const text = async (files: Files, path: string) => new TextDecoder().decode(await files.read(path));

/** Lets a number of changes through and then fails each one, as a process does that was killed. The last append is torn. */
function killedAfter(files: Files, changes: number): Files {
  let left = changes;
  const guard = <Args extends unknown[], T>(change: (...args: Args) => Promise<T>) =>
  async (
    ...args: Args
  ): Promise<T> => {
    if (left-- <= 0) throw new Error("killed");
    return await change(...args);
  };
  return {
    ...files,
    writeAtomic: guard(files.writeAtomic),
    createNew: guard(files.createNew),
    append: async (path, bytes) => {
      if (left-- > 0) return await files.append(path, bytes);
      if (left === -1) await files.append(path, bytes.subarray(0, bytes.length >> 1));
      throw new Error("killed");
    },
    truncate: guard(files.truncate),
    remove: guard(async (path) => {
      // A folder does not vanish at once: the kill may come between two of its files.
      if (left <= 0 && await isFolder(files, path)) {
        for (const name of (await files.list(path)).slice(0, 1)) await files.remove(`${path}/${name}`);
        throw new Error("killed");
      }
      await files.remove(path);
    }),
    rename: guard(files.rename),
    makeDirectory: guard(files.makeDirectory),
  };
}

function isFolder(files: Files, path: string): Promise<boolean> {
  return files.list(path).then(() => true, () => false);
}

function writer(files: Files, content: string) {
  return async (folder: string) => {
    await files.makeDirectory(`${folder}/policy`);
    await files.writeAtomic(`${folder}/policy/model.safetensors`, utf8(`weights ${content}`));
    await files.writeAtomic(`${folder}/state.json`, utf8(content));
  };
}

async function save(files: Files, step: number, content = `step ${step}`, keep = 2): Promise<string> {
  return await writeCheckpointFolder(files, "run", "sft", step, writer(files, content), {
    notes: { content },
    keep,
  });
}

Deno.test("checkpoints are found newest first, with their notes, and rotated", async () => {
  const files = memoryFiles();
  assertEquals(await newestCheckpoint(files, "run", "sft"), { damaged: [] });
  for (const step of [5, 10, 123, 1_000_000]) {
    const folder = await save(files, step);
    const { checkpoint, damaged } = await newestCheckpoint(files, "run", "sft");
    assertEquals([checkpoint?.folder, checkpoint?.step, checkpoint?.notes, damaged], [folder, step, {
      content: `step ${step}`,
    }, []]);
    assertEquals(Object.keys(checkpoint!.files), ["policy/model.safetensors", "state.json"]);
  }
  assertEquals(await files.list("run/checkpoints/sft"), ["step-000123/", "step-1000000/"]);
});

Deno.test("a damaged checkpoint is passed over and reported, whatever is wrong with it", async () => {
  const damages: [(files: Files, folder: string) => Promise<void>, RegExp][] = [
    [(files, folder) => files.remove(`${folder}/state.json`), /state\.json is missing/],
    [
      (files, folder) => files.truncate(`${folder}/policy/model.safetensors`, 3),
      /model\.safetensors has 3 bytes instead of 14/,
    ],
    [
      (files, folder) => files.writeAtomic(`${folder}/state.json`, utf8("Step 9")),
      /other bytes than were written/,
    ],
    [(files, folder) => files.remove(`${folder}/complete.json`), /step-000009 is not a whole checkpoint/],
    [
      (files, folder) => files.truncate(`${folder}/complete.json`, 9),
      /complete\.json is not a checkpoint's manifest/,
    ],
    [
      (files, folder) => files.writeAtomic(`${folder}/complete.json`, utf8("{}")),
      /is not a checkpoint's manifest/,
    ],
    [async (files, folder) => {
      const { digest: _, ...manifest } = JSON.parse(await text(files, `${folder}/complete.json`));
      manifest.files["../../../run.json"] = { size: 1, sha256: "" };
      await files.writeAtomic(
        `${folder}/complete.json`,
        utf8(JSON.stringify({ ...manifest, digest: await digestOfJson(manifest) })),
      );
    }, /is not a checkpoint's manifest/],
  ];
  for (const [damage, message] of damages) {
    const files = memoryFiles();
    await save(files, 8);
    await damage(files, await save(files, 9));
    const { checkpoint, damaged } = await newestCheckpoint(files, "run", "sft");
    assertEquals(checkpoint?.step, 8);
    assertEquals(damaged.length, 1);
    assertMatch(damaged[0], message);
  }
  const files = memoryFiles();
  await save(files, 8);
  await files.rename("run/checkpoints/sft/step-000008", "run/checkpoints/sft/step-000009");
  assertMatch((await newestCheckpoint(files, "run", "sft")).damaged[0], /belongs to step 8 of sft/);
});

Deno.test("rotation does not count damaged checkpoints as kept", async () => {
  const files = memoryFiles();
  await save(files, 1);
  await files.remove(`${await save(files, 2)}/state.json`);
  await save(files, 3);
  assertEquals(await files.list("run/checkpoints/sft"), ["step-000001/", "step-000002/", "step-000003/"]);
  await save(files, 4);
  assertEquals(await files.list("run/checkpoints/sft"), ["step-000003/", "step-000004/"]);
});

Deno.test("rotation counts checkpoints that were due, and keeps one that a stop has made while it is the newest", async () => {
  const files = memoryFiles();
  for (const step of [100, 130, 200, 230, 270, 300]) {
    await writeCheckpointFolder(files, "run", "sft", step, writer(files, `${step}`), { keep: 2, every: 100 });
    const newest = `step-000${step}/`;
    assert((await files.list("run/checkpoints/sft")).includes(newest), newest);
  }
  assertEquals(await files.list("run/checkpoints/sft"), ["step-000200/", "step-000300/"]);
});

for (const [what, step] of [["a new step", 3], ["the same step again", 2]] as const) {
  Deno.test(`a kill at any instant of writing ${what} leaves the previous checkpoint or the new one, and no heap of rests`, async () => {
    let outcomes = "";
    for (let changes = 0;; changes++) {
      const files = memoryFiles();
      await save(files, 1, "old 1");
      await save(files, 2, "old 2");
      const finished = await save(killedAfter(files, changes), step, "new").then(() => true, () => false);
      const { checkpoint, damaged } = await newestCheckpoint(files, "run", "sft");
      assertEquals(damaged, [], `after ${changes} changes`);
      const content = await text(files, `${checkpoint!.folder}/state.json`);
      assert(content === "old 2" || content === "new", `after ${changes} changes: ${content}`);
      assertEquals(checkpoint!.notes, { content });
      outcomes += content === "new" ? "n" : "o";
      if (finished) assertEquals(content, "new");

      await save(files, 4, "next");
      assertEquals((await newestCheckpoint(files, "run", "sft")).checkpoint?.step, 4);
      const rests = (await files.list("run/checkpoints/sft")).filter((name) => !/^step-\d{6}\/$/.test(name));
      assertEquals(rests, [], `after ${changes} changes`);
      if (finished) break;
    }
    // Once the new one is there it stays there.
    assertMatch(outcomes, /^o{4,}n{2,}$/);
  });
}

Deno.test("a folder that is moved file by file, as in a browser, leaves a good checkpoint at every instant too", async () => {
  for (let changes = 0;; changes++) {
    const files = memoryFiles();
    await save(files, 2, "old 2");
    const killed = killedAfter(files, changes);
    const move = async (from: string, to: string) => {
      await killed.makeDirectory(to);
      const names = await files.list(from);
      for (
        const name of [
          ...names.filter((name) => name !== "complete.json"),
          ...names.filter((name) => name === "complete.json"),
        ]
      ) {
        if (name.endsWith("/")) await move(`${from}/${name.slice(0, -1)}`, `${to}/${name.slice(0, -1)}`);
        else await killed.rename(`${from}/${name}`, `${to}/${name}`);
      }
      await killed.remove(from);
    };
    const finished = await save({ ...killed, rename: move }, 3, "new").then(() => true, () => false);
    const { checkpoint } = await newestCheckpoint(files, "run", "sft");
    assert(["old 2", "new"].includes(await text(files, `${checkpoint!.folder}/state.json`)));
    await save(files, 4, "next");
    assertEquals((await newestCheckpoint(files, "run", "sft")).checkpoint?.step, 4);
    if (finished) break;
  }
});

Deno.test("a run killed in an append and resumed from its checkpoint has the records of one that was not", async () => {
  const train = async (files: Files, from: number, to: number) => {
    const run = await openRunDirectory(files, "run", ME, () => true);
    const { checkpoint } = await newestCheckpoint(files, "run", "sft");
    if (from < 0) {
      await rewindAppends(files, "run", checkpoint?.cursors ?? {});
      from = checkpoint?.step ?? 0;
    }
    for (let step = from + 1; step <= to; step++) {
      await run.appendMetrics({ step, loss: 1 / step });
      await run.appendEpisodes("ppo", { step, tokens: [step] });
      if (step % 3 === 0) await run.appendSamples({ step });
      if (step % 4 === 0) await save(files, step);
    }
    await run.release();
  };
  const straight = memoryFiles();
  await train(straight, 0, 10);
  for (let changes = 0;; changes += 3) {
    const files = memoryFiles();
    const finished = await train(killedAfter(files, changes), 0, 10).then(() => true, () => false);
    await train(files, -1, 10);
    for (const name of ["metrics.jsonl", "samples.jsonl", "episodes/ppo.jsonl"]) {
      assertEquals(
        await text(files, `run/${name}`),
        await text(straight, `run/${name}`),
        `${name} after ${changes} changes`,
      );
    }
    if (finished) break;
  }
});

Deno.test("a thousand damaged manifests are passed over with a sentence, or read as they were written", async () => {
  const files = memoryFiles({ "run/metrics.jsonl": "{}\n" });
  await writeCheckpointFolder(files, "run", "ppo", 7, writer(files, "x"), {
    notes: {
      inputs: "d1",
      beta: 0.05,
      tokens: 12345,
      history: [{ "objective/kl": 0.1, "objective/scores": null }],
    },
  });
  const path = "run/checkpoints/ppo/step-000007/complete.json";
  const { checkpoint: whole } = await newestCheckpoint(files, "run", "ppo", "sizes");
  assertEquals(whole?.step, 7);
  await feedDamaged(await text(files, path), async (bytes) => {
    await files.writeAtomic(path, bytes);
    const { checkpoint, damaged } = await newestCheckpoint(files, "run", "ppo", "sizes");
    if (checkpoint) assertEquals([checkpoint, damaged], [whole, []]);
    else {
      assertEquals(damaged.length, 1);
      throw new DamagedFileError(damaged[0]);
    }
  }, { names: path });
});
