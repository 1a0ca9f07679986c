/** Draws the next token of each sequence. The output layer, the softmax and the draw share one pass over tiles of the vocabulary. */
import plainSource from "./sample.wgsl" with { type: "text" };
import truncatedSource from "./sample_truncated.wgsl" with { type: "text" };
import type { RowRanges } from "./embedding.ts";
import { mostIterations } from "./device.ts";
import type { Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import { defaultScratchBytes, fillTile, walk } from "./logprob_tiles.ts";
import { gumbel, type RandomKey, randomPreamble, tokenBits } from "./random.ts";
import { rowGrid } from "./reduce.ts";
import type { Tensor } from "./tensor.ts";

const plain = kernel("sample", randomPreamble + plainSource);
const truncated = kernel("sample_truncated", randomPreamble + truncatedSource);

/** What is drawn: every choice but the random numbers' key. */
export interface SampleRule {
  /** τ > 0: logits are divided by it. Default 1. */
  temperature?: number;
  /** Takes the most probable id, the lowest of equals; then topK and topP say nothing. Default false. */
  greedy?: boolean;
  /** Only the topK most probable ids; 0, the default, for all. */
  topK?: number;
  /** Then only the shortest beginning of those, most probable first, whose share reaches topP. Default 1: all. */
  topP?: number;
  /** Ids at or above it are never drawn and have no probability. Default: all V rows of the head. */
  vocabulary?: number;
}

export interface SampleOptions extends SampleRule, RandomKey {
  /** u32 [B]: which sequence each row is, as a number that outlives batches, e.g. its index in the data. */
  samples: Tensor;
  /** Which token of its sequence is drawn. Default 0. */
  position?: number;
  /** u32 [B], added to `position` where rows stand at different ones. */
  positions?: Tensor;
  /** Bytes of logits that may exist at once. Default 32 MiB. */
  scratchBytes?: number;
}

/**
 * Draws one token a row from softmax(hidden·headᵀ/τ). The same key, sample and position draw the same token, whatever the batch.
 * @param hidden [B, D]
 * @param head [V, D] in row ranges
 * @returns token u32 [B], and logprob [B] under the whole softmax at that temperature, before topK and topP
 * @throws if an option is out of range or a shape does not fit
 */
export function sample(
  gpu: Gpu,
  hidden: Tensor,
  head: RowRanges,
  options: SampleOptions,
): { token: Tensor; logprob: Tensor } {
  const { temperature = 1, greedy = false, topK = 0, topP = 1, vocabulary } = options;
  const { samples, positions, scratchBytes = defaultScratchBytes } = options;
  const B = hidden.shape[0];
  if (!(Number.isInteger(topK) && topK >= 0)) {
    throw new Error(`sample: topK is ${topK}, but must be 0 or more`);
  }
  if (!(topP > 0 && topP <= 1)) throw new Error(`sample: topP is ${topP}, but must be above 0 and at most 1`);
  if (samples.size !== B || (positions && positions.size !== B)) {
    throw new Error(
      `sample: ${samples.size} samples and ${positions?.size ?? B} positions for ${B} rows of ${hidden.name}`,
    );
  }
  const { seed, stage = 0, step, position = 0 } = options;
  for (const [name, word] of Object.entries({ seed, stage, step, position })) {
    if (word !== word >>> 0) {
      throw new Error(`sample: ${name} is ${word}, but must be a whole number below 2^32`);
    }
  }
  const truncates = !greedy && (topK > 0 || topP < 1);
  const { live, chunk, tiles, elements } = walk(hidden, head, {
    temperature,
    vocabulary,
    scratchBytes,
    wholeRows: truncates,
  });
  const draw = { positioned: positions ? 1 : 0, position, step, seed, stage };
  // The truncated kernel goes over a row some 70 times: on llvmpipe a lane must not have much of a long one.
  const long = truncates && live / 8 * 70 > mostIterations;
  const lanes = gpu.facts.software && !long ? 8 : 256;
  const token = gpu.empty([B], "sample.token", "u32");
  const logprob = gpu.empty([B], "sample.logprob");
  const tile = gpu.hold([elements], "sample.tile");
  const state = gpu.hold([B, 4], "sample.state");
  const bound = { tile, samples, positions: positions ?? samples, token, logprob };
  for (let firstRow = 0; firstRow < B; firstRow += chunk) {
    const rows = Math.min(chunk, B - firstRow);
    if (truncates) {
      for (const at of tiles) {
        fillTile(gpu, hidden, head, tile, {
          firstRow,
          rows,
          at,
          temperature,
          stride: live,
          offset: at.firstId,
        });
      }
      const scalars = { rows, V: live, firstRow, topK, topP, ...draw };
      gpu.run(truncated, bound, scalars, rowGrid(rows), { lanes });
      continue;
    }
    tiles.forEach((at, n) => {
      fillTile(gpu, hidden, head, tile, { firstRow, rows, at, temperature });
      const scalars = {
        rows,
        columns: at.columns,
        firstRow,
        firstId: at.firstId,
        begin: n === 0 ? 1 : 0,
        last: n === tiles.length - 1 ? 1 : 0,
        greedy: greedy ? 1 : 0,
        ...draw,
      };
      gpu.run(plain, { ...bound, state }, scalars, rowGrid(rows), { lanes });
    });
  }
  gpu.release(tile);
  gpu.release(state);
  return { token, logprob };
}

/**
 * The same on the host, in f64, for one row of logits that are divided by the temperature already.
 * @returns the token, its logprob, the ids that topK and topP kept (ranked), and by how much the winner beat the runner-up: a
 * difference in rounding can only change the token where this margin is small
 */
export function sampleReference(
  z: ArrayLike<number>,
  { greedy = false, topK = 0, topP = 1, vocabulary = z.length }: SampleRule,
  key: RandomKey,
  at: { sample: number; position: number },
): { token: number; logprob: number; kept: number[]; margin: number } {
  const live = Array.from({ length: vocabulary }, (_, id) => id);
  const top = Math.max(...live.map((id) => z[id]));
  const mass = live.map((id) => Math.exp(z[id] - top));
  const whole = mass.reduce((sum, m) => sum + m, 0);
  let kept = live.sort((a, b) => z[b] - z[a] || a - b);
  if (!greedy && topK > 0) kept = kept.slice(0, topK);
  if (!greedy && topP < 1) {
    const goal = topP * kept.reduce((sum, id) => sum + mass[id], 0);
    let reached = 0;
    kept = kept.filter((id) => {
      const wanted = reached < goal;
      reached += mass[id];
      return wanted;
    });
  }
  const value = (id: number) => z[id] + (greedy ? 0 : gumbel(tokenBits(key, at.sample, at.position, id)));
  const order = [...kept].map((id) => ({ id, value: value(id) })).sort((a, b) =>
    b.value - a.value || a.id - b.id
  );
  const token = order[0].id;
  return {
    token,
    logprob: z[token] - top - Math.log(whole),
    kept,
    margin: order.length > 1 ? order[0].value - order[1].value : Infinity,
  };
}
