import { assert, assertEquals, assertThrows } from "deno-std/assert/mod.js";
import {
  crossEntropy,
  type LogprobOptions,
  logprobs,
  logprobScratchBytes,
  logprobsReference,
} from "../../kernels/logprob.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { gradientTarget, record } from "../../kernels/tape.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import { fold, tensorRanges } from "./ranges.ts";
import { assertClose, assertGradient, gpuTest, normals, parameter, uniforms } from "./testing.ts";

/** One scalar whose gradients in the three results are the given ones; its value is of no interest. */
function pull(gpu: Gpu, results: Tensor[], gradients: Float32Array<ArrayBuffer>[]): Tensor {
  const root = gpu.empty([1], "root");
  record(gpu, "pull", results, [root], () => {
    results.forEach((result, i) => {
      const into = gradientTarget(gpu, result)!;
      gpu.copy(into.into, gpu.from(gradients[i], result.shape, "gradient"));
    });
  });
  return root;
}

/** Results and gradients of the kernels, for the gradients [logprob, entropy, logSumExp]. */
async function onGpu(
  gpu: Gpu,
  data: {
    hidden: Float32Array<ArrayBuffer>;
    head: Float32Array<ArrayBuffer>;
    targets: Uint32Array<ArrayBuffer>;
  },
  shape: { R: number; V: number; D: number; cuts?: readonly number[] },
  pulls: Float32Array<ArrayBuffer>[],
  options: LogprobOptions,
) {
  const { R, V, D, cuts } = shape;
  const hidden = parameter(gpu, data.hidden, [R, D], "hidden");
  const head = tensorRanges(gpu, data.head, V, D, cuts);
  const results = gpu.scope(() => {
    const targets = gpu.from(data.targets, [R], "targets");
    let kept: Tensor[] = [];
    gpu.differentiate(() => {
      const { logprob, entropy, logSumExp } = logprobs(gpu, hidden, head, targets, options);
      kept = [logprob, entropy, logSumExp].map((tensor) => gpu.keep(tensor));
      return pull(gpu, kept.slice(0, pulls.length), pulls);
    });
    return kept;
  });
  const [logprob, entropy, logSumExp, dhidden, ...dhead] = await gpu.read(
    ...results,
    hidden.grad!,
    ...head.map((rows) => rows.grad!),
  );
  for (const tensor of results) gpu.release(tensor);
  for (const tensor of [hidden, hidden.grad!, ...head, ...head.map((rows) => rows.grad!)]) gpu.drop(tensor);
  return { logprob, entropy, logSumExp, dhidden, dhead: fold(dhead) };
}

function example(R: number, V: number, D: number, live: number, spread = 2) {
  const next = uniforms(9);
  return {
    hidden: normals(R * D, 1, spread / Math.sqrt(D)),
    head: normals(V * D, 2),
    targets: Uint32Array.from({ length: R }, () => Math.floor(next() * live)),
  };
}

const cases: [R: number, V: number, D: number, cuts: number[], options: LogprobOptions][] = [
  [1, 5, 8, [], {}],
  [3, 513, 50, [128, 200], { temperature: 0.7 }],
  [65, 640, 64, [320], { vocabulary: 601, temperature: 0.7 }],
  [65, 513, 64, [512], { scratchBytes: 65 * 64 * 4 }],
  [65, 513, 50, [130], { scratchBytes: 20 * 64 * 4, vocabulary: 129 }],
  [3, 640, 8, [1, 639], { scratchBytes: 7 * 4 }],
];
for (const [R, V, D, cuts, options] of cases) {
  const said = Object.entries(options).map(([name, value]) => `, ${name} ${value}`).join("");
  gpuTest(
    `logprobs agree with f64 at R ${R}, V ${V}, D ${D}, ${cuts.length + 1} ranges${said}`,
    async (gpu) => {
      const data = example(R, V, D, options.vocabulary ?? V);
      const pulls = [normals(R, 3), normals(R, 4), normals(R, 5)];
      const actual = await onGpu(gpu, data, { R, V, D, cuts }, pulls, options);
      const { hidden, head, targets } = data;
      const gradients = { logprob: pulls[0], entropy: pulls[1], logSumExp: pulls[2] };
      const expected = logprobsReference(hidden, head, targets, options, gradients);
      for (const name of ["logprob", "entropy", "logSumExp", "dhidden", "dhead"] as const) {
        assertClose(actual[name], expected[name], 2e-5, name);
      }
    },
  );
}

