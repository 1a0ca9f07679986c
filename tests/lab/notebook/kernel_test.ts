import { assert, assertEquals, assertMatch, assertRejects } from "deno-std/assert/mod.js";
import { compileCell } from "../../../lab/notebook/cells.ts";
import { startKernel } from "../../../lab/notebook/kernel.ts";
import { type CellEvent, type CellResult } from "../../../lab/notebook/kernel.ts";
import { connectKernel, type Kernel, KernelStopped } from "../../../lab/notebook/kernel_link.ts";
import type { Output } from "../../../lab/notebook/ipynb.ts";
import { compileModule } from "../../../lab/notebook/module_compiler.ts";
import type { SentImports } from "../../../lab/notebook/module_link.ts";
import type { LabRequest } from "../../../lab/notebook/wire.ts";

/** A kernel in this realm, with a lab that answers nothing. */
async function withKernel(
  body: (
    run: (
      id: string,
      source: string,
      knobs?: Record<string, unknown>,
      imports?: SentImports,
    ) => Promise<CellResult>,
    seen: {
      events: CellEvent[];
      calls: LabRequest[];
      kernel: Kernel;
    },
  ) => Promise<void>,
): Promise<void> {
  const random = Math.random;
  const { port1, port2 } = new MessageChannel();
  const events: CellEvent[] = [], calls: LabRequest[] = [];
  const kernel = connectKernel(port1);
  startKernel(port2, {
    call(request) {
      calls.push(request);
      return Promise.resolve(null);
    },
  });
  await kernel.ready;
  let position = 0;
  try {
    await body((id, source, knobs, imports) => {
      const request = {
        id,
        compiled: compileCell(source),
        seed: 7,
        label: `cell ${++position}`,
        knobs,
        imports,
      };
      return kernel.run(request, (event) => events.push(event));
    }, { events, calls, kernel });
  } finally {
    kernel.stop("the test is over");
    port2.close();
    Math.random = random;
  }
}

const texts = (outputs: Output[]) =>
  outputs.map((output) =>
    output.output_type === "stream"
      ? `${output.name}: ${output.text}`
      : output.output_type === "error"
      ? output.traceback.join("\n")
      : String(output.data["text/plain"])
  );

Deno.test("names live on in later cells; console, display and the last value are put out in order", async () => {
  await withKernel(async (run) => {
    await run(
      "a",
      'import { lab } from "precis";\nlet count: number = 1;\nconst f = () => { console.log("f", ++count); };',
    );
    const { status, outputs } = await run(
      "b",
      'f();\nconsole.warn("beware");\ndisplay({ count });\nlab.markdown("*x*");\ncount + 40',
    );
    assertEquals(status, "ok");
    assertEquals(texts(outputs), ["stdout: f 2\n", "stderr: beware\n", "{ count: 2 }", "*x*", "42"]);
    assertEquals(texts((await run("c", "[count, typeof nothing]")).outputs), ['[2, "undefined"]']);
  });
});

Deno.test("what a function of an earlier cell shows comes out where it is called", async () => {
  await withKernel(async (run, { calls }) => {
    await run(
      "a",
      'const say = async () => { console.log("here"); await lab.markdown("there"); await lab.facts(); };',
    );
    const { outputs } = await run("b", "await say()");
    assertEquals(texts(outputs), ["stdout: here\n", "there"]);
    assertEquals(calls.find(({ method }) => method === "facts")?.cell, "b");
  });
});

Deno.test("an error has the cell's own lines and no paths, and what was put out before it stays", async () => {
  await withKernel(async (run) => {
    await run("a", "function broken(x) {\n  return x.y.z;\n}");
    const { status, outputs } = await run("b", 'console.log("before");\n\nbroken({});');
    assertEquals(status, "error");
    const [before, error] = texts(outputs);
    assertEquals(before, "stdout: before\n");
    assertEquals(error.split("\n").slice(1), ["    at broken, cell 1, line 2", "    at cell 2, line 3"]);
    assert(!/file:|\/tmp|\.ts/.test(error), error);
    assertEquals(texts((await run("c", 'throw "a text"')).outputs), ['Error: A cell threw "a text"']);
    const missing = texts((await run("d", "\nnothing + 1")).outputs)[0];
    assertEquals(missing, "ReferenceError: nothing is not defined\n    at cell 4, line 2");
  });
});

Deno.test("what a cell leaves running is waited for, and what fails there fails the cell", async () => {
  await withKernel(async (run) => {
    const later = await run(
      "a",
      'const slow = new Promise((done) => setTimeout(() => done("late"), 30));\nlab.markdown("first");\nconsole.log("second");',
    );
    assertEquals(texts(later.outputs), ["first", "stdout: second\n"]);
    const stray = await run("b", 'Promise.reject(new TypeError("nobody listens"));\nconsole.log("on");');
    assertEquals(stray.status, "error");
    assertEquals(texts(stray.outputs)[1].split("\n")[0], "TypeError: nobody listens");
  });
});

Deno.test("Math.random and lab.random draw the same for a cell whatever ran before it", async () => {
  const draw = "[Math.random(), lab.random(), lab.random('other'), Math.random()]";
  let first = "";
  await withKernel(async (run) => {
    first = texts((await run("x", draw)).outputs)[0];
    assertEquals(texts((await run("x", draw)).outputs)[0], first);
    assert(texts((await run("y", draw)).outputs)[0] !== first);
  });
  await withKernel(async (run) => {
    await run("new", "Math.random(); lab.random()");
    assertEquals(texts((await run("x", draw)).outputs)[0], first);
  });
  const numbers = JSON.parse(first);
  assertEquals(new Set(numbers).size, 4);
  assert(numbers.every((value: number) => value >= 0 && value < 1));
});

