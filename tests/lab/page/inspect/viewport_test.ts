import { assert, assertAlmostEquals, assertEquals } from "deno-std/assert/mod.js";
import {
  aroundElement,
  elementAt,
  isWhole,
  largestElement,
  mapHeight,
  panned,
  ticks,
  wholeOf,
  within,
  zoomed,
} from "../../../../lab/page/inspect/viewport.ts";

const tall = { rows: 151936, columns: 896 }, pixels = { width: 900, height: 560 };

Deno.test("what is under the pointer stays there while zooming, on either axis", () => {
  let rect = wholeOf(tall);
  const [x, y] = [0.3, 0.7];
  const under = () => ({
    row: rect.row0 + y * (rect.row1 - rect.row0),
    column: rect.column0 + x * (rect.column1 - rect.column0),
  });
  const before = under();
  for (let step = 0; step < 6; step++) {
    rect = zoomed(rect, tall, pixels, 1.3, x, y);
    assertAlmostEquals(under().row, before.row, 1e-6);
    assertAlmostEquals(under().column, before.column, 1e-9);
  }
});

Deno.test("zooming in ends with square elements, zooming out with the whole matrix", () => {
  let rect = wholeOf(tall);
  for (let step = 0; step < 60; step++) rect = zoomed(rect, tall, pixels, 1.4, 0.5, 0.5);
  assertAlmostEquals(pixels.height / (rect.row1 - rect.row0), largestElement, 1e-9);
  assertAlmostEquals(pixels.width / (rect.column1 - rect.column0), largestElement, 1e-9);
  for (let step = 0; step < 60; step++) rect = zoomed(rect, tall, pixels, 1 / 1.4, 0.9, 0.1);
  assert(isWhole(rect, tall));
  assertEquals(rect, wholeOf(tall));
});

Deno.test("one axis alone can be zoomed, and a part cannot be moved out of the matrix", () => {
  const rows = zoomed(wholeOf(tall), tall, pixels, 4, 0.5, 0.5, "rows");
  assertEquals([rows.column0, rows.column1], [0, 896]);
  assertEquals(rows.row1 - rows.row0, 151936 / 4);
  assertEquals(panned(rows, tall, -1e9, 50), { row0: 0, row1: 37984, column0: 0, column1: 896 });
  assertEquals(panned(rows, tall, 1e9, 0).row1, 151936);
});

Deno.test("an element is shown in the middle, or as near as the edge lets", () => {
  const rect = aroundElement(1000, 500, tall, pixels, 32);
  assertEquals(elementAt(rect, tall, pixels, 450, 280), { row: 1000, column: 500 });
  const corner = aroundElement(0, 895, tall, pixels, 32);
  assertEquals([corner.row0, corner.column1], [0, 896]);
  assertEquals(elementAt(corner, tall, pixels, 899, 0), { row: 0, column: 895 });
  // A matrix smaller than the map is shown whole.
  assertEquals(aroundElement(2, 1, { rows: 3, columns: 4 }, pixels), {
    row0: 0,
    row1: 3,
    column0: 0,
    column1: 4,
  });
});

Deno.test("a rect out of an address is made to lie in the matrix, and nonsense shows the whole", () => {
  const extent = { rows: 10, columns: 10 };
  assertEquals(within({ row0: 5, row1: 25, column0: -3, column1: 2 }, extent), {
    row0: 0,
    row1: 10,
    column0: 0,
    column1: 5,
  });
  assertEquals(within({ row0: NaN, row1: 1, column0: 0, column1: 1 }, extent), wholeOf(extent));
  assertEquals(within(undefined, extent), wholeOf(extent));
});

Deno.test("small matrices are as high as their elements are wide, large ones fill the room, vectors can be pointed at", () => {
  assertEquals(mapHeight({ rows: 4, columns: 64 }, 640, 560), 40);
  assertEquals(mapHeight({ rows: 20, columns: 64 }, 640, 560), 200);
  assertEquals(mapHeight(tall, 900, 560), 560);
  assertEquals(mapHeight({ rows: 1, columns: 64 }, 640, 560), 40);
});

Deno.test("ticks are round and not too close", () => {
  assertEquals(ticks(0, 64, 640, 48), [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60]);
  assertEquals(ticks(3.5, 6.5, 300, 48), [4, 5, 6]);
  assertEquals(ticks(0, 151936, 560, 200), [0, 100000]);
});
