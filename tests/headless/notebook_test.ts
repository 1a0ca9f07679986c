import { assert, assertEquals, assertMatch, assertRejects } from "deno-std/assert/mod.js";
import { openGpu } from "../../headless/devices.ts";
import { notebookTask, UsageError, type World } from "../../headless/notebook.ts";
import { diskFiles } from "../../headless/files.ts";
import { type Files, memoryFiles } from "../../lab/bytes.ts";
import {
  newCell,
  newNotebook,
  type Notebook,
  parseNotebook,
  serialiseNotebook,
} from "../../lab/notebook/ipynb.ts";
import type { ModuleSource } from "../../lab/notebook/import_graph.ts";
import { testRuntime } from "../kernels/testing.ts";
import { cdn, graphOfThree, withModules } from "../lab/notebook/module_server.ts";

function notebookOf(...sources: string[]): Notebook {
  const notebook = newNotebook(7);
  notebook.cells.push(newCell("markdown", "# A *tour*", 0, []));
  for (const source of sources) {
    notebook.cells.push(newCell("code", source, notebook.cells.length, notebook.cells));
  }
  return notebook;
}

const noModules: ModuleSource = {
  place: "nowhere",
  fetch: (address) => Promise.reject(new Error(`${address} was asked for.`)),
  read: () => Promise.resolve(undefined),
  keep: () => Promise.resolve(),
};

/** Notebooks in memory; everything else is read from the disk. */
function worldOf(notebooks: Record<string, Notebook | string>, modules: ModuleSource = noModules) {
  const texts = Object.entries(notebooks).map(([path, notebook]) =>
    [path, typeof notebook === "string" ? notebook : serialiseNotebook(notebook)] as const
  );
  const memory = memoryFiles(Object.fromEntries(texts)), disk = diskFiles();
  const files: Files = {
    ...disk,
    read: async (path) => await memory.exists(path) ? memory.read(path) : disk.read(path),
    writeAtomic: memory.writeAtomic,
  };
  let told = "";
  const world: World = {
    files,
    terminal: {
      write: (text) => told += text,
      columns: () => undefined,
      colour: false,
      now: () => performance.now(),
    },
    modules,
    openGpu: () => openGpu(testRuntime),
  };
  return {
    world,
    memory,
    told: () => told,
    /** On one line, however the terminal has broken it. */
    words: () => told.replace(/\s+/g, " "),
    run: async (...args: string[]) => {
      told = "";
      return await notebookTask(args, world);
    },
    read: async (path: string) => parseNotebook(path, await memory.read(path)),
  };
}

function taskTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: false, sanitizeResources: false });
}

const tour = () =>
  notebookOf(
    'import { lab } from "precis";\nconst x = await lab.tensor([[1, 2], [3, 4]], null, { name: "x" });',
    'const y = await lab.ops.rmsnorm(x, await lab.tensor([1, 1]));\nawait lab.show(y, { caption: "normed" });',
    'await lab.expect("first", await y.at(0, 0), 0.632455, { tolerance: 1e-4 });\nlab.random()',
    'console.log("done");',
  );

taskTest(
  "run in place, then verify: every cell is what is stored; a changed proof differs, and where",
  async () => {
    const { run, told, read, memory } = worldOf({ "tour.ipynb": tour() });
    assertEquals(await run("run", "--in-place", "tour.ipynb"), 0, told());
    assertMatch(told(), /✓ {3}2 .*gpu .*const y = await lab\.ops\.rmsnorm/);
    assertMatch(told(), /4 of 4 code cells ran\.\nWritten: tour\.ipynb/);
    const ran = await read("tour.ipynb");
    assert(ran.metadata.lab.kernels !== undefined);

    assertEquals(await run("verify", "tour.ipynb"), 0, told());
    assertMatch(told(), /verified {2}cell 2 is exactly as stored \(1 proof\)/);
    assertMatch(told(), /Certified: 4 code cells ran in order/);

    const [, , second] = ran.cells as [
      unknown,
      unknown,
      { metadata: { lab: { values: { digest: string; sketch: { samples: number[] } }[] } } },
    ];
    const cell = ran.cells[2] as unknown as typeof second;
    cell.metadata.lab.values[0].digest = "0".repeat(64);
    cell.metadata.lab.values[0].sketch.samples[1] += 0.25;
    await memory.writeAtomic("tour.ipynb", new TextEncoder().encode(serialiseNotebook(ran)));
    assertEquals(await run("verify", "tour.ipynb"), 1);
    assertMatch(told(), /differs {3}cell 2 differs in y?.*rmsnorm.*\[0, 1\] was/);
    assertMatch(told(), /Not certified: cell 2 differs/);
  },
);

