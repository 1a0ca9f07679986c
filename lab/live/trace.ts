/**
 * Where a number of a derivation comes from: its formula and source, the numbers that went into it, each with its own place, and the formula
 * with these put in. Followed far enough, every trace ends at the rollout, at another pass of the networks, or at a knob.
 */
import type { Derivation, DerivedEpisode, DerivedPass, Moments } from "./derivation.ts";

/** The numbers that can be traced, in the order in which an update makes them. */
const names = [
  "logprob",
  "reference",
  "score",
  "value",
  "newLogprob",
  "newValue",
  "logRatio",
  "penalty",
  "klReward",
  "paid",
  "plainReward",
  "reward",
  "following",
  "delta",
  "advantage",
  "return",
  "whitened",
  "ratio",
  "bounded",
  "tokenLoss",
  "policyLoss",
  "valueTokenLoss",
  "valueLoss",
  "loss",
] as const;
export type Quantity = typeof names[number];

/** Which number. Episodes and passes count from 0; slots are t. */
export interface Place {
  quantity: Quantity;
  episode?: number;
  slot?: number;
  pass?: number;
}

/** A number that another is made from; without a quantity of its own it is a knob or a count. */
export interface Input {
  symbol: string;
  value: number;
  at?: Place;
}

export interface Trace {
  at: Place;
  title: string;
  symbol: string;
  formula: string;
  source: string;
  inputs: Input[];
  /** The formula's right side with the numbers in it. */
  substituted: string;
  value: number;
}

interface Rule {
  title: string;
  symbol: string;
  formula: string;
  source: string;
  /** The numbers that go in, and the result with how it is written out. */
  work: (context: Context) => { inputs: Input[]; substituted: string; value: number };
}

/** What a rule looks at: the number's place, and its surroundings. */
interface Context {
  derivation: Derivation;
  at: Place;
  episode: DerivedEpisode;
  b: number;
  t: number;
  p: number;
}

const P1 = "Stiennon et al. 2020, arXiv 2009.01325";
const P2 = "Huang et al. 2024, arXiv 2403.17031";
const gaePaper = "Schulman et al. 2016, arXiv 1506.02438";
const ppoPaper = "Schulman et al. 2017, arXiv 1707.06347";

