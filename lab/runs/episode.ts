/**
 * An episode token by token, as `episodes/ppo.jsonl` has it, and what each of its numbers comes from. Slots are numbered from 0; what the
 * policy says ends at the last token, what the critic says one slot behind it, where the score is paid.
 */
import { isObject } from "../bytes.ts";

/** One line of `episodes/ppo.jsonl`; log-probabilities in nats, at the temperature of the rollout. */
export interface Episode {
  /** From 1. */
  update: number;
  query: number[];
  /** Up to the EOS, if there is one. */
  response: number[];
  /** The reward model's, without a penalty. */
  score: number;
  /** Whether the response has an EOS. */
  ended: boolean;
  /** log π of the policy that sampled, the "old" one. */
  logprob: number[];
  /** log π of the SFT policy. */
  reference: number[];
  entropy: number[];
  value: number[];
  reward: number[];
  advantage: number[];
  /** The advantages that the policy loss saw. */
  whitened: number[];
  return: number[];
  /** log π of the policy in the update's last pass; absent in runs of earlier versions. */
  updated?: number[];
  /** β in this update; absent in runs of earlier versions. */
  beta?: number;
}

const policyLanes = ["logprob", "reference", "entropy", "whitened"] as const;
const criticLanes = ["value", "reward", "advantage", "return"] as const;

/** Whether a value that was read is an episode whose lanes fit its response. */
export function isEpisode(value: unknown): value is Episode {
  if (!isObject(value)) return false;
  const episode = value as Partial<Record<keyof Episode, unknown>>;
  const numbers = (lane: unknown, least: number, most = least): lane is number[] =>
    Array.isArray(lane) && lane.length >= least && lane.length <= most &&
    lane.every((x) => x === null || typeof x === "number");
  const { response, query, update, score, ended, updated, beta } = episode;
  if (!numbers(response, 1, Infinity) || !numbers(query, 0, Infinity)) return false;
  const count = response.length;
  return Number.isSafeInteger(update) && typeof score === "number" && typeof ended === "boolean" &&
    policyLanes.every((name) => numbers(episode[name], count)) &&
    criticLanes.every((name) => numbers(episode[name], count, count + 1)) &&
    (updated === undefined || numbers(updated, count)) && (beta === undefined || typeof beta === "number");
}

/** What the numbers were computed with. */
export interface EpisodeSettings {
  /** ε of the ratio's clip. */
  clipRange: number;
  /** Where an episode does not say; undefined where β was steered and nobody wrote it down. */
  beta?: number;
  gamma: number;
  lambda: number;
  klEstimator: "k1" | "k2" | "k3";
  /** Whether rewards were divided by their deviation, so that they are no longer what β and the score make. */
  whitenRewards: boolean;
}

/** A row of numbers under the tokens. */
export interface Lane {
  name: string;
  /** One a slot: all tokens, and for the critic's lanes perhaps one more. */
  values: number[];
  unit: string;
  /** Whose: the colour. */
  role: "policy" | "reference" | "reward" | "value";
  /** Values beside which a slot is drawn: 0 as a rule, 1 of a ratio. */
  base: number;
  /** A band that must not be left: of the ratio. */
  band?: [low: number, high: number];
  /** Whether the value left the band in the direction in which it was pushed, so that its gradient is cut off. */
  clipped?(slot: number): boolean;
  /** Where a number comes from, with the numbers: "reward = −β · (log π − log π_ref) = −0.05 · (−1.2 + 0.9)". */
  formula(slot: number): string;
}

