/** How rows × vocabulary is walked without being stored: tiles of a bounded scratch, each filled by one matrix product. */
import { rangesShape, type RowRanges } from "./embedding.ts";
import type { Gpu } from "./gpu.ts";
import { gemm } from "./matmul.ts";
import type { Tensor } from "./tensor.ts";

/** Bytes of the scratch that holds one tile of logits, where nothing else is asked for. */
export const defaultScratchBytes = 32 << 20;

/** Rows of a tile at most: enough to keep a matrix product busy, few enough that tiles are wide. */
const tileRows = 2048;

/** Tiles start at multiples of this many ids of their range, so that matrix products may read aligned. */
const columnStep = 64;

/** Columns [firstId, firstId + columns) of the logits, from one row range of the head. */
export interface VocabularyTile {
  range: number;
  /** The row of the range at which the tile starts. */
  rangeRow: number;
  firstId: number;
  columns: number;
}

/** The length of a tile's rows where they are read four numbers at a time. */
export function paddedColumns(tile: VocabularyTile): number {
  return Math.ceil(tile.columns / 4) * 4;
}

export interface Walk {
  /** Ids that exist. */
  live: number;
  /** Rows that are taken together; the last chunk may be shorter. */
  chunk: number;
  /** In rising order of ids; they end at the last live id. */
  tiles: VocabularyTile[];
  /** Elements of the largest tile. */
  elements: number;
}

export interface WalkOptions {
  /** τ > 0. */
  temperature: number;
  /** Ids at or above it are never visited, which is what masks them. Default V. */
  vocabulary: number | undefined;
  /** Bytes of the largest tile. */
  scratchBytes: number;
  /** Whether a chunk keeps the logits of all its rows at once, so that chunks are shorter instead of tiles narrower. */
  wholeRows?: boolean;
}

/**
 * Cuts the logits hidden [R, D] · headᵀ [D, vocabulary] into tiles.
 * @throws if the shapes do not meet, or temperature or vocabulary are out of range
 */
export function walk(hidden: Tensor, head: RowRanges, options: WalkOptions): Walk {
  const { temperature, scratchBytes, wholeRows } = options;
  const [R, D] = hidden.shape;
  const [V, headD] = rangesShape(head);
  if (D !== headD) {
    throw new Error(`${hidden.name} has rows of ${D}, but the head ${head[0].name} of ${headD}`);
  }
  if (!(temperature > 0)) throw new Error(`the temperature is ${temperature}, but must be above 0`);
  const live = options.vocabulary ?? V;
  if (!(Number.isInteger(live) && live >= 1 && live <= V)) {
    throw new Error(`the vocabulary is ${live}, but the head ${head[0].name} has ${V} rows`);
  }
  const elements = Math.max(1, Math.floor(scratchBytes / 4));
  let chunk = Math.min(R, tileRows);
  const narrowest = wholeRows ? live : Math.min(columnStep, live);
  if (elements < chunk * narrowest) chunk = Math.max(1, Math.floor(elements / narrowest));
  let width = wholeRows ? live : Math.min(live, Math.max(1, Math.floor(elements / chunk)));
  if (width < live && width > columnStep) width -= width % columnStep;
  const tiles: VocabularyTile[] = [];
  let start = 0;
  head.forEach((rows, range) => {
    const end = Math.min(live, start + rows.shape[0]);
    for (let firstId = start; firstId < end; firstId += width) {
      tiles.push({ range, rangeRow: firstId - start, firstId, columns: Math.min(width, end - firstId) });
    }
    start += rows.shape[0];
  });
  const widest = wholeRows ? live : tiles.reduce((most, tile) => Math.max(most, paddedColumns(tile)), 0);
  return { live, chunk, tiles, elements: chunk * widest };
}

/** tile = hidden[firstRow …]·headᵀ / temperature for the columns `at`, in rows of `stride` that start `offset` elements in. */
export function fillTile(
  gpu: Gpu,
  hidden: Tensor,
  head: RowRanges,
  tile: Tensor,
  { firstRow, rows, at, temperature, stride = at.columns, offset = 0 }: {
    firstRow: number;
    rows: number;
    at: VocabularyTile;
    temperature: number;
    stride?: number;
    offset?: number;
  },
): void {
  const D = hidden.shape[1];
  gemm(gpu, "NT", hidden, head[at.range], tile, {
    M: rows,
    N: at.columns,
    K: D,
    alpha: 1 / temperature,
    aOffset: firstRow * D,
    bOffset: at.rangeRow * D,
    outOffset: offset,
    outStride: stride,
  });
}