const rules: Record<Quantity, Rule> = {
  logprob: measured(
    "log-probability when it was drawn",
    "log π(a_t)",
    "log softmax(z/τ)[a_t], z the logits at the position before a_t",
    `${P2}, released ppo.py: policy and reference at the same τ`,
    ({ episode, t }) => episode.slots[t].logprob!,
  ),
  reference: measured(
    "log-probability under the reference",
    "log π_ref(a_t)",
    "the same of the frozen SFT model",
    `${P1}, §3.4`,
    ({ episode, t }) => episode.slots[t].reference!,
  ),
  score: measured(
    "score of the summary",
    "S",
    "the reward model's scalar head at the last token, less its offset",
    `${P1}, §3.4; ${P2}, details 11 and 15`,
    ({ episode }) => episode.score,
  ),
  value: measured(
    "value before the token",
    "V_t",
    "the critic's scalar head at the position before a_t, less its offset; 0 behind L+1",
    `${P1}, App. G.1: a network of its own, begun as the reward model`,
    ({ episode, t }) => episode.slots[t]?.value ?? 0,
  ),
  newLogprob: measured(
    "log-probability in this pass",
    "log π′(a_t)",
    "log softmax(z′/τ)[a_t] of the policy as it is in this pass",
    `${ppoPaper}, §3`,
    (context) => passSlot(context).policy!.logprob,
  ),
  newValue: measured(
    "value in this pass",
    "V′_t",
    "the critic as it is in this pass",
    P2,
    (context) => passSlot(context).critic.value,
  ),

  logRatio: {
    title: "log-ratio to the reference",
    symbol: "d_t",
    formula: "log π(a_t) − log π_ref(a_t)",
    source: `${P1}, §3.4`,
    work: (context) => {
      const [policy, reference] = [input(context, "logprob"), input(context, "reference")];
      return {
        inputs: [policy, reference],
        substituted: `${shown(policy)} − ${shown(reference)}`,
        value: policy.value - reference.value,
      };
    },
  },
  penalty: {
    title: "KL estimate that is charged",
    symbol: "k_t",
    formula: "k1: d;  k2: d²/2;  k3: exp(−d) − 1 + d",
    source: "Schulman 2020, “Approximating KL divergence”; k1 in the released ppo.py",
    work: (context) => {
      const d = input(context, "logRatio"), kind = context.derivation.knobs.klEstimator;
      const written = {
        k1: [shown(d), d.value],
        k2: [`${shown(d)}² / 2`, d.value ** 2 / 2],
        k3: [`exp(−${shown(d)}) − 1 + ${shown(d)}`, Math.exp(-d.value) - 1 + d.value],
      } as const;
      const [substituted, value] = written[kind];
      return { inputs: [d], substituted, value };
    },
  },
  klReward: {
    title: "KL’s part of the reward",
    symbol: "−β·k_t",
    formula: "−β · k_t, 0 behind L",
    source: `${P1}, §3.4; β = 0.05 there in App. B.1`,
    work: (context) => {
      if (context.t > context.episode.last) return { inputs: [], substituted: "0", value: 0 };
      const k = input(context, "penalty"), beta = knob("β", context.derivation.knobs.klCoef);
      return {
        inputs: [beta, k],
        substituted: `−${shown(beta)} · ${shown(k)}`,
        value: -beta.value * k.value,
      };
    },
  },
  paid: {
    title: "score paid at this slot",
    symbol: "S_t",
    formula: "S at one slot (behind the last token, or at it), 0 elsewhere; without EOS, the penalty instead",
    source: `released ppo.py; ${P2}, detail 23`,
    work: (context) => {
      const { episode, t, derivation: { knobs } } = context;
      if (t !== episode.scoreSlot) return { inputs: [], substituted: "0", value: 0 };
      const score = input(context, "score"), penalty = knob("penalty", knobs.missingEosPenalty);
      if (episode.hasEos || knobs.missingEos === "none") {
        return { inputs: [score], substituted: shown(score), value: score.value };
      }
      return knobs.missingEos === "replace"
        ? { inputs: [penalty], substituted: `−${shown(penalty)}`, value: -penalty.value }
        : {
          inputs: [score, penalty],
          substituted: `${shown(score)} − ${shown(penalty)}`,
          value: score.value - penalty.value,
        };
    },
  },
  plainReward: {
    title: "reward",
    symbol: "r_t",
    formula: "−β·k_t + S_t",
    source: `${P1}, §3.4`,
    work: (context) => sum([input(context, "klReward"), input(context, "paid")]),
  },
  reward: {
    title: "reward, whitened where that is on",
    symbol: "r_t",
    formula: "(r_t − mean)/√(var + 10⁻⁸) + mean, or r_t as it is",
    source: `${P2}, detail 24; off in the released recipe`,
    work: (context) => {
      const plain = input(context, "plainReward"), moments = context.derivation.rewardMoments;
      if (!moments) return { inputs: [plain], substituted: shown(plain), value: plain.value };
      const { value, inputs, substituted } = standardised(plain, moments);
      return { inputs, substituted: `${substituted} + ${number(moments.mean)}`, value: value + moments.mean };
    },
  },
  following: {
    title: "value after the token",
    symbol: "V_{t+1}",
    formula: "V at the next slot; 0 behind L+1 and at T",
    source: `${gaePaper}, §3`,
    work: (context) => {
      const next = { ...context, t: context.t + 1 };
      if (!context.episode.slots[next.t]) return { inputs: [], substituted: "0", value: 0 };
      const value = input(next, "value");
      return { inputs: [value], substituted: shown(value), value: value.value };
    },
  },
  delta: {
    title: "temporal-difference residual",
    symbol: "δ_t",
    formula: "r_t + γ·V_{t+1} − V_t",
    source: `${gaePaper}, §3`,
    work: (context) => {
      const reward = input(context, "reward"), gamma = knob("γ", context.derivation.knobs.gamma);
      const following = input(context, "following"), value = input(context, "value");
      return {
        inputs: [reward, gamma, following, value],
        substituted: `${shown(reward)} + ${shown(gamma)} · ${shown(following)} − ${shown(value)}`,
        value: reward.value + gamma.value * following.value - value.value,
      };
    },
  },
  advantage: {
    title: "advantage",
    symbol: "A_t",
    formula: "Σ_l (γλ)^l · δ_{t+l}",
    source: `${gaePaper}, eq. 16`,
    work: (context) => {
      const { gamma, lambda } = context.derivation.knobs;
      const deltas = context.episode.slots.slice(context.t).map(({ slot }) =>
        input({ ...context, t: slot }, "delta")
      );
      const weight = (l: number) => (gamma * lambda) ** l;
      return {
        inputs: [knob("γ", gamma), knob("λ", lambda), ...deltas],
        substituted: deltas.map((delta, l) =>
          l === 0 ? shown(delta) : `${number(weight(l))} · ${shown(delta)}`
        )
          .join(" + "),
        value: deltas.reduce((total, delta, l) => total + weight(l) * delta.value, 0),
      };
    },
  },
  return: {
    title: "return",
    symbol: "R_t",
    formula: "A_t + V_t, before whitening",
    source: `released ppo.py; ${gaePaper}`,
    work: (context) => sum([input(context, "advantage"), input(context, "value")]),
  },
  whitened: {
    title: "advantage, whitened where that is on",
    symbol: "Â_t",
    formula: "(A_t − mean)/√(var + 10⁻⁸) over all slots t ≤ L, or A_t as it is",
    source: `${P2}, detail 25`,
    work: (context) => {
      const advantage = input(context, "advantage"), moments = context.derivation.advantageMoments;
      if (!moments) return { inputs: [advantage], substituted: shown(advantage), value: advantage.value };
      return standardised(advantage, moments);
    },
  },

  ratio: {
    title: "ratio of this pass’s policy to the one that sampled",
    symbol: "ρ_t",
    formula: "exp(log π′(a_t) − log π(a_t))",
    source: `${ppoPaper}, §3`,
    work: (context) => {
      const now = input(context, "newLogprob"), old = input(context, "logprob");
      return {
        inputs: [now, old],
        substituted: `exp(${shown(now)} − ${shown(old)})`,
        value: Math.exp(now.value - old.value),
      };
    },
  },
  bounded: {
    title: "ratio, clipped",
    symbol: "clip(ρ_t)",
    formula: "ρ_t held within 1 − ε … 1 + ε",
    source: `${ppoPaper}, eq. 7`,
    work: (context) => {
      const ratio = input(context, "ratio"), range = knob("ε", context.derivation.knobs.clipRange);
      return {
        inputs: [ratio, range],
        substituted: `clip(${shown(ratio)}, ${number(1 - range.value)}, ${number(1 + range.value)})`,
        value: Math.min(Math.max(ratio.value, 1 - range.value), 1 + range.value),
      };
    },
  },
  tokenLoss: {
    title: "policy loss of the token",
    symbol: "ℓ_t",
    formula: "max(−Â_t·ρ_t, −Â_t·clip(ρ_t))",
    source: `${ppoPaper}, eq. 7, its sign turned`,
    work: (context) => {
      const advantage = input(context, "whitened"), ratio = input(context, "ratio");
      const bounded = input(context, "bounded"), { dualClip } = context.derivation.knobs;
      const plain = Math.max(-advantage.value * ratio.value, -advantage.value * bounded.value);
      const most = dualClip && advantage.value < 0 ? -advantage.value * dualClip : Infinity;
      const written = `max(−${shown(advantage)} · ${shown(ratio)}, −${shown(advantage)} · ${shown(bounded)})`;
      return {
        inputs: [advantage, ratio, bounded],
        substituted: most < Infinity ? `min(${written}, −${shown(advantage)} · ${dualClip})` : written,
        value: Math.min(most, plain),
      };
    },
  },
  policyLoss: {
    title: "policy loss",
    symbol: "L_π",
    formula: "Σ ℓ_t / tokens, over all slots t ≤ L of all episodes",
    source: `${P1}, §3.4; ${ppoPaper}, eq. 7`,
    work: (context) => mean(context, "tokenLoss", (episode) => episode.last + 1),
  },
  valueTokenLoss: {
    title: "value loss of the slot",
    symbol: "ℓ^V_t",
    formula: "½ max((V′_t − R_t)², (clip(V′_t, V_t ± ε_V) − R_t)²)",
    source: `${P2}: as implementations since OpenAI’s baselines have it`,
    work: (context) => {
      const now = input(context, "newValue"), old = input(context, "value"), goal = input(context, "return");
      const range = context.derivation.knobs.valueClipRange || Infinity;
      const bounded = Math.min(Math.max(now.value, old.value - range), old.value + range);
      return {
        inputs: [now, old, goal, ...(range < Infinity ? [knob("ε_V", range)] : [])],
        substituted: `½ max((${shown(now)} − ${shown(goal)})², (${number(bounded)} − ${shown(goal)})²)`,
        value: Math.max((now.value - goal.value) ** 2, (bounded - goal.value) ** 2) / 2,
      };
    },
  },
  valueLoss: {
    title: "value loss",
    symbol: "L_V",
    formula: "Σ ℓ^V_t / slots, over all slots t ≤ L+1 of all episodes",
    source: `${P2}; released ppo.py`,
    work: (context) => mean(context, "valueTokenLoss", (episode) => episode.slots.length),
  },
  loss: {
    title: "loss",
    symbol: "L",
    formula: "L_π + c·L_V",
    source: "released ppo.py: c = 0.1",
    work: (context) => {
      const policy = input(context, "policyLoss"), value = input(context, "valueLoss");
      const coefficient = knob("c", context.derivation.knobs.valueCoef);
      return {
        inputs: [policy, coefficient, value],
        substituted: `${shown(policy)} + ${shown(coefficient)} · ${shown(value)}`,
        value: policy.value + coefficient.value * value.value,
      };
    },
  },
};

