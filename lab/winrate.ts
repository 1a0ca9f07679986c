/**
 * What judgements add up to: win rates with intervals, win rates at equal length, differences by bootstrap.
 *
 * An outcome is a number from 0 to 1, one per prompt: 1 where ours was preferred, 0 where theirs was, 0.5 for a tie, and the mean of
 * the two where a prompt was judged in both orders. A tie thus counts as half a win; S1's judge knows none.
 */
import { random } from "./demo/random.ts";

/** A share between 0 and 1 with its 95 % interval. */
export interface Rate {
  rate: number;
  lower: number;
  upper: number;
}

/** A win rate over `count` prompts; an outcome above one half is a win, below it a loss, else a tie. */
export interface WinRate extends Rate {
  count: number;
  wins: number;
  ties: number;
  losses: number;
}

/** The 97.5 % point of the normal distribution, to make 95 % intervals. */
const z95 = 1.959963984540054;

/**
 * Wilson's score interval, 95 %, of `successes` out of `count` (Wilson 1927). `successes` may be fractional, with ties as halves;
 * the interval is then a little wide, as such outcomes vary less than coin tosses. Nothing counted: 0 to 1.
 */
export function wilsonInterval(successes: number, count: number): [lower: number, upper: number] {
  if (count === 0) return [0, 1];
  const share = successes / count;
  const spread = z95 * Math.sqrt(share * (1 - share) / count + z95 * z95 / (4 * count * count));
  const middle = share + z95 * z95 / (2 * count);
  const scale = 1 + z95 * z95 / count;
  return [Math.max(0, (middle - spread) / scale), Math.min(1, (middle + spread) / scale)];
}

/**
 * The mean outcome with Wilson's interval. The prompt is the unit: two orders of one prompt are one outcome, because they are not
 * independent.
 *
 * @throws RangeError for no outcomes, or one outside 0 … 1
 */
export function winRate(outcomes: readonly number[]): WinRate {
  checkOutcomes(outcomes);
  if (outcomes.length === 0) {
    throw new RangeError("There are no judgements to count; judge at least one pair.");
  }
  const count = outcomes.length;
  const sum = outcomes.reduce((total, outcome) => total + outcome, 0);
  const wins = outcomes.filter((outcome) => outcome > 0.5).length;
  const losses = outcomes.filter((outcome) => outcome < 0.5).length;
  const [lower, upper] = wilsonInterval(sum, count);
  return { rate: sum / count, lower, upper, count, wins, ties: count - wins - losses, losses };
}

/** ln(length of ours / length of theirs), in any one unit. Throws a RangeError where a length is not above 0. */
export function logLengthRatio(ours: number, theirs: number): number {
  if (!(ours > 0 && theirs > 0)) {
    throw new RangeError(`Lengths ${ours} and ${theirs} have no log ratio: count at least one token each.`);
  }
  return Math.log(ours / theirs);
}

/** One policy's outcomes and, prompt by prompt, their log length ratios. */
export interface LengthedOutcomes {
  name: string;
  outcomes: readonly number[];
  logLengthRatios: readonly number[];
}

/** Win rates at length ratio 1. */
export interface LengthControlled {
  /** Log odds of a win for one unit of log length ratio, one slope for all policies; 0 where all ratios are equal. */
  slope: number;
  slopeError: number;
  policies: (Rate & { name: string; raw: number })[];
}

/**
 * Length-controlled win rates (Stiennon et al. 2020, App. F): one logistic regression of the outcome on which policy it is and on the
 * log length ratio; a policy's rate is the prediction at equal lengths, its interval that of the log odds.
 *
 * @throws RangeError where a policy has no outcomes or its lists differ in length
 */
export function lengthControlledWinRates(policies: readonly LengthedOutcomes[]): LengthControlled {
  const rows: number[][] = [];
  const outcomes: number[] = [];
  policies.forEach((policy, p) => {
    if (policy.outcomes.length === 0 || policy.outcomes.length !== policy.logLengthRatios.length) {
      throw new RangeError(
        `Policy ${policy.name} has ${policy.outcomes.length} outcomes and ${policy.logLengthRatios.length} length ratios; ` +
          `give as many of the one as of the other, and at least one.`,
      );
    }
    policy.outcomes.forEach((outcome, i) => {
      rows.push([...policies.map((_, other) => other === p ? 1 : 0), policy.logLengthRatios[i]]);
      outcomes.push(outcome);
    });
  });
  const fit = logisticRegression(rows, outcomes);
  const last = policies.length;
  return {
    slope: fit.coefficients[last],
    slopeError: Math.sqrt(fit.covariance[last][last]),
    policies: policies.map((policy, p) => {
      const logOdds = fit.coefficients[p];
      const error = z95 * Math.sqrt(fit.covariance[p][p]);
      return {
        name: policy.name,
        rate: sigmoid(logOdds),
        lower: sigmoid(logOdds - error),
        upper: sigmoid(logOdds + error),
        raw: winRate(policy.outcomes).rate,
      };
    }),
  };
}

