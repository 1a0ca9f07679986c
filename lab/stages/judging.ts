/** Who judges in a run, by its configuration: scores at hand, a second reward model, a language model near or far. */
import { digestOfJson, type Files, joinPath, sha256OfFile } from "../bytes.ts";
import type { SummarisedPost } from "../dataset.ts";
import { openAnswers } from "../judges/answers.ts";
import { type ChatAnswer, chatClient } from "../judges/endpoint.ts";
import { type LetterLogprobs, localJudge } from "../judges/local.ts";
import { remoteJudge } from "../judges/remote.ts";
import { secondScores } from "../judges/second.ts";
import type { JudgingFigures, Match } from "../report/data.ts";
import { type Run, Stopped } from "../run.ts";
import type { Keeping, KeepRows } from "./kept.ts";
import { type Entry, meetings, playMatches, type ScoreName, type TextJudge } from "./matches.ts";

/** What is compared, and with what at hand. */
export interface Contest {
  posts: readonly SummarisedPost[];
  /** Everybody's summaries; `scores.second` is filled in here where that is the judge. */
  entries: readonly Entry[];
  hasReward: boolean;
  /** Takes sentences that a reader of the win rates must know. */
  notes: string[];
  /** Gives what an earlier invocation kept under this name and key, or measures it. */
  keep: <T>(keeping: Keeping, measure: (rows: KeepRows) => Promise<T>) => Promise<T>;
}

/**
 * Plays all matches: by the configured judge, and by the gold rule and our reward model too where these are there.
 * @throws Stopped when the run is asked to stop; answers are kept, and none is asked for again
 */
export async function judge(
  run: Run,
  { posts, entries, hasReward, notes, keep }: Contest,
): Promise<{ matches: Match[]; judging?: JudgingFigures }> {
  const { judge: wanted, judgeModel, judgePosts, orders } = run.config.evaluate;
  const folder = run.judge?.folder ?? judgeModel;
  const digest = async () => run.judge?.digest ?? await folderDigest(run.files, folder);
  const atHand = (["gold", "reward"] as const).filter((name) =>
    name === "gold" ? run.gold !== undefined : hasReward
  );
  const others: ScoreName[] = atHand.filter((name) => name !== wanted);
  const options = { orders, seed: run.config.seed };
  const play = (first: ScoreName | TextJudge) => playMatches(posts, entries, [first, ...others], options);
  const textPosts = Math.min(posts.length, judgePosts || Infinity);
  const counted = entries.map(({ author, texts }) => ({ author, posts: texts.length }));
  if (textPosts < posts.length && (wanted === "local" || wanted === "openai")) {
    notes.push(`${judgeTitle(run)} compares on the first ${textPosts} posts.`);
  }

  if (wanted === "second") {
    const steps = entries.reduce((sum, { texts }) => sum + texts.length, 0);
    const progress = judgingProgress(run, steps, "summaries");
    const scores = await keep(
      { name: "second", key: await digest(), tick: progress.tick },
      (rows) => secondScores(run, folder, posts, entries.map(scorable), rows, progress.checkStop),
    );
    entries.forEach((entry, i) => entry.scores.second = scores[i]);
    const matches = await play("second");
    progress.done(judgeTitle(run));
    return { matches };
  }
  if (wanted === "local") {
    const progress = judgingProgress(run, countComparisons(counted, run.config), "comparisons");
    const panel = localJudge({
      gpu: run.gpu,
      files: run.files,
      folder,
      name: judgeTitle(run),
      digest: await digest(),
      microTokens: run.config.reward.microTokens,
      answers: await openAnswers<LetterLogprobs>(run.files, run.path, "local"),
      onAnswer: progress.tick,
      heed: progress.checkStop,
    });
    const matches = await play({ panel, posts: textPosts });
    if (orders === "both") {
      notes.push(
        `${
          judgeTitle(run)
        } gives margins: those of both orders are added, so that a liking for a position cancels.`,
      );
    }
    progress.done(judgeTitle(run));
    return { matches };
  }
  if (wanted === "openai") {
    const fields = run.config.evaluate;
    const endpoint = run.judge?.endpoint;
    if (!endpoint) {
      throw new RangeError("evaluate.judge openai needs an endpoint; set OPENAI_BASE_URL or OPENAI_API_KEY.");
    }
    const progress = judgingProgress(run, countComparisons(counted, run.config), "comparisons");
    const { judge: panel, figures } = remoteJudge({
      client: chatClient(endpoint, {
        perMinute: fields.judgePerMinute,
        retries: fields.judgeRetries,
        timeout: fields.judgeTimeout,
      }, progress.checkStop),
      model: judgeModel,
      longestAnswer: fields.judgeAnswerTokens,
      atOnce: fields.judgeAtOnce,
      seed: run.config.seed,
      answers: await openAnswers<ChatAnswer>(run.files, run.path, "openai"),
      prices: { input: fields.judgeInputPrice, output: fields.judgeOutputPrice },
      note: run.progress.note,
      onAnswer: progress.tick,
    });
    const matches = await play({ panel, posts: textPosts });
    progress.done(judgeTitle(run));
    return { matches, judging: figures };
  }

  const first = atHand.includes(wanted) ? wanted : others[0];
  if (first === undefined) {
    notes.push("There is no judge: train the reward model for win rates.");
    return { matches: [] };
  }
  if (first !== wanted) {
    notes.push(
      wanted === "gold"
        ? "The data have no gold rule, so the reward model judges."
        : "There is no reward model, so the gold rule judges.",
    );
  }
  if (first === "reward") {
    notes.push(
      "The judge is the reward model that PPO was trained against: its win rates flatter PPO and best-of-n.",
    );
  }
  const rest = atHand.filter((name) => name !== first);
  return { matches: await playMatches(posts, entries, [first, ...rest], options) };
}

