import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "deno-std/assert/mod.js";
import { DamagedFileError, type Files, memoryFiles } from "../../lab/bytes.ts";
import {
  decodeTensor,
  type Dtype,
  encodeTensor,
  readNumbers,
  readSafetensorsHeader,
  readTensor,
  readTensorValues,
  safetensorsBytes,
  streamTensor,
  type TensorPlan,
  type TensorValues,
  toFloat32,
} from "../../lab/safetensors.ts";
import { floatsOf } from "./golden.ts";

const GOLDEN = new URL("../oracles/safetensors_golden.safetensors", import.meta.url);
const SHARED = new URL("../../../shared/data/safetensors/", import.meta.url);

Deno.test("every tensor of a file by the reference implementation reads as the numbers that torch gives", async () => {
  const files = memoryFiles({ "g.safetensors": await Deno.readFile(GOLDEN) });
  const header = await readSafetensorsHeader(files, "g.safetensors");
  assertEquals(header.metadata, { format: "pt" });
  const golden = await goldenValues();
  assertEquals([...header.tensors.keys()].sort(), [...golden.keys()].sort());
  for (const [name, expected] of golden) {
    const values = await readTensorValues(files, header, name);
    const actual = Array.from<number | bigint, number | string>(values, (value) => {
      if (typeof value === "bigint") {
        return value > 2n ** 53n || value < -(2n ** 53n) ? String(value) : Number(value);
      }
      return Number.isFinite(value) ? value : Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
    });
    assertEquals(actual, expected, name);
    const asFloats = await readTensor(files, header, name);
    assertEquals(asFloats.length, expected.length);
    for (const [i, value] of expected.entries()) {
      const number = value === "inf" ? Infinity : value === "-inf" ? -Infinity : Number(value);
      assert(
        Object.is(asFloats[i], Math.fround(number)),
        `${name}[${i}]: ${asFloats[i]} instead of ${value}`,
      );
    }
  }
});

Deno.test("writing the same tensors gives, byte for byte, the file of the reference implementation", async () => {
  const golden = await Deno.readFile(GOLDEN);
  const files = memoryFiles({ "g.safetensors": golden });
  const header = await readSafetensorsHeader(files, "g.safetensors");
  // Handed over in another order, and BF16 and F16 from the f32 that torch rounded, so that order and rounding are ours.
  const plans: TensorPlan[] = [...header.tensors.values()].reverse();
  const source: Record<string, string> = { "edges.bf16": "edges", "small.f16": "small" };
  const values = async (name: string): Promise<TensorValues> => {
    const entry = header.tensors.get(name)!;
    if (entry.dtype.startsWith("F8")) return await files.readRange("g.safetensors", entry.start, entry.end);
    return await readTensorValues(files, header, source[name] ?? name);
  };
  await files.writeAtomic(
    "ours.safetensors",
    safetensorsBytes(plans, ({ name }) => values(name), { format: "pt" }),
  );
  assertEquals(await files.read("ours.safetensors"), golden);
});

Deno.test({
  name: "a file of 132 tensors in eleven dtypes by another writer reads as its names promise (shared/data)",
  ignore: !await present(new URL("fixtures.safetensors", SHARED)),
  fn: async () => {
    const files = memoryFiles({
      "f.safetensors": await Deno.readFile(new URL("fixtures.safetensors", SHARED)),
    });
    const header = await readSafetensorsHeader(files, "f.safetensors");
    assertEquals(header.tensors.size, 132);
    assertEquals(new Set([...header.tensors.values()].map(({ dtype }) => dtype)).size, 11);
    let gradients = 0;
    for (const { name, shape, dtype } of header.tensors.values()) {
      const [, namedType, kind, dims] = /^([A-Z0-9]+)_(.+)_([\dx]+)$/.exec(name)!;
      assertEquals(dtype, namedType);
      assertEquals(shape.join("x"), dims);
      const values = await readTensor(files, header, name);
      assert(values.every(Number.isFinite), name);
      if (kind === "gradient") {
        gradients++;
        const step = values[1] - values[0];
        values.forEach((value, i) =>
          assert(
            Math.abs(value - values[0] - i * step) <= 1e-2 * Math.max(1, Math.abs(value)),
            `${name}[${i}]`,
          )
        );
      }
    }
    assert(gradients > 0);
  },
});

