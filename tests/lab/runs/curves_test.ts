/** Columns of metrics, and curves thinned, smoothed and paired: against plain loops. */
import { assert, assertAlmostEquals, assertEquals } from "deno-std/assert/mod.js";
import { random } from "../../../lab/demo/random.ts";
import { columns, lowerBound, nearestPlace } from "../../../lab/runs/columns.ts";
import { extent, paired, smoothed, thinned } from "../../../lab/runs/curves.ts";
import { groupMetrics, roleOf } from "../../../lab/runs/groups.ts";
import { metrics } from "../../../lab/metrics.ts";

Deno.test("lines become columns; the later of two values counts, whatever their order", () => {
  const store = columns();
  store.add([
    { stage: "sft", step: 1, loss: 3, lr: 1e-3 },
    { stage: "sft", step: 2, loss: null },
    { stage: "sft", step: 2, "eval/loss": 2.5, "precis/alarm": "too high." },
    { stage: "ppo", step: 5, loss: 9 },
    { stage: "sft", step: 4, loss: 1 },
    { stage: "sft", step: 3, loss: 7 },
    { stage: "sft", step: 3, loss: 2 },
    { stage: "nothing", step: 1, loss: 1 },
    { stage: "sft", step: -1 },
    null,
  ]);
  assertEquals(store.stages(), ["sft", "ppo"]);
  assertEquals(store.names("sft"), ["loss", "lr", "eval/loss"]);
  const { x, y } = store.curve("sft", "loss")!;
  assertEquals([[...x], [...y]], [[1, 2, 3, 4], [3, NaN, 2, 1]]);
  assertEquals(store.curve("reward", "loss"), undefined);
  assertEquals([store.lastStep("sft"), store.lastStep("reward"), store.unread], [4, -1, 3]);
  assertEquals(store.remarks, [{ stage: "sft", step: 2, name: "precis/alarm", text: "too high." }]);
  const before = store.version;
  store.clear();
  assert(store.version > before && store.stages().length === 0);
});

Deno.test("columns grow in any order like a sorted list", () => {
  const draw = random(3).uniform;
  const store = columns(), plain = new Map<number, number>();
  for (let i = 0; i < 3000; i++) {
    const step = Math.floor(draw() * 1500), value = draw();
    store.add([{ stage: "ppo", step, a: value }]);
    plain.set(step, value);
  }
  const sorted = [...plain].sort(([a], [b]) => a - b);
  const { x, y } = store.curve("ppo", "a")!;
  assertEquals([...x], sorted.map(([step]) => step));
  assertEquals([...y], sorted.map(([, value]) => value));
});

Deno.test("a thinned curve has the extremes, the ends and the gaps of every part, by brute force", () => {
  const draw = random(11).uniform;
  for (const [count, buckets, holes] of [[5000, 100, 0], [1953, 64, 0.01], [900, 7, 0.2], [3000, 50, 0.9]]) {
    const x = Float64Array.from({ length: count }, (_, i) => 2 * i + 1);
    const y = Float64Array.from({ length: count }, () => draw() < holes ? NaN : draw() ** 4);
    const [from, to] = [0.1 * count, 1.7 * count];
    const thin = thinned({ x, y }, from, to, buckets);
    assert(thin.x.length <= 5 * (buckets + 2) && thin.x.length > buckets, `${thin.x.length}`);
    assert(thin.x.every((step, i) => i === 0 || step > thin.x[i - 1]), "steps rise");
    for (let i = 0; i < thin.x.length; i++) assertEquals(thin.y[i], y[(thin.x[i] - 1) / 2]);
    for (let b = 0; b < buckets; b++) {
      const part = (step: number) => Math.floor((step - from) / (to - from) * buckets) === b;
      const all = [...y].filter((_, i) => part(x[i])), kept = [...thin.y].filter((_, i) => part(thin.x[i]));
      const finite = (some: number[]) => some.filter(Number.isFinite);
      assertEquals(Math.min(...finite(kept)), Math.min(...finite(all)));
      assertEquals(Math.max(...finite(kept)), Math.max(...finite(all)));
      assertEquals(kept.some(Number.isNaN), all.some(Number.isNaN));
      assertEquals([kept[0], kept.at(-1)], [all[0], all.at(-1)]);
    }
    // One neighbour on either side, so that lines leave the picture.
    assertEquals(thin.x[0], x[lowerBound(x, from) - 1]);
    assertEquals(thin.x.at(-1), x[lowerBound(x, to)]);
  }
});

Deno.test("few points stay as they are: raw points are there once the range is short enough", () => {
  const x = Float64Array.from({ length: 1953 }, (_, i) => i + 1), y = x.map((v) => Math.sin(v));
  assertEquals([...thinned({ x, y }, 500, 560, 100).x], Array.from({ length: 63 }, (_, i) => 499 + i));
  assertEquals(thinned({ x: x.subarray(0, 0), y: y.subarray(0, 0) }, 0, 1, 10).x.length, 0);
});

Deno.test("smoothing is a weighted mean of what was before, and leaves gaps", () => {
  const y = Float64Array.of(4, 2, NaN, 8, 1), x = Float64Array.of(1, 2, 3, 4, 5);
  const finite = [4, 2, 8, 1];
  for (const weight of [0, 0.5, 0.9]) {
    const smooth = smoothed({ x, y }, weight).y;
    [0, 1, 3, 4].forEach((place, n) => {
      let sum = 0, total = 0;
      for (let k = 0; k <= n; k++) [sum, total] = [sum + weight ** k * finite[n - k], total + weight ** k];
      assertAlmostEquals(smooth[place], sum / total, 1e-12);
    });
    assert(Number.isNaN(smooth[2]));
  }
});

Deno.test("pairs, extents and nearest places", () => {
  const curve = (x: number[], y: number[]) => ({ x: Float64Array.from(x), y: Float64Array.from(y) });
  assertEquals(paired(curve([1, 2, 4, 5], [1, 2, NaN, 4]), curve([2, 3, 4, 5], [9, 8, 7, 6])), [
    { step: 2, a: 2, b: 9 },
    { step: 5, a: 4, b: 6 },
  ]);
  assertEquals(extent(curve([1, 2, 3, 4], [5, NaN, -1, 9]), 1, 3), [-1, 5]);
  assertEquals(extent(curve([1], [NaN])), undefined);
  assertEquals([-9, 1, 2.4, 2.6, 99].map((at) => nearestPlace([1, 2, 3], at)), [0, 0, 1, 2, 2]);
  assertEquals(nearestPlace([], 1), -1);
});

Deno.test("every metric of the table stands in one group, those looked at first at the front", () => {
  const names = [...metrics.keys()];
  const groups = groupMetrics(names);
  assertEquals(groups.flatMap((group) => group.names).sort(), [...names].sort());
  assertEquals(groups.map(({ title }) => title), [
    "objective",
    "loss",
    "policy",
    "val",
    "eval",
    "health",
    "precis",
  ]);
  assertEquals(groups[0].names.slice(0, 2), ["objective/scores", "objective/kl"]);
  assertEquals(groupMetrics([]), []);
  assertEquals(
    ["loss/value_avg", "val/ratio", "val/mse", "objective/kl", "objective/scores", "lr"].map((n) =>
      roleOf("ppo", n)
    ),
    ["value", "policy", "value", "policy", "reward", "reference"],
  );
});
