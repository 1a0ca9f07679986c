import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import {
  attention,
  attentionReference,
  type AttentionShape,
  attentionWithNormaliser,
} from "../../kernels/attention.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { packSequences, uploadPacking } from "../../kernels/packing.ts";
import { assertClose, assertGradient, gpuTest, normals, parameter, testRuntime } from "./testing.ts";

const batches = [[1], [2, 1, 3], [17, 64, 1], [65, 130, 3]];
const shapes: AttentionShape[] = [
  { queryHeads: 14, keyValueHeads: 2, headDim: 64 },
  { queryHeads: 7, keyValueHeads: 1, headDim: 44 },
  { queryHeads: 2, keyValueHeads: 1, headDim: 128 },
  { queryHeads: 4, keyValueHeads: 2, headDim: 32 }, // the largest for the software kernels
  { queryHeads: 1, keyValueHeads: 1, headDim: 24 },
  { queryHeads: 8, keyValueHeads: 4, headDim: 8 },
  { queryHeads: 4, keyValueHeads: 2, headDim: 16 },
];

/** The software kernels serve Deno's own WebGPU only; see uploadPacking. */
const variants: ("gpu" | "software")[] = testRuntime === "native" ? ["gpu", "software"] : ["gpu"];

Deno.test({
  name: "the software kernels of attention are tested on Deno's own WebGPU, not here",
  ignore: testRuntime !== "native",
  fn: () => assertEquals(variants, ["gpu", "software"]),
});

function widthOf({ queryHeads, keyValueHeads, headDim }: AttentionShape): number {
  return (queryHeads + 2 * keyValueHeads) * headDim;
}

/** Forward and backward on the device: o and dqkv. */
function run(
  gpu: Gpu,
  data: Float32Array<ArrayBuffer>,
  dys: Float32Array<ArrayBuffer>,
  lengths: number[],
  shape: AttentionShape,
  variant?: "gpu" | "software",
) {
  const T = lengths.reduce((a, b) => a + b);
  const qkv = parameter(gpu, data, [T, widthOf(shape)], "qkv");
  const o = gpu.scope(() => {
    const packing = uploadPacking(gpu, packSequences(lengths), variant && [variant]);
    const dy = gpu.from(dys, [T, shape.queryHeads * shape.headDim], "dy");
    return gpu.keep(gpu.differentiate(() => attention(gpu, qkv, packing, shape), dy));
  });
  return { o, dqkv: qkv.grad! };
}

function name({ queryHeads, keyValueHeads, headDim }: AttentionShape): string {
  return `${queryHeads}/${keyValueHeads} heads of ${headDim}`;
}

for (
  const [variant, shape, lengths] of variants.flatMap((variant) =>
    shapes.filter(({ headDim }) => variant === "gpu" || headDim <= 32).flatMap((shape) =>
      batches.map((lengths) => [variant, shape, lengths] as const)
    )
  )
) {
  gpuTest(
    `attention (${variant}) and its gradients agree with f64 for ${name(shape)}, lengths ${lengths}`,
    async (gpu) => {
      const T = lengths.reduce((a, b) => a + b), width = widthOf(shape);
      const data = normals(T * width, 1), dys = normals(T * shape.queryHeads * shape.headDim, 2);
      const expected = attentionReference(data, lengths, shape, dys);
      const { o, lse } = gpu.scope(() => {
        const { o, lse } = attentionWithNormaliser(
          gpu,
          gpu.from(data, [T, width], "qkv"),
          uploadPacking(gpu, packSequences(lengths), [variant]),
          shape,
        );
        return { o, lse };
      });
      const trained = run(gpu, data, dys, lengths, shape, variant);
      const [actual, normaliser, again, dqkv] = await gpu.read(o, lse, trained.o, trained.dqkv);
      assertClose(actual, expected.o, 1e-5, "o");
      assertClose(normaliser, expected.lse, 1e-5, "lse");
      assertEquals(again, actual);
      assertClose(dqkv, expected.dqkv, 3e-5, "dqkv");
    },
  );
}

interface Golden {
  lengths: number[];
  queryHeads: number;
  keyValueHeads: number;
  headDim: number;
  qkv: number[];
  dy: number[];
  o: number[];
  lse: number[];
  dqkv: number[];
}

/** Written by tests/oracles/attention.py. */
const goldens: Golden[] = JSON.parse(
  Deno.readTextFileSync(new URL("../oracles/golden/attention.json", import.meta.url)),
);

for (const golden of goldens) {
  gpuTest(
    `attention and its gradient agree with PyTorch for ${name(golden)}, lengths ${golden.lengths}`,
    async (gpu) => {
      const expected = attentionReference(golden.qkv, golden.lengths, golden, golden.dy);
      assertClose(expected.o, golden.o, 1e-6, "o in f64");
      assertClose(expected.lse, golden.lse, 1e-6, "lse in f64");
      assertClose(expected.dqkv, golden.dqkv, 1e-6, "dqkv in f64");
      const qkv = Float32Array.from(golden.qkv), dy = Float32Array.from(golden.dy);
      for (const variant of variants) {
        const { o, dqkv } = run(gpu, qkv, dy, golden.lengths, golden, variant);
        const [actual, gradient] = await gpu.read(o, dqkv);
        assertClose(actual, golden.o, 1e-5, `o (${variant})`);
        assertClose(gradient, golden.dqkv, 3e-5, `dqkv (${variant})`);
      }
    },
  );
}

