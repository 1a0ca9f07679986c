/**
 * Evaluation: base model, SFT and PPO summarise held-out posts; the reward model, the data's gold rule and ROUGE measure what they
 * wrote. Only one model is on the device at a time. What one model gave is kept in `evaluation/`, so that a stopped evaluation goes on with
 * the next model, and another judge finds all that was written.
 */
import { digestOfJson, joinPath, readJson, writeJson } from "../bytes.ts";
import { queryAt, readTable, sequenceAt, type SummarisedPost, type TokenTable } from "../dataset.ts";
import { drawnAt, generate, temperatureShift } from "../generate.ts";
import { loadQwen2, type Qwen2 } from "../qwen2.ts";
import type { Author, Evaluation, RewardFigures } from "../report/data.ts";
import { logMetrics, modelFolder, type Run, Stopped } from "../run.ts";
import { joined, responseProbe, sequenceScores, tokenLogprobs } from "../scoring.ts";
import { stageKeys } from "../training.ts";
import {
  authorFigures,
  chooseBest,
  entriesOf,
  meanOf,
  metricsOf,
  sampleRow,
  sizeNotes,
  summaryOf,
  type Written,
} from "./evaluation_figures.ts";
import { judge } from "./judging.ts";
import { optimisationOf } from "./optimisation.ts";
import { tablePath } from "./preprocess.ts";
import { heldOutPairs, measureReward, referenceCount } from "./reward_figures.ts";
import { cutAtEos, referenceLosses } from "./sft.ts";

/** Posts for the KL, at most. */
const mostKlPosts = 512;
/** Sequences between two looks at the progress. */
const chunk = 256;

interface Losses {
  lossWithQuery: number;
  lossResponse: number;
}

/** What the policies gave. */
interface BaseResult {
  summaries: Written[];
  losses: Losses;
}
interface PpoResult {
  summaries: Written[];
  /** Fresh samples at the rollout temperature and the log-probability of each as a whole, nats. */
  rollouts: { tokens: number[]; logprob: number }[];
}
interface SftResult extends BaseResult {
  /** Log-probabilities of PPO's rollouts. */
  rolloutLogprobs: number[];
  /** Post by post, the samples that best-of-n chooses from. */
  samples: Written[][];
}
/** What the reward model gave: scores by author, of the samples, and how it fares itself. */
interface RewardResult {
  scores: Partial<Record<Author, number[]>>;
  samples: number[][];
  figures: RewardFigures;
  notes: string[];
}

/** What the evaluation is about, and how far it has come. */
interface Work {
  posts: SummarisedPost[];
  table: TokenTable;
  queries: Uint32Array[];
  /** Posts with KL, and with best-of-n; samples of each of the latter. */
  klPosts: number;
  bestPosts: number;
  bestOf: number;
  /** Counts sequences. @throws Stopped when the run is asked to stop */
  tick(sequences: number): void;
  /** The same between two of them. */
  heed(): void;
}

/** Where a run directory's evaluation is. */
export function evaluationPath(run: string): string {
  return joinPath(run, "evaluation.json");
}

/**
 * Evaluates whatever models the run has and writes `evaluation.json`, and all summaries to `summaries.json`.
 * @param inputs digest of what summaries and scores depend on, the judge left out
 * @throws Stopped when the run is asked to stop; RangeError where there are no posts, or a score is not finite
 */
