/** Generalised advantage estimation (arXiv 1506.02438, eq. 16), one row an episode. */
import source from "./gae.wgsl" with { type: "text" };
import type { Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import type { Tensor } from "./tensor.ts";

const forward = kernel("gae", source);

/**
 * @param reward f32 [B, T]
 * @param values f32 [B, T]: V before each token, 0 once the episode is over, with V_T taken as 0; or [B, T + 1] to bootstrap from V_T
 * @param discounts f32 [B, T], multiplied by gamma step by step
 * @returns advantages and returns (advantage + value), f32 [B, T], not whitened
 * @throws if the extents do not fit
 */
export function gae(
  gpu: Gpu,
  reward: Tensor,
  values: Tensor,
  { gamma, lambda, discounts }: { gamma: number; lambda: number; discounts?: Tensor },
): { advantages: Tensor; returns: Tensor } {
  const [B, T] = reward.shape;
  const columns = values.shape[1];
  if (
    values.shape[0] !== B || (columns !== T && columns !== T + 1) || (discounts && discounts.size !== B * T)
  ) {
    throw new Error(`gae: values [${values.shape}] or discounts do not fit rewards [${reward.shape}]`);
  }
  const advantages = gpu.empty([B, T], "advantages"), returns = gpu.empty([B, T], "returns");
  const bindings = { reward, values, discounts: discounts ?? reward, advantage: advantages, returns };
  const params = { B, T, columns, gamma, lambda, hasDiscounts: discounts ? 1 : 0 };
  gpu.run(forward, bindings, params, [Math.ceil(B / 64)]);
  return { advantages, returns };
}

/** The same in f64 on the host. */
export function gaeReference(
  reward: ArrayLike<number>,
  values: ArrayLike<number>,
  B: number,
  { gamma, lambda, discounts }: { gamma: number; lambda: number; discounts?: ArrayLike<number> },
): { advantages: Float64Array; returns: Float64Array } {
  const T = reward.length / B, columns = values.length / B;
  const advantages = new Float64Array(B * T), returns = new Float64Array(B * T);
  for (let b = 0; b < B; b++) {
    let later = 0, following = columns > T ? values[b * columns + T] : 0;
    for (let t = T - 1; t >= 0; t--) {
      const i = b * T + t, value = values[b * columns + t];
      const discount = gamma * (discounts ? discounts[i] : 1);
      later = reward[i] + discount * following - value + discount * lambda * later;
      following = value;
      advantages[i] = later;
      returns[i] = later + value;
    }
  }
  return { advantages, returns };
}
