/** The summaries of a fixed set of posts in the course of PPO, as they come out of `samples.jsonl`. */
import type { TrainingSample } from "../report/data.ts";

/** One post with its summaries. */
export interface SampledPost {
  id: string;
  title: string;
  reference: string;
  /** By update; of two at one update the later. */
  summaries: Map<number, TrainingSample>;
}

/** The summaries of a run. */
export interface SampleBook {
  /** Counts the changes. */
  readonly version: number;
  /** In the order in which they first came. */
  readonly posts: readonly SampledPost[];
  /** Updates with summaries, rising. */
  readonly updates: readonly number[];
  /** Least and greatest reward of all; undefined where there are none. */
  readonly rewards: readonly [number, number] | undefined;
  /** Adds lines of the file; what is no such line is passed over. */
  add(values: readonly unknown[]): void;
  clear(): void;
}

export function sampleBook(): SampleBook {
  let posts = new Map<string, SampledPost>(), updates: number[] = [], version = 0;
  let rewards: [number, number] | undefined;
  return {
    get version() {
      return version;
    },
    get posts() {
      return [...posts.values()];
    },
    get updates() {
      return updates;
    },
    get rewards() {
      return rewards;
    },
    add(values) {
      for (const value of values) {
        if (!isSample(value)) continue;
        const { id, title, reference, update, reward } = value;
        if (!posts.has(id)) posts.set(id, { id, title, reference, summaries: new Map() });
        posts.get(id)!.summaries.set(update, value);
        if (!updates.includes(update)) updates = [...updates, update].sort((a, b) => a - b);
        const [low, high] = rewards ?? [reward, reward];
        rewards = [Math.min(low, reward), Math.max(high, reward)];
        version++;
      }
    },
    clear() {
      [posts, updates, rewards] = [new Map(), [], undefined];
      version++;
    },
  };
}

function isSample(value: unknown): value is TrainingSample {
  const { stage, id, title, reference, summary, update, length, reward } = (value ?? {}) as TrainingSample;
  return stage === "ppo" && [id, title, reference, summary].every((text) => typeof text === "string") &&
    [update, length, reward].every((x) => Number.isFinite(x));
}
