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
  /** For each set of attention kernels that may run on the batch here. */
  tiles: Partial<Record<AttentionVariant, Tiles>>;
}

/** u32 [tiles, 4] each: first row and end row of the sequence, first row of the tile, 0. Most work first. */
export interface Tiles {
  queries: Tensor;
  keys: Tensor;
}

/** How attention cuts a batch: one workgroup owns so many queries, or keys, of one sequence. */
export const tileRows = {
  gpu: { queries: 64, keys: 64 },
  software: { queries: 16, keys: 32 },
};

export type AttentionVariant = keyof typeof tileRows;

/**
 * Describes a batch of sequences laid end to end.
 * @param lengths tokens of each sequence; every one must be a positive integer
 * @throws if there is no sequence or one is empty
 */
export function packSequences(lengths: readonly number[]): PackedBatch {
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
  return { lengths, tokens, starts, positions, sequences };
}

/**
 * Tiles [tiles, 4] of every sequence of a batch, those with most work first, so that no long one starts when all others are done.
 * A causal tile of queries meets the keys before its end; a tile of keys meets the queries from its start.
 */
export function tilesOf(starts: Uint32Array, rows: number, of: "queries" | "keys"): Uint32Array<ArrayBuffer> {
  const tiles: [number, number, number, number][] = [];
  for (let b = 0; b + 1 < starts.length; b++) {
    for (let row = starts[b]; row < starts[b + 1]; row += rows) {
      tiles.push([starts[b], starts[b + 1], row, 0]);
    }
  }
  const work = ([first, end, row]: (typeof tiles)[number]) =>
    of === "queries" ? Math.min(end, row + rows) - first : end - row;
  tiles.sort((a, b) => work(b) - work(a));
  return Uint32Array.from(tiles.flat());
}

/**
 * The variants that a device gets unless told otherwise. The software kernels are for Deno's own WebGPU only: through Dawn, lavapipe
 * (Mesa 26, empty shader cache) did not finish a test of them in 45 s even with heads of 16. They do not serve every size of head, so the
 * others stand by.
 */
function usualVariants({ facts }: Gpu): readonly AttentionVariant[] {
  return facts.software && facts.runtime === "native" ? ["software", "gpu"] : ["gpu"];
}

/** Sends a packed batch to the device, into tensors of the current scope, cut for the attention that suits the device. */
export function uploadPacking(
  gpu: Gpu,
  batch: PackedBatch,
  variants: readonly AttentionVariant[] = usualVariants(gpu),
): Packing {
  const upload = (of: keyof Tiles, rows: number) => {
    const tiles = tilesOf(batch.starts, rows, of);
    return gpu.from(tiles, [tiles.length / 4, 4], `packing.${of}`);
  };
  const tilesFor = (variant: AttentionVariant): Tiles => ({
    queries: upload("queries", tileRows[variant].queries),
    keys: upload("keys", tileRows[variant].keys),
  });
  return {
    tokens: batch.tokens,
    host: batch,
    starts: gpu.from(batch.starts, [batch.starts.length], "packing.starts"),
    positions: gpu.from(batch.positions, [batch.tokens], "packing.positions"),
    sequences: gpu.from(batch.sequences, [batch.tokens], "packing.sequences"),
    tiles: Object.fromEntries(variants.map((variant) => [variant, tilesFor(variant)])),
  };
}