export async function evaluate(run: Run, inputs: string): Promise<Evaluation> {
  const { config, files } = run;
  const fields = config.evaluate;
  const split = run.dataset.posts[fields.split];
  const posts = fields.posts === 0 ? split : split.slice(0, fields.posts);
  if (posts.length === 0) {
    throw new RangeError(`There are no ${fields.split} posts to summarise; choose another --evaluate.split.`);
  }
  const notes: string[] = [];
  const present = await presentModels(run, notes);
  const table = await readTable(files, tablePath(run, "posts", fields.split));
  const { sequences: steps, ...sizes } = evaluationSizes(run, posts.length, present);
  const progress = run.progress.stage("evaluate", { steps, unit: "sequences" });
  progress.step(0);
  let done = 0;
  const work: Work = {
    posts,
    table,
    queries: posts.map((_, i) => queryAt(table, i)),
    ...sizes,
    tick(sequences) {
      progress.step(done += sequences, {});
      work.heed();
    },
    heed() {
      if (run.stopping()) throw new Stopped(run, `${done} of ${steps} sequences of evaluate`);
    },
  };

  // The order lets SFT, PPO's reference, read what PPO has written without the two being loaded together.
  const key = await digestOfJson({ inputs, present });
  const keep = <T>(name: string, measure: () => Promise<T>) => kept(run, key, name, measure);
  const base = await keep("base", () => measureBase(run, work));
  const ppo = present.ppo ? await keep("ppo", () => measurePpo(run, work)) : undefined;
  const sft = present.sft ? await keep("sft", () => measureSft(run, work, ppo)) : undefined;
  const written: Partial<Record<Author, Written[]>> = {
    reference: posts.map((post, i) => ({
      text: post.summary,
      tokens: Array.from(sequenceAt(table, i).subarray(table.queryLengths[i])),
      ended: true,
    })),
    base: base.summaries,
    ...(sft && { sft: sft.summaries }),
    ...(ppo && { ppo: ppo.summaries }),
  };
  const reward = present.reward
    ? await keep("reward", () => measureWithReward(run, work, written, sft?.samples ?? []))
    : undefined;

  const entries = entriesOf(run, posts, written, reward?.scores ?? {});
  const best = reward && sft ? chooseBest(run, posts, sft.samples, reward.samples) : [];
  const all = [...entries, ...best.map(({ entry }) => entry)];
  const { matches, judging } = await judge(run, {
    posts,
    entries: all,
    hasReward: reward !== undefined,
    notes,
    keep: async (name, judge, measure) => kept(run, await digestOfJson({ key, judge }), name, measure),
  });
  const authors = entries.map((entry) => authorFigures(entry, posts, written[entry.author as Author]!));
  const figuresOf = (author: Author) => authors.find((figures) => figures.author === author)!;
  Object.assign(figuresOf("base"), base.losses);
  if (sft) Object.assign(figuresOf("sft"), sft.losses);
  if (ppo && sft) {
    figuresOf("ppo").kl = meanOf(ppo.rollouts.map(({ logprob }, i) => logprob - sft.rolloutLogprobs[i]));
  }
  notes.push(...sizeNotes(work, authors), ...(reward?.notes ?? []));

  const rows = posts.map((post, i) => sampleRow(run, post, i, all));
  const evaluation: Evaluation = {
    format: 1,
    posts: posts.length,
    split: fields.split,
    temperature: fields.temperature,
    authors,
    matches,
    bestOf: best.map(({ figures }) => figures),
    optimisation: await optimisationOf(run, posts, sft?.samples ?? [], reward?.samples ?? [], best),
    reward: reward?.figures,
    judging,
    samples: rows.slice(0, fields.table),
    notes,
  };
  await writeJson(files, joinPath(run.path, "summaries.json"), rows);
  await writeJson(files, evaluationPath(run.path), evaluation);
  await logMetrics(run, "evaluate", 0, metricsOf(evaluation));
  progress.step(steps);
  progress.done(summaryOf(evaluation));
  return evaluation;
}

// ---- what is there ----

type Present = Record<"sft" | "ppo" | "reward", boolean>;

async function presentModels(run: Run, notes: string[]): Promise<Present> {
  const present = { sft: false, ppo: false, reward: false };
  for (const name of ["sft", "reward", "ppo"] as const) {
    present[name] = await run.files.exists(joinPath(modelFolder(run, name), "config.json"));
    if (!present[name]) {
      const note = `There is no models/${name}: the stage ${name} has not run, and its figures are left out.`;
      notes.push(note);
      run.progress.note(note);
    }
  }
  return present;
}

