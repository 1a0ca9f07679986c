/** Layers that are computed again in the backward pass, beside layers whose activations are kept. */
import { assert, assertEquals } from "deno-std/assert/mod.js";
import { diskFiles } from "../../headless/files.ts";
import { Captures } from "../../kernels/capture.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { crossEntropy } from "../../kernels/logprob.ts";
import { hiddenStates, loadQwen2, type Qwen2, readByName, tokenBatch } from "../../lab/qwen2.ts";
import { expectedTensors } from "../../lab/qwen2_config.ts";
import { gpuTest } from "../kernels/testing.ts";
import { goldenPath } from "./golden.ts";

/** Differentiates a next-token loss. @returns the loss and the most pooled bytes that were in use */
async function pass(gpu: Gpu, model: Qwen2, sequences: number[][]): Promise<{ loss: number; bytes: number }> {
  model.parameters.clearGradients();
  gpu.memory.resetPeak();
  const loss = gpu.scope(() => {
    const batch = tokenBatch(gpu, model, sequences, true);
    const next = gpu.from(Uint32Array.from(sequences.flatMap(([first, ...rest]) => [...rest, first])), [
      sequences.flat().length,
    ], "next");
    return gpu.differentiate(() => crossEntropy(gpu, hiddenStates(gpu, model, batch), model.head, next).loss);
  });
  const [[value]] = await gpu.read(loss);
  gpu.release(loss);
  return { loss: value, bytes: gpu.memory.peakPooledInUse };
}

gpuTest("recomputed layers give the same bits in loss, gradients and captures", async (gpu) => {
  const sequences = [[1, 2, 3, 4, 5, 6, 7], [9], [11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22]];
  for (const folder of ["qwen2_tied", "qwen2_untied"]) {
    const model = await loadQwen2(gpu, diskFiles(), goldenPath(folder), folder);
    model.parameters.train();
    const seen: { loss: number; values: [string, Float32Array][] }[] = [];
    for (const recompute of [false, true, true]) {
      model.recompute = recompute;
      const captures = gpu.captures = new Captures(["layers.*", "hidden*"]);
      const { loss } = await pass(gpu, model, sequences);
      const captured = await captures.take(gpu);
      gpu.captures = null;
      const values: [string, Float32Array][] = captured.map((each) => [each.name, each.values]);
      for (const { name } of expectedTensors(model.config)) {
        values.push([name, await readByName(gpu, model, name, "gradient")]);
      }
      seen.push({ loss, values: values.sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0) });
    }
    assert(seen[0].values.some(([name]) => name === "layers.1.attn.qkv.grad"));
    for (const other of seen.slice(1)) {
      assertEquals(other.loss, seen[0].loss);
      assertEquals(other.values.map(([name]) => name), seen[0].values.map(([name]) => name));
      for (const [i, [name, values]] of seen[0].values.entries()) {
        const at = other.values[i][1].findIndex((value, n) => !Object.is(value, values[n]));
        assert(at < 0, `${name} differs at element ${at}: ${other.values[i][1][at]} and ${values[at]}`);
      }
    }
    model.parameters.drop();
  }
});

// How much less memory real sizes need is counted in memory_plan_test.ts.
gpuTest("recomputed layers need less memory than kept ones, and warm steps allocate nothing", async (gpu) => {
  const model = await loadQwen2(gpu, diskFiles(), goldenPath("qwen2_untied"), "three layers");
  model.parameters.train();
  const sequences = [0, 1].map((n) => Array.from({ length: 96 }, (_, i) => (i * 7 + n * 31) % 131));
  const kept = await pass(gpu, model, sequences);
  model.recompute = true;
  const first = await pass(gpu, model, sequences);
  const { buffers, bindGroups } = gpu.counters;
  const second = await pass(gpu, model, sequences);
  assertEquals([first.loss, second.loss], [kept.loss, kept.loss]);
  assertEquals([gpu.counters.buffers, gpu.counters.bindGroups], [buffers, bindGroups]);
  assert(first.bytes < 0.8 * kept.bytes, `${first.bytes} of ${kept.bytes} bytes`);
  model.parameters.drop();
});
