/**
 * The stages' own steps at Qwen2.5-0.5B's width and vocabulary against transformers and PyTorch (tests/oracles/qwen2_wide.py), on weights
 * that both sides make from a seed. By default the steps of SFT and of the reward model with two layers; with PRECIS_FULL_SIZE=DIR a PPO
 * update too, and as many layers as DIR/golden.json was made with:
 *
 *   python tests/oracles/qwen2_wide.py --layers 24 --ppo-layers 24 --out DIR/golden.json
 *   PRECIS_FULL_SIZE=DIR deno test -A tests/lab/qwen2_wide_test.ts      (16 GB of memory on a software adapter)
 */
import { assert, assertEquals } from "deno-std/assert/mod.js";
import { diskFiles } from "../../headless/files.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { configure } from "../../lab/config.ts";
import { tableOf } from "../../lab/dataset.ts";
import { generate } from "../../lab/generate.ts";
import { silent } from "../../lab/progress.ts";
import { loadQwen2, type Qwen2, readByName } from "../../lab/qwen2.ts";
import { expectedTensors } from "../../lab/qwen2_config.ts";
import { publishedConfig, randomWeights, writeRandomCheckpoint } from "../../lab/random_checkpoint.ts";
import type { Run } from "../../lab/run.ts";
import { elementsOf } from "../../lab/safetensors.ts";
import { sequenceScores, tokenLogprobs } from "../../lab/scoring.ts";
import { improve, measure } from "../../lab/stages/ppo_update.ts";
import { rewardStep } from "../../lab/stages/reward.ts";
import { sftStep } from "../../lab/stages/sft.ts";
import { gpuTest } from "../kernels/testing.ts";
import { assertNear, goldenJson } from "./golden.ts";

/** Ten elements and the norm of a tensor. */
interface Sampled {
  name: string;
  norm: number;
  indices: number[];
  values: number[];
}

interface Golden {
  layers: number;
  seed: number;
  sft: {
    texts: number[][];
    queries: number[];
    logprob: number[][];
    loss: number;
    lossAfter: number;
    gradNorm: number;
    gradients: Sampled[];
    weights: Sampled[];
    learningRate: number;
  };
  reward: {
    pairs: number[][][];
    queries: number[];
    scores: number[][];
    loss: number;
    accuracy: number;
    margin: number;
    gradNorm: number;
    gradients: Sampled[];
  };
  ppo: {
    layers: number;
    queries: number[][];
    responses: number[][];
    eos: number;
    vocabulary: number;
    logprob: number[][];
    values: number[][];
    scores: number[];
    policyLoss: number;
    valueLoss: number;
    gradNorm: number;
    policyGradients: Sampled[];
    criticGradients: Sampled[];
  };
}

const fullSize = Deno.env.get("PRECIS_FULL_SIZE");
const golden: Golden = fullSize
  ? JSON.parse(await Deno.readTextFile(`${fullSize}/golden.json`))
  : await goldenJson<Golden>("qwen2_wide");
const at = `${golden.layers} layers at full width`;
if (!fullSize) {
  console.log(
    "all 24 layers of Qwen2.5-0.5B, and PPO: skipped; set PRECIS_FULL_SIZE (see tests/lab/qwen2_wide_test.ts)",
  );
}

const folders = new Map<string, string>();
globalThis.addEventListener("unload", () => {
  for (const folder of folders.values()) Deno.removeSync(folder, { recursive: true });
});

/** A random checkpoint, made once. */
async function checkpoint(layers: number, seed: number): Promise<string> {
  const key = `${layers} ${seed}`;
  if (!folders.has(key)) {
    folders.set(key, await Deno.makeTempDir({ prefix: "precis-wide-" }));
    const config = { ...publishedConfig("Qwen/Qwen2.5-0.5B")!, layers };
    const progress = silent.stage("", { steps: 1, unit: "" });
    await writeRandomCheckpoint(diskFiles(), folders.get(key)!, config, { seed, dtype: "BF16", progress });
  }
  return folders.get(key)!;
}

/** What the steps need of a run. */
function runOn(gpu: Gpu): Run {
  const config = configure("spark", {
    sft: { microTokens: 24 },
    reward: { microTokens: 40 },
    ppo: { responseLength: 8, batch: 2, episodes: 2, epochs: 1, microTokens: 24 },
  });
  const tokenizer = { eosId: golden.ppo.eos, padId: golden.ppo.vocabulary };
  const directory = { appendEpisodes: () => Promise.resolve() };
  return { gpu, config, tokenizer, directory } as unknown as Run;
}

