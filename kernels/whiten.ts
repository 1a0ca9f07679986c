/** Whitening over the live slots of a rollout: advantages (mean removed), or rewards (mean kept). */
import source from "./whiten.wgsl" with { type: "text" };
import type { Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import type { Tensor } from "./tensor.ts";

const forward = kernel("whiten", source);

export interface WhitenOptions {
  /** 0: slots t ≤ last, the policy's; 1: t ≤ last + 1, the critic's. Default 0. */
  beyond?: 0 | 1;
  /** Whether the result's mean is 0 (default) or that of `x`. */
  shiftMean?: boolean;
  /** Divide by n − 1, as TRL does, rather than by n, as the reference does. */
  unbiased?: boolean;
  /** Added to the variance. Default 1e-8. */
  eps?: number;
  /** Whiten every so many rows apart from the rest (the reference did so for each of its 8 devices). Default: all together. */
  rowsPerGroup?: number;
}

/**
 * @param x f32 [B, T]
 * @param last u32 [B]
 * @returns `whitened` f32 [B, T], 0 outside the mask, and `moments` f32 [G, 3]: count, mean, variance of each group of rows
 */
export function whiten(
  gpu: Gpu,
  x: Tensor,
  last: Tensor,
  options: WhitenOptions = {},
): { whitened: Tensor; moments: Tensor } {
  const [B, T] = x.shape;
  const { beyond = 0, shiftMean = true, unbiased = false, eps = 1e-8, rowsPerGroup = B } = options;
  const groups = Math.ceil(B / rowsPerGroup);
  const whitened = gpu.empty([B, T], "whitened"), moments = gpu.empty([groups, 3], "whiten.moments");
  const params = {
    B,
    T,
    rows: rowsPerGroup,
    beyond,
    unbiased: Number(unbiased),
    keepMean: Number(!shiftMean),
    eps,
  };
  gpu.run(forward, { x, last, y: whitened, moments }, params, [groups]);
  return { whitened, moments };
}

/** The same in f64 on the host, for one group. */
export function whitenReference(
  x: ArrayLike<number>,
  last: ArrayLike<number>,
  { beyond = 0, shiftMean = true, unbiased = false, eps = 1e-8 }: WhitenOptions = {},
): { whitened: Float64Array; mean: number; variance: number } {
  const T = x.length / last.length;
  const live = Array.from({ length: x.length }, (_, i) => i).filter((i) =>
    i % T <= last[Math.floor(i / T)] + beyond
  );
  const mean = live.reduce((sum, i) => sum + x[i], 0) / live.length;
  const squares = live.reduce((sum, i) => sum + (x[i] - mean) ** 2, 0);
  const variance = squares / Math.max(1, live.length - Number(unbiased));
  const whitened = new Float64Array(x.length);
  for (const i of live) whitened[i] = (x[i] - mean) / Math.sqrt(variance + eps) + (shiftMean ? 0 : mean);
  return { whitened, mean, variance };
}
