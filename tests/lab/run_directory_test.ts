import { assert, assertEquals, assertMatch, assertRejects } from "deno-std/assert/mod.js";
import { setImmediate } from "node:timers";
import { DamagedFileError, type Files, memoryFiles } from "../../lab/bytes.ts";
import { random } from "../../lab/demo/random.ts";
import {
  openRunDirectory,
  readStageRecord,
  RunLockedError,
  type RunOwner,
  writeStageRecord,
} from "../../lab/run_directory.ts";
import { feedDamaged } from "./damage.ts";

const ME: RunOwner = { pid: 1, host: "here", instance: "a" };
const OTHER: RunOwner = { pid: 2, host: "here", instance: "b" };
const utf8 = (text: string) => new TextEncoder().encode(text);
const text = async (files: Files, path: string) => new TextDecoder().decode(await files.read(path));

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
