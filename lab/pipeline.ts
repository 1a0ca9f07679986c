/**
 * preprocess → sft → reward → ppo → evaluate. A stage whose inputs are what they were, and whose output is there, is skipped; one that was
 * interrupted goes on from its last checkpoint.
 */
import { digestOfJson, joinPath, sha256OfFile } from "./bytes.ts";
import { stageInputs } from "./config.ts";
import { type StageFacts, type StageName, stageNames } from "./report/data.ts";
import { forgetRecords, modelFolder, type Run, Stopped } from "./run.ts";
import { newestCheckpoint, readStageRecord, type StageRecord, writeStageRecord } from "./run_directory.ts";
import { evaluate, evaluationPath } from "./stages/evaluate.ts";
import { ppo } from "./stages/ppo.ts";
import { pairSplits, postSplits, preprocess, tablePath } from "./stages/preprocess.ts";
import { reward } from "./stages/reward.ts";
import { sft } from "./stages/sft.ts";

/** What a stage's body returns, boiled down for the record. */
interface Outcome {
  steps?: number;
  tokens?: number;
  invariants?: StageFacts["invariants"];
  [more: string]: unknown;
}

type Body = (run: Run, inputs: string, fields: Record<string, unknown>) => Promise<Outcome>;

const bodies: Record<StageName, Body> = {
  preprocess: async (run) => ({ tables: await preprocess(run) }),
  sft: async (run, inputs) => ({ ...await sft(run, inputs) }),
  reward: async (run, inputs) => ({ ...await reward(run, inputs) }),
  ppo: async (run, inputs) => {
    const outcome = await ppo(run, inputs);
    return { ...outcome, steps: outcome.updates };
  },
  evaluate: async (run, _, fields) => {
    // Another judge reads what has been written before.
    const written = Object.entries(fields).filter(([path]) =>
      !/^evaluate\.(judge|orders$|table$)/.test(path)
    );
    await evaluate(run, await digestOfJson(Object.fromEntries(written)));
    return await sha256OfFile(run.files, evaluationPath(run.path));
  },
};

/** The files or folders whose presence a skipped stage relies on. */
const leaves: Record<StageName, (run: Run) => string[]> = {
  preprocess: (run) => [
    ...postSplits.map((split) => tablePath(run, "posts", split)),
    ...pairSplits.map((split) => tablePath(run, "pairs", split)),
  ],
  sft: (run) => [modelFolder(run, "sft")],
  reward: (run) => [modelFolder(run, "reward")],
  ppo: (run) => [modelFolder(run, "ppo")],
  evaluate: (run) => [evaluationPath(run.path)],
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
  for (const [i, stage] of stages.entries()) {
    const inputs = { ...stageInputs(run.config, stage), ...inputDigests };
    const before = await doneBefore(run, stage, inputDigests);
    if (before) {
      facts.push({ ...before.output as unknown as StageFacts, name: stage, ran: false });
      run.progress.note(`${stage}: done before with the same inputs, skipped`);
      continue;
    }
    await requirePredecessors(run, stage, inputDigests);
    const earlier = await readStageRecord(run.files, run.path, stage);
    if (earlier && !await readStageRecord(run.files, run.path, stage, inputs)) {
      run.progress.note(
        `${stage}: done before from other inputs or settings, runs again and replaces what it left`,
      );
    }
    const digest = await digestOfJson(inputs);
    await begin(run, stage, digest);
    const { gpu } = run;
    gpu.memory.resetPeak();
    const start = clock();
    const outcome = await bodies[stage](run, digest, inputs);
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
    if (run.stopping() && i + 1 < stages.length) throw new Stopped(run, stage);
  }
  return facts;
}

/** The record of a stage that need not run: it was done with these inputs, and what it left is there. */
async function doneBefore(
  run: Run,
  stage: StageName,
  inputDigests: Record<string, string>,
): Promise<StageRecord | undefined> {
  const inputs = { ...stageInputs(run.config, stage), ...inputDigests };
  const record = await readStageRecord(run.files, run.path, stage, inputs);
  const there = await Promise.all(leaves[stage](run).map((path) => run.files.exists(path)));
  return there.every(Boolean) ? record : undefined;
}

/**
 * Those of the given stages that {@link runStages} would not skip. Once one has to run, so have all that build on it.
 * @throws where the first of them lacks what an earlier stage makes
 */
export async function stagesToRun(
  run: Run,
  stages: readonly StageName[],
  inputDigests: Record<string, string>,
): Promise<StageName[]> {
  for (const [i, stage] of stages.entries()) {
    if (await doneBefore(run, stage, inputDigests)) continue;
    await requirePredecessors(run, stage, inputDigests);
    return stages.slice(i);
  }
  return [];
}

const needs: Record<StageName, StageName[]> = {
  preprocess: [],
  sft: ["preprocess"],
  reward: ["preprocess", "sft"],
  ppo: ["preprocess", "sft", "reward"],
  evaluate: ["preprocess", "sft"],
};

async function requirePredecessors(
  run: Run,
  stage: StageName,
  inputDigests: Record<string, string>,
): Promise<void> {
  for (const earlier of needs[stage]) {
    for (const path of leaves[earlier](run)) {
      if (!await run.files.exists(path)) {
        throw new Error(
          `${stage} needs ${path}, which stage ${earlier} makes; run that first, or leave --stages out.`,
        );
      }
    }
    const inputs = { ...stageInputs(run.config, earlier), ...inputDigests };
    if (!await readStageRecord(run.files, run.path, earlier, inputs)) {
      throw new Error(
        `${stage} needs stage ${earlier}, whose result in ${run.path} is unfinished or has other settings; ` +
          `run that again, or leave --stages out.`,
      );
    }
  }
}

/**
 * Readies the run directory for a stage. From here on it and all later ones count as not done, whatever instant the run ends at: their
 * models would not belong together. Where there is a checkpoint of these inputs it stays; otherwise the stage starts anew, and what
 * it has recorded before is forgotten.
 */
async function begin(run: Run, stage: StageName, digest: string): Promise<void> {
  const { files, path } = run;
  const [, ...later] = stageNames.slice(stageNames.indexOf(stage));
  const { checkpoint } = await newestCheckpoint(files, path, stage, "sizes");
  const goesOn = checkpoint?.notes.inputs === digest;
  for (const name of [stage, ...later]) await files.remove(joinPath(path, "stages", `${name}.json`));
  for (const name of goesOn ? later : [stage, ...later]) {
    await files.remove(joinPath(path, "checkpoints", name));
  }
  // A checkpoint knows how long the files were when it was written, and its stage goes back to that.
  if (!goesOn) await forgetRecords(run, [stage, ...later]);
}
