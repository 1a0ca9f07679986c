/**
 * A run whose process is killed with SIGKILL at random moments ends with the very bytes of one that was left in peace. Six kills by default;
 * PRECIS_KILLS=50 makes it fifty, in a run that is long enough for them.
 */
import { assert, assertEquals } from "deno-std/assert/mod.js";
import { joinPath } from "../../lab/bytes.ts";
import { uniforms } from "../kernels/testing.ts";
import { fingerprint, ground, tiny, train } from "./training.ts";

const kills = Number(Deno.env.get("PRECIS_KILLS") ?? 6);
const longer = Math.ceil(kills / 6);

Deno.test(`killed ${kills} times at random moments, a run ends with the weights and records of an undisturbed one`, async () => {
  const place = await ground();
  const flags = (out: string) =>
    tiny(
      place,
      joinPath(place.folder, out),
      ...["--stages", "preprocess,sft,reward,ppo", "--checkpoints.every", "1"],
      ...["--sft.epochs", `${2 * longer}`, "--reward.epochs", `${2 * longer}`],
      ...["--ppo.episodes", `${24 * longer}`],
    );
  const whole = await train(flags("whole"));
  assertEquals([whole.code, whole.err], [0, ""]);

  const broken = joinPath(place.folder, "broken");
  const next = uniforms(Number(Deno.env.get("PRECIS_SEED") ?? 1));
  const died: Record<string, number> = {};
  for (let kill = 0; kill < kills; kill++) {
    const ended = new AbortController();
    let killing = Promise.resolve();
    const { code } = await train(flags("broken"), {
      born: (child) => killing = killLater(child, broken, next, ended.signal),
    });
    ended.abort();
    await killing;
    assertEquals(code, -9, "the run was over before all kills were done");
    const where = await stateOf(broken);
    died[where] = (died[where] ?? 0) + 1;
  }
  console.log(
    `  killed while: ${Object.entries(died).map(([where, times]) => `${where} ${times}×`).join(", ")}`,
  );
  const last = await train(flags("broken"));
  assertEquals(last.code, 0, last.err);
  const ends = await train(flags("broken"));
  assertEquals(ends.out.match(/skipped/g)?.length, 4, ends.out);
  const [ours, theirs] = [await fingerprint(broken), await fingerprint(joinPath(place.folder, "whole"))];
  assertEquals(ours, theirs);
  const rests = (await listed(broken)).filter((name) =>
    /partial|replaced|removed|unfinished|lock/.test(name)
  );
  assertEquals(rests, []);
  await Deno.remove(place.folder, { recursive: true });
});

/**
 * Kills a run: every sixth time at any moment of its first second and a half, its start; else up to 0.7 seconds after it has first changed
 * something in its folder, so that most of them get a little further.
 */
async function killLater(
  child: Deno.ChildProcess,
  folder: string,
  next: () => number,
  ended: AbortSignal,
): Promise<void> {
  const early = next() < 1 / 6, delay = next();
  const before = await traces(folder);
  const deadline = performance.now() + 60_000;
  while (!early && !ended.aborted && await traces(folder) === before) {
    assert(performance.now() < deadline, "the run did nothing for a minute");
    await pause(5);
  }
  await pause(delay * (early ? 1500 : 700));
  if (!ended.aborted) child.kill("SIGKILL");
}

/** What tells that a run is past its start: records, checkpoints, finished stages. */
async function traces(folder: string): Promise<string> {
  const names = (await listed(folder)).filter((name) => /checkpoints|stages|models/.test(name));
  const records = await Deno.stat(joinPath(folder, "metrics.jsonl")).then(({ size }) => size, () => 0);
  return `${names.join()} ${records}`;
}

/** What a run was at, as its folder shows. */
async function stateOf(folder: string): Promise<string> {
  const names = await listed(folder);
  if (names.some((name) => /\.partial/.test(name))) return "writing a checkpoint";
  if (names.some((name) => /\.removed|\.replaced/.test(name))) return "removing a checkpoint";
  if (names.some((name) => /unfinished/.test(name))) return "writing a file";
  return "computing";
}

async function listed(folder: string): Promise<string[]> {
  const found: string[] = [];
  try {
    for await (const { name, isDirectory } of Deno.readDir(folder)) {
      found.push(name);
      if (isDirectory) {
        found.push(...(await listed(joinPath(folder, name))).map((below) => `${name}/${below}`));
      }
    }
  } catch (error) {
    // The run is changing it meanwhile.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return found.sort();
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resume) => setTimeout(resume, milliseconds));
}
