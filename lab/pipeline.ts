/**
 * preprocess → sft → reward → ppo → evaluate. A stage whose inputs are what they were, and whose output is there, is skipped; one that was
 * interrupted goes on from its last checkpoint.
 */
import { GpuError } from "../kernels/gpu_error.ts";
import { digestOfJson, joinPath, sha256OfFile } from "./bytes.ts";
import { newestCheckpoint } from "./checkpoints.ts";
import { stageInputs } from "./config.ts";
import { forgetAlarms, RolledBack, tellAlarm } from "./health.ts";
import { replaceDevice, wasLost } from "./lost_device.ts";
import { type StageFacts, type StageName, stageNames } from "./report/data.ts";
import { forgetRecords, modelFolder, type Run, Stopped } from "./run.ts";
import { readStageRecord, type StageRecord, writeStageRecord } from "./run_directory.ts";
import { evaluate, evaluationPath } from "./stages/evaluate.ts";
import { ppo } from "./stages/ppo.ts";
import { preprocess, tablesAreSound } from "./stages/preprocess.ts";
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
  preprocess: async (run) => ({ ...await preprocess(run) }),
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
  preprocess: (run) => [joinPath(run.path, "data")],
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
  const lost = { times: 0 };
  for (const [i, stage] of stages.entries()) {
    const inputs = inputsOf(run, stage, inputDigests);
    const before = await doneBefore(run, stage, inputDigests);
    if (before) {
      facts.push({ ...before.output as unknown as StageFacts, name: stage, ran: false });
      run.progress.note(`${stage}: done before with the same inputs, skipped`);
      continue;
    }
    await requirePredecessors(run, stage, inputDigests);
    const digest = await digestOfJson(inputs);
    const earlier = await readStageRecord(run.files, run.path, stage);
    if (earlier && earlier.inputDigest !== digest) {
      run.progress.note(
        `${stage}: done before from other inputs or settings, runs again and replaces what it left`,
      );
    }
    await begin(run, stage, digest);
    run.gpu.memory.resetPeak();
    const start = clock();
    const outcome = await perform(run, stage, digest, inputs, lost);
    const fact: StageFacts = {
      name: stage,
      ran: true,
      seconds: (clock() - start) / 1000,
      steps: outcome.steps,
      tokens: outcome.tokens,
      peakMemory: run.gpu.memory.peakBytes,
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

/** All that a stage depends on. Behind the name of the evaluation's judge there may be another model than last time. */
function inputsOf(
  run: Run,
  stage: StageName,
  inputDigests: Record<string, string>,
): Record<string, unknown> {
  const judge = stage === "evaluate" && run.judge?.digest;
  return {
    ...stageInputs(run.config, stage),
    ...inputDigests,
    ...(judge && { "evaluate.judge's files": judge }),
  };
}

/** The record of a stage that need not run: it was done with these inputs, and what it left is there. */
async function doneBefore(
  run: Run,
  stage: StageName,
  inputDigests: Record<string, string>,
): Promise<StageRecord | undefined> {
  const inputs = inputsOf(run, stage, inputDigests);
  const record = await readStageRecord(run.files, run.path, stage, inputs);
  if (!record) return undefined;
  const there = await Promise.all(leaves[stage](run).map((path) => run.files.exists(path)));
  const sound = there.every(Boolean) && (stage !== "preprocess" || await tablesAreSound(run));
  return sound ? record : undefined;
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

/** How often in one run a lost device is opened again. */
const mostLosses = 3;

/**
 * Runs a stage's body to its end, again from its last checkpoint where it has been rolled back or where the device was lost.
 */
async function perform(
  run: Run,
  stage: StageName,
  inputs: string,
  fields: Record<string, unknown>,
  lost: { times: number },
): Promise<Outcome> {
  for (;;) {
    try {
      return await bodies[stage](run, inputs, fields);
    } catch (error) {
      if (error instanceof RolledBack) continue;
      if (!run.reopenGpu || error instanceof Stopped || !await wasLost(run.gpu, error)) throw error;
      const what = error instanceof GpuError ? error.message : `the GPU device was lost in ${stage}`;
      if (++lost.times > mostLosses) {
        throw new GpuError("lost", stage, `${lost.times} times in one run; the last time: ${what}`);
      }
      await replaceDevice(run, run.reopenGpu, stage);
      await tellAlarm(run, {
        stage,
        step: 0,
        figure: "device",
        sentence: `${what}. It was opened again, and the stage goes on from its last checkpoint.`,
        reaction: "reopen",
        inputs,
      });
    }
  }
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
    const inputs = inputsOf(run, earlier, inputDigests);
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
  const done = await files.exists(joinPath(path, "stages", `${stage}.json`));
  for (const name of [stage, ...later]) await files.remove(joinPath(path, "stages", `${name}.json`));
  for (const name of goesOn ? later : [stage, ...later]) {
    await files.remove(joinPath(path, "checkpoints", name));
  }
  // A checkpoint knows how long the files were when it was written, and its stage goes back to that.
  if (!goesOn) await forgetRecords(run, [stage, ...later]);
  // What was rolled back counts until the attempt at the stage has ended, with or without a checkpoint.
  await forgetAlarms(
    run,
    ({ stage: of, inputs }) =>
      of === stage ? done || inputs !== digest : (later as readonly StageName[]).includes(of),
  );
}
