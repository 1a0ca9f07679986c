/** Qwen2's `config.json`, as Hugging Face writes it (transformers, `Qwen2Config`), and the tensors that it implies. */
import { DamagedFileError, parseJson, shown } from "./bytes.ts";

/** The shape of a Qwen2 model. Lengths are in elements, ids index the vocabulary. */
export interface Qwen2Config {
  /** What the final hidden state goes through: the vocabulary (`Qwen2ForCausalLM`) or one number (`Qwen2ForSequenceClassification`). */
  head: "language" | "score";
  vocabulary: number;
  hiddenSize: number;
  layers: number;
  queryHeads: number;
  keyValueHeads: number;
  headDim: number;
  /** Width of the SwiGLU layer. */
  feedForward: number;
  /** Whether the language head is the embedding matrix. */
  tiedHead: boolean;
  /** Biases on the query, key and value projections and on no other: always so in Qwen2. */
  attentionBias: true;
  ropeTheta: number;
  rmsNormEps: number;
  /** Tokens. */
  maxPositions: number;
  eosTokenId: number;
  bosTokenId: number | null;
  padTokenId: number | null;
  /** Standard deviation of freshly drawn weights. */
  initializerRange: number;
}

type Json = Record<string, unknown>;

/** Far above any Qwen2 there is; a damaged file must not make us list a billion tensors. */
const MOST_LAYERS = 1024;
const LARGEST_LENGTH = 2 ** 24;

/**
 * Reads a `config.json`. Absent fields take the defaults of transformers' `Qwen2Config`; sizes that define the model must be there.
 * @param path for messages
 * @throws DamagedFileError naming file and field, and what the field should be, where the file is not a Qwen2 configuration that we
 *   can run: another model type or activation, sliding windows, scaled RoPE, quantisation, dropout
 */
export function parseQwen2Config(path: string, content: Uint8Array | string): Qwen2Config {
  const json = parseJson(path, typeof content === "string" ? new TextEncoder().encode(content) : content);
  if (!isObject(json)) {
    throw new DamagedFileError(`${path} is not a JSON object; restore or download it again.`);
  }
  const wrong = (field: string, should: string) => {
    const is = Object.hasOwn(json, field) ? shown(json[field]) : "missing";
    return new DamagedFileError(`${path}: ${field} is ${is} but should be ${should}.`);
  };
  const given = (field: string) => Object.hasOwn(json, field) && json[field] !== null;
  const whole = (field: string, fallback?: number, most = LARGEST_LENGTH) => {
    if (fallback !== undefined && !given(field)) return fallback;
    const value = json[field];
    if (!Number.isSafeInteger(value) || (value as number) < 1 || (value as number) > most) {
      throw wrong(field, `a whole number from 1 to ${most}`);
    }
    return value as number;
  };
  const positive = (field: string, fallback: number) => {
    const value = given(field) ? json[field] : fallback;
    if (typeof value !== "number" || !Number.isFinite(value) || value <= 0) {
      throw wrong(field, "a positive number");
    }
    return value;
  };
  const truth = (field: string, fallback: boolean) => {
    const value = given(field) ? json[field] : fallback;
    if (typeof value !== "boolean") throw wrong(field, "true or false");
    return value;
  };

  if (json.model_type !== "qwen2") throw wrong("model_type", '"qwen2", the only architecture supported');
  const head = parseHead(json, wrong);
  refuseUnsupported(path, json, wrong);

  const vocabulary = whole("vocab_size");
  const hiddenSize = whole("hidden_size");
  const queryHeads = whole("num_attention_heads");
  const keyValueHeads = whole("num_key_value_heads", queryHeads);
  if (queryHeads % keyValueHeads !== 0) {
    throw wrong("num_key_value_heads", `a divisor of num_attention_heads, ${queryHeads}`);
  }
  if (!given("head_dim") && hiddenSize % queryHeads !== 0) {
    throw wrong("hidden_size", `a multiple of num_attention_heads, ${queryHeads}`);
  }
  const headDim = whole("head_dim", hiddenSize / queryHeads);
  if (headDim % 8 !== 0 || headDim > 128) {
    throw wrong(
      given("head_dim") ? "head_dim" : "hidden_size",
      "such that each head has a multiple of 8 dimensions, at most 128: what the attention kernels take",
    );
  }

  const id = (field: string, value: unknown) => {
    if (!Number.isSafeInteger(value) || (value as number) < 0 || (value as number) >= vocabulary) {
      throw wrong(field, `a token id below vocab_size, ${vocabulary}`);
    }
    return value as number;
  };
  const eos = Array.isArray(json.eos_token_id) && json.eos_token_id.length === 1
    ? json.eos_token_id[0]
    : json.eos_token_id;

  return {
    head,
    vocabulary,
    hiddenSize,
    layers: whole("num_hidden_layers", undefined, MOST_LAYERS),
    queryHeads,
    keyValueHeads,
    headDim,
    feedForward: whole("intermediate_size"),
    tiedHead: truth("tie_word_embeddings", false),
    attentionBias: true,
    ropeTheta: ropeTheta(json, wrong) ?? positive("rope_theta", 10_000),
    rmsNormEps: positive("rms_norm_eps", 1e-6),
    maxPositions: whole("max_position_embeddings", 32_768),
    eosTokenId: id("eos_token_id", eos),
    bosTokenId: given("bos_token_id") ? id("bos_token_id", json.bos_token_id) : null,
    padTokenId: given("pad_token_id") ? id("pad_token_id", json.pad_token_id) : null,
    initializerRange: positive("initializer_range", 0.02),
  };
}

