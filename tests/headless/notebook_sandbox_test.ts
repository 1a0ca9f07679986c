/** A stranger's notebook, trying what strangers try. */
import { assert, assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { startWorkerKernel } from "../../headless/notebook_kernels.ts";
import { strangersGrant } from "../../lab/notebook/grant.ts";
import { Imports } from "../../lab/notebook/import_graph.ts";
import type { LockedImport } from "../../lab/notebook/records.ts";
import { type NotebookRun, runNotebook, type RunOptions } from "../../lab/notebook/run.ts";
import { testBench } from "../lab/notebook/lab_testing.ts";
import { cdn, withModules } from "../lab/notebook/module_server.ts";
import { notebookOf } from "../lab/notebook/notebooks.ts";

async function run(
  sources: string[],
  options: RunOptions = {},
  lock: Record<string, LockedImport> = {},
): Promise<NotebookRun> {
  const notebook = notebookOf(sources);
  notebook.metadata.lab.imports = lock;
  const bench = testBench();
  try {
    const start = () => startWorkerKernel(bench, { seed: 7, grant: strangersGrant, versions: {} });
    return await runNotebook(notebook, start, { timeout: 20_000, keepGoing: true, ...options });
  } finally {
    await bench.destroy();
  }
}

/** What a cell put out, errors included. */
const words = ({ cells }: NotebookRun, i: number) =>
  cells[i].outputs.map((output) =>
    output.output_type === "stream"
      ? output.text
      : output.output_type === "error"
      ? output.traceback.join("\n")
      : String(output.data["text/plain"])
  ).join("\n");

function sandboxTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: false, sanitizeResources: false });
}

/** Each an expression that must not succeed. Whatever it gives, or why it fails, is put out. */
const attempts: Record<string, string> = {
  readFile: 'await Deno.readTextFile("/etc/hostname")',
  readFileSync: 'globalThis["De" + "no"].readTextFileSync("/etc/hostname")',
  environment: 'Deno.env.get("PATH")',
  command: 'new Deno.Command("id").outputSync().success',
  process: "process.env.PATH",
  processByConstructor: "globalThis.constructor.constructor('return Deno')()",
  fetch: 'await fetch("http://127.0.0.1:9/")',
  socket: 'new WebSocket("ws://127.0.0.1:9/")',
  importNode: 'await import("node:fs")',
  importFile: 'await import("file:///etc/hostname")',
  importUrl: 'await import("http://127.0.0.1:9/x.js")',
  importNpm: 'await import("npm:is-odd@3.0.1")',
  importData: 'await import("data:text/javascript,export default 1")',
  evalImport: "await eval(\"import('npm:is-odd@3.0.1')\")",
  indirectEval: "(0, eval)('1')",
  functionImport: "await new Function(\"return import('npm:is-odd@3.0.1')\")()",
  asyncFunction: "await (async () => {}).constructor(\"return import('node:fs')\")()",
  generatorFunction: "(function* () {}).constructor('yield 1')().next()",
  reflected: "Reflect.construct(Object.getPrototypeOf(async function () {}).constructor, ['return 1'])",
  timerText: "setTimeout(\"postMessage('out')\", 0)",
  gpu: "await navigator.gpu.requestAdapter()",
  gpuOfPrototype: "await Object.getPrototypeOf(navigator).gpu.requestAdapter()",
  worker: 'new Worker("data:text/javascript,1", { type: "module" })',
  broadcast: 'new BroadcastChannel("others")',
  storage: "await caches.open('x')",
  postMessage: "self.postMessage('out')",
  close: "self.close()",
  ownEnvironment: 'await fetch("file:///proc/self/environ")',
  readProcess: 'Deno.readFileSync("/proc/self/environ")',
  killParent: 'Deno.kill(Deno.ppid, "SIGTERM")',
  killByProcess: 'process.kill(process.ppid, "SIGKILL")',
  exit: "Deno.exit(0)",
  stdout: "Deno.stdout.writeSync(new Uint8Array(5))",
  descriptor: 'Deno.openSync("/proc/self/fd/0")',
  hostConsole: 'globalThis.console.log("\\0\\0\\0\\0\\0")',
  addresses: "(await WebAssembly.compileStreaming(fetch('data:application/wasm,')))",
};

