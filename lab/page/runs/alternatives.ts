/** What policy and reference hold likely in the places of an episode: asked of a run's own models, on the GPU of this page. */
import type { Alternatives as InspectedAlternatives } from "../../inspect/types.ts";
import type { Episode } from "../../runs/episode.ts";
import { keptPolicies, nearestPolicy, policyInWords } from "../../runs/policies.ts";
import { type Engine, startEngine } from "../engine.ts";
import type { Alternatives } from "../episode_strip.ts";
import type { WatchedRun } from "./watch.ts";

let engine: Engine | null = null;

interface Answer {
  tokens: InspectedAlternatives["tokens"];
  /** Whose they are. */
  policy: { name: string; says: string };
}

/** Asked once an episode: the answer is of all its places. */
const asked = new WeakMap<Episode, Promise<Answer>>();

/** Questions go one after the other, so that of many policies only one is on the device, beside the reference. */
let turn: Promise<unknown> = Promise.resolve();
let open: { engine: Engine; policy: string } | null = null;

/** Whether a run's folder can be asked: both models are there, at an address. */
export function canAsk({ url, seen: { models } }: WatchedRun): boolean {
  return url !== undefined && models.includes("ppo") && models.includes("sft");
}

/**
 * The ten likeliest tokens in place `slot` of an episode's response, by the policy that sampled it, or the nearest to it that the run has
 * kept, and by the SFT policy, at temperature 1.
 */
export async function askAlternatives(
  run: WatchedRun,
  episode: Episode,
  slot: number,
): Promise<Alternatives> {
  let answer = asked.get(episode);
  if (!answer) {
    answer = turn.then(() => ask(run, episode));
    turn = answer.catch(() => {});
    asked.set(episode, answer);
    answer.catch(() => asked.delete(episode));
  }
  const { tokens, policy: whose } = await answer;
  const [policy, reference] = tokens[episode.query.length + slot - 1].models.map(({ top }) => top);
  return { policy, reference, whose };
}

async function ask({ url, seen }: WatchedRun, episode: Episode): Promise<Answer> {
  if (!engine) {
    const started = engine = startEngine();
    started.lost.catch(() => engine === started && (engine = null));
  }
  const { lab, unlessLost } = engine;
  const last = Math.max(episode.update, seen.columns.lastStep("ppo"));
  const kept = await keptPolicies(seen.files, seen.path, seen.models, last);
  const nearest = nearestPolicy(kept, episode.update)!;
  const [policy, reference] = [nearest.path, "models/sft"].map((path) => new URL(path, url).href);
  if (open?.engine === engine && open.policy !== policy && open.policy !== reference) {
    await unlessLost(lab.inspect.close(open.policy));
  }
  open = { engine, policy };
  const ids = [...episode.query, ...episode.response];
  const { tokens } = await unlessLost(
    lab.inspect.alternatives([policy, reference], { kind: "ids", ids }, 10),
  );
  return { tokens, policy: policyInWords(nearest, episode.update, last) };
}
