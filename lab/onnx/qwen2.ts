/**
 * Qwen2 as an ONNX graph, in the layout that transformers.js' text generation and Optimum's decoders expect: one graph for the prompt
 * and for every later token, keys and values of earlier tokens passed in and out.
 *
 * B sequences, T new tokens, P past ones, S = P + T; D hidden, Hq query and Hkv key heads of hd, g = Hq / Hkv, V vocabulary. Between
 * layers the tokens are rows [B·T, D], so that each linear layer is one Gemm over a weight as Hugging Face stores it, [output, input].
 * Of ONNX only opset 17's plain operators are used, which every provider of onnxruntime-web has or leaves to WebAssembly; norms are
 * written in the form that onnxruntime fuses for its CPU providers.
 *
 * In f16 the matrix products and the cache are f16. The residual stream, norms, rotary embeddings and softmax stay f32: Qwen2.5's
 * residual stream and its products q·k outgrow f16, which is why q is scaled before the product and not after.
 */
import type { Qwen2Config } from "../qwen2_config.ts";
import { type ElementType, elementTypes, type OnnxGraph, type Value } from "./graph.ts";

export const opset = 17;

/** Names a weight as Hugging Face does and gives its place in the graph. */
export type WeightOf = (name: string) => Value;

/** What all layers need. */
interface Trunk {
  graph: OnnxGraph;
  config: Qwen2Config;
  weight: WeightOf;
  /** Of weights, products and cache. */
  type: "f32" | "f16";
  /** Scalars that are known when the graph runs, as lists of one. */
  extents: { B: Value; T: Value; S: Value };
  /** Rotary embeddings, f32 [B, 1, T, hd] */
  rotary: { cos: Value; sin: Value };
  /** Added to scores, f32 [B, 1, T, S]: 0 where a query may look, else very negative */
  mask: Value;
}

/**
 * A language model. Inputs `input_ids`, `attention_mask`, `position_ids`, `num_logits_to_keep` (0 for all; transformers.js asks for 1, as
 * logits of a whole prompt are T × V numbers) and `past_key_values.N.key|value`; outputs `logits` (f32) and `present.N.key|value`.
 */
export function decoderGraph(
  graph: OnnxGraph,
  config: Qwen2Config,
  weight: WeightOf,
  type: "f32" | "f16",
): void {
  const { keyValueHeads, headDim, vocabulary, hiddenSize, layers } = config;
  const ids = graph.input("input_ids", "i64", ["batch_size", "sequence_length"]);
  const attentionMask = graph.input("attention_mask", "i64", ["batch_size", "total_sequence_length"]);
  const positions = graph.input("position_ids", "i64", ["batch_size", "sequence_length"]);
  const keep = graph.input("num_logits_to_keep", "i64", []);
  const cache = (length: string) => ["batch_size", keyValueHeads, length, headDim];
  const past = Array.from({ length: layers }, (_, i) => ({
    key: graph.input(`past_key_values.${i}.key`, type, cache("past_sequence_length")),
    value: graph.input(`past_key_values.${i}.value`, type, cache("past_sequence_length")),
  }));

  const trunk = startTrunk(graph, config, weight, type, ids, attentionMask, positions);
  let h = embed(trunk, ids);
  const present = past.map((earlier, i) => {
    const layer = decoderLayer(trunk, i, h, earlier);
    h = layer.h;
    return layer;
  });

  const { B, T } = trunk.extents;
  const logits = graph.inside("head", () => {
    const zero = graph.integers([0]);
    const kept = graph.node("Reshape", [keep, graph.integers([1])]);
    const skipped = graph.node("Max", [graph.node("Sub", [T, kept]), zero]);
    const from = graph.node("Where", [graph.node("Equal", [kept, zero]), zero, skipped]);
    const all = reshape(graph, h, [B, T, hiddenSize]);
    const last = graph.node("Slice", [all, from, T, graph.integers([1])]);
    const rows = graph.node("Reshape", [last, graph.integers([-1, hiddenSize])]);
    const hidden = rmsnorm(trunk, rows, "model.norm.weight");
    const head = config.tiedHead ? "model.embed_tokens.weight" : "lm_head.weight";
    return reshape(graph, linear(trunk, hidden, head), [B, -1, vocabulary]);
  });
  graph.output(logits, "logits", "f32", ["batch_size", "num_logits", vocabulary]);
  present.forEach(({ key, value }, i) => {
    graph.output(key, `present.${i}.key`, type, cache("total_sequence_length"));
    graph.output(value, `present.${i}.value`, type, cache("total_sequence_length"));
  });
}

