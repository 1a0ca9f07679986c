/**
 * One whole PPO update, from the log-probabilities of fixed responses to the weights after four epochs, against PyTorch in float64
 * (tests/oracles/qwen2_ppo.py). Built here from the kernels and the model alone, so that it stands whatever trainer is put around them.
 */
import { assert, assertEquals } from "deno-std/assert/mod.js";
import { diskFiles } from "../../headless/files.ts";
import { weightedSum } from "../../kernels/elementwise.ts";
import { firstEos, liveSlots, maskAfter } from "../../kernels/first_eos.ts";
import { gae } from "../../kernels/gae.ts";
import { gatherRows } from "../../kernels/gather_rows.ts";
import { gradNorm } from "../../kernels/grad_norm.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { klReward } from "../../kernels/kl_reward.ts";
import { logprobs } from "../../kernels/logprob.ts";
import { policyStatistics, ppoPolicyLoss } from "../../kernels/ppo_policy_loss.ts";
import { ppoValueLoss, valueStatistics } from "../../kernels/ppo_value_loss.ts";
import { rolloutStatistics, rolloutSums } from "../../kernels/rollout_statistics.ts";
import { scalarHead } from "../../kernels/scalar_head.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import { whiten } from "../../kernels/whiten.ts";
import { hiddenStates, loadQwen2, type Qwen2, tokenBatch } from "../../lab/qwen2.ts";
import { gpuTest } from "../kernels/testing.ts";
import { assertNear, assertTensors, goldenJson, goldenPath, goldenTensors } from "./golden.ts";

interface Epoch {
  /** [B, T], masked as the reference does: 1 after the end. */
  logprob: number[][];
  /** [B, T], 0 from two after the end. */
  value: number[][];
  policyLoss: number;
  valueLoss: number;
  loss: number;
  approxkl: number;
  approxklUnmasked: number;
  k1: number;
  k3: number;
  clipfrac: number;
  clipfracUnmasked: number;
  ratio: number;
  ratioVariance: number;
  maxRatioChange: number;
  entropy: number;
  valueClipfrac: number;
  valueMean: number;
  valueError: number;
  explainedVariance: number;
  policyGradNorm: number;
  criticGradNorm: number;
}

interface PpoGolden {
  queries: number[][];
  responses: number[][];
  eos: number;
  T: number;
  beta: number;
  gamma: number;
  lam: number;
  clip: number;
  valueClip: number;
  valueCoefficient: number;
  temperature: number;
  rewardOffset: number;
  criticOffset: number;
  criticBias: number;
  learningRate: number;
  eps: number;
  weightDecay: number;
  rollout: {
    last: number[];
    hasEos: number[];
    logprob: number[][];
    reference: number[][];
    entropy: number[][];
    values: number[][];
    rawScores: number[];
    scores: number[];
    rewards: number[][];
    advantages: number[][];
    returns: number[][];
    whitened: number[][];
    statistics: Record<string, number>;
  };
  epochs: Epoch[];
}

/** Rows of a packed batch of query ⊕ response at which the token of each slot (b, t) is predicted, for the given slots. */
function predictingRows(golden: PpoGolden, slots: Uint32Array): Uint32Array<ArrayBuffer> {
  const starts: number[] = [];
  let at = 0;
  for (const query of golden.queries) {
    starts.push(at + query.length - 1);
    at += query.length + golden.T;
  }
  return Uint32Array.from(slots, (slot) => starts[Math.floor(slot / golden.T)] + slot % golden.T);
}

/** Log-probabilities and entropies of response tokens at the given slots, at the rollout's temperature. */
function responseLogprobs(gpu: Gpu, golden: PpoGolden, model: Qwen2, texts: number[][], slots: Uint32Array) {
  const batch = tokenBatch(gpu, model, texts, true);
  const ids = golden.responses.flat();
  const targets = gpu.from(Uint32Array.from(slots, (slot) => ids[slot]), [slots.length], "targets");
  return () => {
    const states = gatherRows(gpu, hiddenStates(gpu, model, batch), predictingRows(golden, slots));
    return logprobs(gpu, states, model.head, targets, { temperature: golden.temperature });
  };
}

