/** Matrix products in the transposes that forward and backward need, with bias and residual fused into the store. */
import { columnSums } from "./column_sums.ts";
import type { DeviceFacts } from "./device.ts";
import type { Gpu } from "./gpu.ts";
import { type Job, variants } from "./matmul_variants.ts";
import { gradientTarget, passGradient, record } from "./tape.ts";
import type { Tensor } from "./tensor.ts";
import { slowStorage } from "./window.ts";

/**
 * How the operands lie in memory, row-major: `NN` a [M, K], b [K, N]; `NT` a [M, K], b [N, K]; `TN` a [K, M], b [K, N].
 * A linear layer's forward pass is NT, the gradient of its input NN, that of its weight TN.
 */
export type Form = "NN" | "NT" | "TN";

/** A product to be timed: see chooseMatmul. */
export interface Shape {
  form: Form;
  M: number;
  N: number;
  K: number;
}

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
  /** By which variant (matmul_variants.ts), rather than the one chosen for the shape. */
  variant?: string;
}

/** out [M, N] (+)= alpha · op(a)·op(b) + bias + residual; everything f32. Not recorded on the tape. */
export function gemm(gpu: Gpu, form: Form, a: Tensor, b: Tensor, out: Tensor, product: Product): void {
  const { M, N, K, accumulate = 0, alpha = 1, bias, residual } = product;
  if (M === 0 || N === 0) return;
  const { aOffset = 0, bOffset = 0, outOffset = 0, outStride = N } = product;
  const { aStride = form === "TN" ? M : K, bStride = form === "NT" ? K : N } = product;
  const layout = { M, N, K, aOffset, bOffset, outOffset, aStride, bStride, outStride };
  check(form, a, b, out, layout);
  const job = { form, a, b, out, accumulate, alpha, bias, residual, ...layout };
  const name = product.variant ?? chosen(gpu, job);
  const variant = variants[name];
  if (!variant) {
    throw new Error(
      `matmul ${form}: there is no variant "${name}"; there are ${Object.keys(variants).join(", ")}`,
    );
  }
  const reason = variant.refuses(gpu, job);
  if (reason) throw new Error(`matmul ${form} ${M}×${N}×${K}: the variant "${name}" cannot do it: ${reason}`);
  variant.run(gpu, job);
}

/**
 * The variant for a job: the one chosen for its shape class, or for all shapes (`gpu.choices`), if it can do it; else the first of the adapter's
 * usual ones that can: odd shapes have kernels of their own. `any` can do everything.
 * @throws if the choice asks for what the device lacks
 */
function chosen(gpu: Gpu, job: Job): string {
  const wanted = gpu.choices.get(shapeClass(job.form, job.M, job.N, job.K)) ?? gpu.choices.get("matmul");
  const lack = wanted && variants[wanted]?.lacks(gpu);
  if (lack) throw new Error(`matmul: the variant "${wanted}" was chosen, but ${lack}`);
  if (wanted && variants[wanted].refuses(gpu, job) === null) return wanted;
  return matmulUsual(gpu.facts).find((name) =>
    variants[name].refuses(gpu, job) === null && !variants[name].outdone?.(job)
  )!;
}

/** The variants that serve an adapter where nothing was measured, best first; the same on every run, so that results are too. */
export function matmulUsual(facts: DeviceFacts): string[] {
  if (!facts.software) return ["skinny", "simt", "any"];
  return slowStorage(facts) ? ["windows", "window", "panels", "software", "any"] : ["software", "any"];
}

/** Products that one choice serves: the form, and each extent to the next power of two. */
export function shapeClass(form: Form, M: number, N: number, K: number): string {
  return `matmul ${form} ${
    [M, N, K].map((extent) => 2 ** Math.ceil(Math.log2(Math.max(1, extent)))).join(" ")
  }`;
}

/** Extents, offsets and strides of a product, all in elements. */
export interface Layout {
  M: number;
  N: number;
  K: number;
  aOffset: number;
  bOffset: number;
  outOffset: number;
  aStride: number;
  bStride: number;
  outStride: number;
}

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
