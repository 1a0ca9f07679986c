/** What policy and reference hold likely in the places of an episode: asked of a run's own models, on the GPU of this page. */
import type { Alternatives as InspectedAlternatives } from "../../inspect/types.ts";
import type { Episode } from "../../runs/episode.ts";
import { type Engine, startEngine } from "../engine.ts";
import type { Alternatives } from "../episode_strip.ts";
import type { WatchedRun } from "./watch.ts";

let engine: Engine | null = null;

/** Asked once an episode: the answer is of all its places. */
const asked = new WeakMap<Episode, Promise<InspectedAlternatives>>();

/** Whether a run's folder can be asked: both models are there, at an address. */
export function canAsk({ url, seen: { models } }: WatchedRun): boolean {
  return url !== undefined && models.includes("ppo") && models.includes("sft");
}

/**
 * The ten likeliest tokens in place `slot` of an episode's response, by the policy as training left it and by the SFT policy, at
 * temperature 1.
 */
export async function askAlternatives(
  run: WatchedRun,
  episode: Episode,
  slot: number,
): Promise<Alternatives> {
  if (!engine) {
    const started = engine = startEngine();
    started.lost.catch(() => engine === started && (engine = null));
  }
  let answer = asked.get(episode);
  if (!answer) {
    const places = ["ppo", "sft"].map((model) => new URL(`models/${model}`, run.url).href);
    const ids = [...episode.query, ...episode.response];
    answer = engine.unlessLost(engine.lab.inspect.alternatives(places, { kind: "ids", ids }, 10));
    asked.set(episode, answer);
    answer.catch(() => asked.delete(episode));
  }
  const { tokens } = await answer;
  const [policy, reference] = tokens[episode.query.length + slot - 1].models.map(({ top }) => top);
  return { policy, reference };
}