/**
 * A reward model. Inputs `input_ids` and `attention_mask`, padding on either side; output `logits` [B, 1]: the score at the last token of
 * the mask, the head's bias added and the normalisation offset subtracted.
 */
export function rewardGraph(
  graph: OnnxGraph,
  config: Qwen2Config,
  weight: WeightOf,
  type: "f32" | "f16",
  constant: number,
): void {
  const ids = graph.input("input_ids", "i64", ["batch_size", "sequence_length"]);
  const attentionMask = graph.input("attention_mask", "i64", ["batch_size", "sequence_length"]);
  const { hiddenSize, layers } = config;
  const length = extent(graph, ids, 1);
  const ordinals = graph.inside("positions", () => range(graph, length));
  // Only distances matter to rotary embeddings, so padding on the left may count too.
  const trunk = startTrunk(graph, config, weight, type, ids, attentionMask, ordinals);
  let h = embed(trunk, ids);
  for (let i = 0; i < layers; i++) h = decoderLayer(trunk, i, h).h;

  const { B, T } = trunk.extents;
  const scores = graph.inside("score", () => {
    const marked = graph.node("Mul", [cast(graph, attentionMask, "f32"), cast(graph, ordinals, "f32")]);
    const last = graph.node("ArgMax", [marked], { axis: 1, keepdims: 1 });
    const rows = reshape(graph, h, [B, T, hiddenSize]);
    const index = graph.node("Expand", [
      graph.node("Unsqueeze", [last, graph.integers([2])]),
      graph.integers([1, 1, hiddenSize]),
    ]);
    const chosen = graph.node("GatherElements", [rows, index], { axis: 1 });
    const hidden = rmsnorm(
      trunk,
      graph.node("Reshape", [chosen, graph.integers([-1, hiddenSize])]),
      "model.norm.weight",
    );
    return graph.node("Add", [linear(trunk, hidden, "score.weight"), graph.floats([constant], [1])]);
  });
  graph.output(scores, "logits", "f32", ["batch_size", 1]);
}

// ---- the trunk ----

function startTrunk(
  graph: OnnxGraph,
  config: Qwen2Config,
  weight: WeightOf,
  type: "f32" | "f16",
  ids: Value,
  attentionMask: Value,
  positions: Value,
): Trunk {
  const extents = { B: extent(graph, ids, 0), T: extent(graph, ids, 1), S: extent(graph, attentionMask, 1) };
  return {
    graph,
    config,
    weight,
    type,
    extents,
    rotary: graph.inside("rotary", () => rotaryTables(graph, config, positions)),
    mask: graph.inside("mask", () => causalMask(graph, attentionMask, extents)),
  };
}

/** cos and sin of position / θ^(2i / hd), the frequencies laid out twice. @param positions i64 [B, T] or [T] */
function rotaryTables(graph: OnnxGraph, { headDim, ropeTheta }: Qwen2Config, positions: Value) {
  const frequencies = Array.from({ length: headDim / 2 }, (_, i) => ropeTheta ** (-2 * i / headDim));
  const column = graph.node("Unsqueeze", [cast(graph, positions, "f32"), graph.integers([-1])]);
  const half = graph.node("Mul", [column, graph.floats(frequencies, [headDim / 2])]);
  const rows = graph.node("Concat", [half, half], { axis: -1 });
  const angles = graph.node("Unsqueeze", [rows, graph.integers([-3])]);
  return { cos: graph.node("Cos", [angles]), sin: graph.node("Sin", [angles]) };
}

