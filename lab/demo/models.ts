/**
 * The demo's trained models as they ship beside its base model: the SFT policy, the reward model and the PPO policy of the default demo run,
 * with a record of what made them, so that they can be checked and made again.
 */
import { DamagedFileError, type Files, isObject, joinPath, readJson, sha256OfFile } from "../bytes.ts";
import { readMetrics } from "../metrics.ts";
import {
  type AuthorFigures,
  type Evaluation,
  type MetricRecord,
  type RunRecord,
  type StageName,
  stageNames,
} from "../report/data.ts";
import { readStageRecord } from "../run_directory.ts";
import { evaluationPath } from "../stages/evaluate.ts";

/** The models that ship, by the stage that made each. */
export const shippedModels = ["sft", "reward", "ppo"] as const;
export type ShippedModel = typeof shippedModels[number];

/** The record's name in the demo's folder. */
export const modelsRecord = "models.json";

/** The content of `public/demo/models.json`. */
export interface DemoModels {
  format: 1;
  /** The run's. */
  seed: number;
  /** What computed them; other adapters come to other bits. */
  adapter: string;
  runtime: string;
  /** SHA-256 of all kernel sources, as the run had them. */
  kernelDigest: string;
  versions: Record<string, string>;
  /** SHA-256 of the base model's and the data's files. */
  inputs: Record<string, string>;
  models: Record<ShippedModel, {
    /** By name in the model's folder. */
    files: Record<string, { size: number; sha256: string }>;
    /** What the stage's record tells of the result. */
    figures: Record<string, unknown>;
  }>;
  /** The first lines of the run's metrics.jsonl, a few steps of each stage, and the last: what a trainer must come to. */
  metrics: MetricRecord[];
  /** What everybody's summaries of the test posts are like. */
  authors: AuthorFigures[];
}

/** Steps of each stage whose metrics are recorded. */
const stepsRecorded = 3;

/** Describes the models of a finished run, `models/<name>` in its folder. @throws where a stage has not been finished */
export async function describeModels(
  files: Files,
  run: string,
  record: RunRecord,
): Promise<DemoModels> {
  const models = {} as DemoModels["models"];
  for (const name of shippedModels) {
    const done = await readStageRecord(files, run, name);
    if (!done) throw new DamagedFileError(`${run} has no finished stage ${name}; run it again.`);
    const { name: _, seconds: _seconds, peakMemory: _memory, ran: _ran, ...figures } = done.output;
    models[name] = { files: await digestsOf(files, joinPath(run, "models", name)), figures };
  }
  const all = await readMetrics(files, joinPath(run, "metrics.jsonl"));
  const metrics = shippedModels.flatMap((stage: StageName) => {
    const mine = all.filter((line) => line.stage === stage);
    const last = Math.max(...mine.map(({ step }) => step));
    return mine.filter(({ step }) => step <= stepsRecorded || step === last);
  });
  const { authors } = await readJson(files, evaluationPath(run)) as Evaluation;
  const { device: { adapter, runtime }, kernelDigest, versions, inputs = {} } = record;
  const seed = Number(record.config.seed);
  return { format: 1, seed, adapter, runtime, kernelDigest, versions, inputs, models, metrics, authors };
}

/** @throws DamagedFileError where the file is not such a record */
export async function readDemoModels(files: Files, demo: string): Promise<DemoModels> {
  const path = joinPath(demo, modelsRecord);
  const value = await readJson(files, path);
  const sound = isObject(value) && value.format === 1 && isObject(value.models) &&
    shippedModels.every((name) => isObject((value.models as Record<string, unknown>)[name])) &&
    Array.isArray(value.metrics) &&
    value.metrics.every((line) => isObject(line) && stageNames.includes(line.stage as StageName));
  if (!sound) {
    throw new DamagedFileError(
      `${path} is not a record of the demo's models; make it again with "deno task demo-models".`,
    );
  }
  return value as unknown as DemoModels;
}

/** Size and SHA-256 of every file of a folder. */
async function digestsOf(
  files: Files,
  folder: string,
): Promise<Record<string, { size: number; sha256: string }>> {
  const names = (await files.list(folder)).filter((name) => !name.endsWith("/"));
  const found = names.map(async (name) => [name, await sha256OfFile(files, joinPath(folder, name))] as const);
  return Object.fromEntries(await Promise.all(found));
}

/** What of the shipped models is not as the record says, one sentence each; none where all is well. */
export async function differingFiles(files: Files, demo: string, record: DemoModels): Promise<string[]> {
  const sentences: string[] = [];
  for (const name of shippedModels) {
    const folder = joinPath(demo, name);
    const there = await files.exists(folder) ? await digestsOf(files, folder) : {};
    for (const [file, { size, sha256 }] of Object.entries(record.models[name].files)) {
      const path = joinPath(folder, file);
      if (!there[file]) sentences.push(`${path} is missing.`);
      else if (there[file].sha256 !== sha256) {
        sentences.push(
          `${path} (${there[file].size} bytes) is not the file of ${size} bytes that was recorded.`,
        );
      }
    }
  }
  return sentences;
}