/** A scalar head of the generator's weights. */
async function loadWithHead(gpu: Gpu, folder: string, name: string, seed: number): Promise<Qwen2> {
  const model = await loadQwen2(gpu, diskFiles(), folder, name, "score");
  const { weight } = model.score!;
  const deviation = 1 / Math.sqrt(weight.size + 1);
  gpu.upload(weight, randomWeights(seed, "score.weight", deviation, 0, weight.size));
  return model;
}

/** The farthest that samples of tensors are off, by the larger of a tensor's root mean square and the largest of its samples. */
async function farthest(gpu: Gpu, model: Qwen2, samples: Sampled[]): Promise<string> {
  let worst = { error: 0, name: "" };
  const sizes = new Map(expectedTensors(model.config).map(({ name, shape }) => [name, elementsOf(shape)]));
  for (const { name, norm, indices, values } of samples) {
    const size = sizes.get(name)!;
    const largest = Math.max(norm / Math.sqrt(size), ...values.map(Math.abs));
    const actual = await elements(gpu, model, name, "gradient", indices);
    const errors = actual.map((value, n) => Math.abs(value - values[n]) / largest);
    // The embedding's norm is most of the norm of all, and half a gigabyte to read.
    if (!name.includes("embed_tokens")) {
      const whole = await readByName(gpu, model, name, "gradient");
      errors.push(Math.abs(Math.sqrt(whole.reduce((sum, x) => sum + x * x, 0)) / norm - 1));
    }
    const error = Math.max(...errors);
    assert(error < 1e-3, `the gradient of ${name} is off by ${error}: ${actual}, not ${values}`);
    if (error > worst.error) worst = { error, name };
  }
  return `gradients within ${worst.error.toExponential(1)} (${worst.name})`;
}

async function elements(gpu: Gpu, model: Qwen2, name: string, what: "value" | "gradient", indices: number[]) {
  const values: number[] = [];
  for (const from of indices) {
    values.push((await readByName(gpu, model, name, what, { from, to: from + 1 }))[0]);
  }
  return values;
}

const relative = (actual: number, expected: number) =>
  `${(Math.abs(actual / expected - 1)).toExponential(1)}`;

gpuTest(`PyTorch agrees with a step of SFT: ${at}`, async (gpu) => {
  const { texts, queries, logprob, gradients, weights, ...expected } = golden.sft;
  const folder = await checkpoint(golden.layers, golden.seed);
  const model = await loadQwen2(gpu, diskFiles(), folder, "policy");
  const probes = texts.map((tokens) => ({ tokens, positions: tokens.slice(1).map((_, i) => i) }));
  const forward = async () =>
    (await tokenLogprobs(gpu, model, probes, { temperature: 1, microTokens: 4096 })).map((row) =>
      row.logprob
    );
  if (fullSize) assertNear((await forward()).flatMap((row) => [...row]), logprob.flat(), "logprobs", 1e-5);

  model.parameters.train();
  const table = tableOf(texts.map((tokens, i) => ({ tokens, queryLength: queries[i] })));
  const figures = await sftStep(runOn(gpu), model, table, Uint32Array.of(0, 1), 1, expected.learningRate);
  assertNear([figures.loss], [expected.loss], "loss", 1e-5);
  assertNear([figures.norm], [expected.gradNorm], "gradient norm", 1e-4);
  const worst = await farthest(gpu, model, gradients);
  // Of the step itself, not of what was there before it.
  for (const { name, indices, values } of weights) {
    const actual = await elements(gpu, model, name, "value", indices);
    const off = Math.max(...actual.map((value, n) => Math.abs(value - values[n]))) / expected.learningRate;
    assert(off < 5e-3, `the step of ${name} is off by ${off} of the learning rate`);
  }
  if (fullSize) {
    const after = (await forward()).map((row) => -row.reduce((sum, x) => sum + x, 0) / row.length);
    assertNear([(after[0] + after[1]) / 2], [expected.lossAfter], "loss after the step", 1e-3);
  }
  console.log(
    `loss off by ${relative(figures.loss, expected.loss)}, norm by ${
      relative(figures.norm, expected.gradNorm)
    }, ${worst}`,
  );
  model.parameters.drop();
  gpu.trim();
});

