/**
 * Generation over a key-value cache. The prompts go through the model in packed micro-batches, then all sequences grow by one token a
 * step. Everything stays on the device: the host waits only to read the result. A prompt that is answered several times in a row is read
 * once, and its keys and values are copied.
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
import { repeatRows } from "../kernels/repeat_rows.ts";
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
    const seats = seat(some);
    const tokens = gpu.scope(() => decode(gpu, model, seats, numbers, options));
    const columns = await gpu.readU32(...tokens);
    for (const tensor of tokens) gpu.release(tensor);
    for (const row of seats.rows) responses.push(Uint32Array.from({ length: T }, (_, t) => columns[t][row]));
    options.heed?.();
  }
  return responses;
}

/** How the sequences of a batch lie in its rows: first one for each prompt, in the order of the prompts, then those that repeat one. */
interface Seats {
  /** The prompts that are read, U of them. */
  distinct: ArrayLike<number>[];
  /** For every sequence, as it was given, its row. */
  rows: number[];
  /** For every row from U on, the row below U whose prompt it repeats. */
  repeats: Uint32Array<ArrayBuffer>;
}

/** Seats a batch: prompts that follow one another and are equal are one. */
function seat(prompts: readonly ArrayLike<number>[]): Seats {
  const distinct: ArrayLike<number>[] = [], readers: number[] = [];
  for (const prompt of prompts) {
    if (distinct.length === 0 || !areEqual(prompt, distinct.at(-1)!)) distinct.push(prompt);
    readers.push(distinct.length - 1);
  }
  const repeats: number[] = [];
  const rows = readers.map((reader, i) =>
    reader !== readers[i - 1] ? reader : distinct.length + repeats.push(reader) - 1
  );
  return { distinct, rows, repeats: Uint32Array.from(repeats) };
}

function areEqual(one: ArrayLike<number>, other: ArrayLike<number>): boolean {
  if (one === other) return true;
  if (one.length !== other.length) return false;
  for (let i = 0; i < one.length; i++) if (one[i] !== other[i]) return false;
  return true;
}

/**
 * @param numbers of the sequences as they were given
 * @returns T tensors u32 [B]: the tokens drawn at each step, by row
 */
function decode(
  gpu: Gpu,
  model: Qwen2,
  seats: Seats,
  numbers: readonly number[],
  options: GenerateOptions,
): Tensor[] {
  const { distinct, rows, repeats } = seats;
  const U = distinct.length, B = U + repeats.length, T = options.responseLength;
  const shape = ropeShape(model.config);
  const lengths = Array.from({ length: B }, (_, row) => distinct[row < U ? row : repeats[row - U]].length);
  const longest = Math.max(...lengths), capacity = longest + T;
  const numberOf = new Uint32Array(B);
  rows.forEach((row, b) => numberOf[row] = numbers[b]);
  const samples = gpu.from(numberOf, [B], "samples");
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
    gpu.scope(() => draw(hiddenOfPrompts(gpu, model, seats, caches, options.microTokens ?? 4096))),
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
  { distinct, repeats }: Seats,
  caches: readonly KeyValueCache[],
  microTokens: number,
): Tensor {
  const D = model.config.hiddenSize, U = distinct.length;
  const lengths = distinct.map((prompt) => prompt.length);
  const last = gpu.empty([U + repeats.length, D], "hidden");
  for (const [from, to] of microBatches(lengths, microTokens)) {
    gpu.scope(() => {
      const batch = tokenBatch(gpu, model, distinct.slice(from, to));
      const ends = batch.packing.host.starts.slice(1).map((start) => start - 1);
      gpu.place(last, from * D, gatherRows(gpu, hiddenStates(gpu, model, batch, caches, from), ends));
    });
  }
  if (repeats.length > 0) {
    const sources = gpu.from(repeats, [repeats.length], "repeats");
    const copies = { first: U, sources, rows: repeats };
    repeatRows(gpu, last, copies);
    for (const { keys, values } of caches) {
      const width = Math.max(...lengths) * keys.shape[2];
      for (const cache of [keys, values]) repeatRows(gpu, cache, { ...copies, width });
    }
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
