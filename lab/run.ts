/** What a stage is given, and what it leaves behind. */
import type { Gpu } from "../kernels/gpu.ts";
import { DamagedFileError, type Files, joinPath } from "./bytes.ts";
import type { Config } from "./config.ts";
import type { Dataset, SummarisedPost } from "./dataset.ts";
import type { Endpoint } from "./judges/endpoint.ts";
import type { Progress } from "./progress.ts";
import type { MetricRecord, StageName } from "./report/data.ts";
import type { RunDirectory } from "./run_directory.ts";
import { newestCheckpoint, requireRoom, writeCheckpointFolder } from "./checkpoints.ts";
import { rewindAppends } from "./run_directory.ts";
import { entryOf, readNumbers, readSafetensorsHeader } from "./safetensors.ts";
import { openCheckpoint } from "./checkpoint_files.ts";
import { momentArenas, optimizerFile, saveMoments } from "./optimizer_file.ts";
import { fillQwen2, type Qwen2, saveQwen2 } from "./qwen2.ts";
import type { Tokenisers, TokenLimits } from "./tokenise.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { fillTensors } from "./transfer.ts";

/** Everything a stage works with. */
export interface Run {
  /** Another one after a loss. */
  gpu: Gpu;
  /** Opens the device anew; without it a lost device ends the run. */
  reopenGpu?: () => Promise<Gpu>;
  files: Files;
  /** The run directory's path. */
  path: string;
  directory: RunDirectory;
  config: Config;
  /** Folder of the base model, tokenizer included. */
  baseFolder: string;
  dataset: Dataset;
  tokenizer: Tokenizer;
  /** Opens workers for much tokenising; where there are none, the stage's own thread does it. */
  tokenisers?: (limits: TokenLimits) => Promise<Tokenisers>;
  /** Scores a summary by the data's own rule, where it has one (the demo). */
  gold?: (post: SummarisedPost, summary: string) => number;
  /** Where the judge `openai` is asked; the folder of the judge `second` or `local`, and the digest of what lies in it. */
  judge?: { endpoint?: Endpoint; folder?: string; digest?: string };
  progress: Progress;
  /** Asked between steps: true once the user wants the run to save and end. */
  stopping: () => boolean;
}

/** The run was asked to stop; what was done so far has been saved. The message says how to go on. */
export class Stopped extends Error {
  /** @param place "sft, step 3" */
  constructor(run: Pick<Run, "path">, place: string) {
    const out = /^[\w./-]+$/.test(run.path) ? run.path : `'${run.path}'`;
    super(`Stopped after ${place}; to go on: deno task train --resume --out ${out}`);
  }
}

/** What is called often in a long measurement, and gives it up once the run is asked to stop. @throws Stopped */
export function heed(run: Pick<Run, "path" | "stopping">, place: string): () => void {
  return () => {
    if (run.stopping()) throw new Stopped(run, place);
  };
}

/** What a measurement gave, or undefined where it was given up as the run is to stop. */
export async function unlessStopped<T>(measure: () => Promise<T>): Promise<T | undefined> {
  try {
    return await measure();
  } catch (error) {
    if (error instanceof Stopped) return undefined;
    throw error;
  }
}

/** Folder of a finished model: "sft", "reward", "ppo", "critic". */
export function modelFolder(run: Pick<Run, "path">, name: string): string {
  return joinPath(run.path, "models", name);
}

/** Appends a line to metrics.jsonl. */
export async function logMetrics(
  run: Run,
  stage: StageName,
  step: number,
  figures: Record<string, number | string>,
): Promise<void> {
  await run.directory.appendMetrics(metricRecord(stage, step, figures));
}

/** A line of metrics.jsonl; figures that are not finite become null. */
export function metricRecord(
  stage: StageName,
  step: number,
  figures: Record<string, number | string>,
): MetricRecord {
  const record: MetricRecord = { stage, step };
  for (const [name, value] of Object.entries(figures)) {
    record[name] = typeof value === "number" && !Number.isFinite(value) ? null : value;
  }
  return record;
}

/**
 * Takes what these stages recorded out of the append-only files, so that a stage that runs anew is not told twice. Lines of others stay
 * byte for byte.
 */
export async function forgetRecords({ files, path }: Run, stages: readonly StageName[]): Promise<void> {
  for (const name of ["metrics.jsonl", "samples.jsonl"]) {
    const file = joinPath(path, name);
    if (!await files.exists(file)) continue;
    const lines = new TextDecoder().decode(await files.read(file)).split("\n");
    const kept = lines.filter((line) => !stages.some((stage) => line.startsWith(`{"stage":"${stage}",`)));
    if (kept.length < lines.length) await files.writeAtomic(file, new TextEncoder().encode(kept.join("\n")));
  }
  for (const stage of stages) await files.remove(joinPath(path, "episodes", `${stage}.jsonl`));
  if (stages.includes("ppo")) await files.remove(joinPath(path, "invariants.json"));
}

// ---- checkpoints of a stage in progress ----

