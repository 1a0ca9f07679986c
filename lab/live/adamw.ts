/** AdamW for one weight, every number in between, in f64 (arXiv 1711.05101, algorithm 2, with the arithmetic of `torch.optim.AdamW`). */

/** What the step is given; see lab/training.ts. */
export interface AdamWSetting {
  learningRate: number;
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
  /** t, from 1. */
  step: number;
  /** What the gradient is multiplied by, where its norm is clipped. */
  gradientScale: number;
}

/** A weight with its gradient and moments before a step. */
export interface WeightState {
  weight: number;
  gradient: number;
  firstMoment: number;
  secondMoment: number;
}

/** A line of the derivation. */
export interface AdamWLine {
  symbol: string;
  title: string;
  formula: string;
  substituted: string;
  value: number;
}

/** The step, line by line; the last line is the new weight. */
export function adamwLines(before: WeightState, setting: AdamWSetting): AdamWLine[] {
  const { learningRate, beta1, beta2, eps, weightDecay, step, gradientScale } = setting;
  const g = before.gradient * gradientScale;
  const m = beta1 * before.firstMoment + (1 - beta1) * g;
  const v = beta2 * before.secondMoment + (1 - beta2) * g * g;
  const firstCorrection = 1 - beta1 ** step, secondCorrection = 1 - beta2 ** step;
  const mHat = m / firstCorrection, vHat = v / secondCorrection;
  const root = Math.sqrt(vHat), denominator = root + eps;
  const change = learningRate * mHat / denominator;
  const decayed = before.weight * (1 - learningRate * weightDecay);
  const line = (symbol: string, title: string, formula: string, substituted: string, value: number) => ({
    symbol,
    title,
    formula,
    substituted,
    value,
  });
  return [
    line("w", "weight before the step", "", shown(before.weight), before.weight),
    line(
      "g",
      "gradient of the loss",
      "∂L/∂w · clip scale",
      `${shown(before.gradient)} · ${shown(gradientScale)}`,
      g,
    ),
    line(
      "m",
      "mean of the gradient, decaying",
      "β₁·m + (1 − β₁)·g",
      `${shown(beta1)} · ${shown(before.firstMoment)} + ${shown(1 - beta1)} · ${shown(g)}`,
      m,
    ),
    line(
      "v",
      "mean of its square, decaying",
      "β₂·v + (1 − β₂)·g²",
      `${shown(beta2)} · ${shown(before.secondMoment)} + ${shown(1 - beta2)} · ${shown(g)}²`,
      v,
    ),
    line(
      "m̂",
      "bias-corrected mean: the decaying sum began at 0",
      "m / (1 − β₁ᵗ)",
      `${shown(m)} / ${shown(firstCorrection)}`,
      mHat,
    ),
    line("v̂", "bias-corrected square", "v / (1 − β₂ᵗ)", `${shown(v)} / ${shown(secondCorrection)}`, vHat),
    line(
      "√v̂ + ε",
      "size of the gradient, kept off 0",
      "√v̂ + ε",
      `${shown(root)} + ${shown(eps)}`,
      denominator,
    ),
    line(
      "Δw",
      "step against the gradient",
      "η · m̂ / (√v̂ + ε)",
      `${shown(learningRate)} · ${shown(mHat)} / ${shown(denominator)}`,
      change,
    ),
    line(
      "w·(1 − ηλ_w)",
      "decay, apart from the gradient",
      "w · (1 − η·λ_w)",
      `${shown(before.weight)} · (1 − ${shown(learningRate)} · ${shown(weightDecay)})`,
      decayed,
    ),
    line(
      "w′",
      "weight after the step",
      "w·(1 − ηλ_w) − Δw",
      `${shown(decayed)} − ${shown(change)}`,
      decayed - change,
    ),
  ];
}

function shown(value: number): string {
  const text = String(Number(value.toPrecision(6))).replaceAll("-", "−");
  return value < 0 ? `(${text})` : text;
}
