/** The memory of a stage before it runs: its own steps, on a device that holds nothing, with the books kept as on the real one. */
import type { Gpu } from "../kernels/gpu.ts";
import { rehearsalOf } from "../kernels/rehearsal.ts";
import { derivedFields } from "./config.ts";
import { queryAt, readTable, rowCount, sequenceAt } from "./dataset.ts";
import { random } from "./demo/random.ts";
import { comparisonsAtOnce } from "./judges/local.ts";
import { sequencesAtOnce } from "./judges/second.ts";
import type { StagePlan } from "./plan_table.ts";
import { silent } from "./progress.ts";
import { allocateQwen2, type Qwen2 } from "./qwen2.ts";
import type { Qwen2Config } from "./qwen2_config.ts";
import type { Run } from "./run.ts";
import { joined, nextLogprobs, responseProbe, sequenceScores, tokenLogprobs } from "./scoring.ts";
import { evaluationSizes } from "./stages/evaluate.ts";
import { improve, measure, rollOut } from "./stages/ppo_update.ts";
import { sampleTable } from "./stages/ppo_records.ts";
import { splitSizes, tablePath } from "./stages/preprocess.ts";
import { heldOutAccuracy, referenceMean, rewardBatch, rewardStep } from "./stages/reward.ts";
import { languageFigures, referenceLosses, sftStep, writeSummaries } from "./stages/sft.ts";
import { batchRows, stageKeys } from "./training.ts";

/** The stages that use the device, in order. */
export const plannedStages = ["sft", "reward", "ppo", "evaluate"] as const;
export type PlannedStage = typeof plannedStages[number];

/** Steps of each stage that are rehearsed, at most: batches differ in length, and the pool grows with each new size. */
const mostSteps = 8;
/** Updates of PPO, each of several passes over a large batch, and micro-batches of each pass, about. */
const mostUpdates = 4, mostMicroBatches = 100;
/** Sequences of an evaluation that are rehearsed, at least: a batch of generation. */
const fewestEvaluated = 64;
/** Batches of generation in the last stage, at most: how long the queries of a batch are decides on the size of its caches. */
const mostBatches = 6;

/** A need of device memory at its highest, in bytes, and the buffers that make it up then. */
export type Need = Pick<StagePlan, "peakMemory" | "memory">;

/** What a stage needs. */
export async function rehearse(run: Run, config: Qwen2Config, stage: PlannedStage): Promise<Need> {
  const posts = await readTable(run.files, tablePath(run, "posts", "train"));
  const shorter = shortened(run.config, posts.tokens.length / rowCount(posts));
  return await highestNeed({ ...run, config: shorter }, (run) => rehearsals[stage](run, config));
}

/**
 * What a judge on the device needs.
 * @param lengths tokens of all that it reads, in the order in which it is told of them
 */
export async function rehearseJudge(
  run: Run,
  judge: "second" | "local",
  shape: Qwen2Config,
  lengths: readonly number[],
): Promise<Need> {
  return await highestNeed(
    run,
    (run) => judging[judge](run, allocateQwen2(run.gpu, shape, "judge"), lengths),
  );
}

async function highestNeed(run: Run, rehearsal: (run: Run) => Promise<void>): Promise<Need> {
  const gpu = rehearsalOf(run.gpu);
  let highest: Need = { peakMemory: 0, memory: [] };
  const look = () => {
    if (gpu.memory.bytes > highest.peakMemory) {
      highest = { peakMemory: gpu.memory.bytes, memory: gpu.memory.plan() };
    }
  };
  // Until it is trimmed the pool only grows.
  const trim = gpu.trim.bind(gpu);
  gpu.trim = () => {
    look();
    trim();
  };
  await rehearsal({ ...run, gpu, ...quiet });
  look();
  return highest;
}

/** Nothing that a rehearsal finds is written down, and it is over too soon to be stopped halfway. */
const nothing = () => Promise.resolve();
const quiet: Pick<Run, "directory" | "progress" | "gold" | "stopping"> = {
  directory: {
    path: "",
    healed: [],
    appendMetrics: nothing,
    appendSamples: nothing,
    appendEpisodes: nothing,
    release: nothing,
  },
  progress: silent,
  gold: undefined,
  stopping: () => false,
};

/**
 * The same steps with fewer rows around them: as many as fill two micro-batches, or a batch of PPO's updates more.
 * @param length mean tokens of a row
 */
function shortened({ sft, reward, ppo, ...rest }: Run["config"], length: number): Run["config"] {
  const episodes = Math.max(ppo.decodeBatch, mostMicroBatches * ppo.microTokens / length);
  const some = (rows: number, microTokens: number) =>
    Math.min(rows || Infinity, Math.max(fewestEvaluated, Math.ceil(2 * microTokens / length)));
  return {
    ...rest,
    sft: { ...sft, evalRows: some(sft.evalRows, sft.microTokens) },
    reward: {
      ...reward,
      evalRows: some(reward.evalRows, reward.microTokens),
      normaliseRows: some(reward.normaliseRows, reward.microTokens),
    },
    ppo: { ...ppo, batch: Math.min(ppo.batch, Math.ceil(episodes / ppo.minibatches) * ppo.minibatches) },
  };
}

function allocate(
  gpu: Gpu,
  config: Qwen2Config,
  name: string,
  head: Qwen2Config["head"],
  trained: boolean,
): Qwen2 {
  const model = allocateQwen2(gpu, { ...config, head }, name);
  if (trained) model.parameters.train();
  return model;
}

/** Each leaves what it allocated in place, or trims the pool before it frees weights. */
const rehearsals: Record<
  PlannedStage,
  (run: Run, config: Qwen2Config) => Promise<void>
