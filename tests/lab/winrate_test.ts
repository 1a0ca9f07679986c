import { assert, assertAlmostEquals, assertEquals, assertThrows } from "deno-std/assert/mod.js";
import {
  bestOfNKl,
  binnedWinRates,
  lengthControlledWinRates,
  logisticRegression,
  logLengthRatio,
  pairedBootstrap,
  wilsonInterval,
  winRate,
} from "../../lab/winrate.ts";
import golden from "../oracles/winrate_golden.json" with { type: "json" };

function close(actual: readonly number[], expected: readonly number[], tolerance: number) {
  assertEquals(actual.length, expected.length);
  actual.forEach((value, i) => assertAlmostEquals(value, expected[i], tolerance));
}

Deno.test("Wilson's interval is statsmodels'", () => {
  for (const [successes, count, lower, upper] of golden.wilson) {
    close(wilsonInterval(successes, count), [lower, upper], 1e-12);
  }
  assertEquals(wilsonInterval(0, 0), [0, 1]);
  const [lower, upper] = wilsonInterval(0.5 * 6447, 6447);
  assertAlmostEquals((upper - lower) / 2, 0.0122, 1e-4);
});

Deno.test("ties count as half a win, and mixed verdicts as ties", () => {
  const rate = winRate([1, 1, 0.5, 0.75, 0.25, 0]);
  assertEquals([rate.rate, rate.count, rate.wins, rate.ties, rate.losses], [3.5 / 6, 6, 3, 1, 2]);
  assertEquals([rate.lower, rate.upper], wilsonInterval(3.5, 6));
  assertThrows(() => winRate([]), RangeError, "no judgements");
  assertThrows(() => winRate([1, NaN]), RangeError, "Outcome 1 is NaN");
});

const { policy, ratios, outcomes, coefficients, errors, bands, ridge, ridged } = golden.logistic;
const rows = ratios.map((ratio, i) => [policy[i] === 0 ? 1 : 0, policy[i], ratio]);

Deno.test("logistic regression is statsmodels', with fractional outcomes, and scipy's with a ridge", () => {
  const plain = logisticRegression(rows, outcomes, 0);
  close(plain.coefficients, coefficients, 1e-9);
  close(plain.covariance.map((row, i) => Math.sqrt(row[i])), errors, 1e-9);
  close(logisticRegression(rows, outcomes, ridge).coefficients, ridged, 1e-9);
});

Deno.test("length-controlled rates are the predictions at equal lengths, with statsmodels' intervals", () => {
  const policies = [0, 1].map((p) => ({
    name: `policy ${p}`,
    outcomes: outcomes.filter((_, i) => policy[i] === p),
    logLengthRatios: ratios.filter((_, i) => policy[i] === p),
  }));
  const controlled = lengthControlledWinRates(policies);
  assertAlmostEquals(controlled.slope, coefficients[2], 1e-4);
  assertAlmostEquals(controlled.slopeError, errors[2], 1e-4);
  controlled.policies.forEach(({ rate, lower, upper, raw }, p) => {
    assertAlmostEquals(rate, 1 / (1 + Math.exp(-coefficients[p])), 1e-4);
    close([lower, upper], bands[p], 1e-4);
    assertEquals(raw, winRate(policies[p].outcomes).rate);
  });
  // The first policy's summaries are longer and win by it: control costs it points.
  assert(controlled.policies[0].rate < controlled.policies[0].raw);
  assertThrows(
    () => lengthControlledWinRates([{ name: "x", outcomes: [1], logLengthRatios: [] }]),
    RangeError,
    "Policy x has 1 outcomes and 0 length ratios",
  );
});

Deno.test("separable data have a finite answer with the default ridge and an error without", () => {
  const separable = [[1, -2], [1, -1], [1, 1], [1, 2]];
  const fit = logisticRegression(separable, [0, 0, 1, 1]);
  assert(fit.coefficients[1] > 3 && fit.coefficients[1] < 20 && Math.abs(fit.coefficients[0]) < 1e-6);
  assertThrows(() => logisticRegression(separable, [0, 0, 1, 1], 0), RangeError, "no finite solution");
  assertThrows(() => logisticRegression([[1, 1], [1, 1]], [0, 1], 0), RangeError, "no finite solution");
  assertThrows(() => logisticRegression([[1, NaN]], [0]), RangeError, "finite features");
  const allWon = lengthControlledWinRates([{ name: "x", outcomes: [1, 1, 1], logLengthRatios: [0, 0, 0] }]);
  assert(allWon.policies[0].rate > 0.99 && allWon.policies[0].lower < 0.9 && allWon.slope === 0);
  const wide = logisticRegression([[1, 1000], [1, -1000], [1, 900], [1, 10]], [1, 0, 1, 0]);
  assert(wide.coefficients.every(Number.isFinite));
});

Deno.test("bins by length are numpy's", () => {
  const bins = binnedWinRates(outcomes, ratios);
  close(bins.map((bin) => bin.from), golden.bins.edges.slice(0, -1), 1e-12);
  assertAlmostEquals(bins[8].to, golden.bins.edges[9], 1e-12);
  assertEquals(bins.map((bin) => bin.winRate?.count ?? 0), golden.bins.count);
  bins.forEach((bin, i) => {
    const expected = golden.bins.rate[i];
    if (expected === null) assertEquals(bin.winRate, null);
    else assertAlmostEquals(bin.winRate!.rate, expected, 1e-12);
  });
  assertEquals(binnedWinRates([1, 0], [0.5, 0.5]).map((bin) => bin.winRate?.count ?? 0), [
    2,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
  ]);
  assertThrows(() => binnedWinRates([1], [Infinity]), RangeError, "finite");
});

Deno.test("best of n: the known values of ln n − (n − 1)/n", () => {
  close([1, 2, 8, 64].map(bestOfNKl), [0, 0.1931471805599453, 1.2044415416798357, 3.1745080833596717], 1e-13);
  assertThrows(() => bestOfNKl(0), RangeError);
});

Deno.test("the paired bootstrap finds scipy's interval and repeats itself for one seed", () => {
  const { a, b, difference, interval, standard_error } = golden.bootstrap;
  const ours = pairedBootstrap(a, b, { resamples: 20_000, seed: 3 });
  assertAlmostEquals(ours.difference, difference, 1e-12);
  // Two Monte Carlo quantiles: their own error is about 0.02 of a standard error.
  close([ours.lower, ours.upper], interval, 0.08 * standard_error);
  assertEquals(ours, pairedBootstrap(a, b, { resamples: 20_000, seed: 3 }));
  assert(
    pairedBootstrap(a, b, { resamples: 500, seed: 4 }).lower !==
      pairedBootstrap(a, b, { resamples: 500 }).lower,
  );
  assertEquals(pairedBootstrap([2, 3], [1, 2]), { difference: 1, lower: 1, upper: 1, positive: 1 });
  assertThrows(() => pairedBootstrap([1], []), RangeError, "needs pairs");
  assertThrows(() => pairedBootstrap([NaN], [1]), RangeError, "finite");
});

Deno.test("a log length ratio needs two lengths", () => {
  assertEquals(logLengthRatio(20, 10), Math.LN2);
  assertThrows(() => logLengthRatio(0, 10), RangeError, "Lengths 0 and 10");
});
