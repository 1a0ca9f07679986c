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
  /** By how much A is preferred, on a scale of the judge's own; below 0 for B. */
  margin?: number;
  /** The judge's answer could not be read, and chance has decided. */
  unread?: true;
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

/** A post with two summaries in the order in which a judge sees them. */
export interface Comparison<P extends Post = Post> {
  post: P;
  a: string;
  b: string;
}

/** A judge that takes many comparisons at a time: a language model, near or far. */
export interface PanelJudge {
  /** As `Judge.name`. */
  readonly name: string;
  /** @returns a verdict for each, in their order */
  compareAll(comparisons: readonly Comparison[]): Promise<Verdict[]>;
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
  /**
   * 1 ours, 0 theirs, 0.5 a tie. Where both orders were asked, the mean of the two; or, where the judge gives margins, what their sum
   * says, in which a liking for one position cancels.
   */
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
      verdict = await judge.compare(pair.post, a, b);
      const { preferred } = verdict;
      if (preferred !== "A" && preferred !== "B" && preferred !== "tie") {
        throw new TypeError(
          `Judge ${judge.name} answered ${JSON.stringify(preferred)}; it must be A, B or tie.`,
        );
      }
      if (key) await cache.set(key, verdict);
    }
    return { ...verdict, oursFirst };
  };

  const judgePair = async (pair: SummaryPair<P>): Promise<Judgement> => {
    const verdicts: OrderedVerdict[] = [];
    for (const oursFirst of await ordersOf(pair, orders, seed)) {
      verdicts.push(await judgeOnce(pair, oursFirst));
    }
    return judgementOf(verdicts);
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

/**
 * Judges every pair with a judge that takes many at a time. Of two texts that are the same neither is preferred, and the judge is not
 * asked; a comparison that occurs in several pairs is asked once.
 */
export async function judgePairsTogether<P extends Post>(
  judge: PanelJudge,
  pairs: readonly SummaryPair<P>[],
  { orders = "both", seed = 1 }: Pick<JudgingOptions, "orders" | "seed"> = {},
): Promise<Judgement[]> {
  const asked = new Map<string, { at: number; comparison: Comparison<P> }>();
  const places: { oursFirst: boolean; at: number | null }[][] = [];
  for (const pair of pairs) {
    const { post, ours, theirs } = pair;
    const of: typeof places[number] = [];
    for (const oursFirst of await ordersOf(pair, orders, seed)) {
      const [a, b] = oursFirst ? [ours, theirs] : [theirs, ours];
      if (a.trim() === b.trim()) {
        of.push({ oursFirst, at: null });
        continue;
      }
      const key = JSON.stringify([contentOf(post), a, b]);
      const known = asked.get(key) ?? { at: asked.size, comparison: { post, a, b } };
      asked.set(key, known);
      of.push({ oursFirst, at: known.at });
    }
    places.push(of);
  }
  const verdicts = await judge.compareAll([...asked.values()].map(({ comparison }) => comparison));
  return places.map((of) =>
    judgementOf(of.map(({ oursFirst, at }) => ({
      ...(at === null ? { preferred: "tie" as const } : verdicts[at]),
      oursFirst,
    })))
  );
}

/** In which orders a pair is shown: whether ours stands first, once or twice. */
async function ordersOf<P extends Post>(
  pair: SummaryPair<P>,
  orders: "both" | "random",
  seed: number,
): Promise<boolean[]> {
  if (orders === "both") return [true, false];
  const digest = await digestOfJson({
    seed,
    post: contentOf(pair.post),
    pair: [pair.ours, pair.theirs].sort(),
  });
  // The draw says which of the two sorted texts stands first, so that exchanging ours and theirs exchanges nothing else.
  const smallerFirst = parseInt(digest.slice(0, 2), 16) % 2 === 0;
  return [smallerFirst === pair.ours <= pair.theirs];
}

function judgementOf(verdicts: OrderedVerdict[]): Judgement {
  if (verdicts.length > 1 && verdicts.every(({ margin }) => margin !== undefined)) {
    const sum = verdicts.reduce(
      (total, { margin, oursFirst }) => total + (oursFirst ? margin! : -margin!),
      0,
    );
    return { outcome: sum > 0 ? 1 : sum < 0 ? 0 : 0.5, verdicts };
  }
  const sum = verdicts.reduce((total, verdict) => total + outcomeOf(verdict), 0);
  return { outcome: sum / verdicts.length, verdicts };
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
