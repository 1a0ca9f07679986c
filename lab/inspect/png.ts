/** Pixels as a PNG file (ISO/IEC 15948), for outputs that other notebooks' readers show. */

const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/**
 * Encodes 8-bit RGBA pixels.
 * @param pixels [height, width, 4]
 * @param times how many pixels across and down each of them becomes: an enlargement without blur
 */
export async function encodePng(
  pixels: Uint8Array | Uint8ClampedArray,
  width: number,
  height: number,
  times = 1,
): Promise<Uint8Array<ArrayBuffer>> {
  if (pixels.length !== 4 * width * height || width * height === 0) {
    throw new RangeError(`${pixels.length} bytes are not ${width} × ${height} pixels of RGBA.`);
  }
  const across = width * times, down = height * times;
  const lines = new Uint8Array(down * (1 + 4 * across)); // each line begins with its filter: 0, none
  for (let y = 0; y < down; y++) {
    const line = y * (1 + 4 * across) + 1, from = Math.floor(y / times) * width;
    for (let x = 0; x < across; x++) {
      const pixel = 4 * (from + Math.floor(x / times));
      lines.set(pixels.subarray(pixel, pixel + 4), line + 4 * x);
    }
  }
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, across);
  view.setUint32(4, down);
  header.set([8, 6], 8); // eight bits a channel, RGBA
  const chunks = [
    Uint8Array.from(signature),
    chunk("IHDR", header),
    chunk("IDAT", await deflated(lines)),
    chunk("IEND", new Uint8Array()),
  ];
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

/** In zlib's format, which is what "deflate" means here and in PNG. */
async function deflated(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function chunk(type: string, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = crcTable[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}
