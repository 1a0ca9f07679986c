/**
 * One update of PPO on summaries, in the order in which the paper tells it (arXiv 2009.01325 §3.4; 2403.17031, details 20–25; the released ppo.py):
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
import type { Config } from "../config.ts";
import { queryAt, rowCount, type SummarisedPost, type TokenTable } from "../dataset.ts";
import { drawnAt, generate, temperatureShift } from "../generate.ts";
import { traceNonFinite } from "../health.ts";
import { hiddenStates, type Qwen2, tokenBatch } from "../qwen2.ts";
import type { Run } from "../run.ts";
import { joined, probedRows, responseProbe, scores, sequenceScores, tokenLogprobs } from "../scoring.ts";
import type { Tokenizer } from "../tokenizer.ts";
import { batchRows, microBatches, optimiserStep, shuffled, stageKeys } from "../training.ts";

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
export type Trainer = Pick<Run, "gpu" | "config"> & { tokenizer: Pick<Tokenizer, "eosId" | "padId"> };

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

/** The queries of an update's batch, and their posts where there is a gold rule to judge by. */
export interface PpoBatch {
  queries: Uint32Array[];
  posts: SummarisedPost[];
}

/** The batch of an update. @param posts those of the table's rows, or none */
export function ppoBatch(
  { config }: Pick<Run, "config">,
  table: TokenTable,
  update: number,
  posts: readonly SummarisedPost[],
): PpoBatch {
  const rows = batchRows(rowCount(table), config.ppo.batch, update, config.seed, stageKeys.ppo);
  return {
    queries: Array.from(rows, (row) => queryAt(table, row)),
    posts: posts.length > 0 ? Array.from(rows, (row) => posts[row]) : [],
  };
}

/** An update that was taken: what was sampled, what was made of it, and its figures as they are logged. */
export interface UpdateDone {
  rollout: Rollout;
  trainedOn: Improvement;
  figures: Record<string, number>;
}

/**
 * One update: rollout, then improvement of policy and critic.
 * @param update from 1
 * @param stop called often during the rollout; may throw to give up, nothing changed
 */