taskTest("a notebook that never ran, or was edited since, is not verified", async () => {
  const { run, told, read, memory } = worldOf({ "tour.ipynb": notebookOf("1 + 1", "2 + 2") });
  assertEquals(await run("verify", "tour.ipynb"), 1);
  assertMatch(told(), /cell 1 has no stored outputs/);
  assertEquals(await run("run", "tour.ipynb", "--in-place", "--outputs"), 0);
  assertMatch(told(), /│ 2\n.*2 {4}0\.0 s.*2 \+ 2\n│ 4/);
  const edited = await read("tour.ipynb");
  edited.cells[1].source = "1 + 0 + 1";
  await memory.writeAtomic("tour.ipynb", new TextEncoder().encode(serialiseNotebook(edited)));
  assertEquals(await run("check", "tour.ipynb"), 1);
  assertMatch(told(), /stale {2}cell 1: its outputs are stale: its source was edited/);
  assertEquals(await run("verify", "tour.ipynb"), 1);
  assertMatch(told(), /cell 1 holds outputs from before a change/);
});

taskTest("a failing cell stops the run and is told with its line; --keep-going goes on", async () => {
  const { run, told, memory } = worldOf({
    "bad.ipynb": notebookOf("const a = 1;", "\na.b.c", "3", "let = 5"),
  });
  assertEquals(await run("run", "bad.ipynb", "--out", "out.ipynb"), 1);
  assertMatch(told(), /✗ {3}2 .*\n│ TypeError: .*\n│ {5}at cell 2, line 2\n– {3}3 {2}not run/);
  assert(await memory.exists("out.ipynb"));
  assertEquals(await run("run", "bad.ipynb", "--keep-going"), 1);
  assertMatch(told(), /✓ {3}3/);
  assertMatch(told(), /✗ {3}4 .*\n│ SyntaxError/);
});

taskTest(
  "what is not met fails the run and not the cell; what is not granted is said and how to grant it",
  async () => {
    const unmet = notebookOf('import { lab } from "precis";\nawait lab.expect("two", 1, 2);', '"after"');
    const asking = notebookOf('import { lab } from "precis";\nawait lab.fetch("http://127.0.0.1:9/")');
    asking.metadata.lab.needs = ["gpu", "network:127.0.0.1:9"];
    const { run, told } = worldOf({ "unmet.ipynb": unmet, "asking.ipynb": asking });
    assertEquals(await run("run", "unmet.ipynb"), 1);
    assertMatch(told(), /! {3}1 .*\n│ ✗ two: value is 1 instead of 2, 1 apart\n✓ {3}2/);
    assertMatch(told(), /1 expectation was not met/);
    assertEquals(await run("run", "asking.ipynb"), 1);
    assertMatch(told(), /asks for network:127\.0\.0\.1:9, which it does not get; --trust grants/);
    assertMatch(told(), /NeedRefused: This notebook may not fetch from 127\.0\.0\.1:9/);
    assertEquals(await run("run", "asking.ipynb", "--trust"), 1);
    assert(!told().includes("NeedRefused"), told());
  },
);

taskTest("check finds what cannot run, without running it", async () => {
  const { run, told } = worldOf({
    "a.ipynb": notebookOf(
      "later + 1",
      "const later = 1; nowhere",
      'import x from "left-pad"; import "npm:a@1.0.0"; import("npm:b@^3");\nnew Date()',
      "const =",
    ),
    "b.ipynb": notebookOf("1"),
    "c.ipynb": "{",
  });
  assertEquals(await run("check", "a.ipynb", "b.ipynb", "c.ipynb"), 1);
  for (
    const line of [
      'error  cell 1: "later" is used before cell 2 defines it.',
      'error  cell 2: "nowhere" is defined nowhere.',
      'error  cell 3: "left-pad" does not say where it is from: a package of npm is written as in npm:d3-array@3.2.4.',
      'error  cell 3: "npm:a@1.0.0" is not in the notebook\'s import lock: deno task notebook lock FILE puts it there.',
      'error  cell 3: "npm:b@^3" names no exact version: write all three numbers, as in npm:d3-array@3.2.4; a range such as ^3 ' +
      "would come out otherwise tomorrow.",
      "note   cell 3: the date is another every time.",
      "error  cell 4, line 1: Unexpected token.",
      "b.ipynb\nNothing is wrong",
      "c.ipynb\nerror: c.ipynb is not valid JSON",
    ]
  ) assert(told().includes(line), `${line}\n${told()}`);
});

