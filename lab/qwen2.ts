/**
 * Qwen2 (arXiv 2407.10671) on our kernels: allocation, forward pass over packed sequences, Hugging Face checkpoints in and out.
 *
 *   h = embed(tokens)
 *   per layer:  h += Wo · attention(rope(Wqkv · rmsnorm(h) + b))
 *               h += Wdown · (silu(Wgate · n) ⊙ Wup · n),  n = rmsnorm(h)
 *   hidden = rmsnorm(h)        → logprobs over the vocabulary, or one score
 *
 * q, k, v are one matrix here, and so are gate and up: fewer, larger products. Hugging Face's names and shapes are kept at the
 * door, as rows of these.
 */
import { attention } from "../kernels/attention.ts";
import { scaleInto } from "../kernels/elementwise.ts";
import { embedding, type EmbeddingIndex, embeddingIndex, type RowRanges } from "../kernels/embedding.ts";
import type { Gpu } from "../kernels/gpu.ts";
import { type KeyValueCache, storePrompt } from "../kernels/key_value_cache.ts";
import { matmul, type Shape } from "../kernels/matmul.ts";
import { type Packing, packSequences, uploadPacking } from "../kernels/packing.ts";
import { Parameters, type ParameterSpec } from "../kernels/parameters.ts";
import { rmsnorm } from "../kernels/rmsnorm.ts";
import { rope, type RopeShape } from "../kernels/rope.ts";
import { swiglu } from "../kernels/swiglu.ts";
import { recomputed } from "../kernels/tape.ts";
import type { Tensor } from "../kernels/tensor.ts";
import { DamagedFileError, type Files, joinPath, readJson, shown } from "./bytes.ts";
import {
  type CheckpointWeights,
  openCheckpoint,
  requireTensors,
  writeCheckpoint,
} from "./checkpoint_files.ts";
import { expectedTensors, parseQwen2Config, type Qwen2Config, qwen2ConfigJson } from "./qwen2_config.ts";
import { elementsOf } from "./safetensors.ts";
import { fillTensors, readPieces, type Stray } from "./transfer.ts";

/** Weights of one layer; D hidden, Hq and Hkv heads of hd, F feed-forward. */
export interface Qwen2Layer {
  /** [D] */
  attentionNorm: Tensor;
  /** [(Hq + 2·Hkv)·hd, D]: rows of q, then k, then v */
  qkv: Tensor;
  /** [(Hq + 2·Hkv)·hd] */
  qkvBias: Tensor;
  /** [D, Hq·hd] */
  attentionOut: Tensor;
  /** [D] */
  feedForwardNorm: Tensor;
  /** [2F, D]: rows of gate, then up */
  gateUp: Tensor;
  /** [D, F] */
  down: Tensor;
}

export interface Qwen2 {
  name: string;
  config: Qwen2Config;
  parameters: Parameters;
  /** [V, D] in ranges of rows, each within one binding */
  embedding: RowRanges;
  /** The embedding again if tied; empty for a reward model. */
  head: RowRanges;
  layers: Qwen2Layer[];
  /** [D] */
  finalNorm: Tensor;
  /** Whether each layer keeps but its input for the backward pass and is computed again there: slower, with far less memory. */
  recompute: boolean;
  /** The scalar head of a reward model or critic: weight [1, D], bias [1], and `offset`, subtracted from every score. */
  score?: { weight: Tensor; bias: Tensor; offset: number };
}

/** Where a Hugging Face tensor lies: rows of our parameters. A vector's rows are its elements. */
export interface Place {
  name: string;
  shape: number[];
  parts: { parameter: string; row: number; rows: number }[];
}