Deno.test({
  name: "a Vandermonde matrix in F64, F32 and BF16 by another writer is one (shared/data)",
  ignore: !await present(new URL("vandermonde.safetensors", SHARED)),
  fn: async () => {
    const files = memoryFiles({
      "v.safetensors": await Deno.readFile(new URL("vandermonde.safetensors", SHARED)),
    });
    const header = await readSafetensorsHeader(files, "v.safetensors");
    for (const name of header.tensors.keys()) {
      const values = await readTensor(files, header, name);
      for (let row = 0; row < 5; row++) {
        for (let column = 0; column < 5; column++) {
          // Three dtypes hold x^k or its rounding: BF16 keeps eight bits.
          const exact = (row + 1) ** (column + 1), read = values[row * 5 + column];
          assert(
            Math.abs(read - exact) <= (name.startsWith("BF16") ? exact / 256 : 0),
            `${name}[${row},${column}] = ${read}`,
          );
        }
      }
    }
  },
});

Deno.test("BF16 and F16 round to nearest with ties to even, keep NaN, and refuse what they would turn into infinity", () => {
  const bits = (dtype: Dtype, ...values: number[]) =>
    Array.from(new Uint16Array(encodeTensor(dtype, Float32Array.from(values)).slice().buffer));
  assertEquals(bits("BF16", 1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -20, -0, Infinity), [
    0x3f80,
    0x3f80,
    0x3f82,
    0x3f81,
    0x8000,
    0x7f80,
  ]);
  assertEquals(bits("F16", 1, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 65504, 2 ** -25, 3 * 2 ** -25), [
    0x3c00,
    0x3c00,
    0x3c02,
    0x7bff,
    0,
    2,
  ]);
  for (const dtype of ["BF16", "F16"] as const) {
    assert(Number.isNaN(toFloat32(dtype, encodeTensor(dtype, Float32Array.of(NaN)))[0]));
  }
  // A NaN whose payload is only in the lower half must not become an infinity.
  assert(
    Number.isNaN(
      toFloat32("BF16", encodeTensor("BF16", new Float32Array(Uint32Array.of(0x7f800001).buffer)))[0],
    ),
  );
  assertThrows(() => encodeTensor("F16", Float32Array.of(65520)), RangeError, "too large for F16");
  assertThrows(
    () => encodeTensor("BF16", Float32Array.of(3.4028234663852886e38)),
    RangeError,
    "too large for BF16",
  );
  assertThrows(() => encodeTensor("I32", Float32Array.of(1)), TypeError, "cannot be written as I32");
});

Deno.test("bytes that begin at an odd address decode as well", () => {
  const shifted = new Uint8Array(9);
  shifted.set(new Uint8Array(Float32Array.of(1.5, -2).buffer), 1);
  assertEquals(decodeTensor("F32", shifted.subarray(1)), Float32Array.of(1.5, -2));
});

Deno.test("parts and pieces of a tensor are read without the rest", async () => {
  const files = memoryFiles();
  const values = Float32Array.from({ length: 21 }, (_, i) => i - 10);
  await files.writeAtomic(
    "m.safetensors",
    safetensorsBytes([{ name: "m", dtype: "BF16", shape: [7, 3] }], () => values),
  );
  const read: number[] = [];
  const counted: Files = {
    ...files,
    readRange: (path, start, end) => (read.push(end - start), files.readRange(path, start, end)),
  };
  const header = await readSafetensorsHeader(counted, "m.safetensors");
  read.length = 0;
  const some = await readNumbers(counted, header, "m", 5, 12);
  assertEquals(some.format, "bf16");
  assertEquals(floatsOf(some), values.subarray(5, 12));
  assertEquals(read, [14]);
  const pieces: number[][] = [];
  for await (const piece of streamTensor(counted, header, "m", 8)) pieces.push([...piece]);
  assertEquals(pieces.map((piece) => piece.length), [8, 8, 5]);
  assertEquals(pieces.flat(), [...values]);
  await assertRejects(() => readNumbers(files, header, "m", 5, 22), RangeError, "elements 5 to 22");
  await assertRejects(
    () => readTensor(files, header, "n"),
    DamagedFileError,
    'm.safetensors has no tensor "n"',
  );
});

Deno.test("a tensor may be written in pieces; one number too few or too many is an error", async () => {
  const files = memoryFiles();
  const plan: TensorPlan = { name: "t", dtype: "F32", shape: [5] };
  async function* pieces(...lengths: number[]) {
    for (const length of lengths) yield await Promise.resolve(new Float32Array(length).fill(length));
  }
  await files.writeAtomic("ok", safetensorsBytes([plan], () => pieces(2, 0, 3)));
  const header = await readSafetensorsHeader(files, "ok");
  assertEquals(await readTensor(files, header, "t"), Float32Array.of(2, 2, 3, 3, 3));
  await assertRejects(
    () => files.writeAtomic("few", safetensorsBytes([plan], () => pieces(4))),
    RangeError,
    "given 4",
  );
  await assertRejects(
    () => files.writeAtomic("many", safetensorsBytes([plan], () => pieces(6))),
    RangeError,
    "given more",
  );
  await assertRejects(
    () => files.writeAtomic("two", safetensorsBytes([plan, plan], () => pieces(5))),
    TypeError,
    'named "t"',
  );
  assertEquals(await files.exists("few"), false);
});

