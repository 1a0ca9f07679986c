/**
 * Log-probabilities of tokens under softmax(hidden·headᵀ/τ), with the log-sum-exp and the entropy, and cross-entropy, without ever
 * storing rows × vocabulary: the idea of Cut Cross-Entropy (arXiv 2411.09009), with plain matrix products over tiles in
 * a bounded scratch, an online log-sum-exp merged in a fixed order, and no gradient filtering, so that gradients are exact.
 */
import forwardSource from "./logprob.wgsl" with { type: "text" };
import gradSource from "./logprob_grad.wgsl" with { type: "text" };
import sumSource from "./logprob_sum.wgsl" with { type: "text" };
import sumGradSource from "./logprob_sum_grad.wgsl" with { type: "text" };
import type { RowRanges } from "./embedding.ts";
import { elementwise, type Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import { defaultScratchBytes, fillTile, paddedColumns, walk } from "./logprob_tiles.ts";
import { gemm } from "./matmul.ts";
import { rowGrid } from "./reduce.ts";
import { gradientTarget, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

const forward = kernel("logprob", forwardSource);
const grad = kernel("logprob_grad", gradSource);
const sum = kernel("logprob_sum", sumSource);
const sumGrad = kernel("logprob_sum_grad", sumGradSource);

export interface LogprobOptions {
  /** τ > 0: logits are divided by it. Default 1. */
  temperature?: number;
  /** Ids at or above it do not exist: they get no probability and no gradient. Default: all V rows of the head. */
  vocabulary?: number;
  /** Bytes of logits that may exist at once. Default 32 MiB. */
  scratchBytes?: number;
}

export interface Logprobs {
  /** [R]: log p(targets[r]). A target at or above `vocabulary` gets the lowest number. */
  logprob: Tensor;
  /** [R]: log Σ exp of the scaled logits. */
  logSumExp: Tensor;
  /** [R]: −Σ p·log p, in nats. */
  entropy: Tensor;
}

/**
 * Scores one target a row. Differentiable in `hidden` and `head`, from gradients of any of the three results.
 * @param hidden [R, D]
 * @param head [V, D] in row ranges
 * @param targets u32 [R]; must live until the backward pass
 * @throws if the shapes do not meet, or temperature or vocabulary are out of range
 */
export function logprobs(
  gpu: Gpu,
  hidden: Tensor,
  head: RowRanges,
  targets: Tensor,
  options: LogprobOptions = {},
): Logprobs {
  const { temperature = 1, vocabulary, scratchBytes = defaultScratchBytes } = options;
  const [R, D] = hidden.shape;
  if (targets.size !== R) {
    throw new Error(`logprobs: ${targets.size} targets for ${R} rows of ${hidden.name}`);
  }
  const { chunk, tiles, elements } = walk(hidden, head, { temperature, vocabulary, scratchBytes });
  const alpha = 1 / temperature;
  const lanes = gpu.facts.software ? 8 : 128;

  const logprob = gpu.empty([R], "logprob");
  const logSumExp = gpu.empty([R], "logprob.logSumExp");
  const entropy = gpu.empty([R], "logprob.entropy");
  const state = gpu.empty([R, 4], "logprob.state");
  const tile = gpu.empty([elements], "logprob.tile");

  for (let firstRow = 0; firstRow < R; firstRow += chunk) {
    const rows = Math.min(chunk, R - firstRow);
    tiles.forEach((at, n) => {
      fillTile(gpu, hidden, head, tile, { firstRow, rows, at, temperature, stride: paddedColumns(at) });
      gpu.run(
        forward,
        { tile, labels: targets, state, logprob, logSumExp, entropy },
        {
          rows,
          columns: at.columns,
          firstRow,
          firstId: at.firstId,
          begin: n === 0 ? 1 : 0,
          last: n === tiles.length - 1 ? 1 : 0,
        },
        rowGrid(rows),
        { lanes },
      );
    });
  }

  // Where one tile holds everything, the logits stay for the backward pass instead of being computed again.
  const whole = tiles.length === 1 && chunk >= R;
  if (!whole) gpu.release(tile);
  const saved = whole ? [state, tile] : [state];
  record(gpu, "logprobs", [hidden, ...head], [logprob, logSumExp, entropy], (gradients) => {
    const scratch = whole ? tile : gpu.hold([elements], "logprob.tile");
    const dHidden = gradientTarget(gpu, hidden);
    const dHead = head.map((rows) => gradientTarget(gpu, rows));
    dHead.forEach((into) => into && !into.accumulate && gpu.clear(into.into));
    const [dLogprob, dLogSumExp, dEntropy] = gradients;
    const given = (dLogprob ? 1 : 0) | (dLogSumExp ? 2 : 0) | (dEntropy ? 4 : 0);
    const any = dLogprob ?? dLogSumExp ?? dEntropy!;
    for (let firstRow = 0; firstRow < R; firstRow += chunk) {
      const rows = Math.min(chunk, R - firstRow);
      tiles.forEach((at, n) => {
        if (!whole) {
          fillTile(gpu, hidden, head, scratch, {
            firstRow,
            rows,
            at,
            temperature,
            stride: paddedColumns(at),
          });
        }
        gpu.run(
          grad,
          {
            tile: scratch,
            labels: targets,
            state,
            dLogprob: dLogprob ?? any,
            dLogSumExp: dLogSumExp ?? any,
            dEntropy: dEntropy ?? any,
          },
          { rows, columns: at.columns, firstRow, firstId: at.firstId, given },
          rowGrid(rows),
          { lanes },
        );
        if (dHidden) {
          gemm(gpu, "NN", scratch, head[at.range], dHidden.into, {
            M: rows,
            N: D,
            K: at.columns,
            aStride: paddedColumns(at),
            alpha,
            accumulate: n === 0 ? dHidden.accumulate : 1,
            bOffset: at.rangeRow * D,
            outOffset: firstRow * D,
          });
        }
        const target = dHead[at.range];
        if (target) {
          gemm(gpu, "TN", scratch, hidden, target.into, {
            M: at.columns,
            N: D,
            K: rows,
            aStride: paddedColumns(at),
            alpha,
            accumulate: 1,
            bOffset: firstRow * D,
            outOffset: at.rangeRow * D,
          });
        }
      });
    }
    if (!whole) gpu.release(scratch);
  }, saved);
  return { logprob, logSumExp, entropy };
}

/** Bytes that {@link logprobs} holds beside its results, forward or backward: the tile of logits and the rows' running sums. */
export function logprobScratchBytes(hidden: Tensor, head: RowRanges, options: LogprobOptions = {}): number {
  const { temperature = 1, vocabulary, scratchBytes = defaultScratchBytes } = options;
  return 4 * (walk(hidden, head, { temperature, vocabulary, scratchBytes }).elements + 4 * hidden.shape[0]);
}

/**
 * Cross-entropy of `targets` u32 [R]: −Σ weights·logprob, by default the mean over rows. Differentiable in `hidden` and `head`.
 * @param options.weights [R], what each row counts, e.g. 1 / (tokens of the batch); no gradient flows into it
 * @returns loss, a scalar [1], and logprob [R]
 */
export function crossEntropy(
  gpu: Gpu,
  hidden: Tensor,
  head: RowRanges,
  targets: Tensor,
  options: LogprobOptions & { weights?: Tensor } = {},
): { loss: Tensor; logprob: Tensor } {
  const { logprob } = logprobs(gpu, hidden, head, targets, options);
  const R = logprob.size;
  const weights = options.weights ?? logprob;
  if (weights.size !== R) throw new Error(`crossEntropy: ${weights.size} weights for ${R} rows`);
  const weighted = options.weights ? 1 : 0;
  const scale = options.weights ? 1 : 1 / Math.max(1, R);
  const loss = gpu.empty([1], "cross_entropy");
  gpu.run(sum, { logprob, weights, loss }, { R, weighted, scale }, [1]);
  record(gpu, "cross_entropy", [logprob], [loss], ([dLoss]) => {
    const target = gradientTarget(gpu, logprob);
    if (!dLoss || !target) return;
    gpu.run(
      sumGrad,
      { weights, dLoss, dLogprob: target.into },
      { R, weighted, accumulate: target.accumulate, scale },
      elementwise(R),
    );
  });
  return { loss, logprob };
}

/**
 * The same in f64 on the host. With `gradients` [R] of logprob, logSumExp and entropy it also returns those of hidden and head.
 * @param hidden [R, D] and head [V, D], row-major
 */
export function logprobsReference(
  hidden: ArrayLike<number>,
  head: ArrayLike<number>,
  targets: ArrayLike<number>,
  { temperature = 1, vocabulary }: { temperature?: number; vocabulary?: number } = {},
  gradients: {
    logprob?: ArrayLike<number>;
    logSumExp?: ArrayLike<number>;
    entropy?: ArrayLike<number>;
  } = {},
) {
  const R = targets.length, D = hidden.length / R, V = vocabulary ?? head.length / D;
  const logprob = new Float64Array(R), logSumExp = new Float64Array(R), entropy = new Float64Array(R);
  const dhidden = new Float64Array(hidden.length), dhead = new Float64Array(head.length);
  for (let r = 0; r < R; r++) {
    const z = new Float64Array(V);
    for (let v = 0; v < V; v++) {
      for (let d = 0; d < D; d++) z[v] += hidden[r * D + d] * head[v * D + d];
      z[v] /= temperature;
    }
    const top = z.reduce((a, b) => Math.max(a, b));
    const logSum = top + Math.log(z.reduce((total, value) => total + Math.exp(value - top), 0));
    const logP = z.map((value) => value - logSum);
    logSumExp[r] = logSum;
    logprob[r] = logP[targets[r]];
    entropy[r] = -logP.reduce((total, l) => total + Math.exp(l) * l, 0);
    for (let v = 0; v < V; v++) {
      const p = Math.exp(logP[v]);
      const dz = (gradients.logprob?.[r] ?? 0) * ((v === targets[r] ? 1 : 0) - p) +
        (gradients.logSumExp?.[r] ?? 0) * p - (gradients.entropy?.[r] ?? 0) * p * (logP[v] + entropy[r]);
      for (let d = 0; d < D; d++) {
        dhidden[r * D + d] += dz * head[v * D + d] / temperature;
        dhead[v * D + d] += dz * hidden[r * D + d] / temperature;
      }
    }
  }
  return { logprob, logSumExp, entropy, dhidden, dhead };
}