/** Allocates a model with all weights zero. @param name appears in the memory plan */
export function allocateQwen2(gpu: Gpu, config: Qwen2Config, name: string): Qwen2 {
  const { hiddenSize: D, headDim, queryHeads, keyValueHeads, feedForward: F } = config;
  const qkvRows = (queryHeads + 2 * keyValueHeads) * headDim;
  const specs: ParameterSpec[] = [];
  for (const range of vocabularyRanges(gpu, config)) {
    specs.push({ name: `embedding.${range.row}`, shape: [range.rows, D] });
  }
  for (let i = 0; i < config.layers; i++) {
    specs.push(
      { name: `layers.${i}.attn.norm`, shape: [D] },
      { name: `layers.${i}.attn.qkv.weight`, shape: [qkvRows, D] },
      { name: `layers.${i}.attn.qkv.bias`, shape: [qkvRows] },
      { name: `layers.${i}.attn.out.weight`, shape: [D, queryHeads * headDim] },
      { name: `layers.${i}.mlp.norm`, shape: [D] },
      { name: `layers.${i}.mlp.gateUp.weight`, shape: [2 * F, D] },
      { name: `layers.${i}.mlp.down.weight`, shape: [D, F] },
    );
  }
  specs.push({ name: "norm", shape: [D] });
  const untied = config.head === "language" && !config.tiedHead;
  if (untied) {
    for (const { row, rows } of vocabularyRanges(gpu, config)) {
      specs.push({ name: `head.${row}`, shape: [rows, D] });
    }
  }
  if (config.head === "score") {
    specs.push({ name: "score.weight", shape: [1, D] }, { name: "score.bias", shape: [1] });
  }

  const parameters = new Parameters(gpu, specs, name);
  const table = (prefix: string) =>
    vocabularyRanges(gpu, config).map(({ row }) => parameters.get(`${prefix}.${row}`));
  return {
    name,
    config,
    parameters,
    embedding: table("embedding"),
    head: config.head === "score" ? [] : table(untied ? "head" : "embedding"),
    layers: Array.from({ length: config.layers }, (_, i) => ({
      attentionNorm: parameters.get(`layers.${i}.attn.norm`),
      qkv: parameters.get(`layers.${i}.attn.qkv.weight`),
      qkvBias: parameters.get(`layers.${i}.attn.qkv.bias`),
      attentionOut: parameters.get(`layers.${i}.attn.out.weight`),
      feedForwardNorm: parameters.get(`layers.${i}.mlp.norm`),
      gateUp: parameters.get(`layers.${i}.mlp.gateUp.weight`),
      down: parameters.get(`layers.${i}.mlp.down.weight`),
    })),
    finalNorm: parameters.get("norm"),
    recompute: false,
    score: config.head === "score"
      ? { weight: parameters.get("score.weight"), bias: parameters.get("score.bias"), offset: 0 }
      : undefined,
  };
}

/** Rows of the vocabulary that fit one binding, in pieces of at most 64 MiB so that arenas pack well. */
function vocabularyRanges(
  gpu: Gpu,
  { vocabulary, hiddenSize }: Qwen2Config,
): { row: number; rows: number }[] {
  const bytes = Math.min(gpu.device.limits.maxStorageBufferBindingSize, 64 << 20);
  const most = Math.max(64, Math.floor(bytes / (hiddenSize * 4) / 64) * 64);
  const ranges = [];
  for (let row = 0; row < vocabulary; row += most) {
    ranges.push({ row, rows: Math.min(most, vocabulary - row) });
  }
  return ranges;
}

// ---- forward ----

/** A micro-batch of token sequences on the device, laid end to end. */
export interface TokenBatch {
  /** u32 [T] */
  tokens: Tensor;
  packing: Packing;
  /** For the embedding's gradient; only made where one is wanted. */
  index?: EmbeddingIndex;
}

/**
 * Uploads sequences of ids. The tensors belong to the current scope.
 * @throws if an id is outside the vocabulary, naming the sequence
 */
export function tokenBatch(
  gpu: Gpu,
  model: Qwen2,
  sequences: readonly ArrayLike<number>[],
  training = false,
): TokenBatch {
  const host = packSequences(sequences.map((sequence) => sequence.length));
  const ids = new Uint32Array(host.tokens);
  sequences.forEach((sequence, b) => {
    for (let i = 0; i < sequence.length; i++) {
      const id = sequence[i];
      if (!(id >= 0 && id < model.config.vocabulary)) {
        throw new Error(
          `sequence ${b}: id ${id} at position ${i} is outside ${model.name}'s vocabulary of ${model.config.vocabulary}`,
        );
      }
      ids[host.starts[b] + i] = id;
    }
  });
  return {
    tokens: gpu.from(ids, [host.tokens], "tokens"),
    packing: uploadPacking(gpu, host),
    index: training ? embeddingIndex(gpu, ids) : undefined,
  };
}

/**
 * The hidden state of every token after the final norm.
 * @param caches one a layer: filled with the batch's keys and values, for decoding, from row `firstSequence` on
 * @returns [T, D]
 */
