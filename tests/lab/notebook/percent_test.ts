import { assert, assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { DamagedFileError } from "../../../lab/bytes.ts";
import { isCode, newNotebook, parseNotebook, serialiseNotebook } from "../../../lab/notebook/ipynb.ts";
import { fromPercent, toPercent } from "../../../lab/notebook/percent.ts";
import { withoutOutputs } from "../../../lab/notebook/share.ts";
import { feedDamaged } from "../damage.ts";
import { notebookOf, richNotebook } from "./notebooks.ts";

Deno.test("a notebook as percent TypeScript", () => {
  const notebook = notebookOf(["# Title\n\nWords.", "const a: number = 1;\na"]);
  notebook.cells[1].metadata.tags = ["x"];
  const [title, code] = notebook.cells;
  const text = toPercent(notebook);
  assert(text.startsWith('// %% [notebook]\n// {\n//  "kernelspec": {\n'));
  assertEquals(
    text.slice(text.indexOf("// %% [markdown]")),
    `// %% [markdown] ${title.id}
// # Title
//
// Words.

// %% ${code.id} {"metadata":{"tags":["x"]}}
const a: number = 1;
a
`,
  );
});

Deno.test("what is exported comes back, but for the outputs", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const written = serialiseNotebook(withoutOutputs(richNotebook(seed)));
    const notebook = parseNotebook("x.ipynb", new TextEncoder().encode(written));
    for (const cell of notebook.cells) {
      if (isCode(cell)) cell.source += ["", "\n", "\n\n", "\n// %% not a cell\n// \\%%"][seed % 4];
      else {cell.source = cell.source.replace(/[\r\u2028\u2029]/g, " ") +
          ["", "\n", "%% no\n%%", "\n\n%%"][seed % 4];}
    }
    assertEquals(fromPercent("x.ts", toPercent(notebook)), notebook, `seed ${seed}`);
  }
});

Deno.test("it runs with deno run", async () => {
  const source = toPercent(
    notebookOf(["# Sum\u2028throw 1", "const a: number = await Promise.resolve(20);", "console.log(a + 1)"]),
  );
  const path = await Deno.makeTempFile({ suffix: ".ts" });
  await Deno.writeTextFile(path, source);
  const { stdout, success } = await new Deno.Command(Deno.execPath(), { args: ["run", "--no-config", path] })
    .output();
  await Deno.remove(path);
  assertEquals([success, new TextDecoder().decode(stdout)], [true, "21\n"]);
});

Deno.test("files by other tools: no ids, titles, code before the first cell", () => {
  const read = fromPercent(
    "x.ts",
    "import x from 'x';\n\n// %%\n1\n\n// %% [markdown]\n// a\n// b\n// %% A title, with: signs\n2\n",
  );
  assertEquals(read.cells.map(({ cell_type, source }) => [cell_type, source]), [
    ["code", "import x from 'x';"],
    ["code", "1"],
    ["markdown", "a\nb"],
    ["code", "2"],
  ]);
  assertEquals(read.metadata, newNotebook(0).metadata);
  assertEquals(fromPercent("x.ts", "").cells, []);
});

Deno.test("what cannot be read is refused with file and line", async () => {
  for (
    const [text, message] of [
      ["// %% [latex] c1\n", "x.ts:1 begins a cell of the unknown kind"],
      ['1\n// %% c1 {"metadata"\n', "x.ts:2 holds metadata of a cell that is no JSON object"],
      ["// %% [notebook]\n// [1]\n", "x.ts:1 holds notebook metadata that is no JSON object"],
      ['// %% c1 {"metadata":3}\n', "x.ts:1 holds metadata of a cell that is no JSON object"],
      [
        '// %% [notebook]\n// {"lab":{"format":1,"seed":-1}}\n',
        "x.ts is not a notebook: metadata.lab: seed is -1",
      ],
    ] as const
  ) assertThrows(() => fromPercent("x.ts", text), DamagedFileError, message);
  const sound = toPercent(withoutOutputs(richNotebook(11)));
  await feedDamaged(new TextEncoder().encode(sound), (bytes) => {
    const read = fromPercent("x.ts", new TextDecoder().decode(bytes));
    serialiseNotebook(read);
    // Most damage to a text is another text.
    if (bytes.length % 2) throw new DamagedFileError("x.ts was read.");
  }, { names: "x.ts" });
});