> = {
  async sft(run, config) {
    const { sft, seed } = run.config;
    const model = allocate(run.gpu, config, "policy", "language", true);
    const table = await readTable(run.files, tablePath(run, "posts", "train"));
    const { rows, steps } = derivedFields(run.config, splitSizes(run.dataset)).sft;
    await languageFigures(run, model, 0);
    for (let step = 1; step <= Math.min(steps, mostSteps); step++) {
      await sftStep(run, model, table, batchRows(rows, sft.batch, step, seed, stageKeys.sft), step, 0);
    }
  },

  async reward(run, config) {
    const { reward } = run.config;
    const model = allocate(run.gpu, config, "reward", "score", true);
    const table = await readTable(run.files, tablePath(run, "pairs", "train"));
    const { pairs, steps } = derivedFields(run.config, splitSizes(run.dataset)).reward;
    await heldOutAccuracy(run, model, 0);
    for (let step = 1; step <= Math.min(steps, mostSteps); step++) {
      await rewardStep(run, model, table, rewardBatch(run, table, pairs, step), step, 0);
    }
    if (reward.normalise) await referenceMean(run, model);
  },

  async ppo(run, config) {
    const { ppo, seed } = run.config;
    const networks = {
      policy: allocate(run.gpu, config, "policy", "language", true),
      critic: allocate(run.gpu, config, "critic", "score", true),
      reference: allocate(run.gpu, config, "reference", "language", false),
      rewardModel: allocate(run.gpu, config, "reward model", "score", false),
    };
    const table = await readTable(run.files, tablePath(run, "posts", "train"));
    const { updates } = derivedFields(run.config, splitSizes(run.dataset)).ppo;
    await sampleTable(run, networks.policy, networks.rewardModel, 0);
    const lengths = random(seed);
    for (let update = 1; update <= Math.min(updates, mostUpdates); update++) {
      const rows = batchRows(rowCount(table), ppo.batch, update, seed, stageKeys.ppo);
      const queries = Array.from(rows, (row) => queryAt(table, row));
      // Nothing is drawn here; responses that grow from update to update make micro-batches of all sizes.
      const most = Math.ceil(ppo.responseLength * update / Math.min(updates, mostUpdates));
      const responses = queries.map(() => {
        const response = new Uint32Array(ppo.responseLength);
        response[lengths.below(most)] = run.tokenizer.eosId;
        return response;
      });
      if (update === 1) await rollOut(run, networks, queries, update);
      await improve(
        run,
        networks,
        await measure(run, networks, queries, responses),
        update,
        0,
        ppo.klCoef,
      );
    }
  },

  async evaluate(run, config) {
    const { evaluate, preprocess, reward, ppo, seed } = run.config;
    const table = await readTable(run.files, tablePath(run, "posts", evaluate.split));
    const posts = Math.min(rowCount(table), evaluate.posts || Infinity);
    const { klPosts, bestPosts, bestOf } = evaluationSizes(run, posts);
    const queries = Array.from({ length: posts }, (_, row) => queryAt(table, row));
    const samples = queries.slice(0, bestPosts).flatMap((query) => Array<Uint32Array>(bestOf).fill(query));
    const policy = allocate(run.gpu, config, "policy", "language", false);
    for (
      const [prompts, T] of [
        [queries, preprocess.responseTokens],
        [queries, ppo.responseLength],
        [samples, preprocess.responseTokens],
      ] as const
    ) {
      await writeSummaries(run, policy, prompts.slice(0, mostBatches * evaluate.decodeBatch), {
        temperature: evaluate.temperature,
        stage: stageKeys.evaluate,
        step: 0,
        responseLength: T,
        batch: evaluate.decodeBatch,
      });
    }
    const lengths = random(seed);
    const probes = queries.slice(0, klPosts).map((query) => {
      const length = 1 + lengths.below(ppo.responseLength);
      return responseProbe(joined(query, new Uint32Array(length)), query.length, length);
    });
    const { temperature, microTokens } = ppo;
    const vocabulary = run.tokenizer.padId;
    await tokenLogprobs(run.gpu, policy, probes, { temperature, vocabulary, microTokens });
    const full = Math.ceil(mostBatches * reward.microTokens * rowCount(table) / table.tokens.length);
    const read = Math.min(posts, full);
    await referenceLosses(run, policy, table, read);
    run.gpu.trim();
    policy.parameters.drop();
    const rewardModel = allocate(run.gpu, config, "reward model", "score", false);
    const sequences = Array.from({ length: read }, (_, row) => sequenceAt(table, row));
    await sequenceScores(run.gpu, rewardModel, sequences, reward.microTokens);
  },
};

/** Runs of what a judge reads that are rehearsed, at most, spread over all. */
const mostRuns = 24;

const judging: Record<
  "second" | "local",
  (run: Run, judge: Qwen2, lengths: readonly number[]) => Promise<void>
> = {
  async second({ gpu, config }, judge, lengths) {
    for (const some of spread(lengths, sequencesAtOnce)) {
      await sequenceScores(gpu, judge, some, config.reward.microTokens);
    }
  },

  async local({ gpu, config }, judge, lengths) {
    const { microTokens } = config.reward;
    for (const some of spread([...lengths].sort((a, b) => b - a), comparisonsAtOnce)) {
      await nextLogprobs(gpu, judge, some, [0, 1], { microTokens });
    }
  },
};

/** Runs of `size` sequences, the first and the last among them. */
function spread(lengths: readonly number[], size: number): Uint32Array[][] {
  const runs = Math.ceil(lengths.length / size), taken = Math.min(runs, mostRuns);
  return Array.from({ length: taken }, (_, i) => {
    const first = size * Math.round(i * (runs - 1) / Math.max(1, taken - 1));
    return lengths.slice(first, first + size).map((length) => new Uint32Array(length));
  });
}
