import { assertThrows } from "deno-std/assert/mod.js";
import { scalarHead, scalarHeadReference } from "../../kernels/scalar_head.ts";
import { assertClose, assertGradient, gpuTest, normals, parameter } from "./testing.ts";

const cases = [[1, 1], [3, 5], [70, 64], [130, 200]].flatMap((shape) =>
  ["tree", "serial"].map((variant) => ({ shape, variant }))
);
for (const { shape: [R, D], variant } of cases) {
  gpuTest(`the ${variant} scalar head and its gradients agree with f64 at [${R}, ${D}]`, async (gpu) => {
    gpu.choices.set("scalarHead", variant);
    const data = normals(R * D, 1), weights = normals(D, 2), dys = normals(R, 3);
    const hidden = parameter(gpu, data, [R, D], "hidden"), weight = parameter(gpu, weights, [D], "weight");
    const bias = parameter(gpu, new Float32Array([0.5]), [1], "bias");
    const run = (offset: number) =>
      gpu.scope(() =>
        gpu.keep(
          gpu.differentiate(() => scalarHead(gpu, hidden, weight, bias, offset), gpu.from(dys, [R], "dy")),
        )
      );
    const y = run(-1.25);
    const [actual, dhidden, dweight, dbias] = await gpu.read(y, hidden.grad!, weight.grad!, bias.grad!);
    const expected = scalarHeadReference(data, weights, 0.5, -1.25, dys);
    assertClose(actual, expected.y, 1e-5, "y");
    assertClose(dhidden, expected.dhidden, 1e-5, "dhidden");
    assertClose(dweight, expected.dweight, 1e-5, "dweight");
    assertClose(dbias, [expected.dbias], 1e-5, "dbias");
    const loss = (point: Float64Array) =>
      scalarHeadReference(data, point, 0.5, 0).y.reduce((sum, v, i) => sum + v * dys[i], 0);
    assertGradient(loss, weights, expected.dweight);
    run(0);
    const [, twice, twiceBias] = await gpu.read(hidden.grad!, weight.grad!, bias.grad!);
    assertClose(twice, expected.dweight.map((v) => 2 * v), 1e-5, "dweight, accumulated");
    assertClose(twiceBias, [2 * expected.dbias], 1e-5, "dbias, accumulated");
    gpu.choices.delete("scalarHead");
  });
}

gpuTest(
  "the scalar head takes its offset from a buffer and refuses a weight of the wrong size",
  async (gpu) => {
    const [y] = await gpu.scope(() => {
      const tensor = (data: number[], shape: number[]) => gpu.from(Float32Array.from(data), shape, "tensor");
      const hidden = tensor([1, 2, 3, 4], [2, 2]),
        weight = tensor([10, 1], [1, 2]),
        bias = tensor([0.5], [1]);
      assertThrows(() => scalarHead(gpu, hidden, tensor([1, 2, 3], [3]), bias), Error, "rows of 2");
      return gpu.read(gpu.keep(scalarHead(gpu, hidden, weight, bias, tensor([7], [1]))));
    });
    assertClose(y, [5.5, 27.5]);
  },
);
