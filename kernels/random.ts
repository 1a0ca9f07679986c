/**
 * Counter-based random numbers, the same words on the host as in `random.wgsl`: Philox4x32-10 (Salmon et al., "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011). A draw is a pure function of who asks: (seed, stage, step, sample, position, index). Nothing
 * is carried from draw to draw, so a run that is resumed, or computed in other tiles, draws the same numbers.
 */
import source from "./random.wgsl" with { type: "text" };

/** The text of `random.wgsl`, to stand before a kernel that draws numbers. */
export const randomPreamble: string = source;

/** What a draw is keyed by, beside the sample and the position: each a whole number below 2³². */
export interface RandomKey {
  seed: number;
  /** Which stage of a run, or which use of random numbers, so that two never share a stream. Default 0. */
  stage?: number;
  /** The optimiser step, or whatever counts the repetitions. */
  step: number;
}

/** The four random words of a counter (4 words) and a key (2 words). */
export function philox(counter: readonly number[], key: readonly number[]): [number, number, number, number] {
  let [a, b, c, d] = counter.map((word) => word >>> 0);
  let [k, l] = key.map((word) => word >>> 0);
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = multiply(0xd2511f53, a);
    const [high1, low1] = multiply(0xcd9e8d57, c);
    [a, b, c, d] = [(high1 ^ b ^ k) >>> 0, low1, (high0 ^ d ^ l) >>> 0, low0];
    k = (k + 0x9e3779b9) >>> 0;
    l = (l + 0xbb67ae85) >>> 0;
  }
  return [a, b, c, d];
}

/** The 64-bit product of two words, high and low. */
function multiply(a: number, b: number): [number, number] {
  const product = BigInt(a) * BigInt(b);
  return [Number(product >> 32n), Number(product & 0xffffffffn)];
}

/** A standard Gumbel variate of 32 random bits, in f64; see `random.wgsl`. */
export function gumbel(bits: number): number {
  return -Math.log(-Math.log1p(-(bits + 0.5) / 2 ** 32));
}

/**
 * The word that sampling draws for token `id`: one Philox call serves four consecutive ids.
 * @param sample which sequence
 * @param position which token of it
 */
export function tokenBits(
  { seed, stage = 0, step }: RandomKey,
  sample: number,
  position: number,
  id: number,
) {
  return philox([Math.floor(id / 4), position, sample, step], [seed, stage])[id % 4];
}
