/** Summaries compared without knowing whose they are. */

/** Two summaries of one post. */
export interface BlindPair {
  id: string;
  title: string;
  /** The two contenders' texts, in the order of the contenders. */
  texts: readonly [string, string];
}

export type Verdict = "first" | "second" | "tie";

/** A decision, as it is kept and exported. */
export interface BlindChoice {
  id: string;
  title: string;
  /** Names of the contenders, in order. */
  contenders: readonly [string, string];
  texts: readonly [string, string];
  /** Which contender was preferred. */
  verdict: Verdict;
  /** Which contender stood on the left. */
  left: "first" | "second";
  /** ISO 8601, UTC. */
  decidedAt: string;
}

/** A pair as it is shown: whose text stands on the left was drawn. */
export interface Trial extends BlindPair {
  left: "first" | "second";
}

/**
 * The pairs in an order, and with sides, that were drawn. Pairs of equal texts are left out: there is nothing to choose.
 * @param uniform draws from [0, 1)
 */
export function trialsOf(pairs: readonly BlindPair[], uniform: () => number): Trial[] {
  const trials = pairs.filter(({ texts: [a, b] }) => a.trim() !== b.trim())
    .map((pair): Trial => ({ ...pair, left: uniform() < 0.5 ? "first" : "second" }));
  for (let i = trials.length - 1; i > 0; i--) {
    const j = Math.floor(uniform() * (i + 1));
    [trials[i], trials[j]] = [trials[j], trials[i]];
  }
  return trials;
}

/** What was chosen on a side. */
export function verdictOf({ left }: Pick<Trial, "left">, side: "left" | "right" | "tie"): Verdict {
  if (side === "tie") return "tie";
  return side === "left" ? left : left === "first" ? "second" : "first";
}

/** How often each of two contenders was preferred. */
export function tally(choices: readonly BlindChoice[]): Record<Verdict, number> & { left: number } {
  const count = (verdict: Verdict) => choices.filter((choice) => choice.verdict === verdict).length;
  return {
    first: count("first"),
    second: count("second"),
    tie: count("tie"),
    // One half without bias for a side.
    left: choices.filter(({ verdict, left }) => verdict === left).length,
  };
}

/** Choices as JSON Lines of preference pairs; a tie has no `chosen`, only the two texts. */
export function choicesJsonl(choices: readonly BlindChoice[]): string {
  return choices.map(({ id, title, contenders, texts, verdict, left, decidedAt }) => {
    const [a, b] = [{ by: contenders[0], text: texts[0] }, { by: contenders[1], text: texts[1] }];
    const pair = verdict === "tie"
      ? { tie: [a, b] }
      : verdict === "first"
      ? { chosen: a, rejected: b }
      : { chosen: b, rejected: a };
    return JSON.stringify({ id, title, ...pair, left: left === "first" ? a.by : b.by, decidedAt }) + "\n";
  }).join("");
}
