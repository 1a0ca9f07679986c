import { assert, assertEquals } from "deno-std/assert/mod.js";
import { adamw } from "../../kernels/adamw.ts";
import { attentionMap, attentionThumbnails } from "../../kernels/attention_map.ts";
import { openGpu, openNullDevice } from "../../headless/devices.ts";
import { dialect } from "../../kernels/device.ts";
import { scale, weightedSum } from "../../kernels/elementwise.ts";
import { firstEos, maskAfter } from "../../kernels/first_eos.ts";
import { gae } from "../../kernels/gae.ts";
import { gatherRows } from "../../kernels/gather_rows.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { gradNorm } from "../../kernels/grad_norm.ts";
import { heatMap } from "../../kernels/heat_map.ts";
import { histogram } from "../../kernels/histogram.ts";
import { declaredKernels, type Kernel, windowBytes } from "../../kernels/kernel.ts";
import { klReward } from "../../kernels/kl_reward.ts";
import { crossEntropy, logprobs } from "../../kernels/logprob.ts";
import { type Form, matmul } from "../../kernels/matmul.ts";
import { matrixOf } from "../../kernels/matrix.ts";
import { variants as products } from "../../kernels/matmul_variants.ts";
import { pairwiseLoss } from "../../kernels/pairwise_loss.ts";
import { ppoPolicyLoss } from "../../kernels/ppo_policy_loss.ts";
import { ppoValueLoss } from "../../kernels/ppo_value_loss.ts";
import { mean, sum } from "../../kernels/reduce.ts";
import { rolloutSums } from "../../kernels/rollout_statistics.ts";
import { rowChange } from "../../kernels/row_change.ts";
import { scalarHead } from "../../kernels/scalar_head.ts";
import { swiglu } from "../../kernels/swiglu.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import { tokenRanks, topTokens } from "../../kernels/top_tokens.ts";
import { updateNorm } from "../../kernels/update_norm.ts";
import { whiten } from "../../kernels/whiten.ts";
import { widen } from "../../kernels/widen.ts";
import { generate } from "../../lab/generate.ts";
import { allocateQwen2, hiddenStates, type Qwen2, tokenBatch } from "../../lab/qwen2.ts";
import type { Qwen2Config } from "../../lab/qwen2_config.ts";
import { parameter } from "./testing.ts";

const kernelFolder = new URL("../../kernels/", import.meta.url);

/** A kernel and the values of its constants that a launcher asked for. */
interface Variant {
  kernel: Kernel;
  overrides?: Record<string, number>;
}

/** Head shapes that together reach every attention kernel: query heads, key/value heads, head size. */
const headShapes = [[1, 1, 8], [4, 1, 8], [6, 2, 16], [2, 2, 24], [4, 2, 32], [14, 2, 64], [
  2,
  1,
  128,
]] as const;

function modelConfig(heads: readonly [number, number, number], F: number, tiedHead: boolean): Qwen2Config {
  const [queryHeads, keyValueHeads, headDim] = heads;
  return {
    head: "language",
    vocabulary: 70,
    hiddenSize: queryHeads * headDim,
    layers: 1,
    queryHeads,
    keyValueHeads,
    headDim,
    feedForward: F,
    tiedHead,
    attentionBias: true,
    ropeTheta: 1e4,
    rmsNormEps: 1e-6,
    maxPositions: 64,
    eosTokenId: 69,
    bosTokenId: null,
    padTokenId: null,
    initializerRange: 0.02,
  };
}

