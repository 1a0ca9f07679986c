/**
 * Packed batches: the tokens of several sequences laid end to end, without padding.
 *
 * Everything that is done token by token (matmuls, norms) runs over T packed rows and need not know where sequences begin. What
 * does need to know reads it from here: rotary embeddings read `positions`, attention reads tiles, the cache reads `sequences`.
 */
import type { Gpu } from "./gpu.ts";
import type { Tensor } from "./tensor.ts";

/** A packed batch as the host sees it. */
export interface PackedBatch {
  /** Length of each sequence, B numbers. */
  lengths: readonly number[];
  /** Tokens in all, T. */
  tokens: number;
  /** u32 [B + 1]: the first row of each sequence, then T. */
  starts: Uint32Array<ArrayBuffer>;
  /** u32 [T]: 0 at the first token of each sequence. */
  positions: Uint32Array<ArrayBuffer>;
  /** u32 [T]: the sequence of each token. */
  sequences: Uint32Array<ArrayBuffer>;
  /** u32 [tiles, 4]: first row of the sequence, end row of the sequence, first row of the tile, 0. Most work first. */
  queryTiles: Uint32Array<ArrayBuffer>;
  /** The same for tiles of keys. */
  keyTiles: Uint32Array<ArrayBuffer>;
  queryTileRows: number;
  keyTileRows: number;
}

/** A packed batch on the device. The tensors belong to the scope it was uploaded in. */
export interface Packing {
  /** Tokens in all, T. */
  tokens: number;
  host: PackedBatch;
  /** u32 [B + 1] */
  starts: Tensor;
  /** u32 [T] */
  positions: Tensor;
  /** u32 [T] */
  sequences: Tensor;
  /** u32 [tiles, 4] */
  queryTiles: Tensor;
  /** u32 [tiles, 4] */
  keyTiles: Tensor;
}

/** Rows of a tile where nothing else is asked for: one workgroup of attention owns so many queries, or keys. */
export const defaultTileRows = 32;

/**
 * Describes a batch of sequences laid end to end.
 * @param lengths tokens of each sequence; every one must be a positive integer
 * @param options rows of a tile of attention, for queries and for keys
 * @throws if there is no sequence or one is empty
 */
export function packSequences(
  lengths: readonly number[],
  { queryTileRows = defaultTileRows, keyTileRows = defaultTileRows }: {
    queryTileRows?: number;
    keyTileRows?: number;
  } = {},
): PackedBatch {
  if (lengths.length === 0) throw new Error("a packed batch needs at least one sequence");
  lengths.forEach((length, b) => {
    if (!Number.isInteger(length) || length < 1) {
      throw new Error(`sequence ${b} of a packed batch has ${length} tokens: leave empty sequences out`);
    }
  });
  const starts = new Uint32Array(lengths.length + 1);
  lengths.forEach((length, b) => starts[b + 1] = starts[b] + length);
  const tokens = starts[lengths.length];
  const positions = new Uint32Array(tokens), sequences = new Uint32Array(tokens);
  lengths.forEach((length, b) => {
    for (let i = 0; i < length; i++) positions[starts[b] + i] = i;
    sequences.fill(b, starts[b], starts[b + 1]);
  });
  // A causal query tile meets the keys before its end; a key tile meets the queries from its start.
  const queryTiles = tilesOf(
    starts,
    queryTileRows,
    (first, end, row) => Math.min(end, row + queryTileRows) - first,
  );
  const keyTiles = tilesOf(starts, keyTileRows, (_, end, row) => end - row);
  return {
    lengths,
    tokens,
    starts,
    positions,
    sequences,
    queryTiles,
    keyTiles,
    queryTileRows,
    keyTileRows,
  };
}

/** Tiles of every sequence, the longest work first, so that no long one starts when all others are done. */
function tilesOf(
  starts: Uint32Array,
  rows: number,
  work: (first: number, end: number, row: number) => number,
): Uint32Array<ArrayBuffer> {
  const tiles: [number, number, number, number][] = [];
  for (let b = 0; b + 1 < starts.length; b++) {
    for (let row = starts[b]; row < starts[b + 1]; row += rows) {
      tiles.push([starts[b], starts[b + 1], row, 0]);
    }
  }
  tiles.sort((a, b) => work(b[0], b[1], b[2]) - work(a[0], a[1], a[2]));
  return Uint32Array.from(tiles.flat());
}

/** Sends a packed batch to the device, into tensors of the current scope. */
export function uploadPacking(gpu: Gpu, batch: PackedBatch): Packing {
  return {
    tokens: batch.tokens,
    host: batch,
    starts: gpu.from(batch.starts, [batch.starts.length], "packing.starts"),
    positions: gpu.from(batch.positions, [batch.tokens], "packing.positions"),
    sequences: gpu.from(batch.sequences, [batch.tokens], "packing.sequences"),
    queryTiles: gpu.from(batch.queryTiles, [batch.queryTiles.length / 4, 4], "packing.queryTiles"),
    keyTiles: gpu.from(batch.keyTiles, [batch.keyTiles.length / 4, 4], "packing.keyTiles"),
  };
}
