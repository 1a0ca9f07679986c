/** What part of a matrix is on show and where its elements lie on the screen. Rects are in elements, fractions allowed. */
import type { Rect } from "../../inspect/types.ts";

export interface Extent {
  rows: number;
  columns: number;
}

/** Of the map, in CSS pixels. */
export interface Pixels {
  width: number;
  height: number;
}

/** Pixels of an element's side at which zooming in ends. */
export const largestElement = 64;

export type Axes = "both" | "rows" | "columns";

export function wholeOf({ rows, columns }: Extent): Rect {
  return { row0: 0, row1: rows, column0: 0, column1: columns };
}

/** The whole rows that a part touches: from (included) to (excluded). */
export function placesOf({ row0, row1 }: Rect): [number, number] {
  return [Math.floor(row0), Math.max(Math.floor(row0) + 1, Math.ceil(row1))];
}

export function isWhole(rect: Rect, { rows, columns }: Extent): boolean {
  return rect.row0 <= 0 && rect.row1 >= rows && rect.column0 <= 0 && rect.column1 >= columns;
}

export function sameRect(a: Rect, b: Rect): boolean {
  return a.row0 === b.row0 && a.row1 === b.row1 && a.column0 === b.column0 && a.column1 === b.column1;
}

/**
 * Zooms about a point. Each axis ends for itself: at the whole matrix, and where an element is {@link largestElement} pixels long; so a
 * tall matrix, squeezed to fit, becomes square on the way in.
 * @param factor above 1 zooms in
 * @param x of the point, from 0 (left) to 1
 * @param y likewise, from the top
 */
export function zoomed(
  rect: Rect,
  extent: Extent,
  pixels: Pixels,
  factor: number,
  x: number,
  y: number,
  axes: Axes = "both",
): Rect {
  const rows = axes === "columns"
    ? [rect.row0, rect.row1]
    : zoomedAxis(rect.row0, rect.row1, extent.rows, pixels.height, factor, y);
  const columns = axes === "rows"
    ? [rect.column0, rect.column1]
    : zoomedAxis(rect.column0, rect.column1, extent.columns, pixels.width, factor, x);
  return { row0: rows[0], row1: rows[1], column0: columns[0], column1: columns[1] };
}

function zoomedAxis(low: number, high: number, count: number, pixels: number, factor: number, at: number) {
  const span = Math.min(count, Math.max(Math.min(count, pixels / largestElement), (high - low) / factor));
  return placed(low + at * (high - low) - at * span, span, count);
}

/** Moves the part by so many elements, and not beyond the matrix. */
export function panned(rect: Rect, { rows, columns }: Extent, byRows: number, byColumns: number): Rect {
  const [row0, row1] = placed(rect.row0 + byRows, rect.row1 - rect.row0, rows);
  const [column0, column1] = placed(rect.column0 + byColumns, rect.column1 - rect.column0, columns);
  return { row0, row1, column0, column1 };
}

/** The part around an element where elements are `side` pixels long, or as near to that as the matrix lets. */
export function aroundElement(row: number, column: number, extent: Extent, pixels: Pixels, side = 32): Rect {
  const height = Math.min(extent.rows, pixels.height / side);
  const width = Math.min(extent.columns, pixels.width / side);
  const [row0, row1] = placed(row + 0.5 - height / 2, height, extent.rows);
  const [column0, column1] = placed(column + 0.5 - width / 2, width, extent.columns);
  return { row0, row1, column0, column1 };
}

function placed(low: number, span: number, count: number): [number, number] {
  const start = Math.min(Math.max(0, low), count - span);
  return [start, start + span];
}

/** A rect as it comes out of an address, made to lie in the matrix; the whole where it is none. */
export function within(rect: Rect | undefined, extent: Extent): Rect {
  if (!rect) return wholeOf(extent);
  const rows = Math.min(extent.rows, Math.max(1e-3, rect.row1 - rect.row0));
  const columns = Math.min(extent.columns, Math.max(1e-3, rect.column1 - rect.column0));
  if (!(rows > 0 && columns > 0)) return wholeOf(extent);
  const [row0, row1] = placed(rect.row0, rows, extent.rows);
  const [column0, column1] = placed(rect.column0, columns, extent.columns);
  return { row0, row1, column0, column1 };
}

/**
 * How high the map is: as high as its elements would be were they square, but not higher than `most`, and no thinner than can be pointed
 * at.
 */
export function mapHeight({ rows, columns }: Extent, width: number, most: number): number {
  return Math.round(Math.min(most, Math.max(40, rows * Math.min(largestElement, width / columns))));
}

/** The element under a point of the map, clamped to the matrix. */
export function elementAt(rect: Rect, extent: Extent, pixels: Pixels, x: number, y: number) {
  const clamp = (value: number, count: number) => Math.min(count - 1, Math.max(0, Math.floor(value)));
  return {
    row: clamp(rect.row0 + y / pixels.height * (rect.row1 - rect.row0), extent.rows),
    column: clamp(rect.column0 + x / pixels.width * (rect.column1 - rect.column0), extent.columns),
  };
}

/** Whole, spaced numbers for an axis: at most one every `apart` pixels. */
export function ticks(low: number, high: number, pixels: number, apart: number): number[] {
  const least = (high - low) * apart / pixels;
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1e-9)));
  const step = Math.max(1, [1, 2, 5, 10].map((by) => by * power).find((by) => by >= least)!);
  const found: number[] = [];
  for (let at = Math.ceil(low / step) * step; at < high; at += step) found.push(Math.round(at));
  return found;
}
