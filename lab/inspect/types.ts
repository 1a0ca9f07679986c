/**
 * What the inspector's service (`inspectService` in service.ts) takes and gives. Everything is structured-cloneable.
 *
 * A tensor's id is readable and can be cited: `<place>#weights/<name>`, `<place>#firstMoment/<name>`, `<place>#secondMoment/<name>`,
 * `capture 3#<name>`. A name is ours (`layers.0.attn.qkv.weight`, `embedding`) or the published one
 * (`model.layers.0.self_attn.q_proj.weight`), which may be some rows of ours. Every tensor is looked at as a matrix; a vector is one row.
 */
import type { DeviceFacts } from "../../kernels/device.ts";
import type { Post } from "../query.ts";
import type { Qwen2Config } from "../qwen2_config.ts";

// ---- what there is ----

/** A place whose model is open. */
export interface InspectedModel {
  place: string;
  facts: DeviceFacts;
  config: Qwen2Config;
  parameters: number;
  /** Bytes that came over the network, weights and tokenizer, and how long opening took. */
  bytes: number;
  milliseconds: number;
  /** Weights with values that are not finite. Such a model is looked at here and refused by all else; no text is run through it. */
  strays: StrayTensor[];
}

/** A tensor with values that are NaN or infinite. */
export interface StrayTensor {
  name: string;
  /** How many there are, of how many in all. */
  count: number;
  size: number;
  /** The first of them. */
  row: number;
  column: number;
}

export type TensorRole =
  | "weight"
  | "weight gradient"
  | "first moment"
  | "second moment"
  | "activation"
  | "activation gradient"
  | "cache";

/** What the rows or columns of a tensor stand for: `tokens` the vocabulary's ids, `positions` the tokens of the captured text. */
export type AxisMeaning = "tokens" | "positions" | "channels" | "numbers";

export interface TensorEntry {
  id: string;
  /** Without the place: `layers.0.attn.qkv.weight`. */
  name: string;
  /** As Hugging Face names it, and the rows of this tensor that hold it; empty where it has no such name. */
  published: { name: string; row: number; rows: number }[];
  role: TensorRole;
  /** As it is in the model; `rows` × `columns` is how it is looked at. */
  shape: number[];
  rows: number;
  columns: number;
  dtype: "f32";
  bytes: number;
  /** Of the layers, from 0; undefined for embedding, head and final norm. */
  layer?: number;
  rowMeaning: AxisMeaning;
  columnMeaning: AxisMeaning;
}

/** A part of a matrix, in elements, fractions allowed: rows [row0, row1), columns [column0, column1). */
export interface Rect {
  row0: number;
  row1: number;
  column0: number;
  column1: number;
}

// ---- overview, histogram, marginals, values ----

/** What rows may be put in order by: root mean square, largest magnitude, mean, or the distance from the same row of another tensor. */
export type RowMeasure = "rms" | "absolute" | "mean" | "change";

/**
 * A part of a matrix in at most so many cells. Cell (y, x) is elements [rowStarts[y], rowStarts[y + 1]) × [columnStarts[x],
 * columnStarts[x + 1]): every element that the part touches belongs to exactly one cell, and no cell is empty. Where there are as many
 * cells as elements, `extreme` is the values themselves, bit for bit, but for those that are not finite. Where an order of rows was asked for, rows are counted by their places in it.
 */
export interface Overview {
  id: string;
  rect: Rect;
  /** Cells across and down; not more than asked for, nor than elements. */
  width: number;
  height: number;
  rowStarts: Uint32Array<ArrayBuffer>;
  columnStarts: Uint32Array<ArrayBuffer>;
  /** [height, width] each, over the finite values of a cell; 0 where there are none. */
  extreme: Float32Array<ArrayBuffer>;
  mean: Float32Array<ArrayBuffer>;
  rms: Float32Array<ArrayBuffer>;
  /** [height, width]: elements that are NaN or infinite. */
  nonFinite: Uint32Array<ArrayBuffer>;
  /** [height, width]: elements that are exactly zero. */
  zeros: Uint32Array<ArrayBuffer>;
  cost: Cost;
}

/** What an answer cost on the device. */
export interface Cost {
  /** Bytes read from the tensor. */
  bytes: number;
  /** Of the kernels alone, where the adapter has timestamps; else undefined. */
  gpuMilliseconds?: number;
  /** From the request to the result in hand. */
  milliseconds: number;
}

export type Aggregate = "extreme" | "mean" | "rms" | "absolute" | "deviation" | "zeros" | "nonFinite";

/**
 * All values of a tensor, counted. Bins are eight to an octave, for either sign: bin i of `positive` holds values in
 * [edges[i], edges[i + 1]), bin i of `negative` those in (−edges[i + 1], −edges[i]]. Subnormal numbers are in the first eight.
 */
