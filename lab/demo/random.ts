/**
 * A small seeded source of random numbers for generating the demo data. It is separate from the GPU's
 * counter-based generator because the data must never change when a kernel does.
 */

/** Draws from one seeded stream; every method advances the stream by exactly one step. */
export interface Random {
  /** Uniform in [0, 1), with 32 random bits. */
  uniform(): number;
  /** Uniform integer in [0, limit). */
  below(limit: number): number;
  /** True with the given probability. */
  chance(probability: number): boolean;
  /** One element, all equally likely. Throws a RangeError for an empty list. */
  pick<T>(items: readonly T[]): T;
  /** A key of `weights`, drawn in proportion to its (non-negative) value. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K;
}

/**
 * A stream of random numbers: Marsaglia's xorshift32 (Xorshift RNGs, 2003) over a Weyl sequence, output mixed by
 * the finaliser of MurmurHash3. Same seed, same stream, on every engine: only 32-bit integer operations are used.
 *
 * @param seed any integer; its low 32 bits count
 */
export function random(seed: number): Random {
  let weyl = seed >>> 0;
  let shift = mix(seed ^ 0x51ed270b) || 1;
  const uniform = () => {
    weyl = (weyl + 0x9e3779b9) >>> 0;
    shift ^= shift << 13;
    shift ^= shift >>> 17;
    shift ^= shift << 5;
    return mix(shift + weyl) / 2 ** 32;
  };
  const below = (limit: number) => Math.floor(uniform() * limit);
  return {
    uniform,
    below,
    chance: (probability) => uniform() < probability,
    pick: (items) => {
      if (items.length === 0) throw new RangeError("random.pick needs a list with at least one element");
      return items[below(items.length)];
    },
    weighted: <K extends string>(weights: Readonly<Record<K, number>>) => {
      const entries = Object.entries(weights) as [K, number][];
      let left = uniform() * entries.reduce((sum, [, weight]) => sum + weight, 0);
      for (const [key, weight] of entries) {
        left -= weight;
        if (left < 0) return key;
      }
      return entries[entries.length - 1][0];
    },
  };
}

/** MurmurHash3's 32-bit finaliser: spreads every input bit over all output bits. */
export function mix(value: number): number {
  let hash = value >>> 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