/** Values of the states before the tokens at the given slots. */
function responseValues(gpu: Gpu, golden: PpoGolden, model: Qwen2, texts: number[][], slots: Uint32Array) {
  const batch = tokenBatch(gpu, model, texts, true);
  return () => {
    const states = gatherRows(gpu, hiddenStates(gpu, model, batch), predictingRows(golden, slots));
    return scalarHead(gpu, states, model.score!.weight, model.score!.bias, model.score!.offset);
  };
}

interface Networks {
  policy: Qwen2;
  reference: Qwen2;
  reward: Qwen2;
  critic: Qwen2;
}

async function withNetworks(gpu: Gpu, golden: PpoGolden, body: (networks: Networks) => Promise<void>) {
  const load = (name: string) => loadQwen2(gpu, diskFiles(), goldenPath(`qwen2_${name}`), name);
  const networks = {
    policy: await load("policy"),
    reference: await load("reference"),
    reward: await load("reward"),
    critic: await load("critic"),
  };
  networks.reward.score!.offset = golden.rewardOffset;
  networks.critic.score!.offset = golden.criticOffset;
  gpu.upload(networks.critic.score!.bias, new Float32Array([golden.criticBias]));
  try {
    await body(networks);
  } finally {
    for (const { parameters } of Object.values(networks)) parameters.drop();
  }
}

/** What training needs of a rollout, on the device; [B, T] each, `last` and `hasEos` u32 [B]. */
interface Rollout {
  logprob: Tensor;
  reference: Tensor;
  values: Tensor;
  scores: Tensor;
  last: Tensor;
  hasEos: Tensor;
  rewards: Tensor;
  advantages: Tensor;
  returns: Tensor;
  whitened: Tensor;
  statistics: Tensor;
}

function rollOut(gpu: Gpu, golden: PpoGolden, responses: number[][], networks: Networks): Rollout {
  const { T, queries, beta, gamma, lam: lambda } = golden;
  const B = queries.length;
  const given = { ...golden, responses };
  return gpu.scope(() => {
    const texts = queries.map((query, b) => [...query, ...responses[b]]);
    const all = Uint32Array.from({ length: B * T }, (_, slot) => slot);
    const tokens = gpu.from(Uint32Array.from(responses.flat()), [B, T], "responses");
    const { last, hasEos } = firstEos(gpu, tokens, golden.eos);
    const logprob = responseLogprobs(gpu, given, networks.policy, texts, all)().logprob.as([B, T]);
    const reference = responseLogprobs(gpu, given, networks.reference, texts, all)().logprob.as([B, T]);
    const everyValue = responseValues(gpu, given, networks.critic, texts, all)().as([B, T]);
    const values = maskAfter(gpu, everyValue, last, { beyond: 1 });

    // The reward model sees each response up to its end and is read there.
    const ends = responses.map((response) => {
      const e = response.indexOf(golden.eos);
      return e < 0 ? T - 1 : e;
    });
    const cut = queries.map((query, b) => [...query, ...responses[b].slice(0, ends[b] + 1)]);
    let row = -1;
    const lastRows = Uint32Array.from(cut, (text) => row += text.length);
    const states = gatherRows(
      gpu,
      hiddenStates(gpu, networks.reward, tokenBatch(gpu, networks.reward, cut)),
      lastRows,
    );
    const head = networks.reward.score!;
    const scores = scalarHead(gpu, states, head.weight, head.bias, head.offset);

    const drawn = { logprob, reference, last, hasEos, scores };
    const { reward: rewards } = klReward(gpu, drawn, { beta });
    const { advantages, returns } = gae(gpu, rewards, values, { gamma, lambda });
    const { whitened } = whiten(gpu, advantages, last);
    const statistics = rolloutSums(gpu, drawn, { beta });
    return { ...drawn, values, rewards, advantages, returns, whitened, statistics };
  });
}