export async function ppoUpdate(
  run: Trainer & Pick<Run, "gold" | "tokenizer">,
  networks: Networks,
  { queries, posts }: PpoBatch,
  update: number,
  rate: number,
  beta: number,
  stop?: () => void,
): Promise<UpdateDone> {
  const rollout = await rollOut(run, networks, queries, update, stop);
  const trainedOn = await improve(run, networks, rollout, update, rate, beta);
  const figures: Record<string, number> = {
    ...trainedOn.figures,
    "objective/kl_coef": beta,
    "lr": rate,
    "episode": update * run.config.ppo.batch,
  };
  if (run.gold && posts.length > 0) {
    const scores = posts.map((post, b) => run.gold!(post, run.tokenizer.decode(responseText(rollout, b))));
    figures["precis/gold_score"] = scores.reduce((sum, score) => sum + score, 0) / scores.length;
  }
  return { rollout, trainedOn, figures };
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

/** Samples responses and measures them. @param stop called after every batch and micro-batch; may throw to give up */
export async function rollOut(
  run: Trainer,
  networks: Networks,
  queries: Uint32Array[],
  update: number,
  stop?: () => void,
): Promise<Rollout> {
  const { gpu, config, tokenizer } = run;
  const { temperature, responseLength, topK, topP, decodeBatch } = config.ppo;
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

/** Episodes of each update that are written down token by token. */
export const episodesKept = 4;

/** What the training of the batch was aimed at; [B, T] each, as in {@link Rollout}. */
export interface PerToken {
  rewards: Float32Array;
  advantages: Float32Array;
  /** The advantages that the policy loss sees. */
  whitened: Float32Array;
  returns: Float32Array;
  /** log π in the last pass, before its step: what its ratios were made of. Of the first {@link episodesKept} episodes alone. */
  updated: Float32Array;
}

export interface Improvement {
  figures: Record<string, number>;
  /** Statistics of each pass; in the first, policy and critic are still those that sampled. */
  perEpoch: Record<string, number>[];
  perToken: PerToken;
  /** Tokens that went through forward and backward passes. */
  tokens: number;
  /** What made a loss or a gradient norm not finite, where one is. */
  origin: string;
}

/** How rewards are made, as kernels take it. @param beta which a controller may have steered */
export function rewardOptions(
  fields: Pick<Config["ppo"], "klEstimator" | "scoreSlot" | "missingEos" | "missingEosPenalty">,
  beta: number,
): RewardOptions {
  const { klEstimator, scoreSlot, missingEos, missingEosPenalty } = fields;
  return {
    beta,
    estimator: Number(klEstimator.slice(1)) as 1 | 2 | 3,
    scoreSlot,
    missingEos,
    missingEosValue: missingEos === "replace" ? -missingEosPenalty : missingEosPenalty,
  };
}

/** Is told of every optimiser step, before it and after it, and may read weights, gradients and moments there. Steps count from 1. */
export type StepWatch = (
  moment: "gradients" | "stepped",
  at: { epoch: number; step: number; minibatch: readonly number[] },
) => Promise<void>;

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
  watch?: StepWatch,
): Promise<Improvement> {
  const { gpu, config } = run;
  const fields = config.ppo;
  const B = rollout.queries.length, T = fields.responseLength;
  const rewards = rewardOptions(fields, beta);

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
  const latest: { slots: Uint32Array; logprob: Tensor }[] = [];
  const keepLatest = (slots: Uint32Array, logprob: Tensor) => {
    if (slots.some((slot) => slot < episodesKept * T)) latest.push({ slots, logprob: gpu.keep(logprob) });
  };
  let tokens = 0;
  const size = B / fields.minibatches;
  try {
    for (let epoch = 0; epoch < fields.epochs; epoch++) {
      const order = shuffled(B, config.seed, stageKeys.ppo, 1_000_003 * update + epoch);
      const sums = [policySums, valueSums].map((names) => {
        const tensor = gpu.hold([names.length], "statistics");
        gpu.clear(tensor);
        return tensor;
      });
      epochSums.push(sums);
      for (let first = 0; first < B; first += size) {
        const minibatch = Array.from(order.subarray(first, first + size));
        minibatches.push(minibatch);
        policy.parameters.clearGradients();
        critic.parameters.clearGradients();
        const probe = epoch === fields.epochs - 1 ? keepLatest : undefined;
        tokens += trainOn(run, policy, critic, rollout, minibatch, fixed, sums, probe);
        const step = ((update - 1) * fields.epochs + epoch) * fields.minibatches + first / size + 1;
        await watch?.("gradients", { epoch, step, minibatch });
        norms.push(gpu.scope(() => optimiserStep(gpu, [policy, critic], fields, step, rate)));
        await watch?.("stepped", { epoch, step, minibatch });
      }
    }

    const { sums, reward, advantages, whitened, returns } = fixed;
    const wanted = [sums, reward, advantages, whitened, returns, ...epochSums.flat(), ...norms];
    const [rolloutValues, ...rest] = await gpu.read(...wanted, ...latest.map(({ logprob }) => logprob));
    const updated = new Float32Array(Math.min(B, episodesKept) * T);
    rest.splice(wanted.length - 1).forEach((values, i) =>
      latest[i].slots.forEach((slot, row) => updated[slot] = values[row])
    );
    const perToken = { rewards: rest[0], advantages: rest[1], whitened: rest[2], returns: rest[3], updated };
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
      perEpoch,
      perToken,
      tokens,
      origin,
    };
  } finally {
    // Some may be one and the same: advantages that are not whitened.
    for (const tensor of new Set([...Object.values(fixed), ...epochSums.flat(), ...norms])) {
      gpu.release(tensor);
    }
    for (const { logprob } of latest) gpu.release(logprob);
  }
}

interface Fixed {
  logprob: Tensor;
  values: Tensor;
  whitened: Tensor;
  returns: Tensor;
}

/**
 * Adds the gradients of one minibatch, micro-batch by micro-batch.
 * @param probe is handed each micro-batch's log π and the slots of [B, T] that these belong to
 * @returns tokens trained on
 */
function trainOn(
  run: Trainer,
  policy: Qwen2,
  critic: Qwen2,
  rollout: Rollout,
  minibatch: readonly number[],
  fixed: Fixed,
  [policyTotals, valueTotals]: readonly Tensor[],
  probe?: (slots: Uint32Array, logprob: Tensor) => void,
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
        probe?.(policySlots, logprob);
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