Deno.test("knobs have their own values until a person turns them", async () => {
  await withKernel(async (run) => {
    const source =
      'const { beta, on, kind } = lab.knobs({ beta: { value: 0.1, min: 0, max: 1 }, on: { value: true }, kind: { value: "a", choices: ["a", "b"] } });\n[beta, on, kind]';
    assertEquals(texts((await run("k", source)).outputs)[1], '[0.1, true, "a"]');
    const turned = await run("k", source, { beta: 7, on: false, kind: "c", other: 1 });
    assertEquals(texts(turned.outputs)[1], '[1, false, "a"]');
  });
});

Deno.test("progress and outputs are told while a cell runs", async () => {
  await withKernel(async (run, { events }) => {
    const source =
      'console.log("one");\nlab.progress(1, 4, "quarter");\nawait new Promise((done) => setTimeout(done, 250));\nconsole.log("two");';
    await run("a", source);
    assert(events.some((event) => "progress" in event && event.progress.note === "quarter"));
    assert(events.some((event) => "outputs" in event && texts(event.outputs)[0] === "stdout: one\n"));
  });
});

Deno.test("what a cell holds with using is disposed of when it runs again", async () => {
  await withKernel(async (run) => {
    await run("log", "const log = [];");
    const source = 'using held = { [Symbol.dispose]() { log.push("gone"); } };';
    await run("h", source);
    assertEquals(texts((await run("look", "log.length")).outputs), ["0"]);
    await run("h", source);
    assertEquals(texts((await run("look", "log.length")).outputs), ["1"]);
  });
});

Deno.test("an endless output is cut", async () => {
  await withKernel(async (run) => {
    const { outputs } = await run(
      "a",
      'for (let i = 0; i < 50000; i++) console.log("line", i);\nconst big = "x".repeat(1e7);\nbig',
    );
    assert(JSON.stringify(outputs).length < 80_000);
    assert(texts(outputs).at(-1)!.startsWith("Left out:"), texts(outputs).at(-1));
  });
});

Deno.test("imports: precis, and what the host has sent with the cell", async () => {
  const sent = (...specifiers: string[]): SentImports => ({
    specifiers: specifiers.map((specifier) => ({ specifier, address: "https://example.org/a.js" })),
    modules: [
      compileModule(
        "https://example.org/a.js",
        "export let n = 0; export const up = () => ++n;",
      ),
    ],
  });
  await withKernel(async (run) => {
    const said = async (source: string, imports?: SentImports) => {
      const [text] = texts((await run("a", source, undefined, imports)).outputs);
      return text;
    };
    assertMatch(await said('import fs from "node:fs";\nfs'), /^ImportError: There is no "node:fs" here/);
    assertMatch(await said('await import("npm:left-pad")'), /^ImportError: There is no "npm:left-pad" here/);
    assertEquals(await said('import { n, up } from "a"; up(); n', sent("a")), "0");
    // The same module, by whatever name.
    assertEquals(await said('import * as b from "b"; b.up()', sent("b")), "2");
    assertEquals(await said('(await import("a")) === (await import("b"))', sent("a", "b")), "true");
    assertMatch(await said('await import("b")', sent("a")), /There is no "b" here/);
    assertMatch(
      await said('import { nn } from "a"', sent("a")),
      /^ImportError: "a" exports no "nn"; it exports n, up\.\n {4}at cell 7, line 1$/,
    );
    assertMatch(await said('import a from "a" with { type: "json" }', sent("a")), /"a" is JavaScript/);
    const failed = { specifiers: [{ specifier: "c", error: "It is not there." }], modules: [] };
    assertEquals(
      await said('await import("c").catch((error) => error.message)', failed),
      '"It is not there."',
    );
  });
});

Deno.test("a stopped kernel tells whoever waits; nonsense and floods of messages stop it", async () => {
  await withKernel(async (run, { kernel }) => {
    const waiting = run("a", "await new Promise(() => {})");
    kernel.stop("cell 1 took too long");
    await assertRejects(() => waiting, KernelStopped, "cell 1 took too long");
    await assertRejects(() => run("b", "1"), KernelStopped);
  });
  for (
    const bad of [7, { ran: 1, result: { status: "ok" } }, {
      event: 1,
      told: { outputs: [{ output_type: "x" }] },
    }, {
      ran: 1,
      result: {
        status: "ok",
        milliseconds: 1,
        outputs: [{ output_type: "display_data", data: { "a/json": new Map() } }],
        values: [],
      },
    }]
  ) {
    const { port1, port2 } = new MessageChannel();
    const { promise, resolve } = Promise.withResolvers<string>();
    connectKernel(port1, resolve);
    port2.postMessage(bad);
    assertEquals(await promise, "it speaks to its host in a way that no kernel does");
    port2.close();
  }
  const { port1, port2 } = new MessageChannel();
  const { promise, resolve } = Promise.withResolvers<string>();
  connectKernel(port1, resolve);
  for (let i = 0; i < 1000; i++) port2.postMessage({ ready: true });
  assertEquals(await promise, "it floods its host with messages");
  port2.close();
});
