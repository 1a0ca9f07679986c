/**
 * Training that one can hold in one's hands: a model, a step at a time, in memory. What a step computes is what the stage of the same name
 * computes (lab/stages/), to the bit: same seed, data and adapter, same figures, same weights. What a stage does besides, checkpoints,
 * records, watching over health, is not done here.
 */
import type { Gpu } from "../../kernels/gpu.ts";
import { memoryFiles } from "../bytes.ts";
import type { Config } from "../config.ts";
import type { SummarisedPost } from "../dataset.ts";
import { tldrQuery } from "../query.ts";
import { allocateQwen2, type Qwen2, saveQwen2 } from "../qwen2.ts";
import type { Qwen2Config } from "../qwen2_config.ts";
import type { MetricRecord, StageName } from "../report/data.ts";
import { metricRecord } from "../run.ts";
import { writeSummaries } from "../stages/sft.ts";
import type { Tokenizer } from "../tokenizer.ts";
import { stageKeys } from "../training.ts";
import { type Turns, turns } from "./turns.ts";

/** What a trainer stands on. */
export interface Ground {
  gpu: Gpu;
  tokenizer: Tokenizer;
  config: Config;
}

export interface Heeded {
  /** Called often; may throw to give up. Then nothing has changed but what was finished before. */
  heed?: () => void;
}

/** A summary that a model in training wrote. */
export interface Sample {
  id: string;
  title: string;
  reference: string;
  summary: string;
  /** Tokens, EOS included. */
  length: number;
  ended: boolean;
}

/** What all trainers offer. Calls are worked off one after the other, however they come. */
export interface Trainer {
  readonly stage: StageName;
  /** What is being trained; it lives until {@link dispose}. */
  readonly model: Qwen2;
  /** Steps that the schedule has, and those that have been taken. */
  readonly steps: number;
  readonly done: number;
  /**
   * Takes a step.
   * @returns its figures, as the stage would log them
   * @throws RangeError after the last
   */
  step(options?: Heeded): Promise<MetricRecord>;
  /**
   * Takes up to so many steps, fewer where the schedule ends.
   * @param onStep is told of each as soon as it is done
   */
  run(count: number, options?: Heeded & { onStep?: (record: MetricRecord) => void }): Promise<MetricRecord[]>;
  /** The model's folder as Hugging Face lays it out, tokenizer left out: bytes by file name. */
  export(): Promise<Map<string, Uint8Array>>;
  /** Frees everything that the trainer has made. */
  dispose(): void;
  [Symbol.dispose](): void;
}

/** What each stage's trainer brings of its own. */
export interface Course {
  stage: StageName;
  gpu: Gpu;
  model: Qwen2;
  steps: number;
  /** Takes step number `step`, from 1. @returns figures */
  take(step: number, heed: () => void): Promise<Record<string, number>>;
  free(): void;
}

/** A trainer of a course. @param more what it offers besides; `done` counts steps taken */
export function trainer<More extends object>(
  course: Course,
  more: (turn: Pick<Turns, "inTurn" | "heeding">, done: () => number) => More,
): Trainer & More {
  const { stage, gpu, model, steps } = course;
  let done = 0;
  const turn = turns(`${stage} trainer`, () => {
    course.free();
    gpu.trim();
  });
  const step = (options: Heeded = {}) =>
    turn.inTurn(async () => {
      if (done >= steps) {
        throw new RangeError(
          `All ${steps} steps of the ${stage} schedule have been taken; make another trainer.`,
        );
      }
      const heed = turn.heeding(options.heed);
      heed();
      const record = metricRecord(stage, done + 1, await course.take(done + 1, heed));
      done++;
      if (record.grad_norm === null) {
        throw new Error(
          `The gradient of step ${done} of ${stage} is not finite, and the weights are as before; lower the learning rate.`,
        );
      }
      return record;
    });
  const common: Trainer = {
    stage,
    model,
    steps,
    get done() {
      return done;
    },
    step,
    async run(count, { onStep, ...options } = {}) {
      const records: MetricRecord[] = [];
      while (records.length < count && done < steps) {
        const record = await step(options);
        records.push(record);
        onStep?.(record);
      }
      return records;
    },
    export: () =>
      turn.inTurn(async () => {
        const files = memoryFiles();
        await files.makeDirectory("model");
        await saveQwen2(gpu, files, "model", model);
        const names = await files.list("model");
        const read = names.map(async (name) => [name, await files.read(`model/${name}`)] as const);
        return new Map(await Promise.all(read));
      }),
    dispose: turn.dispose,
    [Symbol.dispose]: turn.dispose,
  };
  // Not assigned: getters are to stay getters.
  const own = Object.getOwnPropertyDescriptors(more(turn, () => done));
  return Object.defineProperties(common, own) as Trainer & More;
}

/** A model of its own with another's weights. A head that the other lacks starts as zeros. */
export function copyQwen2(
  gpu: Gpu,
  source: Qwen2,
  name: string,
  head: Qwen2Config["head"] = source.config.head,
): Qwen2 {
  const model = allocateQwen2(gpu, { ...source.config, head }, name);
  for (const [key, tensor] of model.parameters.tensors) {
    const from = source.parameters.tensors.get(key);
    if (from) gpu.place(tensor, 0, from);
  }
  if (model.score) model.score.offset = source.score?.offset ?? 0;
  return model;
}

/** Copies that are trained have gradients and moments beside them. */
export function trainedCopy(
  ground: Pick<Ground, "gpu" | "config">,
  source: Qwen2,
  name: string,
  head: Qwen2Config["head"] = source.config.head,
): Qwen2 {
  const model = copyQwen2(ground.gpu, source, name, head);
  model.parameters.train();
  model.recompute = ground.config.recompute === "layers";
  return model;
}

/**
 * Summaries of posts, near-greedy.
 * @param step numbers their random numbers, as does each post's place in the list
 */
export async function sampleSummaries(
  { gpu, tokenizer, config }: Ground,
  model: Qwen2,
  posts: readonly SummarisedPost[],
  step: number,
  { heed, responseLength, temperature = 0.01 }: Heeded & { responseLength: number; temperature?: number },
): Promise<{ samples: Sample[]; queries: Uint32Array[]; tokens: Uint32Array[] }> {
  const queries = posts.map((post) =>
    Uint32Array.from(tldrQuery(tokenizer, post, config.preprocess.queryTokens).tokens)
  );
  const written = await writeSummaries({ gpu, tokenizer, config }, model, queries, {
    temperature,
    stage: stageKeys.samples,
    step,
    responseLength,
    heed,
  });
  return {
    queries,
    tokens: written.map(({ tokens }) => tokens),
    samples: written.map(({ text, tokens, ended }, i) => ({
      id: posts[i].id,
      title: posts[i].title,
      reference: posts[i].summary,
      summary: text.trim(),
      length: tokens.length,
      ended,
    })),
  };
}
