/** What a stage is given, and what it leaves behind. */
import type { Gpu } from "../kernels/gpu.ts";
import type { Tensor } from "../kernels/tensor.ts";
import { DamagedFileError, type Files, joinPath } from "./bytes.ts";
import type { Config } from "./config.ts";
import type { Dataset, SummarisedPost } from "./dataset.ts";
import type { Endpoint } from "./judges/endpoint.ts";
import type { Progress } from "./progress.ts";
import type { MetricRecord, StageName } from "./report/data.ts";
import type { RunDirectory } from "./run_directory.ts";
import { newestCheckpoint, rewindAppends, writeCheckpointFolder } from "./run_directory.ts";
import { entryOf, fileOrder, readNumbers, readSafetensorsHeader, safetensorsBytes } from "./safetensors.ts";
import { openCheckpoint } from "./checkpoint_files.ts";
import { fillQwen2, type Qwen2, saveQwen2 } from "./qwen2.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { fillTensors, readPieces } from "./transfer.ts";

/** Everything a stage works with. */
export interface Run {
  gpu: Gpu;
  files: Files;
  /** The run directory's path. */
  path: string;
  directory: RunDirectory;
  config: Config;
  /** Folder of the base model, tokenizer included. */
  baseFolder: string;
  dataset: Dataset;
  tokenizer: Tokenizer;
  /** Scores a summary by the data's own rule, where it has one (the demo). */
  gold?: (post: SummarisedPost, summary: string) => number;
  /** Where the judge `openai` is asked; the folder of the judge `second` or `local`. */
  judge?: { endpoint?: Endpoint; folder?: string };
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

/** Folder of a finished model: "sft", "reward", "ppo", "critic". */
export function modelFolder(run: Pick<Run, "path">, name: string): string {
  return joinPath(run.path, "models", name);
}

/** Appends a line to metrics.jsonl; figures that are not finite become null. */
export async function logMetrics(
  run: Run,
  stage: StageName,
  step: number,
  figures: Record<string, number | string>,
): Promise<void> {
  const record: MetricRecord = { stage, step };
  for (const [name, value] of Object.entries(figures)) {
    record[name] = typeof value === "number" && !Number.isFinite(value) ? null : value;
  }
  await run.directory.appendMetrics(record);
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
}

// ---- checkpoints of a stage in progress ----

/** The optimiser's state as the tensors of a file. */
function momentArenas({ parameters }: Qwen2): Map<string, Tensor> {
  const roles = ["firstMoment", "secondMoment"] as const;
  return new Map(
    roles.flatMap((role) =>
      parameters.arenasOf(role).map((arena, i): [string, Tensor] => [`${role}.${i}`, arena])
    ),
  );
}

/** Writes models and their optimiser states; a kill at any instant leaves this checkpoint or the one before. */
export async function saveProgress(
  run: Run,
  stage: StageName,
  step: number,
  models: Record<string, Qwen2>,
  notes: Record<string, unknown>,
): Promise<void> {
  await writeCheckpointFolder(run.files, run.path, stage, step, async (folder) => {
    for (const [name, model] of Object.entries(models)) {
      const inside = joinPath(folder, name);
      await run.files.makeDirectory(inside);
      await saveQwen2(run.gpu, run.files, inside, model);
      const moments = momentArenas(model);
      const plans = fileOrder(
        [...moments].map(([key, { shape }]) => ({ name: key, dtype: "F32" as const, shape })),
      );
      const bytes = safetensorsBytes(plans, ({ name: key }) => readPieces(run.gpu, moments.get(key)!));
      await run.files.writeAtomic(joinPath(inside, "optimizer.safetensors"), bytes);
    }
  }, { notes, keep: run.config.checkpoints.keep });
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
    const header = await readSafetensorsHeader(run.files, joinPath(inside, "optimizer.safetensors"));
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
