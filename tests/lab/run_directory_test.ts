import { assert, assertEquals, assertMatch, assertRejects } from "deno-std/assert/mod.js";
import { setImmediate } from "node:timers";
import { DamagedFileError, digestOfJson, type Files, memoryFiles } from "../../lab/bytes.ts";
import { random } from "../../lab/demo/random.ts";
import {
  newestCheckpoint,
  openRunDirectory,
  readStageRecord,
  rewindAppends,
  RunLockedError,
  type RunOwner,
  writeCheckpointFolder,
  writeStageRecord,
} from "../../lab/run_directory.ts";
import { feedDamaged } from "./damage.ts";

const ME: RunOwner = { pid: 1, host: "here", instance: "a" };
const OTHER: RunOwner = { pid: 2, host: "here", instance: "b" };
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

Deno.test("torn last lines are healed on opening, and said", async () => {
  const files = memoryFiles({ "run/metrics.jsonl": '{"step":1}\n{"st', "run/episodes/ppo.jsonl": "{}\n" });
  const run = await openRunDirectory(files, "run", ME, () => true);
  assertEquals(run.healed, ["run/metrics.jsonl ended in half a line; its last 4 bytes were cut off."]);
  await run.appendMetrics({ step: 2 });
  assertEquals(await text(files, "run/metrics.jsonl"), '{"step":1}\n{"step":2}\n');
});

Deno.test("a second run in the same directory is refused until the first has released it or has ended", async () => {
  const files = memoryFiles();
  const first = await openRunDirectory(files, "run", ME, () => false);
  const asked: unknown[] = [];
  const second = () => openRunDirectory(files, "run", OTHER, (holder) => (asked.push(holder), false));
  const error = await assertRejects(second, RunLockedError);
  assertMatch(
    error.message,
    /^run is in use by process 1 on here since 20.*--out.*delete run\/lock\.json\.$/,
  );
  assertEquals((asked[0] as RunOwner).instance, "a");
  await first.release();
  await first.release();
  const next = await openRunDirectory(files, "run", OTHER, () => false);
  // The first must not take the second's lock away, however often it lets go.
  await first.release();
  await assertRejects(() => openRunDirectory(files, "run", ME, () => false), RunLockedError, "process 2");
  const heir = await openRunDirectory(files, "run", ME, () => true);
  await next.release();
  await assertRejects(() => openRunDirectory(files, "run", OTHER, () => false), RunLockedError, "process 1");
  await heir.release();
  assertEquals((await files.list("run")).filter((name) => name.includes("lock")), []);
});

/**
 * Lets several processes use the same files one operation at a time, in an order drawn from `seed`. A process that is killed never
 * gets a turn again.
 */
function turns(files: Files, seed: number) {
  const rng = random(seed);
  const waiting: { pid: number; go: () => void }[] = [];
  const killed = new Set<number>();
  const turn = (pid: number) => new Promise<void>((go) => waiting.push({ pid, go }));
  return {
    killed,
    filesOf: (pid: number): Files => ({
      ...files,
      read: async (path) => (await turn(pid), await files.read(path)),
      exists: async (path) => (await turn(pid), await files.exists(path)),
      list: async (path) => (await turn(pid), await files.list(path)),
      createNew: async (path, content) => (await turn(pid), await files.createNew(path, content)),
      remove: async (path) => (await turn(pid), await files.remove(path)),
      rename: async (from, to) => (await turn(pid), await files.rename(from, to)),
    }),
    /** Gives turns until nobody waits for one, killing one process in `killOneIn` before its turn (0 = nobody). */
    async play(killOneIn: number): Promise<void> {
      for (;;) {
        await new Promise<void>((resume) => setImmediate(resume));
        const ready = waiting.filter(({ pid }) => !killed.has(pid));
        if (ready.length === 0) return;
        const next = ready[rng.below(ready.length)];
        if (killOneIn > 0 && rng.below(killOneIn) === 0) killed.add(next.pid);
        else waiting.splice(waiting.indexOf(next), 1)[0].go();
      }
    },
  };
}

Deno.test("of many runs that find the same dead lock exactly one gets the directory, and it leaves nothing behind", async () => {
  for (let round = 0; round < 300; round++) {
    const memory = memoryFiles();
    await openRunDirectory(memory, "run", ME, () => false);
    const { filesOf, play } = turns(memory, round);
    const takers = [10, 11, 12, 13].map((pid) =>
      openRunDirectory(filesOf(pid), "run", { pid, host: "here", instance: "" }, ({ pid }) => pid === 1)
    );
    const results = Promise.allSettled(takers);
    await play(0);
    const got = (await results).filter(({ status }) => status === "fulfilled");
    assertEquals(got.length, 1, `round ${round}`);
    for (const result of await results) {
      if (result.status === "rejected") assert(result.reason instanceof RunLockedError, result.reason);
    }
    assertEquals((await memory.list("run")).filter((name) => name.startsWith("lock")), ["lock.json"]);
  }
});

