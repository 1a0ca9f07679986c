/** `deno task train` from outside: what a run leaves, and what is left of it when it is stopped, killed, or starved of disk. */
import { assert, assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { joinPath } from "../../lab/bytes.ts";
import { assertExplained, fingerprint, ground, tiny, train } from "./training.ts";

Deno.test("--help prints every field and opens neither GPU nor files", async () => {
  const { code, out, err } = await train(["--help", "--bogus"], {
    env: { VK_ICD_FILENAMES: "/nonexistent", VK_DRIVER_FILES: "/nonexistent" },
  });
  assertEquals([code, err], [0, ""]);
  assert(out.includes("--ppo.klCoef") && out.includes("--resume"));
  assertEquals(out.split("\n").filter((line) => line.length > 100), []);
});

Deno.test("runs from the command line", async (t) => {
  const place = await ground();
  const whole = joinPath(place.folder, "whole"), broken = joinPath(place.folder, "broken");

  await t.step("--dry-run prints the plan and its memory, and trains nothing", async () => {
    const planned = joinPath(place.folder, "planned");
    const { code, out, err } = await train(tiny(place, planned, "--dry-run"));
    assertEquals([code, err], [0, ""]);
    assertMatch(out, /Plan +steps +tokens +FLOPs +peak memory +time\n/);
    assertMatch(out, /\nppo +3 updates +/);
    assertMatch(out, /Memory of ppo: .*\n(.*\n)*critic second moments +persistent +1 buffer/);
    assertEquals(out.split("\n").filter((line) => line.length > 100), []);
    assert(!await Deno.stat(joinPath(planned, "models")).then(() => true, () => false));
  });

  await t.step("a run leaves every file, whole, and prints no noise and no wide line", async () => {
    const { code, out, err } = await train(tiny(place, whole));
    assertEquals(code, 0, err);
    assertEquals(err, "");
    assertEquals(out.split("\n").filter((line) => line.length > 100), []);
    for (const stage of ["preprocess", "sft", "reward", "ppo", "evaluate"]) {
      assert(out.includes(`✓ ${stage}`), out);
    }
    assert(!/NaN|undefined|\[object/.test(out), out);
    for (const name of ["run.json", "evaluation.json", "summaries.json"]) {
      JSON.parse(await Deno.readTextFile(joinPath(whole, name)));
    }
    assertMatch(
      JSON.parse(await Deno.readTextFile(joinPath(whole, "run.json"))).kernelDigest,
      /^[0-9a-f]{64}$/,
    );
    for (const name of ["metrics.jsonl", "samples.jsonl", "episodes/ppo.jsonl"]) {
      const lines = (await Deno.readTextFile(joinPath(whole, name))).trimEnd().split("\n");
      assert(lines.map((line) => JSON.parse(line)).length > 0);
    }
    assert((await Deno.readTextFile(joinPath(whole, "report.html"))).trimEnd().endsWith("</html>"));
    assert(!await Deno.stat(joinPath(whole, "lock.json")).then(() => true, () => false));
  });

  await t.step("the same command again skips every stage", async () => {
    const before = await fingerprint(whole);
    const { code, out } = await train(tiny(place, whole));
    assertEquals([code, out.match(/skipped/g)?.length], [0, 5]);
    assertEquals(await fingerprint(whole), before);
  });

  await t.step("killed in mid-stage: the same command takes over its lock and goes on", async () => {
    const killed = await train(tiny(place, broken), {
      watch: (out, child) => out.includes("sft  1/") && kill(child, "SIGKILL"),
    });
    assertEquals(killed.code, -9);
    await Deno.stat(joinPath(broken, "lock.json"));
  });

  await t.step(
    "Ctrl-C finishes the step, saves, and says how to go on; meanwhile nobody else gets in",
    async () => {
      let second: Promise<void> | undefined;
      const stopped = await train(tiny(place, broken), {
        watch: async (out, child) => {
          if (!out.includes("reward  1/") || second) return;
          // The first one stands still while the second one tries.
          kill(child, "SIGSTOP");
          second = train(tiny(place, broken)).then((other) =>
            assertExplained(other, "broken is in use by process", "--out")
          );
          await second.finally(() => {
            kill(child, "SIGINT");
            kill(child, "SIGCONT");
          });
        },
      });
      await second;
      assertEquals(stopped.code, 130, stopped.err);
      assert(stopped.err.includes("Stopping after this step"), stopped.err);
      assert(stopped.err.includes(`to go on: deno task train --resume --out ${broken}`), stopped.err);
      assert(!/\bat .*\.ts:\d/.test(stopped.err), stopped.err);
    },
  );

  await t.step(
    "a closed terminal, told twice and beside SIGTERM, saves like Ctrl-C once; nobody reading changes nothing",
    async () => {
      const out = joinPath(place.folder, "hungUp");
      const long = tiny(place, out, "--stages", "preprocess,sft", "--sft.epochs", "40");
      const hungUp = await train(long, {
        watch: (text, child) => {
          if (text.includes("sft  1/")) {
            for (const signal of ["SIGHUP", "SIGHUP", "SIGTERM"] as const) kill(child, signal);
          }
        },
      });
      assertEquals(hungUp.code, 130, hungUp.err);
      assert(/Stopped after sft, step [1-9]/.test(hungUp.err), hungUp.err);
      const [checkpoint] = Array.from(Deno.readDirSync(joinPath(out, "checkpoints/sft")));
      assert(/^step-\d{6}$/.test(checkpoint.name), checkpoint.name);
      const unread = await train(tiny(place, joinPath(place.folder, "unread"), "--stages", "preprocess"), {
        born: (child) => child.stdout.cancel(),
      });
      assertEquals([unread.code, unread.err], [0, ""]);
    },
  );

  await t.step("Ctrl-C twice ends at once", async () => {
    const ended = await train(["--resume", "--out", broken], {
      watch: async (out, child) => {
        if (!out.includes("ppo  1/")) return;
        kill(child, "SIGINT");
        await new Promise((resume) => setTimeout(resume, 5));
        kill(child, "SIGINT");
      },
    });
    assertEquals(ended.code, 130, ended.err);
  });

  await t.step("after all that, resuming gives what the undisturbed run gave, to the bit", async () => {
    const { code, err } = await train(["--resume", "--out", broken]);
    assertEquals([code, err], [0, ""]);
    const metrics = async (out: string) =>
      (await Deno.readTextFile(joinPath(out, "metrics.jsonl"))).trimEnd().split("\n").map((line) =>
        JSON.parse(line)
      );
    assertEquals(await metrics(broken), await metrics(whole));
    assertEquals(await fingerprint(broken), await fingerprint(whole));
  });

  await t.step("--resume with no run, with a damaged run.json, or with a preset", async () => {
    assertExplained(await train(["--resume", "--out", joinPath(place.folder, "none")]), "There is no run in");
    const path = joinPath(broken, "run.json");
    const good = await Deno.readTextFile(path);
    for (const bad of [good.slice(0, 100), "null", "{}", '{"startedAt":"","config":3}']) {
      await Deno.writeTextFile(path, bad);
      assertExplained(await train(["--resume", "--out", broken]), path, "start the run again with its flags");
    }
    await Deno.writeTextFile(path, good.replace('"klCoef"', '"klCeof"'));
    assertExplained(await train(["--resume", "--out", broken]), path, "klCeof", "klCoef");
    assertExplained(await train(["--resume", "--preset", "demo"]), "leave --preset out");
  });

  await t.step("a loss that is not finite stops the run and leaves earlier checkpoints", async () => {
    const out = joinPath(place.folder, "diverged");
    const run = tiny(
      place,
      out,
      "--stages",
      "preprocess,sft",
      "--sft.learningRate",
      "1e30",
      "--sft.epochs",
      "3",
    );
    assertExplained(
      await train([...run, "--checkpoints.every", "1"]),
      "sft, step",
      "the first values that are not finite are",
      "made by kernel",
      "lower --sft.learningRate",
    );
    const report = await Deno.readTextFile(joinPath(out, "report.html"));
    assert(
      report.includes("the first values that are not finite are"),
      "the report of half a run tells it too",
    );
    const kept = Array.from(Deno.readDirSync(joinPath(out, "checkpoints/sft")), ({ name }) => name);
    assert(kept.length > 0 && kept.every((name) => /^step-\d{6}$/.test(name)), kept.join());
    for (const name of kept) await Deno.stat(joinPath(out, "checkpoints/sft", name, "complete.json"));
  });

  const disk = joinPath(place.folder, "disk");
  const mounted = await mount(disk, "450k");
  const needed = "(needs leave to mount a small disk)";
  const out = joinPath(disk, "run");
  const stages = ["--stages", "preprocess,sft,reward,ppo"];
  await t.step({
    name: `without room for a stage nothing of it is begun, and both figures are told ${needed}`,
    ignore: !mounted,
    fn: async () => {
      const small = await train(tiny(place, out, ...stages));
      assertExplained(
        small,
        "Stage sft needs",
        "KiB are free",
        "free some, or choose another place with --out",
      );
      assert(small.out.includes("✓ preprocess"), small.out);
    },
  });

  await t.step({
    name:
      `a disk that fills up or turns read-only under the run stops it; the same command goes on ${needed}`,
    ignore: !mounted,
    fn: async () => {
      try {
        assert(await command("mount", "-o", "remount,size=3m", disk));
        const ballast = joinPath(disk, "ballast");
        const full = await train(tiny(place, out, ...stages, "--checkpoints.every", "1"), {
          watch: async (text) => text.includes("reward  1/") && await fill(ballast),
        });
        assertEquals(full.code, 1, full.err);
        assert(/no space is left on the disk|needs .* are free on its disk/.test(full.err), full.err);
        assert(full.out.includes("✓ sft"), full.out);
        await Deno.remove(ballast);
        const frozen = await train(tiny(place, out, ...stages, "--checkpoints.every", "1"), {
          watch: async (text) => {
            // A file that is open for writing right now stands in the way.
            for (let tries = 0; text.includes("ppo  1/") && tries < 200; tries++) {
              if (await command("mount", "-o", "remount,ro", disk)) break;
            }
          },
        });
        assertExplained(frozen, "the disk is mounted read-only");
        assert(await command("mount", "-o", "remount,rw", disk));
        const { code, err } = await train(tiny(place, out));
        assertEquals(code, 0, err);
        assertEquals(await fingerprint(out), await fingerprint(whole));
      } finally {
        await command("umount", disk);
      }
    },
  });

  await Deno.remove(place.folder, { recursive: true });
});

/** A process that has ended meanwhile needs no signal. */
function kill(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** A disk of this size in memory, where the system lets us have one. */
async function mount(folder: string, size: string): Promise<boolean> {
  await Deno.mkdir(folder);
  return Deno.build.os === "linux" &&
    await command("mount", "-t", "tmpfs", "-o", `size=${size}`, "tmpfs", folder);
}

async function command(name: string, ...args: string[]): Promise<boolean> {
  try {
    return (await new Deno.Command(name, { args, stdout: "null", stderr: "null" }).output()).success;
  } catch {
    return false;
  }
}

/** Writes to a file until nothing more goes in. */
async function fill(path: string): Promise<void> {
  try {
    using file = await Deno.open(path, { write: true, create: true });
    for (;;) await file.write(new Uint8Array(16 * 1024));
  } catch {
    // The disk is full, as was wanted.
  }
}
