/** How the reward model fares on held-out pairs: accuracy by split, batch and confidence, calibration, and the labels' own noise. */
import type { Comparison } from "../comparisons.ts";
import { inMemory, readTable, rowCount, sequenceAt } from "../dataset.ts";
import type { AccuracyRow, CalibrationBucket, RewardFigures, ScoreHistogram } from "../report/data.ts";
import type { Run } from "../run.ts";
import { wilsonInterval, winRate } from "../winrate.ts";
import { tablePath } from "./preprocess.ts";

/** Splits that the reward model was not trained on; cnndm is out of its distribution. */
const heldOut = ["valid1", "valid2", "cnndm"] as const;
type HeldOut = typeof heldOut[number];
/** Training references that are scored once more to check the normalisation, at most. */
const referenceRows = 256;
/** Calibration buckets, and the fewest pairs that make one. */
const mostBuckets = 10, fewestPairs = 20;
/** Bins of the score histogram, and how many standard deviations they reach to either side. */
const bins = 32, reach = 4;

/** A held-out pair with the scores that it was given. */
export interface ScoredPair extends Pick<Comparison, "batch" | "confidence"> {
  split: HeldOut;
  chosen: number;
  rejected: number;
  /** Gold score of the chosen summary less that of the rejected one, where there is a gold rule. */
  goldMargin?: number;
}

/** The pairs that will be scored: their split and place in it, spread evenly over all where there is a limit. */
export function heldOutPairs(run: Pick<Run, "dataset" | "config">): { split: HeldOut; row: number }[] {
  const all = heldOut.flatMap((split) => run.dataset.pairs[split].map((_, row) => ({ split, row })));
  const most = run.config.evaluate.pairs;
  if (most === 0 || most >= all.length) return all;
  return Array.from({ length: most }, (_, i) => all[Math.floor(i * all.length / most)]);
}

/** Training references that will be scored. */
export function referenceCount(run: Pick<Run, "dataset" | "config">): number {
  const used = run.config.reward.normaliseRows || Infinity;
  return Math.min(referenceRows, used, run.dataset.posts.train.length);
}

/**
 * Scores held-out pairs and training references and adds them up.
 * @param score gives the normalised score of each sequence at its last token
 * @param references scores of held-out reference summaries, for the histogram
 * @returns the figures, and sentences on what they were measured over
 */
export async function measureReward(
  run: Pick<Run, "dataset" | "config" | "files" | "path" | "gold">,
  score: (sequences: readonly Uint32Array[]) => Promise<number[]>,
  references: readonly number[] = [],
): Promise<{ figures: RewardFigures; notes: string[] }> {
  const { dataset, files, gold } = run;
  const chosenPairs = heldOutPairs(run);
  const posts = new Map(
    gold
      ? [...await inMemory(dataset.posts.train), ...dataset.posts.validation, ...dataset.posts.test]
        .map((post) => [post.id, post] as const)
      : [],
  );
  const pairs: ScoredPair[] = [];
  for (const split of heldOut) {
    const rows = chosenPairs.filter((pair) => pair.split === split).map(({ row }) => row);
    if (rows.length === 0) continue;
    const table = await readTable(files, tablePath(run, "pairs", split));
    const scored = await score(
      rows.flatMap((row) => [2 * row, 2 * row + 1]).map((at) => sequenceAt(table, at)),
    );
    rows.forEach((row, i) => {
      const { source, chosen, rejected, batch, confidence } = dataset.pairs[split][row];
      const post = posts.get(source.id);
      const goldMargin = gold && post ? gold(post, chosen.text) - gold(post, rejected.text) : undefined;
      pairs.push({
        split,
        batch,
        confidence,
        chosen: scored[2 * i],
        rejected: scored[2 * i + 1],
        goldMargin,
      });
    });
  }
  const figures = rewardFigures(pairs, references);
  const notes: string[] = [];
  const held = heldOut.reduce((sum, split) => sum + dataset.pairs[split].length, 0);
  if (pairs.length < held) {
    notes.push(
      `The reward model's accuracy is over ${pairs.length} of ${held} held-out pairs, spread evenly.`,
    );
  }

  const count = referenceCount(run);
  if (count > 0) {
    const table = await readTable(files, tablePath(run, "posts", "train"));
    const scored = await score(
      Array.from({ length: Math.min(count, rowCount(table)) }, (_, row) => sequenceAt(table, row)),
    );
    const mean = average(scored);
    figures.referenceMean = mean;
    const normalised = Math.min(run.config.reward.normaliseRows || Infinity, dataset.posts.train.length);
    if (count < normalised) {
      const spread = Math.sqrt(average(scored.map((x) => (x - mean) ** 2)) / Math.max(1, scored.length - 1));
      notes.push(
        `The mean score of training references is over the first ${count} of ${normalised}: ` +
          `its standard error is ${spread.toFixed(3)}, so it need not be 0 to three places.`,
      );
    }
  }
  return { figures, notes };
}

