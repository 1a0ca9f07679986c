import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { memoryFiles } from "../../lab/bytes.ts";
import { openCheckpoint, requireTensors } from "../../lab/checkpoint_files.ts";
import { silent } from "../../lab/progress.ts";
import { readQwen2Config } from "../../lab/qwen2.ts";
import { expectedTensors, type Qwen2Config } from "../../lab/qwen2_config.ts";
import {
  parameterCount,
  publishedConfig,
  randomWeights,
  writeRandomCheckpoint,
} from "../../lab/random_checkpoint.ts";
import { fileOrder, safetensorsBytes } from "../../lab/safetensors.ts";
import { wholeTensor } from "./golden.ts";
import { sharedText } from "./qwen.ts";

const small: Qwen2Config = {
  ...publishedConfig("Qwen/Qwen2.5-0.5B")!,
  vocabulary: 200,
  hiddenSize: 64,
  headDim: 8,
  queryHeads: 8,
  feedForward: 96,
  layers: 2,
  eosTokenId: 7,
  bosTokenId: 7,
};

async function written(config: Qwen2Config, dtype: "BF16" | "F16" | "F32", seed = 3) {
  const files = memoryFiles();
  await writeRandomCheckpoint(files, "m", config, {
    seed,
    dtype,
    progress: silent.stage("", { steps: 1, unit: "" }),
  });
  return files;
}

Deno.test("the generator gives the numbers that NumPy gives, from wherever in a tensor it starts", () => {
  // tests/oracles/random_checkpoint.py
  const expected: [string, number, number[]][] = [
    ["model.embed_tokens.weight", 100_000_000, [
      0.018538497388362885,
      -0.014343654736876488,
      0.025439690798521042,
    ]],
    ["model.layers.3.self_attn.q_proj.bias", 2, [
      0.08525002747774124,
      -0.10419447720050812,
      -0.14478972554206848,
    ]],
    ["model.norm.weight", 890, [0.8362658023834229, 1.1420834064483643, 0.8700951933860779]],
  ];
  for (const [name, from, values] of expected) {
    assertEquals(randomWeights(44413, name, 0.02, from, from + 3), Float32Array.from(values), name);
  }
});

Deno.test("weights have the deviations that they should, and differ by seed and tensor", () => {
  const draw = (seed: number, name: string) => randomWeights(seed, name, 0.02, 0, 40_000);
  const deviation = (values: Float32Array, mean: number) =>
    Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length);
  assert(Math.abs(deviation(draw(1, "a.weight"), 0) - 0.02) < 3e-4);
  assert(Math.abs(deviation(draw(1, "a.bias"), 0) - 0.1) < 2e-3);
  assert(Math.abs(deviation(draw(1, "input_layernorm.weight"), 1) - 0.1) < 2e-3);
  const first = draw(1, "a.weight");
  for (const other of [draw(2, "a.weight"), draw(1, "b.weight")]) {
    const product = other.reduce((sum, x, i) => sum + x * first[i], 0) / 40_000 / 0.02 ** 2;
    assert(Math.abs(product) < 0.02, `${product}`);
  }
});

Deno.test("a random model folder opens as what it was made like, in each dtype, and twice the same", async () => {
  for (const dtype of ["BF16", "F16", "F32"] as const) {
    const files = await written(small, dtype);
    assertEquals(await files.list("m"), ["config.json", "generation_config.json", "model.safetensors"]);
    assertEquals(await readQwen2Config(files, "m"), small);
    const weights = await openCheckpoint(files, "m");
    requireTensors(weights, expectedTensors(small));
    assertEquals(weights.dtype("model.norm.weight"), dtype);
    const up = "model.layers.1.mlp.up_proj.weight";
    const drawn = randomWeights(3, up, 0.02, 0, 96 * 64), stored = await wholeTensor(weights, up);
    const exact = { F32: 0, F16: 2 ** -11, BF16: 2 ** -8 }[dtype];
    assert(stored.every((x, i) => Math.abs(x - drawn[i]) <= exact * Math.abs(drawn[i])));
    assertEquals(
      await (await written(small, dtype)).read("m/model.safetensors"),
      await files.read("m/model.safetensors"),
    );
    await assertRejects(
      () =>
        writeRandomCheckpoint(files, "m", small, {
          seed: 1,
          dtype,
          progress: silent.stage("", { steps: 1, unit: "" }),
        }),
      Error,
      "m holds a model already",
    );
  }
});

Deno.test("like Qwen2.5-0.5B there are 290 tensors of 494,032,768 numbers in a file of 988,097,824 bytes", async () => {
  const config = publishedConfig("Qwen/Qwen2.5-0.5B")!;
  const tensors = expectedTensors(config);
  assertEquals([tensors.length, parameterCount(config)], [290, 494_032_768]);
  const plans = fileOrder(tensors.map((tensor) => ({ ...tensor, dtype: "BF16" as const })));
  assertEquals(plans.slice(0, 4).map(({ name }) => name), [
    "model.embed_tokens.weight",
    "model.layers.0.input_layernorm.weight",
    "model.layers.0.mlp.down_proj.weight",
    "model.layers.0.mlp.gate_proj.weight",
  ]);
  const header = await safetensorsBytes(plans, () => new Float32Array(), { format: "pt" }).next();
  assertEquals(header.value!.length + 2 * parameterCount(config), 988_097_824);
  assertEquals(publishedConfig("Qwen/none"), undefined);
});

const shared = await sharedText("qwen2.5/tensor-fingerprints.json");
Deno.test({
  name: `its shape is that of the published files${shared ? "" : " (skipped: ../shared/data is missing)"}`,
  ignore: !shared,
  fn: () => {
    const theirs = JSON.parse(shared!);
    const config = publishedConfig("Qwen/Qwen2.5-0.5B")!;
    assertEquals(String(parameterCount(config)), theirs["general.parameter_count"]);
    assertEquals(Object.keys(theirs).filter((key) => /\.(weight|bias)$/.test(key)).length, 290);
    const facts = {
      "qwen2.attention.head_count": config.queryHeads,
      "qwen2.attention.head_count_kv": config.keyValueHeads,
      "qwen2.block_count": config.layers,
      "qwen2.context_length": config.maxPositions,
      "qwen2.embedding_length": config.hiddenSize,
      "qwen2.feed_forward_length": config.feedForward,
      "qwen2.attention.layer_norm_rms_epsilon": config.rmsNormEps,
      "qwen2.rope.freq_base": config.ropeTheta,
    };
    for (const [key, value] of Object.entries(facts)) assertEquals(value, Number(theirs[key]), key);
  },
});
