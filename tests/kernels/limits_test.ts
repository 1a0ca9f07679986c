import { assert, assertEquals } from "deno-std/assert/mod.js";
import type { GpuOptions } from "../../headless/devices.ts";
import { weightedSum } from "../../kernels/elementwise.ts";
import { firstEos, liveSlots, maskAfter } from "../../kernels/first_eos.ts";
import { gae } from "../../kernels/gae.ts";
import { gatherRows } from "../../kernels/gather_rows.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { gradNorm } from "../../kernels/grad_norm.ts";
import { klReward } from "../../kernels/kl_reward.ts";
import { crossEntropy, logprobs } from "../../kernels/logprob.ts";
import { pairwiseLoss } from "../../kernels/pairwise_loss.ts";
import { ppoPolicyLoss } from "../../kernels/ppo_policy_loss.ts";
import { ppoValueLoss } from "../../kernels/ppo_value_loss.ts";
import { scalarHead } from "../../kernels/scalar_head.ts";
import { whiten } from "../../kernels/whiten.ts";
import { generate } from "../../lab/generate.ts";
import {
  allocateQwen2,
  hiddenStates,
  initialiseQwen2,
  type Qwen2,
  readByName,
  tokenBatch,
} from "../../lab/qwen2.ts";
import type { Qwen2Config } from "../../lab/qwen2_config.ts";
import { assertClose, normals, withGpu } from "./testing.ts";

/** WebGPU's guaranteed minimum, https://www.w3.org/TR/webgpu/#limits. */
const guaranteed = {
  maxStorageBufferBindingSize: 128 << 20,
  maxBufferSize: 256 << 20,
  maxUniformBufferBindingSize: 64 << 10,
  maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 16 << 10,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupsPerDimension: 65535,
};

const config: Qwen2Config = {
  head: "language",
  vocabulary: 300,
  hiddenSize: 32,
  layers: 2,
  queryHeads: 4,
  keyValueHeads: 2,
  headDim: 8,
  feedForward: 40,
  tiedHead: false,
  attentionBias: true,
  ropeTheta: 1e4,
  rmsNormEps: 1e-6,
  maxPositions: 64,
  eosTokenId: 299,
  bosTokenId: null,
  padTokenId: null,
  initializerRange: 0.3,
};

const prompts = [0, 1, 2].map((b) => Uint32Array.from({ length: 6 + b }, (_, i) => (i * 131 + b * 97) % 299));
const optimiser = { learningRate: 1e-2, beta1: 0.9, beta2: 0.95, eps: 1e-5, weightDecay: 0.01 };

/** Every number that the recipe leaves behind: SFT, generation, rewards, PPO, the reward model. */
interface Traces {
  losses: number[];
  gradient: Float32Array;
  tokens: number[];
  ranges: number;
}

async function wholePath(gpu: Gpu): Promise<Traces> {
  const model = allocate(gpu, config, "policy"),
    critic = allocate(gpu, { ...config, head: "score" }, "critic");
  // Drawn before any update: AdamW makes of a rounding difference in a tiny gradient a difference that a draw can feel.
  const draw = { responseLength: 5, seed: 1, stage: 0, step: 0 };
  const rows = await generate(gpu, model, prompts, draw);
  rows.push(...await generate(gpu, model, prompts, { ...draw, greedy: true }));
  rows.push(...await generate(gpu, model, prompts, { ...draw, topK: 20, topP: 0.8 }));
  const losses: number[] = [];
  for (let step = 1; step <= 2; step++) losses.push(await sftStep(gpu, model, step));
  const gradient = await readByName(gpu, model, "model.embed_tokens.weight", "gradient");
  losses.push(...await ppoStep(gpu, model, critic, rows.slice(0, 3)));
  losses.push(await rewardStep(gpu, critic));
  return { losses, gradient, tokens: rows.flatMap((row) => [...row]), ranges: model.embedding.length };
}

function allocate(gpu: Gpu, config: Qwen2Config, name: string): Qwen2 {
  const model = allocateQwen2(gpu, config, name);
  // The rows of all ranges come in one order, so every layout gets the same weights.
  const drawn = normals(65_536, config.head === "score" ? 2 : 1);
  let at = 0;
  initialiseQwen2(gpu, model, () => drawn[at++ % drawn.length]);
  if (model.score) gpu.upload(model.score.weight, drawn.subarray(0, config.hiddenSize));
  model.parameters.train();
  return model;
}

function update(gpu: Gpu, model: Qwen2, step: number): void {
  const { clipScale } = gradNorm(gpu, model.parameters.gradients, { maxNorm: 1 });
  model.parameters.step({ ...optimiser, step, gradientScale: clipScale });
}

async function sftStep(gpu: Gpu, model: Qwen2, step: number): Promise<number> {
  const loss = gpu.scope(() => {
    const batch = tokenBatch(gpu, model, prompts, true);
    const rows = Uint32Array.from({ length: batch.packing.tokens - 1 }, (_, i) => i);
    const targets = gpu.from(rows.map((i) => (i * 53) % 299), [rows.length], "targets");
    model.parameters.clearGradients();
    const loss = gpu.differentiate(() =>
      crossEntropy(gpu, gatherRows(gpu, hiddenStates(gpu, model, batch), rows), model.head, targets).loss
    );
    update(gpu, model, step);
    return loss;
  });
  const [[value]] = await gpu.read(loss);
  gpu.release(loss);
  return value;
}