/** Query t is token P + t and looks at tokens 0 … P + t that the attention mask has. Finite, so that a row of padding gives no NaN. */
function causalMask(graph: OnnxGraph, attentionMask: Value, { T, S }: Trunk["extents"]): Value {
  const keys = cast(graph, range(graph, S), "i32");
  const queries = cast(graph, graph.node("Add", [range(graph, T), graph.node("Sub", [S, T])]), "i32");
  const seen = graph.node("LessOrEqual", [keys, graph.node("Unsqueeze", [queries, graph.integers([1])])]);
  const present = graph.node("Unsqueeze", [cast(graph, attentionMask, "bool"), graph.integers([1, 2])]);
  const allowed = graph.node("And", [seen, present]);
  return graph.node("Where", [allowed, graph.floats([0], []), graph.floats([-1e30], [])]);
}

/** @returns f32 [B·T, D] */
function embed(trunk: Trunk, ids: Value): Value {
  const { graph, weight } = trunk;
  return graph.inside("embed", () => {
    const flat = graph.node("Reshape", [ids, graph.integers([-1])]);
    return widened(trunk, graph.node("Gather", [weight("model.embed_tokens.weight"), flat], { axis: 0 }));
  });
}

/** @param past keys and values [B, Hkv, P, hd], if any. @returns h f32 [B·T, D], and all keys and values [B, Hkv, S, hd] */
function decoderLayer(trunk: Trunk, i: number, h: Value, past?: { key: Value; value: Value }) {
  const { graph, config } = trunk;
  const prefix = `model.layers.${i}`;
  return graph.inside(`layers.${i}`, () => {
    const attended = graph.inside("attention", () => {
      const n = rmsnorm(trunk, h, `${prefix}.input_layernorm.weight`);
      const project = (name: string, heads: number) => {
        const flat = linear(
          trunk,
          n,
          `${prefix}.self_attn.${name}_proj.weight`,
          `${prefix}.self_attn.${name}_proj.bias`,
        );
        const split = reshape(graph, flat, [trunk.extents.B, trunk.extents.T, heads, config.headDim]);
        return graph.node("Transpose", [split], { perm: [0, 2, 1, 3] });
      };
      const scale = graph.floats([config.headDim ** -0.5], []);
      const query = graph.node("Mul", [rotated(trunk, project("q", config.queryHeads)), scale]);
      const newKey = narrowed(trunk, rotated(trunk, project("k", config.keyValueHeads)));
      const newValue = narrowed(trunk, project("v", config.keyValueHeads));
      const key = past ? graph.node("Concat", [past.key, newKey], { axis: 2 }) : newKey;
      const value = past ? graph.node("Concat", [past.value, newValue], { axis: 2 }) : newValue;
      const mixed = attention(trunk, narrowed(trunk, query), key, value);
      return { out: linear(trunk, mixed, `${prefix}.self_attn.o_proj.weight`), key, value };
    });
    const middle = graph.node("Add", [h, attended.out]);
    const out = graph.inside("mlp", () => {
      const n = rmsnorm(trunk, middle, `${prefix}.post_attention_layernorm.weight`);
      const gate = linear(trunk, n, `${prefix}.mlp.gate_proj.weight`);
      const up = linear(trunk, n, `${prefix}.mlp.up_proj.weight`);
      const activated = graph.node("Mul", [graph.node("Mul", [gate, graph.node("Sigmoid", [gate])]), up]);
      return linear(trunk, activated, `${prefix}.mlp.down_proj.weight`);
    });
    return { h: graph.node("Add", [middle, out]), key: attended.key, value: attended.value };
  });
}

/**
 * Softmax attention. The g query heads of a key head lie next to each other, so that they become further rows of one product and
 * keys and values need not be repeated.
 * @returns [B·T, Hq·hd]
 */
