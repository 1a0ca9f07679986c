/** What attention maps say of single tokens, and how they are scaled to be seen. */
import type { AttentionScale } from "./address.ts";

/** The probabilities of one map without the first token, the rest of each row made to sum to one again. */
export function withoutSink(probabilities: Float32Array, tokens: number): Float32Array {
  const rest = new Float32Array(probabilities.length);
  for (let row = 1; row < tokens; row++) {
    const left = 1 - probabilities[row * tokens];
    if (left <= 0) continue;
    for (let column = 1; column <= row; column++) {
      rest[row * tokens + column] = probabilities[row * tokens + column] / left;
    }
  }
  return rest;
}

/** Three decades are told apart by the logarithmic scale. */
const decades = 3;

/**
 * From 0 to 1: the share itself, or its square root; its logarithm, over three decades; or the share of the row's tokens that get less.
 * @param rows of `columns` each; what lies above the diagonal stays 0
 */
export function scaled(probabilities: Float32Array, columns: number, scale: AttentionScale): Float32Array {
  if (scale === "linear") return probabilities;
  if (scale === "root") return probabilities.map(Math.sqrt);
  if (scale === "log") {
    return probabilities.map((p) => p > 0 ? Math.max(0, 1 + Math.log10(p) / decades) : 0);
  }
  const ranked = new Float32Array(probabilities.length);
  for (let start = 0, row = 0; start < probabilities.length; start += columns, row++) {
    const seen = Math.min(columns, row + 1);
    const order = Array.from({ length: seen }, (_, i) => start + i)
      .sort((a, b) => probabilities[a] - probabilities[b]);
    order.forEach((at, rank) => ranked[at] = probabilities[at] > 0 ? (rank + 1) / seen : 0);
  }
  return ranked;
}

/** Where a token looks (`from`), or who looks at it (`to`): one share for each token of the text. */
export function attentionOf(
  probabilities: Float32Array,
  tokens: number,
  token: number,
  direction: "from" | "to",
): Float32Array {
  return Float32Array.from(
    { length: tokens },
    (_, other) => probabilities[direction === "from" ? token * tokens + other : other * tokens + token],
  );
}
