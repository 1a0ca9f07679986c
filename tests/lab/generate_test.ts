import { assertEquals } from "deno-std/assert/mod.js";
import { generate } from "../../lab/generate.ts";
import { loadQwen2 } from "../../lab/qwen2.ts";
import { gpuTest } from "../kernels/testing.ts";
import { toyDisk } from "./toy.ts";

gpuTest("prompts that go through the model in several passes are answered as in one", async (gpu) => {
  const model = await loadQwen2(gpu, await toyDisk(gpu), "base", "base");
  const prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9], [10, 11], [12, 13, 14, 15]];
  const answers = async (microTokens: number) =>
    await generate(gpu, model, prompts, {
      responseLength: 6,
      temperature: 1,
      seed: 1,
      stage: 2,
      step: 3,
      batch: 3,
      microTokens,
    });
  const whole = await answers(100);
  assertEquals(await answers(4), whole);
  assertEquals(await answers(1), whole);
  model.parameters.drop();
});

gpuTest(
  "a prompt that is answered several times is read once, and every answer is what it is alone",
  async (gpu) => {
    const model = await loadQwen2(gpu, await toyDisk(gpu), "base", "base");
    // Two runs of copies in a batch, one that a batch's end cuts in two, and an equal prompt that does not stand beside them.
    const kinds = [[1, 2, 3], [4], [5, 6, 7, 8, 9], [1, 2, 3]];
    const prompts = [0, 0, 0, 1, 2, 2, 2, 2, 2, 3, 3].map((kind) => [...kinds[kind]]);
    const samples = prompts.map((_, i) => 100 + 7 * i);
    const rule = { responseLength: 6, temperature: 1, seed: 1, stage: 2, step: 3 };
    const read: number[] = [];
    const clear = gpu.place.bind(gpu);
    gpu.place = (target, at, source) => {
      read.push(source.shape[0]);
      clear(target, at, source);
    };
    const together = await generate(gpu, model, prompts, { ...rule, samples, batch: 7 });
    gpu.place = clear;
    assertEquals(read, [3, 2]);
    for (const [i, prompt] of prompts.entries()) {
      assertEquals(await generate(gpu, model, [prompt], { ...rule, samples: [samples[i]] }), [together[i]]);
    }
    assertEquals(new Set(together.map(String)).size > 8, true, "the answers differ");
    model.parameters.drop();
  },
);
