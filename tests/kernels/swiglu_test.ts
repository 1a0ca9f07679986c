import { assertThrows } from "deno-std/assert/mod.js";
import { swiglu, swigluReference } from "../../kernels/swiglu.ts";
import { assertClose, assertGradient, gpuTest, normals, parameter } from "./testing.ts";

for (const [T, F] of [[1, 1], [5, 7], [3, 172], [130, 256]]) {
  gpuTest(`swiglu and its gradient agree with f64 at [${T}, ${F}]`, async (gpu) => {
    const data = normals(2 * T * F, 1, 3), dys = normals(T * F, 2);
    const gateUp = parameter(gpu, data, [T, 2 * F], "gateUp");
    const y = gpu.scope(() =>
      gpu.keep(gpu.differentiate(() => swiglu(gpu, gateUp), gpu.from(dys, [T, F], "dy")))
    );
    const [actual, dgateUp] = await gpu.read(y, gateUp.grad!);
    const expected = swigluReference(data, F, dys);
    assertClose(actual, expected.y, 1e-5, "y");
    assertClose(dgateUp, expected.dgateUp, 1e-5, "dgateUp");
    const loss = (point: Float64Array) =>
      swigluReference(point, F).y.reduce((sum, v, i) => sum + v * dys[i], 0);
    assertGradient(loss, data, expected.dgateUp);
    gpu.scope(() => gpu.differentiate(() => swiglu(gpu, gateUp), gpu.from(dys, [T, F], "dy")));
    const [twice] = await gpu.read(gateUp.grad!);
    assertClose(twice, expected.dgateUp.map((v) => 2 * v), 1e-5, "dgateUp, accumulated");
  });
}

gpuTest("swiglu stays finite where the gate is far from zero", async (gpu) => {
  const data = new Float32Array([-200, -50, 50, 200, 2, 2, 2, 2]);
  const [y] = await gpu.read(gpu.scope(() => gpu.keep(swiglu(gpu, gpu.from(data, [1, 8], "gateUp")))));
  assertClose(y, [0, 0, 100, 400], 1e-6);
});

gpuTest("swiglu refuses an odd number of columns", (gpu) => {
  assertThrows(() => gpu.scope(() => swiglu(gpu, gpu.empty([2, 3], "x"))), Error, "x [2,3]");
});
