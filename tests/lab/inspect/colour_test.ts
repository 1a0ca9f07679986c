import { assert, assertAlmostEquals, assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { type Counted, histogramEdges, histogramReference } from "../../../kernels/histogram.ts";
import {
  aggregateOf,
  chooseScale,
  clippedShares,
  colourAt,
  nonFiniteColour,
  paint,
  position,
  valueAt,
} from "../../../lab/inspect/colour.ts";
import { quantiles, shareBelow, usualMagnitudes, usualQuantiles } from "../../../lab/inspect/quantiles.ts";
import type { Histogram, Overview } from "../../../lab/inspect/types.ts";
import { describeValue } from "../../../lab/inspect/value.ts";
import { normals } from "../../kernels/testing.ts";

function histogramOf(x: Float32Array<ArrayBuffer>): Histogram {
  const counted: Counted = histogramReference(x);
  const finite = x.filter(Number.isFinite).length;
  const mean = counted.sum / finite, rms = Math.sqrt(counted.squares / finite);
  return {
    ...counted,
    id: "x",
    edges: histogramEdges,
    count: x.length,
    finite,
    subnormals: 0,
    firstNonFinite: undefined,
    mean,
    rms,
    deviation: Math.sqrt(rms ** 2 - mean ** 2),
    quantiles: quantiles(counted, usualQuantiles, counted),
    magnitudes: quantiles(counted, usualMagnitudes, { magnitudes: true }),
    cost: { bytes: 0, milliseconds: 0 },
  };
}

const x = normals(20_000, 5, 0.03);
x[17] = 4;
x.fill(0, 100, 200);
const histogram = histogramOf(x);

Deno.test("the true quantiles lie between the bounds that are told, which are an eighth apart", () => {
  const sorted = Float32Array.from(x).sort(), magnitudes = x.map(Math.abs).sort();
  for (const [list, found] of [[sorted, histogram.quantiles], [magnitudes, histogram.magnitudes]] as const) {
    for (const { q, value, low, high } of found) {
      const truth = list[Math.ceil(q * x.length) - 1];
      assert(low <= truth && truth <= high, `${q}: ${truth} is not in [${low}, ${high}]`);
      assert(low <= value && value <= high);
      assert(high - low <= Math.min(Math.abs(low), Math.abs(high)) / 8 + 1e-12);
      assertAlmostEquals(value, truth, Math.abs(truth) * 0.02 + 1e-6);
    }
  }
  assertEquals(
    quantiles({ positive: new Uint32Array(2040), negative: new Uint32Array(2040), zeros: 0 }, [0.5]),
    [],
  );
  for (const value of [-0.05, 0, 0.001, 0.04, 5]) {
    const truth = x.filter((one) => one < value).length / x.length;
    assertAlmostEquals(shareBelow(histogram, value), truth, 0.003, `below ${value}`);
  }
});

Deno.test("a scale clips no more than it says, and says how much", () => {
  const outside = (extent: number) => x.filter((value) => Math.abs(value) > extent).length / x.length;
  const usual = chooseScale(histogram);
  assertEquals(usual.kind, "quantile");
  assert(outside(usual.extent) <= 0.005);
  const { below, above } = clippedShares(histogram, usual);
  assertAlmostEquals(below + above, outside(usual.extent), 0.0005);
  assertEquals(chooseScale(histogram, { kind: "minmax" }), { kind: "minmax", extent: 4 });
  assertEquals(clippedShares(histogram, chooseScale(histogram, { kind: "minmax" })), { below: 0, above: 0 });
  assertAlmostEquals(chooseScale(histogram, { kind: "deviations" }).extent, 3 * histogram.rms);
  assertEquals(chooseScale(histogram, { kind: "fixed", extent: 0.5 }).extent, 0.5);
  const soft = chooseScale(histogram, { kind: "arcsinh" });
  assertEquals(soft.extent, 4);
  assert(
    position(soft, 0.03) > 0.1 && position(soft, 0.03) > 10 * position({ kind: "minmax", extent: 4 }, 0.03),
  );
  assertThrows(() => chooseScale(histogram, { quantile: 0.97 }), RangeError, "no 0.97 quantile");
});

Deno.test("scales of nothing, of zeros and of strays alone are scales all the same", () => {
  for (const list of [[0, 0], [NaN, Infinity], [1e-45]]) {
    for (const kind of ["quantile", "deviations", "minmax", "arcsinh", "fixed"] as const) {
      const scale = chooseScale(histogramOf(Float32Array.from(list)), { kind });
      assert(scale.extent > 0 && Number.isFinite(position(scale, list[0] || 0)), `${kind} of ${list}`);
    }
  }
});

Deno.test("positions are odd about zero, monotonic, and undone by valueAt", () => {
  for (
    const scale of [{ kind: "minmax", extent: 2 }, { kind: "arcsinh", extent: 2, softness: 0.01 }] as const
  ) {
    let last = -Infinity;
    for (let v = -2; v <= 2; v += 0.125) {
      const t = position(scale, v);
      assert(t > last);
      last = t;
      assertAlmostEquals(t, -position(scale, -v));
      assertAlmostEquals(valueAt(scale, t), v, 1e-9);
    }
    assertEquals([position(scale, 9), position(scale, -9), position(scale, 0)], [1, -1, 0]);
  }
});

Deno.test("colours: blue above, red below, lightness tells how far, and strays stand out", () => {
  const luminance = ([r, g, b]: readonly number[]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
  for (const theme of ["light", "dark"] as const) {
    const [red, zero, blue] = [-1, 0, 1].map((t) => colourAt(t, theme));
    assert(blue[2] > blue[0] + 60, `${theme} blue is ${blue}`);
    assert(red[0] > red[2] + 60, `${theme} red is ${red}`);
    assert(Math.max(...zero) - Math.min(...zero) <= 3, `${theme} zero is ${zero}`);
    for (const sign of [-1, 1]) {
      for (let t = 0; t < 1; t += 0.125) {
        const [near, far] = [t, t + 0.125].map((at) => luminance(colourAt(sign * at, theme)));
        assert(theme === "light" ? far < near : far > near, `${theme} ${sign * t}: ${near}, ${far}`);
      }
    }
    for (let t = -1; t <= 1; t += 1 / 128) {
      const distance = colourAt(t, theme).reduce((sum, c, i) => sum + (c - nonFiniteColour[i]) ** 2, 0) **
        0.5;
      assert(distance > 60, `${theme} ${t} is ${distance} from the colour of strays`);
    }
  }
  const pixels = paint(Float32Array.of(0, 1, -1, 0), Uint32Array.of(0, 0, 0, 3), {
    kind: "fixed",
    extent: 1,
  });
  assertEquals(
    [...pixels],
    [0, 1, -1].flatMap((t) => [...colourAt(t), 255]).concat([...nonFiniteColour, 255]),
  );
});

Deno.test("aggregates of cells", () => {
  const overview: Overview = {
    id: "x",
    rect: { row0: 0, row1: 2, column0: 0, column1: 4 },
    width: 2,
    height: 1,
    rowStarts: Uint32Array.of(0, 2),
    columnStarts: Uint32Array.of(0, 1, 4),
    extreme: Float32Array.of(-3, 2),
    mean: Float32Array.of(-2, 0),
    rms: Float32Array.of(2.5, 1),
    nonFinite: Uint32Array.of(0, 1),
    zeros: Uint32Array.of(1, 3),
    cost: { bytes: 0, milliseconds: 0 },
  };
  assertEquals([...aggregateOf(overview, "absolute")], [3, 2]);
  assertEquals([...aggregateOf(overview, "deviation")], [1.5, 1]);
  assertEquals([...aggregateOf(overview, "zeros")], [0.5, 0.5]);
  assertEquals([...aggregateOf(overview, "nonFinite")], [0, 1]);
});

Deno.test("a value in all the ways it is written", () => {
  assertEquals(describeValue(Math.fround(-0.0312)), {
    value: Math.fround(-0.0312),
    text: "-0.0312",
    hex: "0xbcff9724",
    kind: "normal",
    ulp: 2 ** -29,
  });
  assertEquals(describeValue(1).ulp, 2 ** -23);
  assertEquals([describeValue(-0).text, describeValue(-0).kind, describeValue(-0).hex], [
    "-0",
    "zero",
    "0x80000000",
  ]);
  assertEquals([describeValue(2 ** -149).kind, describeValue(2 ** -149).ulp], ["subnormal", 2 ** -149]);
  assertEquals([describeValue(Infinity).kind, describeValue(NaN, 0x7f800001).hex], [
    "infinity",
    "0x7f800001",
  ]);
  for (const value of normals(500, 3)) assertEquals(Math.fround(Number(describeValue(value).text)), value);
});