/** A logistic regression. `covariance` is the inverse Hessian of the penalised loss at the solution. */
export interface LogisticFit {
  coefficients: number[];
  covariance: number[][];
  /** Newton steps taken. */
  iterations: number;
}

/**
 * Fits P(outcome = 1) = σ(row · coefficients) by Newton's method with halved steps where the loss would rise. No intercept is added:
 * give a column of ones.
 *
 * @param rows features, one row an observation
 * @param outcomes 0 to 1, fractions allowed
 * @param ridge weight of ½ ridge |coefficients|² in the summed loss; the default moves an ordinary estimate by less than anyone prints
 * and keeps it finite where the features separate wins from losses. With 0, separable data are an error.
 * @throws RangeError where the data are not numbers of one shape, or no finite solution exists
 */
export function logisticRegression(
  rows: readonly (readonly number[])[],
  outcomes: readonly number[],
  ridge = 1e-3,
): LogisticFit {
  checkOutcomes(outcomes);
  const width = rows[0]?.length ?? 0;
  if (width === 0 || rows.length !== outcomes.length || rows.some((row) => row.length !== width)) {
    throw new RangeError("A regression needs one outcome for each row, and rows of one length.");
  }
  if (!rows.every((row) => row.every(Number.isFinite))) {
    throw new RangeError("A regression needs finite features; look for lengths of 0 or missing values.");
  }

  const dot = (row: readonly number[], b: number[]) => row.reduce((sum, x, i) => sum + x * b[i], 0);
  const loss = (b: number[]) => {
    let total = 0.5 * ridge * b.reduce((sum, x) => sum + x * x, 0);
    rows.forEach((row, i) => {
      const s = dot(row, b);
      // ln(1 + eˢ) − y s, without overflow.
      total += Math.max(s, 0) + Math.log1p(Math.exp(-Math.abs(s))) - outcomes[i] * s;
    });
    return total;
  };
  const derivatives = (b: number[]) => {
    const gradient = b.map((x) => ridge * x);
    const hessian = b.map((_, i) => b.map((_, j) => i === j ? ridge : 0));
    rows.forEach((row, n) => {
      const p = sigmoid(dot(row, b));
      for (let i = 0; i < width; i++) {
        gradient[i] += (p - outcomes[n]) * row[i];
        for (let j = 0; j < width; j++) hessian[i][j] += p * (1 - p) * row[i] * row[j];
      }
    });
    return { gradient, hessian };
  };

  let b = new Array<number>(width).fill(0);
  let before = loss(b);
  for (let iterations = 1; iterations <= 200; iterations++) {
    const { gradient, hessian } = derivatives(b);
    const inverse = invert(hessian);
    const step = inverse?.map((row) => dot(row, gradient));
    if (!step?.every(Number.isFinite)) break;
    let share = 1;
    let next = b;
    let after = before;
    do {
      next = b.map((x, i) => x - share * step[i]);
      after = loss(next);
      share /= 2;
    } while (!(after <= before + 1e-14 * before) && share > 1e-10);
    const moved = Math.max(...next.map((x, i) => Math.abs(x - b[i]) / (1 + Math.abs(x))));
    b = next;
    before = after;
    if (moved < 1e-12) {
      const covariance = invert(derivatives(b).hessian);
      // A covariance of this size means that the likelihood is flat: without a ridge, the data are separable.
      if (!covariance || (ridge === 0 && covariance.some((row, i) => !(row[i] < 1e6)))) break;
      return { coefficients: b, covariance, iterations };
    }
  }
  throw new RangeError(
    "The regression has no finite solution: a feature separates wins from losses or repeats another; use a ridge above 0.",
  );
}

/** The win rate of the prompts whose log length ratio lies from `from` to `to`. */
export interface LengthBin {
  from: number;
  to: number;
  /** Null where the bin is empty. */
  winRate: WinRate | null;
}

/**
 * Win rate by length (S1 `rlhf_log_length.py`): bins of equal width between the smallest and the largest log length ratio, each
 * without its upper end except the last.
 *
 * @param edges bin boundaries, at least 2: one more than bins
 */
