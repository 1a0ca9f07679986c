/**
 * Supervised fine-tuning: next-token cross-entropy on query ⊕ reference. As published, query tokens count too (detail 9 of the N+
 * paper; `queryLoss: false` for what most expect today), and each sequence counts alike whatever its length.
 */
import { gatherRows } from "../../kernels/gather_rows.ts";
import { crossEntropy } from "../../kernels/logprob.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import { derivedFields } from "../config.ts";
import { queryAt, readTable, sequenceAt, type SummarisedPost, type TokenTable } from "../dataset.ts";
import { drawnAt, generate } from "../generate.ts";
import { recallRollbacks, requireFinite, traceNonFinite } from "../health.ts";
import { hiddenStates, loadQwen2, type Qwen2, saveQwen2, tokenBatch } from "../qwen2.ts";
import { meanRouge, rouge } from "../rouge.ts";
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
import { probedRows, tokenLogprobs } from "../scoring.ts";
import { batchRows, learningRate, microBatches, optimiserStep, stageKeys } from "../training.ts";
import { splitSizes, tablePath } from "./preprocess.ts";

/** What the stage leaves for the report. */
export interface SftOutcome {
  steps: number;
  tokens: number;
  before: LanguageFigures;
  after: LanguageFigures;
}

/** How well a model writes references: losses in nats a token, ROUGE F of near-greedy samples. */
export interface LanguageFigures {
  lossWithQuery: number;
  lossResponse: number;
  rouge1: number;
  rouge2: number;
  rougeL: number;
}

/**
 * Fine-tunes the base model and leaves it in `models/sft`.
 * @param inputs digest of what the stage depends on; a checkpoint of other inputs is not resumed
 * @throws Stopped after saving, when the run is asked to stop
 */
export async function sft(run: Run, inputs: string): Promise<SftOutcome> {
  const { gpu, files, config } = run;
  const fields = config.sft;
  const table = await readTable(files, tablePath(run, "posts", "train"));
  const { rows, steps } = derivedFields(config, splitSizes(run.dataset)).sft;
  const model = await loadQwen2(gpu, files, run.baseFolder, "policy");
  model.parameters.train();
  model.recompute = config.recompute === "layers";
  const free = () => {
    model.parameters.drop();
    gpu.trim();
  };
  await requireStageRoom(run, "sft", { policy: model });
  const restored = await loadProgress(run, "sft", { policy: model }, inputs);
  const rollbacks = await recallRollbacks(run, "sft", inputs, restored);
  const before = restored ? restored.notes.before as LanguageFigures : await languageFigures(run, model, 0);
  if (restored?.notes.unmeasured) await languageFigures(run, model, restored.step);
  let tokens = Number(restored?.notes.tokens ?? 0);
  const save = (step: number, unmeasured: boolean) =>
    saveProgress(run, "sft", step, { policy: model }, {
      ...{ inputs, before, tokens, unmeasured },
      rollbacks: rollbacks.count,
    });
  const isDue = checkpointsDue(run);
  const progress = run.progress.stage("sft", { steps, unit: "steps" });

  for (let step = (restored?.step ?? 0) + 1; step <= steps; step++) {
    const chosen = batchRows(rows, fields.batch, step, config.seed, stageKeys.sft);
    const rate = learningRate(fields, step, steps) * rollbacks.learningRateFactor;
    const figures = await sftStep(run, model, table, chosen, step, rate);
    await requireFinite(
      run,
      { stage: "sft", step, inputs },
      { loss: figures.loss, "gradient norm": figures.norm },
      () => traceNonFinite(gpu, [model], [], figures.again),
      free,
    );
    tokens += figures.tokens;
    await logMetrics(run, "sft", step, sftRecord(figures, rate, step * fields.batch, tokens));
    progress.step(step, { loss: figures.loss, tokens: figures.tokens });
    const last = step === steps;
    const measured = fields.evalEvery === 0 || step % fields.evalEvery !== 0 || last ||
      await unlessStopped(() => languageFigures(run, model, step)) !== undefined;
    if ((isDue(step) && !last) || run.stopping()) {
      await save(step, !measured);
      if (run.stopping()) throw new Stopped(run, `sft, step ${step}`);
    }
  }
  const after = await unlessStopped(() => languageFigures(run, model, steps));
  if (!after) {
    await save(steps, false);
    throw new Stopped(run, `sft, step ${steps}`);
  }
  await requireFinalRoom(run, "sft", { policy: model });
  await saveFinished(run, "sft", model);
  free();
  progress.done(
    `validation loss of responses ${before.lossResponse.toFixed(3)} → ${after.lossResponse.toFixed(3)}, ` +
      `ROUGE-L ${before.rougeL.toFixed(3)} → ${after.rougeL.toFixed(3)}`,
  );
  return { steps, tokens, before, after };
}

