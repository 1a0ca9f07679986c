/** Multiplying and adding tensors element by element, and what losses built from one value an element share. */
import scaleSource from "./scale.wgsl" with { type: "text" };
import weightedSumSource from "./weighted_sum.wgsl" with { type: "text" };
import { elementwise, type Gpu } from "./gpu.ts";
import { type Kernel, kernel } from "./kernel.ts";
import { gradientTarget, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

const scaleKernel = kernel("scale", scaleSource);
const weightedSumKernel = kernel("weighted_sum", weightedSumSource);

/**
 * A kernel written once over `alias Element = f32;`, for single floats and for vectors of four: a vector is one load of 16 bytes.
 * @throws if the source has no such alias
 */
export function scalarOrVec4(name: string, source: string): { scalar: Kernel; vec4: Kernel } {
  const alias = "alias Element = f32;";
  if (!source.includes(alias)) throw new Error(`kernel ${name}: no "${alias}" to replace`);
  return {
    scalar: kernel(name, source),
    vec4: kernel(`${name}_vec4`, source.replace(alias, "alias Element = vec4f;")),
  };
}

/** y = factor·x, of x's shape; differentiable. */
export function scale(gpu: Gpu, x: Tensor, factor: number): Tensor {
  const y = gpu.empty(x.shape, "scale");
  scaleInto(gpu, x, gpu.constant(1), { into: y, accumulate: 0 }, { factor });
  record(gpu, "scale", [x], [y], ([dy]) => {
    const dx = dy && gradientTarget(gpu, x);
    if (dx) scaleInto(gpu, dy, gpu.constant(1), dx, { factor });
  });
  return y;
}

/** y = wa·a + wb·b for equal shapes; differentiable. Adds up losses, e.g. weightedSum(gpu, policyLoss, 1, valueLoss, 0.1). */
export function weightedSum(gpu: Gpu, a: Tensor, wa: number, b: Tensor, wb: number): Tensor {
  if (a.size !== b.size) {
    throw new Error(`cannot add ${a.name} [${a.shape}] and ${b.name} [${b.shape}]: their sizes differ`);
  }
  const y = gpu.empty(a.shape, "weightedSum");
  gpu.run(weightedSumKernel, { a, b, y }, { size: y.size, wa, wb }, elementwise(y.size));
  record(gpu, "weightedSum", [a, b], [y], ([dy]) => {
    if (!dy) return;
    const da = gradientTarget(gpu, a);
    if (da) scaleInto(gpu, dy, gpu.constant(1), da, { factor: wa });
    const db = gradientTarget(gpu, b);
    if (db) scaleInto(gpu, dy, gpu.constant(1), db, { factor: wb });
  });
  return y;
}

/**
 * into[to + i] (+)= factor·by[0]·x[from + i] for i < size: the gradient of a loss whose slope with respect to each element, `x`, was
 * kept from the forward pass, and `by` [1] is the gradient of the loss itself.
 */
export function scaleInto(
  gpu: Gpu,
  x: Tensor,
  by: Tensor,
  { into, accumulate }: { into: Tensor; accumulate: 0 | 1 },
  { factor = 1, from = 0, to = 0, size = x.size } = {},
): void {
  gpu.run(
    scaleKernel,
    { x, by, y: into },
    { size, factor, accumulate, source: from, destination: to },
    elementwise(size),
  );
}
