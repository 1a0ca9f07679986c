import { assertEquals } from "deno-std/assert/mod.js";
import { noStray, type StoredFormat, widen, widenReference } from "../../kernels/widen.ts";
import { gpuTest } from "./testing.ts";

for (const format of ["bf16", "f16"] as const) {
  gpuTest(`every one of the 65,536 ${format} patterns becomes the f32 of the same value`, async (gpu) => {
    const patterns = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const target = gpu.persistent([65536], "target");
    const first = gpu.persistent([1], "first", "u32");
    gpu.upload(first, Uint32Array.of(noStray));
    widen(gpu, { format, bytes: new Uint8Array(patterns.buffer) }, { target, to: 0 }, {
      first,
      slot: 0,
      at: 0,
    });
    const [bits, [stray]] = await gpu.readU32(target, first);
    const values = new Float32Array(bits.buffer);
    for (let i = 0; i < 65536; i++) {
      const expected = widenReference(format, i);
      if (!Object.is(values[i], expected)) throw new Error(`pattern ${i} is ${values[i]}, not ${expected}`);
      // A NaN's payload is kept too: bf16 is the upper half of its f32.
      if (format === "bf16") assertEquals(bits[i], i * 65536);
    }
    assertEquals(stray, patterns.find((i) => !Number.isFinite(widenReference(format, i))));
    gpu.drop(target);
    gpu.drop(first);
  });
}

for (const format of ["bf16", "f16", "f32"] as const) {
  gpuTest(`${format} numbers of any count go to any place and touch nothing beside it`, async (gpu) => {
    for (const [size, to, stray] of [[1, 0, -1], [7, 3, 6], [8, 1, 0], [9, 5, -1], [1001, 64, 777]]) {
      await placed(gpu, format, size, to, stray);
    }
  });
}

/** @param stray which number is an infinity; −1: none */
async function placed(
  gpu: Parameters<Parameters<typeof gpuTest>[1]>[0],
  format: StoredFormat,
  size: number,
  to: number,
  stray: number,
) {
  const values = Float32Array.from({ length: size }, (_, i) => i === stray ? -Infinity : (i % 97) - 40);
  const stored = format === "f32"
    ? values
    : format === "f16"
    ? Float16Array.from(values)
    : Uint16Array.from(new Uint32Array(values.buffer), (word) => word >>> 16);
  // Off by two bytes from where typed arrays may begin, as in a larger buffer.
  const bytes = new Uint8Array(stored.byteLength + 2).subarray(2);
  bytes.set(new Uint8Array(stored.buffer));
  const target = gpu.persistent([to + size + 5], "target");
  const first = gpu.persistent([3], "first", "u32");
  gpu.upload(first, Uint32Array.of(noStray, noStray, noStray));
  widen(gpu, { format, bytes }, { target, to }, { first, slot: 1, at: 5000 });
  const [actual] = await gpu.read(target);
  assertEquals(actual, Float32Array.of(...new Array(to).fill(0), ...values, 0, 0, 0, 0, 0));
  const [strays] = await gpu.readU32(first);
  assertEquals(strays, Uint32Array.of(noStray, stray < 0 ? noStray : 5000 + stray, noStray));
  gpu.drop(target);
  gpu.drop(first);
}
