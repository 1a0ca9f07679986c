/**
 * Judges: anything that prefers one of two summaries of a post. A judge sees them as A and B and cannot know whose is which;
 * `judgePairs` decides who stands first, asks, and turns the verdicts into outcomes for `winRate`.
 */
import { digestOfJson } from "./bytes.ts";
import type { Post } from "./query.ts";

/** What a judge says, and why if it says. */
export interface Verdict {
  preferred: "A" | "B" | "tie";
  reason?: string;
}

/** A source of verdicts. `P` is the post record that it needs; most need no more than a post. */
export interface Judge<P extends Post = Post> {
  /** Says which judge this is, in reports and as part of the key of kept verdicts: change it when the judge changes. */
  readonly name: string;
  compare(post: P, summaryA: string, summaryB: string): Promise<Verdict>;
}

/**
 * The judge that prefers the higher score: a gold rule, a reward model.
 *
 * @param score any scale; it must be finite
 * @param margin differences up to this are ties
 */
export function scoreJudge<P extends Post>(
  name: string,
  score: (post: P, summary: string) => number | Promise<number>,
  margin = 0,
): Judge<P> {
  return {
    name,
    async compare(post, summaryA, summaryB) {
      const [a, b] = [await score(post, summaryA), await score(post, summaryB)];
      if (!Number.isFinite(a) || !Number.isFinite(b)) {
        throw new RangeError(
          `Judge ${name} scored a summary of post ${post.id ?? "(no id)"} as ${
            Number.isFinite(a) ? b : a
          }; ` +
            `check its model for non-finite weights.`,
        );
      }
      const preferred = Math.abs(a - b) <= margin ? "tie" : a > b ? "A" : "B";
      return { preferred, reason: `${a.toFixed(3)} against ${b.toFixed(3)}` };
    },
  };
}

/** Two summaries of one post, ours and what it is compared with. */
export interface SummaryPair<P extends Post = Post> {
  post: P;
  ours: string;
  theirs: string;
}

/** A verdict with the order in which it was given. */
export interface OrderedVerdict extends Verdict {
  oursFirst: boolean;
}

/** What came of a pair. */
export interface Judgement {
  /** 1 ours, 0 theirs, 0.5 a tie; the mean over both orders where both were asked. */
  outcome: number;
  /** One verdict, or two: ours first, then theirs first. */
  verdicts: OrderedVerdict[];
}

/** Where verdicts are kept between runs, by digest of judge, post and summaries. A `Map` will do. */
export interface VerdictCache {
  get(key: string): Verdict | undefined | Promise<Verdict | undefined>;
  set(key: string, verdict: Verdict): unknown;
}

/** How `judgePairs` goes about it. */
export interface JudgingOptions {
  /** "both": each pair twice, each summary first once. "random": once, in an order drawn from the seed (as S1 does). Default both. */
  orders?: "both" | "random";
  /** Seed of the random order. A pair's order depends on the seed and the pair alone, not on its place in the list. */
  seed?: number;
  cache?: VerdictCache;
  /** Pairs judged at the same time; default 1. */
  concurrency?: number;
  /** Called after each pair. */
  onProgress?: (done: number, total: number) => void;
  /** Stops between verdicts; what was judged is in the cache. */
  signal?: AbortSignal;
}

/**
 * Judges every pair. The result stands in the order of `pairs` whatever the concurrency.
 *
 * @throws whatever the judge throws, after the verdicts before it have been kept; the signal's reason where it is aborted
 */
