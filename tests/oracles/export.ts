/**
 * Exports models through `deno task export`, for export.py to hold against transformers, onnx and onnxruntime in Python:
 * deno run -A tests/oracles/export.ts FOLDER && python tests/oracles/export.py FOLDER
 */
import { openGpu } from "../../headless/devices.ts";
import { exportTask } from "../../headless/export.ts";
import { diskFiles } from "../../headless/files.ts";
import { joinPath, writeJson } from "../../lab/bytes.ts";
import { loadPosts } from "../../lab/demo/load.ts";
import { random } from "../../lab/demo/random.ts";
import { generate } from "../../lab/generate.ts";
import { silent } from "../../lab/progress.ts";
import { tldrQuery } from "../../lab/query.ts";
import { allocateQwen2, initialiseQwen2, loadQwen2, saveQwen2 } from "../../lab/qwen2.ts";
import { sequenceScores } from "../../lab/scoring.ts";
import { loadTokenizer } from "../../lab/tokenizer.ts";
import { standardNormal } from "../../lab/training.ts";

const [into] = Deno.args;
if (!into) throw new Error("which folder shall the models be written to?");
const demo = decodeURIComponent(new URL("../../public/demo", import.meta.url).pathname);
const files = diskFiles();
const gpu = await openGpu();
const normal = standardNormal(random(11));
const base = await loadQwen2(gpu, files, `${demo}/base`, "base");
const tokenizer = await loadTokenizer((path) => files.read(path), `${demo}/base`, 768);

/** Saves a model with the demo's tokenizer. */
async function save(name: string, model: typeof base): Promise<void> {
  const folder = joinPath(into, "source", name);
  await saveQwen2(gpu, files, folder, model);
  for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
    await files.writeAtomic(`${folder}/${file}`, await files.read(`${demo}/${file}`));
  }
}
await save("tied", base);
const untied = allocateQwen2(gpu, { ...base.config, tiedHead: false, headDim: 24, keyValueHeads: 1 }, "untied");
initialiseQwen2(gpu, untied, normal);
await save("untied", untied);
const reward = await loadQwen2(gpu, files, `${demo}/base`, "reward", "score");
gpu.upload(reward.score!.weight, Float32Array.from({ length: 64 }, () => normal() / 8));
gpu.upload(reward.score!.bias, Float32Array.of(0.375));
reward.score!.offset = -1.21875;
await save("reward", reward);

const posts = (await loadPosts((path) => files.read(joinPath(demo, path)), "test")).slice(0, 6);
const queries = posts.map((post) => tldrQuery(tokenizer, post, 96));
const rows = await generate(gpu, base, queries.map(({ tokens }) => tokens), {
  responseLength: 32,
  greedy: true,
  vocabulary: tokenizer.padId,
  seed: 1,
  stage: 0,
  step: 0,
});
const texts = posts.map((post, i) => `${queries[i].text} ${post.summary}<|endoftext|>`);
const sequences = texts.map((text) => tokenizer.encode(text));
await writeJson(files, joinPath(into, "expected.json"), {
  queries: queries.map(({ text }) => text),
  greedy: rows.map((row) => {
    const end = row.indexOf(tokenizer.eosId);
    return Array.from(end < 0 ? row : row.subarray(0, end + 1));
  }),
  texts,
  ids: sequences,
  scores: Array.from(await sequenceScores(gpu, reward, sequences, 4096)),
});
gpu.destroy();

for (const name of ["tied", "untied", "reward"]) {
  for (const [to, dtype] of [["huggingface", "f32"], ["huggingface", "bf16"], ["onnx", "f32"], ["onnx", "f16"]]) {
    const out = joinPath(into, name, `${to}-${dtype}`);
    const from = joinPath(into, "source", name);
    const args = ["--from", from, "--to", to, "--dtype", dtype, "--out", out, "--baseModel", "Qwen/Qwen2.5-0.5B"];
    console.log(await exportTask(args, { files, env: Deno.env.get, progress: silent }));
  }
}
