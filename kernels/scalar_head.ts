/** One number a row: the head of a reward model or a critic, `Linear(D, 1)` less a normalisation offset. */
import forwardSource from "./scalar_head.wgsl" with { type: "text" };
import gradSource from "./scalar_head_grad.wgsl" with { type: "text" };
import serialSource from "./scalar_head_serial.wgsl" with { type: "text" };
import weightGradSource from "./scalar_head_weight_grad.wgsl" with { type: "text" };
import { elementwise, type Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import { rowGrid, sumInto, sumRows } from "./reduce.ts";
import { gradientTarget, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

const forward = kernel("scalar_head", forwardSource);
const serial = kernel("scalar_head_serial", serialSource);
const grad = kernel("scalar_head_grad", gradSource);
const weightGrad = kernel("scalar_head_weight_grad", weightGradSource);

/** Rows that one invocation sums before the second stage. */
const chunkRows = 64;

/**
 * hidden·weight + bias − offset. Differentiable in `hidden`, `weight` and `bias`.
 * @param hidden [R, D], after the final norm
 * @param weight [D] or [1, D]
 * @param bias [1]
 * @param offset what scores are shifted down by: a constant or a tensor [1]
 * @returns [R]; summed as `gpu.choices` says for "scalarHead": `tree` (a workgroup a row) or `serial` (an invocation a row)
 * @throws if `weight` does not have D elements
 */
export function scalarHead(
  gpu: Gpu,
  hidden: Tensor,
  weight: Tensor,
  bias: Tensor,
  offset: Tensor | number = 0,
): Tensor {
  const [R, D] = hidden.shape;
  if (weight.size !== D || bias.size !== 1) {
    throw new Error(
      `scalarHead: ${weight.name} [${weight.shape}] and ${bias.name} [${bias.shape}] do not fit rows of ${D}`,
    );
  }
  const shift = typeof offset === "number" ? gpu.constant(offset) : offset;
  const y = gpu.empty([R], "scalarHead");
  const bindings = { hidden, weight, bias, offset: shift, y };
  if ((gpu.choices.get("scalarHead") ?? (gpu.facts.software ? "serial" : "tree")) === "serial") {
    gpu.run(serial, bindings, { R, D }, elementwise(R));
  } else gpu.run(forward, bindings, { R, D }, rowGrid(R));
  record(gpu, "scalarHead", [hidden, weight, bias], [y], ([dy]) => {
    if (!dy) return;
    const dhidden = gradientTarget(gpu, hidden);
    if (dhidden) {
      const [rowsY, rowsZ] = rowGrid(R);
      const bindings = { dy, weight, dhidden: dhidden.into };
      gpu.run(grad, bindings, { R, D, accumulate: dhidden.accumulate }, [Math.ceil(D / 64), rowsY, rowsZ]);
    }
    const dweight = gradientTarget(gpu, weight);
    if (dweight) {
      const chunks = Math.ceil(R / chunkRows);
      const partial = gpu.empty([chunks, D], "scalarHead.partial");
      gpu.run(weightGrad, { hidden, dy, partial }, { R, D, rows: chunkRows }, [Math.ceil(D / 64), chunks]);
      sumRows(gpu, partial, dweight.into, dweight.accumulate);
      gpu.release(partial);
    }
    const dbias = gradientTarget(gpu, bias);
    if (dbias) sumInto(gpu, dy, dbias);
  });
  return y;
}

/** The same in f64 on the host, with the gradients. */
export function scalarHeadReference(
  hidden: ArrayLike<number>,
  weight: ArrayLike<number>,
  bias: number,
  offset: number,
  dy?: ArrayLike<number>,
): { y: Float64Array; dhidden: Float64Array; dweight: Float64Array; dbias: number } {
  const D = weight.length, R = hidden.length / D;
  const y = new Float64Array(R).fill(bias - offset);
  const dhidden = new Float64Array(R * D), dweight = new Float64Array(D);
  let dbias = 0;
  for (let r = 0; r < R; r++) {
    const slope = dy?.[r] ?? 0;
    dbias += slope;
    for (let d = 0; d < D; d++) {
      y[r] += hidden[r * D + d] * weight[d];
      dhidden[r * D + d] = slope * weight[d];
      dweight[d] += slope * hidden[r * D + d];
    }
  }
  return { y, dhidden, dweight, dbias };
}