function parseHead(json: Json, wrong: (field: string, should: string) => Error): Qwen2Config["head"] {
  const should = '["Qwen2ForCausalLM"] or ["Qwen2ForSequenceClassification"]';
  const { architectures } = json;
  if (architectures === undefined || architectures === null) return "language";
  if (!Array.isArray(architectures) || architectures.length !== 1) throw wrong("architectures", should);
  if (architectures[0] === "Qwen2ForCausalLM") return "language";
  if (architectures[0] !== "Qwen2ForSequenceClassification") throw wrong("architectures", should);
  // transformers writes the number of labels only as the length of id2label, and takes two where neither is there.
  if (Object.hasOwn(json, "num_labels")) {
    if (json.num_labels !== 1) throw wrong("num_labels", "1, for a reward model");
  } else if (!isObject(json.id2label) || Object.keys(json.id2label).length !== 1) {
    throw wrong("id2label", "a map with one label, for a reward model");
  }
  return "score";
}

function refuseUnsupported(path: string, json: Json, wrong: (field: string, should: string) => Error): void {
  const unsupported = (field: string, what: string) => {
    throw new DamagedFileError(
      `${path}: ${field} asks for ${what}, which is not supported; use a model without.`,
    );
  };
  if ((json.hidden_act ?? "silu") !== "silu") {
    throw wrong("hidden_act", '"silu", the only activation supported');
  }
  if ((json.use_sliding_window ?? false) !== false) {
    unsupported("use_sliding_window", "sliding-window attention");
  }
  if (Array.isArray(json.layer_types) && json.layer_types.some((type) => type !== "full_attention")) {
    unsupported("layer_types", "attention other than full_attention");
  }
  if (json.rope_scaling !== undefined && json.rope_scaling !== null) {
    const scaling = json.rope_scaling as Json;
    if ((scaling.rope_type ?? scaling.type) !== "default") {
      unsupported("rope_scaling", "scaled rotary embeddings");
    }
  }
  if (json.partial_rotary_factor !== undefined && json.partial_rotary_factor !== 1) {
    unsupported("partial_rotary_factor", "rotary embeddings on part of a head");
  }
  if (json.attention_bias !== undefined && json.attention_bias !== true) {
    throw wrong("attention_bias", "true or left out: Qwen2 has query, key and value biases");
  }
  if ((json.attention_dropout ?? 0) !== 0) unsupported("attention_dropout", "dropout");
  if (json.quantization_config !== undefined && json.quantization_config !== null) {
    unsupported("quantization_config", "quantised weights");
  }
}

