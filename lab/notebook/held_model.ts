/** Models that cells hold by a handle, and what may be asked of them. */
import { nameMatcher } from "../../kernels/capture.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { crossEntropy } from "../../kernels/logprob.ts";
import { sum } from "../../kernels/reduce.ts";
import { scalarHead } from "../../kernels/scalar_head.ts";
import { gatherRows } from "../../kernels/gather_rows.ts";
import { Tensor } from "../../kernels/tensor.ts";
import { drawnAt, generate } from "../generate.ts";
import { makeRoomForGradients } from "../inspect/captures.ts";
import { type Post, tldrQuery } from "../query.ts";
import { copyByName, hiddenStates, publishedTensors, readByName, tokenBatch } from "../qwen2.ts";
import { scores, sequenceScores } from "../scoring.ts";
import { rateSummary, type ShownToken, summarise, type Writer, type Written } from "../summarise.ts";
import { stageKeys } from "../training.ts";
import type { OpenModel } from "../workbench.ts";
import { rate, type RatedToken } from "../writing.ts";
import { HeldTensor } from "./held_tensor.ts";
import type { Session } from "./session.ts";

/** How tokens are drawn from a model's distribution. */
export interface DrawingRule {
  /** 0 always takes the likeliest. */
  temperature: number;
  seed: number;
  topK?: number;
  topP?: number;
}

export class HeldModel {
  readonly kind = "Model";
  /** The weights belong to the workbench. */
  readonly bytes = 0;

  /** @param lasting whether its place can be opened anew, unlike that of a model in training */
  constructor(
    private readonly session: Session,
    readonly open: OpenModel,
    private readonly lasting: boolean,
  ) {}

  facts(): Record<string, unknown> {
    const { place, model: { config, parameters } } = this.open;
    let size = 0;
    for (const tensor of parameters.tensors.values()) size += tensor.size;
    return { place, name: place, config: { ...config }, parameters: size, reward: config.head === "score" };
  }

  free(): void {}

  /** Names and shapes of the weights whose names match a pattern with `*`. */
  tensors(pattern: string): { name: string; shape: number[] }[] {
    const matches = nameMatcher([pattern]);
    return publishedTensors(this.open.model).filter(({ name }) => matches(name));
  }

  /** A weight, by its published name. Nothing is copied before an operation wants it. */
  tensor(name: string): HeldTensor {
    const { gpu, model, place } = this.open;
    const all = publishedTensors(model);
    const found = all.find((tensor) => tensor.name === name);
    if (!found) {
      throw new RangeError(`${place} has no tensor "${name}"; model.tensors("*") lists all ${all.length}.`);
    }
    const source = {
      read: (from: number, to: number) => readByName(gpu, model, name, "value", { from, to }),
      copy: (gpu: Gpu) => {
        this.session.meter.requireBytes(4 * found.shape.reduce((a, b) => a * b, 1), name);
        return copyByName(gpu, model, name);
      },
    };
    return new HeldTensor(gpu, source, name, found.shape, "f32", null, this.lasting ? place : null);
  }

  summarise(post: Post, rule: DrawingRule, onToken: (token: ShownToken) => void): Promise<Written> {
    return this.asWriter((writer) => summarise(writer, post, { ...rule, margins: true }, onToken));
  }

  rate(post: Post, summary: string): Promise<Written> {
    return this.asWriter((writer) => rateSummary(writer, post, summary));
  }

  /** What a reward model gives a summary: its score, and the score of each prefix of it, token by token. */
  async score(post: Post, summary: string): Promise<{ score: number; tokens: (ShownScore)[] }> {
    const { gpu, model, place } = this.open;
    if (!model.score) {
      throw new RangeError(
        `${place} is a language model: it writes summaries and gives no score; open a reward model.`,
      );
    }
    const tokenizer = await this.open.tokenizer();
    const { preprocess } = await this.open.configuration();
    const query = tldrQuery(tokenizer, post, preprocess.queryTokens);
    const response = [...tokenizer.encode(` ${summary.trim()}`), tokenizer.eosId];
    const tokens = [...query.tokens, ...response];
    this.requireRoom(tokens.length);
    const positions = response.map((_, t) => query.tokens.length + t);
    const [each] = await scores(gpu, model, [{ tokens, positions }], 4096);
    return {
      score: each[response.length - 1],
      tokens: response.map((id, t) => ({ id, text: tokenizer.decodeToken(id), score: each[t] })),
    };
  }

  /** What a reward model gives whole sequences of ids, at their last. */
  async scoreIds(sequences: number[][]): Promise<number[]> {
    const { gpu, model, place } = this.open;
    if (!model.score) {
      throw new RangeError(`${place} is a language model and gives no score; open a reward model.`);
    }
    for (const ids of sequences) this.requireIds(ids, 1);
    return Array.from(await sequenceScores(gpu, model, sequences, 4096));
  }

  /** What the model makes of each id, from the second on. */
  async logprobs(ids: number[]): Promise<RatedToken[]> {
    this.requireLanguage();
    this.requireIds(ids, 2);
    const { gpu, model } = this.open;
    return await rate(gpu, model, ids.slice(0, 1), ids.slice(1));
  }

