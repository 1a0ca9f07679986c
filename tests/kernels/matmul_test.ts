import { assertThrows } from "deno-std/assert/mod.js";
import { type Form, gemm, matmul, matmulReference } from "../../kernels/matmul.ts";
import { assertClose, gpuTest, normals, parameter, testRuntime } from "./testing.ts";

const variants = ["any", "software", "window", "windows", "panels", "simt"];
const shapesOfPanels = [[64, 12, 8], [132, 44, 72], [68, 128, 1028], [400, 36, 64]];
const shapesOfVariants = [[4, 4, 4], [68, 44, 72], [200, 136, 260], [12, 160, 132], [20, 36, 500]];
/** Windows are for Debian 12's driver, which Dawn cannot use; where it can, their kernels take ten seconds each to compile. */
function shapesFor(variant: string): number[][] {
  const shapes = variant === "panels" ? shapesOfPanels : shapesOfVariants;
  return testRuntime === "dawn" && /window|panels/.test(variant) ? shapes.slice(0, 1) : shapes;
}

const forms: Form[] = ["NN", "NT", "TN"];
const shapes = [[1, 1, 1], [3, 5, 7], [1, 130, 33], [8, 64, 64], [65, 68, 36], [70, 33, 129], [256, 128, 96]];

for (const form of forms) {
  for (const [M, N, K] of shapes) {
    gpuTest(`gemm ${form} agrees with f64 at M ${M}, N ${N}, K ${K}`, async (gpu) => {
      const as = normals(M * K, 1), bs = normals(K * N, 2), before = normals(M * N, 3);
      const biases = normals(N, 4), residuals = normals(M * N, 5);
      const expected = matmulReference(form, as, bs, M, N, K);
      await gpu.scope(async () => {
        const a = gpu.from(as, form === "TN" ? [K, M] : [M, K], "a");
        const b = gpu.from(bs, form === "NT" ? [N, K] : [K, N], "b");
        const plain = gpu.from(new Float32Array(M * N).fill(NaN), [M, N], "plain");
        const full = gpu.from(before, [M, N], "full");
        const bias = gpu.from(biases, [N], "bias"), residual = gpu.from(residuals, [M, N], "residual");
        gemm(gpu, form, a, b, plain, { M, N, K });
        gemm(gpu, form, a, b, full, { M, N, K, alpha: 0.5, accumulate: 1, bias, residual });
        const [first, second] = await gpu.read(plain, full);
        assertClose(first, expected, 1e-5 * Math.sqrt(K));
        const sums = expected.map((v, i) => 0.5 * v + before[i] + biases[i % N] + residuals[i]);
        assertClose(second, sums, 1e-5 * Math.sqrt(K));
      });
    });
  }
}

for (const form of forms) {
  gpuTest(`gemm ${form} works on a range of rows and leaves the rest alone`, async (gpu) => {
    for (const [M, N, K, pad] of [[12, 20, 8, 4], [5, 7, 9, 3]]) {
      const [aRows, aColumns] = form === "TN" ? [K, M] : [M, K];
      const [bRows, bColumns] = form === "NT" ? [N, K] : [K, N];
      const as = normals((aRows + 2) * (aColumns + pad), 1), bs = normals((bRows + 2) * (bColumns + pad), 2);
      const before = normals((M + 2) * (N + pad), 3);
      const a = gpu.from(as, [as.length], "a"), b = gpu.from(bs, [bs.length], "b");
      const out = gpu.from(before, [before.length], "out");
      gemm(gpu, form, a, b, out, {
        M,
        N,
        K,
        aOffset: aColumns + pad,
        aStride: aColumns + pad,
        bOffset: bColumns + pad,
        bStride: bColumns + pad,
        outOffset: N + pad,
        outStride: N + pad,
      });
      const dense = (data: Float32Array, rows: number, columns: number) =>
        Float32Array.from(
          { length: rows * columns },
          (_, i) => data[(1 + Math.floor(i / columns)) * (columns + pad) + i % columns],
        );
      const product = matmulReference(form, dense(as, aRows, aColumns), dense(bs, bRows, bColumns), M, N, K);
      const expected = Float64Array.from(before);
      for (let i = 0; i < M * N; i++) expected[(1 + Math.floor(i / N)) * (N + pad) + i % N] = product[i];
      const [actual] = await gpu.read(out);
      assertClose(actual, expected, 1e-5);
    }
  });
}

for (const [M, K, N] of [[1, 3, 2], [70, 33, 5], [129, 64, 96]]) {
  gpuTest(`a linear layer's gradients agree with f64 at x [${M}, ${K}], weight [${N}, ${K}]`, async (gpu) => {
    const xs = normals(M * K, 1), ws = normals(N * K, 2), bs = normals(N, 3), rs = normals(M * N, 4);
    const dys = normals(M * N, 5);
    const x = parameter(gpu, xs, [M, K], "x"), weight = parameter(gpu, ws, [N, K], "weight");
    const bias = parameter(gpu, bs, [N], "bias"), residual = parameter(gpu, rs, [M, N], "residual");
    const y = gpu.scope(() =>
      gpu.keep(
        gpu.differentiate(() => matmul(gpu, x, weight, { bias, residual }), gpu.from(dys, [M, N], "dy")),
      )
    );
    const [actual, dx, dw, db, dr] = await gpu.read(y, x.grad!, weight.grad!, bias.grad!, residual.grad!);
    const product = matmulReference("NT", xs, ws, M, N, K);
    assertClose(actual, product.map((v, i) => v + bs[i % N] + rs[i]), 1e-5 * Math.sqrt(K), "y");
    assertClose(dx, matmulReference("NN", dys, ws, M, K, N), 1e-5 * Math.sqrt(N), "dx");
    assertClose(dw, matmulReference("TN", dys, xs, N, K, M), 1e-5 * Math.sqrt(M), "dweight");
    const sums = new Float64Array(N);
    dys.forEach((v, i) => sums[i % N] += v);
    assertClose(db, sums, 1e-5 * Math.sqrt(M), "dbias");
    assertClose(dr, dys, 0, "dresidual");
  });
}

