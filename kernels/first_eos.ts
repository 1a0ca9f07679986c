/** Where each response ends. */
import source from "./first_eos.wgsl" with { type: "text" };
import maskSource from "./mask_after.wgsl" with { type: "text" };
import { elementwise, type Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import type { Tensor } from "./tensor.ts";

const scan = kernel("first_eos", source);
const mask = kernel("mask_after", maskSource);

/**
 * The end of each response: `last` u32 [B] is the index of the first EOS (which belongs to the response), or T − 1 where there is none;
 * `hasEos` u32 [B] is 1 where there is one. The policy's mask is t ≤ last, the critic's t ≤ last + 1.
 * @param tokens u32 [B, T]: the response tokens alone
 */
export function firstEos(gpu: Gpu, tokens: Tensor, eos: number): { last: Tensor; hasEos: Tensor } {
  const [B, T] = tokens.shape;
  const last = gpu.empty([B], "last", "u32"), hasEos = gpu.empty([B], "hasEos", "u32");
  gpu.run(scan, { tokens, last, hasEos }, { B, T, eos }, [Math.ceil(B / 64)]);
  return { last, hasEos };
}

/** The same on the host. */
export function firstEosReference(
  tokens: ArrayLike<number>,
  T: number,
  eos: number,
): { last: number[]; hasEos: number[] } {
  const last: number[] = [], hasEos: number[] = [];
  for (let row = 0; row < tokens.length; row += T) {
    let t = 0;
    while (t < T && tokens[row + t] !== eos) t++;
    last.push(Math.min(t, T - 1));
    hasEos.push(t < T ? 1 : 0);
  }
  return { last, hasEos };
}

/**
 * A copy of `x` with `fill` wherever t > last + beyond, whatever stood there, NaN included. The reference sets log-probabilities to 1 and
 * values (beyond = 1) to 0.
 * @param x f32 [B, T]
 * @param last u32 [B]
 */
export function maskAfter(
  gpu: Gpu,
  x: Tensor,
  last: Tensor,
  { beyond = 0, fill = 0 }: { beyond?: 0 | 1; fill?: number } = {},
): Tensor {
  const [B, T] = x.shape;
  const y = gpu.empty([B, T], "maskAfter");
  gpu.run(mask, { x, last, y }, { B, T, beyond, fill }, elementwise(B * T));
  return y;
}

/**
 * The slots b·T + t with t ≤ last[b] + beyond, row by row: which of the B×T slots the policy's loss (beyond = 0) or the
 * critic's (beyond = 1) is computed at.
 */
export function liveSlots(last: ArrayLike<number>, T: number, beyond: 0 | 1 = 0): Uint32Array<ArrayBuffer> {
  const slots: number[] = [];
  for (let b = 0; b < last.length; b++) {
    for (let t = 0; t <= Math.min(last[b] + beyond, T - 1); t++) slots.push(b * T + t);
  }
  return Uint32Array.from(slots);
}

/** What marks an unused row in a list of slots that is padded to a fixed length: the losses skip it. */
export const unusedSlot = 0xffffffff;