Deno.test("the f64 attention has the gradient that its slopes say", () => {
  const lengths = [3, 7, 1], shape = { queryHeads: 4, keyValueHeads: 2, headDim: 8 };
  const data = normals(11 * widthOf(shape), 3), dys = normals(11 * 32, 4);
  const { dqkv } = attentionReference(data, lengths, shape, dys);
  const loss = (point: Float64Array) =>
    attentionReference(point, lengths, shape).o.reduce((sum, v, i) => sum + v * dys[i], 0);
  assertGradient(loss, data, dqkv, { samples: 40 });
});

for (const variant of variants) {
  gpuTest(`attention (${variant}) stays exact with scores in the thousands`, async (gpu) => {
    const lengths = [40], shape = { queryHeads: 2, keyValueHeads: 1, headDim: 16 };
    const data = normals(40 * widthOf(shape), 5, 30), dys = normals(40 * 32, 6);
    const { o } = run(gpu, data, dys, lengths, shape, variant);
    const [actual] = await gpu.read(o);
    assertClose(actual, attentionReference(data, lengths, shape).o, 2e-3, "o");
  });

  gpuTest(
    `attention (${variant}) adds to a gradient that exists already, in all three parts`,
    async (gpu) => {
      const lengths = [5, 33], shape = { queryHeads: 4, keyValueHeads: 2, headDim: 16 };
      const width = widthOf(shape), data = normals(38 * width, 7), dys = normals(38 * 64, 8);
      const qkv = parameter(gpu, data, [38, width], "qkv");
      const held = normals(38 * width, 9);
      gpu.upload(qkv.grad!, held);
      gpu.scope(() => {
        const packing = uploadPacking(gpu, packSequences(lengths), [variant]);
        gpu.differentiate(() => attention(gpu, qkv, packing, shape), gpu.from(dys, [38, 64], "dy"));
      });
      const [actual] = await gpu.read(qkv.grad!);
      const { dqkv } = attentionReference(data, lengths, shape, dys);
      assertClose(actual, dqkv.map((value, i) => value + held[i]), 3e-5, "dqkv");
    },
  );

  gpuTest(
    `attention (${variant}): changing one sequence, even to NaN, changes no bit of another's output or gradient`,
    async (gpu) => {
      const lengths = [30, 67, 5], shape = { queryHeads: 4, keyValueHeads: 2, headDim: 16 };
      const width = widthOf(shape), data = normals(102 * width, 10), dys = normals(102 * 64, 11);
      const changed = data.map((value, i) => i >= 30 * width && i < 97 * width ? NaN : value);
      const before = run(gpu, data, dys, lengths, shape, variant),
        after = run(gpu, changed, dys, lengths, shape, variant);
      const [o, dqkv, o2, dqkv2] = await gpu.read(before.o, before.dqkv, after.o, after.dqkv);
      for (const [first, end] of [[0, 30], [97, 102]]) {
        assertEquals(o2.slice(first * 64, end * 64), o.slice(first * 64, end * 64));
        assertEquals(dqkv2.slice(first * width, end * width), dqkv.slice(first * width, end * width));
      }
    },
  );

  gpuTest(`attention (${variant}): later tokens change no bit of an earlier token's output`, async (gpu) => {
    const shape = { queryHeads: 4, keyValueHeads: 2, headDim: 16 }, width = widthOf(shape);
    const data = normals(70 * width, 12), dys = new Float32Array(70 * 64);
    const changed = data.map((value, i) => i >= 41 * width ? -value : value);
    const [o, o2] = await gpu.read(
      run(gpu, data, dys, [70], shape, variant).o,
      run(gpu, changed, dys, [70], shape, variant).o,
    );
    assertEquals(o2.slice(0, 41 * 64), o.slice(0, 41 * 64));
  });
}

gpuTest("shapes that disagree are refused by name", (gpu) => {
  gpu.scope(() => {
    const packing = uploadPacking(gpu, packSequences([3]));
    const qkv = gpu.empty([3, 128], "qkv");
    const refused = (tokens: number, shape: AttentionShape) =>
      assertThrows(() =>
        attention(gpu, tokens === 3 ? qkv : gpu.empty([tokens, 128], "qkv"), packing, shape)
      );
    refused(3, { queryHeads: 4, keyValueHeads: 1, headDim: 16 }); // rows of 96
    refused(3, { queryHeads: 3, keyValueHeads: 2, headDim: 16 });
    refused(3, { queryHeads: 6, keyValueHeads: 1, headDim: 18 });
    refused(4, { queryHeads: 4, keyValueHeads: 2, headDim: 16 });
  });
});