  /** Goes on from ids, exactly `count` tokens. */
  async generate(prompt: number[], count: number, rule: DrawingRule): Promise<number[]> {
    this.requireLanguage();
    this.requireIds(prompt, 1);
    this.requireRoom(prompt.length + count);
    const { gpu, model } = this.open;
    const [written] = await generate(gpu, model, [prompt], {
      responseLength: count,
      ...drawnAt(rule.temperature),
      topK: rule.topK,
      topP: rule.topP,
      seed: rule.seed,
      stage: stageKeys.samples,
      step: 0,
    });
    return Array.from(written);
  }

  /**
   * Copies of what passes through the model while it reads ids, by patterns of our names (`layers.*.attn.out`, `hidden`).
   * @param withGradients also of the mean cross-entropy of ids 1… (of the score, for a reward model): `….grad` of what matches, and
   * `weights.….grad` where a pattern matches `weights.…`, for weights share names with what passes through
   */
  async capture(ids: number[], patterns: string[], withGradients: boolean): Promise<Map<string, HeldTensor>> {
    this.requireIds(ids, withGradients ? 2 : 1);
    const { model } = this.open;
    const gpu = await this.session.gpu();
    const taken = new Map<string, Tensor>();
    const matches = nameMatcher(withGradients ? patterns.flatMap((one) => [one, `${one}.grad`]) : patterns);
    let bytes = 0;
    const keep = (name: string, tensor: Tensor) => {
      if (!matches(name)) return;
      this.session.meter.requireBytes(bytes += tensor.bytes, name);
      const copy = gpu.hold(tensor.shape, name, tensor.dtype);
      gpu.copy(copy, tensor);
      const earlier = taken.get(name);
      if (earlier) gpu.release(earlier);
      taken.set(name, copy);
    };
    if (withGradients) makeRoomForGradients(model);
    const before = gpu.watcher;
    gpu.watcher = {
      see(gpu, name, tensor) {
        before?.see(gpu, name, tensor);
        keep(name, tensor);
      },
    };
    try {
      gpu.scope(() => {
        const batch = tokenBatch(gpu, model, [ids], withGradients);
        if (withGradients) gpu.differentiate(() => this.loss(gpu, hiddenStates(gpu, model, batch), ids));
        else hiddenStates(gpu, model, batch);
      });
      if (withGradients) {
        for (const [name, { grad }] of model.parameters.tensors) if (grad) keep(`weights.${name}.grad`, grad);
      }
    } catch (error) {
      for (const tensor of taken.values()) gpu.release(tensor);
      throw error;
    } finally {
      gpu.watcher = before;
      if (withGradients) model.parameters.freeze();
    }
    return new Map(Array.from(taken, ([name, tensor]) => [name, this.session.hold(gpu, tensor, name)]));
  }

  private loss(gpu: Gpu, hidden: Tensor, ids: number[]): Tensor {
    const { model } = this.open;
    const last = ids.length - 1;
    if (model.score) {
      const { weight, bias, offset } = model.score;
      return sum(gpu, scalarHead(gpu, gatherRows(gpu, hidden, Uint32Array.of(last)), weight, bias, offset));
    }
    const before = gatherRows(gpu, hidden, Uint32Array.from({ length: last }, (_, i) => i));
    const targets = gpu.from(Uint32Array.from(ids.slice(1)), [last], "targets");
    return crossEntropy(gpu, before, model.head, targets).loss;
  }

  private async asWriter(work: (writer: Writer) => Promise<Written>): Promise<Written> {
    this.requireLanguage();
    const { gpu, model, tokenizer, configuration } = this.open;
    return await work({
      gpu,
      model,
      tokenizer: await tokenizer(),
      lengths: (await configuration()).preprocess,
    });
  }

  private requireLanguage(): void {
    if (!this.open.model.score) return;
    throw new RangeError(`${this.open.place} is a reward model: it scores summaries and writes none.`);
  }

  private requireIds(ids: readonly number[], least: number): void {
    const { model: { config }, place } = this.open;
    if (ids.length < least) {
      throw new RangeError(`${place} needs at least ${least} token ids, not ${ids.length}.`);
    }
    const outside = ids.findIndex((id) => id >= config.vocabulary);
    if (outside >= 0) {
      throw new RangeError(
        `Id ${
          ids[outside]
        } at place ${outside} is outside the vocabulary of ${place}, which has ${config.vocabulary} ids.`,
      );
    }
    this.requireRoom(ids.length);
  }

  private requireRoom(tokens: number): void {
    const { model: { config }, place } = this.open;
    if (tokens <= config.maxPositions) return;
    throw new RangeError(
      `${tokens} tokens are more than the ${config.maxPositions} positions of ${place}; shorten them.`,
    );
  }
}

/** A token of a summary, and what the reward model would give if the summary ended there. */
export interface ShownScore {
  id: number;
  text: string;
  score: number;
}
