/** How fast the device does each kind of work, from a few measured steps of the base model's shape with weights that say nothing. */
import type { Gpu } from "../kernels/gpu.ts";
import { crossEntropy } from "../kernels/logprob.ts";
import { generate } from "./generate.ts";
import { allocateQwen2, hiddenStates, type Qwen2, tokenBatch } from "./qwen2.ts";
import type { Qwen2Config } from "./qwen2_config.ts";
import { tokenLogprobs } from "./scoring.ts";
import { type OptimiserConfig, optimiserStep } from "./training.ts";
import { addGeneration, addSequences, forwardFlops, noWork, type Work } from "./work.ts";

/** Seconds per floating-point operation of each kind of work, and per optimiser step. */
export interface Rates {
  trained: number;
  read: number;
  written: number;
  optimiserStep: number;
}

/** What is measured on: sequences of the stages' own lengths. */
export interface Trial {
  /** Lengths of query and response; as many as fit a micro-batch. */
  sequences: readonly number[];
  /** Lengths of queries that are answered together. */
  prompts: readonly number[];
  optimiser: OptimiserConfig;
  clock: () => number;
}

/** Tokens written in the trial of generation: enough to outweigh the reading of the prompts. */
const writtenTokens = 9;

/** One measured step should take no longer than this; on slow devices the trial has fewer and shorter sequences. */
const mostSeconds = 8;

/** Seconds that a stage's work takes at these rates. */
export function secondsOf(config: Qwen2Config, work: Work, rates: Rates): number {
  return rates.trained * 3 * forwardFlops(config, work.trained) +
    rates.read * forwardFlops(config, work.read) +
    rates.written * forwardFlops(config, work.written) + rates.optimiserStep * work.optimiserSteps;
}

/** Measures; the first round of each compiles and is not counted. Memory is freed afterwards. */
export async function measureRates(gpu: Gpu, config: Qwen2Config, trial: Trial): Promise<Rates> {
  const model = allocateQwen2(gpu, config, "trial");
  model.parameters.train();
  const seconds = async (body: () => unknown) => {
    const start = trial.clock();
    await body();
    await gpu.finish();
    return (trial.clock() - start) / 1000;
  };
  const sequences = await affordable(gpu, model, trial, seconds);
  const whole = noWork();
  addSequences(whole.trained, sequences, (length) => length - 1);
  const forward = forwardFlops(config, whole.trained);

  const step = () => trainStep(gpu, model, sequences);
  await seconds(step);
  const trained = await seconds(step) / (3 * forward);

  const read = () => {
    const probes = sequences.map((length) => ({
      tokens: new Uint32Array(length),
      positions: Uint32Array.from({ length: length - 1 }, (_, i) => i),
    }));
    return tokenLogprobs(gpu, model, probes, { temperature: 1, microTokens: Infinity });
  };
  await seconds(read);
  const readSeconds = await seconds(read) / forward;

  const prompts = trial.prompts.slice(
    0,
    Math.max(1, Math.ceil(trial.prompts.length * sequences.length / trial.sequences.length)),
  )
    .map((length) => Math.min(length, Math.max(...sequences)));
  const answer = (responseLength: number) => () =>
    generate(gpu, model, prompts.map((length) => new Uint32Array(length)), {
      responseLength,
      temperature: 1,
      seed: 0,
      stage: 0,
      step: 0,
      batch: prompts.length,
    });
  await seconds(answer(2));
  const withOne = await seconds(answer(2)), withMore = await seconds(answer(1 + writtenTokens));
  const writing = noWork();
  addGeneration(writing, prompts, writtenTokens);
  const written = Math.max(0, withMore - withOne) / forwardFlops(config, writing.written);

  const optimise = () => gpu.scope(() => void optimiserStep(gpu, [model], trial.optimiser, 1, 0));
  await seconds(optimise);
  const optimiser = await seconds(optimise);
  model.parameters.drop();
  gpu.trim();
  return { trained, read: readSeconds, written, optimiserStep: optimiser };
}

/** The trial's sequences, or as many of them as are done within {@link mostSeconds}, by the time that a short one takes. */
async function affordable(
  gpu: Gpu,
  model: Qwen2,
  { sequences }: Trial,
  seconds: (body: () => unknown) => Promise<number>,
): Promise<number[]> {
  const short = Math.min(32, ...sequences);
  await seconds(() => trainStep(gpu, model, [short]));
  const perToken = await seconds(() => trainStep(gpu, model, [short])) / short;
  const chosen: number[] = [];
  let left = mostSeconds / perToken;
  for (const length of sequences) {
    if (chosen.length > 0 && length > left) break;
    chosen.push(Math.max(2, Math.min(length, Math.floor(left))));
    left -= length;
  }
  return chosen;
}

function trainStep(gpu: Gpu, model: Qwen2, sequences: readonly number[]): void {
  model.parameters.clearGradients();
  gpu.scope(() => {
    const batch = tokenBatch(gpu, model, sequences.map((length) => new Uint32Array(length)), true);
    const rows = batch.packing.host.tokens;
    const targets = gpu.from(new Uint32Array(rows), [rows], "targets");
    const weights = gpu.from(new Float32Array(rows).fill(1 / rows), [rows], "weights");
    gpu.differentiate(() => {
      const hidden = hiddenStates(gpu, model, batch);
      return crossEntropy(gpu, hidden, model.head, targets, { weights }).loss;
    });
  });
}
