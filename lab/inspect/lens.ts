/** What hidden states say of the next token: the likeliest tokens of every row, and where given ones stand. */
import { gatherRows } from "../../kernels/gather_rows.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { logprobs } from "../../kernels/logprob.ts";
import { rmsnorm } from "../../kernels/rmsnorm.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import { noToken, tokenRanks, topTokens } from "../../kernels/top_tokens.ts";
import { hiddenStates, type Qwen2, tokenBatch } from "../qwen2.ts";
import { floats, measured } from "./look.ts";
import { textOf } from "./texts.ts";
import type { Tokenizer } from "../tokenizer.ts";
import type { Alternatives, Candidate, Cost, LogitLens } from "./types.ts";

/** Of one row. */
export interface RowReading {
  top: { id: number; logprob: number }[];
  entropy: number;
  /** Of the ids that were asked about. */
  wanted: { id: number; logprob: number; rank: number }[];
}

/**
 * Puts hidden states (after the final norm) through a head: the k likeliest of each row, and where given ids stand.
 * @param hidden [R, D], made within the call
 * @param wanted the same number of ids for each row, at least one
 */
export async function readRows(
  gpu: Gpu,
  model: Qwen2,
  hidden: () => Tensor,
  { k, wanted, vocabulary }: { k: number; wanted: readonly (readonly number[])[]; vocabulary?: number },
): Promise<{ rows: RowReading[]; cost: Cost }> {
  if (model.head.length === 0) {
    throw new RangeError(`${model.name} is a reward model: it says nothing of the next token.`);
  }
  const R = wanted.length, K = wanted[0].length;
  const headBytes = model.head.reduce((sum, { bytes }) => sum + bytes, 0);
  const encode = () => {
    const states = hidden();
    const ids = gpu.from(Uint32Array.from(wanted.flat()), [R, K], "lens.wanted");
    const first = gpu.from(Uint32Array.from(wanted, ([id]) => id), [R], "lens.first");
    const top = topTokens(gpu, states, model.head, k, { vocabulary });
    const standing = tokenRanks(gpu, states, model.head, ids, { vocabulary });
    const { logSumExp, entropy } = logprobs(gpu, states, model.head, first, { vocabulary });
    return [top.ids, top.logits, standing.ranks, standing.logits, logSumExp, entropy];
  };
  const { result: rows, cost } = await measured(
    gpu,
    4 * headBytes,
    encode,
    ([ids, topWords, ranks, words, sums, entropies]) => {
      const [topLogits, logits, logSumExp, entropy] = [topWords, words, sums, entropies].map(floats);
      return wanted.map((own, r): RowReading => ({
        top: Array.from({ length: k }, (_, n) => r * k + n).filter((at) => ids[at] !== noToken)
          .map((at) => ({ id: ids[at], logprob: topLogits[at] - logSumExp[r] })),
        entropy: entropy[r],
        wanted: own.map((id, n) => ({
          id,
          logprob: logits[r * K + n] - logSumExp[r],
          rank: ranks[r * K + n],
        })),
      }));
    },
  );
  return { rows, cost };
}

/**
 * What each depth of the residual stream would say of the next token, put through final norm and head.
 * @param stream the residual stream [T, D] from the embedding on
 * @param ids the text's
 * @param positions rising
 */
export async function logitLens(
  gpu: Gpu,
  model: Qwen2,
  stream: readonly { name: string; tensor: Tensor }[],
  ids: readonly number[],
  positions: readonly number[],
  { k, vocabulary, tokenizer }: { k: number; vocabulary?: number; tokenizer?: Tokenizer },
): Promise<LogitLens> {
  const P = positions.length, D = model.config.hiddenSize;
  const rows = Uint32Array.from(positions);
  // All depths below one another, so that the head is read once for all.
  const hidden = () => {
    const all = gpu.empty([stream.length * P, D], "lens.stream");
    stream.forEach(({ tensor }, n) => {
      const picked = gatherRows(gpu, tensor, rows);
      gpu.place(all, n * P * D, picked);
      gpu.release(picked);
    });
    return rmsnorm(gpu, all, model.finalNorm, model.config.rmsNormEps);
  };
  const next = positions.map((position) => [ids[position + 1] ?? 0]);
  const { rows: readings, cost } = await readRows(gpu, model, hidden, {
    k,
    vocabulary,
    wanted: stream.flatMap(() => next),
  });
  const candidate = ({ id, logprob }: { id: number; logprob: number }, rank: number): Candidate => ({
    id,
    text: textOf(tokenizer, id),
    logprob,
    rank,
  });
  const depths = stream.map(({ name }, n) => ({
    name,
    cells: positions.map((position, p) => {
      const { top, entropy, wanted: [after] } = readings[n * P + p];
      const known = position + 1 < ids.length && (vocabulary === undefined || after.id < vocabulary);
      return {
        position,
        top: top.map(candidate),
        entropy,
        next: known ? candidate(after, after.rank) : undefined,
      };
    }),
  }));
  return { positions: [...positions], depths, cost };
}

/** The hidden states of a text at rows 0 … T − 2, each of which has a next token. */
function statesBefore(gpu: Gpu, model: Qwen2, ids: readonly number[]): Tensor {
  const hidden = hiddenStates(gpu, model, tokenBatch(gpu, model, [ids]));
  return gatherRows(gpu, hidden, Uint32Array.from({ length: ids.length - 1 }, (_, t) => t));
}

/**
 * What one or two models held likely at each token of a text, and where each one's alternatives stand with the other.
 * @param models the same vocabulary for all
 */
export async function alternativesOf(
  models: readonly { gpu: Gpu; model: Qwen2 }[],
  ids: readonly number[],
  { k, vocabulary, tokenizer }: { k: number; vocabulary?: number; tokenizer?: Tokenizer },
): Promise<Alternatives["tokens"]> {
  const next = ids.slice(1);
  const read = async ({ gpu, model }: typeof models[number], wanted: readonly (readonly number[])[]) =>
    (await readRows(gpu, model, () => statesBefore(gpu, model, ids), { k, wanted, vocabulary })).rows;
  const own: RowReading[][] = [];
  for (const one of models) own.push(await read(one, next.map((id) => [id])));
  const across: RowReading[][] = [];
  for (let m = 0; models.length > 1 && m < models.length; m++) {
    // Lists are padded to k with their first token where the vocabulary is smaller.
    const wanted = own[1 - m].map(({ top }) => Array.from({ length: k }, (_, n) => (top[n] ?? top[0]).id));
    across[1 - m] = await read(models[m], wanted);
  }
  return next.map((id, t) => ({
    id,
    text: textOf(tokenizer, id),
    position: t + 1,
    models: own.map((rows, m) => {
      const { top, entropy, wanted: [chosen] } = rows[t];
      return {
        logprob: chosen.logprob,
        rank: chosen.rank,
        entropy,
        top: top.map((one, rank) => {
          const elsewhere = across[m]?.[t].wanted[rank];
          return {
            ...one,
            text: textOf(tokenizer, one.id),
            rank,
            ...(elsewhere ? { rankElsewhere: elsewhere.rank, logprobElsewhere: elsewhere.logprob } : {}),
          };
        }),
      };
    }),
  }));
}