Deno.test("runs that are killed while they take a dead lock neither let two others in nor keep the next one out", async () => {
  for (let round = 0; round < 300; round++) {
    const memory = memoryFiles();
    await openRunDirectory(memory, "run", ME, () => false);
    const { filesOf, play, killed } = turns(memory, 1000 + round);
    const hasEnded = ({ pid }: RunOwner) => pid === 1 || killed.has(pid);
    const holders: number[] = [];
    for (const pid of [10, 11, 12, 13]) {
      openRunDirectory(filesOf(pid), "run", { pid, host: "here", instance: "" }, hasEnded)
        .then(() => holders.push(pid), (error) => assert(error instanceof RunLockedError, error));
    }
    await play(8);
    const alive = holders.filter((pid) => !killed.has(pid));
    assert(alive.length <= 1, `round ${round}: ${alive} hold the directory`);
    const next = openRunDirectory(memory, "run", ME, ({ pid }) => hasEnded({ ...ME, pid }));
    if (alive.length === 1) await assertRejects(() => next, RunLockedError, `process ${alive[0]}`);
    else await (await next).release();
  }
});

Deno.test("a damaged lock is not taken for a dead one", async () => {
  for (const content of ["", "{}", "null", '{"pid":"1","host":"x"}']) {
    const files = memoryFiles({ "run/lock.json": content });
    await assertRejects(
      () => openRunDirectory(files, "run", ME, () => true),
      RunLockedError,
      "run/lock.json is damaged",
    );
  }
});

Deno.test("a finished stage is recognised by its inputs, whatever their order, and by no others", async () => {
  const files = memoryFiles({ "run/metrics.jsonl": "{}\n" });
  await writeStageRecord(files, "run", "sft", { data: "d1", sft: { lr: 1e-5, epochs: 1 } }, { loss: 2.5 });
  const same = await readStageRecord(files, "run", "sft", { sft: { epochs: 1, lr: 1e-5 }, data: "d1" });
  assertEquals(same?.output, { loss: 2.5 });
  assertEquals(same?.cursors, { "metrics.jsonl": 3 });
  assertEquals(
    await readStageRecord(files, "run", "sft", { data: "d2", sft: { lr: 1e-5, epochs: 1 } }),
    undefined,
  );
  assertEquals(await readStageRecord(files, "run", "ppo", {}), undefined);
  await files.writeAtomic("run/stages/sft.json", utf8('{"inputDigest":1}'));
  await assertRejects(
    () => readStageRecord(files, "run", "sft", {}),
    DamagedFileError,
    "delete it to run the stage again",
  );
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

Deno.test("a thousand damaged stage records end in a named error, or are read as they were written", async () => {
  const files = memoryFiles({ "run/metrics.jsonl": "{}\n" });
  const inputs = { data: "d1", sft: { lr: 1e-5, epochs: 1 } };
  await writeStageRecord(files, "run", "sft", inputs, {
    name: "sft",
    steps: 911,
    before: { rougeL: 0.1 },
    seconds: 1.5,
  });
  const path = "run/stages/sft.json";
  const whole = await readStageRecord(files, "run", "sft", inputs);
  assertEquals(whole?.output.steps, 911);
  await feedDamaged(await text(files, path), async (bytes) => {
    await files.writeAtomic(path, bytes);
    assertEquals(await readStageRecord(files, "run", "sft", inputs), whole);
  }, { names: path });
});

Deno.test("a thousand damaged locks are not taken for dead ones unless they still name a process", async () => {
  const sound = JSON.stringify({
    pid: 4711,
    host: "spark",
    instance: "b",
    since: "2026-01-01T00:00:00.000Z",
    token: "t",
  });
  await feedDamaged(sound, async (bytes) => {
    const files = memoryFiles({ "run/lock.json": bytes });
    const directory = await openRunDirectory(files, "run", ME, ({ pid, host, instance }) => {
      assert(Number.isSafeInteger(pid) && typeof host === "string" && typeof instance === "string");
      return pid === 4711;
    });
    assertEquals(directory.path, "run");
    await directory.release();
  }, { names: "run/lock.json", errors: [RunLockedError] });
});
