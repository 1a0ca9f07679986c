import { assertEquals } from "deno-std/assert/mod.js";
import { placesIn, rowMeasures, rowOrder } from "../../../lab/inspect/order.ts";
import type { Marginals } from "../../../lab/inspect/types.ts";

Deno.test("rows fall or rise by their measure; ties stay as they lie, and rows without a measure come last", () => {
  const measures = [3, NaN, -1, 3, 7, 0, -0.5];
  assertEquals([...rowOrder(measures)], [4, 0, 3, 5, 6, 2, 1]);
  assertEquals([...rowOrder(measures, true)], [2, 6, 5, 0, 3, 4, 1]);
  assertEquals([...rowOrder([])], []);
});

Deno.test("an order and the places in it undo each other, for as many rows as a vocabulary has", () => {
  const measures = Float64Array.from(
    { length: 151_936 },
    (_, row) => Math.sin(row * 12.9898) * 43758.5453 % 1,
  );
  const order = rowOrder(measures), places = placesIn(order);
  for (let place = 0; place < order.length; place++) {
    assertEquals(places[order[place]], place);
    if (place > 0) assertEquals(measures[order[place - 1]] >= measures[order[place]], true);
  }
});

Deno.test("what a row measures is over its finite values", () => {
  const marginals: Marginals = {
    id: "x",
    axis: "rows",
    norm: Float64Array.of(6, 4, 0),
    mean: Float64Array.of(1, -2, 0),
    largest: Float64Array.of(5, 4, 0),
    nonFinite: Uint32Array.of(0, 3, 4),
    cost: { bytes: 0, milliseconds: 0 },
  };
  assertEquals([...rowMeasures(marginals, 4, "rms")], [3, 4, NaN]);
  assertEquals([...rowMeasures(marginals, 4, "mean")], [1, -2, NaN]);
  assertEquals([...rowMeasures(marginals, 4, "absolute")], [5, 4, NaN]);
});
