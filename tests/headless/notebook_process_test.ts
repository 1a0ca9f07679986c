/** The process that a notebook's cells run in: what ends there ends alone, and it is handed nothing of its host's. */
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "deno-std/assert/mod.js";
import { serialize } from "node:v8";
import { frame, FrameError, readFrames } from "../../headless/notebook_frames.ts";
import { startWorkerKernel } from "../../headless/notebook_kernels.ts";
import { strangersGrant } from "../../lab/notebook/grant.ts";
import { parseNotebook, serialiseNotebook } from "../../lab/notebook/ipynb.ts";
import { type NotebookRun, runNotebook, type RunOptions } from "../../lab/notebook/run.ts";
import { testBench } from "../lab/notebook/lab_testing.ts";
import { notebookOf } from "../lab/notebook/notebooks.ts";

const root = decodeURIComponent(new URL("../..", import.meta.url).pathname);

/** Runs cells that may take `memory` megabytes; `during` is told that their process is there. */
async function run(sources: string[], memory: number, options: RunOptions = {}): Promise<NotebookRun> {
  const bench = testBench();
  try {
    const start = () => startWorkerKernel(bench, { seed: 7, grant: strangersGrant, versions: {}, memory });
    return await runNotebook(notebookOf(sources), start, { timeout: 60_000, ...options });
  } finally {
    await bench.destroy();
  }
}

const words = ({ cells }: NotebookRun, i: number) =>
  cells[i].outputs.map((output) =>
    output.output_type === "stream"
      ? output.text
      : output.output_type === "error"
      ? output.evalue
      : String(output.data["text/plain"])
  ).join("\n");

function processTest(name: string, fn: () => Promise<void>, missing?: string): void {
  Deno.test({
    name: missing ? `${name} (skipped: ${missing})` : name,
    ignore: missing !== undefined,
    fn,
    sanitizeOps: false,
    sanitizeResources: false,
  });
}

const tooMuch = "The notebook's cells needed more than 256 MB of memory; keep less in variables, " +
  "or allow more with --memory.";

processTest("cells that fill the heap, or memory beside it, end their kernel and nothing else", async () => {
  const fillers = [
    "const kept = []; for (;;) kept.push({ x: Math.random(), y: [1, 2, 3] });",
    "const kept = []; for (;;) kept.push(1.5);",
    "const kept = []; for (;;) kept.push(new Float64Array(1e6).fill(1));",
    "const kept = []; for (;;) { kept.push(new Uint8Array(1e8).fill(1)); await null; }",
    "const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });\n" +
    "for (;;) { memory.grow(100); new Uint8Array(memory.buffer).fill(1); }",
  ];
  const ran = await run(
    ["const before = 1;", ...fillers.flatMap((filler) => [filler, "typeof before"])],
    256,
    {
      keepGoing: true,
    },
  );
  for (let i = 1; i < ran.cells.length; i += 2) {
    assertEquals([ran.cells[i].status, words(ran, i)], ["failed", tooMuch]);
    assertEquals([ran.cells[i + 1].status, words(ran, i + 1)], ["ok", '"undefined"']);
  }
});

processTest("without --keep-going the run stops there; what came before it is kept", async () => {
  const ran = await run(
    [
      'console.log("before")',
      'console.log("on"); await new Promise((on) => setTimeout(on, 500)); const a = []; for (;;) a.push([]);',
      "3",
    ],
    256,
  );
  assertEquals(ran.cells.map(({ status }) => status), ["ok", "failed", "skipped"]);
  assertEquals(words(ran, 0), "before\n");
  assertEquals(words(ran, 1), `on\n\n${tooMuch}`);
  assertEquals(ran.notebook.cells.length, 3);
});

