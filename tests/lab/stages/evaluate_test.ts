import { assert, assertAlmostEquals, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import type { Gpu } from "../../../kernels/gpu.ts";
import { type Files, joinPath, memoryFiles, readJson } from "../../../lab/bytes.ts";
import { configure, type Overrides } from "../../../lab/config.ts";
import { type Dataset, queryAt, readTable, sequenceAt } from "../../../lab/dataset.ts";
import { comparisons } from "../../../lab/demo/comparisons.ts";
import { type DemoPost, posts } from "../../../lab/demo/corpus.ts";
import { goldDetail, goldScore } from "../../../lab/demo/gold.ts";
import { markedPhrases } from "../../../lab/demo/phrases.ts";
import { random } from "../../../lab/demo/random.ts";
import { readComparisons } from "../../../lab/comparisons.ts";
import { silent } from "../../../lab/progress.ts";
import { allocateQwen2, initialiseQwen2, loadQwen2, saveQwen2 } from "../../../lab/qwen2.ts";
import type { Qwen2Config } from "../../../lab/qwen2_config.ts";
import type { Author, Evaluation, SampleRow } from "../../../lab/report/data.ts";
import { modelFolder, type Run, Stopped } from "../../../lab/run.ts";
import { sequenceScores, tokenLogprobs } from "../../../lab/scoring.ts";
import { evaluate } from "../../../lab/stages/evaluate.ts";
import { meanOf } from "../../../lab/stages/evaluation_figures.ts";
import { type Entry, playMatches } from "../../../lab/stages/matches.ts";
import { preprocess } from "../../../lab/stages/preprocess.ts";
import { histogram, rewardFigures, type ScoredPair } from "../../../lab/stages/reward_figures.ts";
import { loadTokenizer, type Tokenizer } from "../../../lab/tokenizer.ts";
import { standardNormal } from "../../../lab/training.ts";
import { gpuTest } from "../../kernels/testing.ts";

// ---- figures by hand ----

function pair(fields: Partial<ScoredPair>): ScoredPair {
  return { split: "valid1", batch: "a", confidence: 9, chosen: 1, rejected: 0, ...fields };
}

Deno.test("accuracy, loss, label noise and slices of five pairs are those worked out by hand", () => {
  const figures = rewardFigures([
    pair({ goldMargin: 2 }), // right: ln(1 + 1/e) = 0.313262
    pair({ chosen: 0, rejected: 2, goldMargin: -1 }), // wrong, but so is the label: ln(1 + e²) = 2.126928
    pair({ chosen: 3, rejected: 3, batch: "b", confidence: 5, goldMargin: 0 }), // a tie: ln 2 = 0.693147
    pair({ chosen: 4, rejected: 1, batch: "b", split: "valid2", goldMargin: 1 }), // right: 0.048587
    pair({ chosen: 0, rejected: 1, batch: "c", split: "cnndm", confidence: null }), // out of distribution
  ]);
  const row = (by: string, name: string) =>
    figures.accuracy.find((found) => found.by === by && found.name === name)!;
  const all = row("all", "validation");
  assertEquals([all.accuracy.rate, all.accuracy.count, all.accuracy.wins, all.accuracy.ties], [
    2.5 / 4,
    4,
    2,
    1,
  ]);
  assertAlmostEquals(all.loss!, (0.313262 + 2.126928 + 0.693147 + 0.048587) / 4, 1e-6);
  // The gold rule turns the second pair round and has no say in the third.
  assertEquals([
    row("all", "gold rule's choice").accuracy.rate,
    row("all", "gold rule's choice").accuracy.count,
  ], [1, 3]);
  assertEquals(row("split", "valid1").accuracy.rate, 0.5);
  assertEquals(row("split", "cnndm").accuracy.rate, 0);
  assertEquals(row("batch", "b").accuracy.rate, 0.75);
  assertEquals(row("batch", "c").accuracy.count, 1);
  assertEquals(figures.accuracy.filter(({ by }) => by === "confidence").map(({ name }) => name), ["5", "9"]);
  assertEquals([figures.labelNoise, figures.goldAgreement], [1 / 4, 2 / 4]);
  // Margins 1, 2, 0, 3: the mean of σ of each, and Wilson's interval of 2½ right in 4.
  const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
  const expected = (sigmoid(1) + sigmoid(2) + sigmoid(0) + sigmoid(3)) / 4;
  const [bucket] = figures.calibration;
  assertEquals([figures.calibration.length, bucket.margin, bucket.accuracy, bucket.count], [
    1,
    1.5,
    2.5 / 4,
    4,
  ]);
  assertAlmostEquals(bucket.expected!, expected, 1e-12);
  assertAlmostEquals(figures.calibrationError!, expected - 2.5 / 4, 1e-12);
  assertAlmostEquals(bucket.lower!, 0.2194, 1e-4);
  assertAlmostEquals(bucket.upper!, 0.9081, 1e-4);
});

Deno.test("calibration puts pairs into buckets of equal size by rising margin", () => {
  // Margins 0.1 … 6; those above 3 are right, the others alternate.
  const pairs = Array.from({ length: 60 }, (_, i) => {
    const margin = (i + 1) / 10;
    return pair({ chosen: i >= 30 || i % 2 === 0 ? margin : -margin, rejected: 0 });
  }).reverse();
  const { calibration } = rewardFigures(pairs);
  assertEquals(calibration.map(({ count }) => count), [20, 20, 20]);
  assertEquals(calibration.map(({ accuracy }) => accuracy), [0.5, 0.75, 1]);
  assertAlmostEquals(calibration[0].margin, 1.05);
  assertAlmostEquals(calibration[2].margin, 5.05);
});

Deno.test("the histogram counts every score once, those far out in the outer bins", () => {
  const chosen = [...Array.from({ length: 98 }, (_, i) => i / 97), 0.5, 900];
  const { edges, ...counts } = histogram({ chosen, rejected: [0.1, 0.2, 0.9], reference: [] });
  assertEquals([edges.length, counts.chosen.length], [33, 32]);
  assertEquals([counts.chosen, counts.rejected, counts.reference].map((of) => of.reduce((a, b) => a + b)), [
    100,
    3,
    0,
  ]);
  // Mean and deviation by hand: the one far out is more than four deviations away.
  const all = [...chosen, 0.1, 0.2, 0.9];
  const mean = all.reduce((a, b) => a + b) / 103;
  const deviation = Math.sqrt(all.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 103);
  assertAlmostEquals(edges[32], mean + 4 * deviation, 1e-9);
  assertEquals([edges[0], counts.chosen[31]], [0, 1]);
  const flat = histogram({ chosen: [2, 2], rejected: [2], reference: [2] });
  assert(flat.edges.every(Number.isFinite) && flat.edges[32] > flat.edges[0]);
});

Deno.test("without pairs there are no figures, and none is invented", () => {
  const figures = rewardFigures([]);
  assertEquals(figures, { accuracy: [], calibration: [], labelNoise: undefined, goldAgreement: undefined });
});

Deno.test("a mean comes with its normal interval, a single number without", () => {
  const { mean, lower, upper, count } = meanOf([1, 2, 3, 6]);
  assertEquals([mean, count], [3, 4]);
  // s² = (4 + 1 + 0 + 9) / 3, half width 1.96 √(s² / 4)
  assertAlmostEquals(upper! - mean, 1.959964 * Math.sqrt(14 / 12), 1e-6);
  assertAlmostEquals(mean - lower!, upper! - mean, 1e-12);
  assertEquals(meanOf([5]), { mean: 5, count: 1 });
});

const fourPosts = posts(3, 4);
const entry = (author: Entry["author"], gold: number[], lengths = [10, 10, 10, 10]): Entry => ({
  author,
  texts: gold.map((_, i) => ` ${author} on ${i}.`),
  lengths,
  ended: gold.map(() => true),
  scores: { gold, reward: gold.map((score) => -score) },
});

Deno.test("win rates between authors are those counted by hand, by each judge", async () => {
  const entries = [
    entry("reference", [2, 2, 2, 2]),
    entry("sft", [1, 3, 2, 0]),
    entry("ppo", [4, 3, 3, 1], [20, 10, 5, 10]),
    entry("best-of-2", [3, 4]),
  ];
  const matches = await playMatches(fourPosts, entries, ["gold", "reward"], { orders: "both", seed: 1 });
  assertEquals(matches.map(({ ours, theirs, judge, raw }) => [ours, theirs, judge, raw.rate, raw.count]), [
    ["ppo", "sft", "gold", 3.5 / 4, 4],
    ["ppo", "reference", "gold", 3 / 4, 4],
    ["sft", "reference", "gold", 1.5 / 4, 4],
    ["best-of-2", "sft", "gold", 1, 2],
    ["best-of-2", "reference", "gold", 1, 2],
    ["ppo", "sft", "reward", 0.5 / 4, 4],
    ["ppo", "reference", "reward", 1 / 4, 4],
    ["sft", "reference", "reward", 2.5 / 4, 4],
  ]);
  const [first] = matches;
  assertEquals([first.raw.wins, first.raw.ties, first.raw.losses, first.orderDisagreement], [3, 1, 0, 0]);
  // Wilson's interval of 3.5 in 4, by the formula in its other form.
  const z2 = 1.959964 ** 2, p = 3.5 / 4, n = 4;
  const half = Math.sqrt(z2 * p * (1 - p) / n + z2 * z2 / (4 * n * n));
  assertAlmostEquals(first.raw.lower, (p + z2 / (2 * n) - half) / (1 + z2 / n), 1e-6);
  assertAlmostEquals(first.difference!.difference, (3 + 0 + 1 + 1) / 4);
  assert(first.difference!.lower >= 0 && first.difference!.upper <= 3);
  assertEquals(first.byLength!.reduce((sum, bin) => sum + (bin.winRate?.count ?? 0), 0), 4);
  // Policies against one opponent share one regression; equal lengths leave a rate as it is.
  assertEquals(matches[1].lengthControlled!.name, "ppo");
  assertAlmostEquals(matches[4].lengthControlled!.raw, 1);
});

Deno.test("two equal texts tie even where their scores differ", async () => {
  const ours = { ...entry("ppo", [1, 2, 3, 4]), texts: ["a", "b", "c", "d"] };
  const theirs = { ...entry("sft", [0, 0, 9, 9]), texts: ["a", "b", "x", "y"] };
  const [match] = await playMatches(fourPosts, [ours, theirs], ["gold"], { orders: "random", seed: 5 });
  assertEquals([match.raw.wins, match.raw.ties, match.raw.losses], [0, 2, 2]);
  assertEquals(match.orderDisagreement, undefined);
});

Deno.test("facts and faults of a summary are marked as they are spelt in it", () => {
  const post = fourPosts[0];
  const [relation, name] = post.facts.who.split(" ");
  const text = ` My ${relation} ${name} ${post.facts.what}. ${post.facts.question}? Zebras ${
    post.facts.noise[0]
  }`;
  const { facts, faults } = markedPhrases(post, text);
  assertEquals(goldDetail(post, text).carried.who, 1);
  assertEquals(facts, [post.facts.who, post.facts.what, post.facts.question]);
  assert(faults.includes("Zebras") && faults.includes(post.facts.noise[0]), faults.join());
  for (const phrase of [...facts, ...faults]) assert(text.includes(phrase), phrase);
  assertEquals(markedPhrases(post, ""), { facts: [], faults: [] });
});

// ---- end to end ----

const tiny: Qwen2Config = {
  head: "language",
  vocabulary: 768,
  hiddenSize: 32,
  layers: 1,
  queryHeads: 2,
  keyValueHeads: 1,
  headDim: 16,
  feedForward: 64,
  tiedHead: true,
  attentionBias: true,
  ropeTheta: 10_000,
  rmsNormEps: 1e-6,
  maxPositions: 512,
  eosTokenId: 766,
  bosTokenId: null,
  padTokenId: null,
  initializerRange: 0.2,
};

const demoFolder = new URL("../../../public/demo/", import.meta.url);
const loadDemoTokenizer = (): Promise<Tokenizer> =>
  loadTokenizer((path) => Deno.readFile(new URL(path, demoFolder)), "", 768);

/** A run directory in memory over a few demo posts, preprocessed, with random models of these names and seeds. */
async function tinyRun(
  gpu: Gpu,
  models: Record<string, number>,
  overrides: Overrides["evaluate"] = {},
): Promise<Run & { metrics: Record<string, unknown>[] }> {
  const files: Files = memoryFiles();
  const all: DemoPost[] = posts(11, 20);
  const held = all.slice(8, 12);
  const rows = [
    ...comparisons(1, held.slice(0, 2), 3, "valid1"),
    ...comparisons(2, held.slice(2), 3, "valid2"),
  ];
  const bytes = new TextEncoder().encode(rows.map((row) => JSON.stringify(row)).join("\n"));
  const read = [...readComparisons("comparisons", bytes)];
  const dataset: Dataset = {
    posts: { train: all.slice(0, 8), validation: held, test: all.slice(12) },
    pairs: {
      train: read.slice(0, 2),
      valid1: read.filter(({ split }) => split === "valid1"),
      valid2: read.filter(({ split }) => split === "valid2"),
      cnndm: [],
    },
  };
  const metrics: Record<string, unknown>[] = [];
  const run = {
    gpu,
    files,
    path: "run",
    directory: {
      path: "run",
      healed: [],
      appendMetrics: (...records: unknown[]) => {
        metrics.push(...records as Record<string, unknown>[]);
        return Promise.resolve();
      },
      appendSamples: () => Promise.resolve(),
      appendEpisodes: () => Promise.resolve(),
      release: () => Promise.resolve(),
    },
    config: configure("demo", {
      preprocess: { queryTokens: 160, responseTokens: 60, preferenceTokens: 80 },
      ppo: { responseLength: 12 },
      evaluate: { decodeBatch: 3, bestOf: [1, 4], bestOfPosts: 3, table: 2, ...overrides },
    }),
    baseFolder: "base",
    dataset,
    tokenizer: await loadDemoTokenizer(),
    gold: (post: Dataset["posts"]["test"][number], text: string) => goldScore(post as DemoPost, text),
    progress: silent,
    stopping: () => false,
    metrics,
  };
  for (const [name, seed] of Object.entries(models)) {
    const head = name === "reward" ? "score" as const : "language" as const;
    const model = allocateQwen2(gpu, { ...tiny, head }, name);
    initialiseQwen2(gpu, model, standardNormal(random(seed)));
    if (model.score) model.score.offset = 0.25;
    const folder = name === "base" ? "base" : modelFolder(run, name);
    await files.makeDirectory(folder);
    await saveQwen2(gpu, files, folder, model);
    model.parameters.drop();
  }
  await preprocess(run);
  return run;
}

gpuTest("a whole evaluation agrees with its parts and leaves its files", async (gpu) => {
  const run = await tinyRun(gpu, { base: 1, sft: 2, ppo: 3, reward: 4 });
  const evaluation = await evaluate(run, "inputs");
  assertEquals(gpu.memory.plan().filter(({ name }) => name.includes("weights")), [], "models are freed");
  assertEquals(gpu.memory.pooledBytesInUse, 0);
  assertEquals(await readJson(run.files, "run/evaluation.json"), JSON.parse(JSON.stringify(evaluation)));
  assertEquals([evaluation.posts, evaluation.split, evaluation.temperature], [8, "test", 0.01]);
  assertEquals(evaluation.authors.map(({ author }) => author), ["reference", "base", "sft", "ppo"]);
  assertEquals(evaluation.samples.length, 2);
  const rows = await readJson(run.files, "run/summaries.json") as SampleRow[];
  assertEquals(rows.length, 8);

  // Every mean is that of the rows; every gold score that of the text.
  for (const { author, gold, reward, length } of evaluation.authors) {
    const own = rows.map(({ summaries }) => summaries.find((summary) => summary.author === author)!);
    own.forEach((summary, i) => {
      assertEquals(summary.gold, goldScore(run.dataset.posts.test[i] as DemoPost, summary.text));
    });
    assertAlmostEquals(gold!.mean, own.reduce((sum, summary) => sum + summary.gold!, 0) / 8, 1e-9);
    assertAlmostEquals(reward!.mean, own.reduce((sum, summary) => sum + summary.reward!, 0) / 8, 1e-9);
    assertAlmostEquals(length!.mean, own.reduce((sum, summary) => sum + summary.length!, 0) / 8, 1e-9);
  }
  const scored = (author: Author, judge: "gold" | "reward") =>
    rows.map(({ summaries }) => summaries.find((summary) => summary.author === author)![judge]!);
  for (const { ours, theirs, judge, raw } of evaluation.matches) {
    if (ours.startsWith("best")) continue;
    const [a, b] = [ours as Author, theirs].map((author) => scored(author, judge as "gold" | "reward"));
    const points = a.reduce((sum, x, i) => sum + (x > b[i] ? 1 : x === b[i] ? 0.5 : 0), 0);
    assertAlmostEquals(raw.rate, points / 8, 1e-12, `${ours} over ${theirs} by ${judge}`);
  }
  assertEquals(evaluation.matches.map(({ judge }) => judge), [
    ...Array(8).fill("gold"),
    ...Array(4).fill("reward"),
  ]);

  // Best of 4 can only raise the reward of best of 1, sample by sample.
  const [one, four] = evaluation.bestOf;
  assertEquals([one.n, one.kl, four.n, four.reward!.count], [1, 0, 4, 3]);
  assertAlmostEquals(four.kl, Math.log(4) - 3 / 4, 1e-12);
  assert(four.reward!.mean >= one.reward!.mean);

  // 12 pairs, 8 references, both through the model on its own: no micro-batches, no packing.
  const model = await loadQwen2(gpu, run.files, modelFolder(run, "reward"), "alone");
  const table = await readTable(run.files, "run/data/posts-train.safetensors");
  let sum = 0;
  for (let i = 0; i < 8; i++) sum += (await sequenceScores(gpu, model, [sequenceAt(table, i)], 16))[0];
  assertAlmostEquals(evaluation.reward!.referenceMean!, sum / 8, 1e-4);
  let right = 0, agree = 0;
  for (const split of ["valid1", "valid2"] as const) {
    const pairs = await readTable(run.files, `run/data/pairs-${split}.safetensors`);
    for (let i = 0; i < 6; i++) {
      const [chosen] = await sequenceScores(gpu, model, [sequenceAt(pairs, 2 * i)], 16);
      const [rejected] = await sequenceScores(gpu, model, [sequenceAt(pairs, 2 * i + 1)], 16);
      right += Number(chosen > rejected);
      const { source, chosen: better, rejected: worse } = run.dataset.pairs[split][i];
      const post = run.dataset.posts.validation.find(({ id }) => id === source.id) as DemoPost;
      agree += Number(goldScore(post, better.text) > goldScore(post, worse.text));
    }
  }
  model.parameters.drop();
  const [all] = evaluation.reward!.accuracy;
  assertEquals([all.by, all.accuracy.count, all.accuracy.wins], ["all", 12, right]);
  assertAlmostEquals(evaluation.reward!.goldAgreement!, agree / 12);
  assert(evaluation.authors.every(({ kl }, i) => (kl !== undefined) === (i === 3)));
  assert(evaluation.authors[3].kl!.mean > 0, "two random models differ");
  assertEquals(run.metrics.at(-1)!["eval/ppo_vs_sft/gold/win_rate"], evaluation.matches[0].raw.rate);
});

gpuTest(
  "a policy that is the SFT model has KL 0 and ties with it; another has the KL of its own samples",
  async (gpu) => {
    const same = await tinyRun(gpu, { base: 1, sft: 2, ppo: 2, reward: 4 }, { bestOf: [] });
    const twin = await evaluate(same, "inputs");
    assertAlmostEquals(twin.authors[3].kl!.mean, 0, 1e-5);
    assertEquals(twin.matches[0].raw.ties, 8);
    assertEquals(twin.bestOf, []);

    // Stopped once PPO's rollouts are there, which then can be scored here, one at a time.
    const run = await tinyRun(gpu, { base: 1, sft: 2, ppo: 3 }, { bestOf: [] });
    const stop = { ...run, stopping: () => false };
    const folder = "run/evaluation/ppo.json";
    let due = false;
    stop.stopping = () => due;
    stop.files = {
      ...run.files,
      writeAtomic: async (path, content) => {
        await run.files.writeAtomic(path, content);
        if (path === folder) due = true;
      },
    };
    await assertRejects(() => evaluate(stop, "inputs"), Stopped);
    const { result } = await readJson(run.files, folder) as {
      result: { rollouts: { tokens: number[]; logprob: number }[] };
    };
    const table = await readTable(run.files, "run/data/posts-test.safetensors");
    const logprob = async (folder: string, i: number) => {
      const model = await loadQwen2(gpu, run.files, folder, "alone");
      const query = queryAt(table, i);
      const { tokens } = result.rollouts[i];
      const positions = tokens.map((_, t) => query.length - 1 + t);
      const options = { temperature: run.config.ppo.temperature, vocabulary: 767, microTokens: 16 };
      const probes = [{ tokens: [...query, ...tokens], positions }];
      const [{ logprob }] = await tokenLogprobs(gpu, model, probes, options);
      model.parameters.drop();
      return logprob.reduce((sum, value) => sum + value, 0);
    };
    let kl = 0;
    for (let i = 0; i < 8; i++) {
      const { tokens } = result.rollouts[i];
      assert(tokens.length <= 12 && (tokens.length === 12 || tokens.at(-1) === run.tokenizer.eosId));
      kl += (await logprob("run/models/ppo", i) - await logprob("run/models/sft", i)) / 8;
    }
    // Base and PPO are not asked again: without their weights the evaluation still ends.
    await run.files.remove("base/model.safetensors");
    await run.files.remove("run/models/ppo/model.safetensors");
    const evaluation = await evaluate(run, "inputs");
    assertAlmostEquals(evaluation.authors.find(({ author }) => author === "ppo")!.kl!.mean, kl, 1e-3);
  },
);

gpuTest(
  "stopped after every single batch, an evaluation goes on with the next, to the same figures",
  async (gpu) => {
    const models = { base: 1, sft: 2, ppo: 3, reward: 4 };
    const whole = await evaluate(await tinyRun(gpu, models), "inputs");
    const run = await tinyRun(gpu, models);
    let batches = 0, due = false, attempts = 0;
    const files = {
      ...run.files,
      append: async (path: string, bytes: Uint8Array) => {
        await run.files.append(path, bytes);
        batches++;
        due = true;
      },
    };
    let evaluation: Evaluation | undefined;
    while (!evaluation) {
      due = false;
      attempts++;
      try {
        evaluation = await evaluate({ ...run, files, stopping: () => due }, "inputs");
      } catch (error) {
        if (!(error instanceof Stopped)) throw error;
      }
    }
    assertEquals(JSON.parse(JSON.stringify(evaluation)), JSON.parse(JSON.stringify(whole)));
    // By threes: eight summaries of each of three, eight rollouts, twelve samples. Then logprobs of two and, each in one batch, scores of four
    // authors, of the samples, and of pairs and references.
    assertEquals(batches, 3 * 3 + 3 + 4 + 2 + 4 + 1 + 3);
    assertEquals(attempts, batches + 1);
    assertEquals((await run.files.list("run/evaluation")).filter((name) => !name.endsWith(".json")), []);
  },
);

gpuTest("what has not run is left out and said", async (gpu) => {
  const run = await tinyRun(gpu, { base: 1, sft: 2 }, { posts: 3, judge: "reward" });
  const evaluation: Evaluation = await evaluate({ ...run, gold: undefined }, "inputs");
  assertEquals(evaluation.authors.map(({ author }) => author), ["reference", "base", "sft"]);
  assertEquals([evaluation.matches, evaluation.bestOf, evaluation.reward], [[], [], undefined]);
  const notes = evaluation.notes!.join("\n");
  for (const name of ["models/ppo", "models/reward", "no judge"]) assert(notes.includes(name), notes);
  // Random weights write no EOS within 60 tokens but by chance; the count is said.
  const open = evaluation.authors.filter(({ eosRate }) => eosRate !== undefined && eosRate < 1);
  for (const { author } of open) assert(notes.includes(`summaries by ${author} do not end`), notes);
  const withGold = await evaluate(run, "others");
  assertEquals(withGold.matches.map(({ ours, theirs, judge }) => `${ours} ${theirs} ${judge}`), [
    "sft reference gold",
    "sft base gold",
  ]);
});

gpuTest(
  "the same evaluation twice gives the same file, and decoding's width changes nothing",
  async (gpu) => {
    const narrow = await tinyRun(gpu, { base: 1, sft: 2, ppo: 3, reward: 4 }, { posts: 5 });
    const one = await evaluate(narrow, "inputs");
    const wide = { ...narrow, config: structuredClone(narrow.config) };
    wide.config.evaluate.decodeBatch = 64;
    const other = await evaluate(wide, "inputs");
    const texts = ({ samples }: Evaluation) =>
      samples.map(({ summaries }) =>
        summaries.filter(({ author }) => !author.startsWith("best")).map(({ text }) => text)
      );
    assertEquals(texts(one), texts(other));
    const again = await evaluate(narrow, "inputs");
    assertEquals(again, one);
  },
);

gpuTest("an evaluation of no posts says so", async (gpu) => {
  const run = await tinyRun(gpu, { base: 1 });
  run.dataset.posts.test = [];
  await assertRejects(() => evaluate(run, "inputs"), RangeError, "--evaluate.split");
});

// joinPath is what the stage itself builds its paths with; the literal paths above must be those.
Deno.test("model folders are where this test puts them", () => {
  assertEquals(modelFolder({ path: "run" }, "ppo"), joinPath("run", "models", "ppo"));
});
