/**
 * Keys and values of the tokens so far, one cache a layer, and attention of one new token a sequence over it. Lengths are read
 * on the device, so a whole rollout can be submitted without the host looking at it.
 */
import decodeSource from "./attention_decode.wgsl" with { type: "text" };
import decodeSoftwareSource from "./attention_decode_software.wgsl" with { type: "text" };
import storeSource from "./key_value_cache_store.wgsl" with { type: "text" };
import { type AttentionShape, checkShape } from "./attention.ts";
import { elementwise, type Gpu } from "./gpu.ts";
import { type Kernel, kernel } from "./kernel.ts";
import type { Packing } from "./packing.ts";
import type { Tensor } from "./tensor.ts";
import { unroll } from "./unroll.ts";

const store = kernel("key_value_cache_store", storeSource);
const decode = kernel("attention_decode", decodeSource);
const decodeSoftware = new Map<string, Kernel>();

/** The largest head whose query and output a lane of the software variant holds in registers. */
const softwareHeadDim = 32;

/** The software variant for heads of 4·hd4, some to an invocation: constants of the language, that size its arrays exactly. */
function softwareDecode(hd4: number, heads: number): Kernel {
  const key = `${hd4} ${heads}`;
  let found = decodeSoftware.get(key);
  if (!found) {
    const constants = `const hd4 = ${hd4}u;\nconst heads = ${heads}u;\n`;
    found = kernel("attention_decode_software", constants + unroll(decodeSoftwareSource, { heads }));
    decodeSoftware.set(key, found);
  }
  return found;
}

/** Query heads that use a key while it is loaded: two if two share it and their sums and queries are not too many for a lane. */
function headsTogether({ queryHeads, keyValueHeads, headDim }: AttentionShape): number {
  return queryHeads / keyValueHeads % 2 === 0 && headDim <= 16 ? 2 : 1;
}

/** The cache of one layer. */
export interface KeyValueCache {
  /** f32 [B, capacity, Hkv·hd] */
  keys: Tensor;
  /** f32 [B, capacity, Hkv·hd] */
  values: Tensor;
  /** B */
  sequences: number;
  /** Tokens that a sequence may have. */
  capacity: number;
}

/**
 * A cache for one layer, of pooled tensors that no scope frees; {@link releaseKeyValueCache} does. Contents are undefined.
 * @throws if one of its two tensors is more than the adapter can bind
 */
export function keyValueCache(
  gpu: Gpu,
  sequences: number,
  capacity: number,
  { keyValueHeads, headDim }: AttentionShape,
): KeyValueCache {
  const shape = [sequences, capacity, keyValueHeads * headDim];
  return {
    keys: gpu.hold(shape, "cache.keys"),
    values: gpu.hold(shape, "cache.values"),
    sequences,
    capacity,
  };
}

export function releaseKeyValueCache(gpu: Gpu, { keys, values }: KeyValueCache): void {
  gpu.release(keys);
  gpu.release(values);
}

/**
 * Stores the keys and values of packed prompts at the places their tokens have in their sequences.
 * @param qkv [T, (Hq + 2·Hkv)·hd], rotated
 * @param firstSequence the cache's row for the packing's first sequence
 * @throws if the packing does not fit the cache
 */
export function storePrompt(
  gpu: Gpu,
  qkv: Tensor,
  cache: KeyValueCache,
  packing: Packing,
  shape: AttentionShape,
  firstSequence = 0,
): void {
  const { lengths } = packing.host;
  if (firstSequence + lengths.length > cache.sequences) {
    throw new Error(
      `${lengths.length} prompts from row ${firstSequence} do not fit a cache of ${cache.sequences} sequences`,
    );
  }
  const longest = lengths.reduce((a, b) => Math.max(a, b));
  if (longest > cache.capacity) {
    throw new Error(`a prompt of ${longest} tokens does not fit a cache of ${cache.capacity}`);
  }
  if (packing.tokens !== qkv.shape[0]) {
    throw new Error(`a packing of ${packing.tokens} tokens for ${qkv.shape[0]} rows`);
  }
  storeKeysValues(gpu, qkv, cache, shape, {
    sequences: packing.sequences,
    places: packing.positions,
    firstSequence,
    stepping: 0,
  });
}

/**
 * Stores the keys and values of one new token a sequence.
 * @param qkv [B, (Hq + 2·Hkv)·hd], rotated
 * @param lengths u32 [B]: tokens of each sequence with the new one. A length of 0, or above the capacity, stores nothing
 */
export function storeStep(
  gpu: Gpu,
  qkv: Tensor,
  cache: KeyValueCache,
  lengths: Tensor,
  shape: AttentionShape,
): void {
  checkStep("storeStep", qkv, cache, lengths);
  storeKeysValues(gpu, qkv, cache, shape, {
    sequences: lengths,
    places: lengths,
    firstSequence: 0,
    stepping: 1,
  });
}

function storeKeysValues(
  gpu: Gpu,
  qkv: Tensor,
  { keys, values, capacity }: KeyValueCache,
  shape: AttentionShape,
  { sequences, places, firstSequence, stepping }: {
    sequences: Tensor;
    places: Tensor;
    firstSequence: number;
    stepping: 0 | 1;
  },
): void {
  checkShape("key-value cache", qkv, shape);
  const { queryHeads: Hq, keyValueHeads: Hkv, headDim } = shape;
  const width4 = Hkv * headDim / 4, units = qkv.shape[0] * width4;
  gpu.run(store, { qkv, sequences, places, keys, values }, {
    units,
    stride4: qkv.shape[1] / 4,
    key4: Hq * headDim / 4,
    width4,
    capacity,
    firstSequence,
    stepping,
  }, elementwise(units));
}

/**
 * One query a sequence over the cache, whose newest row is the query's own token.
 * @param qkv [B, (Hq + 2·Hkv)·hd], rotated, and already stored by {@link storeStep}
 * @param lengths u32 [B]: valid rows of the cache, the new one included. A sequence of length 0 gives zeros
 * @returns [B, Hq·hd]
 */
export function attentionDecode(
  gpu: Gpu,
  qkv: Tensor,
  cache: KeyValueCache,
  lengths: Tensor,
  shape: AttentionShape,
): Tensor {
  checkShape("attentionDecode", qkv, shape);
  checkStep("attentionDecode", qkv, cache, lengths);
  const { queryHeads: Hq, keyValueHeads: Hkv, headDim } = shape;
  const B = qkv.shape[0];
  const o = gpu.empty([B, Hq * headDim], "attentionDecode");
  const bindings = { qkv, keys: cache.keys, values: cache.values, lengths, o };
  const scalars = { Hq, Hkv, capacity: cache.capacity, scale: 1 / Math.sqrt(headDim) };
  if (gpu.facts.software && headDim <= softwareHeadDim) {
    const heads = headsTogether(shape);
    const groups = Math.ceil(B * Hq / heads / 8), x = Math.min(groups, 32768);
    gpu.run(softwareDecode(headDim / 4, heads), bindings, { ...scalars, B }, [x, Math.ceil(groups / x)]);
  } else {
    gpu.run(decode, bindings, { ...scalars, hd4: headDim / 4 }, [B, Hq]);
  }
  return o;
}

function checkStep(op: string, qkv: Tensor, cache: KeyValueCache, lengths: Tensor): void {
  const B = qkv.shape[0];
  if (B > cache.sequences || lengths.size !== B) {
    throw new Error(
      `${op}: ${B} rows, ${lengths.size} lengths and a cache of ${cache.sequences} sequences do not go together`,
    );
  }
}
