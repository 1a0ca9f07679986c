import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { DamagedFileError, memoryFiles } from "../../lab/bytes.ts";
import {
  queryAt,
  readShard,
  readTable,
  rowCount,
  sequenceAt,
  shardPath,
  tableOf,
  type TokenTable,
  writeShard,
} from "../../lab/dataset.ts";
import { feedDamaged } from "./damage.ts";

const rows = [
  { tokens: [5, 6, 7, 3], queryLength: 2 },
  { tokens: [9, 3], queryLength: 1 },
  { tokens: [1, 2, 3, 4, 5, 6, 3], queryLength: 6 },
];

const shardOf = (table: TokenTable) => ({ ...table, key: "k", truncated: 2, spanning: 1 });

Deno.test("a table comes back row by row, in however many shards it is", async () => {
  for (const parts of [[rows], [rows.slice(0, 1), rows.slice(1)], [[], rows.slice(0, 2), rows.slice(2)]]) {
    const files = memoryFiles();
    await files.makeDirectory("data");
    for (const [i, part] of parts.entries()) {
      const path = shardPath("data/t.safetensors", i, parts.length);
      await writeShard(files, path, shardOf(tableOf(part)));
      assertEquals(await readShard(files, path), shardOf(tableOf(part)));
    }
    const table = await readTable(files, "data/t.safetensors");
    assertEquals(rowCount(table), 3);
    rows.forEach(({ tokens, queryLength }, i) => {
      assertEquals(Array.from(sequenceAt(table, i)), tokens);
      assertEquals(Array.from(queryAt(table, i)), tokens.slice(0, queryLength));
    });
    const last = shardPath("data/t.safetensors", parts.length - 1, parts.length);
    await files.remove(last);
    await assertRejects(() => readTable(files, "data/t.safetensors"), DamagedFileError, `${last} is missing`);
  }
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
    await writeShard(files, "t.safetensors", shardOf({ ...sound, ...change }));
    await assertRejects(
      () => readTable(files, "t.safetensors"),
      DamagedFileError,
      "t.safetensors is not a table",
    );
  }
});

Deno.test("a table that says something else of itself than was written is refused", async () => {
  const files = memoryFiles();
  await writeShard(files, "t.safetensors", shardOf(tableOf(rows)));
  const text = new TextDecoder("latin1").decode(await files.read("t.safetensors"));
  for (const [from, to] of [['"truncated":"2"', '"truncated":"3"'], ['"key":"k"', '"key":"j"']]) {
    assert(text.includes(from));
    const changed = Uint8Array.from(text.replace(from, to), (character) => character.charCodeAt(0));
    await assertRejects(
      () => readShard(memoryFiles({ "t.safetensors": changed }), "t.safetensors"),
      DamagedFileError,
      "t.safetensors is not as it was written; run the stage preprocess again.",
    );
  }
});

Deno.test("a thousand damaged tables end in a named error, or are as they were written", async () => {
  const files = memoryFiles();
  await writeShard(files, "t.safetensors", shardOf(tableOf(rows)));
  await feedDamaged((await files.read("t.safetensors")).slice(), async (bytes) => {
    assertEquals(
      await readShard(memoryFiles({ "t.safetensors": bytes }), "t.safetensors"),
      shardOf(tableOf(rows)),
    );
  }, { names: "t.safetensors" });
});