export function hiddenStates(
  gpu: Gpu,
  model: Qwen2,
  batch: TokenBatch,
  caches?: readonly KeyValueCache[],
  firstSequence = 0,
): Tensor {
  const shape = ropeShape(model.config);
  let h = gpu.named("embed", embedding(gpu, model.embedding, batch.tokens, batch.index));
  model.layers.forEach((layer, i) => {
    const input = h;
    const forward = () =>
      layerForward(gpu, model, layer, input, batch.packing.positions, (qkv) => {
        if (caches) storePrompt(gpu, qkv, caches[i], batch.packing, shape, firstSequence);
        return attention(gpu, qkv, batch.packing, shape);
      });
    h = gpu.inside(`layers.${i}`, () => {
      // What no backward pass will ask for goes layer by layer, and the next one takes its place.
      if (!gpu.tape || !layer.qkv.requiresGrad) return gpu.scope(forward);
      return model.recompute ? recomputed(gpu, [input, ...Object.values(layer)], forward) : forward();
    });
    if (!h.requiresGrad) gpu.release(input);
  });
  return gpu.named("hidden", rmsnorm(gpu, h, model.finalNorm, model.config.rmsNormEps));
}

/** One layer, given how its queries meet keys: over a packed batch, or over a cache. @returns [T, D] */
export function layerForward(
  gpu: Gpu,
  model: Qwen2,
  layer: Qwen2Layer,
  h: Tensor,
  positions: Tensor,
  attend: (qkv: Tensor) => Tensor,
): Tensor {
  const eps = model.config.rmsNormEps;
  const normed = gpu.named("attn.norm", rmsnorm(gpu, h, layer.attentionNorm, eps));
  const projected = matmul(gpu, normed, layer.qkv, { bias: layer.qkvBias });
  const qkv = gpu.named("attn.qkv", rope(gpu, projected, positions, ropeShape(model.config)));
  const mixed = gpu.named("attn.mixed", attend(qkv));
  const middle = gpu.named("attn.out", matmul(gpu, mixed, layer.attentionOut, { residual: h }));
  const normedAgain = gpu.named("mlp.norm", rmsnorm(gpu, middle, layer.feedForwardNorm, eps));
  const gateUp = gpu.named("mlp.gateUp", matmul(gpu, normedAgain, layer.gateUp));
  const activated = gpu.named("mlp.activated", swiglu(gpu, gateUp));
  return gpu.named("mlp.out", matmul(gpu, activated, layer.down, { residual: middle }));
}

/** The matrix products of a forward and backward pass over `tokens` rows, for choosing kernels by measurement. */
export function productShapes(config: Qwen2Config, tokens: number): Shape[] {
  const { hiddenSize: D, headDim, queryHeads, keyValueHeads, feedForward: F } = config;
  const layers = [[(queryHeads + 2 * keyValueHeads) * headDim, D], [D, queryHeads * headDim], [2 * F, D], [
    D,
    F,
  ]];
  const heads = config.head === "language" ? [[Math.min(config.vocabulary, 8192), D]] : [];
  return [...layers, ...heads].flatMap(([N, K]): Shape[] => [
    { form: "NT", M: tokens, N, K },
    { form: "NN", M: tokens, N: K, K: N },
    { form: "TN", M: N, N: K, K: tokens },
  ]);
}

export function ropeShape(config: Qwen2Config): RopeShape {
  return {
    queryHeads: config.queryHeads,
    keyValueHeads: config.keyValueHeads,
    headDim: config.headDim,
    theta: config.ropeTheta,
  };
}

// ---- weights ----

/**
 * Draws fresh weights: normal with the configuration's deviation, norms one, biases zero, as transformers initialises Qwen2; the
 * projections back into the residual stream are scaled by 1/√(2·layers) (GPT-2's rule), which matters for training from nothing.
 * @param normal draws from the standard normal distribution
 */
export function initialiseQwen2(gpu: Gpu, model: Qwen2, normal: () => number): void {
  const { initializerRange, layers } = model.config;
  for (const [name, tensor] of model.parameters.tensors) {
    if (/norm$/.test(name)) gpu.upload(tensor, new Float32Array(tensor.size).fill(1));
    else if (!/bias$/.test(name)) {
      const residual = /(attn\.out|mlp\.down)\.weight$/.test(name);
      const deviation = initializerRange / (residual ? Math.sqrt(2 * layers) : 1);
      gpu.upload(tensor, Float32Array.from({ length: tensor.size }, () => normal() * deviation));
    }
  }
}

