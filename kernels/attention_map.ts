/** Attention as it is looked at: one head's probabilities in full, or all heads' of a layer shrunk. Never all of them in full. */
import mapSource from "./attention_map.wgsl" with { type: "text" };
import thumbnailsSource from "./attention_thumbnails.wgsl" with { type: "text" };
import { type AttentionShape, checkShape } from "./attention.ts";
import { mostIterations } from "./device.ts";
import type { Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import { rowGrid } from "./reduce.ts";
import type { Tensor } from "./tensor.ts";

const mapKernel = kernel("attention_map", mapSource);
const thumbnailsKernel = kernel("attention_thumbnails", thumbnailsSource);

/** Cells on a side of a thumbnail, at most. */
export const thumbnailEdge = 48;

/** Tokens [first, first + tokens) of a packed batch: one sequence, or the beginning of one. */
export interface SequenceRows {
  first: number;
  tokens: number;
}

/**
 * How much each token of a sequence attends to those up to it, by one query head.
 * @param qkv [T, (Hq + 2·Hkv)·hd], rotated
 * @returns [tokens, tokens], 0 above the diagonal
 */
export function attentionMap(
  gpu: Gpu,
  qkv: Tensor,
  shape: AttentionShape,
  { first, tokens: T }: SequenceRows,
  head: number,
): Tensor {
  checkShape("attentionMap", qkv, shape);
  const { queryHeads: Hq, keyValueHeads: Hkv, headDim } = shape;
  if (!(Number.isInteger(head) && head >= 0 && head < Hq)) {
    throw new Error(`attentionMap: there is no head ${head}; there are ${Hq}, from 0`);
  }
  const map = gpu.empty([T, T], "attention_map");
  const scalars = { T, first, head, Hq, Hkv, hd4: headDim / 4, scale: 1 / Math.sqrt(headDim) };
  gpu.run(mapKernel, { qkv, map }, scalars, rowGrid(T), { lanes: gpu.facts.software ? 8 : 64 });
  return map;
}

/**
 * Every head's map, max-pooled to at most 48 cells on a side; token t is in cell ⌊t·edge / tokens⌋.
 * @returns [Hq, edge, edge]
 */
export function attentionThumbnails(
  gpu: Gpu,
  qkv: Tensor,
  shape: AttentionShape,
  { first, tokens: T }: SequenceRows,
): Tensor {
  checkShape("attentionThumbnails", qkv, shape);
  const { queryHeads: Hq, keyValueHeads: Hkv, headDim } = shape;
  const edge = Math.min(thumbnailEdge, T);
  const thumbnails = gpu.empty([Hq, edge, edge], "attention_thumbnails");
  const scalars = { T, first, edge, Hq, Hkv, hd4: headDim / 4, scale: 1 / Math.sqrt(headDim) };
  // A lane goes round for every vec4 of every key of its cell, and for the reduction.
  const tokens = Math.ceil(T / edge);
  const take = Math.max(1, Math.floor(mostIterations / (tokens * (headDim / 4 + 1) + 7)));
  for (let skip = 0; skip < tokens; skip += take) {
    gpu.run(thumbnailsKernel, { qkv, thumbnails }, { ...scalars, skip, take }, [edge, Hq]);
  }
  return thumbnails;
}

/** One head's map in f64 on the host. */
export function attentionMapReference(
  qkv: ArrayLike<number>,
  { queryHeads: Hq, keyValueHeads: Hkv, headDim }: AttentionShape,
  { first, tokens: T }: SequenceRows,
  head: number,
): Float64Array {
  const width = (Hq + 2 * Hkv) * headDim, map = new Float64Array(T * T);
  const keyColumn = (Hq + Math.floor(head / (Hq / Hkv))) * headDim;
  for (let i = 0; i < T; i++) {
    const scores = Array.from({ length: i + 1 }, (_, j) => {
      let score = 0;
      for (let d = 0; d < headDim; d++) {
        score += qkv[(first + i) * width + head * headDim + d] * qkv[(first + j) * width + keyColumn + d];
      }
      return score / Math.sqrt(headDim);
    });
    const highest = Math.max(...scores);
    const sum = scores.reduce((total, score) => total + Math.exp(score - highest), 0);
    scores.forEach((score, j) => map[i * T + j] = Math.exp(score - highest) / sum);
  }
  return map;
}

/** A map [T, T] max-pooled on the host. */
export function thumbnailReference(map: ArrayLike<number>, T: number): Float64Array {
  const edge = Math.min(thumbnailEdge, T), thumbnail = new Float64Array(edge * edge);
  const cell = (token: number) => Math.floor(token * edge / T);
  for (let i = 0; i < T; i++) {
    for (let j = 0; j < T; j++) {
      const at = cell(i) * edge + cell(j);
      thumbnail[at] = Math.max(thumbnail[at], map[i * T + j]);
    }
  }
  return thumbnail;
}