export interface Histogram {
  id: string;
  /** 255 · 8 + 1 edges, from 0 to beyond the largest float. */
  edges: Float64Array<ArrayBuffer>;
  positive: Uint32Array<ArrayBuffer>;
  negative: Uint32Array<ArrayBuffer>;
  count: number;
  finite: number;
  zeros: number;
  subnormals: number;
  nan: number;
  plusInfinity: number;
  minusInfinity: number;
  /** Of the first element that is not finite; undefined where all are. */
  firstNonFinite?: { row: number; column: number };
  /** Over the finite values. */
  min: number;
  max: number;
  mean: number;
  rms: number;
  deviation: number;
  quantiles: Quantile[];
  /** The same of |x|. */
  magnitudes: Quantile[];
  cost: Cost;
}

/** An order statistic: the true one lies in [low, high], a bin; `value` is interpolated within it. */
export interface Quantile {
  q: number;
  value: number;
  low: number;
  high: number;
}

/** Of each row, or of each column, over its finite values. */
export interface Marginals {
  id: string;
  axis: "rows" | "columns";
  norm: Float64Array<ArrayBuffer>;
  mean: Float64Array<ArrayBuffer>;
  /** The largest magnitude. */
  largest: Float64Array<ArrayBuffer>;
  nonFinite: Uint32Array<ArrayBuffer>;
  cost: Cost;
}

/** How far each row of a tensor is from that of another of the same shape. */
export interface RowChanges {
  id: string;
  other: string;
  /** ‖b_row − a_row‖ over the elements that are finite in both, a the other one. */
  distance: Float64Array<ArrayBuffer>;
  /** Elements of the two that are not finite. */
  nonFinite: Uint32Array<ArrayBuffer>;
}

/** Exact values of a small part; `describeValue` (value.ts) tells hexadecimal bits and ulp. */
export interface Values {
  id: string;
  row0: number;
  row1: number;
  column0: number;
  column1: number;
  /** [row1 − row0, column1 − column0] */
  values: Float32Array<ArrayBuffer>;
}

/** Elements that {@link Values} may have. */
export const mostValues = 65536;

/** A token as it is shown. */
export interface TokenLabel {
  id: number;
  text: string;
}

// ---- captures ----

/** A text to run. `response` is where the tokens begin that the loss is over, and that are rated; in a plain text that is token 1. */
export type InspectedText =
  | { kind: "text"; text: string }
  | { kind: "summary"; post: Post; summary: string }
  | { kind: "ids"; ids: readonly number[]; response?: number };

export interface CaptureRequest {
  place: string;
  text: InspectedText;
  /**
   * Names of activations to keep, `*` for anything: `layers.*.attn.qkv`. Gradients end in `.grad`; `weights.*.grad` are those of
   * weights. By default {@link usualPatterns}.
   */
  patterns?: string[];
  /**
   * Runs the loss of SFT backward too (of a reward model, the score of the last token), and tells how the gradient flows. Implied by a pattern
   * that asks for gradients.
   */
  gradients?: boolean;
  /** Whether the loss is over the tokens before the response too. By default what the place's configuration says (`sft.queryLoss`). */
  queryLoss?: boolean;
  /**
   * Has the model write so many tokens greedily first, fewer where EOS comes before, behind the text or, of a summary, in its place. They
   * are part of what is run. Of language models alone.
   */
  write?: number;
  /**
   * Keeps keys and values of every layer as `cache.<layer>.keys` and `.values`: those that writing left, which lack the last token's, or
   * where nothing was written, the text's.
   */
  cache?: boolean;
  /** Records every dispatch, with its time where the adapter has timestamps. */
  dispatches?: boolean;
}

/** What attention maps and the logit lens need. */
export const usualPatterns = ["embed", "layers.*.attn.qkv", "layers.*.mlp.out", "hidden"];

/** A text that was run, and what was kept of it on the device until {@link InspectService.release}. */
export interface Capture {
  /** `capture 3`; ids of its tensors are `capture 3#<name>`. */
  id: string;
  place: string;
  tokens: TokenLabel[];
  /** The first token of the response. */
  response: number;
  /** How many tokens at the end the model has written itself. */
  written: number;
  /** The first token that the loss is over. */
  lossFrom: number;
  /** In the order in which they were computed. */
  tensors: TensorEntry[];
  /** Bytes that it holds on the device. */
  bytes: number;
  layers: number;
  queryHeads: number;
  /** Mean over the tokens from `lossFrom` on, in nats; of a reward model undefined. */
  loss?: number;
  /** Of a reward model. */
  score?: number;
  flow?: GradientFlow;
  /** How many dispatches were recorded. */
  dispatches: number;
}

// ---- attention ----

/** How much each token attends to those before it: probabilities [T, T], row = the token that looks, 0 above the diagonal. */
export interface AttentionMap {
  layer: number;
  head: number;
  tokens: number;
  /** [T, T] */
  probabilities: Float32Array<ArrayBuffer>;
  cost: Cost;
}

/** Every head of every layer, max-pooled. */
export interface AttentionThumbnails {
  layers: number;
  heads: number;
  /** Cells on a side: min(48, T). Token t is in cell ⌊t · edge / T⌋. */
  edge: number;
  /** [layers, heads, edge, edge]: the largest probability of a cell. */
  probabilities: Float32Array<ArrayBuffer>;
  cost: Cost;
}

