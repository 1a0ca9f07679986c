import { assertThrows } from "deno-std/assert/mod.js";
import { gae, gaeReference } from "../../kernels/gae.ts";
import golden from "../oracles/golden/ppo_losses.json" with { type: "json" };
import { assertClose, gpuTest } from "./testing.ts";

gpuTest("advantages and returns are PyTorch's", async (gpu) => {
  const { B, T, gamma, lam, rewards, values, advantages, returns } = golden.ppo;
  const options = { gamma, lambda: lam };
  const kept = gpu.scope(() => {
    const reward = gpu.from(Float32Array.from(rewards.flat()), [B, T], "reward");
    const result = gae(gpu, reward, gpu.from(Float32Array.from(values.flat()), [B, T], "values"), options);
    return [gpu.keep(result.advantages), gpu.keep(result.returns)];
  });
  const [actual, actualReturns] = await gpu.read(...kept);
  const inF64 = gaeReference(rewards.flat(), values.flat(), B, options);
  assertClose(inF64.advantages, advantages.flat(), 1e-10, "advantages in f64");
  assertClose(actual, advantages.flat(), 1e-5, "advantages");
  assertClose(actualReturns, returns.flat(), 1e-5, "returns");
});

// Reference numbers of rlax's multistep tests: discounts step by step, and a value to bootstrap from.
const reward = [0, 0, 1, 0, -0.5, 0, 0, 0, 0, 1];
const values = [1, 4, -3, -2, -1, -1, -3, -2, -1, 0, 5, -1];
const discounts = [0.99, 0.99, 0.99, 0.99, 0.99, 0.9, 0.9, 0.9, 0, 0.9];
const expected: [number, number[]][] = [
  [1, [-1.45118, -4.4557, 2.5396, 0.5249, -0.49, 3, 2, 1, 0, -4.9]],
  [0.7, [-0.676979, -5.248167, 2.4846, 0.6704, -0.49, 2.2899, 1.73, 1, 0, -4.9]],
];
for (const [lambda, advantages] of expected) {
  gpuTest(
    `with discounts a step and a bootstrapped end, λ = ${lambda}, advantages are rlax's`,
    async (gpu) => {
      const kept = gpu.scope(() => {
        const tensor = (data: number[], columns: number) =>
          gpu.from(Float32Array.from(data), [2, columns], "tensor");
        const options = { gamma: 1, lambda, discounts: tensor(discounts, 5) };
        return gpu.keep(gae(gpu, tensor(reward, 5), tensor(values, 6), options).advantages);
      });
      const [actual] = await gpu.read(kept);
      assertClose(
        gaeReference(reward, values, 2, { gamma: 1, lambda, discounts }).advantages,
        advantages,
        1e-4,
      );
      assertClose(actual, advantages, 1e-4);
    },
  );
}

gpuTest("values of the wrong width are refused", (gpu) => {
  gpu.scope(() => {
    const reward = gpu.empty([2, 5], "reward"), values = gpu.empty([2, 4], "values");
    assertThrows(() => gae(gpu, reward, values, { gamma: 1, lambda: 1 }), Error, "do not fit rewards [2,5]");
  });
});
