import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { diskFiles } from "../../../headless/files.ts";
import type { Gpu } from "../../../kernels/gpu.ts";
import { DamagedFileError, joinPath, memoryFiles, readJson } from "../../../lab/bytes.ts";
import { exportModel, openSource } from "../../../lab/export/model_folder.ts";
import { loadQwen2, readByName, saveQwen2 } from "../../../lab/qwen2.ts";
import { expectedTensors } from "../../../lab/qwen2_config.ts";
import { sequenceScores } from "../../../lab/scoring.ts";
import { loadTokenizer } from "../../../lab/tokenizer.ts";
import { gpuTest, normals } from "../../kernels/testing.ts";
import { decode, emptyCache, integers, openSession } from "../onnx/runtime.ts";

const demo = decodeURIComponent(new URL("../../../public/demo", import.meta.url).pathname);
const disk = diskFiles();

/** A memory disk with the demo's base model as "base", and as "reward" with a head of its own. */
async function modelDisk(gpu: Gpu) {
  const files = memoryFiles();
  const model = await loadQwen2(gpu, disk, `${demo}/base`, "reward", "score");
  gpu.upload(model.score!.weight, normals(64, 4, 0.1));
  gpu.upload(model.score!.bias, Float32Array.of(0.375));
  model.score!.offset = -1.25;
  await saveQwen2(gpu, files, "reward", model);
  model.parameters.drop();
  await files.makeDirectory("base");
  for (const file of ["config.json", "model.safetensors"]) {
    await files.writeAtomic(`base/${file}`, await disk.read(`${demo}/base/${file}`));
  }
  for (const folder of ["base", "reward"]) {
    for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
      await files.writeAtomic(`${folder}/${file}`, await disk.read(`${demo}/${file}`));
    }
  }
  return files;
}

const sequences = [[5, 9, 300, 766], [17, 4, 4, 80, 700, 21, 766], [1, 766]];

gpuTest("a policy comes back from its exported folder: exactly in f32, rounded in bf16", async (gpu) => {
  const files = await modelDisk(gpu);
  const source = await openSource(files, "base");
  const facts = await exportModel(files, source, "f32", {
    to: "huggingface",
    dtype: "f32",
    responseTokens: 32,
  });
  assertEquals([facts.parameters, facts.padId, facts.eosId, facts.score], [197_440, 767, 766, undefined]);
  await exportModel(files, source, "bf16", { to: "huggingface", dtype: "bf16" });
  const [before, same, rounded] = [
    await loadQwen2(gpu, files, "base", "before"),
    await loadQwen2(gpu, files, "f32", "same"),
    await loadQwen2(gpu, files, "bf16", "rounded"),
  ];
  for (const { name } of expectedTensors(before.config)) {
    const values = await readByName(gpu, before, name);
    assertEquals(await readByName(gpu, same, name), values, name);
    const close = await readByName(gpu, rounded, name);
    assert(close.every((value, i) => Math.abs(value - values[i]) <= Math.abs(values[i]) / 256), name);
  }
  for (const model of [before, same, rounded]) model.parameters.drop();
  const half = await files.size("bf16/model.safetensors");
  assert(Math.abs(half - 197_440 * 2) < 10_000, `${half} bytes`);
  assertEquals(await readJson(files, "f32/generation_config.json"), {
    do_sample: false,
    eos_token_id: 766,
    max_new_tokens: 32,
    pad_token_id: 767,
    suppress_tokens: [767],
  });
});

gpuTest("a reward model keeps its scores, here and where bias and offset are built in", async (gpu) => {
  const files = await modelDisk(gpu);
  const scoresOf = async (folder: string) => {
    const model = await loadQwen2(gpu, files, folder, folder);
    const scores = await sequenceScores(gpu, model, sequences, 4096);
    model.parameters.drop();
    return scores;
  };
  const ours = await scoresOf("reward");
  const source = await openSource(files, "reward");
  await exportModel(files, source, "hf", { to: "huggingface", dtype: "f32" });
  assertEquals(await scoresOf("hf"), ours);
  const config = await readJson(files, "hf/config.json") as Record<string, unknown>;
  assertEquals(
    [config.precis_score_bias, config.precis_score_offset, config.pad_token_id, config.architectures],
    [0.375, -1.25, 767, ["Qwen2ForSequenceClassification"]],
  );
  assertEquals(config.id2label, { "0": "LABEL_0" });
  assert(!await files.exists("hf/generation_config.json"));

  await exportModel(files, source, "graph", { to: "onnx", dtype: "f32" });
  const graphConfig = await readJson(files, "graph/config.json") as Record<string, unknown>;
  assertEquals([graphConfig.precis_score_bias, graphConfig.precis_score_offset], [0, 0]);
  const session = await openSession(files, "graph", "model.onnx");
  for (const [b, sequence] of sequences.entries()) {
    const dims = [1, sequence.length];
    const { logits } = await session.run({
      input_ids: integers(sequence, dims),
      attention_mask: integers(sequence.map(() => 1), dims),
    });
    assert(Math.abs(Number(logits.data[0]) - ours[b]) < 1e-4, `${logits.data[0]} against ${ours[b]}`);
  }
  await session.release();
});

