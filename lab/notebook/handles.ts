/** The things that cells hold, as cells see them. What their methods do is done by the host: held_model.ts, held_tensor.ts. */
import { formatFigure } from "../format.ts";
import type { Xray } from "../live/xray.ts";
import type { Post } from "../query.ts";
import type { Qwen2Config } from "../qwen2_config.ts";
import type { ShownToken, Written } from "../summarise.ts";
import type { RatedToken } from "../writing.ts";
import { tensorBundle, type TensorView } from "./display.ts";
import type { ShownScore } from "./held_model.ts";
import type { TensorStatistics } from "./held_tensor.ts";
import type { MimeBundle } from "./ipynb.ts";
import { Microscope, Trainer } from "./training.ts";
import { type Caller, Handle, type HandleKinds } from "./transport.ts";

/** How tokens are drawn. */
export interface DrawingOptions {
  /** 0, the default, always takes the likeliest. */
  temperature?: number;
  /** The same seed draws the same tokens. Default 1. */
  seed?: number;
  /** Only the so many likeliest; all by default. */
  topK?: number;
  /** Only the likeliest that have this probability together; all by default. */
  topP?: number;
}

/** Numbers on the device, row-major. */
export class Tensor extends Handle {
  readonly name: string;
  /** Extents, slowest first. */
  readonly shape: readonly number[];
  readonly dtype: "f32" | "u32" | "f16";
  /** Elements. */
  readonly size: number;
  /** Of a model's weight: the place that the model can be opened from. */
  readonly place?: string;

  constructor(caller: Caller, number: number, facts: Record<string, never>) {
    super(caller, number);
    this.name = facts.name;
    this.shape = facts.shape;
    this.dtype = facts.dtype;
    this.size = facts.size;
    this.place = facts.place;
  }

  /** Its numbers, or elements `from` to `to` of them: a Float32Array, or a Uint32Array for u32. At most 16 Mi numbers a call. */
  values(from?: number, to?: number): Promise<Float32Array | Uint32Array> {
    return this.ask("values", from, to);
  }

  /** The only number of a tensor that has one. */
  async item(): Promise<number> {
    if (this.size !== 1) {
      throw new RangeError(`${this.name} is [${this.shape}], not one number; use at() or values().`);
    }
    return (await this.values())[0];
  }

  /** The element at these indices, one for each extent: at(3, 17). */
  at(...indices: number[]): Promise<number> {
    return this.ask("at", indices);
  }

  /** Count, NaNs, infinities, zeros, min, max, mean, rms and absmax, summed in f64 in order. */
  stats(): Promise<TensorStatistics> {
    return this.ask("stats");
  }

  /** SHA-256 of its bytes, little-endian. */
  digest(): Promise<string> {
    return this.ask("digest");
  }

  /** What a picture of it is drawn from: the extreme of each of at most 96 × 96 cells, and the statistics. */
  view(): Promise<TensorView> {
    return this.ask("view");
  }

  toString(): string {
    return `Tensor ${this.name} ${this.dtype}[${this.shape.join(", ")}]`;
  }

  /** Shows it in Jupyter: a picture with its statistics. */
  async [Symbol.for("Jupyter.display")](): Promise<MimeBundle> {
    return await tensorBundle(this, await this.view());
  }
}

/** A language model or a reward model that is open on the device. */
export class Model extends Handle {
  /** Where it came from. */
  readonly place: string;
  /** Layers, widths, heads, vocabulary, positions: as in its config.json. */
  readonly config: Qwen2Config;
  /** Numbers in its weights. */
  readonly parameters: number;
  /** Whether it scores summaries instead of writing them. */
  readonly reward: boolean;

  constructor(caller: Caller, number: number, facts: Record<string, never>) {
    super(caller, number);
    this.place = facts.place;
    this.config = facts.config;
    this.parameters = facts.parameters;
    this.reward = facts.reward;
  }

  /** SHA-256 of its weights' file. */
  digest(): Promise<string> {
    return this.ask("digest");
  }

  /** Names and shapes of its weights, or of those whose names match a pattern such as "model.layers.0.*". */
  tensors(pattern?: string): Promise<{ name: string; shape: number[] }[]> {
    return this.ask("tensors", pattern);
  }

  /** A weight by its published name, such as "model.layers.0.mlp.down_proj.weight". */
  tensor(name: string): Promise<Tensor> {
    return this.ask("tensor", name);
  }

  /** Writes a summary of a post; `onToken` hears each token, with its text, logprob and entropy, as soon as it is drawn. */
  summarise(
    post: Post,
    options: DrawingOptions = {},
    onToken?: (token: ShownToken) => void,
  ): Promise<Written> {
    return this.ask("summarise", postOf(post), options, onToken);
  }

  /** What the model makes of somebody else's summary: the logprob and the entropy at each of its tokens, nats. */
  rate(post: Post, summary: string): Promise<Written> {
    return this.ask("rate", postOf(post), summary);
  }

  /** A reward model's score of a summary, and what the score would be if the summary ended at each of its tokens. */
  score(post: Post, summary: string): Promise<{ score: number; tokens: ShownScore[] }> {
    return this.ask("score", postOf(post), summary);
  }

  /** A reward model's score of a summary with each token left out, and of each beginning of it as if it ended there. */
  xray(post: Post, summary: string, onProgress?: (done: number, of: number) => void): Promise<Xray> {
    return this.ask("xray", postOf(post), summary, onProgress);
  }

  /** A reward model's score of each sequence of ids, at its last id. */
  scoreIds(sequences: number[][]): Promise<number[]> {
    return this.ask("scoreIds", sequences);
  }

  /** What the model makes of each id, from the second on: logprob and entropy, nats. */
  logprobs(ids: number[]): Promise<RatedToken[]> {
    return this.ask("logprobs", ids);
  }

  /** Goes on from ids, exactly `count` tokens, 32 by default; returns the new ids. */
  generate(ids: number[], options: DrawingOptions & { count?: number } = {}): Promise<number[]> {
    return this.ask("generate", ids, options);
  }

  /**
   * What passes through the model while it reads ids or a text, by name: patterns such as "layers.*.attn.out", "layers.0.*", "hidden". With
   * `gradients`, also that of the mean cross-entropy (of the score, for a reward model) with respect to each, as "….grad", and with
   * respect to weights, as "weights.….grad" where a pattern begins so.
   */
  capture(
    input: number[] | string,
    patterns: string | string[],
    options: { gradients?: boolean } = {},
  ): Promise<Record<string, Tensor>> {
    return this.ask("capture", input, patterns, options);
  }

  /**
   * Keeps it on this device under a name, in place of an earlier one; opens again with lab.model("kept/NAME"), the place that it gives. Of a
   * trainer's model, `moments` keeps AdamW's first and second moments beside it: the inspector shows them at that place.
   */
  keep(name: string, options: { moments?: boolean } = {}): Promise<string> {
    return this.ask("keep", name, options);
  }

  toString(): string {
    const { layers, hiddenSize } = this.config;
    return `Model ${this.place} (${this.reward ? "reward model, " : ""}${layers} layers of ${hiddenSize}, ${
      formatFigure(this.parameters)
    } parameters)`;
  }
}

/** A post as it travels: demo posts have more fields. */
function postOf({ id, subreddit, title, post }: Post): Post {
  return { subreddit, title, post, ...(id !== undefined && { id }) };
}

/** The classes by the kind that the host gives. */
export const handleKinds: HandleKinds = { Tensor, Model, Trainer, Microscope };