/** How much an evaluation takes: posts with KL and with best-of-n, samples of each of the latter, and all sequences read or written. */
export function evaluationSizes(
  run: Pick<Run, "config" | "dataset">,
  posts: number,
  present: Present = { sft: true, ppo: true, reward: true },
): { klPosts: number; bestPosts: number; bestOf: number; sequences: number } {
  const { bestOf: ns, bestOfPosts } = run.config.evaluate;
  const klPosts = present.ppo && present.sft ? Math.min(posts, mostKlPosts) : 0;
  const bestPosts = present.sft && ns.length > 0 ? Math.min(posts, bestOfPosts || Infinity) : 0;
  const bestOf = bestPosts > 0 ? Math.max(...ns) : 0;
  const policies = 1 + Number(present.sft) + Number(present.ppo);
  const losses = 1 + Number(present.sft);
  const samples = bestPosts * bestOf;
  const read = present.reward
    ? posts * (policies + 1) + samples + 2 * heldOutPairs(run).length + referenceCount(run)
    : 0;
  return {
    klPosts,
    bestPosts,
    bestOf,
    sequences: posts * (policies + losses) + 3 * klPosts + samples + read,
  };
}

/** The result of an earlier, stopped evaluation with this key, or that of `measure`, which is then kept. */
async function kept<T>(run: Run, key: string, name: string, measure: () => Promise<T>): Promise<T> {
  const folder = joinPath(run.path, "evaluation");
  const path = joinPath(folder, `${name}.json`);
  if (await run.files.exists(path)) {
    try {
      const found = await readJson(run.files, path) as { key: string; digest: string; result: T };
      if (found.key === key && found.digest === await digestOfJson(found.result)) return found.result;
    } catch {
      // Damaged: measured again.
    }
  }
  // As it will be read back: NaN has no JSON.
  const result = JSON.parse(JSON.stringify(await measure())) as T;
  await run.files.makeDirectory(folder);
  await run.files.writeAtomic(
    path,
    new TextEncoder().encode(JSON.stringify({ key, digest: await digestOfJson(result), result })),
  );
  return result;
}

/** Loads a model for as long as `body` takes. */
async function withModel<T>(run: Run, folder: string, name: string, body: (model: Qwen2) => Promise<T>) {
  const model = await loadQwen2(run.gpu, run.files, folder, name);
  try {
    return await body(model);
  } finally {
    model.parameters.drop();
    run.gpu.trim();
  }
}

// ---- one model after the other ----

function measureBase(run: Run, work: Work): Promise<BaseResult> {
  return withModel(run, run.baseFolder, "base", async (model) => ({
    summaries: await summarise(run, work, model),
    losses: await losses(run, work, model),
  }));
}

function measurePpo(run: Run, work: Work): Promise<PpoResult> {
  return withModel(run, modelFolder(run, "ppo"), "ppo", async (model) => {
    const summaries = await summarise(run, work, model);
    const { temperature, topK, topP, responseLength } = run.config.ppo;
    const queries = work.queries.slice(0, work.klPosts);
    const rollouts = await write(run, work, model, queries, {
      rule: { ...drawnAt(temperature), topK, topP },
      responseLength,
      stage: stageKeys.evaluate,
      step: 1,
    });
    const logprobs = await responseLogprobs(run, work, model, rollouts);
    return { summaries, rollouts: rollouts.map(({ tokens }, i) => ({ tokens, logprob: logprobs[i] })) };
  });
}

function measureSft(run: Run, work: Work, ppo: PpoResult | undefined): Promise<SftResult> {
  return withModel(run, modelFolder(run, "sft"), "sft", async (model) => {
    const summaries = await summarise(run, work, model);
    const { bestPosts, bestOf } = work;
    const flat = await write(
      run,
      work,
      model,
      work.queries.slice(0, bestPosts).flatMap((query) => Array<Uint32Array>(bestOf).fill(query)),
      {
        rule: drawnAt(run.config.evaluate.bestOfTemperature),
        responseLength: run.config.preprocess.responseTokens,
        stage: stageKeys.bestOf,
        step: 0,
        // A post's first samples are the same however many there are; 4096 is the most that the configuration takes.
        samples: Array.from(
          { length: bestPosts * bestOf },
          (_, i) => Math.floor(i / bestOf) * 4096 + i % bestOf,
        ),
      },
    );
    return {
      summaries,
      losses: await losses(run, work, model),
      rolloutLogprobs: await responseLogprobs(run, work, model, ppo?.rollouts.slice(0, work.klPosts) ?? []),
      samples: Array.from({ length: bestPosts }, (_, i) => flat.slice(i * bestOf, (i + 1) * bestOf)),
    };
  });
}