/** Forward, backward, optimiser and decoding of a model, by the launchers that training uses. */
async function runModel(gpu: Gpu, model: Qwen2): Promise<void> {
  model.parameters.train();
  const prompts = [Uint32Array.of(1, 2, 3), Uint32Array.of(4)];
  gpu.scope(() => {
    const batch = tokenBatch(gpu, model, prompts, true);
    const targets = gpu.from(Uint32Array.of(2, 3), [2], "targets");
    gpu.differentiate(() =>
      crossEntropy(
        gpu,
        gatherRows(gpu, hiddenStates(gpu, model, batch), Uint32Array.of(0, 1)),
        model.head,
        targets,
      ).loss
    );
    const { clipScale } = gradNorm(gpu, model.parameters.gradients, { maxNorm: 1 });
    const options = { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-5, weightDecay: 0, step: 1 };
    model.parameters.step({ ...options, gradientScale: clipScale });
  });
  const draw = { responseLength: 2, seed: 1, stage: 0, step: 0 };
  await generate(gpu, model, prompts, draw);
  await generate(gpu, model, prompts, { ...draw, greedy: true });
  await generate(gpu, model, prompts, { ...draw, topK: 3, topP: 0.9 });
  await generate(gpu, model, [...prompts, prompts.at(-1)!], draw);
  model.parameters.drop();
}

/** Every launcher that no model calls: losses, rollouts, statistics, and widths that no vector of four divides. */
async function runLosses(gpu: Gpu): Promise<void> {
  const B = 3, T = 5, D = 7, V = 11;
  gpu.scope(() => {
    const f32 = (name: string, ...shape: number[]) =>
      parameter(gpu, new Float32Array(shape.reduce((a, b) => a * b)), shape, name);
    const u32 = (name: string, size: number) => gpu.from(new Uint32Array(size), [size], name);
    const through = (loss: () => Tensor) => gpu.differentiate(loss);
    const tokens = gpu.from(new Uint32Array(B * T), [B, T], "tokens");
    const { last, hasEos } = firstEos(gpu, tokens, 1);
    const logprob = f32("logprob", B, T), reference = f32("reference", B, T), scores = f32("scores", B);
    const rollout = { logprob, reference, last, hasEos, scores };
    const { reward } = klReward(gpu, rollout, { beta: 0.05 });
    rolloutSums(gpu, rollout, { beta: 0.05 });
    const { advantages, returns } = gae(gpu, reward, maskAfter(gpu, f32("values", B, T), last), {
      gamma: 1,
      lambda: 0.95,
    });
    whiten(gpu, advantages, last);

    const hidden = f32("hidden", B * T, D), weight = f32("weight", 1, D), bias = f32("bias", 1);
    const head = [f32("rows 0", 6, D), f32("rows 6", V - 6, D)];
    const slots = u32("slots", B * T), targets = u32("targets", B * T);
    through(() =>
      weightedSum(
        gpu,
        ppoPolicyLoss(gpu, {
          logprob: logprobs(gpu, hidden, head, targets).logprob,
          slots,
          oldLogprob: logprob,
          advantages,
        }, { denominator: 15, clipRange: 0.2 }).loss,
        1,
        ppoValueLoss(gpu, {
          value: scalarHead(gpu, hidden, weight, bias),
          slots,
          oldValues: logprob,
          returns,
        }, { denominator: 15, clipRange: 0.2 }).loss,
        0.1,
      )
    );
    through(() => pairwiseLoss(gpu, scalarHead(gpu, f32("pairs", 2, D), weight, bias), null).loss);
    through(() => mean(gpu, swiglu(gpu, f32("odd", 2, 2 * D))));
    through(() => sum(gpu, scale(gpu, matmul(gpu, hidden, f32("square", D, D), { bias: f32("b", D) }), 2)));
    through(() => sum(gpu, matmul(gpu, f32("many", 256, 64), f32("wide", 256, 64))));
    const odd = () => gpu.persistent([D], "odd");
    const state = { weights: odd(), gradients: odd(), firstMoment: odd(), secondMoment: odd() };
    adamw(gpu, state, { learningRate: 1, beta1: 0.9, beta2: 0.9, eps: 1e-5, weightDecay: 0, step: 1 });
    gpu.addInto(f32("sum", B * T), reference);
    for (const format of ["bf16", "f16", "f32"] as const) {
      const first = { first: u32("first", 1), slot: 0, at: 0 };
      widen(gpu, { format, bytes: new Uint8Array(8) }, { target: f32("widened", D), to: 0 }, first);
    }
  });
  await gpu.finish();
}

