/** Win rates between authors: every judge, both orders, intervals, equal length, differences. */
import { judgePairs, orderBias, scoreJudge } from "../judge.ts";
import type { Author, Match } from "../report/data.ts";
import type { SummarisedPost } from "../dataset.ts";
import {
  binnedWinRates,
  lengthControlledWinRates,
  type LengthedOutcomes,
  logLengthRatio,
  pairedBootstrap,
  winRate,
} from "../winrate.ts";

/** The judges that a run can have: the data's gold rule, our reward model. */
export type JudgeName = "gold" | "reward";

/** Somebody's summaries of the evaluation posts, or of the first so many of them. */
export interface Entry {
  author: Match["ours"];
  texts: string[];
  /** Tokens, `<|endoftext|>` included. */
  lengths: number[];
  /** By judge, one for each summary. */
  scores: Partial<Record<JudgeName, number[]>>;
}

/** Who meets whom. The reference and earlier policies are "theirs". */
const fixtures: readonly [Author, Author][] = [
  ["ppo", "sft"],
  ["ppo", "reference"],
  ["sft", "reference"],
  ["sft", "base"],
];

/**
 * Plays every match whose two sides are there: all of them by the first judge, best-of-n against SFT and reference included, then
 * those between authors by the others.
 *
 * @param judges the one that counts first
 * @throws RangeError where a score is not finite
 */
export async function playMatches(
  posts: readonly SummarisedPost[],
  entries: readonly Entry[],
  judges: readonly JudgeName[],
  options: { orders: "both" | "random"; seed: number },
): Promise<Match[]> {
  const entry = (author: Match["ours"]) => entries.find((one) => one.author === author);
  const matches: Match[] = [];
  for (const judge of judges) {
    const pairings = fixtures.map(([ours, theirs]) => [entry(ours), entry(theirs)] as const);
    if (judge === judges[0]) {
      for (const best of entries.filter(({ author }) => author.startsWith("best-of-"))) {
        pairings.push([best, entry("sft")], [best, entry("reference")]);
      }
    }
    const played: Played[] = [];
    for (const [ours, theirs] of pairings) {
      if (ours?.scores[judge] && theirs?.scores[judge]) {
        played.push(await playMatch(posts, ours, theirs, judge, options));
      }
    }
    controlLength(played);
    matches.push(...played.map(({ match }) => match));
  }
  return matches;
}

interface Played {
  match: Match;
  lengthed: LengthedOutcomes;
}

async function playMatch(
  posts: readonly SummarisedPost[],
  ours: Entry,
  theirs: Entry,
  judge: JudgeName,
  { orders, seed }: { orders: "both" | "random"; seed: number },
): Promise<Played> {
  const count = Math.min(ours.texts.length, theirs.texts.length);
  const [ourScores, theirScores] = [ours, theirs].map(({ scores }) => scores[judge]!.slice(0, count));
  // Judges know texts only: two equal texts tie, even where one of them goes on without an end.
  const pairs = ourScores.map((score, i) => ({
    post: { ...posts[i], scores: new Map([[ours.texts[i], score], [theirs.texts[i], theirScores[i]]]) },
    ours: ours.texts[i],
    theirs: theirs.texts[i],
  }));
  const scorer = scoreJudge<typeof pairs[number]["post"]>(judge, ({ scores }, text) => scores.get(text)!);
  const judgements = await judgePairs(scorer, pairs, { orders, seed });
  const outcomes = judgements.map(({ outcome }) => outcome);
  const ratios = outcomes.map((_, i) => logLengthRatio(ours.lengths[i], theirs.lengths[i]));
  return {
    match: {
      ours: ours.author,
      theirs: theirs.author as Author,
      judge,
      orders,
      raw: winRate(outcomes),
      orderDisagreement: orders === "both" ? 1 - orderBias(judgements).consistent : undefined,
      byLength: binnedWinRates(outcomes, ratios),
      difference: pairedBootstrap(ourScores, theirScores, { seed }),
    },
    lengthed: { name: ours.author, outcomes, logLengthRatios: ratios },
  };
}

/** One regression for all authors that met the same opponent (P1 App. F); best-of-n, on fewer posts, has its own. */
function controlLength(played: readonly Played[]): void {
  const groups = new Map<string, Played[]>();
  for (const one of played) {
    const { ours, theirs } = one.match;
    const key = ours.startsWith("best-of-") ? `${ours} ${theirs}` : theirs;
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  for (const group of groups.values()) {
    const { policies } = lengthControlledWinRates(group.map(({ lengthed }) => lengthed));
    group.forEach(({ match }, i) => match.lengthControlled = policies[i]);
  }
}
