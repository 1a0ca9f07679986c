import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { settleKernels } from "../../headless/kernel_choices.ts";
import { DamagedFileError, memoryFiles } from "../../lab/bytes.ts";
import { configure } from "../../lab/config.ts";
import { demoBaseConfig } from "../../lab/demo/pretrain.ts";
import { gpuTest } from "../kernels/testing.ts";

gpuTest(
  "a software adapter's kernels are fixed; a GPU's are measured once and taken up again",
  async (gpu) => {
    const files = memoryFiles();
    await files.makeDirectory("run");
    const config = configure("demo", {
      out: "run",
      sft: { microTokens: 64 },
      reward: { microTokens: 64 },
      ppo: { microTokens: 64, decodeBatch: 64 },
    });
    const shape = {
      ...demoBaseConfig,
      hiddenSize: 16,
      headDim: 8,
      queryHeads: 2,
      keyValueHeads: 1,
      feedForward: 24,
    };
    assertEquals(await settleKernels(gpu, files, config, shape), undefined);
    assertEquals(await files.exists("run/kernels.json"), false);

    // The same device passed off as a GPU: what is under test is the measuring and keeping, not the speed.
    const facts = gpu.facts as { software: boolean };
    const before = new Map(gpu.choices);
    facts.software = false;
    try {
      assert((await settleKernels(gpu, files, config, shape))!.startsWith("Kernels measured for"));
      const measured = new Map(gpu.choices);
      assert(measured.size > before.size);
      gpu.choices.clear();
      assertEquals(
        await settleKernels(gpu, files, config, shape),
        "Kernels as measured before: run/kernels.json.",
      );
      assertEquals(new Map(gpu.choices), measured);
      for (const damaged of ["{", "null", '{"choices":{"matmul 8":"none"}}']) {
        await files.writeAtomic("run/kernels.json", new TextEncoder().encode(damaged));
        await assertRejects(
          () => settleKernels(gpu, files, config, shape),
          DamagedFileError,
          "delete it to measure again",
        );
      }
    } finally {
      facts.software = true;
      gpu.choices.clear();
      for (const [name, variant] of before) gpu.choices.set(name, variant);
    }
  },
);