/** Every launcher of the inspector, for the shapes of workgroup that it chooses by shape of matrix. */
async function runInspection(gpu: Gpu): Promise<void> {
  gpu.scope(() => {
    const zeros = (...shape: number[]) => gpu.from(new Float32Array(shape[0] * shape[1]), shape, "zeros");
    const matrix = matrixOf(zeros(12, 300)), qkv = zeros(6, 16);
    for (const rowStarts of [[0, 12], [0, 1], [0, 2], [0, 3, 6]]) {
      for (const columns of [8, 100, 300]) {
        heatMap(gpu, matrix, Uint32Array.from(rowStarts), Uint32Array.of(0, columns));
        const order = Uint32Array.from({ length: rowStarts.at(-1)! }, (_, i) => 11 - i);
        heatMap(gpu, matrix, Uint32Array.from(rowStarts), Uint32Array.of(0, columns), 1, order);
      }
    }
    histogram(gpu, matrix);
    rowChange(gpu, matrix, matrix);
    const rule = { beta1: 0.9, beta2: 0.9, eps: 1e-5, step: 1 };
    updateNorm(gpu, matrix, matrix, rule);
    const shape = { queryHeads: 2, keyValueHeads: 1, headDim: 4 };
    attentionMap(gpu, qkv, shape, { first: 0, tokens: 6 }, 1);
    attentionThumbnails(gpu, qkv, shape, { first: 0, tokens: 6 });
    const hidden = zeros(3, 8), head = [zeros(20, 8)];
    topTokens(gpu, hidden, head, 5);
    tokenRanks(gpu, hidden, head, gpu.from(new Uint32Array(6), [3, 2], "wanted"));
  });
  await gpu.finish();
}

/** Every way to compute a product, at shapes of every class, whichever of them this device would choose. */
async function runProducts(gpu: Gpu): Promise<void> {
  const shapes = [1, 2, 4, 8, 13, 64, 200].flatMap((M) => [[M, 3, 5], [M, 64, 64], [M, 132, 96]]);
  for (const [M, N, K] of [...shapes, [1024, 1024, 8]]) {
    const [a, b, out] = ([["a", M * K], ["b", N * K], ["out", M * N]] as const).map(([name, size]) =>
      gpu.hold([Math.max(size, windowBytes / 4)], name)
    );
    for (const form of ["NN", "NT", "TN"] satisfies Form[]) {
      const strides = { aStride: form === "TN" ? M : K, bStride: form === "NT" ? K : N, outStride: N };
      const job = {
        form,
        a,
        b,
        out,
        accumulate: 0 as const,
        alpha: 1,
        M,
        N,
        K,
        aOffset: 0,
        bOffset: 0,
        outOffset: 0,
      };
      for (const product of Object.values(products)) {
        if (product.refuses(gpu, { ...job, ...strides }) === null) product.run(gpu, { ...job, ...strides });
      }
    }
    for (const tensor of [a, b, out]) gpu.release(tensor);
  }
  await gpu.finish();
}

/** All variants that training and sampling ask for on a device with these facts, compiled by Dawn's null backend on the way. */
async function variantsOn(facts: Partial<Gpu["facts"]>, choices: Record<string, string>): Promise<Variant[]> {
  const gpu = await openNullDevice();
  Object.assign(gpu.facts, facts);
  // The null adapter claims subgroups of 128; matrix units go with 32 (NVIDIA) or fewer.
  if (facts.matrixUnits) Object.defineProperty(gpu.device, "adapterInfo", { value: { subgroupMaxSize: 32 } });
  for (const [what, variant] of Object.entries(choices)) gpu.choices.set(what, variant);
  const asked: Variant[] = [];
  const run = gpu.run.bind(gpu);
  gpu.run = (...dispatch: Parameters<typeof run>) => {
    asked.push({ kernel: dispatch[0], overrides: dispatch[4] });
    run(...dispatch);
  };
  for (const [i, heads] of headShapes.entries()) {
    await runModel(gpu, allocateQwen2(gpu, modelConfig(heads, i % 2 === 0 ? 20 : 9, i % 2 === 0), "model"));
  }
  await runLosses(gpu);
  await runInspection(gpu);
  await runProducts(gpu);
  await gpu.finish();
  gpu.destroy();
  return asked;
}

