import { rmsnorm, rmsnormReference } from "../../kernels/rmsnorm.ts";
import { assertClose, assertGradient, gpuTest, normals, parameter } from "./testing.ts";

for (const [T, D] of [[1, 2], [3, 5], [70, 64], [129, 200]]) {
  gpuTest(`rmsnorm and its gradients agree with f64 at [${T}, ${D}]`, async (gpu) => {
    const data = normals(T * D, 1), weights = normals(D, 2), dys = normals(T * D, 3);
    const x = parameter(gpu, data, [T, D], "x"), weight = parameter(gpu, weights, [D], "weight");
    const y = gpu.scope(() =>
      gpu.keep(gpu.differentiate(() => rmsnorm(gpu, x, weight, 1e-6), gpu.from(dys, [T, D], "dy")))
    );
    const [actual, dx, dweight] = await gpu.read(y, x.grad!, weight.grad!);
    const expected = rmsnormReference(data, weights, 1e-6, dys);
    assertClose(actual, expected.y, 1e-5, "y");
    assertClose(dx, expected.dx, 1e-5, "dx");
    assertClose(dweight, expected.dweight, 1e-5, "dweight");
    const loss = (point: Float64Array) =>
      rmsnormReference(point, weights, 1e-6).y.reduce((sum, v, i) => sum + v * dys[i], 0);
    assertGradient(loss, data, expected.dx);
  });
}
