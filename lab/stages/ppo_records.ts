/** What PPO leaves to look at: the facts that must hold in the first update, per-token records, the fixed posts' summaries. */
import { DamagedFileError, type Files, joinPath } from "../bytes.ts";
import { queryAt, readTable, rowCount } from "../dataset.ts";
import { readJsonl } from "../jsonl.ts";
import type { Qwen2 } from "../qwen2.ts";
import type { Invariant, TrainingSample } from "../report/data.ts";
import { heed, type Run } from "../run.ts";
import { writeSealed } from "../run_directory.ts";
import type { Episode } from "../runs/episode.ts";
import { joined, sequenceScores } from "../scoring.ts";
import { stageKeys } from "../training.ts";
import { episodesKept, type PerToken, type Rollout } from "./ppo_update.ts";
import { tablePath } from "./preprocess.ts";
import { writeSummaries } from "./sft.ts";

/**
 * Facts of the first update that hold by construction (rlhf spec §10): policy, reference and sampler are one model, and the critic is the
 * reward model. A broken mask, index, temperature or head shows here before it costs a day.
 */
export function firstUpdateInvariants(
  run: Pick<Run, "config">,
  rollout: Rollout,
  firstEpoch: Record<string, number>,
  figures: Record<string, number>,
): Invariant[] {
  const T = run.config.ppo.responseLength;
  const gaps = rollout.last.flatMap((L, b) =>
    rollout.hasEos[b] && L + 1 < T ? [Math.abs(rollout.values[b * T + L + 1] - rollout.scores[b])] : []
  );
  const check = (name: string, found: number, expected: number, tolerance: number): Invariant => ({
    name,
    found: Number.isFinite(found) ? found : null,
    expected,
    tolerance,
    passed: Math.abs(found - expected) <= tolerance,
  });
  const single = run.config.ppo.minibatches === 1;
  return [
    check("KL of policy to reference is 0", figures["objective/kl"], 0, 1e-3),
    ...(single
      ? [
        check("largest |ratio − 1| of the first pass is 0", firstEpoch["val/ratio_max_change"], 0, 1e-4),
        check("approximate KL of the first pass is 0", firstEpoch["policy/approxkl_avg"], 0, 1e-8),
        check("clip fraction of the first pass is 0", firstEpoch["policy/clipfrac_avg"], 0, 0),
        ...(run.config.ppo.whitenAdvantages
          ? [
            check(
              "policy loss of the first pass is 0, as advantages are whitened",
              firstEpoch["loss/policy_avg"],
              0,
              1e-4,
            ),
          ]
          : []),
      ]
      : []),
    ...(gaps.length > 0
      ? [check("value one slot behind EOS equals the score", Math.max(...gaps), 0, 1e-3)]
      : []),
  ];
}

/** Leaves what was found in the first update for those who watch: the stage's own record comes days later. */
export async function writeInvariants(run: Run, invariants: readonly Invariant[]): Promise<void> {
  await writeSealed(run.files, joinPath(run.path, "invariants.json"), { invariants });
}

/** Records of the first `count` episodes of an update, six digits each. */
export function episodeRecords(
  rollout: Rollout,
  update: number,
  beta: number,
  per: PerToken,
  count: number,
): Episode[] {
  const T = rollout.logprob.length / rollout.queries.length;
  return rollout.queries.slice(0, count).map((query, b): Episode => {
    const live = rollout.last[b] + 1, beyond = Math.min(live + 1, T);
    const cut = (matrix: Float32Array, count: number) =>
      Array.from(matrix.subarray(b * T, b * T + count), (x) => Number(x.toPrecision(6)));
    return {
      update,
      query: Array.from(query),
      response: Array.from(rollout.responses[b].subarray(0, live)),
      score: rollout.scores[b],
      ended: rollout.hasEos[b] === 1,
      logprob: cut(rollout.logprob, live),
      reference: cut(rollout.reference, live),
      entropy: cut(rollout.entropy, live),
      value: cut(rollout.values, beyond),
      reward: cut(per.rewards, beyond),
      advantage: cut(per.advantages, beyond),
      whitened: cut(per.whitened, live),
      return: cut(per.returns, beyond),
      updated: cut(per.updated, live),
      beta,
    };
  });
}

/** Per-token records of a few episodes, for the token strip. */
export async function writeEpisodes(
  run: Run,
  rollout: Rollout,
  update: number,
  beta: number,
  per: PerToken,
): Promise<void> {
  await run.directory.appendEpisodes("ppo", ...episodeRecords(rollout, update, beta, per, episodesKept));
}

/** The fixed posts' summaries at this point of training. @throws Stopped when the run is asked to stop, nothing written */
export async function sampleTable(
  run: Run,
  policy: Qwen2,
  rewardModel: Qwen2,
  update: number,
): Promise<void> {
  const { config, dataset } = run;
  if (config.ppo.sampleEvery === 0) return;
  const table = await readTable(run.files, tablePath(run, "posts", "validation"));
  const count = Math.min(config.ppo.sampleRows, rowCount(table));
  const queries = Array.from({ length: count }, (_, i) => queryAt(table, i));
  const stop = heed(run, `ppo, update ${update}`);
  const summaries = await writeSummaries(run, policy, queries, {
    temperature: 0.01,
    stage: stageKeys.samples,
    step: update,
    responseLength: config.ppo.responseLength,
    heed: stop,
  });
  const rewards = await sequenceScores(
    run.gpu,
    rewardModel,
    summaries.map(({ tokens }, i) => joined(queries[i], tokens)),
    config.ppo.microTokens,
    stop,
  );
  await run.directory.appendSamples(...summaries.map(({ text, ended, tokens }, i) => {
    const post = dataset.posts.validation[i];
    return {
      stage: "ppo",
      update,
      id: post.id,
      title: post.title,
      reference: post.summary,
      summary: text,
      length: tokens.length,
      ended,
      reward: rewards[i],
      ...(run.gold ? { gold: run.gold(post, text) } : {}),
    };
  }));
}

/**
 * Reads the summaries that were sampled in the course of training; none where there is no file.
 * @throws DamagedFileError naming file and line where one is no such summary
 */
export async function readSamples(files: Files, path: string): Promise<TrainingSample[]> {
  const samples: TrainingSample[] = [];
  if (!await files.exists(path)) return samples;
  for await (const { line, value } of readJsonl(files, path)) {
    const sample = (value ?? {}) as Partial<TrainingSample>;
    const texts = [sample.stage, sample.id, sample.title, sample.reference, sample.summary];
    const numbers = [sample.update, sample.length];
    if (texts.some((text) => typeof text !== "string") || numbers.some((x) => typeof x !== "number")) {
      throw new DamagedFileError(`${path}:${line} is not a line of samples; correct or remove the line.`);
    }
    samples.push(sample as TrainingSample);
  }
  return samples;
}
