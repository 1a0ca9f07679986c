/** Root-mean-square normalisation (arXiv 1910.07467), as Qwen2 uses it: no mean, no bias, one weight a channel. */
import forwardSource from "./rmsnorm.wgsl" with { type: "text" };
import gradSource from "./rmsnorm_grad.wgsl" with { type: "text" };
import weightGradSource from "./rmsnorm_weight_grad.wgsl" with { type: "text" };
import { type Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import { rowGrid, sumRows } from "./reduce.ts";
import { gradientTarget, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

const forward = kernel("rmsnorm", forwardSource);
const grad = kernel("rmsnorm_grad", gradSource);
const weightGrad = kernel("rmsnorm_weight_grad", weightGradSource);

/** Rows that one invocation sums before the second stage. */
const chunkRows = 64;

/**
 * Normalises each row of `x` [T, D] and scales it by `weight` [D].
 * @returns y [T, D]
 */
export function rmsnorm(gpu: Gpu, x: Tensor, weight: Tensor, eps: number): Tensor {
  const [T, D] = x.shape;
  const y = gpu.empty(x.shape, "rmsnorm");
  const scale = gpu.empty([T], "rmsnorm.scale");
  const lanes = { lanes: gpu.facts.software ? 8 : 64 };
  gpu.run(forward, { x, weight, y, scale }, { T, D, eps }, rowGrid(T), lanes);
  record(gpu, "rmsnorm", [x, weight], [y], ([dy]) => {
    if (!dy) return;
    const dx = gradientTarget(gpu, x);
    if (dx) {
      gpu.run(
        grad,
        { x, weight, scale, dy, dx: dx.into },
        { T, D, accumulate: dx.accumulate },
        rowGrid(T),
        lanes,
      );
    }
    const dw = gradientTarget(gpu, weight);
    if (dw) {
      const chunks = Math.ceil(T / chunkRows);
      const partial = gpu.empty([chunks, D], "rmsnorm.partial");
      gpu.run(weightGrad, { x, scale, dy, partial }, { T, D, rows: chunkRows }, [Math.ceil(D / 64), chunks]);
      sumRows(gpu, partial, dw.into, dw.accumulate);
      gpu.release(partial);
    }
  }, [scale]);
  return y;
}

/** The same in f64 on the host, with both gradients. */
export function rmsnormReference(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  eps: number,
  dy?: ArrayLike<number>,
): { y: Float64Array; dx: Float64Array; dweight: Float64Array } {
  const D = weight.length, T = x.length / D;
  const y = new Float64Array(T * D), dx = new Float64Array(T * D), dweight = new Float64Array(D);
  for (let t = 0; t < T; t++) {
    let squares = 0, dot = 0;
    for (let d = 0; d < D; d++) squares += x[t * D + d] ** 2;
    const scale = 1 / Math.sqrt(squares / D + eps);
    for (let d = 0; d < D; d++) y[t * D + d] = x[t * D + d] * scale * weight[d];
    if (!dy) continue;
    for (let d = 0; d < D; d++) dot += weight[d] * dy[t * D + d] * x[t * D + d];
    for (let d = 0; d < D; d++) {
      dx[t * D + d] = scale * (weight[d] * dy[t * D + d] - x[t * D + d] * scale ** 2 * dot / D);
      dweight[d] += dy[t * D + d] * x[t * D + d] * scale;
    }
  }
  return { y, dx, dweight };
}
