import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { DamagedFileError, memoryFiles } from "../../lab/bytes.ts";
import { queryAt, readTable, rowCount, sequenceAt, tableOf, writeTable } from "../../lab/dataset.ts";
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
