/** The microscope on a toy and on the golden networks: what it shows is what training computes, and what PyTorch computed. */
import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { sampleReference } from "../../../kernels/sample.ts";
import type { Gpu } from "../../../kernels/gpu.ts";
import { configure } from "../../../lab/config.ts";
import { random } from "../../../lab/demo/random.ts";
import { ppoMicroscope } from "../../../lab/live/microscope.ts";
import { copyQwen2 } from "../../../lab/live/trainer.ts";
import { xray } from "../../../lab/live/xray.ts";
import { tldrQuery } from "../../../lab/query.ts";
import { loadQwen2 } from "../../../lab/qwen2.ts";
import { joined, nextLogprobs, sequenceScores } from "../../../lab/scoring.ts";
import { loadTokenizer } from "../../../lab/tokenizer.ts";
import { standardNormal } from "../../../lab/training.ts";
import { gpuTest } from "../../kernels/testing.ts";
import { toyDataset, toyDisk } from "../toy.ts";

/** Four networks of two layers that differ, and three posts. */
async function scene(gpu: Gpu) {
  const files = await toyDisk(gpu);
  const tokenizer = await loadTokenizer((path) => files.read(path), "base", 768);
  const base = await loadQwen2(gpu, files, "base", "base");
  const rewardModel = copyQwen2(gpu, base, "reward", "score");
  const draw = standardNormal(random(8));
  const noisy = (size: number) => Float32Array.from({ length: size }, () => draw() * 0.3);
  gpu.upload(rewardModel.score!.weight, noisy(rewardModel.score!.weight.size));
  rewardModel.score!.offset = 0.2;
  const critic = copyQwen2(gpu, rewardModel, "critic");
  const reference = copyQwen2(gpu, base, "reference");
  for (const { finalNorm } of [critic, reference]) {
    gpu.upload(finalNorm, noisy(finalNorm.size).map((x) => 1 + x));
  }
  const { posts } = await toyDataset();
  const config = configure("demo", {
    seed: 6,
    // EOS is rarely drawn from random weights: a response has many chances.
    ppo: { responseLength: 12, epochs: 3, learningRate: 2e-3, maxGradNorm: 0.05 },
  });
  const networks = { policy: base, critic, reference, rewardModel };
  return {
    ground: { gpu, tokenizer, config, ...networks, posts: posts.validation.slice(0, 3) },
    free: () => Object.values(networks).forEach(({ parameters }) => parameters.drop()),
  };
}

gpuTest(
  "kernels and derivation agree however the knobs are turned, and the update repeats itself to the bit",
  async (gpu) => {
    const { ground, free } = await scene(gpu);
    using microscope = await ppoMicroscope(ground);
    const seen = microscope.rollout;
    assertEquals(seen.episodes.length, 3);
    const weight = { network: "policy" as const, tensor: "layers.1.mlp.down.weight", index: 7 };
    const turns = [
      {},
      { klCoef: 0.5, lambda: 0.3, gamma: 0.9, clipRange: 0.02, valueClipRange: 0.01 },
      {
        whitenAdvantages: false,
        whitenRewards: true,
        scoreSlot: "last" as const,
        klEstimator: "k3" as const,
      },
      { dualClip: 1.01, missingEos: "subtract" as const, missingEosPenalty: 2, valueCoef: 1, epochs: 2 },
    ];
    const first = await microscope.update({}, { weight });
    for (const change of turns) {
      const told: number[] = [];
      const { derivation, checks, steps, figures } = await microscope.update(change, {
        weight,
        onPass: (done) => told.push(done),
      });
      assertEquals(checks.filter(({ passed }) => !passed), [], JSON.stringify(change));
      const epochs = change.epochs ?? 3;
      assertEquals([derivation.passes.length, steps.length, told], [
        epochs,
        epochs,
        Array.from({ length: epochs }, (_, i) => i + 1),
      ]);
      // By arithmetic alone, the first pass comes to the same but for the f32 of its log-probabilities.
      const alone = microscope.derive(change);
      assertEquals(alone.episodes, derivation.episodes);
      assert(Math.abs(alone.passes[0].loss - derivation.passes[0].loss) < 1e-4);
      assert(Math.abs(derivation.figures["objective/kl"] - figures["objective/kl"]) < 1e-4);
      assert(derivation.passes.at(-1)!.figures["val/ratio_max_change"] > 1e-3, "the policy has moved");
    }
    assertEquals(await microscope.update({}, { weight }), first);
    assert(first.steps[0].norm > 0.05, "the gradient is clipped");
    assertEquals(first.steps[0].layers.map(({ network, part }) => `${network} ${part}`), [
      ...["embedding", "layers.0", "layers.1", "norm"].map((part) => `policy ${part}`),
      ...["embedding", "layers.0", "layers.1", "norm", "score"].map((part) => `critic ${part}`),
    ]);
    const again = await microscope.rollOut({ update: 2 });
    assert(again.episodes.some(({ text }, b) => text !== seen.episodes[b].text));
    assertEquals(await microscope.rollOut(), seen);
    free();
  },
);

