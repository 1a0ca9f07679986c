/**
 * PPO on summaries, in the order in which the paper tells it (arXiv 2009.01325 §3.4; 2403.17031, details 20–25; the released ppo.py):
 *
 *   rollout    the policy answers a batch of queries, always `responseLength` tokens; what follows the first EOS is cut off
 *   score      the reward model reads query ⊕ response at EOS; no EOS, score −1
 *   reward     −β · (log π − log π_ref) at every token, the score one slot behind the last
 *   advantage  GAE over the critic's values; returns from it; then advantages are whitened
 *   update     4 passes over the batch: clipped policy loss + 0.1 · clipped value loss, AdamW on policy and critic together
 *
 * Slots: t = 0 … T−1 numbers response tokens, L the last one (EOS or T−1). Policy quantities live at t ≤ L, the critic's at t ≤ L+1.
 * The hidden state at position (query length + t − 1) predicts token t and carries the value before it.
 */
import { liveSlots } from "../../kernels/first_eos.ts";
import { gae } from "../../kernels/gae.ts";
import { gatherRows } from "../../kernels/gather_rows.ts";
import { klReward, type RewardOptions } from "../../kernels/kl_reward.ts";
import { logprobs } from "../../kernels/logprob.ts";
import { policyStatistics, policySums, ppoPolicyLoss } from "../../kernels/ppo_policy_loss.ts";
import { ppoValueLoss, valueStatistics, valueSums } from "../../kernels/ppo_value_loss.ts";
import { rolloutStatistics, rolloutSums } from "../../kernels/rollout_statistics.ts";
import { scalarHead } from "../../kernels/scalar_head.ts";
import { scale } from "../../kernels/elementwise.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import { whiten } from "../../kernels/whiten.ts";
import { derivedFields } from "../config.ts";
import { inMemory, queryAt, readTable, rowCount } from "../dataset.ts";
import { drawnAt, generate, temperatureShift } from "../generate.ts";
import {
  type HealthState,
  judgeHealth,
  raise,
  recallRollbacks,
  requireFinite,
  traceNonFinite,
} from "../health.ts";
import { hiddenStates, loadQwen2, type Qwen2, tokenBatch } from "../qwen2.ts";
import type { Invariant } from "../report/data.ts";
import {
  checkpointsDue,
  heed,
  loadProgress,
  logMetrics,
  modelFolder,
  requireFinalRoom,
  requireStageRoom,
  type Run,
  saveProgress,
  Stopped,
  unlessStopped,
} from "../run.ts";
import { joined, probedRows, responseProbe, scores, sequenceScores, tokenLogprobs } from "../scoring.ts";
import type { Tokenizer } from "../tokenizer.ts";
import { batchRows, learningRate, microBatches, optimiserStep, shuffled, stageKeys } from "../training.ts";
import { firstUpdateInvariants, sampleTable, writeEpisodes } from "./ppo_records.ts";
import { splitSizes, tablePath } from "./preprocess.ts";
import { saveFinished } from "./sft.ts";

/** What the stage leaves for the report. */
export interface PpoOutcome {
  updates: number;
  tokens: number;
  /** What must hold in the first update, as it was found. */
  invariants: Invariant[];
  /** Averages over the last tenth of the updates. */
  last: Record<string, number>;
}

/** What an update works with. */
export interface Networks {
  policy: Qwen2;
  critic: Qwen2;
  /** Frozen: the SFT model. */
  reference: Qwen2;
  /** Frozen. */
  rewardModel: Qwen2;
}

/** What an update needs of a run. */
type Trainer = Pick<Run, "gpu" | "config"> & { tokenizer: Pick<Tokenizer, "eosId" | "padId"> };

/** A batch of episodes; matrices are [B, T] row by row, undefined behind each episode's end. */
export interface Rollout {
  queries: Uint32Array[];
  /** T ids each, as sampled. */
  responses: Uint32Array[];
  /** L of each episode. */
  last: number[];
  hasEos: number[];
  scores: Float32Array;
  logprob: Float32Array;
  reference: Float32Array;
  entropy: Float32Array;
  /** 0 behind L + 1. */
  values: Float32Array;
}

