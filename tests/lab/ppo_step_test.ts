/**
 * One whole PPO update, from the log-probabilities of fixed responses to the weights after four epochs, against PyTorch in float64
 * (tests/oracles/qwen2_ppo.py): what trains, `measure` and `improve` of lab/stages/ppo_update.ts, is what is compared.
 */
import { assert, assertAlmostEquals, assertEquals } from "deno-std/assert/mod.js";
import { diskFiles } from "../../headless/files.ts";
import { liveSlots } from "../../kernels/first_eos.ts";
import { gradNorm } from "../../kernels/grad_norm.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { configure, type Overrides } from "../../lab/config.ts";
import { loadQwen2 } from "../../lab/qwen2.ts";
import { improve, measure, type Networks, type Rollout } from "../../lab/stages/ppo_update.ts";
import { firstUpdateInvariants } from "../../lab/stages/ppo_records.ts";
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

/** What an update is given, configured as the golden one was. */
function trainer(gpu: Gpu, golden: PpoGolden, ppo: Overrides["ppo"] = {}) {
  const temperature = 0.7;
  assert(Math.abs(golden.temperature - (temperature + 1e-7)) < 1e-12);
  const B = golden.queries.length;
  const config = configure("spark", {
    ppo: {
      batch: B,
      episodes: B,
      epochs: 1,
      responseLength: golden.T,
      temperature,
      gamma: golden.gamma,
      lambda: golden.lam,
      clipRange: golden.clip,
      valueClipRange: golden.valueClip,
      valueCoef: golden.valueCoefficient,
      eps: golden.eps,
      weightDecay: golden.weightDecay,
      ...ppo,
    },
  });
  // The golden models have no spare rows: every id can be drawn.
  return { gpu, config, tokenizer: { eosId: golden.eos, padId: 97 } };
}

async function withNetworks(gpu: Gpu, golden: PpoGolden, body: (networks: Networks) => Promise<void>) {
  const load = (name: string) => loadQwen2(gpu, diskFiles(), goldenPath(`qwen2_${name}`), name);
  const networks: Networks = {
    policy: await load("policy"),
    reference: await load("reference"),
    rewardModel: await load("reward"),
    critic: await load("critic"),
  };
  networks.rewardModel.score!.offset = golden.rewardOffset;
  networks.critic.score!.offset = golden.criticOffset;
  gpu.upload(networks.critic.score!.bias, new Float32Array([golden.criticBias]));
  networks.policy.parameters.train();
  networks.critic.parameters.train();
  try {
    await body(networks);
  } finally {
    for (const { parameters } of Object.values(networks)) parameters.drop();
  }
}

type Trainer = ReturnType<typeof trainer>;

/** What is fixed before the golden update, of these responses. */
function rollOut(
  run: Trainer,
  golden: PpoGolden,
  networks: Networks,
  responses = golden.responses,
): Promise<Rollout> {
  const ids = (rows: number[][]) => rows.map((row) => Uint32Array.from(row));
  return measure(run, networks, ids(golden.queries), ids(responses));
}

/** The numbers of a [B, T] matrix at some of its slots. */
function at(matrix: number[][] | Float32Array, slots: Uint32Array): number[] {
  const flat = matrix instanceof Float32Array ? matrix : matrix.flat();
  return Array.from(slots, (slot) => flat[slot]);
}

