import { assertEquals } from "deno-std/assert/mod.js";
import { cellStarts } from "../../../../kernels/heat_map.ts";
import type { Overview } from "../../../../lab/inspect/types.ts";
import { cellAt, cellSize, isExact, isFine, largest } from "../../../../lab/page/inspect/cells.ts";

/** The cells alone: what is in them is not looked at here. */
function overview(rows: [number, number, number], columns: [number, number, number]): Overview {
  const rowStarts = cellStarts(...rows), columnStarts = cellStarts(...columns);
  return {
    width: columnStarts.length - 1,
    height: rowStarts.length - 1,
    rowStarts,
    columnStarts,
  } as Overview;
}

Deno.test("an element's cell is the one whose starts it lies between", () => {
  const some = overview([2, 12, 4], [0, 3, 8]);
  assertEquals(cellAt(some, { row: 2, column: 0 }), { index: 0, rows: [2, 5], columns: [0, 1] });
  for (let row = 2; row < 12; row++) {
    const cell = cellAt(some, { row, column: 2 })!;
    assertEquals([cell.rows[0] <= row, row < cell.rows[1], cell.index % 3], [true, true, 2]);
  }
  assertEquals(cellAt(some, { row: 12, column: 0 }), null);
  assertEquals(cellAt(some, { row: 1, column: 0 }), null);
});

Deno.test("an overview is fine where the map has no more pixels, or the matrix no more elements", () => {
  assertEquals(isExact(overview([0, 10, 10], [5, 8, 50])), true);
  assertEquals(isExact(overview([0, 10, 5], [5, 8, 50])), false);
  assertEquals(isFine(overview([0, 1000, 100], [0, 8, 300]), { width: 300.5, height: 100.2 }), true);
  assertEquals(isFine(overview([0, 1000, 50], [0, 8, 300]), { width: 300, height: 100 }), false);
  assertEquals(cellSize(overview([0, 1000, 100], [0, 8, 300])), "10 × 1 elements");
  assertEquals(cellSize(overview([0, 150, 100], [0, 8, 4])), "about 1.50 × 2 elements");
  assertEquals(largest(Float32Array.of(1, -3, 2)), 3);
});
