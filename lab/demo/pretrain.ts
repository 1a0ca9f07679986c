/**
 * Makes the demo's base model: a small Qwen2 trained from nothing on generated posts alone. It has never seen a summary, nor "TL;DR:".
 */
import { gatherRows } from "../../kernels/gather_rows.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { crossEntropy } from "../../kernels/logprob.ts";
import { allocateQwen2, hiddenStates, initialiseQwen2, type Qwen2, tokenBatch } from "../qwen2.ts";
import type { Qwen2Config } from "../qwen2_config.ts";
import { probedRows } from "../scoring.ts";
import type { Tokenizer } from "../tokenizer.ts";
import { learningRate, microBatches, optimiserStep, standardNormal } from "../training.ts";
import { demoIds } from "./build.ts";
import { addNothing, type DemoPost, posts, tellAgain } from "./corpus.ts";
import { type Random, random } from "./random.ts";

/** About 200 thousand parameters: what two CPU cores can train in minutes. Names and layout are Qwen2.5's. */
export const demoBaseConfig: Qwen2Config = {
  head: "language",
  vocabulary: demoIds.embeddingRows,
  hiddenSize: 64,
  layers: 3,
  queryHeads: 4,
  keyValueHeads: 2,
  headDim: 16,
  feedForward: 192,
  tiedHead: true,
  attentionBias: true,
  ropeTheta: 10_000,
  rmsNormEps: 1e-6,
  maxPositions: 512,
  eosTokenId: demoIds.endOfText,
  bosTokenId: null,
  padTokenId: null,
  initializerRange: 0.08,
};

export interface PretrainOptions {
  seed: number;
  steps: number;
  /** Posts a step. */
  batch: number;
  learningRate: number;
  microTokens: number;
  /** Called with the step and its loss in nats a token. */
  onStep?: (step: number, loss: number) => void;
}

/** What shipped in `public/demo/` was made with these. */
export const pretrainDefaults = { seed: 7, steps: 1300, batch: 48, learningRate: 6e-3, microTokens: 8192 };

/**
 * A post as the base model reads it: the query's text up to the end of the post; then, most often, an edit that adds nothing or an update
 * that tells the story again (from which the model learns to copy facts, as real ones do from quotes and reposts); then EOS.
 */
export function pretrainingText(post: DemoPost, rng: Random): string {
  const ending = {
    edit: () => `\n\nEDIT: ${addNothing(post, rng)}`,
    update: () => `\n\nUPDATE: ${tellAgain(post, rng)}`,
    none: () => "",
  }[rng.weighted({ edit: 6, update: 5, none: 1 })]();
  return `SUBREDDIT: r/${post.subreddit}\n\nTITLE: ${post.title}\n\nPOST: ${post.post}${ending}<|endoftext|>`;
}

/** Trains the base model. The posts' seed differs from that of the data that ships. */
export async function pretrain(gpu: Gpu, tokenizer: Tokenizer, options: PretrainOptions): Promise<Qwen2> {
  const { seed, steps, batch: size } = options;
  const texts = posts(1_000_000 + seed, Math.min(steps * size, 40_000));
  const rng = random(seed);
  const sequences = texts.map((post) => tokenizer.encode(pretrainingText(post, rng)));
  const model = allocateQwen2(gpu, demoBaseConfig, "base");
  initialiseQwen2(gpu, model, standardNormal(random(seed)));
  model.parameters.train();
  const optimiser = {
    learningRate: options.learningRate,
    schedule: "cosine" as const,
    warmupSteps: Math.min(50, Math.floor(steps / 10)),
    beta1: 0.9,
    beta2: 0.98,
    eps: 1e-8,
    weightDecay: 0.05,
    maxGradNorm: 1,
  };
  for (let step = 1; step <= steps; step++) {
    const chosen = Array.from(
      { length: size },
      (_, i) => sequences[((step - 1) * size + i) % sequences.length],
    );
    const items = chosen.map((tokens) => ({
      tokens,
      positions: Uint32Array.from({ length: tokens.length - 1 }, (_, p) => p),
    }));
    const counted = items.reduce((sum, { positions }) => sum + positions.length, 0);
    model.parameters.clearGradients();
    const losses = microBatches(chosen.map(({ length }) => length), options.microTokens).map(([from, to]) => {
      const some = items.slice(from, to);
      return gpu.scope(() => {
        const batch = tokenBatch(gpu, model, some.map(({ tokens }) => tokens), true);
        const { rows, targets } = probedRows(some, batch.packing.host.starts);
        const following = gpu.from(targets, [targets.length], "targets");
        const weights = gpu.from(
          new Float32Array(targets.length).fill(1 / counted),
          [targets.length],
          "weights",
        );
        return gpu.differentiate(() => {
          const hidden = gatherRows(gpu, hiddenStates(gpu, model, batch), rows);
          return crossEntropy(gpu, hidden, model.head, following, { weights }).loss;
        });
      });
    });
    const norm = gpu.scope(() =>
      optimiserStep(gpu, [model], optimiser, step, learningRate(optimiser, step, steps))
    );
    const values = await gpu.read(...losses);
    for (const tensor of [norm, ...losses]) gpu.release(tensor);
    options.onStep?.(step, values.reduce((sum, [loss]) => sum + loss, 0));
  }
  model.parameters.freeze();
  return model;
}
