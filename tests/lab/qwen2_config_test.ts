import { assert, assertEquals, assertMatch, assertThrows } from "deno-std/assert/mod.js";
import { DamagedFileError } from "../../lab/bytes.ts";
import { feedDamaged } from "./damage.ts";
import {
  expectedTensors,
  parseQwen2Config,
  type Qwen2Config,
  qwen2ConfigJson,
} from "../../lab/qwen2_config.ts";

/** Qwen2.5-0.5B's published configuration. */
const PUBLISHED = {
  architectures: ["Qwen2ForCausalLM"],
  attention_dropout: 0.0,
  bos_token_id: 151643,
  eos_token_id: 151643,
  hidden_act: "silu",
  hidden_size: 896,
  initializer_range: 0.02,
  intermediate_size: 4864,
  max_position_embeddings: 32768,
  max_window_layers: 24,
  model_type: "qwen2",
  num_attention_heads: 14,
  num_hidden_layers: 24,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-06,
  rope_theta: 1000000.0,
  sliding_window: 32768,
  tie_word_embeddings: true,
  torch_dtype: "bfloat16",
  transformers_version: "4.40.1",
  use_cache: true,
  use_mrope: false,
  use_sliding_window: false,
  vocab_size: 151936,
};
const QWEN: Qwen2Config = {
  head: "language",
  vocabulary: 151936,
  hiddenSize: 896,
  layers: 24,
  queryHeads: 14,
  keyValueHeads: 2,
  headDim: 64,
  feedForward: 4864,
  tiedHead: true,
  attentionBias: true,
  ropeTheta: 1e6,
  rmsNormEps: 1e-6,
  maxPositions: 32768,
  eosTokenId: 151643,
  bosTokenId: 151643,
  padTokenId: null,
  initializerRange: 0.02,
};
const parse = (json: unknown) => parseQwen2Config("config.json", JSON.stringify(json));
const FINGERPRINTS = new URL("../../../shared/data/qwen2.5/tensor-fingerprints.json", import.meta.url);

Deno.test("Qwen2.5-0.5B's configuration is read as published", () => {
  assertEquals(parse(PUBLISHED), QWEN);
});

Deno.test("its 290 tensors hold 494,032,768 parameters; a reward model has 896 more", () => {
  const count = (config: Qwen2Config) =>
    expectedTensors(config).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b), 0);
  assertEquals(expectedTensors(QWEN).length, 290);
  assertEquals(count(QWEN), 494_032_768);
  assertEquals(count({ ...QWEN, head: "score" }), 494_032_768 + 896);
  assertEquals(count({ ...QWEN, tiedHead: false }), 494_032_768 + 136_134_656);
  assertEquals(expectedTensors({ ...QWEN, head: "score" }).at(-1), { name: "score.weight", shape: [1, 896] });
});

Deno.test({
  name: "the names are one to one those of a conversion of Qwen2.5-0.5B by others (shared/data)",
  ignore: !await Deno.stat(FINGERPRINTS).then(() => true, () => false),
  fn: async () => {
    const fingerprints = JSON.parse(await Deno.readTextFile(FINGERPRINTS));
    const theirs = Object.keys(fingerprints).filter((key) => /\.(weight|bias)$/.test(key)).sort();
    const parts: [RegExp, string][] = [
      [/^model\.embed_tokens/, "token_embd"],
      [/^model\.norm/, "output_norm"],
      [/^model\.layers\./, "blk."],
      [/input_layernorm/, "attn_norm"],
      [/post_attention_layernorm/, "ffn_norm"],
      [/self_attn\.o_proj/, "attn_output"],
      [/self_attn\.(\w)_proj/, "attn_$1"],
      [/mlp\.(\w+)_proj/, "ffn_$1"],
    ];
    const ours = expectedTensors(QWEN).map(({ name }) =>
      parts.reduce((text, [from, to]) => text.replace(from, to), name)
    );
    assertEquals(ours.sort(), theirs);
  },
});

Deno.test("what we write we read back, for both heads and with everything unusual", () => {
  const unusual: Qwen2Config = {
    ...QWEN,
    headDim: 32,
    tiedHead: false,
    padTokenId: 5,
    bosTokenId: null,
    ropeTheta: 12_345.5,
  };
  for (const head of ["language", "score"] as const) {
    for (const config of [QWEN, unusual]) {
      const json = qwen2ConfigJson({ ...config, head }, "BF16");
      assertEquals(parse(json), { ...config, head });
      assertEquals(json.torch_dtype, "bfloat16");
    }
  }
  // Each field of the published file is written back as it was, but for those that say nothing about the model.
  const written = qwen2ConfigJson(QWEN, "BF16");
  for (const [field, value] of Object.entries(PUBLISHED)) {
    if (["transformers_version", "use_mrope", "sliding_window"].includes(field)) continue;
    assertEquals(written[field], value, field);
  }
});