/** The configured judge as matches name it. */
function judgeTitle(run: Pick<Run, "config">): string {
  const { judge, judgeModel } = run.config.evaluate;
  if (judge === "local") return judgeModel.replace(/\/+$/, "").split("/").at(-1) || judgeModel;
  return judge === "openai" ? judgeModel : judge;
}

/** References are told behind a space, as the models learned them; what a model has written brings its own. */
function scorable({ author, texts, ended }: Entry) {
  return { texts: author === "reference" ? texts.map((text) => ` ${text}`) : texts, ended };
}

/** An author and on how many posts, the first ones, there are summaries of theirs. */
export interface Contestant {
  author: Match["ours"];
  posts: number;
}

/** For each match before a text judge, on how many posts it is played. */
export function textMatches(
  contestants: readonly Contestant[],
  { evaluate: { judgePosts } }: Run["config"],
): number[] {
  const of = (author: Match["ours"]) => contestants.find((one) => one.author === author)!.posts;
  return meetings(contestants.map(({ author }) => author), { byText: true, first: true })
    .map(([ours, theirs]) => Math.min(judgePosts || Infinity, of(ours), of(theirs)));
}

/** Comparisons of a text judge at most: equal texts are not asked about, nor the same question twice. */
function countComparisons(contestants: readonly Contestant[], config: Run["config"]): number {
  const pairs = textMatches(contestants, config).reduce((sum, posts) => sum + posts, 0);
  return pairs * (config.evaluate.orders === "both" ? 2 : 1);
}

function judgingProgress(run: Run, steps: number, unit: string) {
  const progress = run.progress.stage("judge", { steps, unit });
  let done = 0;
  const checkStop = () => {
    if (run.stopping()) throw new Stopped(run, `${done} of ${steps} ${unit} of the judge`);
  };
  return {
    checkStop,
    tick(count: number) {
      progress.step(done += count);
      checkStop();
    },
    done: progress.done,
  };
}

/** Of a model folder's files: scores, answers and evaluations of other weights are not taken for its own. */
export async function folderDigest(files: Files, folder: string): Promise<string> {
  const digests: Record<string, string> = {};
  for (const name of (await files.list(folder)).filter((name) => /\.(json|safetensors)$/.test(name))) {
    digests[name] = (await sha256OfFile(files, joinPath(folder, name))).sha256;
  }
  return await digestOfJson(digests);
}