const golden = JSON.parse(
  await Deno.readTextFile(new URL("../oracles/golden/logprob.json", import.meta.url)),
);

gpuTest("logprobs, entropy, cross-entropy and their gradients agree with PyTorch", async (gpu) => {
  const { R, V, D, vocabulary, temperature } = golden;
  const f32 = (name: string) => Float32Array.from(golden[name] as number[]);
  const data = { hidden: f32("hidden"), head: f32("head"), targets: Uint32Array.from(golden.targets) };
  const pulls = [f32("dlogprob"), f32("dentropy")];
  for (const scratchBytes of [undefined, 3 * 8 * 4]) {
    const options = { vocabulary, temperature, scratchBytes };
    const actual = await onGpu(gpu, data, { R, V, D, cuts: [9] }, pulls, options);
    for (const name of ["logprob", "entropy", "logSumExp", "dhidden", "dhead"] as const) {
      assertClose(actual[name], golden[name], 5e-6, name);
    }
  }
  const hidden = parameter(gpu, data.hidden, [R, D], "hidden");
  const head = tensorRanges(gpu, data.head, V, D, [9]);
  const loss = gpu.scope(() =>
    gpu.keep(gpu.differentiate(() => {
      const targets = gpu.from(data.targets, [R], "targets");
      const weights = gpu.from(f32("weights"), [R], "weights");
      return crossEntropy(gpu, hidden, head, targets, { vocabulary, temperature, weights }).loss;
    }))
  );
  const [value, dhidden, ...dhead] = await gpu.read(loss, hidden.grad!, ...head.map((rows) => rows.grad!));
  gpu.release(loss);
  assertClose(value, [golden.crossEntropy.loss], 5e-6, "loss");
  assertClose(dhidden, golden.crossEntropy.dhidden, 5e-6, "dhidden");
  assertClose(fold(dhead), golden.crossEntropy.dhead, 5e-6, "dhead");
});

Deno.test("the reference's gradients are the slopes of its results", () => {
  const R = 3, V = 7, D = 5, options = { temperature: 0.7, vocabulary: 6 };
  const { hidden, head, targets } = example(R, V, D, 6);
  const gradients = { logprob: normals(R, 3), entropy: normals(R, 4), logSumExp: normals(R, 5) };
  const whole = (hidden: ArrayLike<number>, head: ArrayLike<number>) => {
    const result = logprobsReference(hidden, head, targets, options);
    return (["logprob", "entropy", "logSumExp"] as const).reduce(
      (sum, name) => sum + result[name].reduce((part, value, r) => part + value * gradients[name][r], 0),
      0,
    );
  };
  const { dhidden, dhead } = logprobsReference(hidden, head, targets, options, gradients);
  assertGradient((point) => whole(point, head), hidden, dhidden);
  assertGradient((point) => whole(hidden, point), head, dhead);
});

gpuTest("cross-entropy without weights is the mean over rows", async (gpu) => {
  const [R, V, D] = [65, 40, 8], { hidden, head, targets } = example(R, V, D, V);
  const h = parameter(gpu, hidden, [R, D], "hidden"), ranges = tensorRanges(gpu, head, V, D);
  const loss = gpu.scope(() =>
    gpu.keep(
      gpu.differentiate(() => crossEntropy(gpu, h, ranges, gpu.from(targets, [R], "targets")).loss),
    )
  );
  const gradients = { logprob: new Float64Array(R).fill(-1 / R) };
  const expected = logprobsReference(hidden, head, targets, {}, gradients);
  const [value, dhidden] = await gpu.read(loss, h.grad!);
  gpu.release(loss);
  assertClose(value, [-expected.logprob.reduce((sum, l) => sum + l, 0) / R]);
  assertClose(dhidden, expected.dhidden, 2e-5);
});

gpuTest("logits of ±10,000 give finite, right numbers", async (gpu) => {
  const [R, V, D] = [3, 130, 1];
  const hidden = Float32Array.of(1e4, -1e4, 1);
  const head = normals(V, 2, 0.3).map((value) => Math.max(-1, Math.min(1, Math.fround(value))));
  head[129] = 1;
  head[128] = 1;
  head[1] = -1;
  const targets = Uint32Array.of(129, 129, 4);
  const pulls = [normals(R, 3), normals(R, 4), normals(R, 5)];
  const gradients = { logprob: pulls[0], entropy: pulls[1], logSumExp: pulls[2] };
  const expected = logprobsReference(hidden, head, targets, {}, gradients);
  for (const scratchBytes of [undefined, 3 * 64 * 4]) {
    const actual = await onGpu(gpu, { hidden, head, targets }, { R, V, D }, pulls, { scratchBytes });
    for (const name of ["logprob", "entropy", "logSumExp", "dhidden", "dhead"] as const) {
      assertClose(actual[name], expected[name], 1e-5, `${name} at ${scratchBytes}`);
    }
    assert(Math.abs(actual.entropy[0] - Math.LN2) < 1e-6);
  }
});