/** The figures of scored pairs. Shares and losses are over TL;DR pairs except where a row is named after a CNN/DM split or batch. */
export function rewardFigures(
  pairs: readonly ScoredPair[],
  references: readonly number[] = [],
): RewardFigures {
  const main = pairs.filter(({ split }) => split !== "cnndm");
  const accuracy: AccuracyRow[] = [];
  if (main.length > 0) accuracy.push(accuracyRow("all", "validation", main));
  const known = main.filter((pair) => pair.goldMargin !== undefined && pair.goldMargin !== 0);
  if (known.length > 0) {
    // The same pairs by the gold rule's own preference: what is left when the labellers' slips are taken out.
    accuracy.push(accuracyRow(
      "all",
      "gold rule's choice",
      known.map((pair) =>
        pair.goldMargin! > 0 ? pair : { ...pair, chosen: pair.rejected, rejected: pair.chosen }
      ),
    ));
  }
  accuracy.push(
    ...slices("split", pairs, ({ split }) => split),
    ...slices("batch", pairs, ({ batch }) => batch),
    ...slices("confidence", main, ({ confidence }) => confidence === null ? null : String(confidence)),
  );
  const judged = pairs.filter(({ goldMargin }) => goldMargin !== undefined);
  const share = (counts: (margin: number) => boolean) =>
    judged.length === 0
      ? undefined
      : judged.filter(({ goldMargin }) => counts(goldMargin!)).length / judged.length;
  const buckets = calibration(main);
  return {
    accuracy,
    calibration: buckets,
    ...(main.length > 0 && {
      calibrationError: buckets.reduce(
        (sum, { accuracy, expected, count }) => sum + count / main.length * Math.abs(accuracy - expected!),
        0,
      ),
      distribution: histogram({
        chosen: main.map(({ chosen }) => chosen),
        rejected: main.map(({ rejected }) => rejected),
        reference: references,
      }),
    }),
    labelNoise: share((margin) => margin < 0),
    goldAgreement: share((margin) => margin > 0),
  };
}

/** Rows of one kind, one for each name in order; pairs without a name are in none. */
function slices(
  by: AccuracyRow["by"],
  pairs: readonly ScoredPair[],
  nameOf: (pair: ScoredPair) => string | null,
): AccuracyRow[] {
  const groups = new Map<string, ScoredPair[]>();
  for (const pair of pairs) {
    const name = nameOf(pair);
    if (name === null) continue;
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name)!.push(pair);
  }
  const order = by === "split"
    ? [...groups.keys()]
    : [...groups.keys()].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  return order.map((name) => accuracyRow(by, name, groups.get(name)!));
}

function accuracyRow(by: AccuracyRow["by"], name: string, pairs: readonly ScoredPair[]): AccuracyRow {
  // −ln σ(margin) = ln(1 + e^−margin), without overflow.
  const losses = pairs.map(marginOf).map((m) => Math.max(-m, 0) + Math.log1p(Math.exp(-Math.abs(m))));
  return { by, name, accuracy: winRate(pairs.map(outcomeOf)), loss: average(losses) };
}

/** Pairs by rising |margin|, in buckets of equal size. */
function calibration(pairs: readonly ScoredPair[]): CalibrationBucket[] {
  const size = (pair: ScoredPair) => Math.abs(marginOf(pair));
  const sorted = [...pairs].sort((a, b) => size(a) - size(b));
  if (sorted.length === 0) return [];
  const buckets = Math.max(1, Math.min(mostBuckets, Math.floor(sorted.length / fewestPairs)));
  return Array.from({ length: buckets }, (_, i) => {
    const edge = (n: number) => Math.round(n * sorted.length / buckets);
    const inside = sorted.slice(edge(i), edge(i + 1));
    const right = inside.reduce((sum, pair) => sum + outcomeOf(pair), 0);
    const [lower, upper] = wilsonInterval(right, inside.length);
    return {
      margin: average(inside.map(size)),
      accuracy: right / inside.length,
      lower,
      upper,
      expected: average(inside.map((pair) => 1 / (1 + Math.exp(-size(pair))))),
      count: inside.length,
    };
  });
}

/** Counts in bins of equal width over the mean of all ± a few deviations; what lies beyond is in the outermost. */
export function histogram(
  groups: Record<"chosen" | "rejected" | "reference", readonly number[]>,
): ScoreHistogram {
  const all = Object.values(groups).flat();
  const mean = average(all);
  const deviation = Math.sqrt(average(all.map((x) => (x - mean) ** 2))) || 1;
  const least = all.reduce((a, b) => Math.min(a, b)), most = all.reduce((a, b) => Math.max(a, b));
  const low = Math.max(least, mean - reach * deviation);
  const high = Math.max(low + 1e-6, Math.min(most, mean + reach * deviation));
  const counts = (values: readonly number[]) => {
    const found = new Array<number>(bins).fill(0);
    for (const x of values) {
      found[Math.max(0, Math.min(bins - 1, Math.floor((x - low) / (high - low) * bins)))]++;
    }
    return found;
  };
  return {
    edges: Array.from({ length: bins + 1 }, (_, i) => low + i / bins * (high - low)),
    chosen: counts(groups.chosen),
    rejected: counts(groups.rejected),
    reference: counts(groups.reference),
  };
}

function marginOf({ chosen, rejected }: ScoredPair): number {
  return chosen - rejected;
}

/** 1 where the preferred summary scored higher, 0.5 where both scored alike. */
function outcomeOf(pair: ScoredPair): number {
  const margin = marginOf(pair);
  return margin > 0 ? 1 : margin < 0 ? 0 : 0.5;
}

function average(values: readonly number[]): number {
  return values.reduce((sum, x) => sum + x, 0) / values.length;
}