const keyOf = ({ kernel, overrides }: Variant) => `${kernel.name} ${JSON.stringify(overrides ?? {})}`;

const units = (edge: number) => ({ component: "f16", result: "f32", m: edge, n: edge, k: edge });

/** Which devices there are to launchers: everything that they branch on. */
const worlds: [Partial<Gpu["facts"]>, Record<string, string>][] = [
  [{ software: true, runtime: "native" }, {}], // attention has kernels for Deno's own WebGPU
  [{ software: true }, {}],
  [{ software: true }, { matmul: "window" }],
  [{ software: true }, { matmul: "windows" }],
  [{ software: false }, {}],
  [{ software: false, matrixUnits: [{ component: "f16", result: "f32", m: 16, n: 16, k: 16 }] }, {
    matmul: "matrix",
  }],
  [{ software: false, f16: true, subgroups: true, matrixUnits: [units(8)] }, {}],
  // With cubes of 16 the full tile needs more workgroup memory than the null adapter has; the half one has the same source.
  [{ software: true, f16: true, subgroups: true, matrixUnits: [units(16)] }, {}],
  [{ software: true, f16: true, subgroups: true, matrixUnits: [units(8)] }, {}],
];

let collected: Promise<Map<string, Variant>> | null = null;
const variants = () => (collected ??= collectVariants());

async function collectVariants(): Promise<Map<string, Variant>> {
  const all = new Map<string, Variant>();
  for (const [facts, choices] of worlds) {
    for (const variant of await variantsOn(facts, choices)) {
      all.set(keyOf(variant) + variant.kernel.source, variant); // constants may stand in the source
    }
  }
  return all;
}

Deno.test({
  name: "every variant that a launcher asks for compiles on Dawn, without a GPU",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => assert((await variants()).size > 40),
});

Deno.test({
  name: "every kernel and every .wgsl file is among them",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const compiled = [...(await variants()).values()].map(({ kernel }) => kernel);
    const idle = declaredKernels.filter((kernel) =>
      !compiled.some(({ name, source }) => name === kernel.name && source === kernel.source)
    );
    assertEquals(idle.map(({ name }) => name), [], "kernels that no launcher above reaches");
    const forgotten: string[] = [];
    for await (const { name } of Deno.readDir(kernelFolder)) {
      if (!name.endsWith(".wgsl")) continue;
      const stem = name.slice(0, -".wgsl".length);
      if (compiled.some((kernel) => kernel.name === stem)) continue;
      const preamble = (await Deno.readTextFile(new URL(name, kernelFolder))).trim();
      if (!compiled.some(({ source }) => source.includes(preamble))) forgotten.push(name);
    }
    assertEquals(forgotten.sort(), [], "files that no kernel uses");
  },
});

Deno.test({
  name: "every variant compiles in naga, on Deno's own WebGPU",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const gpu = await openGpu("native");
    const failures: string[] = [];
    for (const variant of (await variants()).values()) {
      const { kernel, overrides } = variant;
      const code = dialect(kernel.source, gpu.facts);
      if (/enable\s+chromium_experimental/.test(code)) continue; // naga knows no matrix units
      gpu.device.pushErrorScope("validation");
      const module = gpu.device.createShaderModule({ code, label: kernel.name });
      gpu.device.createComputePipeline({
        layout: "auto",
        compute: { module, entryPoint: "main", constants: overrides },
      });
      const error = await gpu.device.popErrorScope();
      if (error) failures.push(`${keyOf(variant)}: ${error.message}`);
    }
    gpu.destroy();
    assertEquals(failures, []);
  },
});

Deno.test({
  name: "a shader that does not compile is noticed on both front ends",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    for (const gpu of [await openNullDevice(), await openGpu("native")]) {
      gpu.device.pushErrorScope("validation");
      const code = "@compute @workgroup_size(1) fn main() { let x: u32 = 1.5; }";
      const module = gpu.device.createShaderModule({ code });
      gpu.device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main" } });
      assert(await gpu.device.popErrorScope());
      gpu.destroy();
    }
  },
});
