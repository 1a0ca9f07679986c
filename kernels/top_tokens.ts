/** Which tokens a hidden state makes likeliest, and how far up others are, without ever storing rows × vocabulary. */
import ranksSource from "./token_ranks.wgsl" with { type: "text" };
import topSource from "./top_tokens.wgsl" with { type: "text" };
import type { RowRanges } from "./embedding.ts";
import { mostIterations } from "./device.ts";
import type { Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import { defaultScratchBytes, fillTile, paddedColumns, type VocabularyTile, walk } from "./logprob_tiles.ts";
import { rowGrid } from "./reduce.ts";
import type { Tensor } from "./tensor.ts";

const topKernel = kernel("top_tokens", topSource);
const ranksKernel = kernel("token_ranks", ranksSource);

/** Tokens of a list, at most: each lane keeps one of that length. */
export const mostTokens = 16;

/** What {@link topTokens} gives as the id where the vocabulary has fewer tokens. */
export const noToken = 0xffffffff;

export interface TokenOptions {
  /** Ids at or above it do not exist. Default: all rows of the head. */
  vocabulary?: number;
  /** Bytes of logits that may exist at once. Default 32 MiB. */
  scratchBytes?: number;
}

/**
 * The k tokens with the largest logits hidden·headᵀ of each row, best first, equal ones by id.
 * @param hidden [R, D]
 * @param head [V, D] in row ranges
 * @param k at most 16
 * @returns ids u32 [R, k] and their logits f32 [R, k]
 */
export function topTokens(
  gpu: Gpu,
  hidden: Tensor,
  head: RowRanges,
  k: number,
  options: TokenOptions = {},
): { ids: Tensor; logits: Tensor } {
  checkCount("topTokens", k);
  const R = hidden.shape[0];
  const ids = gpu.empty([R, k], "top_tokens", "u32"), logits = gpu.empty([R, k], "top_tokens.logits");
  overTiles(gpu, hidden, head, options, (tile, shape, begin, lanes) => {
    gpu.run(topKernel, { tile, ids, logits }, { ...shape, begin, k }, rowGrid(shape.rows), { lanes });
  });
  return { ids, logits };
}

/**
 * Where some tokens of each row stand among all.
 * @param hidden [R, D]
 * @param head [V, D] in row ranges
 * @param wanted u32 [R, K] ids of the vocabulary, K at most 16
 * @returns ranks u32 [R, K], from 0, equal logits by id, and the logits f32 [R, K]
 */
export function tokenRanks(
  gpu: Gpu,
  hidden: Tensor,
  head: RowRanges,
  wanted: Tensor,
  options: TokenOptions = {},
): { ranks: Tensor; logits: Tensor } {
  const [R, K] = wanted.shape;
  checkCount("tokenRanks", K);
  const ranks = gpu.empty([R, K], "token_ranks", "u32"), logits = gpu.empty([R, K], "token_ranks.logits");
  const pass = (counting: 0 | 1) =>
    overTiles(gpu, hidden, head, options, (tile, shape, begin, lanes) => {
      const scalars = { ...shape, begin, counting, K };
      gpu.run(ranksKernel, { tile, wanted, logits, ranks }, scalars, rowGrid(shape.rows), { lanes });
    });
  pass(0);
  pass(1);
  return { ranks, logits };
}

function checkCount(op: string, count: number): void {
  if (!(Number.isInteger(count) && count >= 1 && count <= mostTokens)) {
    throw new Error(`${op}: ${count} tokens a row are asked for, but a row can have 1 to ${mostTokens}`);
  }
}

/** What the kernels here are told of a tile, or of some columns of one. */
interface TileShape {
  rows: number;
  column: number;
  columns: number;
  stride: number;
  firstRow: number;
  firstId: number;
}

function overTiles(
  gpu: Gpu,
  hidden: Tensor,
  head: RowRanges,
  { vocabulary, scratchBytes = defaultScratchBytes }: TokenOptions,
  use: (tile: Tensor, shape: TileShape, begin: 0 | 1, lanes: number) => void,
): void {
  const { chunk, tiles, elements } = walk(hidden, head, { temperature: 1, vocabulary, scratchBytes });
  const R = hidden.shape[0], lanes = gpu.facts.software ? 8 : 64;
  const tile = gpu.hold([elements], "top_tokens.tile");
  // A lane goes round for each of its columns up to 16 times: for every token that is asked about, or that a better one pushes down.
  const most = lanes * Math.floor(mostIterations / (mostTokens + 2));
  for (let firstRow = 0; firstRow < R; firstRow += chunk) {
    const rows = Math.min(chunk, R - firstRow);
    tiles.forEach((at: VocabularyTile, n) => {
      const stride = paddedColumns(at);
      fillTile(gpu, hidden, head, tile, { firstRow, rows, at, temperature: 1, stride });
      for (let column = 0; column < at.columns; column += most) {
        const columns = Math.min(most, at.columns - column), firstId = at.firstId + column;
        use(
          tile,
          { rows, column, columns, stride, firstRow, firstId },
          n === 0 && column === 0 ? 1 : 0,
          lanes,
        );
      }
    });
  }
  gpu.release(tile);
}

/** A row's tokens by their logits, best first, on the host: where a token stands in it is its rank. */
export function tokenOrder(logits: ArrayLike<number>): number[] {
  const ids = Array.from(logits, (_, id) => id).filter((id) => !Number.isNaN(logits[id]));
  return ids.sort((a, b) => logits[b] - logits[a] || a - b);
}
