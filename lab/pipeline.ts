/**
 * preprocess → sft → reward → ppo → evaluate. A stage whose inputs are what they were, and whose output is there, is skipped; one that was
 * interrupted goes on from its last checkpoint.
 */
import { digestOfJson, joinPath, readJson, writeJson } from "./bytes.ts";
import { stageInputs } from "./config.ts";
import type { StageFacts, StageName } from "./report/data.ts";
import { modelFolder, type Run } from "./run.ts";
import {
  type AppendCursors,
  appendCursors,
  newestCheckpoint,
  readStageRecord,
  rewindAppends,
  writeStageRecord,
} from "./run_directory.ts";
import { evaluate } from "./stages/evaluate.ts";
import { ppo } from "./stages/ppo.ts";
import { preprocess } from "./stages/preprocess.ts";
import { reward } from "./stages/reward.ts";
import { sft } from "./stages/sft.ts";

/** What a stage's body returns, boiled down for the record. */
interface Outcome {
  steps?: number;
  tokens?: number;
  invariants?: StageFacts["invariants"];
  [more: string]: unknown;
}

const bodies: Record<StageName, (run: Run, inputs: string) => Promise<Outcome>> = {
  preprocess: async (run) => ({ tables: await preprocess(run) }),
  sft: async (run, inputs) => ({ ...await sft(run, inputs) }),
  reward: async (run, inputs) => ({ ...await reward(run, inputs) }),
  ppo: async (run, inputs) => {
    const outcome = await ppo(run, inputs);
    return { ...outcome, steps: outcome.updates };
  },
  evaluate: async (run, inputs) => {
    await evaluate(run, inputs);
    return {};
  },
};

/** The files or folders whose presence a skipped stage relies on. */
const leaves: Record<StageName, (run: Run) => string[]> = {
  preprocess: (run) => [joinPath(run.path, "data", "posts-train.safetensors")],
  sft: (run) => [modelFolder(run, "sft")],
  reward: (run) => [modelFolder(run, "reward")],
  ppo: (run) => [modelFolder(run, "ppo")],
  evaluate: (run) => [joinPath(run.path, "evaluation.json")],
};

/**
 * Runs the given stages in order.
 * @param inputDigests digests of the data and of the base model, which are inputs of every stage
 * @returns what the report tells of each stage
 * @throws whatever a stage throws, after saving; Stopped among it
 */
export async function runStages(
  run: Run,
  stages: readonly StageName[],
  inputDigests: Record<string, string>,
  clock: () => number,
): Promise<StageFacts[]> {
  const facts: StageFacts[] = [];
  for (const stage of stages) {
    const inputs = { ...stageInputs(run.config, stage), ...inputDigests };
    const record = await readStageRecord(run.files, run.path, stage, inputs);
    const there = await Promise.all(leaves[stage](run).map((path) => run.files.exists(path)));
    if (record && there.every(Boolean)) {
      facts.push({ ...record.output as unknown as StageFacts, name: stage, ran: false });
      run.progress.note(`${stage}: done before with the same inputs, skipped`);
      continue;
    }
    await requirePredecessors(run, stage);
    const digest = await digestOfJson(inputs);
    await begin(run, stage, digest);
    const { gpu } = run;
    gpu.memory.resetPeak();
    const start = clock();
    const outcome = await bodies[stage](run, digest);
    const fact: StageFacts = {
      name: stage,
      ran: true,
      seconds: (clock() - start) / 1000,
      steps: outcome.steps,
      tokens: outcome.tokens,
      peakMemory: gpu.memory.peakBytes,
      invariants: outcome.invariants,
    };
    await writeStageRecord(run.files, run.path, stage, inputs, { ...outcome, ...fact });
    const checkpoints = joinPath(run.path, "checkpoints", stage);
    if (await run.files.exists(checkpoints)) await run.files.remove(checkpoints);
    facts.push(fact);
  }
  return facts;
}

const needs: Record<StageName, StageName[]> = {
  preprocess: [],
  sft: ["preprocess"],
  reward: ["preprocess", "sft"],
  ppo: ["preprocess", "sft", "reward"],
  evaluate: ["preprocess", "sft"],
};

async function requirePredecessors(run: Run, stage: StageName): Promise<void> {
  for (const earlier of needs[stage]) {
    for (const path of leaves[earlier](run)) {
      if (!await run.files.exists(path)) {
        throw new Error(
          `${stage} needs ${path}, which stage ${earlier} makes: run that first, or leave --stages out`,
        );
      }
    }
  }
}

/**
 * Readies the run directory for a stage: where it goes on from a checkpoint, that decides; otherwise the append-only files go back to
 * where they were when the stage first began, and checkpoints of other inputs are removed.
 */
async function begin(run: Run, stage: StageName, digest: string): Promise<void> {
  const path = joinPath(run.path, "stages", "started.json");
  const started = await run.files.exists(path)
    ? await readJson(run.files, path) as unknown as Started
    : undefined;
  const checkpoints = joinPath(run.path, "checkpoints", stage);
  if (started?.stage === stage && started.digest === digest) {
    const { checkpoint } = await newestCheckpoint(run.files, run.path, stage, "sizes");
    if (checkpoint?.notes.inputs !== digest) await rewindAppends(run.files, run.path, started.cursors);
    return;
  }
  if (await run.files.exists(checkpoints)) await run.files.remove(checkpoints);
  const cursors = await appendCursors(run.files, run.path);
  await run.files.makeDirectory(joinPath(run.path, "stages"));
  await writeJson(run.files, path, { stage, digest, cursors });
}

/** `stages/started.json`: the stage in progress. */
interface Started {
  stage: StageName;
  digest: string;
  cursors: AppendCursors;
}
