import { assert, assertEquals, assertNotEquals, assertThrows } from "deno-std/assert/mod.js";
import { DamagedFileError, sha256Of } from "../../../lab/bytes.ts";
import {
  type CodeCell,
  languageOf,
  newCell,
  newNotebook,
  type Notebook,
  parseNotebook,
  serialiseNotebook,
} from "../../../lab/notebook/ipynb.ts";
import { feedDamaged } from "../damage.ts";
import { goldenJson } from "../golden.ts";
import { notebookOf, richNotebook } from "./notebooks.ts";
import { writtenNotebooks } from "./written.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);
const parse = (json: unknown, path = "x.ipynb") =>
  parseNotebook(path, utf8(typeof json === "string" ? json : JSON.stringify(json)));
const refusal = (json: unknown) => assertThrows(() => parse(json), DamagedFileError).message;

Deno.test("a notebook as it is written", () => {
  const notebook = notebookOf(["# Title\n\nWords.", 'import { lab } from "precis";\n1 + 1'], 7);
  const code = notebook.cells[1] as CodeCell;
  code.execution_count = 17;
  code.outputs = [{
    output_type: "execute_result",
    data: { "text/plain": "2" },
    metadata: {},
    execution_count: 17,
  }];
  code.metadata.execution = { "iopub.execute_input": "2026-11-22T10:00:00Z" };
  const [first, second] = notebook.cells;
  assertEquals(
    serialiseNotebook(notebook),
    `{
 "cells": [
  {
   "cell_type": "markdown",
   "id": "${first.id}",
   "metadata": {},
   "source": [
    "# Title\\n",
    "\\n",
    "Words."
   ]
  },
  {
   "cell_type": "code",
   "execution_count": 1,
   "id": "${second.id}",
   "metadata": {},
   "outputs": [
    {
     "data": {
      "text/plain": [
       "2"
      ]
     },
     "execution_count": 1,
     "metadata": {},
     "output_type": "execute_result"
    }
   ],
   "source": [
    "import { lab } from \\"precis\\";\\n",
    "1 + 1"
   ]
  }
 ],
 "metadata": {
  "kernelspec": {
   "display_name": "Deno",
   "language": "typescript",
   "name": "deno"
  },
  "lab": {
   "datasets": {},
   "format": 1,
   "imports": {},
   "models": {},
   "needs": [],
   "seed": 7
  },
  "language_info": {
   "file_extension": ".ts",
   "mimetype": "text/x.typescript",
   "name": "typescript"
  }
 },
 "nbformat": 4,
 "nbformat_minor": 5
}
`,
  );
  // The SHA-256 of "0\n# Title\n\nWords." and so on begin with these.
  assertEquals([first.id, second.id], ["ce58fa693c9", "c2b756bf775"]);
});

Deno.test("our own files come back as they were, byte for byte, and so does what is in them", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const text = serialiseNotebook(richNotebook(seed));
    const read = parseNotebook("x.ipynb", utf8(text));
    assertEquals(serialiseNotebook(read), text, `seed ${seed}`);
    // The canonical form of what is in memory is a fixed point too.
    const again = parseNotebook("x.ipynb", utf8(serialiseNotebook(read)));
    assertEquals(again, read);
    assert(!/\d\d:\d\d/.test(text), "a time of day");
  }
});

Deno.test("ids come from source and place alone, and are never the same", () => {
  const one = newCell("code", "a", 0, []);
  assertEquals(newCell("markdown", "a", 0, []).id, one.id);
  assertNotEquals(newCell("code", "a", 1, []).id, one.id);
  assertNotEquals(newCell("code", "b", 0, []).id, one.id);
  const two = newCell("code", "a", 0, [one]), three = newCell("code", "a", 0, [one, two]);
  assertEquals([two.id, three.id], [`${one.id}-2`, `${one.id}-3`]);
});

Deno.test("foreign notebooks: old formats, odd ids, other languages, whatever metadata", () => {
  const foreign = {
    nbformat: 4,
    nbformat_minor: 2,
    metadata: {
      kernelspec: { name: "python3", display_name: "Python 3", language: "python" },
      orig_nbformat: 4,
      colab: { a: [1, { b: null }], provenance: [] },
    },
    cells: [
      {
        cell_type: "markdown",
        metadata: { id: "x", collapsed: true, ["constructor" as string]: 1 },
        source: ["# a\n", "b"],
      },
      { cell_type: "raw", metadata: { format: "text/latex" }, source: "\\alpha" },
      {
        cell_type: "code",
        metadata: { vscode: { languageId: "python" } },
        source: "print(1)",
        execution_count: 9,
        outputs: [
          { output_type: "stream", name: "stdout", text: ["1\n", "2\n"] },
          {
            output_type: "display_data",
            data: { "text/plain": ["a\n", "b"], "application/json": ["c", "d"] },
          },
        ],
      },
    ],
  };
  const read = parse(foreign);
  assertEquals(languageOf(read), "python");
  const { lab, ...metadata } = read.metadata;
  assertEquals(metadata, { kernelspec: foreign.metadata.kernelspec, colab: foreign.metadata.colab });
  assertEquals(lab, newNotebook(0).metadata.lab);
  assertEquals(read.cells.map(({ cell_type, source }) => [cell_type, source]), [
    ["markdown", "# a\nb"],
    ["raw", "\\alpha"],
    ["code", "print(1)"],
  ]);
  assertEquals(read.cells.map(({ metadata }) => metadata), foreign.cells.map(({ metadata }) => metadata));
  assertEquals((read.cells[2] as CodeCell).outputs, [
    { output_type: "stream", name: "stdout", text: "1\n2\n" },
    {
      output_type: "display_data",
      data: { "text/plain": "a\nb", "application/json": ["c", "d"] },
      metadata: {},
    },
  ]);
  assertEquals(parse(foreign), read);
  assertEquals(new Set(read.cells.map(({ id }) => id)).size, 3);

  const ids = (...ids: unknown[]) =>
    parse({
      nbformat: 4,
      nbformat_minor: 5,
      metadata: {},
      cells: ids.map((id) => ({ cell_type: "raw", id, metadata: {}, source: "" })),
    }).cells.map(({ id }) => id);
  const made = newCell("raw", "", 0, []).id;
  assertEquals(ids("good-1", "good_2"), ["good-1", "good_2"]);
  assertEquals(ids("a b", "x", made), [`${made}-2`, "x", made]);
  const [kept, other] = ids("same", "same");
  assert(kept === "same" && other !== "same");
});

