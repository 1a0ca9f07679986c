import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "deno-std/assert/mod.js";
import { exportTask, type World } from "../../headless/export.ts";
import { diskFiles } from "../../headless/files.ts";
import { joinPath, memoryFiles, readJson, writeJson } from "../../lab/bytes.ts";
import { presetConfig } from "../../lab/config.ts";
import { loadPosts } from "../../lab/demo/load.ts";
import { generate } from "../../lab/generate.ts";
import { silent } from "../../lab/progress.ts";
import { tldrQuery } from "../../lab/query.ts";
import { loadQwen2, saveQwen2 } from "../../lab/qwen2.ts";
import { loadTokenizer } from "../../lab/tokenizer.ts";
import { gpuTest } from "../kernels/testing.ts";
import { loadTransformersJs } from "./transformers_js.ts";

const demo = decodeURIComponent(new URL("../../public/demo", import.meta.url).pathname);
const disk = diskFiles();

const world = (files = disk, env: Record<string, string> = {}): World => ({
  files,
  env: (name) => ({ HF_HOME: "/nowhere", ...env })[name],
  progress: silent,
});

/** A disk in memory with the demo's base model on it, as of a run's PPO policy, and a reward model. */
async function memoryRun() {
  const files = memoryFiles();
  const copy = async (from: string, to: string, names: string[]) => {
    await files.makeDirectory(to);
    for (const name of names) {
      await files.writeAtomic(joinPath(to, name), await disk.read(joinPath(from, name)));
    }
  };
  const tokenizer = ["tokenizer.json", "tokenizer_config.json"];
  await copy(`${demo}/base`, "run/models/ppo", ["config.json", "model.safetensors", ...tokenizer]);
  await copy(demo, "run/models/reward", tokenizer);
  await writeJson(files, "run/run.json", {
    format: 1,
    config: presetConfig("demo"),
    startedAt: "2026-03-01T00:00:00Z",
    device: { adapter: "llvmpipe" },
    kernels: {},
    versions: { precis: "1.2.3" },
  });
  return files;
}

gpuTest("transformers.js writes what we write, greedily, from the demo's base model", async (gpu) => {
  const files = await memoryRun();
  await exportTask(["--from", "run", "--to", "onnx", "--out", "out"], world(files));
  assertEquals(await files.list("out"), [
    "README.md",
    "config.json",
    "generation_config.json",
    "onnx/",
    "tokenizer.json",
    "tokenizer_config.json",
  ]);

  const model = await loadQwen2(gpu, disk, `${demo}/base`, "base");
  const tokenizer = await loadTokenizer((path) => disk.read(path), `${demo}/base`, 768);
  const posts = (await loadPosts((path) => disk.read(joinPath(demo, path)), "test")).slice(0, 3);
  const queries = posts.map((post) => tldrQuery(tokenizer, post, 96));
  const rows = await generate(gpu, model, queries.map(({ tokens }) => tokens), {
    responseLength: 32,
    greedy: true,
    vocabulary: tokenizer.padId,
    seed: 1,
    stage: 0,
    step: 0,
  });
  model.parameters.drop();
  const ours = rows.map((row) => {
    const end = row.indexOf(tokenizer.eosId);
    return tokenizer.decode(end < 0 ? row : row.subarray(0, end));
  });
  assert(ours.every((text) => text.length > 10), `${ours}`);

  const [{ pipeline }, refused] = await loadTransformersJs(files, "out", "here/policy");
  const write = await pipeline("text-generation", "here/policy");
  for (const { text, tokens } of queries) assertEquals(write.tokenizer.encode(text), Array.from(tokens));
  // generation_config.json says greedy, and 32 tokens; one by one, then as a batch padded on the left.
  const options = { return_full_text: false };
  const texts = queries.map(({ text }) => text);
  for (const [i, text] of texts.entries()) {
    assertEquals((await write(text, { ...options, max_new_tokens: 32 }))[0].generated_text, ours[i]);
  }
  const batch = await write(texts, { ...options, max_new_tokens: 32 });
  assertEquals(batch.map(([one]) => one.generated_text), ours);
  assertEquals(write.model.generation_config.suppress_tokens, [767]);
  assertEquals(write.model.generation_config.max_new_tokens, 32);
  assertEquals(refused, []);
  await write.dispose();
});

gpuTest("each model of a run leaves by its name, with a card of the run", async (gpu) => {
  const files = await memoryRun();
  const model = await loadQwen2(gpu, disk, `${demo}/base`, "reward", "score");
  await saveQwen2(gpu, files, "run/models/reward", model);
  model.parameters.drop();
  const said = await exportTask(["--from", "run", "--model", "reward", "--out", "rm"], world(files));
  assertEquals(said, "Written: rm (reward, huggingface, f32)");
  const card = new TextDecoder().decode(await files.read("rm/README.md"));
  assertMatch(card, /^# rm$/m);
  assertStringIncludes(card, "started 2026-03-01 on llvmpipe; precis 1.2.3");
  assertStringIncludes(card, "precis_score_bias");

  // A model's folder inside a run tells as much as the run does.
  await exportTask(["--from", "run/models/ppo/", "--out", "by-folder", "--dtype", "bf16"], world(files));
  assertStringIncludes(
    new TextDecoder().decode(await files.read("by-folder/README.md")),
    "then trained with PPO",
  );
  const config = await readJson(files, "by-folder/config.json") as Record<string, unknown>;
  assertEquals([config.torch_dtype, config.pad_token_id], ["bfloat16", 767]);
});

Deno.test("bad input ends in one sentence that names the remedy, and leaves nothing behind", async () => {
  const files = await memoryRun();
  for (
    const [args, sentence] of [
      ["--to onnx", "Name the folder to write with --out"],
      ["--out out", "Name what to export with --from"],
      ["--from nowhere --out out", "nowhere is neither a run directory nor a model folder"],
      [
        "--from run --model sft --out out",
        "run has no finished sft model; it has ppo, reward: choose with --model",
      ],
      ["--from run/models/ppo --model ppo --out out", "--model chooses within a run directory"],
      ["--from run --to onnx --dtype bf16 --out out", "export to onnx with --dtype f32 or f16"],
      ["--from run --out run", "run is not empty"],
      ["--from run --to coreml --out out", "--to"],
      ["--from run --out out --push tldr", "it should be owner/name"],
      ["--from run --out out --push me/tldr", "--push needs a token with write access"],
      ["--out nowhere --push me/tldr", "--push needs a token"],
    ]
  ) {
    const error = await assertRejects(() => exportTask(args.split(" "), world(files)), Error, sentence);
    assert(!error.message.includes("\n"));
    assert(!await files.exists("out"), args);
  }
  const error = await assertRejects(
    () => exportTask(["--out", "nowhere", "--push", "me/tldr"], world(files, { HF_TOKEN: "hf_x" })),
    Error,
  );
  assertStringIncludes(error.message, "nowhere is no exported model");
  await files.writeAtomic("run/models/ppo/model.safetensors", new Uint8Array(9));
  await assertRejects(
    () => exportTask(["--from", "run", "--out", "out"], world(files)),
    Error,
    "model.safetensors",
  );
  assert(!await files.exists("out"));
});

Deno.test("help lists the flags", async () => {
  const text = await exportTask(["--help"], world());
  for (const word of ["--from", "--to", "huggingface|onnx", "--dtype", "--push", "--out"]) {
    assertStringIncludes(text, word);
  }
});
