import { assert, assertEquals, assertMatch, assertRejects } from "deno-std/assert/mod.js";
import {
  compareValues,
  digestOf,
  gapInWords,
  recordGreedy,
  recordValue,
  stackDigest,
  thinMargin,
} from "../../../lab/notebook/digests.ts";
import { compareSketches, samplePositions, sketchOf, ulpsBetween } from "../../../lab/notebook/sketch.ts";
import { normals } from "../../kernels/testing.ts";

const stack = await stackDigest({ adapter: "a", implementation: "i 1", kernels: "k" });
const otherStack = await stackDigest({ adapter: "b", implementation: "i 1", kernels: "k" });
const exactly = { absolute: 0, relative: 0 };

Deno.test("positions are in order, one in each stretch, and hang on the seed", () => {
  for (const size of [0, 1, 63, 64, 65, 1000, 151_936 * 896, 2 ** 40]) {
    const positions = samplePositions(size, 7);
    assertEquals(positions.length, Math.min(64, size));
    positions.forEach((at, i) => {
      const stretch = size / positions.length;
      assert(at >= Math.floor(i * stretch) && at < Math.floor((i + 1) * stretch), `${at} of ${size}`);
    });
    if (size > 64 * 10) assert(String(samplePositions(size, 8)) !== String(positions));
  }
});

Deno.test("a sketch's figures", () => {
  const sketch = sketchOf(Float32Array.of(3, -4, NaN, 0, Infinity, -0), [2, 3], 1);
  assertEquals(sketch, {
    shape: [2, 3],
    nonFinite: 2,
    mean: -0.25,
    rms: 2.5,
    absMax: 4,
    seed: 1,
    samples: [3, -4, "NaN", 0, "Infinity", 0],
  });
  assertEquals(JSON.parse(JSON.stringify(sketch)), sketch);
  const wide = sketchOf(Float64Array.of(1e200, 1e200, -1e200), [3], 1);
  assertEquals([wide.rms / 1e200, wide.mean / 1e200].map((x) => x.toFixed(6)), ["1.000000", "0.333333"]);
  assertEquals(sketchOf([], [0], 1).rms, 0);
});

Deno.test("ulps count the floats between two floats", () => {
  const next = (x: number) =>
    new Float32Array(new Int32Array([new Int32Array(Float32Array.of(x).buffer)[0] + 1]).buffer)[0];
  assertEquals(ulpsBetween(1, 1), 0);
  assertEquals(ulpsBetween(1, next(1)), 1);
  assertEquals(ulpsBetween(-1, -next(1)), 1);
  assertEquals(ulpsBetween(0, -0), 0);
  assertEquals(ulpsBetween(-(2 ** -149), 2 ** -149), 2);
  assertEquals(ulpsBetween(1, 2), 2 ** 23);
  assertEquals(ulpsBetween(NaN, 1), NaN);
});

Deno.test("sketches within and beyond a tolerance: where first, and by how much", () => {
  const data = normals(20_000, 3), shape = [100, 200];
  const stored = sketchOf(data, shape, 5);
  const near = sketchOf(data.map((x, i) => Math.fround(x + (i % 2 ? 1e-6 : -1e-6))), shape, 5);
  const { within, gap } = compareSketches(stored, near, { absolute: 0, relative: 1e-5 });
  assert(within && gap && gap.absolute < 2e-6 && gap.ulps! > 0);
  const beyond = compareSketches(stored, near, { absolute: 1e-8, relative: 0 });
  const [first] = samplePositions(20_000, 5);
  assertEquals(beyond.within, false);
  assertEquals(beyond.gap!.where, `[${Math.floor(first / 200)}, ${first % 200}]`);
  assertEquals([beyond.gap!.index, beyond.gap!.stored], [first, data[first]]);

  // One wrong element between the samples shows in the whole, if it is large enough.
  const hidden = data.slice();
  const free = Array.from({ length: 20_000 }, (_, i) => i).find((i) =>
    !samplePositions(20_000, 5).includes(i)
  )!;
  hidden[free] = 1000;
  assertEquals(
    compareSketches(stored, sketchOf(hidden, shape, 5), { absolute: 0, relative: 1e-3 }).gap!.where,
    "mean",
  );
  const nan = data.slice();
  nan[free] = NaN;
  const broken = compareSketches(stored, sketchOf(nan, shape, 5), { absolute: 1, relative: 1 });
  assertEquals(broken, { within: false, why: "0 elements were NaN or infinite and 1 are" });
  assertEquals(
    compareSketches(stored, sketchOf(data, [200, 100], 5), exactly).why,
    "its shape was [100, 200] and is [200, 100]",
  );
  assertEquals(compareSketches(stored, sketchOf(data, shape, 5), exactly), { within: true });
});

Deno.test("digests tell type, shape, sign of zero and order apart", async () => {
  const values = [
    Float32Array.of(0, 1),
    Float32Array.of(-0, 1),
    Int32Array.of(0, 1),
    { shape: [1, 2], data: Float32Array.of(0, 1) },
    { shape: [2], data: Float32Array.of(0, 2) },
    [0, 1],
    { a: 1 },
    "text",
  ];
  const digests = await Promise.all(values.map(digestOf));
  assertEquals(new Set(digests).size, values.length);
  assertEquals(await digestOf({ shape: [2], data: Float32Array.of(0, 1) }), digests[0]);
  assertEquals(await digestOf(new Float32Array([9, 0, 1, 9]).subarray(1, 3)), digests[0]);
  await assertRejects(() => digestOf(() => 1), TypeError);
});

