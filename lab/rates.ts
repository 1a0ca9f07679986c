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
  /** Told before each of the measurements how many of the {@link kinds} of work are done; may throw to give up. */
  tell?: (done: number) => void;
}

/** What is measured, in this order. */
export const kinds = ["training", "reading", "writing", "optimising"] as const;

/** Tokens written in the trial of generation: enough to outweigh the reading of the prompts, and the fewest on slow devices. */
const writtenTokens = { most: 9, fewest: 3 };

/** One measured step should take no longer than this; on slow devices the trial has fewer and shorter sequences. */
const mostSeconds = 8;

/** Tokens of the step that tells how slow a device is. */
const shortStep = 16;

/** Seconds that a stage's work takes at these rates. */
export function secondsOf(config: Qwen2Config, work: Work, rates: Rates): number {
  return rates.trained * 3 * forwardFlops(config, work.trained) +
    rates.read * forwardFlops(config, work.read) +
    rates.written * forwardFlops(config, work.written) + rates.optimiserStep * work.optimiserSteps;
}

/**
 * Measures; the first round of each compiles and is not counted. Memory is freed afterwards.
 * @throws GpuError where the device is lost or too small; whatever `trial.tell` throws
 */
export async function measureRates(gpu: Gpu, config: Qwen2Config, trial: Trial): Promise<Rates> {
  const model = allocateQwen2(gpu, config, "trial");
  try {
    model.parameters.train();
    return await ratesOf(gpu, model, trial);
  } finally {
    model.parameters.drop();
    gpu.trim();
  }
}

async function ratesOf(gpu: Gpu, model: Qwen2, trial: Trial): Promise<Rates> {
  const { config } = model;
  const seconds = async (kind: typeof kinds[number], body: () => unknown) => {
    trial.tell?.(kinds.indexOf(kind));
    const start = trial.clock();
    await body();
    await gpu.finish();
    return (trial.clock() - start) / 1000;
  };
  const second = async (kind: typeof kinds[number], body: () => unknown) => {
    await seconds(kind, body);
    return await seconds(kind, body);
  };

  const short = Math.min(shortStep, ...trial.sequences);
  const shortSeconds = await second("training", () => trainStep(gpu, model, [short]));
  const affordable = sequencesWithin(mostSeconds, shortSeconds / short, trial.sequences);
  // Where not even twice as much can be afforded, the short step is the measurement.
  const slow = affordable.reduce((sum, length) => sum + length, 0) < 2 * short;
  const sequences = slow ? [short] : affordable;
  const whole = noWork();
  addSequences(whole.trained, sequences, (length) => length - 1);
  const forward = forwardFlops(config, whole.trained);
  const trainSeconds = slow ? shortSeconds : await second("training", () => trainStep(gpu, model, sequences));

  const readSeconds = await second("reading", () => {
    const probes = sequences.map((length) => ({
      tokens: new Uint32Array(length),
      positions: Uint32Array.from({ length: length - 1 }, (_, i) => i),
    }));
    return tokenLogprobs(gpu, model, probes, { temperature: 1, microTokens: Infinity });
  });

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
  const withOne = await second("writing", answer(2));
  const count = Math.max(
    writtenTokens.fewest,
    Math.min(writtenTokens.most, Math.floor(mostSeconds / withOne)),
  );
  const withMore = await seconds("writing", answer(1 + count));
  const writing = noWork();
  addGeneration(writing, prompts, count);

  return {
    trained: trainSeconds / (3 * forward),
    read: readSeconds / forward,
    written: Math.max(0, withMore - withOne) / forwardFlops(config, writing.written),
    optimiserStep: await second(
      "optimising",
      () => gpu.scope(() => void optimiserStep(gpu, [model], trial.optimiser, 1, 0)),
    ),
  };
}

/** The first of these sequences, the last one cut short, that are done in so many seconds at so many a token. */
function sequencesWithin(seconds: number, perToken: number, lengths: readonly number[]): number[] {
  const chosen: number[] = [];
  let left = seconds / perToken;
  for (const length of lengths) {
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