/** Tells after each step of a stage whether a checkpoint is due: every so many steps, and where they are slow every so many minutes. */
export function checkpointsDue({ config }: Pick<Run, "config">): (step: number) => boolean {
  const { every, minutes } = config.checkpoints;
  let last = performance.now();
  return (step) => {
    const old = minutes > 0 && performance.now() - last >= 60_000 * minutes;
    const due = old || (every > 0 && step % every === 0);
    if (due) last = performance.now();
    return due;
  };
}

/** Headers, configuration, rounding to blocks, and what is appended to the records meanwhile. */
const slackBytes = 64 * 1024;

/** Bytes of a checkpoint: weights and both moments in f32. */
function checkpointBytes(models: Record<string, Qwen2>): number {
  return slackBytes + 12 * Object.values(models).reduce((sum, { parameters }) => sum + parameters.size, 0);
}

/** Bytes of the finished models, each with its tokenizer. */
async function finishedBytes({ files, baseFolder }: Run, models: Record<string, Qwen2>): Promise<number> {
  const tokenizer = await files.size(joinPath(baseFolder, "tokenizer.json"));
  return Object.values(models).reduce(
    (sum, { parameters }) => sum + 4 * parameters.size + tokenizer,
    slackBytes,
  );
}

/**
 * Asks before a stage's first step for room for all that it keeps at once: a checkpoint while the next one is written, and what it leaves.
 * @throws FileAccessError saying how much is needed and how much there is
 */
export async function requireStageRoom(
  run: Run,
  stage: StageName,
  models: Record<string, Qwen2>,
): Promise<void> {
  const { files, path } = run;
  const folder = joinPath(path, "checkpoints", stage);
  const there = await files.exists(folder) ? (await files.list(folder)).length : 0;
  const bytes = Math.max(0, 2 - there) * checkpointBytes(models) + await finishedBytes(run, models);
  const made = await requireRoom(files, path, stage, bytes, `Stage ${stage}`);
  if (made) run.progress.note(made);
}

/** The same before the stage's finished models are written. */
export async function requireFinalRoom(
  run: Run,
  stage: StageName,
  models: Record<string, Qwen2>,
): Promise<void> {
  const bytes = await finishedBytes(run, models);
  const made = await requireRoom(run.files, run.path, stage, bytes, `The result of ${stage}`);
  if (made) run.progress.note(made);
}

/**
 * Writes models and their optimiser states, both in the pieces of transfer.ts; a kill at any instant leaves this checkpoint or the one
 * before.
 * @throws FileAccessError before anything is written where there is not enough room
 */
export async function saveProgress(
  run: Run,
  stage: StageName,
  step: number,
  models: Record<string, Qwen2>,
  notes: Record<string, unknown>,
): Promise<void> {
  const bytes = checkpointBytes(models);
  const made = await requireRoom(run.files, run.path, stage, bytes, `A checkpoint of ${stage}`);
  if (made) run.progress.note(made);
  await writeCheckpointFolder(run.files, run.path, stage, step, async (folder, files) => {
    for (const [name, model] of Object.entries(models)) {
      const inside = joinPath(folder, name);
      await files.makeDirectory(inside);
      await saveQwen2(run.gpu, files, inside, model);
      await saveMoments(run.gpu, files, inside, model);
    }
  }, { notes, keep: run.config.checkpoints.keep, every: Math.max(1, run.config.checkpoints.every) });
}

/**
 * Fills models and optimiser states from the newest whole checkpoint of the stage.
 * @returns its step and notes, or undefined where there is none from these inputs
 */
export async function loadProgress(
  run: Run,
  stage: StageName,
  models: Record<string, Qwen2>,
  inputs: string,
): Promise<{ step: number; notes: Record<string, unknown> } | undefined> {
  const { checkpoint, damaged } = await newestCheckpoint(run.files, run.path, stage, "digests");
  for (const sentence of damaged) run.progress.note(sentence);
  if (!checkpoint || checkpoint.notes.inputs !== inputs) {
    await forgetRecords(run, [stage]);
    return undefined;
  }
  for (const [name, model] of Object.entries(models)) {
    const inside = joinPath(checkpoint.folder, name);
    await fillQwen2(run.gpu, model, await openCheckpoint(run.files, inside));
    const header = await readSafetensorsHeader(run.files, joinPath(inside, optimizerFile));
    const source = {
      path: () => header.path,
      read: (key: string, from: number, to: number) => readNumbers(run.files, header, key, from, to),
    };
    const stretches = [...momentArenas(model)].map(([key, tensor]) => {
      const { shape } = entryOf(header, key);
      if (shape.join() !== tensor.shape.join()) {
        throw new DamagedFileError(
          `${header.path}: tensor "${key}" has shape [${shape}] instead of [${tensor.shape}].`,
        );
      }
      return { name: key, from: 0, size: tensor.size, tensor, to: 0 };
    });
    await fillTensors(run.gpu, source, stretches);
  }
  await rewindAppends(run.files, run.path, checkpoint.cursors);
  return { step: checkpoint.step, notes: checkpoint.notes };
}
