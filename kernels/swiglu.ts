/** The gated feed-forward activation of Llama and Qwen2 (arXiv 2002.05202, SwiGLU). */
import forwardSource from "./swiglu.wgsl" with { type: "text" };
import gradSource from "./swiglu_grad.wgsl" with { type: "text" };
import { type Gpu } from "./gpu.ts";
import { scalarOrVec4 } from "./elementwise.ts";
import { gradientTarget, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

const forward = scalarOrVec4("swiglu", forwardSource);
const grad = scalarOrVec4("swiglu_grad", gradSource);

/**
 * silu(gate)·up. The gradient recomputes the activation from `gateUp`, so nothing more is kept.
 * @param gateUp [T, 2F]: gate in the first F columns, up in the last F
 * @returns y [T, F]
 * @throws if the second extent is odd
 */
export function swiglu(gpu: Gpu, gateUp: Tensor): Tensor {
  const [T, columns] = gateUp.shape;
  if (gateUp.shape.length !== 2 || columns % 2 !== 0) {
    throw new Error(`swiglu takes [T, 2F], not ${gateUp.name} [${gateUp.shape}]`);
  }
  const F = columns / 2;
  const { width, name } = F % 4 === 0
    ? { width: F / 4, name: "vec4" as const }
    : { width: F, name: "scalar" as const };
  const fold = Math.min(T, 32768);
  const groups: [number, number, number] = [Math.ceil(width / 64), fold, Math.ceil(T / Math.max(1, fold))];
  const y = gpu.empty([T, F], "swiglu");
  gpu.run(forward[name], { gateUp, y }, { T, F: width }, groups);
  record(gpu, "swiglu", [gateUp], [y], ([dy]) => {
    const into = dy && gradientTarget(gpu, gateUp);
    if (!into) return;
    const bindings = { gateUp, dy, dgateUp: into.into };
    gpu.run(grad[name], bindings, { T, F: width, accumulate: into.accumulate }, groups);
  });
  return y;
}

/** The same in f64 on the host, with the gradient. */
export function swigluReference(
  gateUp: ArrayLike<number>,
  F: number,
  dy?: ArrayLike<number>,
): { y: Float64Array; dgateUp: Float64Array } {
  const T = gateUp.length / (2 * F);
  const y = new Float64Array(T * F), dgateUp = new Float64Array(2 * T * F);
  for (let t = 0; t < T; t++) {
    for (let f = 0; f < F; f++) {
      const gate = gateUp[2 * t * F + f], up = gateUp[(2 * t + 1) * F + f];
      const sigmoid = 1 / (1 + Math.exp(-gate));
      y[t * F + f] = gate * sigmoid * up;
      if (!dy) continue;
      dgateUp[2 * t * F + f] = dy[t * F + f] * up * sigmoid * (1 + gate * (1 - sigmoid));
      dgateUp[(2 * t + 1) * F + f] = dy[t * F + f] * gate * sigmoid;
    }
  }
  return { y, dgateUp };
}
