import { adamw } from "../../kernels/adamw.ts";
import { matrixOf } from "../../kernels/matrix.ts";
import { updateNorm, updateNormReference } from "../../kernels/update_norm.ts";
import { assertClose, gpuTest, normals, parameter } from "./testing.ts";

const rule = { beta1: 0.9, beta2: 0.95, eps: 1e-5, step: 3 };
const norm = (partial: Float32Array) => Math.sqrt(partial.reduce((sum, x) => sum + x, 0));

for (const size of [1, 77, 70_000]) {
  gpuTest(`update_norm of ${size} numbers agrees with f64, from moments and from a gradient`, async (gpu) => {
    const m = normals(size, 1, 1e-3), v = normals(size, 2, 1e-3).map((x) => x * x);
    m[0] = NaN;
    const first = matrixOf(gpu.from(m, [size], "m")), second = matrixOf(gpu.from(v, [size], "v"));
    const [both, one] = [updateNorm(gpu, first, second, rule), updateNorm(gpu, first, undefined, rule)];
    const [actual, alone] = await gpu.read(both, one);
    assertClose([norm(actual)], [updateNormReference(m, v, rule)]);
    assertClose([norm(alone)], [updateNormReference(m, undefined, rule)]);
    for (const tensor of [both, one, first.parts[0].tensor, second.parts[0].tensor]) gpu.release(tensor);
  });
}

gpuTest("update_norm is how far adamw moves the weights", async (gpu) => {
  const size = 500, before = normals(size, 1);
  const weights = parameter(gpu, before, [size], "weights");
  const [gradients, firstMoment, secondMoment] = [2, 3, 4].map((seed) => {
    const tensor = gpu.persistent([size], `state ${seed}`);
    gpu.upload(tensor, normals(size, seed, 1e-2).map((x) => seed === 4 ? x * x : x));
    return tensor;
  });
  const learningRate = 1e-2;
  adamw(gpu, { weights, gradients, firstMoment, secondMoment }, { ...rule, learningRate, weightDecay: 0 });
  const partial = updateNorm(gpu, matrixOf(firstMoment), matrixOf(secondMoment), rule);
  const [sums, after] = await gpu.read(partial, weights);
  const moved = Math.sqrt(after.reduce((sum, x, i) => sum + (x - before[i]) ** 2, 0));
  assertClose([learningRate * norm(sums)], [moved], 1e-4);
  for (const tensor of [gradients, firstMoment, secondMoment, weights.grad!, weights]) gpu.drop(tensor);
  gpu.release(partial);
});
