/** A run at toy size for the tests of the pipeline: few rows of the demo's data, a random model of two layers, a disk in memory. */
import { diskFiles } from "../../headless/files.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { type Files, joinPath, memoryFiles, sha256OfFile } from "../../lab/bytes.ts";
import type { Config, Overrides } from "../../lab/config.ts";
import { type Dataset, loadDemoData } from "../../lab/dataset.ts";
import { demoBaseConfig } from "../../lab/demo/pretrain.ts";
import { goldScore } from "../../lab/demo/gold.ts";
import { random } from "../../lab/demo/random.ts";
import { runStages } from "../../lab/pipeline.ts";
import { type Progress, silent } from "../../lab/progress.ts";
import { allocateQwen2, initialiseQwen2, saveQwen2 } from "../../lab/qwen2.ts";
import { type StageFacts, type StageName, stageNames } from "../../lab/report/data.ts";
import { openRunDirectory } from "../../lab/run_directory.ts";
import type { Run } from "../../lab/run.ts";
import { loadTokenizer } from "../../lab/tokenizer.ts";
import { standardNormal } from "../../lab/training.ts";

const demo = decodeURIComponent(new URL("../../public/demo", import.meta.url).pathname);

export const toy: Overrides = {
  sft: { batch: 8, evalEvery: 2, evalRows: 4 },
  reward: { batch: 8, evalEvery: 2, evalRows: 4, normaliseRows: 8 },
  ppo: {
    batch: 8,
    episodes: 24,
    epochs: 2,
    microTokens: 300,
    responseLength: 8,
    sampleEvery: 2,
    sampleRows: 2,
  },
  evaluate: { posts: 6, bestOf: [2], bestOfPosts: 4, table: 2 },
  checkpoints: { every: 2 },
};

export async function toyDataset(): Promise<Dataset> {
  const { posts, pairs } = await loadDemoData(diskFiles(), demo);
  return {
    posts: {
      train: posts.train.slice(0, 40),
      validation: posts.validation.slice(0, 6),
      test: posts.test.slice(0, 6),
    },
    pairs: {
      train: pairs.train.slice(0, 32),
      valid1: pairs.valid1.slice(0, 4),
      valid2: pairs.valid2.slice(0, 4),
      cnndm: [],
    },
  };
}

/** A memory disk with a random base model on it. */
export async function toyDisk(gpu: Gpu): Promise<Files> {
  const files = memoryFiles();
  const shape = {
    ...demoBaseConfig,
    hiddenSize: 16,
    headDim: 8,
    queryHeads: 2,
    keyValueHeads: 1,
    layers: 2,
    feedForward: 24,
  };
  const model = allocateQwen2(gpu, shape, "base");
  initialiseQwen2(gpu, model, standardNormal(random(5)));
  await files.makeDirectory("base");
  await saveQwen2(gpu, files, "base", model);
  model.parameters.drop();
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    await files.writeAtomic(joinPath("base", name), await diskFiles().read(joinPath(demo, name)));
  }
  return files;
}

export interface Toy {
  gpu: Gpu;
  files: Files;
  dataset: Dataset;
  config: Config;
  stages?: readonly StageName[];
  stopping?: () => boolean;
  reopenGpu?: () => Promise<Gpu>;
  judge?: Run["judge"];
  progress?: Progress;
}

/** The run itself, its directory held; whoever asks for it must release that. */
export async function openToy(
  { gpu, files, dataset, config, stopping = () => false, reopenGpu, judge, progress = silent }: Toy,
): Promise<Run> {
  const directory = await openRunDirectory(
    files,
    "run",
    { pid: 1, host: "test", instance: "" },
    () => Promise.resolve(true),
  );
  return {
    gpu,
    reopenGpu,
    files,
    path: "run",
    directory,
    config,
    baseFolder: "base",
    dataset,
    tokenizer: await loadTokenizer((path) => files.read(path), "base", 768),
    gold: (post, summary) => goldScore({ ...post, facts: post.facts! }, summary),
    judge,
    progress,
    stopping,
  };
}

export async function runToy({ stages = stageNames, ...toy }: Toy): Promise<StageFacts[]> {
  const run = await openToy(toy);
  try {
    return await runStages(run, stages, {}, () => 0);
  } finally {
    await run.directory.release();
  }
}

/** Digests of everything that a run must reproduce. */
export async function fingerprint(
  files: Files,
  { evaluated = true } = {},
): Promise<Record<string, string>> {
  const paths = ["sft", "reward", "ppo", "critic"].map((name) => `run/models/${name}/model.safetensors`);
  const found: Record<string, string> = {};
  for (
    const path of [
      ...paths,
      "run/metrics.jsonl",
      "run/samples.jsonl",
      "run/episodes/ppo.jsonl",
      ...(evaluated ? ["run/evaluation.json"] : []),
    ]
  ) {
    found[path] = (await sha256OfFile(files, path)).sha256;
  }
  return found;
}