/**
 * Trains the policy and leaves it in `models/ppo`, the critic in `models/critic`.
 * @param inputs digest of what the stage depends on
 * @throws Stopped after saving, when the run is asked to stop
 */
export async function ppo(run: Run, inputs: string): Promise<PpoOutcome> {
  const { gpu, files, config } = run;
  const fields = config.ppo;
  const table = await readTable(files, tablePath(run, "posts", "train"));
  const { updates } = derivedFields(config, splitSizes(run.dataset)).ppo;
  const goldPosts = run.gold ? await inMemory(run.dataset.posts.train) : [];
  const networks: Networks = {
    policy: await loadQwen2(gpu, files, modelFolder(run, "sft"), "policy"),
    critic: await loadQwen2(gpu, files, modelFolder(run, "reward"), "critic"),
    reference: await loadQwen2(gpu, files, modelFolder(run, "sft"), "reference"),
    rewardModel: await loadQwen2(gpu, files, modelFolder(run, "reward"), "reward model"),
  };
  const trained = { policy: networks.policy, critic: networks.critic };
  for (const network of Object.values(trained)) {
    network.parameters.train();
    network.recompute = config.recompute === "layers";
  }
  const free = () => {
    for (const network of Object.values(networks)) network.parameters.drop();
    gpu.trim();
  };
  await requireStageRoom(run, "ppo", trained);
  const restored = await loadProgress(run, "ppo", trained, inputs);
  const rollbacks = await recallRollbacks(run, "ppo", inputs, restored);
  let beta = Number(restored?.notes.beta ?? fields.klCoef);
  let tokens = Number(restored?.notes.tokens ?? 0);
  let invariants = (restored?.notes.invariants ?? []) as Invariant[];
  const history: Record<string, number>[] = (restored?.notes.history ?? []) as Record<string, number>[];
  const health = (restored?.notes.health ?? { recent: [], raised: [] }) as HealthState;
  let saved = restored?.step ?? 0;
  const save = async (update: number, unsampled: boolean) => {
    const notes = { inputs, beta, tokens, invariants, history, health, unsampled };
    await saveProgress(run, "ppo", update, trained, { ...notes, rollbacks: rollbacks.count });
    saved = update;
  };
  const isDue = checkpointsDue(run);
  const progress = run.progress.stage("ppo", { steps: updates, unit: "updates" });
  const sampled = async (update: number) => {
    await sampleTable(run, networks.policy, networks.rewardModel, update);
    return true;
  };
  if (!restored || restored.notes.unsampled) await sampled(saved);

  for (let update = (restored?.step ?? 0) + 1; update <= updates; update++) {
    const rows = batchRows(rowCount(table), fields.batch, update, config.seed, stageKeys.ppo);
    const queries = Array.from(rows, (row) => queryAt(table, row));
    const rollout = await unlessStopped(() => rollOut(run, networks, queries, update));
    if (!rollout) {
      // Nothing of the update has been done but what can be drawn again.
      if (saved < update - 1) await save(update - 1, false);
      throw new Stopped(run, `ppo, update ${update - 1}`);
    }
    const rate = learningRate(fields, update, updates) * rollbacks.learningRateFactor;
    const trainedOn = await improve(run, networks, rollout, update, rate, beta);
    await writeEpisodes(run, rollout, update, trainedOn.perToken);
    const figures: Record<string, number> = {
      ...trainedOn.figures,
      "objective/kl_coef": beta,
      "lr": rate,
      "episode": update * fields.batch,
    };
    if (run.gold) {
      const goldScores = Array.from(
        rows,
        (row, b) => run.gold!(goldPosts[row], run.tokenizer.decode(responseText(rollout, b))),
      );
      figures["precis/gold_score"] = goldScores.reduce((sum, score) => sum + score, 0) / goldScores.length;
    }
    const at = { stage: "ppo", step: update, inputs } as const;
    await requireFinite(
      run,
      at,
      {
        "policy loss": figures["loss/policy_avg"],
        "value loss": figures["loss/value_avg"],
        "gradient norm": figures["grad_norm"],
      },
      () => Promise.resolve(trainedOn.origin),
      free,
    );
    if (rollbacks.count > 0) figures["precis/rollbacks"] = rollbacks.count;
    tokens += trainedOn.tokens;
    figures["precis/tokens"] = tokens;
    if (update === 1) {
      invariants = firstUpdateInvariants(run, rollout, trainedOn.firstEpoch, figures);
      for (const found of invariants) {
        if (!found.passed) progress.note(`does not hold: ${found.name} (found ${found.found})`);
      }
    }
    await logMetrics(run, "ppo", update, figures);
    history.push(
      pick(figures, [
        "objective/kl",
        "objective/scores",
        "objective/rlhf_reward",
        "precis/gold_score",
        "precis/length",
        "precis/eos_rate",
      ]),
    );
    progress.step(update, {
      score: figures["objective/scores"],
      kl: figures["objective/kl"],
      length: figures["precis/length"],
      tokens: trainedOn.tokens,
    });
    if (fields.klController === "adaptive") beta = steerKl(beta, figures["objective/kl"], fields);
    for (const finding of judgeHealth(config, health, figures)) await raise(run, at, finding, free);

    const last = update === updates;
    const done = fields.sampleEvery === 0 || (update % fields.sampleEvery !== 0 && !last) ||
      await unlessStopped(() => sampled(update)) === true;
    if ((isDue(update) && !last) || run.stopping()) {
      await save(update, !done);
      if (run.stopping()) throw new Stopped(run, `ppo, update ${update}`);
    }
  }
  await requireFinalRoom(run, "ppo", trained);
  await saveFinished(run, "ppo", networks.policy);
  await saveFinished(run, "critic", networks.critic);
  free();
  const tail = history.slice(-Math.max(1, Math.floor(updates / 10)));
  const last = Object.fromEntries(
    Object.keys(tail[0] ?? {}).map((
      name,
    ) => [name, tail.reduce((sum, row) => sum + row[name], 0) / tail.length]),
  );
  progress.done(
    `score ${history[0]["objective/scores"].toFixed(2)} → ${last["objective/scores"].toFixed(2)}, KL ${
      last["objective/kl"].toFixed(1)
    } nats, ` +
      `length ${last["precis/length"].toFixed(1)}, EOS ${(100 * last["precis/eos_rate"]).toFixed(1)} %`,
  );
  return { updates, tokens, invariants, last };
}