Deno.test("what cannot be read is refused by its place, with a remedy", () => {
  const cells = (...cells: unknown[]) => ({ nbformat: 4, nbformat_minor: 5, metadata: {}, cells });
  const code = (fields: object) => ({
    cell_type: "code",
    id: "a",
    metadata: {},
    source: "",
    outputs: [],
    ...fields,
  });
  for (
    const [json, message] of [
      ["{", /^x\.ipynb is not valid JSON/],
      ["[]", /^x\.ipynb is not a notebook: it holds \[\]; /],
      [
        { nbformat: 3, nbformat_minor: 0, worksheets: [] },
        /^x\.ipynb is in notebook format 3\.0, .*JupyterLab/,
      ],
      [{ nbformat: 4, nbformat_minor: 6 }, /4\.6/],
      [{ nbformat: 4, nbformat_minor: 5, metadata: {} }, /: cells is missing;/],
      [cells(code({ source: 3 })), /: cell 1, source is 3 instead of /],
      [cells({ cell_type: "python", source: "" }), /: cell 1, cell_type is "python" instead of \("code" \| /],
      [
        cells(code({}), code({ outputs: [{ output_type: "stream", name: "stdout" }] })),
        /: cell 2, output 1, text is missing;/,
      ],
      [
        cells(code({ outputs: [{ output_type: "display_data", data: { "a/b": { c: 1 } } }] })),
        /: cell 1, output 1, data is /,
      ],
      [
        cells(code({ metadata: { tags: ["a", "a"] } })),
        /: cell 1, metadata, tags is \["a","a"\] instead of a list of different/,
      ],
      [
        { ...cells(), metadata: { kernelspec: { name: "x" } } },
        /: metadata, kernelspec, display_name is missing;/,
      ],
      [cells(code({ prompt_number: 3 })), /: cell 1, prompt_number is unknown here; /],
      [
        cells(code({ metadata: { lab: { inputs: 3 } } })),
        /: metadata\.lab of cell 1: inputs is 3 instead of Object/,
      ],
      [
        { ...cells(), metadata: { lab: { format: 1, seed: -1 } } },
        /: metadata\.lab: seed is -1 instead of >=0;/,
      ],
      [{ ...cells(), metadata: { lab: { format: 2 } } }, /later version of this lab \(format 2\); update/],
      [
        { ...cells(), metadata: { lab: { format: 1, models: { sft: "main" } } } },
        /models, sft is "main" instead of .*SHA-256/,
      ],
      [
        JSON.stringify(cells()).replace('"metadata":{}', '"metadata":{"a":{"b":1e999}}'),
        /number at "metadata" that is too large/,
      ],
      [
        { ...cells(), metadata: JSON.parse("[".repeat(500) + "]".repeat(500)) },
        /nested deeper than 200 levels at "metadata"/,
      ],
    ] as const
  ) {
    const said = refusal(json);
    assert(message.test(said), said);
    assert(said.endsWith("."), said);
  }
});

Deno.test("a thousand damaged notebooks are read soundly or refused by name", async () => {
  const sound = serialiseNotebook(richNotebook(11));
  let read: Notebook | undefined;
  const refused = await feedDamaged(sound, (bytes) => {
    read = parseNotebook("x.ipynb", bytes);
    const text = serialiseNotebook(read);
    assertEquals(serialiseNotebook(parseNotebook("x.ipynb", utf8(text))), text);
  }, { names: "x.ipynb" });
  assert(refused < 1000 && read !== undefined);
});

Deno.test("what is written is what nbformat's schema of 4.5 accepted (tests/oracles/nbformat.ts)", async () => {
  const golden = await goldenJson<{ notebooks: number; sha256: string }>("nbformat");
  const written = [...(await writtenNotebooks()).values()];
  const again =
    "; if the form of the file was meant to change, have nbformat look at it again: tests/oracles/nbformat.ts";
  assertEquals(written.length, golden.notebooks, again);
  assertEquals(await sha256Of(utf8(written.join(""))), golden.sha256, again);
});
