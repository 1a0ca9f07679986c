/** The operations of `lab.ops`, as cells see them; ops.ts does them. */
import type { Tensor } from "./handles.ts";
import type { Caller } from "./transport.ts";

/** Our kernels on tensors. Each returns new tensors; all but those that say so have gradients. */
export class Ops {
  constructor(private readonly caller: Caller) {}

  private ask<T>(name: string, ...args: unknown[]): Promise<T> {
    return this.caller.call(0, `ops.${name}`, args) as Promise<T>;
  }

  /** x·weightᵀ + bias + residual: x [M, K], weight [N, K], bias [N], residual [M, N] → [M, N]. */
  matmul(x: Tensor, weight: Tensor, options: { bias?: Tensor; residual?: Tensor } = {}): Promise<Tensor> {
    return this.ask("matmul", x, weight, options);
  }

  /** Each row of x [T, D] over its root mean square, times weight [D]. `eps` is added to the mean square, 1e-6 by default. */
  rmsnorm(x: Tensor, weight: Tensor, options: { eps?: number } = {}): Promise<Tensor> {
    return this.ask("rmsnorm", x, weight, options);
  }

  /** silu(gate)·up of gateUp [T, 2F], gate in the first F columns → [T, F]. */
  swiglu(gateUp: Tensor): Promise<Tensor> {
    return this.ask("swiglu", gateUp);
  }

  /** a + b, element by element, for equal shapes. */
  add(a: Tensor, b: Tensor): Promise<Tensor> {
    return this.ask("add", a, b);
  }

  /** a − b, element by element, for equal shapes. */
  subtract(a: Tensor, b: Tensor): Promise<Tensor> {
    return this.ask("subtract", a, b);
  }

  /** wa·a + wb·b, for equal shapes: adds up losses. */
  weightedSum(a: Tensor, wa: number, b: Tensor, wb: number): Promise<Tensor> {
    return this.ask("weightedSum", a, wa, b, wb);
  }

  /** factor·x, element by element. */
  scale(x: Tensor, factor: number): Promise<Tensor> {
    return this.ask("scale", x, factor);
  }

  /** The sum of all elements → [1]. */
  sum(x: Tensor): Promise<Tensor> {
    return this.ask("sum", x);
  }

  /** The mean of all elements → [1]. */
  mean(x: Tensor): Promise<Tensor> {
    return this.ask("mean", x);
  }

  /** Rotary position embedding of the queries and keys in qkv [T, (Hq + 2·Hkv)·headDim]; `lengths` of the sequences, one by default. */
  rope(
    qkv: Tensor,
    options: {
      queryHeads: number;
      keyValueHeads: number;
      headDim: number;
      theta?: number;
      lengths?: number[];
    },
  ): Promise<Tensor> {
    return this.ask("rope", qkv, options);
  }

  /** Causal grouped-query attention over qkv [T, (Hq + 2·Hkv)·headDim] → [T, Hq·headDim]; `lengths` of the sequences, one by default. */
  attention(
    qkv: Tensor,
    options: { queryHeads: number; keyValueHeads: number; headDim: number; lengths?: number[] },
  ): Promise<Tensor> {
    return this.ask("attention", qkv, options);
  }

  /** Rows of x [T, D], by number and in order → [R, D]. */
  gatherRows(x: Tensor, rows: number[]): Promise<Tensor> {
    return this.ask("gatherRows", x, rows);
  }

  /** hidden·weight + bias: hidden [R, D], weight [D] or [1, D], bias [1] → [R], one score a row. */
  scalarHead(hidden: Tensor, weight: Tensor, bias: Tensor): Promise<Tensor> {
    return this.ask("scalarHead", hidden, weight, bias);
  }

  /** log-softmax(hidden·headᵀ/temperature) at one target a row: hidden [R, D], head [V, D], targets u32 [R] → three times [R], nats. */
  logprobs(
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    options: { temperature?: number } = {},
  ): Promise<{ logprob: Tensor; logSumExp: Tensor; entropy: Tensor }> {
    return this.ask("logprobs", hidden, head, targets, options);
  }

