import { assert, assertEquals, assertThrows } from "deno-std/assert/mod.js";
import {
  crossEntropy,
  type LogprobOptions,
  logprobs,
  logprobScratchBytes,
  logprobsReference,
} from "../../kernels/logprob.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { record } from "../../kernels/tape.ts";
import { gradientTarget } from "../../kernels/tape.ts";
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
