/**
 * Gradients of tensors that cells computed. Each handle remembers how it was made, so the computation is done once more, with the same
 * kernels in the same order, on a tape: nothing needs to be recorded, or kept, before somebody asks for a gradient.
 */
import type { Gpu } from "../../kernels/gpu.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import type { HeldTensor, Operation } from "./held_tensor.ts";

/**
 * @param loss one number that was computed from the tensors
 * @param of what to differentiate by: tensors that were given, or that were computed on the way
 * @returns the gradients, in the order of `of`; the caller must release them
 * @throws if the loss does not depend on one of them by differentiable operations
 */
export function gradients(gpu: Gpu, loss: HeldTensor, of: readonly HeldTensor[]): Tensor[] {
  if (loss.size !== 1) {
    throw new RangeError(
      `Only one number can be differentiated, and ${loss.name} is [${loss.shape}]; sum it first.`,
    );
  }
  if (!loss.made) throw new RangeError(`${loss.name} was given, not computed: it has no gradient.`);
  for (const tensor of of) {
    if (tensor === loss) throw new RangeError(`${loss.name} is the loss itself: its gradient is 1.`);
  }
  if (new Set(of).size < of.length) throw new RangeError("A tensor is asked for twice; name each once.");
  const wanted = new Map<HeldTensor, Tensor>();
  const again = new Map<HeldTensor, Tensor>();
  const results = new Map<Operation, Tensor[]>();
  const watched = new Map<string, HeldTensor>();
  const depends = new Map<HeldTensor, boolean>();

  /** Whether a gradient may have to pass through a tensor. */
  const dependsOnWanted = (held: HeldTensor): boolean => {
    const known = depends.get(held);
    if (known !== undefined) return known;
    const found = of.includes(held) || (held.made?.by.inputs.some(dependsOnWanted) ?? false);
    depends.set(held, found);
    return found;
  };
  const evaluate = (held: HeldTensor): Tensor => {
    let tensor = again.get(held);
    if (tensor) return tensor;
    if (held.made && dependsOnWanted(held) && held.made.by.inputs.some(dependsOnWanted)) {
      const { by, result } = held.made;
      let outputs = results.get(by);
      if (!outputs) results.set(by, outputs = by.run(gpu, by.inputs.map(evaluate)));
      tensor = outputs[result];
      if (of.includes(held)) {
        tensor.name = `differentiated ${watched.size}`;
        watched.set(`${tensor.name}.grad`, held);
      }
    } else {
      // A view of its own: the handle's tensor must not come to look like a parameter.
      tensor = held.onDevice().as(held.shape);
      tensor.requiresGrad = of.includes(held);
    }
    again.set(held, tensor);
    return tensor;
  };

  const before = gpu.watcher;
  gpu.watcher = {
    see(gpu, name, tensor) {
      before?.see(gpu, name, tensor);
      const held = watched.get(name);
      if (!held || wanted.has(held)) return;
      const copy = gpu.hold(held.shape, name);
      gpu.copy(copy, tensor);
      wanted.set(held, copy);
    },
  };
  try {
    gpu.scope(() => void gpu.differentiate(() => evaluate(loss)));
  } catch (error) {
    for (const tensor of wanted.values()) gpu.release(tensor);
    throw error;
  } finally {
    gpu.watcher = before;
  }
  for (const held of of) {
    const leaf = again.get(held);
    if (!wanted.has(held) && leaf?.grad) wanted.set(held, leaf.grad);
  }
  const missing = of.find((held) => !wanted.has(held));
  if (missing) {
    for (const tensor of wanted.values()) gpu.release(tensor);
    throw new RangeError(
      `${loss.name} does not depend on ${missing.name} by operations that have a gradient.`,
    );
  }
  return of.map((held) => wanted.get(held)!);
}