gpuTest("two runs agree in every bit", async (gpu) => {
  const shape = { R: 65, V: 513, D: 50, cuts: [130] }, data = example(65, 513, 50, 513);
  const pulls = [normals(65, 3), normals(65, 4)], options = { scratchBytes: 65 * 64 * 4 };
  assertEquals(await onGpu(gpu, data, shape, pulls, options), await onGpu(gpu, data, shape, pulls, options));
});

gpuTest("a masked id gets no gradient and changes nothing", async (gpu) => {
  const [R, V, D] = [3, 20, 4], data = example(R, V, D, 11), pulls = [normals(R, 3)];
  const before = await onGpu(gpu, data, { R, V, D, cuts: [7, 15] }, pulls, { vocabulary: 11 });
  data.head.fill(1e6, 11 * D);
  const after = await onGpu(gpu, data, { R, V, D, cuts: [7, 15] }, pulls, { vocabulary: 11 });
  assertEquals(after, before);
  assert(before.dhead.subarray(11 * D).every((value) => value === 0));
  assert(before.dhead.subarray(10 * D, 11 * D).some((value) => value !== 0));
});

gpuTest("4,096 rows of 151,936 logits are walked in under 5 % of their 2.49 GB", (gpu) => {
  const R = 4096, V = 151936, D = 8, logits = 4 * R * V;
  const shaped = (rows: number) => gpu.persistent([rows, D], "shaped");
  const hidden = shaped(R), head = [shaped(100000), shaped(V - 100000)];
  const bytes = logprobScratchBytes(hidden, head);
  assert(bytes < 0.05 * logits && bytes > 0, `${bytes} bytes`);
  for (const tensor of [hidden, ...head]) gpu.drop(tensor);
});

gpuTest("the pool holds no more than the stated scratch, forward and backward", (gpu) => {
  const [R, V, D] = [2000, 3200, 8], { hidden, head, targets } = example(R, V, D, V);
  const h = parameter(gpu, hidden, [R, D], "hidden"), ranges = tensorRanges(gpu, head, V, D, [300]);
  const options = { scratchBytes: R * 64 * 4 };
  gpu.scope(() => {
    const ids = gpu.from(targets, [R], "targets");
    const before = gpu.memory.pooledBytesInUse;
    gpu.memory.resetPeak();
    gpu.memory.peakPooledInUse = before;
    gpu.differentiate(() => crossEntropy(gpu, h, ranges, ids, options).loss);
    const used = gpu.memory.peakPooledInUse - before;
    // A fifth for size classes, the results and their gradients (5 vectors of R), and the 64 KiB that the smallest tensors take.
    const allowed = 1.25 * (logprobScratchBytes(h, ranges, options) + 5 * 4 * R) + 12 * 65536;
    assert(used < allowed, `${used} bytes, ${allowed} allowed`);
    assert(used < 0.2 * 4 * R * V);
  });
});

gpuTest("logprobs refuse what does not fit, naming it", (gpu) => {
  const hidden = parameter(gpu, normals(8, 1), [2, 4], "hidden"),
    head = tensorRanges(gpu, normals(20, 2), 5, 4);
  const narrow = tensorRanges(gpu, normals(15, 2), 5, 3);
  gpu.scope(() => {
    const targets = gpu.from(Uint32Array.of(0, 1), [2], "targets");
    const one = gpu.from(Uint32Array.of(0), [1], "targets");
    assertThrows(() => logprobs(gpu, hidden, narrow, targets), Error, "rows of 4, but the head rows 0 of 3");
    assertThrows(() => logprobs(gpu, hidden, head, one), Error, "1 targets for 2 rows of hidden");
    assertThrows(() => logprobs(gpu, hidden, head, targets, { temperature: 0 }), Error, "temperature is 0");
    assertThrows(() => logprobs(gpu, hidden, head, targets, { vocabulary: 6 }), Error, "vocabulary is 6");
  });
});
