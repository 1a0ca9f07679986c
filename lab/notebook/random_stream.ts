/** The random numbers of cells: counter-based, keyed by notebook and cell, so that a cell that is put between others shifts none. */
import { philox } from "../../kernels/random.ts";

/** Sets these streams apart from the stages' of a run. */
const stage = 0x6e6f7465;

/**
 * Numbers in [0, 1) with 53 random bits each.
 * @param seed the notebook's
 * @param cell the cell's id
 * @param name sets several streams of a cell apart
 */
export function randomStream(seed: number, cell: string, name = ""): () => number {
  const [a, b] = [hash(cell), hash(name)];
  let index = 0;
  let words: number[] = [];
  return () => {
    if (words.length === 0) words = philox([index++, 0, a, b], [seed, stage]);
    const [high, low] = words.splice(0, 2);
    return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
  };
}

/** FNV-1a of a text's UTF-16 units, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
}
