/**
 * The reward model: the SFT model's backbone with a scalar head, trained so that the preferred summary's score, read at its EOS, is the
 * higher one: mean −log σ(r_chosen − r_rejected) (arXiv 2009.01325, §3.4; details 10–12 and 15 of the N+ paper).
 */
import { gatherRows } from "../../kernels/gather_rows.ts";
import { pairwiseLoss } from "../../kernels/pairwise_loss.ts";
import { scalarHead } from "../../kernels/scalar_head.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import { derivedFields } from "../config.ts";
import { readTable, rowCount, sequenceAt, type TokenTable } from "../dataset.ts";
import { random } from "../demo/random.ts";
import { recallRollbacks, requireFinite, traceNonFinite } from "../health.ts";
import { hiddenStates, loadQwen2, type Qwen2, tokenBatch } from "../qwen2.ts";
import {
  checkpointsDue,
  heed,
  loadProgress,
  logMetrics,
  modelFolder,
  requireFinalRoom,
  requireStageRoom,
  type Run,
  saveProgress,
  Stopped,
  unlessStopped,
} from "../run.ts";
import { sequenceScores } from "../scoring.ts";
import {
  batchRows,
  learningRate,
  microBatches,
  optimiserStep,
  shuffled,
  stageKeys,
  standardNormal,
} from "../training.ts";
import { splitSizes, tablePath } from "./preprocess.ts";
import { saveFinished } from "./sft.ts";

/** What the stage leaves for the report. */
export interface RewardOutcome {
  steps: number;
  tokens: number;
  /** Share of held-out pairs in which the preferred summary scores higher. */
  accuracy: number;
  /** What was subtracted so that SFT references average 0. */
  offset: number;
}

/**
 * Trains the reward model and leaves it, normalised, in `models/reward`.
 * @param inputs digest of what the stage depends on
 * @throws Stopped after saving, when the run is asked to stop
 */
export async function reward(run: Run, inputs: string): Promise<RewardOutcome> {
  const { gpu, files, config } = run;
  const fields = config.reward;
  const table = await readTable(files, tablePath(run, "pairs", "train"));
  const { pairs, steps } = derivedFields(config, splitSizes(run.dataset)).reward;
  const model = await loadQwen2(gpu, files, modelFolder(run, "sft"), "reward", "score");
  initialiseHead(run, model);
  model.parameters.train();
  model.recompute = config.recompute === "layers";
  const free = () => {
    model.parameters.drop();
    gpu.trim();
  };
  await requireStageRoom(run, "reward", { reward: model });
  const restored = await loadProgress(run, "reward", { reward: model }, inputs);
  const rollbacks = await recallRollbacks(run, "reward", inputs, restored);
  let tokens = Number(restored?.notes.tokens ?? 0);
  const save = (step: number, unmeasured: boolean) =>
    saveProgress(run, "reward", step, { reward: model }, {
      ...{ inputs, tokens, unmeasured },
      rollbacks: rollbacks.count,
    });
  const isDue = checkpointsDue(run);
  const progress = run.progress.stage("reward", { steps, unit: "steps" });
  if (!restored || restored.notes.unmeasured) await heldOutAccuracy(run, model, restored?.step ?? 0);

  for (let step = (restored?.step ?? 0) + 1; step <= steps; step++) {
    const chosen = rewardBatch(run, table, pairs, step);
    const rate = learningRate(fields, step, steps) * rollbacks.learningRateFactor;
    const figures = await rewardStep(run, model, table, chosen, step, rate);
    await requireFinite(
      run,
      { stage: "reward", step, inputs },
      { loss: figures.loss, "gradient norm": figures.norm },
      () => traceNonFinite(gpu, [model], [], figures.again),
      free,
    );
    tokens += figures.tokens;
    await logMetrics(run, "reward", step, rewardRecord(figures, rate, step * fields.batch, tokens));
    progress.step(step, { loss: figures.loss, accuracy: figures.accuracy, tokens: figures.tokens });
    const last = step === steps;
    const measured = fields.evalEvery === 0 || step % fields.evalEvery !== 0 || last ||
      await unlessStopped(() => heldOutAccuracy(run, model, step)) !== undefined;
    if ((isDue(step) && !last) || run.stopping()) {
      await save(step, !measured);
      if (run.stopping()) throw new Stopped(run, `reward, step ${step}`);
    }
  }
  const accuracy = await unlessStopped(async () => {
    model.score!.offset = fields.normalise ? await referenceMean(run, model) : 0;
    return await heldOutAccuracy(run, model, steps);
  });
  if (accuracy === undefined) {
    model.score!.offset = 0;
    await save(steps, false);
    throw new Stopped(run, `reward, step ${steps}`);
  }
  await requireFinalRoom(run, "reward", { reward: model });
  await saveFinished(run, "reward", model);
  const { offset } = model.score!;
  free();
  progress.done(`held-out accuracy ${accuracy.toFixed(3)}, offset ${offset.toFixed(3)}`);
  return { steps, tokens, accuracy, offset };
}

