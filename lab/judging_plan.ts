/** What a judge of its own will take, told before it begins: what it reads, and its model's memory. Scores at hand take nothing more. */
import type { Run } from "./run.ts";
import { promptText, readLocalJudge } from "./judges/local.ts";
import { judgePrompt } from "./judges/prompt.ts";
import { tokensAbout, usualAnswer } from "./judges/remote.ts";
import { readSecondJudge } from "./judges/second.ts";
import type { StagePlan } from "./plan_table.ts";
import type { Qwen2Config } from "./qwen2_config.ts";
import { tldrQuery } from "./query.ts";
import { rehearseJudge } from "./rehearsal.ts";
import { evaluationSizes } from "./stages/evaluate.ts";
import { type Contestant, textMatches } from "./stages/judging.ts";
import { addSequences, flopsOf, noWork, type Work } from "./work.ts";

/** A judge's row of the plan; where it runs on our device, with the shape and the work by which its time is known. */
export interface PlannedJudge {
  plan: StagePlan;
  onDevice?: { shape: Qwen2Config; work: Work };
}

/**
 * Plans the configured judge. Summaries are counted at full length, as they are in the evaluation itself.
 * @returns undefined where it has nothing to do but to compare scores
 */
export async function planJudge(run: Run): Promise<PlannedJudge | undefined> {
  const { judge, judgeModel } = run.config.evaluate;
  const folder = run.judge?.folder ?? judgeModel;
  if (judge === "second") {
    const { shape, lengths } = await secondLoad(run, folder);
    return await onDevice(run, "second", shape, lengths);
  }
  if (judge === "local") {
    const { shape, lengths } = await localLoad(run, folder);
    return await onDevice(run, "local", shape, lengths);
  }
  if (judge !== "openai") return undefined;
  const { judgePerMinute } = run.config.evaluate;
  const lengths = comparisonLengths(run, (post) => tokensAbout(judgePrompt({ post, a: "", b: "" })));
  const asked = lengths.reduce((sum, length) => sum + length + usualAnswer, 0);
  const plan: StagePlan = {
    name: "judge",
    steps: lengths.length,
    unit: "comparisons",
    tokens: Math.round(asked),
    flops: 0,
    peakMemory: 0,
    memory: [],
    // How fast it answers is not known, only how often it may be asked.
    ...(judgePerMinute > 0 && { seconds: 60 * lengths.length / judgePerMinute }),
  };
  return { plan };
}

async function onDevice(
  run: Run,
  judge: "second" | "local",
  shape: Qwen2Config,
  lengths: readonly number[],
): Promise<PlannedJudge> {
  const work = noWork();
  addSequences(work.read, lengths, () => judge === "local" ? 1 : 0);
  const plan: StagePlan = {
    name: "judge",
    steps: lengths.length,
    unit: judge === "local" ? "comparisons" : "summaries",
    tokens: work.read.tokens,
    flops: flopsOf(shape, work),
    ...await rehearseJudge(run, judge, shape, lengths),
  };
  return { plan, onDevice: { shape, work } };
}

/** Who will have summaries, and of how many posts, once all stages have run. */
function contestants(run: Run): Contestant[] {
  const { split, posts, bestOf } = run.config.evaluate;
  const all = run.dataset.posts[split].length, count = Math.min(all, posts || Infinity);
  const { bestPosts } = evaluationSizes(run, count);
  const best = bestPosts > 0 ? [...new Set(bestOf)] : [];
  return [
    ...(["reference", "base", "sft", "ppo"] as const).map((author) => ({ author, posts: count })),
    ...best.map((n): Contestant => ({ author: `best-of-${n}`, posts: bestPosts })),
  ];
}

type Posts = Run["dataset"]["posts"]["validation"];

function judged(run: Run): Posts {
  const { split, posts } = run.config.evaluate;
  return run.dataset.posts[split].slice(0, posts || undefined);
}

/** Of every comparison, by how many tokens a post without its summaries has. */
function comparisonLengths(run: Run, tokensOf: (post: Posts[number]) => number): number[] {
  const { preprocess, evaluate } = run.config;
  const matches = textMatches(contestants(run), run.config);
  const most = Math.max(0, ...matches);
  const lengths = judged(run).slice(0, most).map((post) => tokensOf(post) + 2 * preprocess.responseTokens);
  const once = matches.flatMap((posts) => lengths.slice(0, posts));
  return evaluate.orders === "both" ? [...once, ...once] : once;
}

async function localLoad(run: Run, folder: string): Promise<{ shape: Qwen2Config; lengths: number[] }> {
  const { shape, tokenizer, chat } = await readLocalJudge(run.files, folder);
  const lengths = comparisonLengths(
    run,
    (post) => tokenizer.encode(promptText(judgePrompt({ post, a: "", b: "" }), chat)).length,
  );
  return { shape, lengths };
}

async function secondLoad(run: Run, folder: string): Promise<{ shape: Qwen2Config; lengths: number[] }> {
  const { queryTokens, responseTokens } = run.config.preprocess;
  const { shape, tokenizer } = await readSecondJudge(run.files, folder);
  const lengths = judged(run).map((post) =>
    tldrQuery(tokenizer, post, queryTokens).tokens.length + responseTokens
  );
  return { shape, lengths: contestants(run).flatMap(({ posts }) => lengths.slice(0, posts)) };
}