gpuTest(`PyTorch agrees with a step of the reward model: ${at}`, async (gpu) => {
  const { pairs, queries, scores, gradients, ...expected } = golden.reward;
  const folder = await checkpoint(golden.layers, golden.seed);
  const model = await loadWithHead(gpu, folder, "reward", golden.seed);
  assertNear(await sequenceScores(gpu, model, pairs.flat(), 4096), scores.flat(), "scores", 1e-5);
  model.parameters.train();
  const table = tableOf(
    pairs.flatMap((pair, i) => pair.map((tokens) => ({ tokens, queryLength: queries[i] }))),
  );
  const figures = await rewardStep(runOn(gpu), model, table, Uint32Array.of(0, 1), 1, 1e-5);
  assertNear([figures.loss, figures.margin], [expected.loss, expected.margin], "loss and margin", 1e-4);
  assertEquals(figures.accuracy, expected.accuracy);
  assertNear([figures.norm], [expected.gradNorm], "gradient norm", 1e-4);
  const worst = await farthest(gpu, model, gradients);
  console.log(
    `loss off by ${relative(figures.loss, expected.loss)}, norm by ${
      relative(figures.norm, expected.gradNorm)
    }, ${worst}`,
  );
  model.parameters.drop();
  gpu.trim();
});

async function ppoAgrees(gpu: Gpu): Promise<void> {
  const { queries, responses, logprob, values, scores, ...expected } = golden.ppo;
  const seeds = [golden.seed, golden.seed + 1];
  const run = runOn(gpu);
  const policy = await loadQwen2(gpu, diskFiles(), await checkpoint(expected.layers, seeds[0]), "policy");
  const critic = await loadWithHead(gpu, await checkpoint(expected.layers, seeds[1]), "critic", seeds[1]);
  const prompts = queries.map((query) => Uint32Array.from(query));
  // Before the first step the reference is the policy, and the reward model the critic.
  const networks = { policy, critic, reference: policy, rewardModel: critic };
  const rollout = await measure(run, networks, prompts, responses.map((ids) => Uint32Array.from(ids)));
  const T = responses[0].length;
  logprob.forEach((row, b) => {
    const live = row.length, beyond = values[b].length;
    assertNear(rollout.logprob.subarray(b * T, b * T + live), row, `logprobs of episode ${b}`, 1e-5);
    assertNear(rollout.reference.subarray(b * T, b * T + live), row, `reference of episode ${b}`, 1e-5);
    assertNear(rollout.values.subarray(b * T, b * T + beyond), values[b], `values of episode ${b}`, 1e-4);
  });
  assertNear(rollout.scores, scores, "scores", 1e-4);

  policy.parameters.train();
  critic.parameters.train();
  const { figures } = await improve(run, networks, rollout, 1, 1e-5, 0.05);
  assert(
    Math.abs(figures["loss/policy_avg"] - expected.policyLoss) < 1e-5,
    `${figures["loss/policy_avg"]}`,
  );
  assertNear([figures["loss/value_avg"]], [expected.valueLoss], "value loss", 1e-4);
  assertNear([figures.grad_norm], [expected.gradNorm], "gradient norm", 1e-4);
  const ofPolicy = await farthest(gpu, policy, expected.policyGradients);
  const ofCritic = await farthest(gpu, critic, expected.criticGradients);
  console.log(
    `value loss off by ${relative(figures["loss/value_avg"], expected.valueLoss)}, norm by ${
      relative(figures.grad_norm, expected.gradNorm)
    }; policy ${ofPolicy}; critic ${ofCritic}`,
  );

  // Sampling over the whole vocabulary stays within it and repeats itself, token by token decode and all.
  const draw = () =>
    generate(gpu, policy, prompts, {
      responseLength: T,
      temperature: 0.7,
      vocabulary: expected.vocabulary,
      seed: 1,
      stage: 3,
      step: 1,
    });
  const drawn = await draw();
  assert(drawn.every((row) => row.length === T && row.every((id) => id < expected.vocabulary)));
  assertEquals(await draw(), drawn);
  for (const network of [policy, critic]) network.parameters.drop();
  gpu.trim();
}

if (fullSize) {
  gpuTest(`PyTorch agrees with a first PPO update: ${golden.ppo.layers} layers at full width`, ppoAgrees);
}
