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