export function binnedWinRates(
  outcomes: readonly number[],
  logLengthRatios: readonly number[],
  edges = 10,
): LengthBin[] {
  checkOutcomes(outcomes);
  if (
    outcomes.length === 0 || outcomes.length !== logLengthRatios.length || !Number.isInteger(edges) ||
    edges < 2
  ) {
    throw new RangeError(
      "Binning needs as many length ratios as outcomes, at least one, and two edges or more.",
    );
  }
  const smallest = logLengthRatios.reduce((a, b) => Math.min(a, b));
  const largest = logLengthRatios.reduce((a, b) => Math.max(a, b));
  if (!Number.isFinite(smallest) || !Number.isFinite(largest)) {
    throw new RangeError("Binning needs finite length ratios; look for lengths of 0.");
  }
  const count = edges - 1;
  const width = (largest - smallest) / count;
  const bins: number[][] = Array.from({ length: count }, () => []);
  outcomes.forEach((outcome, i) => {
    const bin = width === 0 ? 0 : Math.floor((logLengthRatios[i] - smallest) / width);
    bins[Math.min(bin, count - 1)].push(outcome);
  });
  return bins.map((inside, i) => ({
    from: smallest + i * width,
    to: i === count - 1 ? largest : smallest + (i + 1) * width,
    winRate: inside.length === 0 ? null : winRate(inside),
  }));
}

/** KL divergence, in nats, of the best of `n` samples from the policy they are drawn from: ln n − (n − 1) / n (P1 App. G.3). */
export function bestOfNKl(n: number): number {
  if (!Number.isInteger(n) || n < 1) {
    throw new RangeError(`Best of ${n} is not defined: n is a whole number from 1.`);
  }
  return Math.log(n) - (n - 1) / n;
}

/** A mean difference with its 95 % interval. */
export interface Difference {
  difference: number;
  lower: number;
  upper: number;
  /** Share of resamples whose mean difference is above 0. */
  positive: number;
}

/**
 * Mean of a − b over pairs with a percentile bootstrap interval, 95 %: prompts are drawn again with replacement, pairs kept
 * together. Same seed, same interval.
 */
export function pairedBootstrap(
  a: readonly number[],
  b: readonly number[],
  { resamples = 10_000, seed = 1 }: { resamples?: number; seed?: number } = {},
): Difference {
  if (a.length === 0 || a.length !== b.length) {
    throw new RangeError(`A paired bootstrap needs pairs, not ${a.length} against ${b.length} numbers.`);
  }
  if (!Number.isInteger(resamples) || resamples < 1) {
    throw new RangeError(`${resamples} resamples are none: ask for at least 1.`);
  }
  const differences = Float64Array.from(a, (x, i) => x - b[i]);
  if (!differences.every(Number.isFinite)) {
    throw new RangeError("A paired bootstrap needs finite numbers; look for missing scores.");
  }
  const n = differences.length;
  const rng = random(seed);
  const means = new Float64Array(resamples);
  let positive = 0;
  for (let r = 0; r < resamples; r++) {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += differences[rng.below(n)];
    means[r] = sum / n;
    if (sum > 0) positive++;
  }
  means.sort();
  return {
    difference: differences.reduce((sum, x) => sum + x, 0) / n,
    lower: quantile(means, 0.025),
    upper: quantile(means, 0.975),
    positive: positive / resamples,
  };
}

/** The quantile of sorted numbers, linear between neighbours. */
function quantile(sorted: Float64Array, share: number): number {
  const at = share * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
}

function sigmoid(s: number): number {
  return s >= 0 ? 1 / (1 + Math.exp(-s)) : Math.exp(s) / (1 + Math.exp(s));
}

/** The inverse by Gauss–Jordan elimination with row exchange; null where the matrix is singular to working precision. */
function invert(matrix: number[][]): number[][] | null {
  const n = matrix.length;
  const work = matrix.map((row, i) => [...row, ...matrix.map((_, j) => i === j ? 1 : 0)]);
  const scale = Math.max(...matrix.flat().map(Math.abs));
  for (let column = 0; column < n; column++) {
    let pivot = column;
    for (let i = column + 1; i < n; i++) {
      if (Math.abs(work[i][column]) > Math.abs(work[pivot][column])) pivot = i;
    }
    if (!(Math.abs(work[pivot][column]) > 1e-15 * scale)) return null;
    [work[column], work[pivot]] = [work[pivot], work[column]];
    const divisor = work[column][column];
    work[column] = work[column].map((x) => x / divisor);
    for (let i = 0; i < n; i++) {
      if (i === column) continue;
      const factor = work[i][column];
      work[i] = work[i].map((x, j) => x - factor * work[column][j]);
    }
  }
  return work.map((row) => row.slice(n));
}

function checkOutcomes(outcomes: readonly number[]): void {
  const bad = outcomes.findIndex((outcome) => !(outcome >= 0 && outcome <= 1));
  if (bad >= 0) throw new RangeError(`Outcome ${bad} is ${outcomes[bad]}; outcomes lie between 0 and 1.`);
}