/** All quantities, with title, symbol, formula and source: the legend of a derivation. */
export const quantities:
  readonly (Pick<Rule, "title" | "symbol" | "formula" | "source"> & { name: Quantity })[] = names.map(
    (name) => {
      const { title, symbol, formula, source } = rules[name];
      return { name, title, symbol, formula, source };
    },
  );

/**
 * Traces a number one step back. @throws RangeError where the derivation has no such number
 */
export function trace(derivation: Derivation, at: Place): Trace {
  if (!names.includes(at.quantity)) {
    throw new RangeError(`There is no quantity "${at.quantity}"; there are ${names.join(", ")}.`);
  }
  const { title, symbol, formula, source, work } = rules[at.quantity];
  const b = at.episode ?? 0, t = at.slot ?? 0, p = at.pass ?? 0;
  const episode = derivation.episodes[b];
  const isMean = means.includes(at.quantity);
  const needsPass = isMean || ofPass.includes(at.quantity);
  if (!episode || (!isMean && !episode.slots[t]) || (needsPass && !derivation.passes[p])) {
    throw new RangeError(`The derivation has no ${at.quantity} at episode ${b}, slot ${t}, pass ${p}.`);
  }
  if (ofPolicy.includes(at.quantity) && t > episode.last) {
    throw new RangeError(
      `Episode ${b} ends at slot ${episode.last}: there is no ${at.quantity} at slot ${t}.`,
    );
  }
  return { at, title, symbol, formula, source, ...work({ derivation, at, episode, b, t, p }) };
}