async function ppoStep(gpu: Gpu, policy: Qwen2, critic: Qwen2, responses: Uint32Array[]): Promise<number[]> {
  const B = responses.length, T = responses[0].length;
  const results = gpu.scope(() => {
    const tokens = gpu.from(Uint32Array.from(responses.flatMap((row) => [...row])), [B, T], "responses");
    const { last, hasEos } = firstEos(gpu, tokens, config.eosTokenId);
    const from = (seed: number, ...shape: number[]) =>
      gpu.from(normals(shape.reduce((a, b) => a * b), seed), shape, `drawn ${seed}`);
    const oldLogprob = from(1, B, T), values = maskAfter(gpu, from(2, B, T), last, { beyond: 1 });
    const rollout = { logprob: oldLogprob, reference: from(3, B, T), last, hasEos, scores: from(4, B) };
    const { reward } = klReward(gpu, rollout, { beta: 0.05 });
    const { advantages, returns } = gae(gpu, reward, values, { gamma: 1, lambda: 0.95 });
    const { whitened } = whiten(gpu, advantages, last);
    const slots = liveSlots(new Array(B).fill(T - 1), T);
    const slotTensor = gpu.from(slots, [slots.length], "slots");
    const sequences = prompts.map((prompt, b) => Uint32Array.of(...prompt, ...responses[b]));
    const batch = tokenBatch(gpu, policy, sequences, true);
    const rows = slots.map((slot) =>
      batch.packing.host.starts[Math.floor(slot / T)] + prompts[Math.floor(slot / T)].length - 1 + slot % T
    );
    policy.parameters.clearGradients();
    critic.parameters.clearGradients();
    const loss = gpu.differentiate(() => {
      const hidden = gatherRows(gpu, hiddenStates(gpu, policy, batch), rows);
      const { logprob } = logprobs(gpu, hidden, policy.head, tokens.as([B * T]), { temperature: 0.7 });
      const judged = gatherRows(gpu, hiddenStates(gpu, critic, batch), rows);
      const value = scalarHead(gpu, judged, critic.score!.weight, critic.score!.bias);
      const policyInputs = { logprob, slots: slotTensor, oldLogprob, advantages: whitened };
      const valueInputs = { value, slots: slotTensor, oldValues: values, returns };
      const options = { denominator: slots.length, clipRange: 0.2 };
      return weightedSum(
        gpu,
        ppoPolicyLoss(gpu, policyInputs, options).loss,
        1,
        ppoValueLoss(gpu, valueInputs, options).loss,
        0.1,
      );
    });
    const { norm } = gradNorm(gpu, [...policy.parameters.gradients, ...critic.parameters.gradients]);
    update(gpu, policy, 3);
    return [loss, norm];
  });
  const values = await gpu.read(...results);
  for (const tensor of results) gpu.release(tensor);
  return values.map(([value]) => value);
}

async function rewardStep(gpu: Gpu, model: Qwen2): Promise<number> {
  const loss = gpu.scope(() => {
    const batch = tokenBatch(gpu, model, prompts.slice(0, 2), true);
    const ends = Uint32Array.from([1, 2], (b) => batch.packing.host.starts[b] - 1);
    model.parameters.clearGradients();
    const loss = gpu.differentiate(() => {
      const hidden = gatherRows(gpu, hiddenStates(gpu, model, batch), ends);
      return pairwiseLoss(gpu, scalarHead(gpu, hidden, model.score!.weight, model.score!.bias), null).loss;
    });
    update(gpu, model, 1);
    return loss;
  });
  const [[value]] = await gpu.read(loss);
  gpu.release(loss);
  return value;
}

/** From now on the device says that its bindings are smaller, which is what weights are laid out by. */
function pretendBindings({ device }: Gpu, bytes: number): void {
  Object.defineProperty(device, "limits", {
    value: { maxStorageBufferBindingSize: bytes, maxBufferSize: bytes },
  });
}

function ownDevice(name: string, options: GpuOptions, body: (gpu: Gpu) => Promise<void>): void {
  Deno.test({ name, sanitizeOps: false, sanitizeResources: false, fn: () => withGpu(options, body) });
}

let onAdapter: Promise<Traces> | null = null;
async function reference(): Promise<Traces> {
  return await (onAdapter ??= (async () => {
    let traces: Traces;
    await withGpu({}, async (gpu) => void (traces = await wholePath(gpu)));
    return traces!;
  })());
}

ownDevice(
  "SFT, generation, PPO and the reward model run on a device with no more than WebGPU guarantees, to the same numbers",
  { limits: "default", features: "none" },
  async (gpu) => {
    for (const [name, value] of Object.entries(guaranteed)) {
      assertEquals(gpu.device.limits[name as keyof typeof guaranteed], value, name);
    }
    const { f16, subgroups, timestamps, matrixUnits } = gpu.facts;
    assertEquals([f16, subgroups, timestamps, matrixUnits.length], [false, false, false, 0]);
    const traces = await wholePath(gpu), expected = await reference();
    await gpu.finish();
    assertEquals(traces.tokens, expected.tokens);
    assertClose(traces.losses, expected.losses, 1e-4);
    assertClose(traces.gradient, expected.gradient, 1e-4);
  },
);

ownDevice(
  "a vocabulary in three row ranges and weights in many arenas give the same numbers",
  {},
  async (gpu) => {
    pretendBindings(gpu, 16 << 10);
    const traces = await wholePath(gpu), expected = await reference();
    await gpu.finish();
    assertEquals([expected.ranges, traces.ranges], [1, 3]);
    assertEquals(traces.tokens, expected.tokens);
    assertClose(traces.losses, expected.losses, 1e-4);
    assertClose(traces.gradient, expected.gradient, 1e-4);
    assert(traces.losses.every(Number.isFinite));
  },
);