sandboxTest(
  "nothing of Deno, the network, other modules, the GPU or code from texts is to be had",
  async () => {
    const names = Object.keys(attempts);
    const ran = await run(names.map((name) => attempts[name]));
    for (const [i, name] of names.entries()) {
      assertEquals(ran.cells[i].status, "failed", `${name} gave ${words(ran, i)}`);
      assert(!/\/(etc|tmp|root|home)\//.test(words(ran, i)), `${name} tells of folders: ${words(ran, i)}`);
    }
  },
);

sandboxTest(
  "an endless loop is ended after its time, by name, and the notebook goes on from clean",
  async () => {
    const ran = await run([
      "const kept = 1;",
      "for (;;) {}",
      "typeof kept",
      "await new Promise(() => {})",
      "2",
    ], { timeout: 1500 });
    assertEquals(ran.cells.map(({ status }) => status), ["ok", "failed", "ok", "failed", "ok"]);
    assertEquals(words(ran, 1), "Interrupted: cell 2 did not end within 1.5 s; it was stopped.");
    assertEquals(words(ran, 2), '"undefined"');
  },
);

sandboxTest("a run is aborted in the middle of a loop", async () => {
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 800);
  const ran = await run(["1", "for (;;) {}", "3"], { signal: abort.signal });
  assertEquals(ran.cells.map(({ status }) => status), ["ok", "failed", "skipped"]);
  assertEquals(words(ran, 1), "Interrupted: cell 2 was interrupted.");
});

sandboxTest("output without end is cut, and so is a value of any size", async () => {
  const ran = await run([
    'for (let i = 0; i < 1e5; i++) console.log("line " + i);',
    'lab.show("x".repeat(5e7)); 0',
    "Array.from({ length: 1e6 }, (_, i) => i)",
    'for (let i = 0; i < 5000; i++) lab.markdown("# " + i);',
  ]);
  for (const { outputs } of ran.cells) assert(JSON.stringify(outputs).length < 80_000);
  assertMatch(words(ran, 0), /Left out: \d+ bytes of text/);
});

// How a cell gets at the ports at all: it waits for the kernel to use them.
const stealPort = `const stolen = await new Promise((found) => {
  const real = MessagePort.prototype.postMessage;
  MessagePort.prototype.postMessage = function (...args) {
    if (args[0] && "call" in Object(args[0])) { MessagePort.prototype.postMessage = real; found(this); }
    return real.apply(this, args);
  };
  lab.encode("x");
});`;

sandboxTest(
  "raw messages on the stolen channel reach no prototype and no constructor of the host",
  async () => {
    for (
      const message of [
        "{ id: 1, type: 'SET', path: ['__proto__', 'polluted'], value: { type: 'RAW', value: 1 } }",
        "{ id: 1, type: 'CONSTRUCT', path: ['call', 'constructor'], argumentList: [] }",
        "{ call: 1, cell: 'a', to: 0, method: {}, args: [] }",
      ]
    ) {
      const ran = await run([stealPort, `stolen.postMessage(${message}); await lab.encode("y");`, "3"], {
        timeout: 5000,
      });
      assertEquals(ran.cells[1].status, "failed");
      assertMatch(words(ran, 1), /The kernel was stopped: it speaks to the lab in a way that cells cannot/);
      assertEquals(words(ran, 2), "3");
    }
    assertEquals(({} as Record<string, unknown>).polluted, undefined);
  },
);

sandboxTest(
  "calls by the names of prototypes, of other notebooks' handles, and with polluted arguments are refused",
  async () => {
    const call = (to: number, method: string, args: string) => `
    await new Promise((done) => {
      const real = stolen.onmessage;
      stolen.onmessage = (event) => {
        if (event.data.answer === 999) { stolen.onmessage = real; console.log(JSON.stringify(event.data)); done(); }
        else real.call(stolen, event);
      };
      stolen.postMessage({ call: 999, cell: "a", to: ${to}, method: ${
      JSON.stringify(method)
    }, args: ${args} });
    });`;
    const ran = await run([
      `${stealPort} await lab.tensor([1]);`,
      call(0, "constructor", "[]"),
      call(0, "ops.__proto__", "[]"),
      call(1, "constructor", "['return 1']"),
      call(1, "bench", "[]"),
      call(12345, "values", "[]"),
      call(0, "show", "[]"),
      call(0, "tensor", '[[1], null, JSON.parse(\'{"__proto__": {"polluted": 1}}\')]'),
      call(0, "tensor", "[new Map([[1, 2]])]"),
      call(0, "record", '["x", { $handle: 777 }]'),
    ]);
    const answers = ran.cells.slice(1).map((_, i) => words(ran, i + 1));
    for (const answer of answers) assertMatch(answer, /"error":/);
    assertMatch(answers[0], /lab has no method \\"constructor\\"/);
    assertMatch(answers[4], /no longer there/);
    assertMatch(answers[6], /may not be called \\"__proto__\\"/);
    assertMatch(answers[7], /plain data, not a Map/);
    assertEquals(({} as Record<string, unknown>).polluted, undefined);
  },
);