taskTest("export writes a page, TypeScript and Markdown", async () => {
  const { run, memory } = worldOf({ "tour.ipynb": notebookOf('console.log("```");\n1') });
  assertEquals(await run("run", "tour.ipynb", "--in-place"), 0);
  for (const to of ["html", "ts", "md"]) assertEquals(await run("export", "tour.ipynb", "--to", to), 0);
  const text = async (path: string) => new TextDecoder().decode(await memory.read(path));
  assertMatch(await text("tour.html"), /<!doctype html>/);
  assertMatch(await text("tour.ts"), /^\/\/ %%/);
  assertEquals(
    await text("tour.md"),
    '# A *tour*\n\n````typescript\nconsole.log("```");\n1\n````\n\n````text\n```\n````\n\n```text\n1\n```\n',
  );
});

taskTest("bad usage is told apart from bad notebooks", async () => {
  const { run, told } = worldOf({});
  for (
    const [args, message] of [
      [[], "deno task notebook needs run, verify, check, lock, export"],
      [["ran", "x.ipynb"], 'knows no "ran"'],
      [["run"], "Name a notebook"],
      [["run", "a", "b", "--out", "c"], "one notebook at a time"],
      [["verify", "a", "--in-place"], "--in-place is for run, not for verify"],
      [["run", "a", "--timout", "3"], "has no flag --timout"],
    ] as const
  ) await assertRejects(() => run(...args), UsageError, message);
  await assertRejects(() => run("run", "absent.ipynb"), Error, "absent.ipynb: it does not exist");
  assertEquals(await run("--help"), 0);
  assertMatch(told(), /deno task notebook run\|verify\|check\|lock\|export FILE\.ipynb/);
});

