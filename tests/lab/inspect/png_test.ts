import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { encodePng } from "../../../lab/inspect/png.ts";

/** Reads what we write: one IDAT, no filters. Checks every length and CRC by a second implementation of the latter, bit by bit. */
async function decode(png: Uint8Array<ArrayBuffer>) {
  assertEquals([...png.subarray(0, 8)], [137, 80, 78, 71, 13, 10, 26, 10]);
  const view = new DataView(png.buffer);
  const chunks: Record<string, Uint8Array<ArrayBuffer>> = {};
  let at = 8;
  while (at < png.length) {
    const length = view.getUint32(at);
    const type = new TextDecoder().decode(png.subarray(at + 4, at + 8));
    let crc = 0xffffffff;
    for (const byte of png.subarray(at + 4, at + 8 + length)) {
      for (let bit = 0; bit < 8; bit++) {
        const odd = ((crc ^ (byte >> bit)) & 1) === 1;
        crc = odd ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
      }
    }
    assertEquals(view.getUint32(at + 8 + length), ~crc >>> 0, type);
    chunks[type] = png.slice(at + 8, at + 8 + length);
    at += 12 + length;
  }
  assertEquals(Object.keys(chunks), ["IHDR", "IDAT", "IEND"]);
  const header = new DataView(chunks.IHDR.buffer);
  const [width, height] = [header.getUint32(0), header.getUint32(4)];
  assertEquals([...chunks.IHDR.subarray(8)], [8, 6, 0, 0, 0]);
  const inflated = new Blob([chunks.IDAT]).stream().pipeThrough(new DecompressionStream("deflate"));
  const lines = new Uint8Array(await new Response(inflated).arrayBuffer());
  const pixels: number[] = [];
  for (let y = 0; y < height; y++) {
    assertEquals(lines[y * (1 + 4 * width)], 0);
    pixels.push(...lines.subarray(y * (1 + 4 * width) + 1, (y + 1) * (1 + 4 * width)));
  }
  return { width, height, pixels };
}

Deno.test("a PNG gives its pixels back, and enlarges without blur", async () => {
  const pixels = Uint8Array.from({ length: 4 * 7 * 5 }, (_, i) => (i * 37) % 256);
  assertEquals(await decode(await encodePng(pixels, 7, 5)), { width: 7, height: 5, pixels: [...pixels] });
  const large = await decode(await encodePng(pixels, 7, 5, 3));
  assertEquals([large.width, large.height], [21, 15]);
  for (let y = 0; y < 15; y++) {
    for (let x = 0; x < 21; x++) {
      const from = 4 * (Math.floor(y / 3) * 7 + Math.floor(x / 3)), to = 4 * (y * 21 + x);
      assertEquals(large.pixels.slice(to, to + 4), [...pixels.subarray(from, from + 4)]);
    }
  }
});

Deno.test("pixels that are not as many as said are refused", async () => {
  await assertRejects(() => encodePng(new Uint8Array(12), 2, 2), RangeError, "12 bytes are not 2 × 2 pixels");
  await assertRejects(() => encodePng(new Uint8Array(0), 0, 2), RangeError);
});