/** The lanes of an episode, in the order of the computation. */
export function lanesOf(episode: Episode, settings: EpisodeSettings): Lane[] {
  const { logprob, reference, entropy, value, reward, advantage, whitened, updated } = episode;
  const beta = episode.beta ?? settings.beta;
  const last = episode.response.length - 1;
  const n = (x: number | undefined) => x === undefined || x === null ? "–" : figure(x);
  const lanes: Lane[] = [
    {
      name: "log π old",
      values: logprob,
      unit: "nats",
      role: "policy",
      base: 0,
      formula: (t) => `log π of the sampled token under the policy that sampled it = ${n(logprob[t])}`,
    },
    ...(updated
      ? [{
        name: "log π new",
        values: updated,
        unit: "nats",
        role: "policy" as const,
        base: 0,
        formula: (t: number) => `log π under the policy in the update's last pass = ${n(updated[t])}`,
      }]
      : []),
    {
      name: "log π ref",
      values: reference,
      unit: "nats",
      role: "reference",
      base: 0,
      formula: (t) => `log π of the same token under the SFT policy = ${n(reference[t])}`,
    },
    {
      name: "KL",
      values: logprob.map((x, t) => estimate(x - reference[t], settings.klEstimator)),
      unit: "nats",
      role: "policy",
      base: 0,
      formula: (t) => {
        const d = logprob[t] - reference[t];
        const long = { k1: "d", k2: "d²/2", k3: "exp(−d) − 1 + d" }[settings.klEstimator];
        return `${settings.klEstimator}: ${long}, d = log π − log π_ref = ${n(logprob[t])} − ${
          bracketed(reference[t])
        } = ${n(d)}`;
      },
    },
    {
      name: "entropy",
      values: entropy,
      unit: "nats",
      role: "policy",
      base: 0,
      formula: (t) => `−Σ p · log p over the vocabulary, before token ${t + 1} = ${n(entropy[t])}`,
    },
    {
      name: "reward",
      values: reward,
      unit: "points",
      role: "reward",
      base: 0,
      formula: (t) => {
        if (settings.whitenRewards) return `reward, whitened over the batch = ${n(reward[t])}`;
        const score = episode.ended ? "score" : "what a response without EOS gets";
        if (t > last) return `reward = ${score} = ${n(reward[t])}, paid one slot behind the last token`;
        const kl = estimate(logprob[t] - reference[t], settings.klEstimator);
        const paid = beta !== undefined && Math.abs(reward[t] + beta * kl) > 1e-4 * (1 + Math.abs(reward[t]));
        const price = beta === undefined ? "β" : n(beta);
        return `reward = −β · KL${paid ? ` + ${score}` : ""} = −${price} · ${bracketed(kl)}${
          paid ? ` + ${bracketed(reward[t] + beta * kl)}` : ""
        } = ${n(reward[t])}`;
      },
    },
    {
      name: "value",
      values: value,
      unit: "points",
      role: "value",
      base: 0,
      formula: (t) =>
        t > last
          ? `V one slot behind the last token = ${n(value[t])}; the score is ${n(episode.score)}`
          : `V before token ${t + 1}, by the critic = ${n(value[t])}`,
    },
    {
      name: "return",
      values: episode.return,
      unit: "points",
      role: "value",
      base: 0,
      formula: (t) =>
        `return = advantage + value = ${n(advantage[t])} + ${bracketed(value[t])} = ${n(episode.return[t])}`,
    },
    {
      name: "advantage",
      values: advantage,
      unit: "points",
      role: "value",
      base: 0,
      formula: (t) => {
        const next = value[t + 1] ?? 0, after = advantage[t + 1] ?? 0;
        const delta = reward[t] + settings.gamma * next - value[t];
        return `A = δ + γλ · A′, δ = r + γ · V′ − V = ${n(reward[t])} + ${n(settings.gamma)} · ${
          bracketed(next)
        } − ${bracketed(value[t])} = ${n(delta)}; A = ${n(delta)} + ${
          n(settings.gamma * settings.lambda)
        } · ${bracketed(after)} = ${n(advantage[t])}`;
      },
    },
    {
      name: "whitened",
      values: whitened,
      unit: "",
      role: "value",
      base: 0,
      formula: (t) =>
        `(A − mean) / deviation over the batch's tokens: ${n(advantage[t])} → ${n(whitened[t])}`,
    },
  ];
  if (updated) {
    const { clipRange } = settings;
    const ratio = (t: number) => Math.exp(updated[t] - logprob[t]);
    const clipped = (t: number) =>
      (ratio(t) > 1 + clipRange && whitened[t] > 0) || (ratio(t) < 1 - clipRange && whitened[t] < 0);
    lanes.push({
      name: "ratio",
      values: updated.map((_, t) => ratio(t)),
      unit: "",
      role: "policy",
      base: 1,
      band: [1 - clipRange, 1 + clipRange],
      clipped,
      formula: (t) =>
        `ρ = exp(log π_new − log π_old) = exp(${n(updated[t])} − ${bracketed(logprob[t])}) = ${n(ratio(t))}${
          clipped(t) ? ", clipped: no gradient" : ""
        }; the band is 1 ± ${n(clipRange)}`,
    });
  }
  return lanes;
}

/** An estimate of the KL divergence from d = log π − log π_ref of one sample. */
export function estimate(d: number, estimator: EpisodeSettings["klEstimator"]): number {
  return estimator === "k1" ? d : estimator === "k2" ? d * d / 2 : Math.exp(-d) - 1 + d;
}

/** Three significant digits with a true minus sign. */
export function figure(x: number): string {
  if (!Number.isFinite(x)) return "–";
  const size = Math.abs(x);
  const text = x === 0
    ? "0"
    : size < 1e-3
    ? x.toExponential(1).replace("e-", "e−")
    : size >= 1000
    ? x.toFixed(0)
    : String(Number(x.toPrecision(3)));
  return text.replace(/^-/, "−");
}

const bracketed = (x: number) => x < 0 ? `(${figure(x)})` : figure(x);
