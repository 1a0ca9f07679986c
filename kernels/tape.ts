/**
 * Reverse-mode differentiation. Every differentiable op leaves an entry while a tape is recording; `backward` walks the entries
 * in reverse. Gradients are summed where they are written: an op asks for the target of an input's gradient and is told
 * whether to overwrite or to add, so fan-out costs no extra kernel, and parameters (whose gradients exist from the start) simply
 * accumulate over micro-batches.
 */
import type { Gpu } from "./gpu.ts";
import type { Tensor } from "./tensor.ts";

export interface Entry {
  op: string;
  inputs: readonly Tensor[];
  outputs: readonly Tensor[];
  /** Kept for the backward pass only, and freed after it. */
  saved: readonly Tensor[];
  /** Given the gradients of the outputs (null where none flowed), adds to the gradients of the inputs. */
  backward: (gradients: readonly (Tensor | null)[]) => void;
}

export class Tape {
  private readonly entries: Entry[] = [];

  constructor(private readonly gpu: Gpu) {}

  record(entry: Entry): void {
    this.entries.push(entry);
  }

  /**
   * Differentiates `root` (a scalar, or anything if `seed` gives its gradient) with respect to every tensor that requires it.
   * Activations and their gradients are freed as the walk leaves them behind; gradients of parameters stay.
   */
  backward(root: Tensor, seed?: Tensor): void {
    if (!seed && root.size !== 1) {
      throw new Error(`backward needs a scalar, but ${root.name} is [${root.shape}]: give a seed`);
    }
    root.grad = seed ?? this.gpu.constant(1);
    this.gpu.memory.retain(root.grad.allocation);
    for (const entry of this.entries.reverse()) {
      const gradients = entry.outputs.map((output) => output.grad);
      if (gradients.some((gradient) => gradient !== null)) {
        entry.outputs.forEach((output, i) => {
          const gradient = gradients[i];
          // A seed is known to whoever gave it.
          if (gradient && !(seed && output === root)) this.gpu.show(`${output.name}.grad`, gradient);
        });
        this.gpu.inside(`${entry.op}.grad`, () => entry.backward(gradients));
      }
      this.leave(entry, root);
    }
    this.entries.length = 0;
  }

  /** Frees what no earlier entry can need: the outputs, their gradients and whatever was saved. */
  private leave(entry: Entry, root: Tensor): void {
    for (const output of entry.outputs) {
      if (output.grad) this.gpu.memory.release(output.grad.allocation);
      output.grad = null;
      const inPlace = entry.inputs.some((input) => input.allocation === output.allocation);
      if (output !== root && !inPlace) this.gpu.release(output);
    }
    for (const tensor of entry.saved) this.gpu.release(tensor);
  }
}

/** Leaves an entry if a tape is recording and any input wants a gradient; marks the outputs accordingly. */
export function record(
  gpu: Gpu,
  op: string,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  backward: Entry["backward"],
  saved: readonly Tensor[] = [],
): void {
  if (!gpu.tape || !inputs.some((input) => input.requiresGrad)) {
    for (const tensor of saved) gpu.release(tensor);
    return;
  }
  for (const output of outputs) output.requiresGrad = true;
  gpu.tape.record({ op, inputs, outputs, backward, saved });
}

/**
 * Runs `forward` and keeps nothing of it for the backward pass but its result: there it is run once more, with a tape of its own, and
 * differentiated at once. The kernels are the same, in the same order, and so are the bits of every gradient.
 * @param inputs what the result depends on and may want a gradient, parameters included; they must live until the backward pass
 * @param forward the same computation each time; what it uploads or draws at random must not change
 */
export function recomputed(gpu: Gpu, inputs: readonly Tensor[], forward: () => Tensor): Tensor {
  const outer = gpu.tape;
  if (!outer || !inputs.some((input) => input.requiresGrad)) return forward();
  const again = gpu.later(forward);
  gpu.tape = null;
  let result: Tensor;
  try {
    result = gpu.scope(forward);
  } finally {
    gpu.tape = outer;
  }
  record(gpu, "recomputed", inputs, [result], ([gradient]) => {
    if (gradient) gpu.scope(() => void gpu.differentiate(() => unseen(gpu, again), gradient));
  });
  return result;
}

/** Captures have seen these tensors in the forward pass. */
function unseen<T>(gpu: Gpu, body: () => T): T {
  const { captures } = gpu;
  gpu.captures = null;
  try {
    return body();
  } finally {
    gpu.captures = captures;
  }
}

/**
 * Where to write the gradient of `input`, or null if nobody wants it. `accumulate` is 1 when the target already holds a
 * gradient that must be added to, 0 when it holds garbage that must be overwritten in full.
 */
export function gradientTarget(gpu: Gpu, input: Tensor): { into: Tensor; accumulate: 0 | 1 } | null {
  if (!input.requiresGrad) return null;
  if (input.grad) return { into: input.grad, accumulate: 1 };
  input.grad = gpu.hold(input.shape, `${input.name}.grad`);
  return { into: input.grad, accumulate: 0 };
}

/**
 * Hands a finished gradient on to `input` as it is (residual connections, in-place ops, reshapes). If the input has none yet, it
 * takes shared ownership and nothing is copied: the giver must be past every read of it.
 */
export function passGradient(gpu: Gpu, input: Tensor, gradient: Tensor): void {
  if (!input.requiresGrad) return;
  if (input.grad) {
    gpu.addInto(input.grad, gradient);
    return;
  }
  gpu.memory.retain(gradient.allocation);
  input.grad = gradient.as(input.shape);
}
