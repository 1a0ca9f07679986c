/**
 * Generation over a key-value cache. The prompts go through the model in packed micro-batches, then all sequences grow by one token a
 * step. Everything stays on the device: the host waits only to read the result.
 */
import { embedding } from "../kernels/embedding.ts";
import { gatherRows } from "../kernels/gather_rows.ts";
import type { Gpu } from "../kernels/gpu.ts";
import {
  attentionDecode,
  type KeyValueCache,
  keyValueCache,
  releaseKeyValueCache,
  storeStep,
} from "../kernels/key_value_cache.ts";
import { rmsnorm } from "../kernels/rmsnorm.ts";
import { sample, type SampleRule } from "../kernels/sample.ts";
import type { Tensor } from "../kernels/tensor.ts";
import { hiddenStates, layerForward, type Qwen2, ropeShape, tokenBatch } from "./qwen2.ts";
import { microBatches } from "./training.ts";

/** How responses are drawn. Random numbers are keyed by (seed, stage, step, sample, position): see kernels/random.ts. */
export interface GenerateOptions extends SampleRule {
  /** Tokens to draw per prompt, always exactly so many: what follows EOS is cut off later (detail 23 of the N+ paper). */
  responseLength: number;
  seed: number;
  stage: number;
  step: number;
  /** What numbers the prompts in the random numbers' key, e.g. their index in the data. Default 0, 1, 2 … */
  samples?: readonly number[];
  /** Prompts that are decoded together. Default 64. */
  batch?: number;
  /** Most tokens of the prompts in one pass, as far as one prompt allows; sets memory and speed. Default 4096. */
  microTokens?: number;
  /** Called after every batch; may throw to give up. */
  heed?: () => void;
}

/** What the released code adds to every temperature, sampling and scoring alike, so that none divides by 0. */
export const temperatureShift = 1e-7;

/** The rule of drawing at a configured temperature; 0 is greedy. */
export function drawnAt(temperature: number): Pick<SampleRule, "temperature" | "greedy"> {
  return temperature === 0 ? { greedy: true } : { temperature: temperature + temperatureShift };
}

/**
 * Draws a response for each prompt.
 * @param prompts token ids, no padding
 * @returns one row of exactly `responseLength` ids a prompt
 * @throws if a prompt is empty or holds an id outside the vocabulary
 */
export async function generate(
  gpu: Gpu,
  model: Qwen2,
  prompts: readonly ArrayLike<number>[],
  options: GenerateOptions,
): Promise<Uint32Array[]> {
  const { batch = 64, responseLength: T } = options;
  const responses: Uint32Array[] = [];
  for (let first = 0; first < prompts.length; first += batch) {
    const some = prompts.slice(first, first + batch);
    const numbers = options.samples?.slice(first, first + batch) ?? some.map((_, i) => first + i);
    const tokens = gpu.scope(() => decode(gpu, model, some, numbers, options));
    const columns = await gpu.readU32(...tokens);
    for (const tensor of tokens) gpu.release(tensor);
    some.forEach((_, b) => responses.push(Uint32Array.from({ length: T }, (_, t) => columns[t][b])));
    options.heed?.();
  }
  return responses;
}

/** @returns T tensors u32 [B]: the tokens drawn at each step */
function decode(
  gpu: Gpu,
  model: Qwen2,
  prompts: readonly ArrayLike<number>[],
  numbers: readonly number[],
  options: GenerateOptions,
): Tensor[] {
  const B = prompts.length, T = options.responseLength;
  const shape = ropeShape(model.config);
  const lengths = prompts.map((prompt) => prompt.length);
  const capacity = Math.max(...lengths) + T;
  const samples = gpu.from(Uint32Array.from(numbers), [B], "samples");
  const filled = Array.from(
    { length: T },
    (_, t) => gpu.from(Uint32Array.from(lengths, (length) => length + t + 1), [B], `lengths ${t}`),
  );
  const positions = Array.from(
    { length: T },
    (_, t) => gpu.from(Uint32Array.from(lengths, (length) => length + t), [B], `positions ${t}`),
  );
  const caches = model.layers.map(() => keyValueCache(gpu, B, capacity, shape));

  const tokens: Tensor[] = [];
  const draw = (hidden: Tensor) =>
    sample(gpu, hidden, model.head, { ...options, samples, position: tokens.length }).token;
  tokens.push(
    gpu.scope(() => draw(hiddenOfPrompts(gpu, model, prompts, caches, options.microTokens ?? 4096))),
  );
  while (tokens.length < T) {
    const t = tokens.length - 1;
    tokens.push(gpu.scope(() => draw(hiddenOfStep(gpu, model, tokens[t], positions[t], filled[t], caches))));
  }
  for (const cache of caches) releaseKeyValueCache(gpu, cache);
  return tokens;
}

/**
 * The final hidden state of each prompt's last token; the caches are filled with the prompts.
 * @returns [B, D]
 */
function hiddenOfPrompts(
  gpu: Gpu,
  model: Qwen2,
  prompts: readonly ArrayLike<number>[],
  caches: readonly KeyValueCache[],
  microTokens: number,
): Tensor {
  const D = model.config.hiddenSize;
  const last = gpu.empty([prompts.length, D], "hidden");
  for (const [from, to] of microBatches(prompts.map((prompt) => prompt.length), microTokens)) {
    gpu.scope(() => {
      const batch = tokenBatch(gpu, model, prompts.slice(from, to));
      const ends = batch.packing.host.starts.slice(1).map((start) => start - 1);
      gpu.place(last, from * D, gatherRows(gpu, hiddenStates(gpu, model, batch, caches, from), ends));
    });
  }
  return last;
}

/**
 * The final hidden state of one new token a sequence.
 * @param tokens u32 [B]
 * @param positions u32 [B] of the new tokens
 * @param lengths u32 [B]: tokens in the cache once the new one is stored
 * @returns [B, D]
 */
export function hiddenOfStep(
  gpu: Gpu,
  model: Qwen2,
  tokens: Tensor,
  positions: Tensor,
  lengths: Tensor,
  caches: readonly KeyValueCache[],
): Tensor {
  const shape = ropeShape(model.config);
  let h = embedding(gpu, model.embedding, tokens);
  model.layers.forEach((layer, i) => {
    h = layerForward(gpu, model, layer, h, positions, (qkv) => {
      storeStep(gpu, qkv, caches[i], lengths, shape);
      return attentionDecode(gpu, qkv, caches[i], lengths, shape);
    });
  });
  return rmsnorm(gpu, h, model.finalNorm, model.config.rmsNormEps);
}