taskTest("Ctrl-C ends a loop that nothing else would, and writes nothing", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/loop.ipynb`;
    const text = serialiseNotebook(notebookOf("1", 'console.log("on");\nfor (;;) {}'));
    await Deno.writeTextFile(path, text);
    const root = decodeURIComponent(new URL("../..", import.meta.url).pathname);
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--cached-only", "headless/notebook.ts", "run", "--in-place", path],
      cwd: root,
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    let told = "", interrupted = false;
    for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
      told += piece;
      if (interrupted || !told.includes("✓   1")) continue;
      interrupted = true;
      // Until the second cell is at it.
      setTimeout(() => child.kill("SIGINT"), 500);
    }
    assertEquals((await child.status).code, 130, told);
    assertMatch(told, /Interrupted: cell 2 was interrupted/);
    assertMatch(told, /Stopped; nothing was written\./);
    assertEquals(await Deno.readTextFile(path), text);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

const importing = [
  'import { mean } from "npm:mean@1.0.0";\nmean([1, 2, 6])',
  'const { calls } = await import("npm:sum@2.1.0"); calls',
];

taskTest(
  "lock puts what cells import into the notebook; run and verify take that and nothing else",
  async () => {
    await withModules({ ...graphOfThree }, async (server) => {
      const { run, told, words, read, memory } = worldOf(
        { "a.ipynb": notebookOf(...importing) },
        server.source,
      );
      assertEquals(await run("check", "a.ipynb"), 1);
      assertMatch(told(), /error {2}cell 1: "npm:mean@1\.0\.0" is not in the notebook's import lock/);
      assertEquals(await run("run", "a.ipynb"), 1);
      assertMatch(
        words(),
        /ImportError: "npm:mean@1\.0\.0" is not in the notebook's import lock: deno task notebook lock/,
      );
      assertEquals(server.heard, []);

      assertEquals(await run("lock", "a.ipynb"), 0);
      assertMatch(
        told(),
        /^ +specifier +modules +bytes +integrity +url\nlocked {2}npm:mean@1\.0\.0 +3 +\S+ \S+ +sha384-\S{64} +https:\S+\n/,
      );
      assertMatch(told(), /Written: a\.ipynb/);
      const { imports } = (await read("a.ipynb")).metadata.lab;
      assertEquals(Object.keys(imports), ["npm:mean@1.0.0", "npm:sum@2.1.0"]);
      assertEquals(Object.keys(imports["npm:mean@1.0.0"].modules!), [
        cdn("sum@2.1.0"),
        "https://cdn.jsdelivr.net/npm/sum@2.1.0/add.js",
      ]);
      assertEquals(await run("check", "a.ipynb"), 0);
      assertEquals(await run("lock", "a.ipynb"), 0);
      assertMatch(told(), /held {2}npm:mean[^]*Nothing was changed: a\.ipynb/);

      // Offline, from what is kept.
      await server.unplug();
      assertEquals(await run("run", "a.ipynb", "--in-place", "--outputs"), 0);
      // One instance for both cells: it was called once.
      assertMatch(told(), /│ 3\n[^]*│ 1\n/);
      assertEquals(await run("verify", "a.ipynb"), 0);
      server.kept.clear();
      assertEquals(await run("verify", "a.ipynb"), 1);
      assertMatch(words(), /is not answered: .* It is not kept in the test's memory either/);

      await memory.writeAtomic(
        "a.ipynb",
        new TextEncoder().encode(serialiseNotebook({
          ...await read("a.ipynb"),
          cells: notebookOf("1").cells,
        })),
      );
      assertEquals(await run("lock", "a.ipynb"), 0);
      assertMatch(told(), /Taken out, since no cell imports it: npm:mean@1\.0\.0/);
      assertEquals((await read("a.ipynb")).metadata.lab.imports, {});
    });
  },
);

taskTest("a module that has changed fails by both digests, until it is locked anew", async () => {
  await withModules({ ...graphOfThree }, async (server) => {
    const { run, told, words, read } = worldOf({ "a.ipynb": notebookOf(...importing) }, server.source);
    assertEquals(await run("lock", "a.ipynb"), 0);
    assertEquals(await run("run", "a.ipynb", "--in-place"), 0);
    server.kept.clear();
    server.answers[cdn("mean@1.0.0")] = (server.answers[cdn("mean@1.0.0")] as string).replace(
      "/ values",
      "* values",
    );
    assertEquals(await run("run", "a.ipynb"), 1);
    assertMatch(
      words(),
      /is not what was locked: at https:\S+ was sha384-\S+, and there is sha384-\S+ now\..*--update npm:mean@1\.0\.0/,
    );
    assertEquals(await run("lock", "a.ipynb"), 1);
    const before = (await read("a.ipynb")).metadata.lab.imports;
    await assertRejects(
      () => run("lock", "a.ipynb", "--update", "npm:men@1.0.0"),
      RangeError,
      "No cell imports npm:men@1.0.0",
    );
    assertEquals(await run("lock", "a.ipynb", "--update", "npm:mean@1.0.0"), 0);
    const after = (await read("a.ipynb")).metadata.lab.imports;
    assertEquals(after["npm:sum@2.1.0"], before["npm:sum@2.1.0"]);
    assert(after["npm:mean@1.0.0"].integrity !== before["npm:mean@1.0.0"].integrity);
    // What it gave before is stale, and said to be.
    assertEquals(await run("check", "a.ipynb"), 1);
    assertMatch(told(), /stale {2}cell 1: its outputs are stale: the import lock has changed/);
    assertEquals(await run("run", "a.ipynb", "--outputs"), 0);
    assertMatch(told(), /│ 27\n/);
    // Without cells, or with one that cannot be read, nothing is lost.
    await assertRejects(() => run("run", "a.ipynb", "--update", "all"), UsageError, "--update is for lock");
  });
});

taskTest("modules of other hosts than the CDN come only where that is granted", async () => {
  const specifier = "https://a.example/x@1.0.0/x.js";
  await withModules({ [specifier]: "export const x = 5;" }, async (server) => {
    const { run, told, words } = worldOf(
      { "a.ipynb": notebookOf(`import { x } from "${specifier}";\nx`) },
      server.source,
    );
    assertEquals(await run("lock", "a.ipynb"), 0);
    server.kept.clear();
    server.heard.length = 0;
    assertEquals(await run("run", "a.ipynb"), 1);
    assertMatch(told(), /^a\.ipynb asks for modules of a\.example, which it does not get; --trust grants/);
    assertMatch(words(), /this notebook may not have modules from there/);
    assertEquals(server.heard, []);
    assertEquals(await run("run", "a.ipynb", "--trust"), 0);
    assertEquals(server.heard, [specifier]);
  });
});

taskTest("a cell that cannot be read takes nothing out of the lock", async () => {
  await withModules({ ...graphOfThree }, async (server) => {
    const notebook = notebookOf(...importing);
    const { run, words, read, memory } = worldOf({ "a.ipynb": notebook }, server.source);
    assertEquals(await run("lock", "a.ipynb"), 0);
    const broken = await read("a.ipynb");
    broken.cells[1].source += " = ;";
    await memory.writeAtomic("a.ipynb", new TextEncoder().encode(serialiseNotebook(broken)));
    assertEquals(await run("lock", "a.ipynb"), 1);
    assertMatch(words(), /error: Cell 1 cannot be read: .* \(line 2, column/);
    assertEquals(Object.keys((await read("a.ipynb")).metadata.lab.imports).length, 2);
  });
});
