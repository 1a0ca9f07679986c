/** The norm of all gradients together, and how far to shrink them: `torch.nn.utils.clip_grad_norm_` without a host wait. */
import source from "./grad_norm.wgsl" with { type: "text" };
import finishSource from "./grad_norm_finish.wgsl" with { type: "text" };
import type { Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import { fold, stageOne } from "./reduce.ts";
import type { Tensor } from "./tensor.ts";

const squares = kernel("grad_norm", source);
const finish = kernel("grad_norm_finish", finishSource);

/**
 * The L2 norm over every element of `gradients`, summed in an order that depends on their sizes alone.
 * @param maxNorm clip to this norm; leave it out to measure only
 * @param scale multiplies every gradient before anything else (1 / micro-batches, say); the norm is that of the scaled gradients
 * @returns `norm` [1]; `clipScale` [1] = scale·min(1, maxNorm / (norm + 1e-6)) for {@link adamw}, or 0 (skip the step) where any
 * gradient is not finite; `nonFinite` [2], whose first element counts the infinite and NaN gradients
 */
export function gradNorm(
  gpu: Gpu,
  gradients: readonly Tensor[],
  { maxNorm, scale = 1 }: { maxNorm?: number; scale?: number } = {},
): { norm: Tensor; clipScale: Tensor; nonFinite: Tensor } {
  return gpu.scope(() => {
    const counts = gradients.map((gradient) => stageOne(gradient.size, 64, 32768));
    const rows = counts.reduce((total, count) => total + count, 0);
    const partial = gpu.empty([rows, 2], "gradNorm.partial");
    let to = 0;
    gradients.forEach((x, i) => {
      gpu.run(squares, { x, partial }, { size: x.size, C: counts[i], to }, [Math.ceil(counts[i] / 64)]);
      to += counts[i];
    });
    const { sums } = fold(gpu, partial);
    const norm = gpu.empty([1], "gradNorm"), clipScale = gpu.empty([1], "clipScale");
    gpu.run(finish, { sums, norm, clipScale }, { scale, maxNorm: maxNorm ?? 3e38 }, [1]);
    return { norm, clipScale, nonFinite: sums };
  });
}
