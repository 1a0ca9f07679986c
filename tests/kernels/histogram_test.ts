import { assert, assertEquals } from "deno-std/assert/mod.js";
import type { Gpu } from "../../kernels/gpu.ts";
import {
  type Counted,
  histogram,
  histogramBins,
  histogramEdges,
  histogramReference,
  readHistogram,
} from "../../kernels/histogram.ts";
import { type Matrix, matrixOf, rowsOf } from "../../kernels/matrix.ts";
import { asIf, assertClose, gpuTest, normals, strangeNumbers } from "./testing.ts";

async function counted(gpu: Gpu, matrix: Matrix, scale = 1): Promise<Counted> {
  const { counts, partial } = gpu.scope(() => histogram(gpu, matrix, scale));
  const [[integers], [floats]] = [await gpu.readU32(counts), await gpu.read(partial)];
  for (const tensor of [counts, partial]) gpu.release(tensor);
  return readHistogram(integers, floats, scale);
}

function assertSame(actual: Counted, expected: Counted): void {
  const { sum, squares, ...rest } = actual;
  const { sum: expectedSum, squares: expectedSquares, ...expectedRest } = expected;
  assertEquals(rest, expectedRest);
  assertClose([squares], [expectedSquares], 1e-5, "squares");
  assert(
    Math.abs(sum - expectedSum) <= 1e-5 * Math.sqrt(expectedSquares) + 1e-30,
    `${sum} is not ${expectedSum}`,
  );
}

for (const software of [true, false]) {
  for (const size of [1, 7, 1000, 100_003]) {
    gpuTest(
      `histogram of ${size} numbers agrees with the host, ${software ? "for CPUs" : "for GPUs"}`,
      async (gpu) => {
        const x = strangeNumbers(size, size, 13);
        const tensor = gpu.from(x, [size], "x");
        const actual = await asIf(gpu, software, () => counted(gpu, matrixOf(tensor)));
        assertSame(actual, histogramReference(x));
        gpu.release(tensor);
      },
    );
  }
}

gpuTest("histogram adds up tensors and rows of the middle of one, and finds the first stray", async (gpu) => {
  const x = normals(100 * 30, 4);
  x[1234] = NaN;
  x[2000] = -Infinity;
  const tensors = [[0, 10], [10, 70], [70, 100]].map(([from, to]) =>
    gpu.from(x.slice(from * 30, to * 30), [to - from, 30], `rows ${from}`)
  );
  const matrix = matrixOf(...tensors);
  const all = await counted(gpu, matrix);
  assertSame(all, histogramReference(x));
  assertEquals(all.firstNonFinite, 1234);
  assertSame(await counted(gpu, rowsOf(matrix, 5, 80)), histogramReference(x.slice(150, 85 * 30)));
  for (const tensor of tensors) gpu.release(tensor);
});

gpuTest(
  "least and largest are exact where all numbers have one sign, or are zero, or none is finite",
  async (gpu) => {
    for (
      const list of [[1.5, 2.5, 1e-40], [-1.5, -2.5, -1e-3], [0, -3], [0, 3], [-0], [NaN, Infinity], [
        NaN,
        -7,
      ]]
    ) {
      const x = Float32Array.from(list);
      const tensor = gpu.from(x, [x.length], "x");
      const { min, max } = await counted(gpu, matrixOf(tensor));
      const expected = histogramReference(x);
      assertEquals(
        [min, max],
        [expected.min, expected.max].map((value) => value === 0 ? 0 : value),
        `of ${list}`,
      );
      gpu.release(tensor);
    }
  },
);

gpuTest(
  "every element of a large tensor is counted, on adapters that cut long loops short too",
  async (gpu) => {
    const size = 18_000_000, tensor = gpu.persistent([size], "x");
    gpu.upload(tensor, Float32Array.of(2, -3, Infinity), size - 3);
    const { zeros, positive, negative, plusInfinity, firstNonFinite, max } = await counted(
      gpu,
      matrixOf(tensor),
    );
    const all = [...positive, ...negative].reduce((sum, count) => sum + count, 0);
    assertEquals([zeros, all, plusInfinity, firstNonFinite, max], [size - 3, 2, 1, size - 1, 2]);
    gpu.drop(tensor);
  },
);

gpuTest("a scale keeps the squares of tiny numbers", async (gpu) => {
  const x = normals(5000, 3, 1e-30);
  const tensor = gpu.from(x, [5000], "x");
  const { squares } = await counted(gpu, matrixOf(tensor), 2 ** 100);
  assertClose([squares * 1e60], [histogramReference(x).squares * 1e60]);
  gpu.release(tensor);
});

Deno.test("edges rise, eight an octave, from zero to beyond the largest float", () => {
  assertEquals(histogramEdges.length, histogramBins + 1);
  assertEquals([histogramEdges[0], histogramEdges[127 * 8], histogramEdges[127 * 8 + 1]], [0, 1, 1.125]);
  for (let b = 0; b < histogramBins; b++) assert(histogramEdges[b] < histogramEdges[b + 1]);
  assert(histogramEdges[histogramBins] > 3.4028234e38);
});
