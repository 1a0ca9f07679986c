import { assertEquals } from "deno-std/assert/mod.js";
import type { Gpu } from "../../kernels/gpu.ts";
import { matmul } from "../../kernels/matmul.ts";
import { rehearsalOf } from "../../kernels/rehearsal.ts";
import { rmsnorm } from "../../kernels/rmsnorm.ts";
import { gpuTest, withGpu } from "./testing.ts";

/** A product and a norm, forward and backward, with what is read at the end. */
async function step(gpu: Gpu, rows: number): Promise<number> {
  const weight = gpu.persistent([48, 32], "weight");
  weight.requiresGrad = true;
  weight.grad = gpu.persistent([48, 32], "gradient");
  const x = gpu.from(new Float32Array(rows * 32), [rows, 32], "x");
  const ones = gpu.from(new Float32Array(48).fill(1), [48], "ones");
  const seed = gpu.from(new Float32Array(rows * 48).fill(1), [rows, 48], "seed");
  gpu.scope(() => gpu.differentiate(() => rmsnorm(gpu, matmul(gpu, x, weight), ones, 1e-6), seed));
  const [gradient] = await gpu.read(weight.grad);
  return gradient.length;
}

gpuTest(
  "a rehearsal keeps the same books as the step itself, and holds nothing",
  () =>
    withGpu({}, async (gpu) => {
      const rehearsal = rehearsalOf(gpu);
      const created = gpu.memory.buffersCreated;
      for (const rows of [8, 40, 8]) {
        assertEquals(await step(rehearsal, rows), 48 * 32);
        assertEquals(gpu.memory.buffersCreated, created, "the rehearsal touched the real device");
      }
      for (const rows of [8, 40, 8]) await step(gpu, rows);
      assertEquals(rehearsal.memory.plan(), gpu.memory.plan());
      assertEquals(rehearsal.memory.peakBytes, gpu.memory.peakBytes);
      assertEquals(rehearsal.counters, gpu.counters);
    }),
);