/** Over all slots of all episodes. */
const means: readonly Quantity[] = ["policyLoss", "valueLoss", "loss"];
const ofPass: readonly Quantity[] = [
  "newLogprob",
  "newValue",
  "ratio",
  "bounded",
  "tokenLoss",
  "valueTokenLoss",
];
/** Not there behind L. */
const ofPolicy: readonly Quantity[] = [
  "logprob",
  "reference",
  "logRatio",
  "penalty",
  "whitened",
  "newLogprob",
  "ratio",
  "bounded",
  "tokenLoss",
];

function input({ derivation, b, t, p }: Context, quantity: Quantity): Input {
  const at: Place = { quantity, episode: b, slot: t, pass: p };
  return { symbol: rules[quantity].symbol, value: trace(derivation, at).value, at };
}

function knob(symbol: string, value: number): Input {
  return { symbol, value };
}

function measured(
  title: string,
  symbol: string,
  formula: string,
  source: string,
  value: (context: Context) => number,
): Rule {
  return {
    title,
    symbol,
    formula,
    source,
    work: (context) => ({ inputs: [], substituted: number(value(context)), value: value(context) }),
  };
}

function passSlot({ derivation, b, t, p }: Context): DerivedPass["slots"][number][number] {
  return derivation.passes[p].slots[b][t];
}

function sum(inputs: Input[]) {
  const value = inputs.reduce((total, { value }) => total + value, 0);
  return { inputs, substituted: inputs.map(shown).join(" + "), value };
}

function standardised(x: Input, { mean, variance, eps, deviation }: Moments) {
  return {
    inputs: [x, knob("mean", mean), knob("var", variance)],
    substituted: `(${shown(x)} − ${shown(knob("", mean))}) / √(${number(variance)} + ${eps})`,
    value: (x.value - mean) / deviation,
  };
}

function mean(context: Context, quantity: Quantity, slotsOf: (episode: DerivedEpisode) => number) {
  const inputs = context.derivation.episodes.flatMap((episode, b) =>
    Array.from({ length: slotsOf(episode) }, (_, t) => input({ ...context, episode, b, t }, quantity))
  );
  const total = inputs.reduce((sum, { value }) => sum + value, 0);
  return { inputs, substituted: `${number(total)} / ${inputs.length}`, value: total / inputs.length };
}

/** A number within a formula: six digits, in brackets where it is negative. */
function shown({ value }: Input): string {
  return value < 0 ? `(${number(value)})` : number(value);
}

function number(value: number): string {
  return String(Number(value.toPrecision(6))).replace("-", "−");
}