Deno.test("verdicts of each tier", async () => {
  const data = normals(1000, 1), shape = [1000];
  const off = (by: number) => ({ shape, data: data.map((x) => Math.fround(x + by)) });
  const record = (tier: "A" | "B" | "C", by: number, on = stack) =>
    recordValue("x", tier, off(by), { stack: on, seed: 3, tolerance: { absolute: 0, relative: 1e-4 } });

  assertEquals(compareValues(await record("A", 0), await record("A", 0)), {
    verdict: "verified",
    exact: true,
  });
  assertEquals(compareValues(await record("A", 0), await record("A", 1e-5)).verdict, "differs");

  assertEquals(compareValues(await record("B", 0), await record("B", 0)), {
    verdict: "verified",
    exact: true,
  });
  const onSame = compareValues(await record("B", 0), await record("B", 1e-5));
  assert(onSame.verdict === "differs" && onSame.gap!.index === samplePositions(1000, 3)[0]);
  const onOther = compareValues(await record("B", 0), await record("B", 1e-5, otherStack));
  assert(onOther.verdict === "verified" && !onOther.exact);
  const ids = (on: string, ids: number[]) => recordValue("ids", "B", ids, { stack: on });
  assertEquals(compareValues(await ids(stack, [1]), await ids(otherStack, [2])).verdict, "unproven");

  const within = compareValues(await record("C", 0), await record("C", 1e-5));
  assert(within.verdict === "verified" && !within.exact && within.gap!.absolute < 2e-5);
  const beyond = compareValues(await record("C", 0), await record("C", 0.01));
  const words = beyond.verdict === "differs" ? gapInWords(beyond.gap!) : "";
  assert(/^\[\d+\] was -?[\d.]+ and is -?[\d.]+: 0\.01 apart, [\d.e-]+ of it, \d+ ulp$/.test(words), words);
  assertEquals(compareValues(await record("C", 0), await record("A", 0)).verdict, "differs");

  const loss = (x: number) => recordValue("loss", "C", x);
  assertEquals(compareValues(await loss(2.5), await loss(2.5 + 1e-6)).verdict, "verified");
  assertEquals(compareValues(await loss(2.5), await loss(2.6)).verdict, "differs");

  await assertRejects(() => recordValue("x", "B", 1), TypeError, "no stack");
  await assertRejects(() => recordValue("x", "C", "text"), TypeError, "no tensor or number");
});

Deno.test("greedy ids keep their thinnest margin, and a thin one is warned of", async () => {
  const tolerance = { absolute: 1e-3, relative: 0 };
  const clear = await recordGreedy("ids", [1, 2, 3], [0.5, 0.1, 4], tolerance);
  assertEquals([clear.margin, thinMargin(clear)], [0.1, undefined]);
  const thin = await recordGreedy("ids", [1, 2, 3], [0.5, 0.0015, 4], tolerance);
  assert(thinMargin(thin)!.includes("only 0.0015 ahead"), thinMargin(thin));
  assert(!("margin" in await recordGreedy("ids", [], [])));
  await assertRejects(() => recordGreedy("ids", [1, 2], [1]), RangeError, "2 ids and 1 margins");
});

Deno.test("ids that part from greedy ones do so at a token, and how near a choice that was is told", async () => {
  const stored = await recordGreedy("summary", [11, 12, 13, 14], [0.5, 0.2, 0.0001234, 3]);
  assertEquals(stored.greedy, { ids: "11 12 13 14", margins: "0.5 0.2 0.00012 3" });
  assertEquals(JSON.parse(JSON.stringify(stored)), stored);
  const why = async (ids: number[], of = stored) => {
    const verdict = compareValues(of, await recordGreedy("summary", ids, ids.map(() => 1)));
    return verdict.verdict === "differs" ? verdict.why : verdict.verdict;
  };
  assertEquals(await why([11, 12, 13, 14]), "verified");
  assertEquals(
    await why([11, 12, 99, 14, 15]),
    "at token 3, where the two likeliest were 0.00012 apart, as good as a tie, which another adapter may break the other way",
  );
  assertEquals(
    await why([11, 99, 13, 14]),
    "at token 2, where the two likeliest were 0.2 apart, which is more than the rounding of one pass",
  );
  assertEquals(await why([11, 12]), "it ends behind token 2, and 4 were stored");
  assertEquals(await why([11, 12, 13, 14, 15]), "it goes on behind token 4, the last that was stored");

  // Notebooks from before kept a digest, or that and the smallest margin.
  const { greedy: _, ...thin } = stored, { margin: __, tolerance: ___, ...bare } = thin;
  assertEquals(await why([11, 12, 13, 14], bare), "verified");
  assertEquals(await why([11, 12, 99, 14], bare), "its digest is another");
  assertMatch(
    await why([11, 12, 99, 14], thin),
    /^its digest is another; summary: the best id was only 0.00012 ahead/,
  );
  const older = await recordValue("summary", "A", [11, 12, 99]);
  assertMatch((compareValues(stored, older) as { why: string }).why, /^its digest is another/);

  // A text of any length is compared; of a very long one the smallest margin is kept alone.
  const long = Array.from({ length: 5000 }, (_, id) => id);
  const much = await recordGreedy("text", long, long.map((id) => 1 + id));
  assertEquals([much.margin, much.greedy], [1, undefined]);
});