const tensor = (dtype: string, shape: unknown, offsets: unknown) => ({ dtype, shape, data_offsets: offsets });
const lies: [string, string | Uint8Array, number, RegExp][] = [
  ["an empty file", new Uint8Array(), 0, /0 bytes, fewer than the 8/],
  [
    "a length beyond the file",
    withLength(1000n, "{}"),
    0,
    /header should end at byte 1008 but the file ends at 10/,
  ],
  ["an absurd length", withLength(2n ** 63n, "{}"), 0, /header of 9223372036854775808 bytes/],
  ["a header just too long", withLength(100_000_001n, "{}"), 0, /header of 100000001 bytes/],
  ["no JSON", "{nope", 0, /not valid JSON/],
  ["JSON that does not begin at once", ' {"a":1}', 0, /does not begin with \{/],
  ["a list", "[]", 0, /does not begin with/],
  ["bytes that are not UTF-8", withLength(2n, Uint8Array.of(0x7b, 0xff)), 0, /not UTF-8/],
  [
    "a name twice",
    '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\\u0061":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
    1,
    /names "a" twice/,
  ],
  [
    "a field twice",
    '{"a":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}}',
    1,
    /names "shape" twice/,
  ],
  [
    "an unknown dtype",
    JSON.stringify({ a: tensor("F12", [1], [0, 1]) }),
    1,
    /tensor "a" has the dtype "F12"/,
  ],
  [
    "a dtype from the prototype",
    JSON.stringify({ a: tensor("toString", [1], [0, 1]) }),
    1,
    /dtype "toString"/,
  ],
  ["a negative length", JSON.stringify({ a: tensor("U8", [-1], [0, 1]) }), 1, /shape \[-1\]/],
  ["half a length", JSON.stringify({ a: tensor("U8", [1.5], [0, 1]) }), 1, /shape \[1\.5\]/],
  ["a shape in words", JSON.stringify({ a: tensor("U8", "[1]", [0, 1]) }), 1, /not a list of whole numbers/],
  [
    "a product beyond all numbers",
    JSON.stringify({ a: tensor("F32", [2 ** 40, 2 ** 40, 0], [0, 0]) }),
    0,
    /absurd shape/,
  ],
  [
    "offsets backwards",
    JSON.stringify({ a: tensor("U8", [1], [2, 1]) }),
    2,
    /ends at byte 1, before it begins at 2/,
  ],
  ["three offsets", JSON.stringify({ a: tensor("U8", [1], [0, 1, 2]) }), 2, /not two whole numbers/],
  [
    "an end beyond the file",
    JSON.stringify({ a: tensor("U8", [9], [0, 9]) }),
    4,
    /should end at byte 9 of the data, which has 4/,
  ],
  [
    "a shape that needs other bytes",
    JSON.stringify({ a: tensor("F32", [2], [0, 4]) }),
    4,
    /in F32 needs 8 bytes but is given 4/,
  ],
  [
    "an overlap",
    JSON.stringify({ a: tensor("U8", [4], [0, 4]), b: tensor("U8", [4], [2, 6]) }),
    6,
    /tensor "b" overlaps tensor "a"/,
  ],
  [
    "a hole",
    JSON.stringify({ a: tensor("U8", [2], [0, 2]), b: tensor("U8", [2], [4, 6]) }),
    6,
    /2 bytes between tensor "a" and tensor "b"/,
  ],
  [
    "a hole before all",
    JSON.stringify({ a: tensor("U8", [2], [1, 3]) }),
    3,
    /1 bytes between the header and tensor "a"/,
  ],
  ["bytes after all", JSON.stringify({ a: tensor("U8", [2], [0, 2]) }), 3, /1 bytes after tensor "a"/],
  ["metadata that is not text", JSON.stringify({ __metadata__: { a: 1 } }), 0, /__metadata__/],
  ["a tensor that is a number", '{"a":1}', 0, /entry for tensor "a" is not an object/],
  [
    "a shape nested without end",
    `{"a":{"dtype":"U8","shape":${"[".repeat(200_000)}${"]".repeat(200_000)},"data_offsets":[0,1]}}`,
    1,
    /shape|JSON/,
  ],
];
for (const [what, header, dataBytes, message] of lies) {
  Deno.test(`a safetensors file with ${what} is refused in one sentence`, async () => {
    const start = typeof header === "string"
      ? withLength(BigInt(new TextEncoder().encode(header).length), header)
      : header;
    const file = new Uint8Array(start.length + dataBytes);
    file.set(start);
    const error = await assertRejects(
      () => readSafetensorsHeader(memoryFiles({ "bad.safetensors": file }), "bad.safetensors"),
      DamagedFileError,
    );
    assertMatch(error.message, message);
    assertMatch(error.message, /^bad\.safetensors .*\.$/);
    assert(error.message.length < 400);
  });
}

Deno.test("a thousand damaged files end in a DamagedFileError or in a file whose every byte is still accounted for", async () => {
  const golden = await Deno.readFile(GOLDEN);
  const random = lcg(20260101);
  let refused = 0;
  for (let round = 0; round < 1000; round++) {
    const file = damage(golden, random);
    const files = memoryFiles({ f: file });
    const guarded: Files = {
      ...files,
      readRange: (path, start, end) => {
        assert(
          start >= 0 && end <= file.length,
          `round ${round} reads bytes ${start} to ${end} of ${file.length}`,
        );
        return files.readRange(path, start, end);
      },
    };
    try {
      const header = await readSafetensorsHeader(guarded, "f");
      let bytes = 0;
      for (const { name, start, end, shape } of header.tensors.values()) {
        bytes += end - start;
        const values = await readTensorValues(guarded, header, name);
        assertEquals(values.length, shape.reduce((product, length) => product * length, 1), `round ${round}`);
      }
      assertEquals(
        bytes + 8 + Number(new DataView(file.buffer).getBigUint64(0, true)),
        file.length,
        `round ${round}`,
      );
    } catch (error) {
      if (!(error instanceof DamagedFileError)) {
        throw new Error(`round ${round} ended in ${error}`, { cause: error });
      }
      assertMatch(error.message, /^f is not a usable safetensors file: [^]+\.$/);
      refused++;
    }
  }
  // Damage to values alone cannot be seen; damage to the header nearly always must be.
  assert(refused > 700, `only ${refused} were refused`);
});

/** Cuts, extends, flips bits, swaps digits or splices the header of a copy. */
function damage(original: Uint8Array, random: () => number): Uint8Array {
  const headerEnd = 8 + Number(new DataView(original.buffer).getBigUint64(0, true));
  const below = (n: number) => Math.floor(random() * n);
  let file = original.slice();
  for (let times = 1 + below(3); times > 0; times--) {
    switch (below(6)) {
      case 0:
        file = file.slice(0, below(file.length + 1));
        break;
      case 1: {
        const longer = new Uint8Array(file.length + 1 + below(64));
        longer.set(file);
        file = longer;
        break;
      }
      case 2:
        if (file.length > 0) file[below(Math.min(headerEnd, file.length))] ^= 1 << below(8);
        break;
      case 3:
        if (file.length > 0) file[below(Math.min(8, file.length))] = below(256);
        break;
      case 4: {
        // One digit for another: offsets, shapes and dtypes that lie but parse.
        const digits: number[] = [];
        for (let i = 8; i < Math.min(headerEnd, file.length); i++) {
          if (file[i] >= 48 && file[i] <= 57) digits.push(i);
        }
        if (digits.length > 0) file[digits[below(digits.length)]] = 48 + below(10);
        break;
      }
      case 5: {
        const from = below(file.length), to = below(file.length);
        file.copyWithin(to, from, from + below(200));
        break;
      }
    }
  }
  return file;
}

function lcg(seed: number): () => number {
  let state = seed >>> 0;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}

function withLength(length: bigint, content: string | Uint8Array): Uint8Array {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  const file = new Uint8Array(8 + bytes.length);
  new DataView(file.buffer).setBigUint64(0, length, true);
  file.set(bytes, 8);
  return file;
}

async function goldenValues(): Promise<Map<string, (number | string)[]>> {
  const text = await Deno.readTextFile(new URL("../oracles/safetensors_golden.jsonl", import.meta.url));
  return new Map(
    text.trim().split("\n").map((line) => JSON.parse(line)).map(({ name, values }) => [name, values]),
  );
}

function present(url: URL): Promise<boolean> {
  return Deno.stat(url).then(() => true, () => false);
}
