/** The reward model, a step at a time: the stage lab/stages/reward.ts in memory. */
import type { Comparison } from "../comparisons.ts";
import { derivedFields } from "../config.ts";
import type { SummarisedPost } from "../dataset.ts";
import type { Qwen2 } from "../qwen2.ts";
import type { MetricRecord } from "../report/data.ts";
import { metricRecord } from "../run.ts";
import {
  initialiseHead,
  meanScore,
  measureAccuracy,
  pairScores,
  rewardBatch,
  rewardRecord,
  rewardStep,
} from "../stages/reward.ts";
import { inThisThread } from "../tokenise.ts";
import { learningRate } from "../training.ts";
import { type Ground, type Heeded, trainedCopy, type Trainer, trainer } from "./trainer.ts";

/** A held-out pair with its scores, offset subtracted. */
export interface ScoredComparison {
  title: string;
  chosen: { text: string; score: number };
  rejected: { text: string; score: number };
}

export interface RewardTrainer extends Trainer {
  /** Accuracy and loss on held-out pairs, as the stage logs them. */
  evaluate(options?: Heeded): Promise<MetricRecord>;
  /** The first held-out pairs, scored by the model as it is now. */
  sample(count: number, options?: Heeded): Promise<ScoredComparison[]>;
  /** Sets the offset so that the references average 0, as the stage does after its last step. @returns the offset, points */
  normalise(options?: Heeded): Promise<number>;
}

/**
 * A trainer of a copy of the SFT model with a fresh scalar head.
 * @param ground `references`: posts whose summaries the score is normalised on
 * @throws RangeError where the pairs do not fill one batch, QueryError where one cannot be tokenised
 */
export async function rewardTrainer(
  ground: Ground & {
    base: Qwen2;
    pairs: Record<"train" | "valid1" | "valid2", readonly Comparison[]>;
    references: readonly SummarisedPost[];
  },
): Promise<RewardTrainer> {
  const { gpu, config, tokenizer, base, pairs } = ground;
  const fields = config.reward;
  const tokenisers = inThisThread(tokenizer, config.preprocess);
  const tokenised = (rows: readonly Comparison[]) => tokenisers.tokenise({ kind: "pairs", rows: [...rows] });
  const { pairs: count, steps } =
    derivedFields(config, { posts: Infinity, pairs: pairs.train.length }).reward;
  const train = await tokenised(pairs.train);
  const heldOut = { valid1: await tokenised(pairs.valid1), valid2: await tokenised(pairs.valid2) };
  const normalised = ground.references.slice(0, fields.normaliseRows || undefined);
  const references = await tokenisers.tokenise({ kind: "posts", rows: normalised });
  const model = trainedCopy(ground, base, "reward", "score");
  initialiseHead(ground, model);
  let tokens = 0;
  return trainer({
    stage: "reward",
    gpu,
    model,
    steps,
    async take(step) {
      const rate = learningRate(fields, step, steps);
      const figures = await rewardStep(
        ground,
        model,
        train,
        rewardBatch(ground, train, count, step),
        step,
        rate,
      );
      tokens += figures.tokens;
      return rewardRecord(figures, rate, step * fields.batch, tokens);
    },
    free: () => model.parameters.drop(),
  }, ({ inTurn, heeding }, done) => ({
    evaluate: ({ heed } = {}) =>
      inTurn(async () =>
        metricRecord("reward", done(), await measureAccuracy(ground, model, heldOut, heeding(heed)))
      ),
    sample: (count, { heed } = {}) =>
      inTurn(async () => {
        const some = pairs.valid1.slice(0, count);
        const scored = await pairScores(ground, model, heldOut.valid1, some.length, heeding(heed));
        return some.map(({ source, chosen, rejected }, i) => ({
          title: source.title ?? "",
          chosen: { text: chosen.text.trim(), score: scored[i][0] },
          rejected: { text: rejected.text.trim(), score: scored[i][1] },
        }));
      }),
    normalise: ({ heed } = {}) =>
      inTurn(async () =>
        model.score!.offset = fields.normalise ? await meanScore(ground, model, references, heeding(heed)) : 0
      ),
  } satisfies Omit<RewardTrainer, keyof Trainer>));
}
