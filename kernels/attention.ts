/** Causal grouped-query attention over packed sequences, without ever storing the scores (FlashAttention-2, arXiv 2307.08691). */
import forwardSource from "./attention.wgsl" with { type: "text" };
import keyValueGradSource from "./attention_key_value_grad.wgsl" with { type: "text" };
import keyValueGradSoftwareSource from "./attention_key_value_grad_software.wgsl" with { type: "text" };
import queryGradSource from "./attention_query_grad.wgsl" with { type: "text" };
import queryGradSoftwareSource from "./attention_query_grad_software.wgsl" with { type: "text" };
import forwardSoftwareSource from "./attention_software.wgsl" with { type: "text" };
import type { Gpu } from "./gpu.ts";
import { type Kernel, kernel } from "./kernel.ts";
import { type AttentionVariant, type Packing, tileRows } from "./packing.ts";
import { gradientTarget, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";
import { unroll } from "./unroll.ts";

/** The three sources of a variant. `software` is for devices whose arithmetic is a CPU's. */
const sources: Record<AttentionVariant, Record<"forward" | "queryGrad" | "keyValueGrad", string>> = {
  gpu: { forward: forwardSource, queryGrad: queryGradSource, keyValueGrad: keyValueGradSource },
  software: {
    forward: forwardSoftwareSource,
    queryGrad: queryGradSoftwareSource,
    keyValueGrad: keyValueGradSoftwareSource,
  },
};

/** The software kernels hold four rows a lane; with heads of 64, Mesa 22.3 did not compile them within a minute. */
const softwareHeadDim = 32;

const kernels = new Map<string, { forward: Kernel; queryGrad: Kernel; keyValueGrad: Kernel }>();

/** The kernels of a variant for heads of 4·hd4: the size is a constant of the language, which sizes arrays and register blocks exactly. */
function kernelsFor(variant: AttentionVariant, hd4: number) {
  const key = `${variant} ${hd4}`;
  let found = kernels.get(key);
  if (!found) {
    const { forward, queryGrad, keyValueGrad } = sources[variant];
    const sized = (source: string) =>
      `const hd4 = ${hd4}u;\n` + unroll(source, { columns: Math.ceil(hd4 / 8) });
    const suffix = variant === "gpu" ? "" : "_software";
    kernels.set(
      key,
      found = {
        forward: kernel(`attention${suffix}`, sized(forward)),
        queryGrad: kernel(`attention_query_grad${suffix}`, sized(queryGrad)),
        keyValueGrad: kernel(`attention_key_value_grad${suffix}`, sized(keyValueGrad)),
      },
    );
  }
  return found;
}

export interface AttentionShape {
  /** Hq */
  queryHeads: number;
  /** Hkv; Hq must be a multiple of it. */
  keyValueHeads: number;
  /** hd, a multiple of 4 and at most 128 */
  headDim: number;
}

/**
 * Every token attends to itself and the tokens before it in its own sequence, with scores scaled by 1 / √hd.
 * @param qkv [T, (Hq + 2·Hkv)·hd]: heads of q, then of k, then of v; query head h reads key head ⌊h·Hkv / Hq⌋
 * @returns [T, Hq·hd]
 * @throws if the shapes disagree
 */
export function attention(gpu: Gpu, qkv: Tensor, packing: Packing, shape: AttentionShape): Tensor {
  return attentionWithNormaliser(gpu, qkv, packing, shape).o;
}

/** {@link attention}, and lse [T, Hq], the logarithm of each softmax's denominator, which a tape frees when it is done. */
export function attentionWithNormaliser(
  gpu: Gpu,
  qkv: Tensor,
  packing: Packing,
  shape: AttentionShape,
): { o: Tensor; lse: Tensor } {
  checkShape("attention", qkv, shape);
  const { queryHeads: Hq, keyValueHeads: Hkv, headDim } = shape;
  const T = qkv.shape[0];
  if (packing.tokens !== T) throw new Error(`attention: a packing of ${packing.tokens} tokens for ${T} rows`);
  const variant = packing.tiles.software && headDim <= softwareHeadDim ? "software" : "gpu";
  const tiles = packing.tiles[variant];
  if (!tiles) throw new Error(`attention: the packing has no tiles for heads of ${headDim}`);
  const { forward, queryGrad, keyValueGrad } = kernelsFor(variant, headDim / 4);
  const scale = 1 / Math.sqrt(headDim), sharers = Hq / Hkv;
  const quads = tileRows.software.queries / 4;
  const [queryHeadGroups, queryConstants, keyConstants] = variant === "gpu"
    ? [Hq, undefined, undefined]
    : [Hkv, { sharers, quads, invocations: sharers * quads }, { quads: tileRows.software.keys / 4 }];
  const o = gpu.empty([T, Hq * headDim], "attention");
  const lse = gpu.empty([T, Hq], "attention.lse");
  gpu.run(
    forward,
    { qkv, tiles: tiles.queries, o, lse },
    { Hq, Hkv, scale },
    [tiles.queries.shape[0], queryHeadGroups],
    queryConstants,
  );
  if (!gpu.tape || !qkv.requiresGrad) return { o, lse };
  record(gpu, "attention", [qkv], [o], ([dy]) => {
    const gradient = dy && gradientTarget(gpu, qkv);
    if (!gradient) return;
    const { into: dqkv, accumulate } = gradient;
    const delta = gpu.hold([T, Hq], "attention.delta");
    gpu.run(
      queryGrad,
      { qkv, tiles: tiles.queries, o, dy, lse, delta, dqkv },
      { Hq, Hkv, scale, accumulate },
      [tiles.queries.shape[0], queryHeadGroups],
      queryConstants,
    );
    gpu.run(
      keyValueGrad,
      { qkv, tiles: tiles.keys, dy, lse, delta, dqkv },
      { Hq, Hkv, scale, accumulate },
      [tiles.keys.shape[0], Hkv],
      keyConstants,
    );
    gpu.release(delta);
  }, [lse]);
  return { o, lse };
}

/** @throws if rows of `qkv` do not hold the heads of `shape`, or no kernel serves them. */
export function checkShape(
  op: string,
  qkv: Tensor,
  { queryHeads, keyValueHeads, headDim }: AttentionShape,
): void {
  if (headDim % 4 !== 0 || headDim < 4 || headDim > 128) {
    throw new Error(`${op}: the head dimension must be a multiple of 4 up to 128, not ${headDim}`);
  }
  if (queryHeads % keyValueHeads !== 0) {
    throw new Error(`${op}: ${queryHeads} query heads cannot share ${keyValueHeads} key heads evenly`);
  }
  const width = (queryHeads + 2 * keyValueHeads) * headDim;
  if (qkv.shape.length !== 2 || qkv.shape[1] !== width) {
    throw new Error(
      `${op}: qkv is [${qkv.shape}], but ${queryHeads} + 2 · ${keyValueHeads} heads of ${headDim} make rows of ${width}`,
    );
  }
}

/** The same in f64 on the host with its gradient, pair by pair. */
export function attentionReference(
  qkv: ArrayLike<number>,
  lengths: readonly number[],
  { queryHeads: Hq, keyValueHeads: Hkv, headDim }: AttentionShape,
  dy?: ArrayLike<number>,
): { o: Float64Array; lse: Float64Array; dqkv: Float64Array } {
  const width = (Hq + 2 * Hkv) * headDim, T = qkv.length / width, scale = 1 / Math.sqrt(headDim);
  const o = new Float64Array(T * Hq * headDim), lse = new Float64Array(T * Hq);
  const dqkv = new Float64Array(T * width);
  let start = 0;
  for (const length of lengths) {
    for (let t = start; t < start + length; t++) {
      for (let h = 0; h < Hq; h++) {
        const g = Math.floor(h / (Hq / Hkv));
        const q = t * width + h * headDim, y = (t * Hq + h) * headDim;
        const k = (j: number) => j * width + (Hq + g) * headDim;
        const v = (j: number) => j * width + (Hq + Hkv + g) * headDim;
        const p = new Float64Array(t - start + 1);
        for (let j = start; j <= t; j++) {
          for (let d = 0; d < headDim; d++) p[j - start] += scale * qkv[q + d] * qkv[k(j) + d];
        }
        const highest = p.reduce((a, b) => Math.max(a, b));
        const denominator = p.reduce((sum, s) => sum + Math.exp(s - highest), 0);
        lse[t * Hq + h] = highest + Math.log(denominator);
        for (let j = start; j <= t; j++) {
          p[j - start] = Math.exp(p[j - start] - lse[t * Hq + h]);
          for (let d = 0; d < headDim; d++) o[y + d] += p[j - start] * qkv[v(j) + d];
        }
        if (!dy) continue;
        let delta = 0;
        for (let d = 0; d < headDim; d++) delta += dy[y + d] * o[y + d];
        for (let j = start; j <= t; j++) {
          let dp = 0;
          for (let d = 0; d < headDim; d++) {
            dp += dy[y + d] * qkv[v(j) + d];
            dqkv[v(j) + d] += p[j - start] * dy[y + d];
          }
          const ds = p[j - start] * (dp - delta) * scale;
          for (let d = 0; d < headDim; d++) {
            dqkv[q + d] += ds * qkv[k(j) + d];
            dqkv[k(j) + d] += ds * qkv[q + d];
          }
        }
      }
    }
    start += length;
  }
  return { o, lse, dqkv };
}
