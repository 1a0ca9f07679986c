/** Cells of an overview: which elements they are of, and whether finer ones could be shown. */
import type { Overview } from "../../inspect/types.ts";
import { significant } from "../numbers.ts";

/** Whether every cell is one element. */
export function isExact({ width, height, rowStarts, columnStarts }: Overview): boolean {
  return span(rowStarts) === height && span(columnStarts) === width;
}

/** Whether an overview is as fine as a map of that size can show. */
export function isFine(
  { width, height, rowStarts, columnStarts }: Overview,
  map: { width: number; height: number },
): boolean {
  return width >= Math.min(Math.floor(map.width), span(columnStarts)) &&
    height >= Math.min(Math.floor(map.height), span(rowStarts));
}

/** The cell that an element is in, with its elements: rows and columns from (included) to (excluded). */
export function cellAt(
  { width, rowStarts, columnStarts }: Overview,
  { row, column }: { row: number; column: number },
): { index: number; rows: [number, number]; columns: [number, number] } | null {
  const y = place(rowStarts, row), x = place(columnStarts, column);
  if (y < 0 || x < 0) return null;
  return {
    index: y * width + x,
    rows: [rowStarts[y], rowStarts[y + 1]],
    columns: [columnStarts[x], columnStarts[x + 1]],
  };
}

/** Between which starts an element lies; -1 for one outside. */
function place(starts: Uint32Array, element: number): number {
  if (element < starts[0] || element >= starts[starts.length - 1]) return -1;
  let low = 0, high = starts.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= element) low = middle;
    else high = middle;
  }
  return low;
}

const span = (starts: Uint32Array) => starts[starts.length - 1] - starts[0];

/** How many elements a cell is of, as text; the sides of cells differ by one at most. */
export function cellSize({ rowStarts, columnStarts, width, height }: Overview): string {
  const side = (starts: Uint32Array, cells: number) => {
    const each = span(starts) / cells;
    return Number.isInteger(each) ? `${each}` : `about ${significant(each, 3)}`;
  };
  return `${side(rowStarts, height)} × ${side(columnStarts, width)} elements`;
}

/** The largest magnitude. */
export function largest(values: Float32Array | Uint32Array = new Uint32Array()): number {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
}
