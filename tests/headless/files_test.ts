import { assert, assertEquals, assertMatch, assertRejects } from "deno-std/assert/mod.js";
import { diskFiles, explainFileError, hasEnded, thisProcess } from "../../headless/files.ts";
import { FileAccessError, sha256OfFile, startSha256 } from "../../lab/bytes.ts";
import { newestCheckpoint, writeCheckpointFolder } from "../../lab/checkpoints.ts";
import { openRunDirectory, RunLockedError } from "../../lab/run_directory.ts";

const files = diskFiles();
const utf8 = (text: string) => new TextEncoder().encode(text);
const text = async (path: string) => new TextDecoder().decode(await files.read(path));

function diskTest(name: string, work: (folder: string) => Promise<void>, ignore = false): void {
  Deno.test({
    name,
    ignore,
    fn: async () => {
      const folder = await Deno.makeTempDir();
      try {
        await work(folder);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

diskTest("what is written is read back, whole, in ranges and in its folder's list", async (folder) => {
  await files.makeDirectory(`${folder}/a/b`);
  await files.makeDirectory(`${folder}/a/b`);
  const pieces = (async function* () {
    for (const piece of ["he", "", "llo"]) yield await Promise.resolve(utf8(piece));
  })();
  await files.writeAtomic(`${folder}/a/f`, pieces);
  assertEquals(await text(`${folder}/a/f`), "hello");
  assertEquals(await files.size(`${folder}/a/f`), 5);
  assertEquals(await files.readRange(`${folder}/a/f`, 1, 4), utf8("ell"));
  assertEquals(await files.readRange(`${folder}/a/f`, 5, 5), utf8(""));
  await assertRejects(() => files.readRange(`${folder}/a/f`, 1, 2 ** 50), FileAccessError, "has 5 bytes");
  assertEquals(await files.list(`${folder}/a`), ["b/", "f"]);
  for (const name of ["b", "f", "nothing"]) await Deno.symlink(name, `${folder}/a/${name}-linked`);
  assertEquals(await files.list(`${folder}/a`), ["b-linked/", "b/", "f", "f-linked", "nothing-linked"]);
  await files.append(`${folder}/a/g`, utf8("one"));
  await files.append(`${folder}/a/g`, utf8("two"));
  await files.truncate(`${folder}/a/g`, 4);
  await files.truncate(`${folder}/a/g`, 40);
  assertEquals(await text(`${folder}/a/g`), "onet");
  await files.rename(`${folder}/a/g`, `${folder}/a/f`);
  await files.rename(`${folder}/a`, `${folder}/c`);
  assertEquals(await text(`${folder}/c/f`), "onet");
  await files.remove(`${folder}/c`);
  await files.remove(`${folder}/c`);
  assertEquals([
    await files.exists(`${folder}/c`),
    await files.exists(`${folder}/c/f`),
    await files.exists(folder),
  ], [false, false, true]);
});

diskTest("a write whose source fails leaves the previous file and no rest", async (folder) => {
  await files.writeAtomic(`${folder}/f`, utf8("old"));
  const failing = (async function* () {
    yield utf8("ne");
    assertEquals(await files.list(folder), ["f"]);
    await Promise.reject(new RangeError("stop"));
  })();
  await assertRejects(
    () => files.read("a\0b"),
    FileAccessError,
    'Could not read "a\\u0000b": no path holds a NUL character; correct it.',
  );
  await assertRejects(() => files.writeAtomic(`${folder}/f`, failing), RangeError, "stop");
  assertEquals(await text(`${folder}/f`), "old");
  assertEquals(Array.from(Deno.readDirSync(folder), ({ name }) => name), ["f"]);
});

diskTest("a new file is created once, with its content", async (folder) => {
  const made = await Promise.all(
    ["a", "b", "c", "d"].map((name) => files.createNew(`${folder}/f`, utf8(name))),
  );
  assertEquals(made.filter((one) => one).length, 1);
  assertEquals(await text(`${folder}/f`), "abcd"[made.indexOf(true)]);
  assertEquals(Array.from(Deno.readDirSync(folder), ({ name }) => name), ["f"]);
});

diskTest("a process killed while it writes leaves the previous file", async (folder) => {
  await files.writeAtomic(`${folder}/f`, utf8("old"));
  const module = new URL("../../headless/files.ts", import.meta.url).href;
  const program = `
    import { diskFiles } from ${JSON.stringify(module)};
    await diskFiles().writeAtomic(${JSON.stringify(`${folder}/f`)}, (async function* () {
      for (;;) { yield new Uint8Array(65536); console.log("."); await new Promise((go) => setTimeout(go, 1)); }
    })());`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", program],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  child.kill("SIGKILL");
  await child.status;
  await reader.cancel();
  assertEquals(await text(`${folder}/f`), "old");
  assertEquals(await files.list(folder), ["f"]);
  await files.writeAtomic(`${folder}/f`, utf8("new"));
  assertEquals(Array.from(Deno.readDirSync(folder), ({ name }) => name), ["f"]);
});

diskTest("what is not there, or is not what it should be, is said in one sentence", async (folder) => {
  await files.writeAtomic(`${folder}/f`, utf8("x"));
  const message = async (work: () => Promise<unknown>) =>
    (await assertRejects(work, FileAccessError)).message;
  assertEquals(
    await message(() => files.read(`${folder}/none`)),
    `Could not read ${folder}/none: it does not exist; check the path.`,
  );
  assertEquals(
    await message(() => files.size(`${folder}/none`)),
    `Could not read ${folder}/none: it does not exist; check the path.`,
  );
  assertMatch(
    await message(() => files.writeAtomic(`${folder}/no/f`, utf8("x"))),
    /its folder does not exist; make the folder/,
  );
  assertMatch(await message(() => files.append(`${folder}/no/f`, utf8("x"))), /its folder does not exist/);
  assertMatch(await message(() => files.createNew(`${folder}/no/f`, utf8("x"))), /its folder does not exist/);
  assertMatch(await message(() => files.read(folder)), /it is a folder, not a file/);
  assertMatch(await message(() => files.size(folder)), /it is a folder, not a file/);
  assertMatch(await message(() => files.list(`${folder}/f`)), /part of the path is a file/);
  assertMatch(
    await message(() => files.writeAtomic(`${folder}/f/g`, utf8("x"))),
    /part of the path is a file/,
  );
  assertMatch(await message(() => files.makeDirectory(`${folder}/f`)), /a file is in the way/);
  assertMatch(
    await message(() => files.writeAtomic(`${folder}/${"n".repeat(300)}`, utf8("x"))),
    /the name is too long/,
  );
});

Deno.test({
  name: "a full disk is said to be full",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const error = await assertRejects(() => files.append("/dev/full", utf8("x")), FileAccessError);
    assertEquals(
      error.message,
      "Could not write /dev/full: no space is left on the disk; free some or choose another place with --out.",
    );
  },
});

Deno.test("read-only disks, forbidden files, quotas and faults have their own remedies; other errors pass through", () => {
  const said = (code: string) => {
    const error = explainFileError(
      Object.assign(new Error("raw text (os error 1)"), { code }),
      "write",
      "out/run.json",
    );
    if (!(error instanceof FileAccessError)) throw new Error(`${code} is not explained`, { cause: error });
    assertMatch(error.message, /^Could not write out\/run\.json: [^(]+\.$/);
    return error.message;
  };
  assertMatch(said("EROFS"), /mounted read-only; choose another place/);
  assertMatch(said("EACCES"), /permission is denied/);
  assertMatch(said("EDQUOT"), /quota/);
  assertMatch(said("EIO"), /disk reported a fault/);
  const bug = new TypeError("bug");
  assertEquals(explainFileError(bug, "write", "f"), bug);
});

diskTest("Deno's own refusal names the flag", async (folder) => {
  const module = new URL("../../headless/files.ts", import.meta.url).href;
  const program = `
    import { diskFiles } from ${JSON.stringify(module)};
    await diskFiles().writeAtomic(${
    JSON.stringify(`${folder}/f`)
  }, new Uint8Array(1)).catch((error) => console.log(error.name, error.message));`;
  await Deno.writeTextFile(`${folder}/p.ts`, program);
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-check",
      "--no-prompt",
      "--no-lock",
      "--allow-read",
      "--config",
      new URL("../../deno.json", import.meta.url).pathname,
      `${folder}/p.ts`,
    ],
  }).output();
  assertMatch(
    new TextDecoder().decode(stdout),
    /^FileAccessError Could not write .*Deno was not allowed to; run it with --allow-write\./,
  );
});

diskTest("the platform's SHA-256 and the portable one agree on a file of several pieces", async (folder) => {
  const bytes = Uint8Array.from({ length: 9_000_001 }, (_, i) => (i * i) >> 5);
  await files.writeAtomic(`${folder}/f`, bytes);
  const portable = startSha256();
  portable.update(bytes);
  assertEquals(await sha256OfFile(files, `${folder}/f`), { size: bytes.length, sha256: portable.finish() });
});

Deno.test("this process has not ended; one that is gone has, as has an earlier one with our number; of other hosts nothing is known", async () => {
  const me = await thisProcess();
  assertEquals(await hasEnded(me), false);
  assertEquals(await hasEnded({ ...me, instance: "" }), false);
  if (me.instance !== "") assertEquals(await hasEnded({ ...me, instance: "an earlier boot 1" }), true);
  assertEquals(await hasEnded({ ...me, host: me.host + "-other", pid: 2 ** 22 + 1 }), false);
  const child = new Deno.Command(Deno.execPath(), { args: ["--version"], stdout: "null" }).spawn();
  await child.status;
  assertEquals(await hasEnded({ ...me, pid: child.pid }), true);
  assertEquals(await hasEnded({ ...me, pid: child.pid, instance: "" }), true);
});

diskTest("a run directory works on a disk: lock, checkpoints, rotation", async (folder) => {
  const run = `${folder}/runs/one`;
  const me = await thisProcess();
  const held = await openRunDirectory(files, run, me, hasEnded);
  await assertRejects(
    () => openRunDirectory(files, run, me, hasEnded),
    RunLockedError,
    `process ${me.pid} on ${me.host}`,
  );
  for (const step of [1, 2, 3]) {
    await held.appendMetrics({ step });
    await writeCheckpointFolder(
      files,
      run,
      "sft",
      step,
      (to) => files.writeAtomic(`${to}/w`, utf8(`${step}`)),
      { keep: 2 },
    );
  }
  await writeCheckpointFolder(files, run, "sft", 3, (to) => files.writeAtomic(`${to}/w`, utf8("again")), {
    keep: 2,
  });
  const { checkpoint } = await newestCheckpoint(files, run, "sft");
  assertEquals(await text(`${checkpoint!.folder}/w`), "again");
  assertEquals(checkpoint!.cursors, { "metrics.jsonl": 36 - 3 });
  assertEquals(await files.list(`${run}/checkpoints/sft`), ["step-000002/", "step-000003/"]);
  await held.release();
  assert(!await files.exists(`${run}/lock.json`));
});
