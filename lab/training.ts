/** What all trained stages share: schedules, orders, micro-batches, the optimiser step. */
import { gradNorm } from "../kernels/grad_norm.ts";
import type { Gpu } from "../kernels/gpu.ts";
import type { Tensor } from "../kernels/tensor.ts";
import { type Random, random } from "./demo/random.ts";
import type { Qwen2 } from "./qwen2.ts";

/** What numbers the stages in the keys of random numbers. Never renumber: resumed runs would diverge. */
export const stageKeys = {
  sft: 1,
  reward: 2,
  ppo: 3,
  evaluate: 4,
  bestOf: 5,
  samples: 6,
  pretrain: 7,
} as const;

/** The fields that every trained stage's configuration has. */
export interface OptimiserConfig {
  learningRate: number;
  schedule: "cosine" | "linear" | "constant";
  warmupSteps: number;
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
  maxGradNorm: number;
}

/**
 * The learning rate of a step.
 * @param step from 1
 * @param steps all that there will be; cosine and linear reach 0 right after the last, as the released code's schedulers do
 */
export function learningRate(
  { learningRate: peak, schedule, warmupSteps }: OptimiserConfig,
  step: number,
  steps: number,
): number {
  if (step <= warmupSteps) return peak * step / warmupSteps;
  const done = (step - 1 - warmupSteps) / Math.max(1, steps - warmupSteps);
  if (schedule === "cosine") return peak * 0.5 * (1 + Math.cos(Math.PI * done));
  return schedule === "linear" ? peak * (1 - done) : peak;
}

/** A permutation of 0 … count − 1 that depends on nothing but its arguments (Fisher–Yates). */
export function shuffled(count: number, seed: number, stage: number, epoch: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  const rng = random(
    (Math.imul(seed, 0x9e3779b1) ^ Math.imul(stage + 1, 0x85ebca6b) ^ Math.imul(epoch + 1, 0xc2b2ae35)) >>> 0,
  );
  for (let i = count - 1; i > 0; i--) {
    const j = rng.below(i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** Draws from the standard normal distribution (Box–Muller). */
export function standardNormal(rng: Random): () => number {
  return () => Math.sqrt(-2 * Math.log(1 - rng.uniform())) * Math.cos(2 * Math.PI * rng.uniform());
}

/** The rows of a step's batch, out of as many epochs as there are; what is left of an epoch after its last whole batch is not used. */
export function batchRows(
  count: number,
  batch: number,
  step: number,
  seed: number,
  stage: number,
): Uint32Array {
  const perEpoch = Math.floor(count / batch);
  const epoch = Math.floor((step - 1) / perEpoch), at = (step - 1) % perEpoch;
  return shuffled(count, seed, stage, epoch).subarray(at * batch, (at + 1) * batch);
}

/**
 * Cuts a batch into runs of items that together have at most `budget` tokens; an item above the budget gets a run of its own.
 * @returns index ranges [from, to)
 */
export function microBatches(lengths: readonly number[], budget: number): [number, number][] {
  const runs: [number, number][] = [];
  let from = 0, tokens = 0;
  lengths.forEach((length, i) => {
    if (i > from && tokens + length > budget) {
      runs.push([from, i]);
      from = i;
      tokens = 0;
    }
    tokens += length;
  });
  if (lengths.length > from) runs.push([from, lengths.length]);
  return runs;
}

/**
 * Clips the gradients of the models together and takes one AdamW step on each. A gradient that is not finite leaves all weights as they
 * are; the norm then tells.
 * @returns the gradient norm [1], in the current scope
 */
export function optimiserStep(
  gpu: Gpu,
  models: readonly Qwen2[],
  config: OptimiserConfig,
  step: number,
  rate: number,
): Tensor {
  return gpu.inside("optimiser", () => {
    const gradients = models.flatMap((model) => model.parameters.gradients);
    const { norm, clipScale } = gradNorm(gpu, gradients, {
      maxNorm: config.maxGradNorm > 0 ? config.maxGradNorm : undefined,
    });
    const { beta1, beta2, eps, weightDecay } = config;
    for (const model of models) {
      model.parameters.step({
        learningRate: rate,
        beta1,
        beta2,
        eps,
        weightDecay,
        step,
        gradientScale: clipScale,
      });
    }
    return norm;
  });
}
