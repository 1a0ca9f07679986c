/** How a gradient goes through a model: norms of the residual stream's gradient, and of the weights' beside the weights themselves. */
import type { Watcher } from "../../kernels/capture.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { gradNorm } from "../../kernels/grad_norm.ts";
import { matrixOf } from "../../kernels/matrix.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import { updateNorm, type UpdateRule } from "../../kernels/update_norm.ts";
import type { Qwen2 } from "../qwen2.ts";
import { wholeParameters } from "./tensors.ts";
import type { GradientFlow, WeightFlow } from "./types.ts";

/** The residual stream where layers begin and end, and its gradients. */
const streamGradient = /^(embed|layers\.\d+\.mlp\.out)\.grad$/;

/** Takes the norm of every gradient of the residual stream as it goes by, without keeping it. */
export class StreamWatch implements Watcher {
  private readonly seen: { name: string; size: number; sums: Tensor }[] = [];

  see(gpu: Gpu, name: string, tensor: Tensor): void {
    if (streamGradient.test(name)) {
      this.seen.push({
        name: name.slice(0, -".grad".length),
        size: tensor.size,
        sums: squaresOf(gpu, [tensor]),
      });
    }
  }

  /** From the embedding on. */
  async take(gpu: Gpu): Promise<GradientFlow["stream"]> {
    const seen = this.seen.splice(0).reverse(); // a backward pass begins at the end
    const sums = await gpu.read(...seen.map(({ sums }) => sums));
    return seen.map(({ name, size, sums: tensor }, i) => {
      gpu.release(tensor);
      return { name, norm: Math.sqrt(sums[i][1]), rms: Math.sqrt(sums[i][1] / size) };
    });
  }
}

/** [strays, Σ x²] over tensors; belongs to the caller. */
function squaresOf(gpu: Gpu, tensors: readonly Tensor[]): Tensor {
  const sums = gpu.scope(() => gpu.keep(gradNorm(gpu, tensors).nonFinite));
  gpu.release(sums);
  return sums;
}

/** What an update is computed with. */
export interface FlowRule extends UpdateRule {
  learningRate: number;
}

/**
 * Norms of a model's weights, of the gradients that are beside them, and of the update that AdamW would make of these in its first step.
 * @param moments gives AdamW's two moments of a parameter, where there are any: then the update is the one after `rule.step` steps
 */
export async function weightFlow(
  gpu: Gpu,
  model: Qwen2,
  rule: FlowRule,
  moments?: (name: string) => Promise<[readonly Tensor[], readonly Tensor[], () => void]>,
): Promise<Pick<GradientFlow, "weights" | "layers">> {
  const rows: Row[] = [];
  for (const [name, weights] of wholeParameters(model)) {
    const gradients = weights.map((tensor) => tensor.grad!);
    const [first, second, free] = await moments?.(name) ?? [];
    const tensors = [
      squaresOf(gpu, weights),
      squaresOf(gpu, gradients),
      gpu.scope(() => updateNorm(gpu, matrixOf(...first ?? gradients), second && matrixOf(...second), rule)),
    ];
    const [weight, gradient, update] = await gpu.read(...tensors);
    for (const tensor of tensors) gpu.release(tensor);
    free?.();
    rows.push({
      name,
      size: weights.reduce((sum, { size }) => sum + size, 0),
      weight: weight[1],
      gradient: gradient[1],
      update: rule.learningRate ** 2 * update.reduce((sum, x) => sum + x, 0),
      nonFinite: gradient[0],
    });
  }
  const groups = new Map<string, Row>();
  for (const row of rows) {
    const name = /^layers\.\d+/.exec(row.name)?.[0] ?? row.name.split(".")[0];
    const group = groups.get(name) ?? { name, size: 0, weight: 0, gradient: 0, update: 0, nonFinite: 0 };
    for (const figure of ["size", "weight", "gradient", "update", "nonFinite"] as const) {
      group[figure] += row[figure];
    }
    groups.set(name, group);
  }
  return { weights: rows.map(flowOf), layers: [...groups.values()].map(flowOf) };
}

/** Sums of squares over a tensor, or over a layer. */
interface Row {
  name: string;
  size: number;
  weight: number;
  gradient: number;
  update: number;
  nonFinite: number;
}

function flowOf({ name, size, weight, gradient, update, nonFinite }: Row): WeightFlow {
  const ratio = (squares: number) => weight > 0 ? Math.sqrt(squares / weight) : 0;
  return {
    name,
    weightNorm: Math.sqrt(weight),
    gradientNorm: Math.sqrt(gradient),
    gradientRms: Math.sqrt(gradient / size),
    gradientRatio: ratio(gradient),
    updateRatio: ratio(update),
    nonFinite,
  };
}
