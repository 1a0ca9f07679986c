import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import {
  bytes,
  embedded,
  encode,
  type Encoded,
  float,
  integer,
  message,
  text,
} from "../../../lab/onnx/protobuf.ts";

async function written(encoded: Encoded): Promise<number[]> {
  const all: number[] = [];
  for await (const piece of encode(encoded)) all.push(...piece);
  assertEquals(all.length, encoded.bytes);
  return all;
}

const streamed = (parts: number[][], bytes = parts.flat().length) => ({
  bytes,
  async *stream() {
    for (const part of parts) yield await Promise.resolve(Uint8Array.from(part));
  },
});

// The examples of the format's own documentation (protobuf.dev, "Encoding").
Deno.test("fields are encoded as the format's documentation shows", async () => {
  assertEquals(await written(integer(1, 150)), [0x08, 0x96, 0x01]);
  assertEquals(await written(integer(1, -2)), [
    0x08,
    0xfe,
    0xff,
    0xff,
    0xff,
    0xff,
    0xff,
    0xff,
    0xff,
    0xff,
    0x01,
  ]);
  assertEquals(await written(text(2, "testing")), [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]);
  assertEquals(await written(embedded(3, integer(1, 150))), [0x1a, 0x03, 0x08, 0x96, 0x01]);
  assertEquals(await written(float(2, -0.5)), [0x15, 0, 0, 0, 0xbf]);
  assertEquals(await written(integer(20, 7)), [0xa0, 0x01, 0x07]);
  assertEquals(await written(integer(3, 2n ** 40n)), [0x18, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20]);
});

Deno.test("bytes that are streamed stand where bytes at hand would, however they come", async () => {
  const whole = message(
    integer(1, 1),
    embedded(2, message(bytes(9, Uint8Array.of(1, 2, 3, 4, 5)), text(8, "w"))),
  );
  for (const parts of [[[1, 2, 3, 4, 5]], [[1], [], [2, 3], [4, 5]]]) {
    const piecewise = message(integer(1, 1), embedded(2, message(bytes(9, streamed(parts)), text(8, "w"))));
    assertEquals(await written(piecewise), await written(whole));
  }
});

Deno.test("a stream of another length than was announced is no file", async () => {
  for (const length of [2, 4]) {
    await assertRejects(() => written(bytes(9, streamed([[1, 2, 3]], length))), RangeError, "3 came");
  }
});
