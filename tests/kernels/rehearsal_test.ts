import { assertEquals } from "deno-std/assert/mod.js";
import type { Gpu } from "../../kernels/gpu.ts";
import { type Form, gemm, matmul } from "../../kernels/matmul.ts";
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
      assertEquals(taken(rehearsal), taken(gpu));
    }),
);

gpuTest(
  "of products that are done in many parts a rehearsal counts the parts, and submits where they would be",
  () =>
    withGpu({}, async (gpu) => {
      const rehearsal = rehearsalOf(gpu);
      const [M, N, K] = [72, 64, 512];
      // More dispatches than one submission takes.
      const products = (on: Gpu) =>
        on.scope(() => {
          for (const [form, variant] of parted) {
            const [a, b, out] = [M * K, N * K, M * N].map((size) => on.empty([size], variant));
            for (let i = 0; i < 150; i++) gemm(on, form, a, b, out, { M, N, K, variant });
          }
        });
      for (const on of [rehearsal, gpu]) {
        products(on);
        await on.finish();
      }
      assertEquals(taken(rehearsal), taken(gpu));
      assertEquals(gpu.counters.submissions > 1, true);
      assertEquals(rehearsal.memory.plan(), gpu.memory.plan());
    }),
);

const parted: [Form, string][] = [
  ...(["NN", "NT", "TN"] as const).map((form): [Form, string] => [form, "window"]),
  ...(["NT", "TN"] as const).map((form): [Form, string] => [form, "windows"]),
  ...(["NN", "NT", "TN"] as const).map((form): [Form, string] => [form, "panels"]),
];

/** What is counted alike: a rehearsal makes neither pipelines nor bind groups. */
function taken({ counters: { buffers, dispatches, submissions, reads } }: Gpu) {
  return { buffers, dispatches, submissions, reads };
}