function free(gpu: Gpu, tensors: object): void {
  for (const tensor of Object.values(tensors)) gpu.release(tensor as Tensor);
}

gpuTest(
  "PyTorch agrees on a rollout's logprobs, values, scores, rewards, advantages and statistics",
  async (gpu) => {
    const golden = await goldenJson<PpoGolden>("qwen2_ppo");
    const { rollout: expected } = golden;
    await withNetworks(gpu, golden, async (networks) => {
      const rollout = rollOut(gpu, golden, golden.responses, networks);
      const [last, hasEos] = await gpu.readU32(rollout.last, rollout.hasEos);
      assertEquals([...last], expected.last);
      assertEquals([...hasEos], expected.hasEos);
      for (const name of ["logprob", "reference"] as const) {
        const [values] = await gpu.read(rollout[name]);
        assertNear(values, expected[name].flat(), name, 1e-5);
      }
      for (const name of ["values", "rewards", "advantages", "returns", "whitened"] as const) {
        const [values] = await gpu.read(rollout[name]);
        assertNear(values, expected[name].flat(), name, 2e-5);
      }
      assertNear((await gpu.read(rollout.scores))[0], expected.rawScores, "scores", 1e-5);
      const statistics = rolloutStatistics((await gpu.read(rollout.statistics))[0], golden.T);
      const agree = (name: string, value: number, tolerance = 1e-4) => {
        assert(name in statistics, `there is no ${name} among ${Object.keys(statistics)}`);
        assertNear([statistics[name]], [value], name, tolerance);
      };
      agree("objective/kl", expected.statistics.kl);
      agree("objective/entropy", expected.statistics.surprise, 1e-5);
      agree("objective/non_score_reward", expected.statistics.nonScoreReward);
      agree("objective/scores", expected.statistics.score, 1e-5);
      agree("objective/rlhf_reward", expected.statistics.scoreTotal, 1e-5);
      agree("objective/entropy_with_sentinels", expected.statistics.surpriseWithSentinels, 1e-5);
      free(gpu, rollout);
    });
  },
);