gpuTest(
  "PyTorch agrees on a rollout's logprobs, values, scores, rewards, advantages and statistics",
  async (gpu) => {
    const golden = await goldenJson<PpoGolden>("qwen2_ppo");
    const { rollout: expected } = golden;
    const run = trainer(gpu, golden);
    await withNetworks(gpu, golden, async (networks) => {
      const rollout = await rollOut(run, golden, networks);
      assertEquals(rollout.last, expected.last);
      assertEquals(rollout.hasEos, expected.hasEos);
      const live = liveSlots(expected.last, golden.T);
      for (const name of ["logprob", "reference", "entropy"] as const) {
        assertNear(at(rollout[name], live), at(expected[name], live), name, 1e-5);
      }
      assertNear(rollout.values, expected.values.flat(), "values", 2e-5);
      assertNear(rollout.scores, expected.rawScores, "scores", 1e-5);
      const { figures, perToken } = await improve(run, networks, rollout, 1, 0, golden.beta);
      for (const name of ["rewards", "advantages", "returns", "whitened"] as const) {
        assertNear(perToken[name], expected[name].flat(), name, 2e-5);
      }
      const agree = (name: string, value: number, tolerance = 1e-4) => {
        assert(name in figures, `there is no ${name} among ${Object.keys(figures)}`);
        assertNear([figures[name]], [value], name, tolerance);
      };
      agree("objective/kl", expected.statistics.kl);
      agree("objective/entropy", expected.statistics.surprise, 1e-5);
      agree("objective/non_score_reward", expected.statistics.nonScoreReward);
      agree("objective/scores", expected.statistics.score, 1e-5);
      agree("objective/rlhf_reward", expected.statistics.scoreTotal, 1e-5);
      agree("objective/entropy_with_sentinels", expected.statistics.surpriseWithSentinels, 1e-5);
      agree("precis/length", expected.statistics.length, 1e-6);
      agree("precis/eos_rate", expected.statistics.eosFraction, 1e-6);
      agree("policy/entropy_avg", golden.epochs[0].entropy);
    });
  },
);

/** Statistics of one pass as the stage logs them, and the golden ones. */
function passStatistics(expected: Epoch): [string, number, size?: number][] {
  const joint = Math.hypot(expected.policyGradNorm, expected.criticGradNorm);
  return [
    // The policy's loss is a difference of advantages that cancel: its error is measured against their size, 1.
    ["loss/policy_avg", expected.policyLoss, 0.1],
    ["loss/value_avg", expected.valueLoss, 0],
    ["grad_norm", joint, 0],
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
  ];
}

function near(value: number, should: number, what: string, size = 0.1) {
  assert(
    Math.abs(value - should) <= 1e-4 * Math.max(size, Math.abs(should), 1e-2),
    `${what} is ${value}, expected ${should}`,
  );
}

gpuTest(
  "PyTorch agrees on four epochs of PPO: losses, statistics, every gradient, and where the weights end",
  async (gpu) => {
    const golden = await goldenJson<PpoGolden>("qwen2_ppo");
    const tensors = await goldenTensors("qwen2_ppo");
    // One pass at a time over what was fixed before the first, so that gradients can be read in between.
    const run = trainer(gpu, golden, { epochs: 1 });
    await withNetworks(gpu, golden, async (networks) => {
      const { policy, critic } = networks;
      const rollout = await rollOut(run, golden, networks);
      const policySlots = liveSlots(golden.rollout.last, golden.T);
      const valueSlots = liveSlots(golden.rollout.last, golden.T, 1);
      assertEquals([policySlots.length, valueSlots.length], [35, 39]);
      for (const [n, expected] of golden.epochs.entries()) {
        const epoch = n + 1;
        const now = await rollOut(run, golden, networks);
        assertNear(
          at(now.logprob, policySlots),
          at(expected.logprob, policySlots),
          `epoch ${epoch}: logprob`,
        );
        assertNear(at(now.values, valueSlots), at(expected.value, valueSlots), `epoch ${epoch}: value`);
        const entropies = at(now.entropy, policySlots);
        near(entropies.reduce((sum, e) => sum + e) / entropies.length, expected.entropy, "entropy", 0);

        const { figures, perEpoch: [firstEpoch] } = await improve(
          run,
          networks,
          rollout,
          epoch,
          golden.learningRate,
          golden.beta,
        );
        for (const [name, should, size] of passStatistics(expected)) {
          near(figures[name], should, `epoch ${epoch}: ${name}`, size);
        }
        assertEquals(firstEpoch["loss/policy_avg"], figures["loss/policy_avg"]);
        const loss = figures["loss/policy_avg"] + run.config.ppo.valueCoef * figures["loss/value_avg"];
        near(loss, expected.loss, `epoch ${epoch}: loss`, 0.1);
        for (
          const [model, norm] of [
            [policy, expected.policyGradNorm],
            [critic, expected.criticGradNorm],
          ] as const
        ) {
          const found = gpu.scope(() => gradNorm(gpu, model.parameters.gradients).norm);
          near((await gpu.read(found))[0][0], norm, `epoch ${epoch}: norm of ${model.name}'s gradient`, 0);
          gpu.release(found);
        }
        if (epoch <= 2) {
          await assertTensors(gpu, policy, "gradient", tensors[`policy_gradient${epoch}`]);
          await assertTensors(gpu, critic, "gradient", tensors[`critic_gradient${epoch}`]);
        }
      }
      await assertTensors(gpu, policy, "value", tensors.policy_after4);
      await assertTensors(gpu, critic, "value", tensors.critic_after4);
    });
  },
);