/** Reads a model folder's configuration. @throws naming file and field where it is damaged or unsupported */
export async function readQwen2Config(files: Files, folder: string): Promise<Qwen2Config> {
  const path = joinPath(folder, "config.json");
  return parseQwen2Config(path, await files.read(path));
}

/**
 * Loads a model folder. A language model can be loaded as a backbone (`head: "score"`) whose scalar head starts as zeros.
 * @param onStray as {@link fillTensors} takes it
 * @throws naming the file and the tensor where one is missing, has another shape, or is not finite
 */
export async function loadQwen2(
  gpu: Gpu,
  files: Files,
  folder: string,
  name: string,
  head?: Qwen2Config["head"],
  onStray?: (stray: Stray) => void,
): Promise<Qwen2> {
  const stored = await readQwen2Config(files, folder);
  const config = { ...stored, head: head ?? stored.head };
  const weights = await openCheckpoint(files, folder);
  const freshHead = config.head === "score" && stored.head === "language";
  const wanted = expectedTensors(config).filter((tensor) => !(freshHead && tensor.name === "score.weight"));
  requireTensors(weights, wanted, ["score.bias", ...(freshHead ? ["lm_head.weight"] : [])]);
  const model = allocateQwen2(gpu, config, name);
  try {
    await fillQwen2(gpu, model, weights, onStray);
  } catch (error) {
    model.parameters.drop();
    throw error;
  }
  if (model.score) model.score.offset = await readScoreOffset(files, folder);
  return model;
}

/**
 * Fills a model with the stored tensors that it knows; the shapes must have been checked.
 * @param onStray as {@link fillTensors} takes it
 * @throws DamagedFileError where a number is not finite, and nobody else hears of it
 */
export async function fillQwen2(
  gpu: Gpu,
  model: Qwen2,
  weights: CheckpointWeights,
  onStray?: (stray: Stray) => void,
): Promise<void> {
  await fillTensors(
    gpu,
    weights,
    places(model).filter(({ name }) => weights.has(name)).flatMap(({ name, parts }) => {
      let from = 0;
      return stretchesOf(model, parts).map((stretch) => {
        const placed = { name, from, ...stretch };
        from += stretch.size;
        return placed;
      });
    }),
    onStray,
  );
}

/** Where rows of ours lie in their tensors, in elements. */
function stretchesOf(model: Qwen2, parts: Place["parts"]): { tensor: Tensor; to: number; size: number }[] {
  return parts.map(({ parameter, row, rows }) => {
    const tensor = model.parameters.get(parameter);
    const width = tensor.size / tensor.shape[0];
    return { tensor, to: row * width, size: rows * width };
  });
}

/**
 * Writes a model folder as transformers reads it. transformers' reward class knows neither our head's bias (written as `score.bias`, which
 * it ignores) nor the normalisation offset (in config.json as `precis_score_offset`): its scores are ours − bias + offset.
 */
export async function saveQwen2(
  gpu: Gpu,
  files: Files,
  folder: string,
  model: Qwen2,
  options: { dtype?: "F32" | "F16" | "BF16"; maxShardBytes?: number } = {},
): Promise<void> {
  const { dtype = "F32", maxShardBytes } = options;
  const json = qwen2ConfigJson(model.config, dtype);
  if (model.score) json.precis_score_offset = model.score.offset;
  const tensors = places(model).map(({ name, shape, parts }) => ({
    name,
    shape,
    async *read() {
      for (const { tensor, to, size } of stretchesOf(model, parts)) yield* readPieces(gpu, tensor, to, size);
    },
  }));
  await writeCheckpoint(files, folder, json, tensors, { dtype, maxShardBytes });
}

/** What is subtracted from a reward model's scores; 0 where the model is not one of ours. */
export async function readScoreOffset(files: Files, folder: string): Promise<number> {
  const path = joinPath(folder, "config.json");
  const { precis_score_offset: offset = 0 } = await readJson(files, path) as {
    precis_score_offset?: unknown;
  };
  if (typeof offset !== "number" || !Number.isFinite(offset)) {
    throw new DamagedFileError(
      `${path}: precis_score_offset is ${shown(offset)} but should be a finite number.`,
    );
  }
  return offset;
}

