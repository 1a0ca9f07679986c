/** PPO, an update at a time: the stage lab/stages/ppo.ts in memory. */
import { derivedFields } from "../config.ts";
import type { SummarisedPost } from "../dataset.ts";
import type { Qwen2 } from "../qwen2.ts";
import type { Invariant } from "../report/data.ts";
import type { Run } from "../run.ts";
import { joined, sequenceScores } from "../scoring.ts";
import type { Episode } from "../runs/episode.ts";
import { episodeRecords, firstUpdateInvariants } from "../stages/ppo_records.ts";
import { type Networks, ppoBatch, ppoUpdate, steerKl } from "../stages/ppo_update.ts";
import { inThisThread } from "../tokenise.ts";
import { learningRate } from "../training.ts";
import {
  copyQwen2,
  type Ground,
  type Heeded,
  type Sample,
  sampleSummaries,
  trainedCopy,
  type Trainer,
  trainer,
} from "./trainer.ts";

export interface RewardedSample extends Sample {
  /** The reward model's, offset subtracted. */
  reward: number;
  /** By the data's own rule, where it has one. */
  gold?: number;
}

export interface PpoTrainer extends Trainer {
  readonly networks: Networks;
  /** Of the next update. */
  readonly beta: number;
  /** What must hold in the first update, as it was found; empty before. */
  readonly invariants: readonly Invariant[];
  /** Summaries of the first validation posts by the policy as it is now, with their scores. */
  sample(count: number, options?: Heeded & { temperature?: number }): Promise<RewardedSample[]>;
  /** The last update's first episodes, token by token; empty before the first. */
  episodes(count?: number): Episode[];
}

/**
 * A trainer of copies: the policy and the reference from `policy`, the critic and the frozen reward model from `rewardModel`.
 * @throws RangeError where the posts do not fill one batch, QueryError where one cannot be tokenised
 */
export async function ppoTrainer(
  ground: Ground & {
    policy: Qwen2;
    rewardModel: Qwen2;
    posts: { train: readonly SummarisedPost[]; validation: readonly SummarisedPost[] };
    gold?: Run["gold"];
  },
): Promise<PpoTrainer> {
  const { gpu, config, tokenizer, posts, gold } = ground;
  const fields = config.ppo;
  const table = await inThisThread(tokenizer, config.preprocess).tokenise({
    kind: "posts",
    rows: [...posts.train],
  });
  if (posts.train.length < fields.batch) {
    throw new RangeError(`There are ${posts.train.length} posts, too few for one batch; lower ppo.batch.`);
  }
  const { updates } = derivedFields(config, { posts: Infinity, pairs: Infinity }).ppo;
  const networks: Networks = {
    policy: trainedCopy(ground, ground.policy, "policy"),
    critic: trainedCopy(ground, ground.rewardModel, "critic"),
    reference: copyQwen2(gpu, ground.policy, "reference"),
    rewardModel: copyQwen2(gpu, ground.rewardModel, "reward model"),
  };
  let tokens = 0, beta = fields.klCoef;
  let invariants: Invariant[] = [];
  let episodes: (count: number) => Episode[] = () => [];
  const judged = gold ? posts.train : [];
  return trainer({
    stage: "ppo",
    gpu,
    model: networks.policy,
    steps: updates,
    async take(update, heed) {
      const rate = learningRate(fields, update, updates), sampledAt = beta;
      const batch = ppoBatch(ground, table, update, judged);
      const { rollout, trainedOn, figures } = await ppoUpdate(
        ground,
        networks,
        batch,
        update,
        rate,
        beta,
        heed,
      );
      tokens += trainedOn.tokens;
      figures["precis/tokens"] = tokens;
      if (update === 1) invariants = firstUpdateInvariants(ground, rollout, trainedOn.perEpoch[0], figures);
      episodes = (count) => episodeRecords(rollout, update, sampledAt, trainedOn.perToken, count);
      if (fields.klController === "adaptive") beta = steerKl(beta, figures["objective/kl"], fields);
      return figures;
    },
    free: () => {
      for (const { parameters } of Object.values(networks)) parameters.drop();
    },
  }, ({ inTurn, heeding }, done) => ({
    networks,
    get beta() {
      return beta;
    },
    get invariants() {
      return invariants;
    },
    sample: (count, { heed, ...options } = {}) =>
      inTurn(() => sampled(posts.validation.slice(0, count), done(), { heed: heeding(heed), ...options })),
    episodes: (count = 4) => episodes(count),
  } satisfies Omit<PpoTrainer, keyof Trainer>));

  async function sampled(
    some: readonly SummarisedPost[],
    step: number,
    options: Heeded & { temperature?: number },
  ): Promise<RewardedSample[]> {
    const { samples, queries, tokens } = await sampleSummaries(ground, networks.policy, some, step, {
      responseLength: fields.responseLength,
      ...options,
    });
    const sequences = queries.map((query, i) => joined(query, tokens[i]));
    const rewards = await sequenceScores(
      gpu,
      networks.rewardModel,
      sequences,
      fields.microTokens,
      options.heed,
    );
    return samples.map((sample, i) => ({
      ...sample,
      reward: rewards[i],
      ...(gold && { gold: gold(some[i], sample.summary) }),
    }));
  }
}