gpuTest("operands that are too small are refused by name", (gpu) => {
  const x = gpu.hold([4, 6], "x"), weight = gpu.hold([3, 5], "weight");
  assertThrows(() => matmul(gpu, x, weight), Error, "x [4,6] does not fit weight [3,5]");
  assertThrows(() => gemm(gpu, "NT", x, weight, x, { M: 4, N: 4, K: 5 }), Error, "b (weight [3,5])");
});

for (const variant of variants) {
  gpuTest(
    `the variant ${variant} agrees with f64 in every form, also where it takes several windows`,
    async (gpu) => {
      for (const form of forms) {
        for (const [M, N, K] of shapesFor(variant)) {
          const as = normals(M * K + 4, 1),
            bs = normals(K * N + 4, 2),
            before = normals(M * N, 3),
            biases = normals(N, 4);
          const residuals = normals(M * N, 5);
          const out = gpu.from(before, [M, N], "out"), bias = gpu.from(biases, [N], "bias");
          const residual = gpu.from(residuals, [M, N], "residual");
          const a = gpu.from(as, [M * K + 4], "a"), b = gpu.from(bs, [K * N + 4], "b");
          const product = {
            M,
            N,
            K,
            alpha: 2,
            accumulate: 1,
            aOffset: 4,
            bOffset: 4,
            bias,
            residual,
            variant,
          } as const;
          gemm(gpu, form, a, b, out, product);
          const [actual] = await gpu.read(out);
          const expected = matmulReference(form, as.subarray(4), bs.subarray(4), M, N, K);
          const sums = expected.map((v, i) => 2 * v + before[i] + biases[i % N] + residuals[i]);
          assertClose(actual, sums, 1e-5 * Math.sqrt(K), `${form} ${M}×${N}×${K}`);
          for (const tensor of [a, b, out, bias, residual]) gpu.release(tensor);
        }
      }
    },
  );
}

gpuTest("a variant that cannot do a product is refused aloud", (gpu) => {
  const x = gpu.hold([6, 6], "x");
  const product = { M: 6, N: 6, K: 6 };
  assertThrows(
    () => gemm(gpu, "NT", x, x, gpu.hold([6, 6], "y"), { ...product, variant: "software" }),
    Error,
    'the variant "software" cannot do it: rows and offsets must be multiples of 4 elements',
  );
  assertThrows(() => gemm(gpu, "NT", x, x, x, { ...product, variant: "fastest" }), Error, "no variant");
});

gpuTest("the variant skinny agrees with f64 for 1 to 64 rows", async (gpu) => {
  for (const [M, N, K] of [[1, 5, 4], [2, 9, 36], [3, 130, 64], [8, 33, 132], [13, 24, 68], [64, 17, 40]]) {
    const as = normals(M * K, 1), bs = normals(K * N, 2), before = normals(M * N, 3), biases = normals(N, 4);
    const a = gpu.from(as, [M, K], "a"), b = gpu.from(bs, [N, K], "b"), out = gpu.from(before, [M, N], "out");
    const bias = gpu.from(biases, [N], "bias");
    gemm(gpu, "NT", a, b, out, { M, N, K, accumulate: 1, bias, residual: undefined, variant: "skinny" });
    const [actual] = await gpu.read(out);
    const expected = matmulReference("NT", as, bs, M, N, K).map((v, i) => v + before[i] + biases[i % N]);
    assertClose(actual, expected, 1e-5 * Math.sqrt(K), `${M}×${N}×${K}`);
  }
});

gpuTest(
  "matrix units agree with f64 to f16's rounding of the operands, or are refused where there are none",
  async (gpu) => {
    const has = gpu.facts.matrixUnits.some(({ component, result }) =>
      component === "f16" && result === "f32"
    );
    for (const form of forms) {
      for (const [M, N, K] of [[4, 4, 4], [64, 64, 32], [68, 132, 72], [200, 76, 260]]) {
        const as = normals(M * K, 1),
          bs = normals(K * N, 2),
          before = normals(M * N, 3),
          biases = normals(N, 4);
        const a = gpu.from(as, [M * K], "a"),
          b = gpu.from(bs, [K * N], "b"),
          out = gpu.from(before, [M, N], "out");
        const bias = gpu.from(biases, [N], "bias");
        const run = () =>
          gemm(gpu, form, a, b, out, { M, N, K, alpha: 2, accumulate: 1, bias, variant: "matrix" });
        if (!has) {
          assertThrows(run, Error, "shows no matrix units");
          continue;
        }
        run();
        const [actual] = await gpu.read(out);
        // The operands as f16 holds them: what is left is f32's rounding of the sums.
        const rounded = (data: Float32Array<ArrayBuffer>) => Float64Array.from(new Float16Array(data));
        const expected = matmulReference(form, rounded(as), rounded(bs), M, N, K);
        const sums = expected.map((v, i) => 2 * v + before[i] + biases[i % N]);
        assertClose(actual, sums, 1e-5 * Math.sqrt(K), `${form} ${M}×${N}×${K}`);
      }
    }
  },
);
