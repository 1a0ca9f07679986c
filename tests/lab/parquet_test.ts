import { gzipSync, zstdCompressSync } from "node:zlib";
import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { parquetWriteBuffer } from "hyparquet-writer";
import { DamagedFileError, memoryFiles } from "../../lab/bytes.ts";
import { random } from "../../lab/demo/random.ts";
import { openParquet, readParquet } from "../../lab/parquet.ts";

const texts = Array.from({ length: 250 }, (_, i) => `row ${i} — “é” 🦙 ${"word ".repeat(i % 40)}`);
const columnData = [
  { name: "id", data: texts.map((_, i) => `t3_${i}`), type: "STRING" as const },
  { name: "post", data: texts, type: "STRING" as const },
  { name: "choice", data: texts.map((_, i) => BigInt(i % 2)), type: "INT64" as const },
];
const compressors = {
  GZIP: (bytes: Uint8Array) => new Uint8Array(gzipSync(bytes)),
  ZSTD: (bytes: Uint8Array) => new Uint8Array(zstdCompressSync(bytes)),
};

async function rowsOf(content: Uint8Array, columns: string[]) {
  const file = await openParquet(memoryFiles({ "a.parquet": content }), "a.parquet");
  const groups = await Array.fromAsync(readParquet(file, columns));
  return { file, groups, rows: groups.flat() };
}

for (const codec of ["UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD"] as const) {
  Deno.test(`${codec}: the wanted columns come back, one row group after the other, with their places`, async () => {
    const content = new Uint8Array(
      parquetWriteBuffer({ columnData, codec, compressors, rowGroupSize: 100, pageSize: 2000 }),
    );
    const { file, groups, rows } = await rowsOf(content, ["id", "post"]);
    assertEquals([file.rows, file.columns], [250, ["id", "post", "choice"]]);
    assertEquals(groups.map((group) => group.length), [100, 100, 50]);
    assertEquals(rows.map(({ fields }) => fields), texts.map((post, i) => ({ id: `t3_${i}`, post })));
    assertEquals([rows[0].place, rows[249].place], ["a.parquet, row 1", "a.parquet, row 250"]);
  });
}

Deno.test("nested columns: lists of records come as such, and the columns' names are those of the top level", async () => {
  const data = [{
    summaries: [{ text: " a", policy: null }, { text: " b", policy: "ref" }],
    info: { id: "x" },
  }];
  const text = { type: "BYTE_ARRAY" as const, converted_type: "UTF8" as const };
  const content = parquetWriteBuffer({
    columnData: [
      { name: "info", data: data.map(({ info }) => info) },
      { name: "summaries", data: data.map(({ summaries }) => summaries) },
    ],
    schema: [
      { name: "root", num_children: 2 },
      { name: "info", repetition_type: "OPTIONAL", num_children: 1 },
      { name: "id", repetition_type: "OPTIONAL", ...text },
      { name: "summaries", repetition_type: "OPTIONAL", num_children: 1, converted_type: "LIST" },
      { name: "list", repetition_type: "REPEATED", num_children: 1 },
      { name: "element", repetition_type: "OPTIONAL", num_children: 2 },
      { name: "text", repetition_type: "OPTIONAL", ...text },
      { name: "policy", repetition_type: "OPTIONAL", ...text },
    ],
  });
  const { file, rows } = await rowsOf(new Uint8Array(content), ["info", "summaries"]);
  assertEquals(file.columns, ["info", "summaries"]);
  assertEquals(JSON.parse(JSON.stringify(rows.map(({ fields }) => fields))), data);
});

Deno.test("text that is not UTF-8 is an error that names the rows", async () => {
  const data = [new Uint8Array([0x61]), new Uint8Array([0xff, 0xfe])];
  const content = parquetWriteBuffer({
    columnData: [{ name: "post", data }],
    schema: [{ name: "root", num_children: 1 }, { name: "post", type: "BYTE_ARRAY", converted_type: "UTF8" }],
  });
  await assertRejects(
    () => rowsOf(new Uint8Array(content), ["post"]),
    DamagedFileError,
    "a.parquet, rows 1 to 2, cannot be read as Parquet",
  );
});

Deno.test("files that are cut short, empty or something else are refused in one sentence", async () => {
  const sound = new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 100 }));
  const others = [
    new Uint8Array(),
    new Uint8Array([80, 65, 82, 49]),
    new TextEncoder().encode('{"id": "t3_1"}\n'.repeat(9)),
    new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
    sound.subarray(0, sound.length - 1),
    sound.subarray(0, 3000),
    sound.subarray(sound.length - 200),
  ];
  for (const content of others) {
    const error = await assertRejects(() => rowsOf(content, ["id"]), DamagedFileError, "a.parquet");
    assert(
      /^a\.parquet[^\n]* cannot be read as Parquet \([^\n]+\); download the file again\.$/.test(
        error.message,
      ),
    );
  }
});

// Bytes changed within a page are not tried: the library believes the lengths of runs that it finds there, and may count for hours.
Deno.test("a file cut anywhere gives a named error, nothing else", async () => {
  const sound = new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 100 }));
  const draw = random(3);
  for (let i = 0; i < 200; i++) {
    const start = draw.chance(0.7) ? 0 : draw.below(sound.length);
    const cut = sound.subarray(start, start === 0 ? draw.below(sound.length) : sound.length);
    await assertRejects(() => rowsOf(cut, ["id", "post", "choice"]), DamagedFileError, "a.parquet");
  }
});

Deno.test("a footer that counts other rows than there are is an error", async () => {
  const files = memoryFiles({ "a.parquet": new Uint8Array(parquetWriteBuffer({ columnData })) });
  const file = await openParquet(files, "a.parquet");
  await assertRejects(
    () => Array.fromAsync(readParquet({ ...file, rows: 251 }, ["id"])),
    DamagedFileError,
    "a.parquet says it has 251 rows, and its row groups have 250",
  );
});