export async function judgePairs<P extends Post>(
  judge: Judge<P>,
  pairs: readonly SummaryPair<P>[],
  options: JudgingOptions = {},
): Promise<Judgement[]> {
  const { orders = "both", seed = 1, cache, concurrency = 1, onProgress, signal } = options;
  if (!Number.isInteger(concurrency) || concurrency < 1) {
    throw new RangeError(
      `Judging ${concurrency} pairs at a time is not possible; ask for a whole number from 1.`,
    );
  }

  const judgeOnce = async (pair: SummaryPair<P>, oursFirst: boolean): Promise<OrderedVerdict> => {
    signal?.throwIfAborted();
    const [a, b] = oursFirst ? [pair.ours, pair.theirs] : [pair.theirs, pair.ours];
    const key = cache && await digestOfJson({ judge: judge.name, post: contentOf(pair.post), a, b });
    let verdict = key && await cache.get(key);
    if (!verdict) {
      const { preferred, reason } = await judge.compare(pair.post, a, b);
      if (preferred !== "A" && preferred !== "B" && preferred !== "tie") {
        throw new TypeError(
          `Judge ${judge.name} answered ${JSON.stringify(preferred)}; it must be A, B or tie.`,
        );
      }
      verdict = reason === undefined ? { preferred } : { preferred, reason };
      if (key) await cache.set(key, verdict);
    }
    return { ...verdict, oursFirst };
  };

  const judgePair = async (pair: SummaryPair<P>): Promise<Judgement> => {
    if (orders === "both") {
      const verdicts = [await judgeOnce(pair, true), await judgeOnce(pair, false)];
      return { outcome: (outcomeOf(verdicts[0]) + outcomeOf(verdicts[1])) / 2, verdicts };
    }
    const digest = await digestOfJson({
      seed,
      post: contentOf(pair.post),
      pair: [pair.ours, pair.theirs].sort(),
    });
    // The draw says which of the two sorted texts stands first, so that exchanging ours and theirs exchanges nothing else.
    const smallerFirst = parseInt(digest.slice(0, 2), 16) % 2 === 0;
    const verdict = await judgeOnce(pair, smallerFirst === pair.ours <= pair.theirs);
    return { outcome: outcomeOf(verdict), verdicts: [verdict] };
  };

  const judgements = new Array<Judgement>(pairs.length);
  let next = 0;
  let done = 0;
  let failed = false;
  const worker = async () => {
    while (next < pairs.length && !failed) {
      const i = next++;
      try {
        judgements[i] = await judgePair(pairs[i]);
      } catch (error) {
        failed = true;
        throw error;
      }
      onProgress?.(++done, pairs.length);
    }
  };
  const workers = Array.from({ length: Math.min(concurrency, pairs.length) }, worker);
  // All have stopped before an error is passed on, so that nothing goes on behind the caller's back.
  const ends = await Promise.allSettled(workers);
  for (const end of ends) if (end.status === "rejected") throw end.reason;
  return judgements;
}

/** How far a judge goes by position. */
export interface OrderBias {
  /** Verdicts counted, ties left out. */
  verdicts: number;
  /** Share of those that preferred the summary shown first: one half for a judge without bias, if both orders were asked. */
  firstPreferred: number;
  /** Pairs judged in both orders. */
  pairs: number;
  /** Share of those whose two verdicts agree about the summaries. */
  consistent: number;
}

/** Measures order bias; shares of nothing are NaN. */
export function orderBias(judgements: readonly Judgement[]): OrderBias {
  const verdicts = judgements.flatMap((judgement) => judgement.verdicts).filter(({ preferred }) =>
    preferred !== "tie"
  );
  const both = judgements.filter((judgement) => judgement.verdicts.length === 2);
  const consistent = both.filter(({ verdicts: [one, two] }) => outcomeOf(one) === outcomeOf(two));
  return {
    verdicts: verdicts.length,
    firstPreferred: verdicts.filter(({ preferred }) => preferred === "A").length / verdicts.length,
    pairs: both.length,
    consistent: consistent.length / both.length,
  };
}

function outcomeOf({ preferred, oursFirst }: OrderedVerdict): number {
  if (preferred === "tie") return 0.5;
  return (preferred === "A") === oursFirst ? 1 : 0;
}

/** The part of a post that identifies it. */
function contentOf({ id, subreddit, title, post }: Post) {
  return { id, subreddit, title, post };
}