/** The pairs of a step: a batch of the first `pairs` of all, once these have been shuffled. */
export function rewardBatch(
  { config }: Pick<Run, "config">,
  table: TokenTable,
  pairs: number,
  step: number,
): Uint32Array {
  const subset = shuffled(rowCount(table) / 2, config.seed, stageKeys.reward, -1).subarray(0, pairs);
  return batchRows(pairs, config.reward.batch, step, config.seed, stageKeys.reward).map((i) => subset[i]);
}

/** Weight from N(0, headScale / √(d + 1)), bias 0 (detail 11). */
export function initialiseHead({ gpu, config }: Pick<Run, "gpu" | "config">, model: Qwen2): void {
  const { weight, bias } = model.score!;
  const draw = standardNormal(random((config.seed ^ 0x5ca1ab1e) >>> 0));
  const deviation = config.reward.headScale / Math.sqrt(weight.size + 1);
  gpu.upload(weight, Float32Array.from({ length: weight.size }, () => draw() * deviation));
  gpu.upload(bias, new Float32Array(1));
}

/** What one optimiser step found: means over its pairs, the norm of the gradient, the tokens of both summaries. */
export interface RewardFigures {
  loss: number;
  accuracy: number;
  margin: number;
  norm: number;
  tokens: number;
  /** Encodes the step's passes once more, to look for what is wrong with them. */
  again: () => void;
}

/**
 * A step's figures as they are logged.
 * @param episode pairs trained on so far
 * @param tokens of those
 */
export function rewardRecord(
  { loss, accuracy, margin, norm }: RewardFigures,
  rate: number,
  episode: number,
  tokens: number,
): Record<string, number> {
  return {
    "loss": loss,
    "accuracy": accuracy,
    "precis/margin": margin,
    "grad_norm": norm,
    "lr": rate,
    episode,
    "precis/tokens": tokens,
  };
}

/** One optimiser step on the pairs of the table that were chosen; their gradients stay until the next. */
export async function rewardStep(
  run: Pick<Run, "gpu" | "config">,
  model: Qwen2,
  table: TokenTable,
  chosen: Uint32Array,
  step: number,
  rate: number,
): Promise<RewardFigures> {
  const { gpu, config } = run;
  const items = Array.from(
    chosen,
    (pair) => [sequenceAt(table, 2 * pair), sequenceAt(table, 2 * pair + 1)] as const,
  );
  const runs = microBatches(items.map(([a, b]) => a.length + b.length), config.reward.microTokens);
  const passes = () =>
    runs.map(([from, to]) =>
      gpu.scope(() => {
        const some = items.slice(from, to);
        const sequences = [...some.map(([a]) => a), ...some.map(([, b]) => b)];
        const batch = tokenBatch(gpu, model, sequences, true);
        const ends = batch.packing.host.starts.slice(1).map((start) => start - 1);
        let kept: Tensor;
        gpu.differentiate(() => {
          const hidden = gatherRows(gpu, hiddenStates(gpu, model, batch), ends);
          const scores = gpu.named("score", scalarHead(gpu, hidden, model.score!.weight, model.score!.bias));
          const result = pairwiseLoss(gpu, scores, null, { denominator: items.length });
          kept = gpu.keep(result.sums);
          return gpu.named("loss", result.loss);
        });
        return kept!;
      })
    );
  model.parameters.clearGradients();
  const sums = passes();
  const norm = gpu.scope(() => optimiserStep(gpu, [model], config.reward, step, rate));
  const [[gradientNorm], ...values] = await gpu.read(norm, ...sums);
  for (const tensor of [norm, ...sums]) gpu.release(tensor);
  const mean = (i: number) => values.reduce((sum, column) => sum + column[i], 0) / items.length;
  return {
    loss: mean(1),
    accuracy: mean(2),
    margin: mean(3),
    norm: gradientNorm,
    tokens: items.reduce((sum, [a, b]) => sum + a.length + b.length, 0),
    again: () => passes().forEach((tensor) => gpu.release(tensor)),
  };
}