gpuTest("a weight's gradient is the slope of the derived loss", async (gpu) => {
  const { ground, free } = await scene(gpu);
  using microscope = await ppoMicroscope(ground);
  const { parameters } = microscope;
  const tensors = parameters.filter(({ network }) => network === "policy");
  let compared = 0;
  for (const { tensor, shape } of tensors) {
    const index = Math.floor(shape.reduce((size, extent) => size * extent, 1) / 3);
    const { steps } = await microscope.update({ epochs: 1 }, {
      weight: { network: "policy", tensor, index },
    });
    const gradient = steps[0].adamw.find(({ symbol }) => symbol === "g")!.value;
    const scale = Math.min(1, 0.05 / (steps[0].norm + 1e-6));
    const { slope } = await microscope.slope({ tensor, index });
    if (Math.abs(slope) < 1e-3) continue;
    compared++;
    assert(
      Math.abs(gradient / scale - slope) < 0.02 * Math.abs(slope) + 2e-4,
      `${tensor}: ${gradient / scale}, not ${slope}`,
    );
  }
  assert(compared >= 5, `${compared} tensors have a slope worth comparing`);
  await assertRejects(
    () => microscope.update({}, { weight: { network: "policy", tensor: "norm", index: 16 } }),
    RangeError,
    "elements 0 to 15",
  );
  await assertRejects(() => microscope.slope({ tensor: "nose", index: 0 }), RangeError, 'no tensor "nose"');
  await assertRejects(() => microscope.update({ lambda: 2 }), RangeError, "lambda");
  free();
});

gpuTest("the random words that are shown are those that drew the tokens", async (gpu) => {
  const { ground, free } = await scene(gpu);
  using microscope = await ppoMicroscope(ground);
  const { tokenizer, config } = ground;
  for (const { tokens, post } of microscope.rollout.episodes.slice(0, 1)) {
    const source = ground.posts.find(({ id }) => id === post.id)!;
    let prompt = tldrQuery(tokenizer, source, config.preprocess.queryTokens).tokens;
    for (const { id, slot, draw, logprob } of tokens.slice(0, 3)) {
      const z = await logitsAfter(gpu, ground.policy, prompt, tokenizer.padId, config.ppo.temperature);
      const [seed, stage] = draw.key, [, position, sample, step] = draw.counter;
      assertEquals(position, slot);
      const drawn = sampleReference(z, { vocabulary: tokenizer.padId }, { seed, stage, step }, {
        sample,
        position,
      });
      assertEquals(drawn.token, id);
      assert(Math.abs(drawn.logprob - logprob) < 1e-4);
      prompt = [...prompt, id];
    }
  }
  free();
});

/** log p at temperature τ of every id behind a prompt: logits but for a constant. */
async function logitsAfter(
  gpu: Gpu,
  model: Parameters<typeof copyQwen2>[1],
  prompt: readonly number[],
  vocabulary: number,
  temperature: number,
): Promise<number[]> {
  const ids = Array.from({ length: vocabulary }, (_, id) => id);
  const [row] = await nextLogprobs(gpu, model, [prompt], ids, { vocabulary, microTokens: 4096 });
  const scaled = row.map((x) => x / (temperature + 1e-7));
  return scaled;
}

gpuTest("what is given up or disposed of leaves neither captures nor memory", async (gpu) => {
  const { ground, free } = await scene(gpu);
  // The engine makes its constants at their first use and keeps them.
  const warm = await ppoMicroscope(ground);
  await warm.update();
  warm.dispose();
  const held = gpu.memory.bytes;
  const microscope = await ppoMicroscope(ground);
  const heed = () => {
    throw new Error("enough");
  };
  await assertRejects(() => microscope.update({}, { heed }), Error, "enough");
  assertEquals(gpu.captures, null);
  const { checks } = await microscope.update();
  assertEquals(checks.filter(({ passed }) => !passed), []);
  microscope.dispose();
  microscope.dispose();
  assertEquals(gpu.memory.bytes, held);
  await assertRejects(() => microscope.update(), Error, "disposed");
  await assertRejects(() => ppoMicroscope({ ...ground, heed }), Error, "enough");
  assertEquals(gpu.memory.bytes, held);
  free();
});

gpuTest("an X-ray's scores are those of the variants, one by one", async (gpu) => {
  const { ground, free } = await scene(gpu);
  const { tokenizer, rewardModel: model, posts: [post] } = ground;
  const queryTokens = 96, summary = "My boss took my lunch. Am I wrong?";
  const told: number[] = [];
  const found = await xray({ gpu, tokenizer, model, queryTokens, microTokens: 300 }, post, summary, {
    onProgress: (done) => told.push(done),
  });
  const query = Uint32Array.from(tldrQuery(tokenizer, post, queryTokens).tokens);
  const ids = tokenizer.encode(` ${summary}`);
  assertEquals(found.tokens.map(({ id }) => id), ids);
  assertEquals(found.tokens.map(({ text }) => text).join(""), ` ${summary}`);
  assert(told.length > 1 && told.at(-1) === 2 * ids.length + 1, String(told));
  const alone = async (response: number[]) =>
    (await sequenceScores(gpu, model, [joined(query, [...response, tokenizer.eosId])], 4096))[0];
  const near = (x: number, y: number) => assert(Math.abs(x - y) < 1e-5, `${x}, not ${y}`);
  near(found.score, await alone(ids));
  near(found.empty, await alone([]));
  for (const t of [0, 3, ids.length - 1]) {
    near(found.tokens[t].without, await alone(ids.toSpliced(t, 1)));
    near(found.tokens[t].contribution, found.score - found.tokens[t].without);
    near(found.tokens[t].prefix, await alone(ids.slice(0, t + 1)));
  }
  near(found.empty + found.tokens.reduce((sum, { step }) => sum + step, 0), found.score);
  await assertRejects(() => xray({ gpu, tokenizer, model, queryTokens }, post, " "), RangeError, "empty");
  await assertRejects(
    () => xray({ gpu, tokenizer, model: ground.policy, queryTokens }, post, "a"),
    RangeError,
    "no scalar head",
  );
  free();
});
