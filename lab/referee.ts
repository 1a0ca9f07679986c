/**
 * Our engine beside another one, the referee, on the same weights and the same ids: logits position by position, greedy text, speed. The
 * referee may be anything that gives logits; in the page it is transformers.js on onnxruntime-web, with which we share no code.
 */
import { gatherRows } from "../kernels/gather_rows.ts";
import type { Gpu } from "../kernels/gpu.ts";
import { matmul } from "../kernels/matmul.ts";
import { generate } from "./generate.ts";
import { hiddenStates, type Qwen2, tokenBatch } from "./qwen2.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { stageKeys } from "./training.ts";

/** Another implementation with the same weights. */
export interface Referee {
  /** "transformers.js 4.3.1 on onnxruntime-web, WebGPU". */
  name: string;
  encode(text: string): number[];
  /** Logits of every position, row by row [T, V]. */
  logits(ids: readonly number[]): Promise<Float32Array>;
  /** Ids of a greedy response, EOS included where it is met, and at most so many. */
  write(ids: readonly number[], count: number): Promise<number[]>;
  dispose(): Promise<void>;
}

/** The two at one position; logits are those of the token after it. */
export interface Position {
  id: number;
  text: string;
  /** log p of the token that follows in the text, nats; null at the last one. */
  logprob: { ours: number; theirs: number } | null;
  /** Largest |ours − theirs| over the vocabulary. */
  gap: number;
  /** The likeliest next id. */
  likeliest: { ours: number; theirs: number };
  /** How far our likeliest logit is ahead of the second: below the gap, the likeliest ids may differ by rounding alone. */
  margin: number;
}

export interface Comparison {
  referee: string;
  positions: Position[];
  /** Whether the two tokenizers give the same ids. */
  sameIds: boolean;
  /** Largest gap of all, and where. */
  worst: { position: number; gap: number };
  /** A forward pass over the whole text, the second of two. */
  milliseconds: { ours: number; theirs: number };
}

/** A greedy response by both. */
export interface BothWrote {
  text: { ours: string; theirs: string };
  ids: { ours: number[]; theirs: number[] };
  /** The first token at which they differ; null where they do not. */
  differsAt: number | null;
  /** Tokens a second; ours goes on to the full length and is cut at EOS, theirs stops there. */
  rate: { ours: number; theirs: number };
}

/** Tokens of the longest text that is compared: its logits are whole on the host, twice. */
export const mostCompared = 512;

/** Numbers in one piece of logits: 40 MiB. */
const mostLogits = 10 << 20;

/**
 * Logits of every position of a text. The only place where whole rows of them are made: a referee's are whole, too.
 * @param ids at least one
 * @returns [T, V], row by row
 */
export async function logitsOf(gpu: Gpu, model: Qwen2, ids: readonly number[]): Promise<Float32Array> {
  const { vocabulary } = model.config;
  const hidden = gpu.scope(() => hiddenStates(gpu, model, tokenBatch(gpu, model, [ids])));
  const logits = new Float32Array(ids.length * vocabulary);
  try {
    let column = 0;
    for (const range of model.head) {
      const [columns] = range.shape;
      const rows = Math.max(1, Math.floor(mostLogits / columns));
      for (let row = 0; row < ids.length; row += rows) {
        const count = Math.min(rows, ids.length - row);
        const some = Uint32Array.from({ length: count }, (_, i) => row + i);
        const piece = gpu.scope(() => matmul(gpu, gatherRows(gpu, hidden, some), range));
        const [values] = await gpu.read(piece);
        gpu.release(piece);
        for (let i = 0; i < count; i++) {
          logits.set(values.subarray(i * columns, (i + 1) * columns), (row + i) * vocabulary + column);
        }
      }
      column += columns;
    }
  } finally {
    gpu.release(hidden);
  }
  return logits;
}

/**
 * Compares the two on a text.
 * @throws RangeError where the text is empty or longer than {@link mostCompared} tokens
 */