/** transformers 5 keeps RoPE's base in `rope_parameters`; undefined where the file does not have that. */
function ropeTheta(json: Json, wrong: (field: string, should: string) => Error): number | undefined {
  const parameters = json.rope_parameters;
  if (parameters === undefined || parameters === null) return undefined;
  const should = 'an object with rope_type "default" and a positive rope_theta';
  if (!isObject(parameters) || (parameters.rope_type ?? "default") !== "default") {
    throw wrong("rope_parameters", should);
  }
  const theta = parameters.rope_theta;
  if (theta === undefined) return undefined;
  if (typeof theta !== "number" || !Number.isFinite(theta) || theta <= 0) {
    throw wrong("rope_parameters", should);
  }
  return theta;
}

/** The configuration as an object in Hugging Face's layout, for `config.json`. `dtype` is that of the weights beside it. */
export function qwen2ConfigJson(
  config: Qwen2Config,
  dtype: "F32" | "F16" | "BF16" = "F32",
): Record<string, unknown> {
  const score = config.head === "score";
  const derivedHeadDim = config.hiddenSize / config.queryHeads;
  return {
    architectures: [score ? "Qwen2ForSequenceClassification" : "Qwen2ForCausalLM"],
    attention_dropout: 0,
    ...(config.bosTokenId === null ? {} : { bos_token_id: config.bosTokenId }),
    eos_token_id: config.eosTokenId,
    ...(config.headDim === derivedHeadDim ? {} : { head_dim: config.headDim }),
    hidden_act: "silu",
    hidden_size: config.hiddenSize,
    ...(score ? { id2label: { "0": "LABEL_0" } } : {}),
    initializer_range: config.initializerRange,
    intermediate_size: config.feedForward,
    ...(score ? { label2id: { LABEL_0: 0 } } : {}),
    max_position_embeddings: config.maxPositions,
    max_window_layers: config.layers,
    model_type: "qwen2",
    num_attention_heads: config.queryHeads,
    num_hidden_layers: config.layers,
    num_key_value_heads: config.keyValueHeads,
    ...(config.padTokenId === null ? {} : { pad_token_id: config.padTokenId }),
    rms_norm_eps: config.rmsNormEps,
    rope_theta: config.ropeTheta,
    sliding_window: null,
    tie_word_embeddings: config.tiedHead,
    torch_dtype: { F32: "float32", F16: "float16", BF16: "bfloat16" }[dtype],
    use_cache: true,
    use_sliding_window: false,
    vocab_size: config.vocabulary,
  };
}

/**
 * Every tensor of the model, with Hugging Face's names and shapes [output, input]: 290 for Qwen2.5-0.5B. A reward model has
 * `score.weight` in place of a language head.
 */
export function expectedTensors(config: Qwen2Config): { name: string; shape: number[] }[] {
  const { hiddenSize, headDim, feedForward, vocabulary } = config;
  const query = config.queryHeads * headDim;
  const keyValue = config.keyValueHeads * headDim;
  const tensors: { name: string; shape: number[] }[] = [];
  const add = (name: string, ...shape: number[]) => tensors.push({ name, shape });

  add("model.embed_tokens.weight", vocabulary, hiddenSize);
  for (let layer = 0; layer < config.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    add(`${prefix}.input_layernorm.weight`, hiddenSize);
    add(`${prefix}.self_attn.q_proj.weight`, query, hiddenSize);
    add(`${prefix}.self_attn.q_proj.bias`, query);
    add(`${prefix}.self_attn.k_proj.weight`, keyValue, hiddenSize);
    add(`${prefix}.self_attn.k_proj.bias`, keyValue);
    add(`${prefix}.self_attn.v_proj.weight`, keyValue, hiddenSize);
    add(`${prefix}.self_attn.v_proj.bias`, keyValue);
    add(`${prefix}.self_attn.o_proj.weight`, hiddenSize, query);
    add(`${prefix}.post_attention_layernorm.weight`, hiddenSize);
    add(`${prefix}.mlp.gate_proj.weight`, feedForward, hiddenSize);
    add(`${prefix}.mlp.up_proj.weight`, feedForward, hiddenSize);
    add(`${prefix}.mlp.down_proj.weight`, hiddenSize, feedForward);
  }
  add("model.norm.weight", hiddenSize);
  if (config.head === "score") add("score.weight", 1, hiddenSize);
  else if (!config.tiedHead) add("lm_head.weight", vocabulary, hiddenSize);
  return tensors;
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
