/** What the recipe's networks and a micro-batch take at Qwen2.5-0.5B's size, rehearsed on a device that holds nothing. */
import { assert } from "deno-std/assert/mod.js";
import { gatherRows } from "../../kernels/gather_rows.ts";
import { keyValueCache } from "../../kernels/key_value_cache.ts";
import { logprobs } from "../../kernels/logprob.ts";
import { sum } from "../../kernels/reduce.ts";
import { rehearsalOf, type Rehearsed } from "../../kernels/rehearsal.ts";
import { scalarHead } from "../../kernels/scalar_head.ts";
import { presetConfig } from "../../lab/config.ts";
import { allocateQwen2, hiddenStates, ropeShape, tokenBatch } from "../../lab/qwen2.ts";
import { publishedConfig } from "../../lab/random_checkpoint.ts";
import { optimiserStep } from "../../lab/training.ts";

/** A GPU that nobody has to have. */
const someGpu: Rehearsed = {
  device: {
    limits: {
      maxStorageBufferBindingSize: 2 ** 31,
      maxBufferSize: 2 ** 31,
      maxComputeWorkgroupsPerDimension: 65535,
      maxComputeWorkgroupStorageSize: 49152,
      maxComputeInvocationsPerWorkgroup: 1024,
    } as GPUSupportedLimits,
  },
  facts: {
    runtime: "native",
    adapter: "none",
    vendor: "",
    driver: "",
    software: false,
    f16: false,
    subgroups: false,
    matrixUnits: [],
    timestamps: false,
  },
  choices: new Map(),
};

Deno.test("PPO's four networks at 0.5B, their optimiser states and a micro-batch fit in 40 GB, recomputed layers in 22", () => {
  const gpu = rehearsalOf(someGpu);
  const { ppo } = presetConfig("spark");
  const language = publishedConfig("Qwen/Qwen2.5-0.5B")!, score = { ...language, head: "score" as const };
  const policy = allocateQwen2(gpu, language, "policy"), critic = allocateQwen2(gpu, score, "critic");
  policy.parameters.train();
  critic.parameters.train();
  allocateQwen2(gpu, language, "reference");
  allocateQwen2(gpu, score, "reward model");
  const networks = gpu.memory.bytes;
  // Weights, gradients and two moments of f32 for each of the two that train, weights for the others: ten times 1.976 GB.
  assert(networks > 10 * 4 * 494_032_768 && networks < 19.9e9, `${networks}`);

  const query = 512 - ppo.responseLength;
  const sequences = Array.from({ length: ppo.microTokens / 512 }, (_, b) => new Uint32Array(512).fill(b));
  const rows = Uint32Array.from(
    sequences.flatMap((_, b) =>
      Array.from({ length: ppo.responseLength }, (_, t) => 512 * b + query - 1 + t)
    ),
  );
  const peak = (recompute: boolean) => {
    policy.recompute = critic.recompute = recompute;
    gpu.trim();
    gpu.memory.resetPeak();
    gpu.scope(() => {
      const batch = tokenBatch(gpu, policy, sequences, true);
      const targets = gpu.from(new Uint32Array(rows.length), [rows.length], "targets");
      gpu.differentiate(() => {
        const hidden = gatherRows(gpu, hiddenStates(gpu, policy, batch), rows);
        return sum(gpu, logprobs(gpu, hidden, policy.head, targets, { temperature: 0.7 }).logprob);
      });
      gpu.differentiate(() => {
        const hidden = gatherRows(gpu, hiddenStates(gpu, critic, batch), rows);
        return sum(gpu, scalarHead(gpu, hidden, critic.score!.weight, critic.score!.bias));
      });
      optimiserStep(gpu, [policy, critic], ppo, 1, 1e-6);
    });
    return gpu.memory.peakBytes;
  };
  const recomputed = peak(true), kept = peak(false);
  assert(kept < 40e9, `${kept}`);
  assert(recomputed < 22e9 && recomputed < kept - 7e9, `${recomputed} and ${kept}`);

  gpu.trim();
  const { bytes } = gpu.memory;
  for (const _ of policy.layers) {
    keyValueCache(gpu, ppo.decodeBatch, 512 + ppo.responseLength, ropeShape(language));
  }
  assert(gpu.memory.bytes - bytes < 1.1e9, `${gpu.memory.bytes - bytes}`);
});
