/**
 * The parameters of a network in a few flat buffers (arenas), and beside each, in the same layout, its gradient and AdamW's two
 * moments. An optimiser step, a gradient norm, a clearing or a checkpoint is then one command an arena, not one a tensor.
 */
import { adamw, type AdamWOptions } from "./adamw.ts";
import type { Gpu } from "./gpu.ts";
import { Tensor } from "./tensor.ts";

/** Elements between the starts of two tensors are a multiple of this: WebGPU's 256 bytes. */
const alignment = 64;
const largestArenaBytes = 128 << 20;

/** Elements that a tensor of `size` takes up in an arena. */
export function parameterRoom(size: number): number {
  return Math.ceil(size / alignment) * alignment;
}

export interface ParameterSpec {
  name: string;
  shape: readonly number[];
}

interface Arena {
  weights: Tensor;
  gradients?: Tensor;
  firstMoment?: Tensor;
  secondMoment?: Tensor;
}

interface Place {
  arena: number;
  /** Elements from the arena's start. */
  offset: number;
}

export class Parameters {
  readonly tensors = new Map<string, Tensor>();
  private readonly places = new Map<string, Place>();
  private readonly arenas: Arena[] = [];

  /**
   * Lays out the tensors in the given order; each must fit a binding. All start as zeros.
   * @throws if a tensor is too big for one binding of this adapter
   */
  constructor(private readonly gpu: Gpu, specs: readonly ParameterSpec[], private readonly name: string) {
    const { maxStorageBufferBindingSize, maxBufferSize } = gpu.device.limits;
    const limit = Math.min(maxStorageBufferBindingSize, maxBufferSize, largestArenaBytes) / 4;
    const sizes = [0];
    for (const { name: tensor, shape } of specs) {
      const size = shape.reduce((product, extent) => product * extent, 1);
      const room = parameterRoom(size);
      if (room > limit) {
        throw new Error(`${name}: ${tensor} [${shape}] does not fit one binding of ${limit * 4} bytes`);
      }
      if (sizes.at(-1)! + room > limit) sizes.push(0);
      this.places.set(tensor, { arena: sizes.length - 1, offset: sizes.at(-1)! });
      sizes[sizes.length - 1] += room;
    }
    this.arenas = sizes.map((size, i) => ({ weights: gpu.persistent([size], `${name} weights ${i}`) }));
    for (const { name: tensor, shape } of specs) {
      const view = this.view("weights", tensor, shape);
      view.name = tensor;
      this.tensors.set(tensor, view);
    }
  }

  /** Number of elements, alignment included. */
  get size(): number {
    return this.arenas.reduce((sum, { weights }) => sum + weights.size, 0);
  }

  /** @throws if there is no such tensor */
  get(name: string): Tensor {
    const tensor = this.tensors.get(name);
    if (!tensor) throw new Error(`${this.name} has no parameter "${name}"`);
    return tensor;
  }

  /**
   * Allocates gradients and moments (zeros) and marks every tensor as wanting a gradient.
   * @param options.moments false leaves the moments out: there are gradients to look at, and no step can be taken
   */
  train({ moments = true } = {}): void {
    this.arenas.forEach((arena, i) => {
      const shape = arena.weights.shape;
      arena.gradients = this.gpu.persistent(shape, `${this.name} gradients ${i}`);
      if (!moments) return;
      arena.firstMoment = this.gpu.persistent(shape, `${this.name} first moments ${i}`);
      arena.secondMoment = this.gpu.persistent(shape, `${this.name} second moments ${i}`);
    });
    for (const [name, tensor] of this.tensors) {
      tensor.requiresGrad = true;
      tensor.grad = this.view("gradients", name, tensor.shape);
    }
  }

  /** Frees gradients and moments; the weights stay, frozen. */
  freeze(): void {
    for (const tensor of this.tensors.values()) {
      tensor.requiresGrad = false;
      tensor.grad = null;
    }
    for (const arena of this.arenas) {
      for (const role of ["gradients", "firstMoment", "secondMoment"] as const) {
        const tensor = arena[role];
        if (tensor) this.gpu.drop(tensor);
        arena[role] = undefined;
      }
    }
  }

  /** The gradient arenas, for {@link gradNorm}. */
  get gradients(): Tensor[] {
    return this.arenas.map((arena) => this.role(arena, "gradients"));
  }

  clearGradients(): void {
    for (const gradients of this.gradients) this.gpu.clear(gradients);
  }

  /** One AdamW step on everything. */
  step(options: AdamWOptions): void {
    for (const arena of this.arenas) {
      adamw(this.gpu, {
        weights: arena.weights,
        gradients: this.role(arena, "gradients"),
        firstMoment: this.role(arena, "firstMoment"),
        secondMoment: this.role(arena, "secondMoment"),
      }, options);
    }
  }

  /** weights := those of `other`, which must have the same layout. */
  copyFrom(other: Parameters): void {
    if (this.arenas.some((arena, i) => arena.weights.size !== other.arenas[i]?.weights.size)) {
      throw new Error(`${this.name} and ${other.name} are laid out differently: nothing to copy`);
    }
    this.arenas.forEach((arena, i) => this.gpu.copy(arena.weights, other.arenas[i].weights));
  }

  /** The flat buffers of a role, for checkpoints: all that there is to save of an optimiser. @throws if frozen */
  arenasOf(role: "firstMoment" | "secondMoment"): Tensor[] {
    return this.arenas.map((arena) => this.role(arena, role));
  }

  /** AdamW's two moments of one tensor, in its shape. @throws if frozen, or if there is no such tensor */
  momentsOf(name: string): { first: Tensor; second: Tensor } {
    const { shape } = this.get(name);
    return { first: this.view("firstMoment", name, shape), second: this.view("secondMoment", name, shape) };
  }

  /** Frees everything. */
  drop(): void {
    if (this.arenas[0].gradients) this.freeze();
    for (const { weights } of this.arenas) this.gpu.drop(weights);
  }

  private role(arena: Arena, role: keyof Arena): Tensor {
    const tensor = arena[role];
    if (!tensor) throw new Error(`${this.name} is frozen: it has no ${role}`);
    return tensor;
  }

  private view(role: keyof Arena, name: string, shape: readonly number[]): Tensor {
    const { arena, offset } = this.places.get(name)!;
    const parent = this.role(this.arenas[arena], role);
    const size = shape.reduce((product, extent) => product * extent, 1);
    const allocation = this.gpu.memory.view(parent.allocation, offset * 4, size * 4);
    return new Tensor(allocation, shape, "f32", `${name}${role === "gradients" ? ".grad" : ""}`);
  }
}
