/** Matrix products in the transposes that forward and backward need, with bias and residual fused into the store. */
import anySource from "./matmul_any.wgsl" with { type: "text" };
import { columnSums } from "./column_sums.ts";
import type { Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import { gradientTarget, passGradient, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

const anyKernel = kernel("matmul_any", anySource);

/**
 * How the operands lie in memory, row-major: `NN` a [M, K], b [K, N]; `NT` a [M, K], b [N, K]; `TN` a [K, M], b [K, N].
 * A linear layer's forward pass is NT, the gradient of its input NN, that of its weight TN.
 */
export type Form = "NN" | "NT" | "TN";

export interface Product {
  M: number;
  N: number;
  K: number;
  /** 1 adds to what `out` holds, 0 overwrites it in full. */
  accumulate?: 0 | 1;
  alpha?: number;
  /** [N], added to every row. */
  bias?: Tensor;
  /** Laid out as `out`, added element by element. */
  residual?: Tensor;
  /** Elements before the operand's first, for a range of rows of something bigger. */
  aOffset?: number;
  bOffset?: number;
  outOffset?: number;
  /** Elements from one stored row to the next, where that is not the row's length. */
  aStride?: number;
  bStride?: number;
  outStride?: number;
}

/** out [M, N] (+)= alpha · op(a)·op(b) + bias + residual; everything f32. Not recorded on the tape. */
export function gemm(gpu: Gpu, form: Form, a: Tensor, b: Tensor, out: Tensor, product: Product): void {
  const { M, N, K, accumulate = 0, alpha = 1, bias, residual } = product;
  if (M === 0 || N === 0) return;
  const { aOffset = 0, bOffset = 0, outOffset = 0, outStride = N } = product;
  const { aStride = form === "TN" ? M : K, bStride = form === "NT" ? K : N } = product;
  check(form, a, b, out, { M, N, K, aOffset, bOffset, outOffset, aStride, bStride, outStride });
  const nothing = gpu.constant(0);
  const y = Math.ceil(M / 8);
  const height = Math.min(y, 32768);
  gpu.run(
    anyKernel,
    { a, b, bias: bias ?? nothing, residual: residual ?? nothing, out },
    {
      M,
      N,
      K,
      aOffset,
      aRow: form === "TN" ? 1 : aStride,
      aColumn: form === "TN" ? aStride : 1,
      bOffset,
      bRow: form === "NT" ? 1 : bStride,
      bColumn: form === "NT" ? bStride : 1,
      outOffset,
      outRow: outStride,
      alpha,
      accumulate,
      hasBias: bias ? 1 : 0,
      hasResidual: residual ? 1 : 0,
    },
    [Math.ceil(N / 64), height, Math.ceil(y / height)],
  );
}

type Layout = Required<Omit<Product, "accumulate" | "alpha" | "bias" | "residual">>;

function check(form: Form, a: Tensor, b: Tensor, out: Tensor, at: Layout): void {
  const [aRows, aColumns] = form === "TN" ? [at.K, at.M] : [at.M, at.K];
  const [bRows, bColumns] = form === "NT" ? [at.N, at.K] : [at.K, at.N];
  const operands = [
    ["a", a, at.aOffset, aRows, aColumns, at.aStride],
    ["b", b, at.bOffset, bRows, bColumns, at.bStride],
    ["out", out, at.outOffset, at.M, at.N, at.outStride],
  ] as const;
  for (const [name, tensor, offset, rows, columns, stride] of operands) {
    if (columns > stride || offset + (rows - 1) * stride + columns > tensor.size) {
      throw new Error(
        `matmul ${form}: ${name} (${tensor.name} [${tensor.shape}]) is too small for ${rows} rows of ${columns}, ` +
          `${stride} apart, from element ${offset}`,
      );
    }
  }
}

/**
 * y = x·weightᵀ + bias + residual: a linear layer, differentiable in all four.
 * @param x [M, K]
 * @param weight [N, K], as Hugging Face stores it
 * @param options bias [N]; residual [M, N]
 * @returns y [M, N]
 */
export function matmul(
  gpu: Gpu,
  x: Tensor,
  weight: Tensor,
  options: { bias?: Tensor; residual?: Tensor } = {},
): Tensor {
  const { bias, residual } = options;
  const [N, K] = weight.shape;
  const M = x.size / K;
  if (!Number.isInteger(M) || x.shape.at(-1) !== K) {
    throw new Error(`matmul: ${x.name} [${x.shape}] does not fit ${weight.name} [${weight.shape}]`);
  }
  if (bias && bias.size !== N) throw new Error(`matmul: ${bias.name} [${bias.shape}] is not [${N}]`);
  if (residual && residual.size !== M * N) {
    throw new Error(`matmul: ${residual.name} [${residual.shape}] is not [${M}, ${N}]`);
  }
  const y = gpu.empty([M, N], "matmul");
  gemm(gpu, "NT", x, weight, y, { M, N, K, bias, residual });
  const inputs = [x, weight, bias, residual].filter((input) => input !== undefined);
  record(gpu, "matmul", inputs, [y], ([dy]) => {
    if (!dy) return;
    const dx = gradientTarget(gpu, x);
    if (dx) gemm(gpu, "NN", dy, weight, dx.into, { M, N: K, K: N, accumulate: dx.accumulate });
    const dw = gradientTarget(gpu, weight);
    if (dw) gemm(gpu, "TN", dy, x, dw.into, { M: N, N: K, K: M, accumulate: dw.accumulate });
    const db = bias && gradientTarget(gpu, bias);
    if (db) columnSums(gpu, dy, db.into, db.accumulate);
    if (residual) passGradient(gpu, residual, dy);
  });
  return y;
}

/** The product of a form in f64 on the host: a and b dense. */
export function matmulReference(
  form: Form,
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  M: number,
  N: number,
  K: number,
): Float64Array {
  const out = new Float64Array(M * N);
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let sum = 0;
      for (let k = 0; k < K; k++) {
        sum += (form === "TN" ? a[k * M + m] : a[m * K + k]) * (form === "NT" ? b[n * K + k] : b[k * N + n]);
      }
      out[m * N + n] = sum;
    }
  }
  return out;
}
