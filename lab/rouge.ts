/**
 * ROUGE-1, ROUGE-2 and ROUGE-L of one text against one reference, equal to perl ROUGE-1.5.5 without stemming or stop words
 * (options -n 2 -a) where each text is one sentence.
 */

/** Shares between 0 and 1; `fmeasure` weighs recall and precision equally. */
export interface RougeScore {
  recall: number;
  precision: number;
  fmeasure: number;
}

/** The three scores that papers report. */
export interface RougeScores {
  rouge1: RougeScore;
  rouge2: RougeScore;
  rougeL: RougeScore;
}

/** Words as ROUGE-1.5.5 sees them: runs of a–z and 0–9 in lower case; everything else separates. */
export function rougeWords(text: string): string[] {
  // Only A–Z is folded: letters beyond ASCII that fold into it (K, the kelvin sign) separate too.
  return (text.match(/[A-Za-z0-9]+/g) ?? []).map((word) => word.toLowerCase());
}

/** Scores `prediction` against `reference`. Where either has no n-gram at all, the score is 0. */
export function rouge(prediction: string, reference: string): RougeScores {
  const predicted = rougeWords(prediction);
  const wanted = rougeWords(reference);
  const ngram = (n: number) => {
    const [ours, theirs] = [ngrams(predicted, n), ngrams(wanted, n)];
    let shared = 0;
    for (const [gram, count] of ours) shared += Math.min(count, theirs.get(gram) ?? 0);
    return score(shared, Math.max(0, predicted.length - n + 1), Math.max(0, wanted.length - n + 1));
  };
  return {
    rouge1: ngram(1),
    rouge2: ngram(2),
    rougeL: score(longestCommonSubsequence(predicted, wanted), predicted.length, wanted.length),
  };
}

/** The mean of each number over a corpus, so that the mean F is not the F of the means. Throws a RangeError for no scores. */
export function meanRouge(scores: readonly RougeScores[]): RougeScores {
  if (scores.length === 0) {
    throw new RangeError("There are no ROUGE scores to average; evaluate at least one row.");
  }
  const mean = (kind: keyof RougeScores): RougeScore => {
    const sum = { recall: 0, precision: 0, fmeasure: 0 };
    for (const row of scores) {
      sum.recall += row[kind].recall;
      sum.precision += row[kind].precision;
      sum.fmeasure += row[kind].fmeasure;
    }
    const n = scores.length;
    return { recall: sum.recall / n, precision: sum.precision / n, fmeasure: sum.fmeasure / n };
  };
  return { rouge1: mean("rouge1"), rouge2: mean("rouge2"), rougeL: mean("rougeL") };
}

function ngrams(words: string[], n: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= words.length; i++) {
    const gram = words.slice(i, i + n).join(" ");
    counts.set(gram, (counts.get(gram) ?? 0) + 1);
  }
  return counts;
}

function score(shared: number, predicted: number, wanted: number): RougeScore {
  const recall = wanted === 0 ? 0 : shared / wanted;
  const precision = predicted === 0 ? 0 : shared / predicted;
  return { recall, precision, fmeasure: shared === 0 ? 0 : 2 * recall * precision / (recall + precision) };
}

function longestCommonSubsequence(a: string[], b: string[]): number {
  let above = new Uint32Array(b.length + 1);
  for (const word of a) {
    const row = new Uint32Array(b.length + 1);
    for (let j = 0; j < b.length; j++) {
      row[j + 1] = word === b[j] ? above[j] + 1 : Math.max(above[j + 1], row[j]);
    }
    above = row;
  }
  return above[b.length];
}