/** Replaces `models/<name>` by a model. */
export async function saveFinished(run: Run, name: string, model: Qwen2): Promise<void> {
  const folder = modelFolder(run, name);
  if (await run.files.exists(folder)) await run.files.remove(folder);
  await run.files.makeDirectory(folder);
  await saveQwen2(run.gpu, run.files, folder, model);
  for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
    await run.files.writeAtomic(`${folder}/${file}`, await run.files.read(`${run.baseFolder}/${file}`));
  }
}

/** What one optimiser step found. */
export interface StepFigures {
  loss: number;
  lossWithQuery: number;
  lossResponse: number;
  norm: number;
  tokens: number;
  /** Encodes the step's passes once more, to look for what is wrong with them. */
  again: () => void;
}

/**
 * A step's figures as they are logged.
 * @param episode sequences trained on so far
 * @param tokens of those
 */
export function sftRecord(
  { loss, lossWithQuery, lossResponse, norm }: StepFigures,
  rate: number,
  episode: number,
  tokens: number,
): Record<string, number> {
  return {
    "loss": loss,
    "precis/loss_query_and_response": lossWithQuery,
    "precis/loss_response": lossResponse,
    "grad_norm": norm,
    "lr": rate,
    episode,
    "precis/tokens": tokens,
  };
}

/** One optimiser step on the rows of the table that were chosen; their gradients stay until the next. */
export async function sftStep(
  run: Pick<Run, "gpu" | "config">,
  model: Qwen2,
  table: TokenTable,
  chosen: Uint32Array,
  step: number,
  rate: number,
): Promise<StepFigures> {
  const { gpu, config } = run;
  const { queryLoss, lossAggregation, microTokens } = config.sft;
  const items = Array.from(chosen, (row) => {
    const tokens = sequenceAt(table, row);
    const first = queryLoss ? 0 : table.queryLengths[row] - 1;
    const positions = Uint32Array.from({ length: tokens.length - 1 - first }, (_, i) => first + i);
    return { tokens, positions, query: table.queryLengths[row] };
  });
  const counted = items.reduce((sum, { positions }) => sum + positions.length, 0);
  const weightOf = (item: typeof items[number]) =>
    lossAggregation === "token" ? 1 / counted : 1 / (items.length * item.positions.length);

  const passes = () =>
    microBatches(items.map(({ tokens }) => tokens.length), microTokens).map(([from, to]) =>
      gpu.scope(() => {
        const some = items.slice(from, to);
        const batch = tokenBatch(gpu, model, some.map(({ tokens }) => tokens), true);
        const { rows, targets } = probedRows(some, batch.packing.host.starts);
        const following = gpu.from(targets, [targets.length], "targets");
        const weights = Float32Array.from(
          some.flatMap((item) => Array(item.positions.length).fill(weightOf(item))),
        );
        const weight = gpu.from(weights, [weights.length], "weights");
        let kept: Tensor;
        gpu.differentiate(() => {
          const hidden = gatherRows(gpu, hiddenStates(gpu, model, batch), rows);
          const { loss, logprob } = crossEntropy(gpu, hidden, model.head, following, { weights: weight });
          kept = gpu.keep(gpu.named("logprob", logprob));
          return gpu.named("loss", loss);
        });
        return kept!;
      })
    );
  model.parameters.clearGradients();
  const logprobs = passes();
  const norm = gpu.scope(() => optimiserStep(gpu, [model], config.sft, step, rate));
  const [[gradientNorm], ...values] = await gpu.read(norm, ...logprobs);
  for (const tensor of [norm, ...logprobs]) gpu.release(tensor);

  // The objective, and both published readings of it, from the logprobs.
  let loss = 0, all = 0, response = 0, responses = 0, at = 0;
  const flat = values.flatMap((column) => Array.from(column));
  for (const item of items) {
    const weight = weightOf(item);
    item.positions.forEach((position) => {
      const surprise = -flat[at++];
      loss += weight * surprise;
      all += surprise;
      if (position >= item.query - 1) {
        response += surprise;
        responses++;
      }
    });
  }
  const tokens = items.reduce((sum, item) => sum + item.tokens.length, 0);
  return {
    loss,
    lossWithQuery: queryLoss ? all / counted : NaN,
    lossResponse: response / responses,
    norm: gradientNorm,
    tokens,
    again: () => passes().forEach((tensor) => gpu.release(tensor)),
  };
}

