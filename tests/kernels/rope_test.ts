import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { rope, ropeReference } from "../../kernels/rope.ts";
import { assertClose, gpuTest, normals, parameter } from "./testing.ts";

const shapes = [
  { queryHeads: 14, keyValueHeads: 2, headDim: 64, theta: 1e6 },
  { queryHeads: 4, keyValueHeads: 2, headDim: 16, theta: 1e4 },
  { queryHeads: 1, keyValueHeads: 1, headDim: 24, theta: 1e4 },
  { queryHeads: 8, keyValueHeads: 4, headDim: 8, theta: 500 },
];
const positions = Uint32Array.of(0, 1, 2, 255, 256, 257, 1000, 4095, 32767, 65535, 0);

for (const shape of shapes) {
  const { queryHeads, keyValueHeads, headDim } = shape, width = (queryHeads + 2 * keyValueHeads) * headDim;
  const T = positions.length;
  const name = `${queryHeads}/${keyValueHeads} heads of ${headDim}`;

  gpuTest(`rope turns q and k as f64 does, up to position 65,535, for ${name}`, async (gpu) => {
    const data = normals(T * width, 1);
    const qkv = gpu.from(data, [T, width], "qkv");
    const rotated = rope(gpu, qkv, gpu.from(positions, [T], "positions"), shape);
    assertEquals(rotated.allocation, qkv.allocation);
    const [actual] = await gpu.read(rotated);
    assertClose(actual, ropeReference(data, positions, shape), 1e-6, "q and k");
    for (let t = 0; t < T; t++) {
      const v = t * width + (queryHeads + keyValueHeads) * headDim, end = (t + 1) * width;
      assertEquals(actual.slice(v, end), data.slice(v, end));
    }
  });

  gpuTest(`the gradient of rope turns back, and spares a seed that others hold, for ${name}`, async (gpu) => {
    const data = normals(T * width, 2), seeds = normals(T * width, 3);
    const qkv = parameter(gpu, data, [T, width], "qkv");
    const [dqkv, kept] = await gpu.read(...gpu.scope(() => {
      const seed = gpu.from(seeds, [T, width], "seed");
      const at = gpu.from(positions, [T], "positions");
      gpu.differentiate(() => rope(gpu, qkv, at, shape), seed);
      return [qkv.grad!, gpu.keep(seed)];
    }));
    assertClose(dqkv, ropeReference(seeds, positions, shape, -1), 1e-6, "dqkv");
    assertEquals(kept, seeds);
  });
}

Deno.test("a rotation by position 1 of a two-pair head is the published formula", () => {
  // With hd = 4 the angles are 1 and θ^(−1/2); rotate_half pairs channel 0 with 2, and 1 with 3.
  const actual = ropeReference([1, 0, 0, 1, 0, 0, 0, 0, 9, 9, 9, 9], [1], {
    queryHeads: 1,
    keyValueHeads: 1,
    headDim: 4,
    theta: 1e4,
  });
  assertClose(
    actual,
    [Math.cos(1), -Math.sin(0.01), Math.sin(1), Math.cos(0.01), 0, 0, 0, 0, 9, 9, 9, 9],
    1e-15,
  );
});

gpuTest("shapes that rope cannot serve are refused", (gpu) => {
  const qkv = gpu.empty([2, 48], "qkv"), at = gpu.from(Uint32Array.of(0, 1), [2], "positions");
  assertThrows(() => rope(gpu, qkv, at, { queryHeads: 2, keyValueHeads: 1, headDim: 12, theta: 1e4 }));
  assertThrows(() => rope(gpu, qkv, at, { queryHeads: 2, keyValueHeads: 1, headDim: 16, theta: 1e4 }));
});