/** Ziegler et al.'s controller (arXiv 1909.08593, §2.2): β grows by at most 20 % · batch / horizon an update. */
export function steerKl(
  beta: number,
  kl: number,
  fields: { klTarget: number; klHorizon: number; batch: number },
): number {
  const error = Math.min(0.2, Math.max(-0.2, kl / fields.klTarget - 1));
  return beta * (1 + error * fields.batch / fields.klHorizon);
}

// ---- rollout and score ----

/** Samples responses and measures them. @throws Stopped when the run is asked to stop */
export async function rollOut(
  run: Run,
  networks: Networks,
  queries: Uint32Array[],
  update: number,
): Promise<Rollout> {
  const { gpu, config, tokenizer } = run;
  const { temperature, responseLength, topK, topP, decodeBatch } = config.ppo;
  const stop = heed(run, `ppo, update ${update - 1}`);
  const responses = await generate(gpu, networks.policy, queries, {
    responseLength,
    ...drawnAt(temperature),
    topK,
    topP,
    vocabulary: tokenizer.padId,
    seed: config.seed,
    stage: stageKeys.ppo,
    step: update,
    batch: decodeBatch,
    microTokens: config.ppo.microTokens,
    heed: stop,
  });
  return await measure(run, networks, queries, responses, stop);
}

/**
 * Everything that stays fixed while a batch is trained on.
 * @param responses T ids each
 * @param heed called after every micro-batch; may throw to give up
 */
