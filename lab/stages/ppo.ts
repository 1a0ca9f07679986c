/**
 * PPO on summaries: the updates of ppo_update.ts over all episodes, with checkpoints, records and a watch over the run's health
 * (arXiv 2009.01325 §3.4; 2403.17031, details 20–25; the released ppo.py).
 */
import { derivedFields } from "../config.ts";
import { inMemory, readTable } from "../dataset.ts";
import { type HealthState, judgeHealth, raise, recallRollbacks, requireFinite } from "../health.ts";
import { loadQwen2 } from "../qwen2.ts";
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
import { learningRate } from "../training.ts";
import { firstUpdateInvariants, sampleTable, writeEpisodes, writeInvariants } from "./ppo_records.ts";
import { type Networks, ppoBatch, ppoUpdate, steerKl } from "./ppo_update.ts";
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
  const stop = (update: number) => heed(run, `ppo, update ${update - 1}`);
  const progress = run.progress.stage("ppo", { steps: updates, unit: "updates" });
  const sampled = async (update: number) => {
    await sampleTable(run, networks.policy, networks.rewardModel, update);
    return true;
  };
  if (!restored || restored.notes.unsampled) await sampled(saved);

  for (let update = (restored?.step ?? 0) + 1; update <= updates; update++) {
    const rate = learningRate(fields, update, updates) * rollbacks.learningRateFactor;
    const done = await unlessStopped(() =>
      ppoUpdate(run, networks, ppoBatch(run, table, update, goldPosts), update, rate, beta, stop(update))
    );
    if (!done) {
      // Nothing of the update has been done but what can be drawn again.
      if (saved < update - 1) await save(update - 1, false);
      throw new Stopped(run, `ppo, update ${update - 1}`);
    }
    const { rollout, trainedOn, figures } = done;
    await writeEpisodes(run, rollout, update, beta, trainedOn.perToken);
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
      invariants = firstUpdateInvariants(run, rollout, trainedOn.perEpoch[0], figures);
      for (const found of invariants) {
        if (!found.passed) progress.note(`does not hold: ${found.name} (found ${found.found})`);
      }
      await writeInvariants(run, invariants);
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
    const shown = fields.sampleEvery === 0 || (update % fields.sampleEvery !== 0 && !last) ||
      await unlessStopped(() => sampled(update)) === true;
    if ((isDue(update) && !last) || run.stopping()) {
      await save(update, !shown);
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

function pick(figures: Record<string, number>, names: readonly string[]): Record<string, number> {
  return Object.fromEntries(names.filter((name) => name in figures).map((name) => [name, figures[name]]));
}