function measureWithReward(
  run: Run,
  work: Work,
  written: Partial<Record<Author, Written[]>>,
  samples: Written[][],
): Promise<RewardResult> {
  return withModel(run, modelFolder(run, "reward"), "reward", async (model) => {
    const score = async (sequences: readonly Uint32Array[]) => {
      const found: number[] = [];
      for (let i = 0; i < sequences.length; i += chunk) {
        const some = sequences.slice(i, i + chunk);
        const { microTokens } = run.config.reward;
        found.push(...await sequenceScores(run.gpu, model, some, microTokens, work.heed));
        work.tick(some.length);
      }
      const bad = found.find((value) => !Number.isFinite(value));
      if (bad !== undefined) {
        throw new RangeError(`models/reward scored a summary as ${bad}; train the reward model again.`);
      }
      return found;
    };
    const scores: RewardResult["scores"] = {};
    for (const [author, summaries] of Object.entries(written) as [Author, Written[]][]) {
      scores[author] = await score(summaries.map(({ tokens }, i) => joined(work.queries[i], tokens)));
    }
    // Post by post: with its query before it, a sample takes many times the room that it takes alone.
    const sampleScores: number[][] = [];
    for (const [i, some] of samples.entries()) {
      sampleScores.push(await score(some.map(({ tokens }) => joined(work.queries[i], tokens))));
    }
    const { figures, notes } = await measureReward(run, score, scores.reference);
    return {
      scores,
      samples: sampleScores,
      figures,
      notes,
    };
  });
}

/** Everybody's summaries of the evaluation posts, with the same random numbers. */
function summarise(run: Run, work: Work, model: Qwen2): Promise<Written[]> {
  return write(run, work, model, work.queries, {
    rule: drawnAt(run.config.evaluate.temperature),
    responseLength: run.config.preprocess.responseTokens,
    stage: stageKeys.evaluate,
    step: 0,
  });
}

async function write(
  run: Run,
  work: Work,
  model: Qwen2,
  queries: readonly Uint32Array[],
  { rule, samples = queries.map((_, i) => i), ...rest }: {
    rule: { temperature?: number; greedy?: boolean; topK?: number; topP?: number };
    responseLength: number;
    stage: number;
    step: number;
    samples?: readonly number[];
  },
): Promise<Written[]> {
  const { gpu, tokenizer, config } = run;
  const batch = config.evaluate.decodeBatch;
  const written: Written[] = [];
  for (let i = 0; i < queries.length; i += batch) {
    const rows = await generate(gpu, model, queries.slice(i, i + batch), {
      ...rule,
      ...rest,
      batch,
      microTokens: config.sft.microTokens,
      samples: samples.slice(i, i + batch),
      vocabulary: tokenizer.padId,
      seed: config.seed,
    });
    for (const row of rows) {
      const { tokens, text, ended } = cutAtEos(row, tokenizer);
      written.push({ tokens: Array.from(tokens), text, ended });
    }
    work.tick(rows.length);
  }
  return written;
}

async function losses(run: Run, work: Work, model: Qwen2): Promise<Losses> {
  const found = await referenceLosses(run, model, work.table, work.posts.length, work.heed);
  work.tick(work.posts.length);
  return found;
}

/** log p of each response as a whole, given its post's query, at the rollout temperature. */
async function responseLogprobs(
  run: Run,
  work: Work,
  model: Qwen2,
  responses: readonly { tokens: number[] }[],
): Promise<number[]> {
  const { microTokens } = run.config.ppo;
  const temperature = run.config.ppo.temperature + temperatureShift;
  const probes = responses.map(({ tokens }, i) =>
    responseProbe(joined(work.queries[i], tokens), work.queries[i].length, tokens.length)
  );
  const sums: number[] = [];
  for (let i = 0; i < probes.length; i += chunk) {
    const some = probes.slice(i, i + chunk);
    const options = { temperature, vocabulary: run.tokenizer.padId, microTokens, heed: work.heed };
    for (const { logprob } of await tokenLogprobs(run.gpu, model, some, options)) {
      sums.push(logprob.reduce((sum, value) => sum + value, 0));
    }
    work.tick(some.length);
  }
  return sums;
}
