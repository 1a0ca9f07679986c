import { gzipSync, zstdCompressSync } from "node:zlib";
import { assert, assertEquals, assertRejects, assertThrows } from "deno-std/assert/mod.js";
import { parquetWriteBuffer } from "hyparquet-writer";
import { DamagedFileError, memoryFiles } from "../../lab/bytes.ts";
import { random } from "../../lab/demo/random.ts";
import { openParquet, type ParquetFile, readParquet } from "../../lab/parquet.ts";
import { checkFooter, checkPages } from "../../lab/parquet_pages.ts";
import { feedDamaged } from "./damage.ts";

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

Deno.test("a file cut anywhere gives a named error, nothing else", async () => {
  const sound = new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 100 }));
  const draw = random(3);
  for (let i = 0; i < 200; i++) {
    const start = draw.chance(0.7) ? 0 : draw.below(sound.length);
    const cut = sound.subarray(start, start === 0 ? draw.below(sound.length) : sound.length);
    await assertRejects(() => rowsOf(cut, ["id", "post", "choice"]), DamagedFileError, "a.parquet");
  }
});

/** Written by pyarrow: see tests/oracles/parquet.py. */
const golden = (name: string) =>
  Deno.readFile(new URL(`../oracles/golden/parquet_${name}.parquet`, import.meta.url));
const goldenNames = ["v1_snappy", "v1_plain", "v2_zstd", "v2_delta"];

/** As JSON has it: numbers without their width, nothing for nothing. */
const plain = (rows: readonly unknown[]) =>
  JSON.parse(JSON.stringify(rows, (_, value) => typeof value === "bigint" ? Number(value) : value ?? null));

Deno.test("what pyarrow writes is read, nested or not, in either form of pages", async () => {
  const expected = JSON.parse(
    await Deno.readTextFile(new URL("../oracles/golden/parquet.json", import.meta.url)),
  );
  for (const name of goldenNames) {
    const { rows } = await rowsOf(await golden(name), Object.keys(expected[0]));
    assertEquals(plain(rows.map(({ fields }) => fields)), expected, name);
  }
});

Deno.test("a thousand damaged files end soon, in rows or in a named error", async () => {
  for (const [i, name] of goldenNames.entries()) {
    const columns = ["id", "title", "choice", "seen", "extra", "summaries"];
    let longest = 0;
    const read = async (bytes: Uint8Array) => {
      const start = performance.now();
      try {
        await rowsOf(bytes, columns);
      } finally {
        longest = Math.max(longest, performance.now() - start);
      }
    };
    await feedDamaged(await golden(name), read, { names: "a.parquet", rounds: 250, seed: 20 + i });
    assert(longest < 5000, `${name}: one took ${longest} ms`);
  }
});

/** A file of one column of 32-bit numbers that may be null, and whose only page begins with these levels, four values by its header. */
function onePage(levels: number[], { values = 4, size = 4 + levels.length } = {}): ParquetFile {
  const varint = (n: number): number[] => n < 128 ? [n] : [n % 128 + 128, ...varint(Math.floor(n / 128))];
  const i32 = (n: number) => [0x15, ...varint(2 * n)];
  const page = [levels.length, 0, 0, 0, ...levels];
  const header = [
    ...i32(0),
    ...i32(size),
    ...i32(page.length),
    0x2c,
    ...i32(values),
    ...i32(0),
    ...i32(3),
    ...i32(3),
    0,
    0,
  ];
  const bytes = Uint8Array.from([...header, ...page, ...Array(64).fill(0)]);
  const column = {
    type: "INT32",
    codec: "UNCOMPRESSED",
    path_in_schema: ["a"],
    num_values: 4n,
    data_page_offset: 0n,
    total_compressed_size: BigInt(header.length + page.length),
  };
  const metadata = {
    num_rows: 4n,
    schema: [{ name: "root", num_children: 1 }, { name: "a", type: "INT32", repetition_type: "OPTIONAL" }],
    row_groups: [{ num_rows: 4n, columns: [{ meta_data: column }] }],
  };
  const buffer = {
    byteLength: bytes.length,
    slice: (start: number, end?: number) => Promise.resolve(bytes.slice(start, end).buffer),
  };
  return { path: "a.parquet", rows: 4, columns: ["a"], buffer, metadata } as unknown as ParquetFile;
}

Deno.test("a count is not believed where it is more than what it is a part of", async () => {
  const check = (file: ParquetFile) => checkPages(file, file.metadata.row_groups[0], ["a"], {});
  // Four nulls, as one run, as two, and as a group of eight bits.
  for (const levels of [[8, 0], [4, 0, 4, 0], [3, 0]]) await check(onePage(levels));
  const refused: [ParquetFile, string][] = [
    // A thousand million of them.
    [onePage([0x80, 0xa8, 0xd6, 0xb9, 0x07, 0]), "a run has 1000000000 values where 4 are left"],
    [onePage([4, 0, 6, 0]), "a run has 3 values where 2 are left"],
    [onePage([0xff, 0xff, 0xff, 0xff, 0x07, 0]), "ends outside its page"],
    [onePage([4, 0]), "Offset is outside"],
    [onePage([8, 0], { values: 2 ** 30 }), "a page counts 1073741824 values where 4 are left"],
    [onePage([8, 0], { size: 2 ** 30 + 1 }), "1073741825 when unpacked"],
    [onePage([8, 0], { size: 5 }), "does not match"],
  ];
  for (const [file, why] of refused) await assertRejects(() => check(file), Error, why);

  const { metadata, buffer } = onePage([8, 0]);
  checkFooter({ metadata, buffer });
  for (const count of [-1n, 10n ** 9n]) {
    const counted = [
      { ...metadata, num_rows: count },
      { ...metadata, row_groups: [{ ...metadata.row_groups[0], num_rows: count }] },
    ];
    for (const metadata of counted) assertThrows(() => checkFooter({ metadata, buffer }), Error, `${count}`);
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
