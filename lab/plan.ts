/**
 * What a run will take, told before it begins: each stage's steps, tokens and operations, counted from the token tables; its memory, by
 * rehearsal (lab/rehearsal.ts); its time, where rates have been measured (lab/rates.ts).
 *
 * How long responses will be is not known beforehand. They are counted at full length: PPO and evaluation take at most so much.
 */
import { GpuError } from "../kernels/gpu_error.ts";
import { derivedFields } from "./config.ts";
import { readTable, rowCount } from "./dataset.ts";
import { planJudge } from "./judging_plan.ts";
import type { StagePlan } from "./plan_table.ts";
import { readQwen2Config } from "./qwen2.ts";
import type { Qwen2Config } from "./qwen2_config.ts";
import { replaceDevice, wasLost } from "./lost_device.ts";
import { kinds, measureRates, type Rates, secondsOf } from "./rates.ts";
import { type PlannedStage, plannedStages, rehearse } from "./rehearsal.ts";
import type { StageName } from "./report/data.ts";
import { heed, type Run, Stopped } from "./run.ts";
import { evaluationSizes } from "./stages/evaluate.ts";
import { splitSizes, tablePath } from "./stages/preprocess.ts";
import { referenceCount } from "./stages/reward_figures.ts";
import { addGeneration, addSequences, flopsOf, noWork, type Work } from "./work.ts";

/** Below so many operations a run takes minutes on anything, and measuring would take longer than it tells. */
const worthMeasuring = 1e14;

/**
 * Plans the given stages; the token tables must be there. Where the device fails while it is measured, it is opened again, and the plan
 * has no times.
 * @throws Stopped when the run is asked to stop
 * @param options.measure `auto` measures rates where the run is long enough to be worth it
 */
export async function planRun(
  run: Run,
  stages: readonly StageName[],
  options: { clock: () => number; measure: "auto" | "always" },
): Promise<StagePlan[]> {
  const config = await readQwen2Config(run.files, run.baseFolder);
  const lengths = await readLengths(run);
  const plans: StagePlan[] = [];
  /** What a plan computes, and with a model of which shape. */
  const works = new Map<StagePlan, { shape: Qwen2Config; work: Work }>();
  const checkStop = heed(run, "planning");
  const planned = plannedStages.filter((name) => stages.includes(name));
  const progress = run.progress.stage("plan", { steps: planned.length, unit: "stages" });
  for (const [i, name] of planned.entries()) {
    progress.step(i, { now: name });
    checkStop();
    const { work, steps, unit } = countStage[name](run, lengths);
    const plan: StagePlan = {
      name,
      steps,
      unit,
      tokens: Math.round(work.trained.tokens + work.read.tokens + work.written.tokens),
      flops: flopsOf(config, work),
      ...await rehearse(run, config, name),
    };
    plans.push(plan);
    works.set(plan, { shape: config, work });
  }
  if (stages.includes("evaluate")) {
    checkStop();
    const judge = await planJudge(run);
    if (judge) plans.push(judge.plan);
    if (judge?.onDevice) works.set(judge.plan, judge.onDevice);
  }
  progress.done();
  const total = plans.reduce((sum, { flops }) => sum + flops, 0);
  if (plans.length > 0 && (options.measure === "always" || total >= worthMeasuring)) {
    const rates = await ratesOf(run, config, lengths, options.clock);
    if (rates) { for (const [plan, { shape, work }] of works) plan.seconds = secondsOf(shape, work, rates); }
  }
  return plans;
}

// ---- lengths ----

interface Lengths {
  /** Of query ⊕ reference, and of the query alone. */
  posts: Record<"train" | "validation" | "judged", { sequences: number[]; queries: number[] }>;
  /** Of query ⊕ chosen and query ⊕ rejected in turn. */
  pairs: Record<"train" | "heldOut", number[]>;
}

async function readLengths(run: Run): Promise<Lengths> {
  const of = async (kind: "posts" | "pairs", split: string) => {
    const table = await readTable(run.files, tablePath(run, kind, split));
    const sequences = Array.from(
      { length: rowCount(table) },
      (_, i) => table.starts[i + 1] - table.starts[i],
    );
    return { sequences, queries: Array.from(table.queryLengths) };
  };
  const validation = await of("posts", "validation");
  const { split } = run.config.evaluate;
  const heldOut = [];
  for (const name of ["valid1", "valid2", "cnndm"]) heldOut.push(...(await of("pairs", name)).sequences);
  return {
    posts: {
      train: await of("posts", "train"),
      validation,
      judged: split === "validation" ? validation : await of("posts", split),
    },
    pairs: { train: (await of("pairs", "train")).sequences, heldOut },
  };
}

/** The first `count` of a list, all where `count` is 0. */
function first<T>(list: readonly T[], count: number): T[] {
  return count === 0 ? list.slice() : list.slice(0, count);
}

// ---- counting ----

type Count = (run: Run, lengths: Lengths) => { work: Work; steps: number; unit: string };

/** How often a stage evaluates: before the first step, every so many, and after the last. */
function evaluations(steps: number, every: number): number {
  return 2 + (every > 0 ? Math.floor((steps - 1) / every) : 0);
}

