import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { adamw, adamwReference } from "../../kernels/adamw.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import golden from "../oracles/golden/adamw.json" with { type: "json" };
import { assertClose, gpuTest, normals } from "./testing.ts";

function stateOf(gpu: Gpu, weights: Float32Array<ArrayBuffer>) {
  const tensor = (name: string) => gpu.persistent([weights.length], name);
  const state = {
    weights: tensor("weights"),
    gradients: tensor("gradients"),
    firstMoment: tensor("firstMoment"),
    secondMoment: tensor("secondMoment"),
  };
  gpu.upload(state.weights, weights);
  return state;
}

gpuTest("ten steps of AdamW agree with torch.optim.AdamW, step by step", async (gpu) => {
  const weights = Float64Array.from(golden.weights);
  const host = { weights, firstMoment: new Float64Array(11), secondMoment: new Float64Array(11) };
  const state = stateOf(gpu, Float32Array.from(weights));
  for (const [i, expected] of golden.steps.entries()) {
    adamwReference({ ...host, gradients: golden.gradients[i] }, { ...golden, step: i + 1 });
    assertClose(host.weights, expected.weights, 1e-12, `weights in f64 after step ${i + 1}`);
    gpu.upload(state.gradients, Float32Array.from(golden.gradients[i]));
    adamw(gpu, state, { ...golden, step: i + 1 });
    const [w, m, v] = await gpu.read(state.weights, state.firstMoment, state.secondMoment);
    assertClose(w, expected.weights, 2e-6, `weights after step ${i + 1}`);
    for (let n = 0; n < 11; n++) {
      assertClose([m[n]], [expected.firstMoment[n]], 1e-4, `first moment ${n} after step ${i + 1}`);
      assertClose([v[n]], [expected.secondMoment[n]], 1e-5, `second moment ${n} after step ${i + 1}`);
    }
  }
});

for (const size of [1, 64, 1003, 40000]) {
  gpuTest(`AdamW agrees with f64 over ${size} elements, with the gradient scale in a buffer`, async (gpu) => {
    const options = { learningRate: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, step: 3 };
    const weights = normals(size, 1), gradients = normals(size, 2), first = normals(size, 3, 0.1);
    const second = normals(size, 4, 0.1).map((v) => v * v);
    const state = stateOf(gpu, weights);
    gpu.upload(state.gradients, gradients);
    gpu.upload(state.firstMoment, first);
    gpu.upload(state.secondMoment, second);
    const host = {
      weights: Float64Array.from(weights),
      gradients,
      firstMoment: Float64Array.from(first),
      secondMoment: Float64Array.from(second),
    };
    adamwReference(host, { ...options, gradientScale: 0.25 });
    gpu.scope(() => {
      adamw(gpu, state, { ...options, gradientScale: gpu.from(new Float32Array([0.25]), [1], "scale") });
    });
    const [w, m, v] = await gpu.read(state.weights, state.firstMoment, state.secondMoment);
    assertClose(w, host.weights, 2e-6, "weights");
    assertClose(m, host.firstMoment, 2e-6, "first moment");
    assertClose(v, host.secondMoment, 2e-6, "second moment");
  });
}

gpuTest(
  "a gradient scale of 0 leaves weights and moments as they were, even if gradients are NaN",
  async (gpu) => {
    const weights = normals(9, 1);
    const state = stateOf(gpu, weights);
    gpu.upload(state.gradients, new Float32Array(9).fill(NaN));
    adamw(gpu, state, {
      learningRate: 1,
      beta1: 0.9,
      beta2: 0.99,
      eps: 1e-8,
      weightDecay: 1,
      step: 1,
      gradientScale: gpu.constant(0),
    });
    const [w, m] = await gpu.read(state.weights, state.firstMoment);
    assertEquals(w, weights);
    assertEquals(m, new Float32Array(9));
  },
);

gpuTest("AdamW refuses step 0 and tensors of unequal size", (gpu) => {
  const state = stateOf(gpu, new Float32Array(8));
  const options = { learningRate: 1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0 };
  assertThrows(() => adamw(gpu, state, { ...options, step: 0 }), Error, "count from 1");
  const short = gpu.persistent([7], "short");
  assertThrows(
    () => adamw(gpu, { ...state, gradients: short }, { ...options, step: 1 }),
    Error,
    "short has 7",
  );
});
