/** Rotary position embedding (arXiv 2104.09864), half-split as Qwen2 uses it, in place on packed queries and keys. */
import source from "./rope.wgsl" with { type: "text" };
import { elementwise, type Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import { passGradient, record } from "./tape.ts";
import { Tensor } from "./tensor.ts";

const rotate = kernel("rope", source);

/** Positions that the table of turns reaches. */
export const ropePositions = 65536;

export interface RopeShape {
  /** Hq */
  queryHeads: number;
  /** Hkv */
  keyValueHeads: number;
  /** hd, a multiple of 8 */
  headDim: number;
  /** Base of the wavelengths, e.g. 1,000,000 for Qwen2.5. */
  theta: number;
}

/**
 * Rotates the heads of q and k by their positions, in place; v is left alone.
 * @param qkv [T, (Hq + 2·Hkv)·hd]: heads of q, then of k, then of v
 * @param positions u32 [T], each below {@link ropePositions}
 * @returns the rotated tensor, over the memory of `qkv`, whose old contents are gone
 * @throws if the shapes disagree or hd is not a multiple of 8
 */
export function rope(gpu: Gpu, qkv: Tensor, positions: Tensor, shape: RopeShape): Tensor {
  const { queryHeads, keyValueHeads, headDim } = shape;
  const [T, width] = qkv.shape;
  if (headDim % 8 !== 0) throw new Error(`rope: the head dimension must be a multiple of 8, not ${headDim}`);
  if (width !== (queryHeads + 2 * keyValueHeads) * headDim) {
    throw new Error(
      `rope: rows of ${width} numbers are not ${queryHeads} + 2 · ${keyValueHeads} heads of ${headDim}`,
    );
  }
  if (positions.size !== T) throw new Error(`rope: ${positions.size} positions for ${T} tokens`);
  const turns = turnsTensor(gpu, headDim, shape.theta);
  const turn = (tensor: Tensor, direction: 1 | -1) => {
    const heads = queryHeads + keyValueHeads, half4 = headDim / 8, units = T * heads * half4;
    gpu.run(
      rotate,
      { qkv: tensor, positions, turns },
      { units, heads, stride4: width / 4, half4, direction },
      elementwise(units),
    );
  };
  turn(qkv, 1);
  const rotated = new Tensor(qkv.allocation, qkv.shape, qkv.dtype, "rope");
  record(gpu, "rope", [qkv], [rotated], ([gradient]) => {
    if (!gradient) return;
    if (gradient.allocation.owners === 1) {
      turn(gradient, -1);
      passGradient(gpu, qkv, gradient);
    } else { // Someone else reads this gradient too: turn a copy.
      const copy = gpu.hold(gradient.shape, "rope.grad");
      gpu.copy(copy, gradient);
      turn(copy, -1);
      passGradient(gpu, qkv, copy);
      gpu.release(copy);
    }
  });
  return rotated;
}

const turnsOf = new WeakMap<Gpu, Map<string, Tensor>>();

function turnsTensor(gpu: Gpu, headDim: number, theta: number): Tensor {
  let tensors = turnsOf.get(gpu);
  if (!tensors) turnsOf.set(gpu, tensors = new Map());
  const key = `${headDim},${theta}`;
  let tensor = tensors.get(key);
  if (!tensor) {
    const half = headDim / 2, table = new Float32Array(2 * 256 * half * 2);
    for (let level = 0; level < 2; level++) {
      for (let n = 0; n < 256; n++) {
        for (let i = 0; i < half; i++) {
          const angle = (level === 0 ? 256 * n : n) * theta ** (-2 * i / headDim);
          const at = ((level * 256 + n) * half + i) * 2;
          table[at] = Math.cos(angle);
          table[at + 1] = Math.sin(angle);
        }
      }
    }
    tensor = gpu.persistent([2, 256, half, 2], `rope turns ${key}`);
    gpu.upload(tensor, table);
    tensors.set(key, tensor);
  }
  return tensor;
}

/** The same in f64 on the host; `direction` −1 turns back, which is also the gradient. Returns a new array. */
export function ropeReference(
  qkv: ArrayLike<number>,
  positions: ArrayLike<number>,
  { queryHeads, keyValueHeads, headDim, theta }: RopeShape,
  direction: 1 | -1 = 1,
): Float64Array {
  const result = Float64Array.from(qkv),
    width = (queryHeads + 2 * keyValueHeads) * headDim,
    half = headDim / 2;
  for (let t = 0; t < positions.length; t++) {
    for (let head = 0; head < queryHeads + keyValueHeads; head++) {
      for (let i = 0; i < half; i++) {
        const angle = direction * positions[t] * theta ** (-2 * i / headDim);
        const at = t * width + head * headDim + i;
        result[at] = qkv[at] * Math.cos(angle) - qkv[at + half] * Math.sin(angle);
        result[at + half] = qkv[at + half] * Math.cos(angle) + qkv[at] * Math.sin(angle);
      }
    }
  }
  return result;
}