export async function measure(
  run: Trainer,
  networks: Networks,
  queries: Uint32Array[],
  responses: Uint32Array[],
  heed?: () => void,
): Promise<Rollout> {
  const { gpu, config, tokenizer } = run;
  const { responseLength: T, microTokens } = config.ppo;
  const temperature = config.ppo.temperature + temperatureShift, vocabulary = tokenizer.padId;
  const ends = responses.map((response) => response.indexOf(tokenizer.eosId));
  const hasEos = ends.map((end) => end >= 0 ? 1 : 0);
  const last = ends.map((end) => end >= 0 ? end : T - 1);

  // From here on everything runs over query ⊕ response up to L: nothing behind it can matter.
  const sequences = queries.map((query, b) => joined(query, responses[b].subarray(0, last[b] + 1)));
  const policyProbes = sequences.map((tokens, b) => responseProbe(tokens, queries[b].length, last[b] + 1));
  const valueProbes = sequences.map((tokens, b) =>
    responseProbe(tokens, queries[b].length, Math.min(last[b] + 2, T))
  );
  const old = await tokenLogprobs(gpu, networks.policy, policyProbes, {
    temperature,
    vocabulary,
    microTokens,
    heed,
  });
  const reference = await tokenLogprobs(gpu, networks.reference, policyProbes, {
    temperature,
    vocabulary,
    microTokens,
    heed,
  });
  const values = await scores(gpu, networks.critic, valueProbes, microTokens, heed);
  return {
    queries,
    responses,
    last,
    hasEos,
    scores: await sequenceScores(gpu, networks.rewardModel, sequences, microTokens, heed),
    logprob: rectangle(old.map(({ logprob }) => logprob), T),
    reference: rectangle(reference.map(({ logprob }) => logprob), T),
    entropy: rectangle(old.map(({ entropy }) => entropy), T),
    values: rectangle(values, T),
  };
}

/** Rows of up to T numbers as a [B, T] matrix with zeros behind them. */
function rectangle(rows: readonly Float32Array[], T: number): Float32Array<ArrayBuffer> {
  const matrix = new Float32Array(rows.length * T);
  rows.forEach((row, b) => matrix.set(row, b * T));
  return matrix;
}

/** The response of an episode without EOS and what follows. */
function responseText(rollout: Rollout, b: number): Uint32Array {
  return rollout.responses[b].subarray(0, rollout.last[b] + (rollout.hasEos[b] ? 0 : 1));
}

// ---- advantage and update ----

/** What the training of the batch was aimed at; [B, T] each, as in {@link Rollout}. */
export interface PerToken {
  rewards: Float32Array;
  advantages: Float32Array;
  /** The advantages that the policy loss sees. */
  whitened: Float32Array;
  returns: Float32Array;
}

export interface Improvement {
  figures: Record<string, number>;
  /** Statistics of the first pass alone, when policy and critic are still those that sampled. */
  firstEpoch: Record<string, number>;
  perToken: PerToken;
  /** Tokens that went through forward and backward passes. */
  tokens: number;
  /** What made a loss or a gradient norm not finite, where one is. */
  origin: string;
}

/**
 * Rewards, advantages, and `epochs` passes of clipped updates over the batch.
 * @param update from 1; with the epochs it numbers the optimiser's steps
 */