// ---- logit lens and alternatives ----

/** A token that a model holds likely. */
export interface Candidate extends TokenLabel {
  /** nats, at temperature 1 */
  logprob: number;
  /** From 0, the likeliest; equal logits by id. */
  rank: number;
}

/** What each layer's residual stream would say of the next token, put through final norm and head. */
export interface LogitLens {
  /** The positions that were asked for. */
  positions: number[];
  /** `embed`, then `layers.0.mlp.out` … one a row; the last row is the model's own answer. */
  depths: { name: string; cells: LensCell[] }[];
  cost: Cost;
}

export interface LensCell {
  position: number;
  top: Candidate[];
  entropy: number;
  /** Of the token that follows in the text; undefined behind the last. */
  next?: Candidate;
}

/** A token of the text, and what else a model held likely there. */
export interface TokenAlternatives extends TokenLabel {
  position: number;
  /** One a model, in the order of the places. */
  models: {
    /** Of this token. */
    logprob: number;
    rank: number;
    entropy: number;
    /** The k likeliest; `rankElsewhere` is the rank with the other model, where there are two. */
    top: (Candidate & { rankElsewhere?: number; logprobElsewhere?: number })[];
  }[];
}

export interface Alternatives {
  places: string[];
  k: number;
  /** Every token with one before it. */
  tokens: TokenAlternatives[];
}

// ---- gradient flow ----

/** How a loss's gradient goes through the layers. */
export interface GradientFlow {
  /** Of the residual stream's gradient, from the embedding to the last layer: `embed`, `layers.0.mlp.out` … */
  stream: { name: string; norm: number; rms: number }[];
  /** Of the weights, in order. */
  weights: WeightFlow[];
  /** The same over whole layers: `embedding`, `layers.0` … `norm`, `head`. */
  layers: WeightFlow[];
}

export interface WeightFlow {
  name: string;
  weightNorm: number;
  gradientNorm: number;
  gradientRms: number;
  /** ‖gradient‖ / ‖weight‖ */
  gradientRatio: number;
  /**
   * ‖update‖ / ‖weight‖ at the learning rate of the place's configuration: AdamW's next step from the moments where the folder has
   * them, else its first step. Without weight decay and clipping.
   */
  updateRatio: number;
  nonFinite: number;
}

// ---- kernels ----

/** One dispatch, as it was recorded. */
export interface Dispatch {
  /** In order of encoding, from 0. */
  index: number;
  /** Where in the model: `layers.3`, `rmsnorm.grad`. */
  path: string;
  kernel: string;
  /** Key of the text in {@link Recording.sources}. */
  source: string;
  overrides: Record<string, number>;
  params: Record<string, number>;
  workgroups: [number, number, number];
  bindings: {
    name: string;
    tensor: string;
    shape: number[];
    dtype: string;
    bytes: number;
    access: "read" | "write" | "window";
    /** The dispatch that wrote what is read here; undefined for what was there before. */
    producer?: number;
  }[];
  microseconds?: number;
  /** Read and written, by the kernel's contract (the first lines of its text), or else every tensor that is bound counted once. */
  bytesMoved: number;
  bytesBy: "contract" | "bindings";
  /** By the contract; undefined where it gives none. */
  flops?: number;
  /** bytesMoved by microseconds. */
  gigabytesPerSecond?: number;
}

export interface Recording {
  dispatches: Dispatch[];
  /** WGSL by key. */
  sources: Record<string, string>;
  /** GB/s of a copy on this adapter, measured at the first recording that is asked for. */
  peakGigabytesPerSecond: number;
}

/** The dispatches that made a tensor: the last one to write it, and those before that it went on from. */
export interface Behind extends Recording {
  tensor: string;
  /** Indices among all that were recorded. */
  writers: number[];
}

// ---- what is not finite ----

/** Whether a text goes through a model, forward and backward, without a value that is not finite. */
export interface FiniteCheck {
  /** The first tensor with such values, the kernel that made it, and how many there are; undefined where all is finite. */
  first?: string;
  tokens: TokenLabel[];
}

// ---- two places ----

/** How one tensor differs between two places a and b. */
export interface TensorChange {
  name: string;
  shape: number[];
  /** ‖b − a‖ / ‖a‖ */
  relative: number;
  /** max |b − a| */
  largest: number;
  norm: number;
  /** Elements of the two that are not finite; they count in nothing else. */
  nonFinite: number;
}

export interface MovedRow {
  row: number;
  /** Of rows that stand for tokens. */
  token?: string;
  /** ‖b_row − a_row‖ */
  distance: number;
  /** distance / ‖a_row‖ */
  relative: number;
  cosine: number;
}

/** The same text through two models. */
export interface SamePrompt {
  places: [string, string];
  /** Tokens of the text from `response` on. */
  tokens: (TokenLabel & { position: number; logprob: [number, number]; entropy: [number, number] })[];
  /** What each goes on with greedily, behind the query of a summary, or behind all of another text. */
  continuations: [TokenLabel[], TokenLabel[]];
}
