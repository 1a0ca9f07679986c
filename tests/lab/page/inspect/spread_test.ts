import { assertAlmostEquals, assertEquals } from "deno-std/assert/mod.js";
import { evenBins } from "../../../../lab/page/inspect/spread.ts";

const counts = {
  edges: Float64Array.of(0, 1, 2, 4),
  positive: Uint32Array.of(4, 2, 8),
  negative: Uint32Array.of(6, 0, 0),
  zeros: 3,
};

Deno.test("elements of uneven bins are spread evenly within them, none lost", () => {
  const bins = evenBins(counts, -1, 4, 10);
  assertEquals([...bins], [3, 3, 2 + 3, 2, 1, 1, 2, 2, 2, 2]);
  assertAlmostEquals(bins.reduce((sum, count) => sum + count), 23);
});

Deno.test("what lies outside is left out", () => {
  assertEquals([...evenBins(counts, 2, 3, 2)], [2, 2]);
  assertEquals([...evenBins(counts, 5, 6, 2)], [0, 0]);
});