gpuTest(
  "PyTorch agrees on four epochs of PPO: losses, statistics, every gradient, and where the weights end",
  async (gpu) => {
    const golden = await goldenJson<PpoGolden>("qwen2_ppo");
    const tensors = await goldenTensors("qwen2_ppo");
    const { T, learningRate, eps, weightDecay } = golden;
    await withNetworks(gpu, golden, async (networks) => {
      const { policy, critic } = networks;
      const rollout = rollOut(gpu, golden, golden.responses, networks);
      const texts = golden.queries.map((query, b) => [...query, ...golden.responses[b]]);
      const policySlots = liveSlots(golden.rollout.last, T);
      const valueSlots = liveSlots(golden.rollout.last, T, 1);
      assertEquals([policySlots.length, valueSlots.length], [35, 39]);
      policy.parameters.train();
      critic.parameters.train();

      for (const [n, expected] of golden.epochs.entries()) {
        const epoch = n + 1;
        policy.parameters.clearGradients();
        critic.parameters.clearGradients();
        const results = gpu.scope(() => {
          const slotsOf = (slots: Uint32Array<ArrayBuffer>) => gpu.from(slots, [slots.length], "slots");
          const logprobsOf = responseLogprobs(gpu, golden, policy, texts, policySlots);
          const valuesOf = responseValues(gpu, golden, critic, texts, valueSlots);
          const at = { policy: slotsOf(policySlots), value: slotsOf(valueSlots) };
          const kept: Record<string, Tensor> = {};
          const loss = gpu.differentiate(() => {
            const scored = logprobsOf();
            const policyLoss = ppoPolicyLoss(gpu, {
              logprob: scored.logprob,
              slots: at.policy,
              oldLogprob: rollout.logprob,
              advantages: rollout.whitened,
            }, { denominator: policySlots.length, clipRange: golden.clip });
            const value = valuesOf();
            const valueLoss = ppoValueLoss(gpu, {
              value,
              slots: at.value,
              oldValues: rollout.values,
              returns: rollout.returns,
            }, { denominator: valueSlots.length, clipRange: golden.valueClip });
            Object.assign(kept, {
              logprob: gpu.keep(scored.logprob),
              entropy: gpu.keep(scored.entropy),
              value: gpu.keep(value),
              policyLoss: gpu.keep(policyLoss.loss),
              valueLoss: gpu.keep(valueLoss.loss),
              policySums: gpu.keep(policyLoss.sums),
              valueSums: gpu.keep(valueLoss.sums),
            });
            return weightedSum(gpu, policyLoss.loss, 1, valueLoss.loss, golden.valueCoefficient);
          });
          const policyNorm = gradNorm(gpu, policy.parameters.gradients).norm;
          const criticNorm = gradNorm(gpu, critic.parameters.gradients).norm;
          return { ...kept, loss, policyNorm, criticNorm } as Record<string, Tensor>;
        });
        const read = async (name: string) => (await gpu.read(results[name]))[0];
        const live = (values: number[][], slots: Uint32Array) =>
          [...slots].map((slot) => values.flat()[slot]);

        assertNear(await read("logprob"), live(expected.logprob, policySlots), `epoch ${epoch}: logprob`);
        assertNear(await read("value"), live(expected.value, valueSlots), `epoch ${epoch}: value`);
        // The policy's loss is a difference of advantages that cancel: its error is measured against their size, 1.
        const near = (value: number, should: number, what: string, size = Math.abs(should)) => {
          assert(
            Math.abs(value - should) <= 1e-4 * Math.max(size, 1e-2),
            `epoch ${epoch}: ${what} is ${value}, expected ${should}`,
          );
        };
        near((await read("policyLoss"))[0], expected.policyLoss, "policy loss", 0.1);
        near((await read("valueLoss"))[0], expected.valueLoss, "value loss");
        near((await read("loss"))[0], expected.loss, "loss", 0.1);
        near((await read("policyNorm"))[0], expected.policyGradNorm, "norm of the policy's gradient");
        near((await read("criticNorm"))[0], expected.criticGradNorm, "norm of the critic's gradient");
        const entropies = await read("entropy");
        near(entropies.reduce((sum, e) => sum + e) / entropies.length, expected.entropy, "entropy");
        const statistics = {
          ...policyStatistics(await read("policySums"), T * golden.queries.length),
          ...valueStatistics(await read("valueSums")),
        };
        for (
          const [name, should] of [
            ["policy/approxkl_avg", expected.approxkl],
            ["policy/approxkl_unmasked", expected.approxklUnmasked],
            ["policy/approxkl_k1", expected.k1],
            ["policy/approxkl_k3", expected.k3],
            ["policy/clipfrac_avg", expected.clipfrac],
            ["policy/clipfrac_unmasked", expected.clipfracUnmasked],
            ["val/ratio", expected.ratio],
            ["val/ratio_var", expected.ratioVariance],
            ["val/ratio_max_change", expected.maxRatioChange],
            ["val/clipfrac_avg", expected.valueClipfrac],
            ["val/mean", expected.valueMean],
            ["val/error", expected.valueError],
            ["val/explained_variance", expected.explainedVariance],
          ] as const
        ) near(statistics[name], should, name, Math.max(Math.abs(should), 0.1));
        free(gpu, results);

        if (epoch <= 2) {
          await assertTensors(gpu, policy, "gradient", tensors[`policy_gradient${epoch}`]);
          await assertTensors(gpu, critic, "gradient", tensors[`critic_gradient${epoch}`]);
        }
        for (const { parameters } of [policy, critic]) {
          parameters.step({ learningRate, eps, weightDecay, beta1: 0.9, beta2: 0.999, step: epoch });
        }
      }
      await assertTensors(gpu, policy, "value", tensors.policy_after4);
      await assertTensors(gpu, critic, "value", tensors.critic_after4);
      free(gpu, rollout);
    });
  },
);

