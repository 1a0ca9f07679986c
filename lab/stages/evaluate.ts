/**
 * Evaluation: base model, SFT and PPO summarise held-out posts; the reward model, the data's gold rule and ROUGE measure what they
 * wrote. Only one model is on the device at a time. What one model gives is kept in `evaluation/`, batch by batch, so that a stopped
 * evaluation goes on where it was, and another judge finds all that was written.
 */
import { digestOfJson, joinPath, writeJson } from "../bytes.ts";
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
import { type KeepRows, kept } from "./kept.ts";
import { optimisationOf } from "./optimisation.ts";
import { tablePath } from "./preprocess.ts";
import { heldOutPairs, measureReward, referenceCount } from "./reward_figures.ts";
import { cutAtEos, referenceLosses } from "./sft.ts";

/** Posts for the KL, at most. */
const mostKlPosts = 512;
/** Sequences that are read between two looks at the progress, and kept together. */
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
  const keep = <T>(name: string, measure: (rows: KeepRows) => Promise<T>) =>
    kept(run, { name, key, tick: work.tick }, measure);
  const base = await keep("base", (rows) => measureBase(run, work, rows));
  const ppo = present.ppo ? await keep("ppo", (rows) => measurePpo(run, work, rows)) : undefined;
  const sft = present.sft ? await keep("sft", (rows) => measureSft(run, work, rows, ppo)) : undefined;
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
    ? await keep("reward", (rows) => measureWithReward(run, work, rows, written, sft?.samples ?? []))
    : undefined;

  const entries = entriesOf(run, posts, written, reward?.scores ?? {});
  const best = reward && sft ? chooseBest(run, posts, sft.samples, reward.samples) : [];
  const all = [...entries, ...best.map(({ entry }) => entry)];
  const { matches, judging } = await judge(run, {
    posts,
    entries: all,
    hasReward: reward !== undefined,
    notes,
    keep: async ({ name, key: judge, tick }, measure) =>
      kept(run, { name, key: await digestOfJson({ key, judge }), tick }, measure),
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

function measureBase(run: Run, work: Work, rows: KeepRows): Promise<BaseResult> {
  return withModel(run, run.baseFolder, "base", async (model) => ({
    summaries: await summarise(run, work, rows, model),
    losses: await losses(run, work, model),
  }));
}

function measurePpo(run: Run, work: Work, rows: KeepRows): Promise<PpoResult> {
  return withModel(run, modelFolder(run, "ppo"), "ppo", async (model) => {
    const summaries = await summarise(run, work, rows, model);
    const { temperature, topK, topP, responseLength } = run.config.ppo;
    const rollouts = await write(run, rows, model, {
      name: "rollouts",
      count: work.klPosts,
      query: (i) => work.queries[i],
      rule: { ...drawnAt(temperature), topK, topP },
      responseLength,
      stage: stageKeys.evaluate,
      step: 1,
    });
    const logprobs = await responseLogprobs(run, work, rows, model, rollouts);
    return { summaries, rollouts: rollouts.map(({ tokens }, i) => ({ tokens, logprob: logprobs[i] })) };
  });
}

function measureSft(
  run: Run,
  work: Work,
  rows: KeepRows,
  ppo: PpoResult | undefined,
): Promise<SftResult> {
  return withModel(run, modelFolder(run, "sft"), "sft", async (model) => {
    const summaries = await summarise(run, work, rows, model);
    const { bestPosts, bestOf } = work;
    const flat = await write(run, rows, model, {
      name: "samples",
      count: bestPosts * bestOf,
      query: (i) => work.queries[Math.floor(i / bestOf)],
      rule: drawnAt(run.config.evaluate.bestOfTemperature),
      responseLength: run.config.preprocess.responseTokens,
      stage: stageKeys.bestOf,
      step: 0,
      // A post's first samples are the same however many there are; 4096 is the most that the configuration takes.
      sample: (i) => Math.floor(i / bestOf) * 4096 + i % bestOf,
    });
    return {
      summaries,
      losses: await losses(run, work, model),
      rolloutLogprobs: await responseLogprobs(
        run,
        work,
        rows,
        model,
        ppo?.rollouts.slice(0, work.klPosts) ?? [],
      ),
      samples: Array.from({ length: bestPosts }, (_, i) => flat.slice(i * bestOf, (i + 1) * bestOf)),
    };
  });
}

function measureWithReward(
  run: Run,
  work: Work,
  rows: KeepRows,
  written: Partial<Record<Author, Written[]>>,
  samples: Written[][],
): Promise<RewardResult> {
  return withModel(run, modelFolder(run, "reward"), "reward", async (model) => {
    const { microTokens } = run.config.reward;
    // Sequences are put together as they are read: with its query before it, a sample takes many times the room that it takes alone.
    const score = (name: string, count: number, sequence: (i: number) => Uint32Array) =>
      rows(name, count, chunk, async (from, to) => {
        const some = Array.from({ length: to - from }, (_, i) => sequence(from + i));
        const found = await sequenceScores(run.gpu, model, some, microTokens, work.heed);
        const bad = found.find((value) => !Number.isFinite(value));
        if (bad !== undefined) {
          throw new RangeError(`models/reward scored a summary as ${bad}; train the reward model again.`);
        }
        return Array.from(found);
      });
    const scores: RewardResult["scores"] = {};
    for (const [author, summaries] of Object.entries(written) as [Author, Written[]][]) {
      scores[author] = await score(
        author,
        summaries.length,
        (i) => joined(work.queries[i], summaries[i].tokens),
      );
    }
    const { bestOf } = work;
    const flat = await score("samples", samples.length * bestOf, (i) => {
      const post = Math.floor(i / bestOf);
      return joined(work.queries[post], samples[post][i % bestOf].tokens);
    });
    let sets = 0;
    const { figures, notes } = await measureReward(
      run,
      (sequences) => score(`held-out-${++sets}`, sequences.length, (i) => sequences[i]),
      scores.reference,
    );
    return {
      scores,
      samples: samples.map((_, post) => flat.slice(post * bestOf, (post + 1) * bestOf)),
      figures,
      notes,
    };
  });
}

/** Everybody's summaries of the evaluation posts, with the same random numbers. */
function summarise(run: Run, work: Work, rows: KeepRows, model: Qwen2): Promise<Written[]> {
  return write(run, rows, model, {
    name: "summaries",
    count: work.queries.length,
    query: (i) => work.queries[i],
    rule: drawnAt(run.config.evaluate.temperature),
    responseLength: run.config.preprocess.responseTokens,
    stage: stageKeys.evaluate,
    step: 0,
  });
}

/** What is to be written: `count` responses, the i-th to `query(i)`, with the random numbers of `sample(i)`. */
interface Writing {
  name: string;
  count: number;
  query: (i: number) => Uint32Array;
  sample?: (i: number) => number;
  rule: { temperature?: number; greedy?: boolean; topK?: number; topP?: number };
  responseLength: number;
  stage: number;
  step: number;
}

function write(
  run: Run,
  rows: KeepRows,
  model: Qwen2,
  { name, count, query, sample = (i) => i, rule, ...rest }: Writing,
): Promise<Written[]> {
  const { gpu, tokenizer, config } = run;
  const batch = config.evaluate.decodeBatch;
  return rows(name, count, batch, async (from, to) => {
    const places = Array.from({ length: to - from }, (_, i) => from + i);
    const responses = await generate(gpu, model, places.map(query), {
      ...rule,
      ...rest,
      batch,
      microTokens: config.sft.microTokens,
      samples: places.map(sample),
      vocabulary: tokenizer.padId,
      seed: config.seed,
    });
    return responses.map((response): Written => {
      const { tokens, text, ended } = cutAtEos(response, tokenizer);
      return { tokens: Array.from(tokens), text, ended };
    });
  });
}

async function losses(run: Run, work: Work, model: Qwen2): Promise<Losses> {
  const found = await referenceLosses(run, model, work.table, work.posts.length, work.heed);
  work.tick(work.posts.length);
  return found;
}

/** log p of each response as a whole, given its post's query, at the rollout temperature. */
function responseLogprobs(
  run: Run,
  work: Work,
  rows: KeepRows,
  model: Qwen2,
  responses: readonly { tokens: number[] }[],
): Promise<number[]> {
  const { microTokens } = run.config.ppo;
  const temperature = run.config.ppo.temperature + temperatureShift;
  const options = { temperature, vocabulary: run.tokenizer.padId, microTokens, heed: work.heed };
  return rows("logprobs", responses.length, chunk, async (from, to) => {
    const probes = responses.slice(from, to).map(({ tokens }, i) => {
      const query = work.queries[from + i];
      return responseProbe(joined(query, tokens), query.length, tokens.length);
    });
    const scored = await tokenLogprobs(run.gpu, model, probes, options);
    return scored.map(({ logprob }) => logprob.reduce((sum, value) => sum + value, 0));
  });
}