Deno.test("the layout of transformers 5 is read too", () => {
  const { rope_theta: _, torch_dtype: __, ...rest } = PUBLISHED;
  const json = {
    ...rest,
    dtype: "bfloat16",
    rope_parameters: { rope_theta: 1e6, rope_type: "default" },
    layer_types: Array(24).fill("full_attention"),
  };
  assertEquals(parse(json), QWEN);
});

Deno.test("num_labels 1 makes a reward model, written out or as one label", () => {
  const base = { ...PUBLISHED, architectures: ["Qwen2ForSequenceClassification"] };
  assertEquals(parse({ ...base, num_labels: 1 }).head, "score");
  assertEquals(parse({ ...base, id2label: { "0": "LABEL_0" } }).head, "score");
});

const faults: [string, Record<string, unknown>, RegExp][] = [
  ["another model", { model_type: "llama" }, /model_type is "llama" but should be "qwen2"/],
  ["another head", { architectures: ["Qwen2ForTokenClassification"] }, /architectures is .* but should be/],
  [
    "a classifier of unknown size",
    { architectures: ["Qwen2ForSequenceClassification"] },
    /id2label is missing but should be a map with one label/,
  ],
  [
    "two labels",
    { architectures: ["Qwen2ForSequenceClassification"], num_labels: 2 },
    /num_labels is 2 but should be 1/,
  ],
  ["another activation", { hidden_act: "gelu" }, /hidden_act is "gelu" but should be "silu"/],
  ["sliding windows", { use_sliding_window: true }, /use_sliding_window asks for sliding-window attention/],
  [
    "sliding layers",
    { layer_types: ["full_attention", "sliding_attention"] },
    /layer_types asks for attention other/,
  ],
  ["scaled RoPE", { rope_scaling: { type: "yarn", factor: 4 } }, /rope_scaling asks for scaled rotary/],
  [
    "scaled RoPE, new layout",
    { rope_parameters: { rope_type: "yarn", rope_theta: 1e6 } },
    /rope_parameters is .*"yarn"/,
  ],
  ["no biases", { attention_bias: false }, /attention_bias is false but should be true or left out/],
  ["dropout", { attention_dropout: 0.1 }, /attention_dropout asks for dropout/],
  ["quantised weights", { quantization_config: { bits: 4 } }, /quantization_config asks for quantised/],
  ["no size", { hidden_size: undefined }, /hidden_size is missing but should be a whole number/],
  ["a size in words", { hidden_size: "896" }, /hidden_size is "896" but should be a whole number/],
  [
    "a billion layers",
    { num_hidden_layers: 1e9 },
    /num_hidden_layers is 1000000000 but should be a whole number from 1 to 1024/,
  ],
  ["no layers", { num_hidden_layers: 0 }, /num_hidden_layers is 0/],
  [
    "heads that do not divide",
    { num_attention_heads: 15 },
    /num_key_value_heads is 2 but should be a divisor of num_attention_heads, 15/,
  ],
  ["a width that does not divide", { hidden_size: 898 }, /hidden_size is 898 but should be a multiple/],
  ["odd heads", { hidden_size: 14 * 63 }, /hidden_size is 882 .* a multiple of 8 dimensions/],
  [
    "an id outside the vocabulary",
    { eos_token_id: 151936 },
    /eos_token_id is 151936 but should be a token id below vocab_size, 151936/,
  ],
  ["several ends", { eos_token_id: [1, 2] }, /eos_token_id is \[1,2\]/],
  ["no end", { eos_token_id: null }, /eos_token_id is null/],
  ["a negative epsilon", { rms_norm_eps: -1 }, /rms_norm_eps is -1 but should be a positive number/],
  [
    "a tie in words",
    { tie_word_embeddings: "yes" },
    /tie_word_embeddings is "yes" but should be true or false/,
  ],
];
for (const [what, change, message] of faults) {
  Deno.test(`a configuration with ${what} is refused by name`, () => {
    const error = assertThrows(() => parse({ ...PUBLISHED, ...change }), DamagedFileError);
    assertMatch(error.message, message);
    assertMatch(error.message, /^config\.json: .*\.$/);
  });
}

Deno.test("a thousand damaged configurations end in a DamagedFileError or in one that makes sense", async () => {
  await feedDamaged(JSON.stringify(PUBLISHED, null, 2), (bytes) => {
    const config = parseQwen2Config("config.json", bytes);
    for (const { shape } of expectedTensors(config)) {
      if (!shape.every((length) => Number.isSafeInteger(length) && length > 0)) {
        throw new Error(`shape ${shape}`);
      }
    }
    for (const value of [config.ropeTheta, config.rmsNormEps, config.initializerRange]) {
      assert(Number.isFinite(value) && value > 0);
    }
    for (const id of [config.eosTokenId, config.bosTokenId ?? 0, config.padTokenId ?? 0]) {
      assert(Number.isInteger(id) && id >= 0 && id < config.vocabulary);
    }
    assertEquals(typeof config.tiedHead, "boolean");
  }, { names: "config.json" });
});