/** Every Hugging Face tensor of the model and the rows of ours that hold it. */
export function places(model: Qwen2): Place[] {
  const { config, parameters } = model;
  const query = config.queryHeads * config.headDim, keyValue = config.keyValueHeads * config.headDim;
  const F = config.feedForward;
  const rowOf: Record<string, [string, number]> = {
    "self_attn.q_proj": ["attn.qkv", 0],
    "self_attn.k_proj": ["attn.qkv", query],
    "self_attn.v_proj": ["attn.qkv", query + keyValue],
    "self_attn.o_proj": ["attn.out", 0],
    "mlp.gate_proj": ["mlp.gateUp", 0],
    "mlp.up_proj": ["mlp.gateUp", F],
    "mlp.down_proj": ["mlp.down", 0],
  };
  const whole = (parameter: string) => [{ parameter, row: 0, rows: parameters.get(parameter).shape[0] }];
  const ranges = (prefix: string) =>
    [...parameters.tensors.keys()].filter((name) => name.startsWith(`${prefix}.`)).flatMap(whole);
  const tensors = expectedTensors(config);
  if (model.score) tensors.push({ name: "score.bias", shape: [1] });
  return tensors.map(({ name, shape }): Place => {
    if (name === "model.embed_tokens.weight") return { name, shape, parts: ranges("embedding") };
    if (name === "lm_head.weight") return { name, shape, parts: ranges("head") };
    if (name === "model.norm.weight") return { name, shape, parts: whole("norm") };
    if (name.startsWith("score.")) return { name, shape, parts: whole(name) };
    const [, layer, rest] = /^model\.layers\.(\d+)\.(.+)$/.exec(name)!;
    if (rest === "input_layernorm.weight") return { name, shape, parts: whole(`layers.${layer}.attn.norm`) };
    if (rest === "post_attention_layernorm.weight") {
      return { name, shape, parts: whole(`layers.${layer}.mlp.norm`) };
    }
    const [, module, kind] = /^(.+)\.(weight|bias)$/.exec(rest)!;
    const [ours, row] = rowOf[module];
    return { name, shape, parts: [{ parameter: `layers.${layer}.${ours}.${kind}`, row, rows: shape[0] }] };
  });
}

/** Names and shapes of a model's tensors as Hugging Face knows them, in the order of the layers. */
export function publishedTensors(model: Qwen2): { name: string; shape: number[] }[] {
  return places(model).map(({ name, shape }) => ({ name, shape }));
}

/**
 * A copy on the device of a tensor by its Hugging Face name; whoever asks for it must release it.
 * @throws if the model has no such tensor, or one binding of the adapter cannot hold it
 */
export function copyByName(gpu: Gpu, model: Qwen2, name: string): Tensor {
  const { shape, parts } = placeOf(model, name);
  const copy = gpu.hold(shape, name);
  let at = 0;
  for (const { tensor, to, size } of stretchesOf(model, parts)) {
    scaleInto(gpu, tensor, gpu.constant(1), { into: copy, accumulate: 0 }, { from: to, to: at, size });
    at += size;
  }
  return copy;
}

function placeOf(model: Qwen2, name: string): Place {
  const place = places(model).find((candidate) => candidate.name === name);
  if (!place) throw new Error(`${model.name} has no tensor "${name}"`);
  return place;
}

/**
 * The values (or gradients) of a parameter by its Hugging Face name, for inspection and tests.
 * @param range elements `from` (included) to `to` (excluded), row-major; all by default
 */
export async function readByName(
  gpu: Gpu,
  model: Qwen2,
  name: string,
  what: "value" | "gradient" = "value",
  range: { from?: number; to?: number } = {},
): Promise<Float32Array> {
  const place = placeOf(model, name);
  const { from = 0, to = elementsOf(place.shape) } = range;
  const values = new Float32Array(to - from);
  let start = 0;
  for (const { tensor, to: at, size } of stretchesOf(model, place.parts)) {
    const source = what === "value" ? tensor : tensor.grad;
    if (!source) throw new Error(`${model.name} is frozen: "${name}" has no gradient`);
    const [first, end] = [Math.max(from, start), Math.min(to, start + size)];
    let done = first;
    if (first < end) {
      for await (const piece of readPieces(gpu, source, at + first - start, end - first)) {
        values.set(piece, done - from);
        done += piece.length;
      }
    }
    start += size;
  }
  return values;
}