gpuTest("files of weights beside a graph are named in config.json", async (gpu) => {
  const files = await modelDisk(gpu);
  await exportModel(files, await openSource(files, "base"), "out", {
    to: "onnx",
    dtype: "f16",
    mostInline: 1000,
  });
  assertEquals(await files.list("out/onnx"), ["model_fp16.onnx", "model_fp16.onnx_data"]);
  const config = await readJson(files, "out/config.json") as Record<string, unknown>;
  assertEquals(config["transformers.js_config"], {
    dtype: "fp16",
    use_external_data_format: { "model_fp16.onnx": 1 },
  });
  const session = await openSession(files, "out", "model_fp16.onnx");
  const { dims } = await decode(session, [[1, 2, 3]], [[1, 1, 1]], emptyCache(session, 1));
  assertEquals(dims, [1, 3, 768]);
  await session.release();
});

gpuTest("padding gets an id in the tokenizer, and ours reads it as before", async (gpu) => {
  const files = await modelDisk(gpu);
  const before = await loadTokenizer((path) => files.read(path), "base", 768);
  // Exported twice, so that an exported folder is a source as good as any.
  await exportModel(files, await openSource(files, "base"), "once", { to: "huggingface", dtype: "f32" });
  await exportModel(files, await openSource(files, "once"), "out", { to: "huggingface", dtype: "f32" });
  const json = await readJson(files, "out/tokenizer.json") as {
    added_tokens: { id: number; content: string }[];
  };
  assertEquals(json.added_tokens.map(({ id, content }) => [id, content]), [[766, "<|endoftext|>"], [
    767,
    "<|pad|>",
  ]]);
  const config = await readJson(files, "out/tokenizer_config.json") as Record<string, unknown>;
  assertEquals([config.pad_token, config.eos_token, config.padding_side], [
    "<|pad|>",
    "<|endoftext|>",
    "left",
  ]);
  const after = await loadTokenizer((path) => files.read(path), "out", 768);
  assertEquals([after.padId, after.eosId, after.vocabularySize], [767, 766, 767]);
  for (const text of ["I told Finn.<|endoftext|>", "<|pad|> is a text", " é\n\n1"]) {
    assertEquals(after.encode(text), before.encode(text));
    assert(!after.encode(text).includes(767));
  }
  assertEquals(after.decode([5, 767, 6], { skipSpecial: true }), before.decode([5, 6]));
});

gpuTest("what cannot be exported is refused before anything is written", async (gpu) => {
  const files = await modelDisk(gpu);
  const source = await openSource(files, "base");
  await assertRejects(
    () => exportModel(files, source, "out", { to: "onnx", dtype: "bf16" }),
    RangeError,
    "--dtype f32 or f16",
  );
  assert(!await files.exists("out"));
  await assertRejects(
    () => exportModel(files, source, "base", { to: "onnx", dtype: "f32" }),
    RangeError,
    "base is not empty",
  );
  await files.remove("reward/tokenizer.json");
  await assertRejects(() => openSource(files, "reward"), Error, joinPath("reward", "tokenizer.json"));
  await files.remove("base/model.safetensors");
  await assertRejects(() => openSource(files, "base"), DamagedFileError, "base holds no model");
});

gpuTest("a weight too large for f16 is named", async (gpu) => {
  const files = await modelDisk(gpu);
  const model = await loadQwen2(gpu, files, "base", "large");
  gpu.upload(model.finalNorm, new Float32Array(64).fill(1e5));
  await saveQwen2(gpu, files, "large", model);
  model.parameters.drop();
  for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
    await files.writeAtomic(`large/${file}`, await files.read(`base/${file}`));
  }
  const source = await openSource(files, "large");
  const error = await assertRejects(
    () => exportModel(files, source, "out", { to: "onnx", dtype: "f16" }),
    RangeError,
  );
  assert(
    /"model\.norm\.weight" of large cannot be written in f16.*100000/.test(error.message),
    error.message,
  );
});
