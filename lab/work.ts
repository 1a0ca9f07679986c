/**
 * How much work a stage is, counted from the lengths of its sequences and the shape of the model. Floating-point operations are those
 * of the mathematics (a product of n numbers is 2n), not what a kernel repeats to save memory, so that rates compare with published ones.
 */
import type { Qwen2Config } from "./qwen2_config.ts";

/** Tokens that go through a model in one way. */
export interface Load {
  tokens: number;
  /** Over all tokens, how many tokens each attends to, itself included. */
  attended: number;
  /** Tokens whose hidden state meets the vocabulary. */
  headRows: number;
}

/** What a stage does with a model, or with several of the same shape. */
export interface Work {
  /** Forward and backward. */
  trained: Load;
  /** Forward only, many tokens at once: losses, logprobs, scores, prompts. */
  read: Load;
  /** Drawn one after the other over a cache. */
  written: Load;
  /** Optimiser steps, counted once for each model that takes them. */
  optimiserSteps: number;
}

export function noWork(): Work {
  const none = () => ({ tokens: 0, attended: 0, headRows: 0 });
  return { trained: none(), read: none(), written: none(), optimiserSteps: 0 };
}

/**
 * Adds whole sequences to a load.
 * @param headRows of one sequence that meet the vocabulary, by its length
 * @param times how often each goes through
 */
export function addSequences(
  load: Load,
  lengths: Iterable<number>,
  headRows: (length: number) => number,
  times = 1,
): void {
  for (const length of lengths) {
    load.tokens += times * length;
    load.attended += times * length * (length + 1) / 2;
    load.headRows += times * headRows(length);
  }
}

/**
 * Adds generation: each prompt is read, then `count` tokens are written behind it.
 * @param times how often each is answered, and `readings` how often it is read for that
 */
export function addGeneration(
  work: Work,
  prompts: Iterable<number>,
  count: number,
  times = 1,
  readings = times,
): void {
  for (const prompt of prompts) {
    addSequences(work.read, [prompt], () => 0, readings);
    work.read.headRows += times;
    const written = Math.max(0, count - 1);
    work.written.tokens += times * written;
    work.written.attended += times * written * (prompt + (written + 1) / 2);
    work.written.headRows += times * written;
  }
}

/** Operations of one forward pass over a load. */
export function forwardFlops(config: Qwen2Config, { tokens, attended, headRows }: Load): number {
  const { hiddenSize: D, headDim, queryHeads, keyValueHeads, feedForward: F, layers, vocabulary } = config;
  const layerWeights = (queryHeads + 2 * keyValueHeads) * headDim * D + queryHeads * headDim * D + 3 * D * F;
  const perToken = 2 * layers * layerWeights;
  // q·k and p·v for each pair: 2 · headDim each.
  const perAttended = 4 * layers * queryHeads * headDim;
  return tokens * perToken + attended * perAttended + headRows * 2 * vocabulary * D;
}

/** All operations of a stage; a backward pass is two forward ones. */
export function flopsOf(config: Qwen2Config, { trained, read, written }: Work): number {
  return 3 * forwardFlops(config, trained) + forwardFlops(config, read) + forwardFlops(config, written);
}