gpuTest("what a response says after its EOS changes no number of the update", async (gpu) => {
  const golden = await goldenJson<PpoGolden>("qwen2_ppo");
  await withNetworks(gpu, golden, async (networks) => {
    const perturbed = golden.responses.map((response, b) =>
      response.map((id, t) => golden.rollout.hasEos[b] && t > golden.rollout.last[b] ? (id + 40) % 97 : id)
    );
    assert(perturbed.flat().filter((id, i) => id !== golden.responses.flat()[i]).length > 15);
    const before = rollOut(gpu, golden, golden.responses, networks);
    const after = rollOut(gpu, golden, perturbed, networks);
    for (const name of ["values", "scores", "rewards", "advantages", "returns", "whitened"] as const) {
      const [expected, values] = await gpu.read(before[name], after[name]);
      assertEquals(values, expected, name);
    }
    const [statistics, others] = await gpu.read(before.statistics, after.statistics);
    assertEquals(others, statistics);
    free(gpu, before);
    free(gpu, after);
  });
});

gpuTest(
  "where the critic is the reward model, its value after EOS is the score and nothing is left to learn there",
  async (gpu) => {
    const golden = await goldenJson<PpoGolden>("qwen2_ppo");
    const { T, rollout: { last, hasEos } } = golden;
    await withNetworks(gpu, golden, async (networks) => {
      const { score } = networks.reward;
      assertEquals(score!.offset, golden.rewardOffset);
      const rollout = rollOut(gpu, golden, golden.responses, { ...networks, critic: networks.reward });
      const [values, scores, advantages] = await gpu.read(rollout.values, rollout.scores, rollout.advantages);
      let met = 0;
      for (let b = 0; b < last.length; b++) {
        const after = b * T + last[b] + 1;
        if (!hasEos[b] || last[b] + 1 >= T) continue;
        assert(
          Math.abs(values[after] - scores[b]) <= 1e-6 * Math.abs(scores[b]),
          `${values[after]} is not ${scores[b]}`,
        );
        assert(Math.abs(advantages[after]) < 1e-5, `row ${b} still has advantage ${advantages[after]}`);
        met++;
      }
      assertEquals(met, 4);
      free(gpu, rollout);
    });
  },
);

gpuTest("the first epoch of an update starts from a ratio of 1 and a loss of 0", async (gpu) => {
  const golden = await goldenJson<PpoGolden>("qwen2_ppo");
  const { T, rollout: { last } } = golden;
  await withNetworks(gpu, golden, async (networks) => {
    const rollout = rollOut(gpu, golden, golden.responses, networks);
    const slots = liveSlots(last, T);
    const results = gpu.scope(() => {
      const texts = golden.queries.map((query, b) => [...query, ...golden.responses[b]]);
      const { logprob } = responseLogprobs(gpu, golden, networks.policy, texts, slots)();
      return ppoPolicyLoss(gpu, {
        logprob,
        slots: gpu.from(slots, [slots.length], "slots"),
        oldLogprob: rollout.logprob,
        advantages: rollout.whitened,
      }, { denominator: slots.length, clipRange: golden.clip });
    });
    const [[loss], sums] = await gpu.read(results.loss, results.sums);
    const statistics = policyStatistics(sums);
    assert(Math.abs(loss) < 1e-6, `the loss is ${loss}`);
    assert(
      statistics["val/ratio_max_change"] < 1e-5,
      `a ratio is off by ${statistics["val/ratio_max_change"]}`,
    );
    assertEquals(statistics["policy/clipfrac_avg"], 0);
    free(gpu, results);
    free(gpu, rollout);
  });
});