  /** The mean of −logprob over the rows → [1]; as logprobs. */
  crossEntropy(
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    options: { temperature?: number } = {},
  ): Promise<Tensor> {
    return this.ask("crossEntropy", hidden, head, targets, options);
  }

  /** The reward model's loss, the mean of −log σ(chosen − rejected − margin): scores [P] each → loss [1], accuracy [1], margins [P]. */
  pairwiseLoss(
    chosen: Tensor,
    rejected: Tensor,
    options: { margin?: number } = {},
  ): Promise<{ loss: Tensor; accuracy: Tensor; margins: Tensor }> {
    return this.ask("pairwiseLoss", chosen, rejected, options);
  }

  /** Where each row of tokens u32 [B, T] ends: last u32 [B], the place of EOS or T − 1, and hasEos u32 [B]. No gradient. */
  firstEos(tokens: Tensor, eos: number): Promise<{ last: Tensor; hasEos: Tensor }> {
    return this.ask("firstEos", tokens, eos);
  }

  /**
   * PPO's rewards: −beta·KL at every token, and the score at one. logprob and reference [B, T], last and hasEos from firstEos, scores [B] →
   * reward and penalty [B, T]. No gradient.
   */
  klReward(
    rollout: { logprob: Tensor; reference: Tensor; last: Tensor; hasEos: Tensor; scores: Tensor },
    options: {
      beta: number;
      /** d, d²/2 or exp(−d) − 1 + d; the first by default. */
      estimator?: 1 | 2 | 3;
      scoreSlot?: "after" | "last";
      missingEos?: "replace" | "subtract" | "none";
      missingEosValue?: number;
    },
  ): Promise<{ reward: Tensor; penalty: Tensor }> {
    return this.ask("klReward", rollout, options);
  }

  /** Generalised advantage estimation: reward [B, T], values [B, T], or [B, T + 1] to bootstrap → advantages and returns [B, T]. No gradient. */
  gae(
    reward: Tensor,
    values: Tensor,
    options: { gamma?: number; lambda?: number } = {},
  ): Promise<{ advantages: Tensor; returns: Tensor }> {
    return this.ask("gae", reward, values, options);
  }

  /** x [B, T] over its standard deviation, less its mean, over the slots up to last u32 [B]; moments are count, mean, variance. No gradient. */
  whiten(
    x: Tensor,
    last: Tensor,
    options: { shiftMean?: boolean; unbiased?: boolean; eps?: number } = {},
  ): Promise<{ whitened: Tensor; moments: Tensor }> {
    return this.ask("whiten", x, last, options);
  }

  /**
   * PPO's clipped policy loss over rows: logprob [R] (differentiated), oldLogprob and advantages [B, T], slots u32 [R], b·T + t of each row,
   * all in order by default → loss [1], and sums [10]: loss, tokens, KL by three estimators, clipped, dual-clipped, ratio − 1, its
   * square, its maximum.
   */
  ppoPolicyLoss(
    inputs: { logprob: Tensor; oldLogprob: Tensor; advantages: Tensor; slots?: Tensor },
    options: { clipRange?: number; dualClip?: number; denominator?: number } = {},
  ): Promise<{ loss: Tensor; sums: Tensor }> {
    return this.ask("ppoPolicyLoss", inputs, options);
  }

  /** The critic's clipped squared error: value [R] (differentiated), oldValues and returns [B, T], slots as in ppoPolicyLoss → loss [1], sums [8]. */
  ppoValueLoss(
    inputs: { value: Tensor; oldValues: Tensor; returns: Tensor; slots?: Tensor },
    options: { clipRange?: number | null; denominator?: number } = {},
  ): Promise<{ loss: Tensor; sums: Tensor }> {
    return this.ask("ppoValueLoss", inputs, options);
  }
}