function attention(trunk: Trunk, query: Value, key: Value, value: Value): Value {
  const { graph, config: { queryHeads, keyValueHeads, headDim }, extents: { B, T, S } } = trunk;
  const grouped = graph.node("Reshape", [query, graph.integers([0, keyValueHeads, -1, headDim])]);
  const products = graph.node("MatMul", [grouped, graph.node("Transpose", [key], { perm: [0, 1, 3, 2] })]);
  const scores = widened(trunk, reshape(graph, products, [B, queryHeads, T, S]));
  const shares = graph.node("Softmax", [graph.node("Add", [scores, trunk.mask])], { axis: -1 });
  const rows = reshape(graph, narrowed(trunk, shares), [B, keyValueHeads, -1, S]);
  const mixed = graph.node("MatMul", [rows, value]);
  const heads = graph.node("Reshape", [mixed, graph.integers([0, queryHeads, -1, headDim])]);
  const tokens = graph.node("Transpose", [heads], { perm: [0, 2, 1, 3] });
  return widened(trunk, graph.node("Reshape", [tokens, graph.integers([-1, queryHeads * headDim])]));
}

/** x·cos + (−x₂, x₁)·sin, where x₁ and x₂ are the halves of a head. */
function rotated({ graph, config: { headDim }, rotary }: Trunk, x: Value): Value {
  return graph.inside("rope", () => {
    const slice = (from: number, to: number) =>
      graph.node("Slice", [x, graph.integers([from]), graph.integers([to]), graph.integers([3])]);
    const turned = graph.node("Concat", [
      graph.node("Neg", [slice(headDim / 2, headDim)]),
      slice(0, headDim / 2),
    ], {
      axis: -1,
    });
    return graph.node("Add", [graph.node("Mul", [x, rotary.cos]), graph.node("Mul", [turned, rotary.sin])]);
  });
}

/** x / √(mean x² + ε) ⊙ w, over rows of f32. */
function rmsnorm(trunk: Trunk, x: Value, weightName: string): Value {
  const { graph, config, weight } = trunk;
  return graph.inside("norm", () => {
    const squares = graph.node("Pow", [x, graph.floats([2], [])]);
    const mean = graph.node("ReduceMean", [squares], { axes: [-1], keepdims: 1 });
    const root = graph.node("Sqrt", [graph.node("Add", [mean, graph.floats([config.rmsNormEps], [])])]);
    return graph.node("Mul", [graph.node("Div", [x, root]), widened(trunk, weight(weightName))]);
  });
}

/** x · Wᵀ + b over rows. f32 in and out, the product in the weights' type. */
function linear(trunk: Trunk, x: Value, weightName: string, biasName?: string): Value {
  const { graph, weight } = trunk;
  const bias = biasName === undefined ? [] : [weight(biasName)];
  return widened(trunk, graph.node("Gemm", [narrowed(trunk, x), weight(weightName), ...bias], { transB: 1 }));
}

const narrowed = ({ graph, type }: Trunk, x: Value) => type === "f32" ? x : cast(graph, x, type);
const widened = ({ graph, type }: Trunk, x: Value) => type === "f32" ? x : cast(graph, x, "f32");

// ---- small things ----

const cast = (graph: OnnxGraph, x: Value, type: ElementType) =>
  graph.node("Cast", [x], { to: elementTypes[type] });

/** One extent of a tensor, as a list of one. */
function extent(graph: OnnxGraph, x: Value, axis: number): Value {
  return graph.node("Gather", [graph.node("Shape", [x]), graph.integers([axis])], { axis: 0 });
}

/** 0 … n − 1. @param n a list of one */
function range(graph: OnnxGraph, n: Value): Value {
  return graph.node("Range", [graph.integers(0), graph.node("Squeeze", [n]), graph.integers(1)]);
}

/** Reshapes to extents of which some are known only when the graph runs. */
function reshape(graph: OnnxGraph, x: Value, shape: (number | Value)[]): Value {
  const parts = shape.map((part) => typeof part === "number" ? graph.integers([part]) : part);
  return graph.node("Reshape", [x, graph.node("Concat", parts, { axis: 0 })]);
}
