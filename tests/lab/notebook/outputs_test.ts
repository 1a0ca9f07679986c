import { assert, assertEquals } from "deno-std/assert/mod.js";
import type { Output } from "../../../lab/notebook/ipynb.ts";
import { collectOutputs, errorOutput, outputLimit, withoutPaths } from "../../../lab/notebook/outputs.ts";
import { compileCell, define, instantiateCell, newScope } from "../../../lab/notebook/cells.ts";

const stream = (text: string, name = "stdout"): Output => ({ output_type: "stream", name, text });
const display = (data: Record<string, unknown>): Output => ({
  output_type: "display_data",
  data,
  metadata: {},
});
const bytes = (outputs: Output[]) => new TextEncoder().encode(JSON.stringify(outputs)).length;

Deno.test("what a stream says in pieces is one output until another comes between", () => {
  const collector = collectOutputs();
  for (
    const one of [
      stream("a"),
      stream("b\n"),
      stream("e", "stderr"),
      stream("c"),
      display({ "text/plain": "x" }),
      stream("d"),
    ]
  ) {
    collector.add(one);
  }
  assertEquals(collector.list(), [
    stream("ab\n"),
    stream("e", "stderr"),
    stream("c"),
    display({ "text/plain": "x" }),
    stream("d"),
  ]);
});

Deno.test("a loop that prints takes no memory, and what was left out is said", () => {
  const collector = collectOutputs();
  const line = "größe 🙂 of it all, and more\n".repeat(40);
  for (let i = 0; i < 5000; i++) collector.add(stream(line));
  collector.add(stream("x".repeat(20_000_000)));
  const list = collector.list();
  assert(bytes(list) < outputLimit + 4096, `${bytes(list)} bytes`);
  assertEquals(list.length, 2);
  const kept = list[0].output_type === "stream" ? list[0].text : "";
  assert(line.repeat(5000).startsWith(kept) && kept.length > 40_000);
  assert(kept.isWellFormed(), "a character was cut in two");
  const all = 5000 * new TextEncoder().encode(line).length + 20_000_000;
  const left = all - new TextEncoder().encode(kept).length;
  assertEquals(
    list[1],
    display({ "text/plain": `Left out: ${left} bytes of text. A cell keeps 64 KiB and 200 outputs.` }),
  );
});

Deno.test("of a bundle that is too large the smaller representations stay", () => {
  const collector = collectOutputs();
  collector.add(
    display({ "image/png": "A".repeat(500_000), "text/plain": "f32[3]", "text/html": "<b>3</b>" }),
  );
  assertEquals(collector.list(), [
    display({ "text/html": "<b>3</b>", "text/plain": "f32[3]" }),
    display({ "text/plain": "Left out: image/png (500000 bytes). A cell keeps 64 KiB and 200 outputs." }),
  ]);
  const plain = collectOutputs();
  plain.add(display({ "text/plain": "y".repeat(200_000), "application/json": { a: "z".repeat(100_000) } }));
  const [first] = plain.list();
  assert(first.output_type === "display_data" && /^y{50000,}$/.test(first.data["text/plain"] as string));
  assert(bytes(plain.list()) < outputLimit + 4096);
});

Deno.test("thousands of outputs are bounded too, and the error at the end still gets in", () => {
  const collector = collectOutputs();
  for (let i = 0; i < 3000; i++) collector.add(display({ "text/plain": `${i} ${"w".repeat(1000)}` }));
  const error: Output = {
    output_type: "error",
    ename: "Error",
    evalue: "m".repeat(1_000_000),
    traceback: Array(1000).fill("t".repeat(100)),
  };
  collector.add(error);
  collector.add(error);
  const list = collector.list();
  assert(bytes(list) < outputLimit + 4096, `${bytes(list)} bytes`);
  const errors = list.filter(({ output_type }) => output_type === "error");
  assertEquals(errors.length, 1);
  assert(errors[0].output_type === "error" && errors[0].evalue.length === 2000);
  const small = collectOutputs();
  for (let i = 0; i < 3000; i++) small.add(i % 2 ? stream("a") : display({ "text/plain": "b" }));
  assertEquals(small.list().length, 201);
});

Deno.test("a progress line takes the place of the one before it", () => {
  const collector = collectOutputs();
  const at = collector.add(display({ "text/plain": "1 of 9" }))!;
  for (let i = 2; i <= 1000; i++) assert(collector.replace(at, display({ "text/plain": `${i} of 1000` })));
  assert(!collector.replace(at, display({ "text/plain": "p".repeat(100_000) })));
  assert(!collector.replace(7, stream("")));
  assertEquals(collector.list(), [display({ "text/plain": "1000 of 1000" })]);
});

Deno.test("an error says where in which cell, and nothing of the machine", async () => {
  const inner = compileCell(
    "const fail = () => {\n  throw new RangeError('no /home/alice/secret/x.json here')\n}",
  );
  const outer = compileCell("1 + 1\n;fail()");
  const scope = newScope(), imports = () => Promise.reject();
  const { defined } = await instantiateCell(inner.code, "ca")(scope, 0, 0, console, imports);
  define(scope, defined);
  const error = await instantiateCell(outer.code, "cb")(scope, 0, 0, console, imports).catch((error) =>
    error
  );
  assertEquals(errorOutput(error, new Map([["ca", "cell 1"], ["cb", "cell 2"]])), {
    output_type: "error",
    ename: "RangeError",
    evalue: "no …/x.json here",
    traceback: [
      "RangeError: no …/x.json here",
      "    at fail, cell 1, line 2",
      "    at cell 2, line 2",
    ],
  });
});

Deno.test("paths lose their folders, and nothing else does", () => {
  for (
    const [text, clean] of [
      ["/home/alice/runs/x.json is not valid JSON", "…/x.json is not valid JSON"],
      ["read 'C:\\Users\\Alice B\\x.bin' failed", "read '…/x.bin' failed"],
      ['"/Users/Alice B/x.bin" is gone', '"…/x.bin" is gone'],
      ["at file:///work/lab/a.ts:3:4", "at …/a.ts:3:4"],
      ["GET http://localhost:8000/a/b.json, 404.", "GET …/b.json, 404."],
      ["blob:http://localhost:1/0a-1b failed", "blob:… failed"],
      [
        "see https://example.org/a/b.html and runs/demo/ppo",
        "see https://example.org/a/b.html and runs/demo/ppo",
      ],
      ["3 / 4 /5 and/or a/b/c </div></p> /x/", "3 / 4 /5 and/or a/b/c </div></p> /x/"],
      [
        "Invalid regular expression: /(/: Unterminated group",
        "Invalid regular expression: /(/: Unterminated group",
      ],
    ] as const
  ) assertEquals(withoutPaths(text), clean);
});