sandboxTest("a flood of calls ends the kernel and not its host", async () => {
  const flood = `${stealPort}
for (let i = 0; ; i++) stolen.postMessage({ call: i, cell: "a", to: 0, method: "encode", args: ["x"] });`;
  const ran = await run([flood, "2"], { timeout: 60_000 });
  assertMatch(words(ran, 0), /The kernel was stopped: it floods the lab with calls/);
  assertEquals(words(ran, 1), "2");
});

sandboxTest("a cell that ends or breaks its realm ends alone", async () => {
  const ran = await run([
    'Object.defineProperty(Object.prototype, "then", { get() { throw 1; }, configurable: true }); 1',
    "2",
    'setTimeout(() => { throw new Error("late"); }, 10); await new Promise((done) => setTimeout(done, 50));',
    "4",
  ], { timeout: 4000 });
  assertEquals(words(ran, 3), "4");
  assertEquals(ran.cells[2].status, "failed");
});

sandboxTest("a module can do what a cell can, and no more", async () => {
  const names = Object.keys(attempts);
  // Each as a module of its own, which tries while it is loaded.
  const address = (name: string) => `https://cdn.jsdelivr.net/npm/evil@1.0.0/${name}.js`;
  const answers = Object.fromEntries(
    names.map((
      name,
    ) => [address(name), `export const got = ${attempts[name]}; export default "through: " + got;`]),
  );
  await withModules(answers, async (server) => {
    const imports = new Imports(server.source, { mayFetch: () => true });
    const lock: Record<string, LockedImport> = {};
    for (const name of names) lock[address(name)] = (await imports.lock(address(name))).locked;
    const asked = server.heard.length;
    const ran = await run(
      names.map((name) => `import said from "${address(name)}";\nsaid`),
      { imports },
      lock,
    );
    for (const [i, name] of names.entries()) {
      assertEquals(ran.cells[i].status, "failed", `${name} gave ${words(ran, i)}`);
      assertMatch(words(ran, i), /^ImportError: "https:\S+" failed as it was loaded: /, name);
      assert(!/\/(etc|tmp|root|home)\//.test(words(ran, i)), `${name} tells of folders: ${words(ran, i)}`);
    }
    assertEquals(server.heard.length, asked);
  });
});

/** What a module does to what the kernel links with, each before another is imported that must come out as it is. */
const pollutions: Record<string, string> = {
  "lists iterate over other code": `const own = Array.prototype[Symbol.iterator];
Array.prototype[Symbol.iterator] = function () {
  return own.call(this.length === 5 || this.length === 4 ? ["a = (EVIL)"] : this);
};`,
  "tables hold other modules": `const own = Map.prototype.get;
Map.prototype.get = function (key) {
  const found = own.call(this, key);
  return found?.module ? { ...found, module: { ...found.module, code: "yield; EVIL" }, begun: undefined, ran: undefined } : found;
};`,
  "every object has other code":
    `for (const name of ["code", "address", "error", "specifiers", "modules", "run"]) {
  Object.defineProperty(Object.prototype, name, { get: () => "EVIL", set() {}, configurable: true });
}`,
  "lists find other addresses":
    `Array.prototype.find = () => ({ specifier: "EVIL", address: "npm:is-odd@3.0.1" });`,
  "promises and texts are others": `Promise.prototype.then = function (go) { return go("EVIL"); };
String.prototype.startsWith = () => true; Object.hasOwn = () => true;`,
};

sandboxTest("whatever a module makes of the linking, no code comes in and nothing is asked for", async () => {
  const evil = "globalThis.through = true, import('npm:is-odd@3.0.1')";
  for (const [name, text] of Object.entries(pollutions)) {
    await withModules({
      [cdn("evil@1.0.0")]: text.replaceAll("EVIL", evil) + " export default 1;",
      [cdn("good@1.0.0")]: "export default 2;",
    }, async (server) => {
      const imports = new Imports(server.source, { mayFetch: () => true });
      const lock: Record<string, LockedImport> = {};
      for (const one of ["npm:evil@1.0.0", "npm:good@1.0.0"]) lock[one] = (await imports.lock(one)).locked;
      server.heard.length = 0;
      const sources = [
        'import "npm:evil@1.0.0"',
        'import "npm:good@1.0.0"; await import("npm:is-odd@3.0.1")',
        "globalThis.through",
      ];
      const ran = await run(sources, { imports, timeout: 3000 }, lock);
      assertEquals(ran.cells[1].status, "failed", name);
      assert(!words(ran, 2).includes("true"), `${name}: ${words(ran, 2)}`);
      assertEquals(server.heard, [], name);
    });
  }
});