export async function improve(
  run: Trainer,
  { policy, critic }: Pick<Networks, "policy" | "critic">,
  rollout: Rollout,
  update: number,
  rate: number,
  beta: number,
): Promise<Improvement> {
  const { gpu, config } = run;
  const fields = config.ppo;
  const B = rollout.queries.length, T = fields.responseLength;
  const rewards: RewardOptions = {
    beta,
    estimator: Number(fields.klEstimator.slice(1)) as 1 | 2 | 3,
    scoreSlot: fields.scoreSlot,
    missingEos: fields.missingEos,
    missingEosValue: fields.missingEos === "replace" ? -fields.missingEosPenalty : fields.missingEosPenalty,
  };

  const fixed = gpu.scope(() => {
    const logprob = gpu.from(rollout.logprob, [B, T], "old logprobs");
    const reference = gpu.from(rollout.reference, [B, T], "reference logprobs");
    const values = gpu.from(rollout.values, [B, T], "old values");
    const rewardScores = gpu.from(rollout.scores, [B], "scores");
    const last = gpu.from(Uint32Array.from(rollout.last), [B], "last");
    const hasEos = gpu.from(Uint32Array.from(rollout.hasEos), [B], "hasEos");
    const episode = { logprob, reference, last, hasEos, scores: rewardScores };
    const { reward: plain } = klReward(gpu, episode, rewards);
    const reward = fields.whitenRewards
      ? whiten(gpu, plain, last, { beyond: 1, shiftMean: false }).whitened
      : plain;
    const { advantages, returns } = gae(gpu, reward, values, {
      gamma: fields.gamma,
      lambda: fields.lambda,
    });
    const whitened = fields.whitenAdvantages ? whiten(gpu, advantages, last).whitened : advantages;
    const sums = rolloutSums(gpu, episode, rewards);
    return { logprob, values, reward, advantages, whitened, returns, sums };
  });

  const epochSums: Tensor[][] = [], norms: Tensor[] = [], minibatches: number[][] = [];
  let tokens = 0;
  const size = B / fields.minibatches;
  for (let epoch = 0; epoch < fields.epochs; epoch++) {
    const order = shuffled(B, config.seed, stageKeys.ppo, 1_000_003 * update + epoch);
    const sums = [policySums, valueSums].map((names) => {
      const tensor = gpu.hold([names.length], "statistics");
      gpu.clear(tensor);
      return tensor;
    });
    for (let first = 0; first < B; first += size) {
      const minibatch = Array.from(order.subarray(first, first + size));
      minibatches.push(minibatch);
      policy.parameters.clearGradients();
      critic.parameters.clearGradients();
      tokens += trainOn(run, policy, critic, rollout, minibatch, fixed, sums);
      const step = ((update - 1) * fields.epochs + epoch) * fields.minibatches + first / size + 1;
      norms.push(gpu.scope(() => optimiserStep(gpu, [policy, critic], fields, step, rate)));
    }
    epochSums.push(sums);
  }

  const { sums, reward, advantages, whitened, returns } = fixed;
  const wanted = [sums, reward, advantages, whitened, returns, ...epochSums.flat(), ...norms];
  const [rolloutValues, ...rest] = await gpu.read(...wanted);
  const perToken = { rewards: rest[0], advantages: rest[1], whitened: rest[2], returns: rest[3] };
  const measured = rest.slice(4);
  const normValues = measured.slice(2 * fields.epochs).map(([norm]) => norm);
  const spoilt = normValues.findIndex((norm) => !Number.isFinite(norm));
  const origin = spoilt >= 0
    ? await traceNonFinite(
      gpu,
      [policy, critic],
      [fixed.logprob, fixed.values, reward, whitened, returns],
      // AdamW skips such steps, so the weights are still those that this minibatch met.
      () => void trainOn(run, policy, critic, rollout, minibatches[spoilt], fixed, epochSums[0]),
    )
    : "the gradients of every minibatch are finite, but not the mean of its losses";
  for (const tensor of [...Object.values(fixed), ...epochSums.flat(), ...norms]) gpu.release(tensor);
  const perEpoch = epochSums.map((_, epoch) => ({
    ...policyStatistics(measured[2 * epoch], B * T),
    ...valueStatistics(measured[2 * epoch + 1]),
  }));
  return {
    figures: {
      ...meanOf(perEpoch),
      ...rolloutStatistics(rolloutValues, T),
      "grad_norm": normValues.reduce((sum, norm) => sum + norm, 0) / norms.length,
      "policy/entropy_avg": liveMean(rollout.entropy, rollout.last, T),
      "val/explained_variance": perEpoch[0]["val/explained_variance"],
      "precis/length": rollout.last.reduce((sum, L) => sum + L + 1, 0) / B,
      "precis/eos_rate": rollout.hasEos.reduce((sum, has) => sum + has, 0) / B,
    },
    firstEpoch: perEpoch[0],
    perToken,
    tokens,
    origin,
  };
}

interface Fixed {
  logprob: Tensor;
  values: Tensor;
  whitened: Tensor;
  returns: Tensor;
}