const countStage: Record<PlannedStage, Count> = {
  sft(run, { posts }) {
    const { sft, preprocess } = run.config;
    const { rows, steps } = derivedFields(run.config, splitSizes(run.dataset)).sft;
    const work = noWork();
    // Whole batches only, on average of each row equally often.
    const passes = steps * sft.batch / rows;
    posts.train.sequences.slice(0, rows).forEach((length, i) => {
      const counted = sft.queryLoss ? length - 1 : length - posts.train.queries[i];
      addSequences(work.trained, [length], () => counted, passes);
    });
    work.optimiserSteps = steps;
    const times = evaluations(steps, sft.evalEvery);
    addSequences(work.read, first(posts.validation.sequences, sft.evalRows), (length) => length - 1, times);
    addGeneration(work, first(posts.validation.queries, sft.evalRows), preprocess.responseTokens, times);
    return { work, steps, unit: "steps" };
  },

  reward(run, { posts, pairs }) {
    const { reward } = run.config;
    const { pairs: used, steps } = derivedFields(run.config, splitSizes(run.dataset)).reward;
    const work = noWork();
    // The pairs are drawn from all; their mean length is that of all.
    const passes = steps * reward.batch / used * (2 * used / pairs.train.length);
    addSequences(work.trained, pairs.train, () => 0, passes);
    work.optimiserSteps = steps;
    const evaluated = first(pairs.heldOut, 2 * reward.evalRows);
    addSequences(work.read, evaluated, () => 0, evaluations(steps, reward.evalEvery));
    if (reward.normalise) {
      addSequences(work.read, first(posts.train.sequences, reward.normaliseRows), () => 0);
    }
    return { work, steps, unit: "steps" };
  },

  ppo(run, { posts }) {
    const { ppo } = run.config;
    const { updates, steps, passes } = derivedFields(run.config, splitSizes(run.dataset)).ppo;
    const work = noWork();
    const T = ppo.responseLength, queries = posts.train.queries;
    addGeneration(work, queries, T, passes);
    const whole = queries.map((query) => query + T);
    // Policy and reference read for logprobs, critic and reward model for numbers.
    addSequences(work.read, whole, () => T, 2 * passes);
    addSequences(work.read, whole, () => 0, 2 * passes);
    addSequences(work.trained, whole, () => T, passes * ppo.epochs);
    addSequences(work.trained, whole, () => 0, passes * ppo.epochs);
    work.optimiserSteps = 2 * steps;
    const tables = ppo.sampleEvery > 0 ? 2 + Math.floor((updates - 1) / ppo.sampleEvery) : 0;
    addGeneration(work, first(posts.validation.queries, ppo.sampleRows), T, tables);
    return { work, steps: updates, unit: "updates" };
  },

  evaluate(run, { posts, pairs }) {
    const { evaluate, preprocess, ppo } = run.config;
    const work = noWork();
    const T = preprocess.responseTokens;
    const queries = first(posts.judged.queries, evaluate.posts);
    const { klPosts, bestPosts, bestOf, sequences } = evaluationSizes(run, queries.length);
    // Base, SFT and PPO write; the losses of base and SFT are measured.
    addGeneration(work, queries, T, 3);
    addSequences(work.read, first(posts.judged.sequences, evaluate.posts), (length) => length - 1, 2);
    const rollouts = queries.slice(0, klPosts);
    addGeneration(work, rollouts, ppo.responseLength);
    addSequences(work.read, rollouts.map((query) => query + ppo.responseLength), () => ppo.responseLength, 2);
    const best = queries.slice(0, bestPosts);
    best.forEach((query, i) => {
      // A batch reads a post's query once for all of its samples.
      const first = i * bestOf, last = first + bestOf - 1, { decodeBatch } = evaluate;
      const batches = Math.floor(last / decodeBatch) - Math.floor(first / decodeBatch) + 1;
      addGeneration(work, [query], T, bestOf, batches);
    });
    // The reward model reads the three's summaries and the references, the samples, and the held-out pairs.
    addSequences(work.read, queries.map((query) => query + T), () => 0, 4);
    addSequences(work.read, best.map((query) => query + T), () => 0, bestOf);
    addSequences(work.read, first(pairs.heldOut, 2 * evaluate.pairs), () => 0);
    addSequences(work.read, posts.train.sequences.slice(0, referenceCount(run)), () => 0);
    return { work, steps: sequences, unit: "sequences" };
  },
};

// ---- time ----

async function ratesOf(
  run: Run,
  config: Qwen2Config,
  { posts }: Lengths,
  clock: () => number,
): Promise<Rates | undefined> {
  const { sft, evaluate } = run.config;
  let tokens = 0;
  const sequences = posts.train.sequences.filter((length) => (tokens += length) <= sft.microTokens);
  const progress = run.progress.stage("measure", { steps: kinds.length, unit: "kinds of work" });
  const checkStop = heed(run, "planning");
  let shown = -1;
  try {
    const rates = await measureRates(run.gpu, { ...config, head: "language" }, {
      sequences: sequences.length > 0 ? sequences : posts.train.sequences.slice(0, 1),
      prompts: posts.train.queries.slice(0, evaluate.decodeBatch),
      optimiser: sft,
      clock,
      tell(done) {
        if (done !== shown) progress.step(shown = done, { now: kinds[done] });
        checkStop();
      },
    });
    progress.done();
    return rates;
  } catch (error) {
    if (!run.reopenGpu || error instanceof Stopped) throw error;
    if (!(error instanceof GpuError) && !await wasLost(run.gpu, error)) throw error;
    const what = error instanceof GpuError ? error.message : "the GPU device was lost";
    await replaceDevice(run, run.reopenGpu, "planning");
    run.progress.note(
      `While a few steps were measured, ${what}. It was opened again; the plan has no times.`,
    );
    return undefined;
  }
}
