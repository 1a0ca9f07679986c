import { scale, weightedSum } from "../../kernels/elementwise.ts";
import { fold, mean, sum } from "../../kernels/reduce.ts";
import { assertClose, gpuTest, normals, parameter } from "./testing.ts";

gpuTest("a weighted sum of a mean and a scaled sum is differentiated through fan-out", async (gpu) => {
  const data = normals(1001, 1);
  const x = parameter(gpu, data, [1001], "x");
  const y = gpu.scope(() =>
    gpu.keep(gpu.differentiate(() => weightedSum(gpu, mean(gpu, x), 2, sum(gpu, scale(gpu, x, 3), 0.5), 0.1)))
  );
  const [actual, dx] = await gpu.read(y, x.grad!);
  const total = data.reduce((a, b) => a + b, 0);
  assertClose(actual, [2 * total / 1001 + 0.15 * total], 1e-4);
  assertClose(dx, new Float64Array(1001).fill(2 / 1001 + 0.15), 1e-5);
});

for (const size of [1, 15, 16, 17, 5000, 200_000]) {
  gpuTest(`the sum of ${size} elements agrees with f64`, async (gpu) => {
    const data = normals(size, 4).map((v) => v + 1);
    const [actual] = await gpu.scope(() => gpu.read(gpu.keep(sum(gpu, gpu.from(data, [size], "x")))));
    assertClose(actual, [data.reduce((a, b) => a + b, 0)], 1e-5);
  });
}

gpuTest(
  "folding adds the early columns, takes the maximum of the late ones, and accumulates",
  async (gpu) => {
    const rows = 700;
    const partial = Float32Array.from(
      { length: rows * 2 },
      (_, i) => i % 2 ? -5 - ((i * 37) % rows) : (i / 2) % 3,
    );
    const sums = gpu.persistent([2], "sums");
    gpu.upload(sums, new Float32Array([10, -100]));
    let expected = 0, largest = -Infinity;
    for (let c = 0; c < rows; c++) {
      expected += partial[2 * c];
      largest = Math.max(largest, partial[2 * c + 1]);
    }
    const [folded, first] = await gpu.scope(() => {
      const result = fold(gpu, gpu.from(partial, [rows, 2], "partial"), { maxFrom: 1, into: sums, scale: 2 });
      return gpu.read(result.sums, gpu.keep(result.first));
    });
    assertClose(folded, [expected + 10, largest], 1e-6);
    assertClose(first, [2 * expected], 1e-6);
  },
);