/** Mean score of the SFT training references, before any offset: what normalisation subtracts (detail 15). */
export async function referenceMean(run: Run, model: Qwen2): Promise<number> {
  const table = await readTable(run.files, tablePath(run, "posts", "train"));
  return await meanScore(run, model, table, heed(run, "the last step of reward"));
}

/** Mean score of the first rows of a table, `reward.normaliseRows` of them; the model's offset becomes 0. */
export async function meanScore(
  run: Pick<Run, "gpu" | "config">,
  model: Qwen2,
  table: TokenTable,
  stop?: () => void,
): Promise<number> {
  const { normaliseRows, microTokens } = run.config.reward;
  const count = normaliseRows === 0 ? rowCount(table) : Math.min(normaliseRows, rowCount(table));
  model.score!.offset = 0;
  const rows = Array.from({ length: count }, (_, i) => sequenceAt(table, i));
  const scores = await sequenceScores(run.gpu, model, rows, microTokens, stop);
  return scores.reduce((sum, score) => sum + score, 0) / count;
}

/** Scores of both summaries of each pair of a split, chosen first. */
export async function pairScores(
  run: Pick<Run, "gpu" | "config">,
  model: Qwen2,
  table: TokenTable,
  count: number,
  heed?: () => void,
): Promise<[number, number][]> {
  const rows = Array.from({ length: 2 * count }, (_, i) => sequenceAt(table, i));
  const scores = await sequenceScores(run.gpu, model, rows, run.config.reward.microTokens, heed);
  return Array.from({ length: count }, (_, i) => [scores[2 * i], scores[2 * i + 1]]);
}

/** Accuracy on valid1 and valid2 together, logged at `step`. @throws Stopped when the run is asked to stop, nothing logged */
export async function heldOutAccuracy(run: Run, model: Qwen2, step: number): Promise<number> {
  const tables = {
    valid1: await readTable(run.files, tablePath(run, "pairs", "valid1")),
    valid2: await readTable(run.files, tablePath(run, "pairs", "valid2")),
  };
  const figures = await measureAccuracy(run, model, tables, heed(run, `reward, step ${step}`));
  await logMetrics(run, "reward", step, figures);
  return figures["eval/accuracy"];
}

/** Accuracy and loss on held-out pairs, `reward.evalRows` of them, as they are logged. */
export async function measureAccuracy(
  run: Pick<Run, "gpu" | "config">,
  model: Qwen2,
  tables: Record<"valid1" | "valid2", TokenTable>,
  stop?: () => void,
): Promise<Record<string, number>> {
  // The buffers of training steps and of evaluations need not be there at the same time.
  run.gpu.trim();
  const figures: Record<string, number> = {};
  let correct = 0, all = 0, loss = 0;
  for (const split of ["valid1", "valid2"] as const) {
    const table = tables[split];
    const rows = rowCount(table) / 2;
    const count = run.config.reward.evalRows === 0
      ? rows
      : Math.min(rows, Math.ceil(run.config.reward.evalRows / 2));
    if (count === 0) continue;
    const scored = await pairScores(run, model, table, count, stop);
    const right = scored.filter(([chosen, rejected]) => chosen > rejected).length;
    figures[`eval/accuracy_${split}`] = right / count;
    loss += scored.reduce((sum, [chosen, rejected]) => sum + Math.log1p(Math.exp(rejected - chosen)), 0);
    correct += right;
    all += count;
  }
  run.gpu.trim();
  figures["eval/accuracy"] = correct / all;
  figures["eval/loss"] = loss / all;
  return figures;
}
