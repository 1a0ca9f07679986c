import type { Allocation } from "./memory.ts";

export type DType = "f32" | "u32" | "f16";

export const bytesPerElement: Record<DType, number> = { f32: 4, u32: 4, f16: 2 };

/**
 * A row-major array on the device. Cheap to make: only a shape over an {@link Allocation}.
 * Shapes are named in comments where they are made: T tokens, R response rows, B sequences, D hidden, F feed-forward, V vocabulary.
 */
export class Tensor {
  /** Elements. */
  readonly size: number;
  /** The gradient of the scalar that is being differentiated, once the tape has reached this tensor. */
  grad: Tensor | null = null;

  constructor(
    readonly allocation: Allocation,
    readonly shape: readonly number[],
    readonly dtype: DType,
    /** Where the model calls it so, e.g. `layers.3.attn.qkv`; see `Gpu.named`. */
    public name: string,
    /** Whether a gradient is wanted: true for parameters, and for whatever was computed from one. */
    public requiresGrad = false,
  ) {
    this.size = shape.reduce((product, extent) => product * extent, 1);
  }

  get bytes(): number {
    return this.size * bytesPerElement[this.dtype];
  }

  /** The same numbers under another shape. @throws if the element counts differ. */
  as(shape: readonly number[]): Tensor {
    const view = new Tensor(this.allocation, shape, this.dtype, this.name, this.requiresGrad);
    if (view.size !== this.size) throw new Error(`${this.name}: cannot see [${this.shape}] as [${shape}]`);
    return view;
  }
}

/** The tensors that a value holds: itself, or those in its items and fields. */
export function* tensorsIn(value: unknown): Generator<Tensor> {
  if (value instanceof Tensor) yield value;
  else if (Array.isArray(value)) { for (const item of value) yield* tensorsIn(item); }
  else if (value && typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype) {
    for (const item of Object.values(value)) yield* tensorsIn(item);
  }
}
