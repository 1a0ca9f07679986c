/** Supervised fine-tuning, a step at a time: the stage lab/stages/sft.ts in memory. */
import { derivedFields } from "../config.ts";
import { rowCount, type SummarisedPost } from "../dataset.ts";
import type { Qwen2 } from "../qwen2.ts";
import type { MetricRecord } from "../report/data.ts";
import { metricRecord } from "../run.ts";
import { languageRecord, measureLanguage, sftRecord, sftStep } from "../stages/sft.ts";
import { inThisThread } from "../tokenise.ts";
import { batchRows, learningRate, stageKeys } from "../training.ts";
import {
  type Ground,
  type Heeded,
  type Sample,
  sampleSummaries,
  trainedCopy,
  type Trainer,
  trainer,
} from "./trainer.ts";

export interface SftTrainer extends Trainer {
  /** Loss and ROUGE on the validation posts, as the stage logs them. */
  evaluate(options?: Heeded): Promise<MetricRecord>;
  /** Summaries of the first validation posts by the model as it is now. */
  sample(count: number, options?: Heeded & { temperature?: number }): Promise<Sample[]>;
}

/**
 * A trainer of a copy of `base`, which stays as it is.
 * @throws RangeError where the posts do not fill one batch, QueryError where one cannot be tokenised
 */
export async function sftTrainer(
  ground: Ground & {
    base: Qwen2;
    posts: { train: readonly SummarisedPost[]; validation: readonly SummarisedPost[] };
  },
): Promise<SftTrainer> {
  const { gpu, config, tokenizer, base, posts } = ground;
  const fields = config.sft;
  const tokenisers = inThisThread(tokenizer, config.preprocess);
  const { rows, steps } = derivedFields(config, { posts: posts.train.length, pairs: Infinity }).sft;
  const train = await tokenisers.tokenise({ kind: "posts", rows: posts.train.slice(0, rows) });
  const validation = await tokenisers.tokenise({ kind: "posts", rows: [...posts.validation] });
  const model = trainedCopy(ground, base, "policy", "language");
  let tokens = 0;
  return trainer({
    stage: "sft",
    gpu,
    model,
    steps,
    async take(step) {
      const chosen = batchRows(rowCount(train), fields.batch, step, config.seed, stageKeys.sft);
      const rate = learningRate(fields, step, steps);
      const figures = await sftStep(ground, model, train, chosen, step, rate);
      tokens += figures.tokens;
      return sftRecord(figures, rate, step * fields.batch, tokens);
    },
    free: () => model.parameters.drop(),
  }, ({ inTurn, heeding }, done) => ({
    evaluate: ({ heed } = {}) =>
      inTurn(async () => {
        const figures = await measureLanguage(
          ground,
          model,
          validation,
          posts.validation,
          done(),
          heeding(heed),
        );
        return metricRecord("sft", done(), languageRecord(figures));
      }),
    sample: (count, { heed, ...options } = {}) =>
      inTurn(async () => {
        const { responseTokens: responseLength } = config.preprocess;
        const some = posts.validation.slice(0, count);
        return (await sampleSummaries(ground, model, some, done(), {
          responseLength,
          heed: heeding(heed),
          ...options,
        })).samples;
      }),
  } satisfies Omit<SftTrainer, keyof Trainer>));
}