gpuTest("the four epochs in one go, in micro-batches, end at PyTorch's weights too", async (gpu) => {
  const golden = await goldenJson<PpoGolden>("qwen2_ppo");
  const tensors = await goldenTensors("qwen2_ppo");
  const run = trainer(gpu, golden, { epochs: golden.epochs.length, microTokens: 30 });
  await withNetworks(gpu, golden, async (networks) => {
    const rollout = await rollOut(run, golden, networks);
    const { figures, perEpoch: [firstEpoch], tokens } = await improve(
      run,
      networks,
      rollout,
      1,
      golden.learningRate,
      golden.beta,
    );
    // The stage logs means over the passes, but for the explained variance, which is that of the first.
    const passes = golden.epochs.map(passStatistics);
    passes[0].forEach(([name, first, size], i) => {
      const mean = passes.reduce((sum, pass) => sum + pass[i][1], 0) / passes.length;
      near(figures[name], name === "val/explained_variance" ? first : mean, name, size);
    });
    near(firstEpoch["val/ratio_max_change"], 0, "ratio of the first pass");
    assertEquals(
      tokens,
      4 * golden.queries.reduce((sum, query, b) => sum + query.length + golden.rollout.last[b] + 1, 0),
    );
    await assertTensors(gpu, networks.policy, "value", tensors.policy_after4);
    await assertTensors(gpu, networks.critic, "value", tensors.critic_after4);
  });
});

gpuTest(
  "what the last pass makes of the tokens is kept, and is what the pass before left behind",
  async (gpu) => {
    const golden = await goldenJson<PpoGolden>("qwen2_ppo");
    const { T, rollout: { last } } = golden;
    const rate = 10 * golden.learningRate;
    const kept = async (epochs: number, microTokens: number) => {
      let found: { updated: Float32Array; after: Float32Array; old: Float32Array } | undefined;
      await withNetworks(gpu, golden, async (networks) => {
        const run = trainer(gpu, golden, { epochs, microTokens });
        const rollout = await rollOut(run, golden, networks);
        const { perToken } = await improve(run, networks, rollout, 1, rate, golden.beta);
        const { logprob } = await rollOut(run, golden, networks);
        found = { updated: perToken.updated, after: logprob, old: rollout.logprob };
      });
      return found!;
    };
    const once = await kept(1, 4096), twice = await kept(2, 4096), inPieces = await kept(2, 16);
    let moved = 0;
    for (let b = 0; b < Math.min(4, last.length); b++) {
      for (let t = b * T; t <= b * T + last[b]; t++) {
        assertAlmostEquals(once.updated[t], once.old[t], 1e-5);
        assertAlmostEquals(twice.updated[t], once.after[t], 1e-5);
        assertAlmostEquals(inPieces.updated[t], once.after[t], 1e-4);
        moved = Math.max(moved, Math.abs(once.after[t] - once.old[t]));
      }
    }
    assert(moved > 1e-3, `the policy has moved by ${moved} nats only`);
  },
);