/** Validation loss and ROUGE, logged at `step`. @throws Stopped when the run is asked to stop, nothing logged */
export async function languageFigures(run: Run, model: Qwen2, step: number): Promise<LanguageFigures> {
  const table = await readTable(run.files, tablePath(run, "posts", "validation"));
  const stop = heed(run, `sft, step ${step}`);
  const figures = await measureLanguage(run, model, table, run.dataset.posts.validation, step, stop);
  await logMetrics(run, "sft", step, languageRecord(figures));
  return figures;
}

/**
 * Loss and ROUGE of a model on held-out posts, `sft.evalRows` of them.
 * @param table their token ids
 * @param step numbers the samples' random numbers
 */
export async function measureLanguage(
  run: Pick<Run, "gpu" | "config" | "tokenizer">,
  model: Qwen2,
  table: TokenTable,
  posts: readonly SummarisedPost[],
  step: number,
  stop?: () => void,
): Promise<LanguageFigures> {
  // The buffers of training steps and of evaluations need not be there at the same time.
  run.gpu.trim();
  const { config } = run;
  const count = config.sft.evalRows === 0 ? posts.length : Math.min(posts.length, config.sft.evalRows);
  const losses = await referenceLosses(run, model, table, count, stop);
  const summaries = await writeSummaries(
    run,
    model,
    Array.from({ length: count }, (_, i) => queryAt(table, i)),
    {
      temperature: 0.01,
      stage: stageKeys.sft,
      step,
      responseLength: config.preprocess.responseTokens,
      heed: stop,
    },
  );
  run.gpu.trim();
  const mean = meanRouge(summaries.map(({ text }, i) => rouge(text, posts[i].summary)));
  return {
    ...losses,
    rouge1: mean.rouge1.fmeasure,
    rouge2: mean.rouge2.fmeasure,
    rougeL: mean.rougeL.fmeasure,
  };
}

/** Figures of {@link measureLanguage} as they are logged. */
export function languageRecord(
  { lossWithQuery, lossResponse, rouge1, rouge2, rougeL }: LanguageFigures,
): Record<string, number> {
  return {
    "eval/loss_query_and_response": lossWithQuery,
    "eval/loss_response": lossResponse,
    "eval/rouge1": rouge1,
    "eval/rouge2": rouge2,
    "eval/rougeL": rougeL,
  };
}

/** Mean negative log-likelihood of the references: of all tokens, and of the responses' alone, nats a token. */
export async function referenceLosses(
  run: Pick<Run, "gpu" | "config">,
  model: Qwen2,
  table: TokenTable,
  count: number,
  heed?: () => void,
): Promise<{ lossWithQuery: number; lossResponse: number }> {
  const probes = Array.from({ length: count }, (_, i) => {
    const tokens = sequenceAt(table, i);
    return { tokens, positions: Uint32Array.from({ length: tokens.length - 1 }, (_, p) => p) };
  });
  const scored = await tokenLogprobs(run.gpu, model, probes, {
    temperature: 1,
    microTokens: run.config.sft.microTokens,
    heed,
  });
  let all = 0, tokens = 0, response = 0, responses = 0;
  scored.forEach(({ logprob }, i) =>
    logprob.forEach((value, p) => {
      all -= value;
      tokens++;
      if (p >= table.queryLengths[i] - 1) {
        response -= value;
        responses++;
      }
    })
  );
  return { lossWithQuery: all / tokens, lossResponse: response / responses };
}

/** A summary as written: its ids up to and with EOS, and its text without. */
export interface WrittenSummary {
  tokens: Uint32Array;
  text: string;
  ended: boolean;
}

/** Samples summaries and cuts each behind its first EOS. Temperature 0 is greedy. */
export async function writeSummaries(
  run: Pick<Run, "gpu" | "tokenizer" | "config">,
  model: Qwen2,
  queries: readonly Uint32Array[],
  options: {
    temperature: number;
    stage: number;
    step: number;
    responseLength: number;
    batch?: number;
    samples?: readonly number[];
    heed?: () => void;
  },
): Promise<WrittenSummary[]> {
  const { temperature, ...rest } = options;
  const rows = await generate(run.gpu, model, queries, {
    ...rest,
    ...drawnAt(temperature),
    microTokens: run.config.sft.microTokens,
    vocabulary: run.tokenizer.padId,
    seed: run.config.seed,
  });
  return rows.map((row) => cutAtEos(row, run.tokenizer));
}

export function cutAtEos(row: Uint32Array, tokenizer: Run["tokenizer"]): WrittenSummary {
  const end = row.indexOf(tokenizer.eosId);
  const tokens = end < 0 ? row : row.subarray(0, end + 1);
  return { tokens, text: tokenizer.decode(end < 0 ? row : row.subarray(0, end)), ended: end >= 0 };
}