/** Adds the gradients of one minibatch, micro-batch by micro-batch. @returns tokens trained on */
function trainOn(
  run: Trainer,
  policy: Qwen2,
  critic: Qwen2,
  rollout: Rollout,
  minibatch: readonly number[],
  fixed: Fixed,
  [policyTotals, valueTotals]: readonly Tensor[],
): number {
  const { gpu, config, tokenizer } = run;
  const fields = config.ppo, T = fields.responseLength;
  const temperature = fields.temperature + temperatureShift, vocabulary = tokenizer.padId;
  const episodes = minibatch.map((b) => {
    const tokens = joined(rollout.queries[b], rollout.responses[b].subarray(0, rollout.last[b] + 1));
    return { b, tokens, last: rollout.last[b], query: rollout.queries[b].length };
  });
  const runs = microBatches(episodes.map(({ tokens }) => tokens.length), fields.microTokens);
  const slotsOf = (some: typeof episodes, beyond: 0 | 1) =>
    Uint32Array.from(
      some.flatMap(({ b, last }) => Array.from(liveSlots([last], T, beyond), (t) => b * T + t)),
    );
  // Divide by the tokens of the minibatch, or, as the released code's accumulation comes to, by those of the micro-batch times their number.
  const live = ([0, 1] as const).map((beyond) => slotsOf(episodes, beyond).length);
  const share = (some: typeof episodes, beyond: 0 | 1) =>
    fields.lossAggregation === "minibatch" ? live[beyond] : slotsOf(some, beyond).length * runs.length;

  for (const [from, to] of runs) {
    const some = episodes.slice(from, to);
    gpu.scope(() => {
      const batch = tokenBatch(gpu, policy, some.map(({ tokens }) => tokens), true);
      const { starts } = batch.packing.host;
      const policyRows = probedRows(
        some.map(({ tokens, query, last }) => responseProbe(tokens, query, last + 1)),
        starts,
      );
      const valueRows = probedRows(
        some.map(({ tokens, query, last }) => responseProbe(tokens, query, Math.min(last + 2, T))),
        starts,
      );
      const targets = gpu.from(policyRows.targets, [policyRows.targets.length], "targets");
      const policySlots = slotsOf(some, 0), valueSlots = slotsOf(some, 1);
      const policySlot = gpu.from(policySlots, [policySlots.length], "policy slots");
      const valueSlot = gpu.from(valueSlots, [valueSlots.length], "value slots");
      gpu.differentiate(() => {
        const hidden = gatherRows(gpu, hiddenStates(gpu, policy, batch), policyRows.rows);
        const { logprob } = logprobs(gpu, hidden, policy.head, targets, { temperature, vocabulary });
        gpu.named("logprob", logprob);
        return ppoPolicyLoss(gpu, {
          logprob,
          slots: policySlot,
          oldLogprob: fixed.logprob,
          advantages: fixed.whitened,
        }, {
          denominator: share(some, 0),
          clipRange: fields.clipRange,
          dualClip: fields.dualClip || undefined,
          into: policyTotals,
        }).loss;
      });
      gpu.differentiate(() => {
        const hidden = gatherRows(gpu, hiddenStates(gpu, critic, batch), valueRows.rows);
        const { weight, bias, offset } = critic.score!;
        const value = gpu.named("value", scalarHead(gpu, hidden, weight, bias, offset));
        const { loss } = ppoValueLoss(gpu, {
          value,
          slots: valueSlot,
          oldValues: fixed.values,
          returns: fixed.returns,
        }, {
          denominator: share(some, 1),
          clipRange: fields.valueClipRange || null,
          into: valueTotals,
        });
        return scale(gpu, loss, fields.valueCoef);
      });
    });
  }
  return episodes.reduce((sum, { tokens }) => sum + tokens.length, 0);
}

/** Mean over live slots t ≤ L. */
function liveMean(matrix: Float32Array, last: readonly number[], T: number): number {
  const slots = liveSlots(last, T);
  return slots.reduce((sum, slot) => sum + matrix[slot], 0) / slots.length;
}

function meanOf(rows: readonly Record<string, number>[]): Record<string, number> {
  return Object.fromEntries(
    Object.keys(rows[0]).map((name) => [name, rows.reduce((sum, row) => sum + row[name], 0) / rows.length]),
  );
}

function pick(figures: Record<string, number>, names: readonly string[]): Record<string, number> {
  return Object.fromEntries(names.filter((name) => name in figures).map((name) => [name, figures[name]]));
}