gpuTest("what a response says after its EOS changes no number of the update", async (gpu) => {
  const golden = await goldenJson<PpoGolden>("qwen2_ppo");
  const run = trainer(gpu, golden, { epochs: 2 });
  const perturbed = golden.responses.map((response, b) =>
    response.map((id, t) => golden.rollout.hasEos[b] && t > golden.rollout.last[b] ? (id + 40) % 97 : id)
  );
  assert(perturbed.flat().filter((id, i) => id !== golden.responses.flat()[i]).length > 15);
  const results: unknown[] = [];
  for (const responses of [golden.responses, perturbed]) {
    await withNetworks(gpu, golden, async (networks) => {
      const rollout = await rollOut(run, golden, networks, responses);
      const improvement = await improve(run, networks, rollout, 1, golden.learningRate, golden.beta);
      const after = await rollOut(run, golden, networks);
      results.push({ before: { ...rollout, responses: [] }, improvement, after });
    });
  }
  assertEquals(results[1], results[0]);
});

gpuTest(
  "where policy and reference, critic and reward model are the same, all that must hold in a first update holds",
  async (gpu) => {
    const golden = await goldenJson<PpoGolden>("qwen2_ppo");
    const { T, rollout: { last, hasEos } } = golden;
    const run = trainer(gpu, golden);
    await withNetworks(gpu, golden, async (networks) => {
      const { score, parameters } = networks.rewardModel;
      assertEquals(score!.offset, golden.rewardOffset);
      parameters.train();
      const same = { ...networks, reference: networks.policy, critic: networks.rewardModel };
      const rollout = await rollOut(run, golden, same);
      const { perToken, perEpoch: [firstEpoch], figures } = await improve(
        run,
        same,
        rollout,
        1,
        0,
        golden.beta,
      );
      let met = 0;
      for (let b = 0; b < last.length; b++) {
        const after = b * T + last[b] + 1;
        if (!hasEos[b] || last[b] + 1 >= T) continue;
        assert(
          Math.abs(rollout.values[after] - rollout.scores[b]) <= 1e-6 * Math.abs(rollout.scores[b]),
          `${rollout.values[after]} is not ${rollout.scores[b]}`,
        );
        const left = perToken.advantages[after];
        assert(Math.abs(left) < 1e-5, `row ${b} still has advantage ${left}`);
        met++;
      }
      assertEquals(met, 4);
      assert(Math.abs(firstEpoch["loss/policy_avg"]) < 1e-6, `the loss is ${firstEpoch["loss/policy_avg"]}`);
      const change = firstEpoch["val/ratio_max_change"];
      assert(change < 1e-5, `a ratio is off by ${change}`);
      assertEquals(firstEpoch["policy/clipfrac_avg"], 0);
      const found = firstUpdateInvariants(run, rollout, firstEpoch, figures);
      assertEquals([found.length, found.filter(({ passed }) => !passed)], [6, []]);
    });
  },
);

gpuTest("another reference and another critic are noticed in the first update", async (gpu) => {
  const golden = await goldenJson<PpoGolden>("qwen2_ppo");
  const run = trainer(gpu, golden);
  await withNetworks(gpu, golden, async (networks) => {
    const rollout = await rollOut(run, golden, networks);
    const { perEpoch: [firstEpoch], figures } = await improve(run, networks, rollout, 1, 0, golden.beta);
    const found = firstUpdateInvariants(run, rollout, firstEpoch, figures);
    assertEquals(found.filter(({ passed }) => !passed).map(({ name }) => name), [
      "KL of policy to reference is 0",
      "value one slot behind EOS equals the score",
    ]);
  });
});
