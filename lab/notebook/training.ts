/** Training and the microscope, as cells see them. What their methods do is done by the host: held_training.ts, and lab/live. */
import type { Derivation, Knobs } from "../live/derivation.ts";
import type { SeenRollout, SeenUpdate, WeightPlace } from "../live/microscope.ts";
import type { RewardedSample } from "../live/ppo.ts";
import type { ScoredComparison } from "../live/reward.ts";
import type { Invariant, MetricRecord } from "../report/data.ts";
import type { Episode } from "../runs/episode.ts";
import type { Model } from "./handles.ts";
import { type Caller, Handle } from "./transport.ts";

/** What may be set of a trainer, beside the fields of its stage's configuration (learningRate, batch, …; see `deno task train --help`). */
export interface TrainerOptions {
  /** Of sft and reward: what is trained; "base" and "sft" of the demo if left out. A place, a model, or another trainer. */
  base?: Model | Trainer | string;
  /** Of ppo: what is trained, and what it is kept close to; "sft" if left out. */
  policy?: Model | Trainer | string;
  /** Of ppo: what scores, and what the critic begins as; "reward" if left out. */
  reward?: Model | Trainer | string;
  /** Steps (ppo: updates) that the schedule has. */
  steps?: number;
  seed?: number;
  [field: string]: unknown;
}

/**
 * A training stage, a step at a time, in memory, on the demo's data. Same seed and adapter, same figures and weights as `deno task train`.
 */
export class Trainer extends Handle {
  readonly stage: "sft" | "reward" | "ppo";
  /** Steps of its schedule. */
  readonly steps: number;
  /** Its stage's configuration. */
  readonly settings: Record<string, unknown>;
  readonly seed: number;

  constructor(caller: Caller, number: number, facts: Record<string, never>) {
    super(caller, number);
    this.stage = facts.stage;
    this.steps = facts.steps;
    this.settings = facts.settings;
    this.seed = facts.seed;
  }

  /** Steps that have been taken. */
  done(): Promise<number> {
    return this.ask("done");
  }

  /** Takes a step (ppo: an update); its figures, by the names of metrics.jsonl. */
  step(): Promise<MetricRecord> {
    return this.ask("step");
  }

  /** Takes up to so many steps; `onStep` hears the figures of each as soon as it is done. */
  run(count: number, onStep?: (record: MetricRecord) => void): Promise<MetricRecord[]> {
    return this.ask("run", count, onStep);
  }

  /** Of sft: loss and ROUGE on validation posts. Of reward: accuracy on held-out pairs. */
  evaluate(): Promise<MetricRecord> {
    return this.ask("evaluate");
  }

  /** Of sft and ppo: summaries of the first validation posts by the model as it is now, near-greedy; ppo's with reward and gold score. */
  sample(count: number, options: { temperature?: number } = {}): Promise<RewardedSample[]> {
    return this.ask("sample", count, options);
  }

  /** Of reward: the first held-out pairs with their scores. */
  samplePairs(count: number): Promise<ScoredComparison[]> {
    return this.ask("sample", count);
  }

  /** Of reward: sets the offset so that references average 0; returns it. */
  normalise(): Promise<number> {
    return this.ask("normalise");
  }

  /** Of ppo: the last update's first episodes, token by token. */
  episodes(count?: number): Promise<Episode[]> {
    return this.ask("episodes", count);
  }

  /** Of ppo: what must hold in the first update, as it was found. */
  invariants(): Promise<Invariant[]> {
    return this.ask("invariants");
  }

  /** Of ppo: β of the next update. */
  beta(): Promise<number> {
    return this.ask("beta");
  }

  /** The model as it is now and becomes; it lives as long as the trainer. */
  model(): Promise<Model> {
    return this.ask("model");
  }

  toString(): string {
    return `Trainer ${this.stage}, ${this.steps} steps`;
  }
}

/** Networks of the microscope (places, models or trainers), `posts` (how many validation posts, or posts), and fields of the section ppo. */
export interface MicroscopeOptions {
  policy?: Model | Trainer | string;
  reference?: Model | Trainer | string;
  /** Scores; the critic is the same if none is given. */
  reward?: Model | Trainer | string;
  critic?: Model | Trainer | string;
  posts?: number | { subreddit: string; title: string; post: string }[];
  /** Numbers the random numbers, from 1. */
  update?: number;
  seed?: number;
  [field: string]: unknown;
}

/** One PPO update on a few episodes, every number of it shown, as often as one likes and with the knobs turned. */
export class Microscope extends Handle {
  readonly episodes: number;
  /** Slots of a response. */
  readonly slots: number;
  /** As configured. */
  readonly knobs: Knobs;

  constructor(caller: Caller, number: number, facts: Record<string, never>) {
    super(caller, number);
    this.episodes = facts.episodes;
    this.slots = facts.slots;
    this.knobs = facts.knobs;
  }

  /** What was sampled and measured before the update. */
  rollout(): Promise<SeenRollout> {
    return this.ask("rollout");
  }

  /** Samples the same posts anew. */
  rollOut(options: { update?: number } = {}): Promise<SeenRollout> {
    return this.ask("rollOut", options);
  }

  /** Names and shapes of the weights that AdamW can be shown for. */
  parameters(): Promise<{ network: "policy" | "critic"; tensor: string; shape: number[] }[]> {
    return this.ask("parameters");
  }

  /** Everything up to the loss of the first pass, by arithmetic in f64 alone. */
  derive(knobs: Partial<Knobs> = {}): Promise<Derivation> {
    return this.ask("derive", knobs);
  }

  /** Takes the update on the device, from the same weights each time, and derives it beside that. */
  update(
    knobs: Partial<Knobs> = {},
    options: { weight?: WeightPlace } = {},
    onPass?: (done: number, of: number) => void,
  ): Promise<SeenUpdate> {
    return this.ask("update", knobs, options, onPass);
  }

  /** The slope of the first pass's policy loss in one weight, by central differences: what its gradient has to be. */
  slope(
    weight: { tensor: string; index: number },
    knobs: Partial<Knobs> = {},
    options: { step?: number } = {},
  ): Promise<{ slope: number; step: number; losses: [number, number] }> {
    return this.ask("slope", weight, knobs, options);
  }

  toString(): string {
    return `Microscope over ${this.episodes} episodes of up to ${this.slots} tokens`;
  }
}
