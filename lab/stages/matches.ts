/** Win rates between authors: every judge, both orders, intervals, equal length, differences. */
import {
  type Judgement,
  judgePairs,
  judgePairsTogether,
  orderBias,
  type PanelJudge,
  scoreJudge,
  type SummaryPair,
} from "../judge.ts";
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

/** The judges that go by a score: the data's gold rule, our reward model, another one. */
export type ScoreName = "gold" | "reward" | "second";

/** A judge that compares texts instead. */
export interface TextJudge {
  panel: PanelJudge;
  /** It compares on the first so many posts. */
  posts: number;
}

/** Somebody's summaries of the evaluation posts, or of the first so many of them. */
export interface Entry {
  author: Match["ours"];
  texts: string[];
  /** Tokens, `<|endoftext|>` included. */
  lengths: number[];
  /** Which end in `<|endoftext|>`. */
  ended: boolean[];
  /** By judge, one for each summary. */
  scores: Partial<Record<ScoreName, number[]>>;
}

/** Who meets whom. The reference and earlier policies are "theirs". A judge of texts, whose verdicts cost, is spared the last. */
const fixtures: readonly [Author, Author][] = [
  ["ppo", "sft"],
  ["ppo", "reference"],
  ["sft", "reference"],
  ["sft", "base"],
];
const textFixtures = fixtures.slice(0, 3);

/**
 * Who of these authors meets whom before a judge.
 * @param first whether the judge is the one that counts first, who sees best-of-n too
 */
export function meetings(
  authors: readonly Match["ours"][],
  { byText, first }: { byText: boolean; first: boolean },
): [Match["ours"], Author][] {
  const best = authors.filter((author) => first && author.startsWith("best-of-"));
  const all: readonly (readonly [Match["ours"], Author])[] = [
    ...byText ? textFixtures : fixtures,
    ...best.flatMap((author) => [[author, "sft"], [author, "reference"]] as const),
  ];
  return all.filter((pair) => pair.every((author) => authors.includes(author))).map(([a, b]) => [a, b]);
}

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
  judges: readonly (ScoreName | TextJudge)[],
  options: { orders: "both" | "random"; seed: number },
): Promise<Match[]> {
  const entry = (author: Match["ours"]) => entries.find((one) => one.author === author)!;
  const authors = entries.map(({ author }) => author);
  const matches: Match[] = [];
  for (const judge of judges) {
    const present = meetings(authors, { byText: typeof judge !== "string", first: judge === judges[0] })
      .map(([ours, theirs]): [Entry, Entry] => [entry(ours), entry(theirs)]);
    const played = typeof judge === "string"
      ? await playByScore(posts, present, judge, options)
      : await playByText(posts, present, judge, options);
    controlLength(played);
    matches.push(...played.map(({ match }) => match));
  }
  return matches;
}

interface Played {
  match: Match;
  lengthed: LengthedOutcomes;
}

type Options = Parameters<typeof playMatches>[3];

async function playByScore(
  posts: readonly SummarisedPost[],
  pairings: readonly [Entry, Entry][],
  judge: ScoreName,
  options: Options,
): Promise<Played[]> {
  const played: Played[] = [];
  for (const [ours, theirs] of pairings) {
    if (!ours.scores[judge] || !theirs.scores[judge]) continue;
    const count = Math.min(ours.texts.length, theirs.texts.length);
    const [ourScores, theirScores] = [ours, theirs].map(({ scores }) => scores[judge]!.slice(0, count));
    // Judges know texts only: two equal texts tie, even where one of them goes on without an end.
    const pairs = ourScores.map((score, i) => ({
      post: { ...posts[i], scores: new Map([[ours.texts[i], score], [theirs.texts[i], theirScores[i]]]) },
      ours: ours.texts[i],
      theirs: theirs.texts[i],
    }));
    const scorer = scoreJudge<typeof pairs[number]["post"]>(judge, ({ scores }, text) => scores.get(text)!);
    const result = resultOf(ours, theirs, judge, await judgePairs(scorer, pairs, options), options);
    result.match.difference = pairedBootstrap(ourScores, theirScores, { seed: options.seed });
    played.push(result);
  }
  return played;
}

/** All pairs of all matches are put to the judge at once, so that it can tell beforehand what it will take, and ask them side by side. */
async function playByText(
  posts: readonly SummarisedPost[],
  pairings: readonly [Entry, Entry][],
  { panel, posts: most }: TextJudge,
  options: Options,
): Promise<Played[]> {
  const pairs = pairings.map(([ours, theirs]) => {
    const count = Math.min(most, ours.texts.length, theirs.texts.length);
    return posts.slice(0, count).map((post, i): SummaryPair => ({
      post,
      ours: ours.texts[i],
      theirs: theirs.texts[i],
    }));
  });
  const judgements = await judgePairsTogether(panel, pairs.flat(), options);
  let at = 0;
  return pairings.map(([ours, theirs], m) =>
    resultOf(ours, theirs, panel.name, judgements.slice(at, at += pairs[m].length), options)
  );
}

function resultOf(
  ours: Entry,
  theirs: Entry,
  judge: string,
  judgements: readonly Judgement[],
  { orders }: Options,
): Played {
  const outcomes = judgements.map(({ outcome }) => outcome);
  const ratios = outcomes.map((_, i) => logLengthRatio(ours.lengths[i], theirs.lengths[i]));
  const bias = orderBias(judgements);
  const asked = judgements.flatMap(({ verdicts }) => verdicts);
  const unread = asked.filter((verdict) => verdict.unread).length;
  return {
    match: {
      ours: ours.author,
      theirs: theirs.author as Author,
      judge,
      orders,
      raw: winRate(outcomes),
      ...(orders === "both" && { orderDisagreement: 1 - bias.consistent }),
      ...(orders === "both" && bias.verdicts > 0 && { firstPreferred: bias.firstPreferred }),
      ...(unread > 0 && { unread: unread / asked.length }),
      byLength: binnedWinRates(outcomes, ratios),
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