export async function compareOn(
  { gpu, model, tokenizer }: { gpu: Gpu; model: Qwen2; tokenizer: Tokenizer },
  referee: Referee,
  text: string,
): Promise<Comparison> {
  const ids = tokenizer.encode(text);
  const most = Math.min(mostCompared, model.config.maxPositions);
  if (ids.length === 0 || ids.length > most) {
    throw new RangeError(`The text has ${ids.length} tokens; the two are compared on 1 to ${most}.`);
  }
  const theirIds = referee.encode(text);
  const ours = await timed(() => logitsOf(gpu, model, ids));
  const theirs = await timed(() => referee.logits(ids));
  const { vocabulary } = model.config;
  if (theirs.result.length !== ids.length * vocabulary) {
    throw new RangeError(
      `${referee.name} gives ${theirs.result.length} logits for ${ids.length} tokens, where ${
        ids.length * vocabulary
      } are due: it has another vocabulary, and is no export of this model.`,
    );
  }
  const positions = ids.map((id, t): Position => {
    const row = { ours: rowOf(ours.result, t, vocabulary), theirs: rowOf(theirs.result, t, vocabulary) };
    const next = ids[t + 1];
    const [first, second] = topTwo(row.ours);
    return {
      id,
      text: tokenizer.decodeToken(id),
      logprob: next === undefined
        ? null
        : { ours: logprobIn(row.ours, next), theirs: logprobIn(row.theirs, next) },
      gap: largestGap(row.ours, row.theirs),
      likeliest: { ours: first, theirs: topTwo(row.theirs)[0] },
      margin: row.ours[first] - row.ours[second],
    };
  });
  const worst = positions.reduce((at, { gap }, t) => gap > positions[at].gap ? t : at, 0);
  return {
    referee: referee.name,
    positions,
    sameIds: theirIds.length === ids.length && theirIds.every((id, t) => id === ids[t]),
    worst: { position: worst, gap: positions[worst].gap },
    milliseconds: { ours: ours.milliseconds, theirs: theirs.milliseconds },
  };
}

/** Lets both go on from a text, greedily. @throws RangeError where it does not fit */
export async function writeBoth(
  { gpu, model, tokenizer }: { gpu: Gpu; model: Qwen2; tokenizer: Tokenizer },
  referee: Referee,
  text: string,
  count: number,
): Promise<BothWrote> {
  const ids = tokenizer.encode(text);
  const room = model.config.maxPositions - ids.length;
  if (ids.length === 0 || count < 1 || count > room) {
    throw new RangeError(
      `The text has ${ids.length} tokens; between 1 and ${
        Math.max(0, room)
      } can follow, and ${count} are asked for.`,
    );
  }
  const options = {
    greedy: true,
    responseLength: count,
    vocabulary: tokenizer.padId,
    seed: 0,
    stage: stageKeys.samples,
    step: 0,
  };
  const ours = await timed(() => generate(gpu, model, [ids], options));
  const theirs = await timed(() => referee.write(ids, count));
  const end = ours.result[0].indexOf(tokenizer.eosId);
  const found = {
    ours: Array.from(ours.result[0].subarray(0, end < 0 ? count : end + 1)),
    theirs: theirs.result,
  };
  const differsAt = found.ours.findIndex((id, t) => id !== found.theirs[t]);
  return {
    ids: found,
    text: { ours: tokenizer.decode(found.ours), theirs: tokenizer.decode(found.theirs) },
    differsAt: differsAt >= 0
      ? differsAt
      : found.theirs.length > found.ours.length
      ? found.ours.length
      : null,
    rate: {
      ours: count / ours.milliseconds * 1000,
      theirs: found.theirs.length / theirs.milliseconds * 1000,
    },
  };
}

/** The second of two runs: the first compiles kernels. */
async function timed<T>(work: () => Promise<T>): Promise<{ result: T; milliseconds: number }> {
  await work();
  const start = performance.now();
  const result = await work();
  return { result, milliseconds: performance.now() - start };
}

const rowOf = (logits: Float32Array, t: number, vocabulary: number) =>
  logits.subarray(t * vocabulary, (t + 1) * vocabulary);

function topTwo(row: Float32Array): [number, number] {
  let first = row[1] > row[0] ? 1 : 0, second = 1 - first;
  for (let v = 2; v < row.length; v++) {
    if (row[v] > row[first]) [first, second] = [v, first];
    else if (row[v] > row[second]) second = v;
  }
  return [first, second];
}

function largestGap(a: Float32Array, b: Float32Array): number {
  let gap = 0;
  for (let v = 0; v < a.length; v++) {
    const here = Math.abs(a[v] - b[v]);
    // A logit that is no number on one side is no agreement.
    if (!(here <= gap)) gap = Number.isNaN(here) ? Infinity : here;
  }
  return gap;
}

function logprobIn(row: Float32Array, id: number): number {
  const most = row.reduce((a, b) => Math.max(a, b));
  return row[id] - most - Math.log(row.reduce((sum, logit) => sum + Math.exp(logit - most), 0));
}
