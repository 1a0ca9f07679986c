/**
 * What a dispatch costs by its kernel's contract: the first comment of a `.wgsl` file says "12·T·D bytes, 4·T·D FLOPs", or so many "an
 * element", and the scalars of the dispatch are the letters.
 */
import type { Kernel } from "./kernel.ts";

export interface ContractCost {
  /** Read and written; undefined where the contract does not say, or with letters that are not known. */
  bytes?: number;
  /** The same of floating-point operations. */
  flops?: number;
}

/**
 * @param params of the dispatch
 * @param known letters beside them, such as T, D, hd; and `pairs`, of queries and keys over all heads, which attention's contracts count by
 */
export function contractCost(
  kernel: Pick<Kernel, "source">,
  params: Record<string, number>,
  known: Record<string, number> = {},
): ContractCost {
  const head = kernel.source.split("\n").filter((line) => line.startsWith("//"))
    .map((line) => line.slice(2)).join(" ").replace(/\s+/g, " ");
  const constant = /const hd4 = (\d+)u;/.exec(kernel.source)?.[1];
  const quads = params.hd4 ?? (constant === undefined ? undefined : Number(constant));
  const letters: Record<string, number> = {
    ...known,
    ...(quads === undefined ? {} : { hd: 4 * quads }),
    ...params,
  };
  const vectors = /alias Element = vec4f;/.test(kernel.source) ? 4 : 1;
  if (params.F !== undefined) letters.F = params.F * vectors;
  const elements = params.size === undefined ? undefined : params.size * vectors;
  // What follows a number decides what it is of; "4 bytes and 2 FLOPs an element" counts elements in both.
  const amount = (what: "bytes" | "FLOPs") => {
    const match = new RegExp(`([\\w·.()+ ]+?) ${what}\\b([^.;:]*)`).exec(head);
    if (!match) return undefined;
    const [, before, after] = match;
    const formula = /((?:\([^()]*\)|[\w.]+)(?:(?:·| \+ )(?:\([^()]*\)|[\w.]+))*)$/.exec(before)?.[1];
    if (!formula) return undefined;
    if (formula === "no") return 0;
    const value = evaluate(formula, letters);
    if (value === undefined) return undefined;
    if (/^[^,]* (an element|per element|a float)/.test(after)) {
      return elements === undefined ? undefined : value * elements;
    }
    if (/^ for each pair/.test(after)) {
      return letters.pairs === undefined ? undefined : value * letters.pairs;
    }
    return /^ (a|an|per|for each) /.test(after) ? undefined : value;
  };
  return { bytes: amount("bytes"), flops: amount("FLOPs") };
}

/** Sums of products of numbers, letters and sums in brackets. */
function evaluate(formula: string, letters: Record<string, number>): number | undefined {
  const tokens = formula.match(/\d+(?:\.\d+)?|\w+|[()·+]/g) ?? [];
  let at = 0;
  const factor = (): number | undefined => {
    const token = tokens[at++];
    if (token === "(") {
      const value = sum();
      at++;
      return value;
    }
    return token === undefined ? undefined : /^\d/.test(token) ? Number(token) : letters[token];
  };
  const product = (): number | undefined => {
    let value = factor();
    while (tokens[at] === "·") {
      at++;
      const next = factor();
      value = value === undefined || next === undefined ? undefined : value * next;
    }
    return value;
  };
  const sum = (): number | undefined => {
    let value = product();
    while (tokens[at] === "+") {
      at++;
      const next = product();
      value = value === undefined || next === undefined ? undefined : value + next;
    }
    return value;
  };
  return sum();
}
