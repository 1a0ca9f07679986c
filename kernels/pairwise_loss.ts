/** The Bradley–Terry loss of a reward model: −log σ(chosen − rejected) (arXiv 2009.01325, §3.4). */
import source from "./pairwise_loss.wgsl" with { type: "text" };
import { scaleInto } from "./elementwise.ts";
import type { Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import { fold } from "./reduce.ts";
import { gradientTarget, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

const forward = kernel("pairwise_loss", source);

/** What `sums` holds, in order; all are sums over pairs. Kept in step with pairwise_loss.wgsl by a test. */
export const pairwiseSums = ["pairs", "loss", "correct", "margin", "chosen", "rejected"] as const;

export interface PairwiseLoss {
  /** [1]: Σ −log σ(chosen − rejected − margin) / denominator; differentiable in the scores. */
  loss: Tensor;
  /** [1]: the fraction of pairs with chosen > rejected; a tie counts as wrong. */
  accuracy: Tensor;
  /** [P]: chosen − rejected. */
  margins: Tensor;
  /** [6]: {@link pairwiseSums}. */
  sums: Tensor;
}

export interface PairwiseOptions {
  /** By how much the chosen response should win: one number, or a tensor [P]. 0 if left out. */
  margin?: number | Tensor;
  /** What the summed loss is divided by; P if left out. Give the batch's pairs to weigh micro-batches alike. */
  denominator?: number;
  /** Sums [6] of earlier micro-batches to add to, instead of a new tensor. */
  into?: Tensor;
}

/**
 * @param chosen scores [P], or, where `rejected` is null, [2P]: the chosen ones first, then the rejected
 * @param rejected scores [P]
 * @throws if the sizes do not pair up
 */
export function pairwiseLoss(
  gpu: Gpu,
  chosen: Tensor,
  rejected: Tensor | null,
  { margin = 0, denominator, into }: PairwiseOptions = {},
): PairwiseLoss {
  const P = rejected ? chosen.size : chosen.size / 2;
  if (!Number.isInteger(P) || (rejected && rejected.size !== P)) {
    throw new Error(
      `pairwiseLoss: ${chosen.name} [${chosen.shape}]${
        rejected ? ` and ${rejected.name} [${rejected.shape}]` : ""
      } do not form pairs`,
    );
  }
  const perPair = typeof margin !== "number";
  if (perPair && margin.size !== P) throw new Error(`pairwiseLoss: ${margin.size} margins for ${P} pairs`);
  const factor = 1 / (denominator ?? P);
  const margins = gpu.empty([P], "pairwiseLoss.margins"), slope = gpu.empty([P], "pairwiseLoss.slope");
  const { loss, accuracy, sums } = gpu.scope(() => {
    const partial = gpu.empty([P, 6], "pairwiseLoss.partial");
    const bindings = {
      chosen,
      rejected: rejected ?? chosen,
      margin: perPair ? margin : gpu.constant(margin),
      margins,
      slope,
      partial,
    };
    const params = { P, rejectedFrom: rejected ? 0 : P, marginStride: perPair ? 1 : 0 };
    gpu.run(forward, bindings, params, [Math.ceil(P / 64)]);
    const { sums: fresh } = fold(gpu, partial);
    if (into) gpu.addInto(into, fresh);
    const loss = gpu.empty([1], "pairwiseLoss"), accuracy = gpu.empty([1], "pairwiseLoss.accuracy");
    const one = gpu.constant(1);
    scaleInto(gpu, fresh, one, { into: loss, accumulate: 0 }, { factor, from: 1, size: 1 });
    scaleInto(gpu, fresh, one, { into: accuracy, accumulate: 0 }, { factor: 1 / P, from: 2, size: 1 });
    return { loss, accuracy, sums: into ?? fresh };
  });
  record(gpu, "pairwiseLoss", rejected ? [chosen, rejected] : [chosen], [loss], ([dloss]) => {
    if (!dloss) return;
    const dchosen = gradientTarget(gpu, chosen);
    if (dchosen) scaleInto(gpu, slope, dloss, dchosen, { factor });
    const drejected = rejected ? gradientTarget(gpu, rejected) : dchosen;
    if (drejected) scaleInto(gpu, slope, dloss, drejected, { factor: -factor, to: rejected ? 0 : P });
  }, [slope]);
  return { loss, accuracy, margins, sums };
}

/** The same in f64 on the host, with the gradients. */
export function pairwiseLossReference(
  chosen: ArrayLike<number>,
  rejected: ArrayLike<number>,
  margin: ArrayLike<number> | number = 0,
): { loss: number; accuracy: number; dchosen: Float64Array; drejected: Float64Array } {
  const P = chosen.length;
  const dchosen = new Float64Array(P), drejected = new Float64Array(P);
  let loss = 0, correct = 0;
  for (let p = 0; p < P; p++) {
    const z = chosen[p] - rejected[p] - (typeof margin === "number" ? margin : margin[p]);
    loss += Math.max(-z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
    correct += chosen[p] > rejected[p] ? 1 : 0;
    drejected[p] = 1 / (1 + Math.exp(z)) / P;
    dchosen[p] = -drejected[p];
  }
  return { loss: loss / P, accuracy: correct / P, dchosen, drejected };
}
