import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { DamagedFileError, memoryFiles } from "../../lab/bytes.ts";
import {
  loadTldrFolder,
  queryAt,
  readTable,
  rowCount,
  sequenceAt,
  tableOf,
  writeTable,
} from "../../lab/dataset.ts";
import { feedDamaged } from "./damage.ts";

const rows = [
  { tokens: [5, 6, 7, 3], queryLength: 2 },
  { tokens: [9, 3], queryLength: 1 },
  { tokens: [1, 2, 3, 4, 5, 6, 3], queryLength: 6 },
];

Deno.test("a table comes back row by row", async () => {
  const files = memoryFiles();
  await writeTable(files, "t.safetensors", tableOf(rows));
  const table = await readTable(files, "t.safetensors");
  assertEquals(rowCount(table), 3);
  rows.forEach(({ tokens, queryLength }, i) => {
    assertEquals(Array.from(sequenceAt(table, i)), tokens);
    assertEquals(Array.from(queryAt(table, i)), tokens.slice(0, queryLength));
  });
});

Deno.test("a table whose rows do not fit together is refused", async () => {
  const sound = tableOf(rows);
  for (
    const change of [
      { starts: Uint32Array.of(0, 4, 6) },
      { starts: Uint32Array.of(0, 6, 4, 13) },
      { starts: Uint32Array.of(1, 4, 6, 13) },
      { tokens: sound.tokens.subarray(1) },
      { queryLengths: Uint32Array.of(2, 1, 7) },
      { queryLengths: Uint32Array.of(0, 1, 6) },
    ]
  ) {
    const files = memoryFiles();
    await writeTable(files, "t.safetensors", { ...sound, ...change });
    await assertRejects(
      () => readTable(files, "t.safetensors"),
      DamagedFileError,
      "t.safetensors is not a table",
    );
  }
});

Deno.test("a thousand damaged tables end in a named error, or have rows with a query and a response", async () => {
  const files = memoryFiles();
  await writeTable(files, "t.safetensors", tableOf(rows));
  await feedDamaged((await files.read("t.safetensors")).slice(), async (bytes) => {
    const table = await readTable(memoryFiles({ "t.safetensors": bytes }), "t.safetensors");
    let tokens = 0;
    for (let i = 0; i < rowCount(table); i++) {
      const [query, all] = [queryAt(table, i).length, sequenceAt(table, i).length];
      assert(query > 0 && query < all);
      tokens += all;
    }
    assertEquals(tokens, table.tokens.length);
  }, { names: "t.safetensors" });
});

/** A data folder whose comparisons are on these splits, file by file; null says nothing. */
function dataFolder(batches: Record<string, (string | null)[]>) {
  const post = JSON.stringify({ id: "t3_1", subreddit: "tifu", title: "A", post: "B", summary: "C" });
  const pair = (split: string | null) => ({
    info: { id: "t3_1", subreddit: "tifu", title: "A", post: "B" },
    summaries: [{ text: " first" }, { text: " second" }],
    choice: 0,
    ...(split && { split }),
  });
  return memoryFiles({
    ...Object.fromEntries(["train", "valid", "test"].map((name) => [`d/${name}.jsonl`, post])),
    "d/comparisons/notes.txt": "",
    ...Object.fromEntries(
      Object.entries(batches).map(([name, splits]) => [
        `d/comparisons/${name}`,
        splits.map((split) => JSON.stringify(pair(split))).join("\n"),
      ]),
    ),
  });
}

Deno.test("comparisons without a split are left out, counted by file, and the first is named", async () => {
  const all = await loadTldrFolder(
    dataFolder({ "batch3.json": ["train", "valid1"], "batch4.json": ["valid2"] }),
    "d",
  );
  assertEquals([all.pairs.train.length, all.pairs.valid1.length, all.pairs.valid2.length, all.notes], [
    1,
    1,
    1,
    [],
  ]);
  const some = await loadTldrFolder(
    dataFolder({
      "batch3.json": ["train", null, "train", null],
      "batch4.json": ["valid1"],
      "batch5.json": [null],
    }),
    "d",
  );
  assertEquals([some.pairs.train.length, some.pairs.valid1.length], [2, 1]);
  assertEquals(some.notes, [
    'Comparisons that do not say which split they are of ("split": train, valid1 or valid2) are left out: ' +
    "2 of 4 in d/comparisons/batch3.json, the first in line 2; 1 of 1 in d/comparisons/batch5.json, the first in line 1.",
  ]);
});

Deno.test("posts that are missing are an error, held-out comparisons that are missing are said", async () => {
  const files = dataFolder({ "batch3.json": ["train"] });
  assertEquals((await loadTldrFolder(files, "d")).notes, [
    "No comparison in d/comparisons is of the splits valid1 and valid2: the reward model's accuracy will not be known.",
  ]);
  await files.writeAtomic("d/valid.jsonl", new TextEncoder().encode("\n"));
  await assertRejects(() => loadTldrFolder(files, "d"), DamagedFileError, "d/valid.jsonl has no posts");
});

Deno.test("a folder without comparisons, or with none that says its split, is refused", async () => {
  await assertRejects(
    () => loadTldrFolder(dataFolder({}), "d"),
    DamagedFileError,
    "d/comparisons has no comparisons",
  );
  await assertRejects(
    () => loadTldrFolder(dataFolder({ "batch3.json": [null, null] }), "d"),
    DamagedFileError,
    "None of the 2 comparisons in d/comparisons say which split they are of",
  );
});