processTest(
  "a cell that the task runs out of memory on is its error in the notebook that is written",
  async () => {
    const folder = await Deno.makeTempDir();
    try {
      const path = `${folder}/full.ipynb`;
      await Deno.writeTextFile(
        path,
        serialiseNotebook(
          notebookOf(["40 + 2", "const a = []; for (;;) a.push(new Float64Array(1e6).fill(1));", "5"]),
        ),
      );
      const args = [
        "run",
        "-A",
        "--cached-only",
        "headless/notebook.ts",
        "run",
        "--in-place",
        "--keep-going",
      ];
      const { code, stdout } = await new Deno.Command(Deno.execPath(), {
        args: [...args, "--memory", "256", path],
        cwd: root,
      }).output();
      const told = new TextDecoder().decode(stdout);
      assertEquals(code, 1, told);
      assertMatch(told, /✗ {3}2 .*\n│ Interrupted: The notebook's cells needed more than 256 MB/);
      const { cells } = parseNotebook(path, await Deno.readFile(path));
      const outputs = cells.map((cell) => cell.cell_type === "code" ? cell.outputs[0] : undefined);
      assertEquals(outputs.map((output) => output?.output_type), [
        "execute_result",
        "error",
        "execute_result",
      ]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);

/** Processes of cells that `parent` has started. */
async function processesOf(parent: number): Promise<number[]> {
  const found: number[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = await Deno.readTextFile(`/proc/${name}/stat`);
      const [state, ppid] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (state === "Z" || Number(ppid) !== parent) continue;
      const command = await Deno.readTextFile(`/proc/${name}/cmdline`);
      if (command.includes("notebook_process.ts")) found.push(Number(name));
    } catch {
      // It has just ended.
    }
  }
  return found;
}

/** What a process has open: paths, or kinds and numbers. */
async function openOf(pid: number): Promise<string[]> {
  const open: string[] = [];
  for await (const { name } of Deno.readDir(`/proc/${pid}/fd`)) {
    try {
      open.push(await Deno.readLink(`/proc/${pid}/fd/${name}`));
    } catch {
      // The one that the folder was read by.
    }
  }
  return open;
}

const notLinux = Deno.build.os === "linux" ? undefined : "only Linux tells of processes in /proc";

processTest("it inherits no variable and no file, and its own threads may do nothing", async () => {
  Deno.env.set("PRECIS_SECRET", "a token");
  const folder = await Deno.makeTempDir();
  const secret = await Deno.open(`${folder}/secret`, { create: true, write: true });
  const listener = Deno.listen({ port: 0 });
  const bench = testBench();
  const started = await startWorkerKernel(bench, { seed: 7, grant: strangersGrant, versions: {} });
  try {
    const [pid] = await processesOf(Deno.pid);
    const environment = (await Deno.readTextFile(`/proc/${pid}/environ`)).split("\0").filter(Boolean);
    const known = /^(DENO_DIR|HOME|XDG_CACHE_HOME|TMPDIR)=/;
    assertEquals(environment.filter((one) => !known.test(one)), []);
    const mine = await openOf(Deno.pid);
    assert(
      mine.includes(`${folder}/secret`) && mine.some((one) => one.startsWith("socket:")),
      mine.join("\n"),
    );
    const shared = (await openOf(pid)).filter((one) => mine.includes(one));
    // What is no file and leads nowhere; and pipes that whoever started the tests left open to all.
    assertEquals(shared.filter((one) => !/^(anon_inode:|pipe:|\/dev\/null$|\S*_cache_v2)/.test(one)), []);
    const command = (await Deno.readTextFile(`/proc/${pid}/cmdline`)).split("\0");
    assert(
      command.includes("--no-prompt") && command.includes("--no-remote") && command.includes("--no-npm"),
    );
    assertEquals(command.filter((one) => /^(-A|--allow-(?!read=))/.test(one)), []);
  } finally {
    started.end();
    await bench.destroy();
    secret.close();
    listener.close();
    Deno.env.delete("PRECIS_SECRET");
    await Deno.remove(folder, { recursive: true });
  }
}, notLinux);

processTest("Ctrl-C at the terminal, which every process hears, leaves the word to the host", async () => {
  const abort = new AbortController();
  setTimeout(async () => {
    for (const pid of await processesOf(Deno.pid)) Deno.kill(pid, "SIGINT");
    setTimeout(() => abort.abort(), 300);
  }, 700);
  const ran = await run(["1", "for (;;) {}", "3"], 512, { signal: abort.signal });
  assertEquals(ran.cells.map(({ status }) => status), ["ok", "failed", "skipped"]);
  assertEquals(words(ran, 1), "cell 2 was interrupted.");
  await gone(Deno.pid);
}, notLinux);

/** Waits until no cells' process of `parent` is left, or of those that are named. */
async function gone(parent: number, pids?: number[]): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const left = pids
      ? pids.filter((pid) => {
        try {
          return Deno.readTextFileSync(`/proc/${pid}/cmdline`).includes("notebook_process.ts");
        } catch {
          return false;
        }
      })
      : await processesOf(parent);
    if (left.length === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("A process of cells was left behind.");
}

processTest(
  "a process that is ended from outside is the cell's error, and the next has a new one",
  async () => {
    const ending = setTimeout(async () => {
      for (const pid of await processesOf(Deno.pid)) Deno.kill(pid, "SIGKILL");
    }, 700);
    const ran = await run(["1", "for (;;) {}", "3"], 512, { keepGoing: true });
    clearTimeout(ending);
    assertEquals(ran.cells.map(({ status }) => status), ["ok", "failed", "ok"]);
    assertEquals(
      words(ran, 1),
      "The kernel has ended: the system ended its process, perhaps for want of memory.",
    );
  },
  notLinux,
);

processTest("where the host is killed its cells end too, in the middle of a loop", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/loop.ipynb`;
    await Deno.writeTextFile(path, serialiseNotebook(notebookOf(["1", "for (;;) {}"])));
    const host = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--cached-only", "headless/notebook.ts", "run", path],
      cwd: root,
      stdout: "piped",
      stderr: "null",
    }).spawn();
    let told = "", cells: number[] = [];
    for await (const piece of host.stdout.pipeThrough(new TextDecoderStream())) {
      told += piece;
      if (cells.length > 0 || !told.includes("✓   1")) continue;
      cells = await processesOf(host.pid);
      host.kill("SIGKILL");
    }
    await host.status;
    assertEquals(cells.length, 1, told);
    await gone(host.pid, cells);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}, notLinux);

/** The messages that pieces of bytes make. */
async function read(...pieces: Uint8Array[]): Promise<unknown[]> {
  const messages: unknown[] = [];
  for await (const { way, message } of readFrames(ReadableStream.from(pieces))) messages.push([way, message]);
  return messages;
}

Deno.test("frames cross pipes in whatever pieces they come, typed arrays as such", async () => {
  const messages: [number, unknown][] = [
    [0, { a: undefined, b: 1n, c: [NaN, -0], d: "ü" }],
    [1, { call: 1, args: [new Float32Array([1, NaN]), new Map([[1, 2]])] }],
    [0, null],
  ];
  const bytes = messages.flatMap(([way, message]) => Array.from(frame(way, message)));
  for (const size of [1, 3, 7, bytes.length]) {
    const pieces = Array.from(
      { length: Math.ceil(bytes.length / size) },
      (_, i) => Uint8Array.from(bytes.slice(i * size, (i + 1) * size)),
    );
    assertEquals(await read(...pieces), messages);
  }
  assertEquals(await read(Uint8Array.from(bytes.slice(0, -1))), messages.slice(0, -1));
  assertEquals(await read(), []);
});

Deno.test("what is no frame is refused, and nothing is set aside for a length that is only claimed", async () => {
  const forged = (way: number, length: number, body: Uint8Array) => {
    const bytes = new Uint8Array(5 + body.length);
    bytes[0] = way;
    new DataView(bytes.buffer).setUint32(1, length, true);
    bytes.set(body, 5);
    return bytes;
  };
  const good = new Uint8Array(serialize(1));
  await assertRejects(() => read(new TextEncoder().encode("hello, host\n")), FrameError, "no message");
  await assertRejects(() => read(forged(2, good.length, good)), FrameError);
  await assertRejects(() => read(forged(0, 2 ** 31, good)), FrameError);
  await assertRejects(() => read(forged(0, 4, Uint8Array.of(255, 15, 250, 250))), FrameError);
  await assertRejects(() => read(forged(0, 0, new Uint8Array(0))), FrameError);
  const before = Deno.memoryUsage().rss;
  assertEquals(await read(forged(0, 200 << 20, good)), []);
  assert(Deno.memoryUsage().rss - before < 100 << 20);
  assertThrows(() => frame(0, new Uint8Array(257 << 20)), FrameError, "it sent 257 MiB at once");
});
