/** A tensor on a 2D canvas: the map itself, norms of rows and columns along its edges, ticks, grid, numbers and marks. */
import {
  aggregateOf,
  type ColourScale,
  paint,
  position,
  sharesScale,
  type Theme,
} from "../../inspect/colour.ts";
import type { Aggregate, Marginals, Overview, Rect } from "../../inspect/types.ts";
import { significant } from "../numbers.ts";
import { isExact } from "./cells.ts";
import type { AxisLabels } from "./labels.ts";
import { type Ordering } from "./ordering.ts";
import { lettersOn } from "./palette.ts";
import { type Extent, type Pixels, ticks } from "./viewport.ts";

/** Where the parts of the figure lie, in CSS pixels. */
export interface Layout {
  width: number;
  height: number;
  /** The map's own corner and size. */
  left: number;
  top: number;
  map: Pixels;
}

const strip = { rows: 36, columns: 30 };
const tickRoom = 16;
/** Pixels of an element's side from which it is told apart by a grid, and from which it has its number written in it. */
export const gridFrom = 12, numberFrom = 24;

export function layoutOf(width: number, mapHeight: number, labelled: boolean): Layout {
  const gutter = labelled ? (width < 560 ? 64 : 96) : 48;
  const left = gutter + strip.rows, top = tickRoom + strip.columns;
  return {
    width,
    height: top + mapHeight + 1,
    left,
    top,
    map: { width: width - left - 1, height: mapHeight },
  };
}

export interface Painting {
  scale: ColourScale;
  theme: Theme;
  /** Cells outside are faint. */
  only?: { low: number; high: number };
}

/** An overview as it was painted. */
export interface Layer {
  overview: Overview;
  bitmap: HTMLCanvasElement;
  /** What it was painted with. */
  painting: string;
}

function painted(layer: Layer, aggregate: Aggregate, { scale, theme, only }: Painting): HTMLCanvasElement {
  const key = JSON.stringify([aggregate, scale, theme, only]);
  if (layer.painting !== key) {
    const { overview, bitmap } = layer;
    const values = aggregateOf(overview, aggregate);
    const flags = sharesScale(aggregate) ? overview.nonFinite : new Uint32Array(values.length);
    bitmap.width = overview.width;
    bitmap.height = overview.height;
    const pixels = paint(values, flags, scale, theme, only);
    bitmap.getContext("2d")!.putImageData(new ImageData(pixels, overview.width, overview.height), 0, 0);
    layer.painting = key;
  }
  return layer.bitmap;
}

export interface Mark {
  row: number;
  column: number;
  letter: string;
}

export interface Scene {
  layout: Layout;
  extent: Extent;
  rect: Rect;
  /** From coarse to fine. */
  layers: Layer[];
  aggregate: Aggregate;
  painting: Painting;
  rowNorms: Marginals | null;
  columnNorms: Marginals | null;
  labels: { rows: AxisLabels; columns: AxisLabels };
  /** In which the rows are on show; `rect` and the layers count their places in it, `at` and `marks` the rows themselves. */
  ordering: Ordering;
  at: { row: number; column: number } | null;
  marks: Mark[];
  ink: { text: string; muted: string; rule: string; accent: string };
  font: string;
}

export function draw(canvas: HTMLCanvasElement, scene: Scene): void {
  const { layout, layers, aggregate, painting } = scene;
  const ratio = devicePixelRatio || 1;
  const [width, height] = [layout.width, layout.height].map((length) => Math.round(length * ratio));
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d")!;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, layout.width, layout.height);
  context.imageSmoothingEnabled = false;

  context.save();
  context.beginPath();
  context.rect(layout.left, layout.top, layout.map.width, layout.map.height);
  context.clip();
  const { x, y } = placesOf(scene);
  for (const layer of layers) {
    const { rowStarts, columnStarts, width, height } = layer.overview;
    const left = x(columnStarts[0]), top = y(rowStarts[0]);
    // The paper first: a finer layer must not let a coarser one shine through where it is faint.
    context.clearRect(left, top, x(columnStarts[width]) - left, y(rowStarts[height]) - top);
    context.drawImage(
      painted(layer, aggregate, painting),
      left,
      top,
      x(columnStarts[width]) - left,
      y(rowStarts[height]) - top,
    );
  }
  drawCells(context, scene);
  drawMarks(context, scene);
  context.restore();
  context.strokeStyle = scene.ink.rule;
  context.lineWidth = 1;
  context.strokeRect(layout.left - 0.5, layout.top - 0.5, layout.map.width + 1, layout.map.height + 1);
  drawRowStrip(context, scene);
  drawColumnStrip(context, scene);
  drawRowLabels(context, scene);
  drawColumnLabels(context, scene);
}

/** From elements to pixels. */
function placesOf({ layout: { left, top, map }, rect }: Pick<Scene, "layout" | "rect">) {
  return {
    x: (column: number) => left + (column - rect.column0) / (rect.column1 - rect.column0) * map.width,
    y: (row: number) => top + (row - rect.row0) / (rect.row1 - rect.row0) * map.height,
  };
}

/** Grid and numbers, where elements are large enough. */
function drawCells(context: CanvasRenderingContext2D, scene: Scene): void {
  const { layout, rect, ink, layers, aggregate, painting: { scale, theme } } = scene;
  const { x, y } = placesOf(scene);
  const wide = layout.map.width / (rect.column1 - rect.column0);
  const high = layout.map.height / (rect.row1 - rect.row0);
  if (Math.min(wide, high) < gridFrom) return;
  context.strokeStyle = ink.rule;
  context.lineWidth = 0.5;
  context.beginPath();
  for (let row = Math.ceil(rect.row0); row <= rect.row1; row++) {
    context.moveTo(layout.left, y(row));
    context.lineTo(layout.left + layout.map.width, y(row));
  }
  for (let column = Math.ceil(rect.column0); column <= rect.column1; column++) {
    context.moveTo(x(column), layout.top);
    context.lineTo(x(column), layout.top + layout.map.height);
  }
  context.stroke();
  const finest = layers.at(-1)?.overview;
  if (Math.min(wide, high * 1.6) < numberFrom || !finest || !isExact(finest) || !sharesScale(aggregate)) {
    return;
  }
  const values = aggregateOf(finest, aggregate);
  context.font = `10px ${scene.font}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (let i = 0; i < values.length; i++) {
    const row = finest.rowStarts[0] + Math.floor(i / finest.width);
    const column = finest.columnStarts[0] + i % finest.width;
    const text = finest.nonFinite[i] > 0 ? "×" : fitted(context, values[i], wide - 3);
    if (text === "") continue;
    context.fillStyle = finest.nonFinite[i] > 0 ? "#ffffff" : lettersOn(position(scale, values[i]), theme);
    context.fillText(text, x(column + 0.5), y(row + 0.5) + 0.5);
  }
}

/** A number as it goes into a cell: as many digits as there is room for. */
function fitted(context: CanvasRenderingContext2D, value: number, room: number): string {
  for (const digits of [4, 3, 2, 1]) {
    const text = significant(value, digits).replace(/^(−?)0\./, "$1.");
    if (context.measureText(text).width <= room) return text;
  }
  const short = value.toExponential(0).replace("-", "−").replace("e-", "e−");
  return context.measureText(short).width <= room ? short : "";
}

function drawMarks(context: CanvasRenderingContext2D, scene: Scene): void {
  const { x, y } = placesOf(scene);
  const { layout, marks, ink, ordering: { placeOf } } = scene;
  if (scene.at) {
    const at = { row: placeOf(scene.at.row), column: scene.at.column };
    context.strokeStyle = ink.text;
    context.globalAlpha = 0.5;
    context.lineWidth = 1;
    const across = Math.max(1, x(at.column + 1) - x(at.column)),
      down = Math.max(1, y(at.row + 1) - y(at.row));
    if (across >= 4 && down >= 4) {
      context.globalAlpha = 1;
      context.strokeRect(x(at.column) + 0.5, y(at.row) + 0.5, across - 1, down - 1);
    } else {
      context.beginPath();
      context.moveTo(layout.left, y(at.row + 0.5));
      context.lineTo(layout.left + layout.map.width, y(at.row + 0.5));
      context.moveTo(x(at.column + 0.5), layout.top);
      context.lineTo(x(at.column + 0.5), layout.top + layout.map.height);
      context.stroke();
    }
    context.globalAlpha = 1;
  }
  context.font = `600 10px ${scene.font}`;
  context.textAlign = "left";
  context.textBaseline = "bottom";
  for (const { row, column, letter } of marks) {
    const place = placeOf(row), [left, top] = [x(column), y(place)];
    const across = Math.max(7, x(column + 1) - left), down = Math.max(7, y(place + 1) - top);
    context.strokeStyle = ink.accent;
    context.lineWidth = 2;
    context.strokeRect(left, top, across, down);
    context.fillStyle = ink.accent;
    context.fillText(letter, left + across + 3, top + 2);
  }
}

/** For each pixel of an edge the largest of the norms that lie in it, as a share of the largest of all on show. */
export function edgeBars(
  norms: Float64Array,
  from: number,
  to: number,
  pixels: number,
  rowAt: (place: number) => number = (place) => place,
): Float64Array {
  const bars = new Float64Array(Math.max(1, Math.round(pixels)));
  const each = (to - from) / bars.length;
  let largest = 0;
  for (let pixel = 0; pixel < bars.length; pixel++) {
    const first = Math.max(0, Math.floor(from + pixel * each));
    const last = Math.min(norms.length, Math.max(first + 1, Math.ceil(from + (pixel + 1) * each)));
    let most = 0;
    for (let i = first; i < last; i++) most = Math.max(most, norms[rowAt(i)]);
    bars[pixel] = most;
    if (most > largest) largest = most;
  }
  if (largest > 0) { for (let pixel = 0; pixel < bars.length; pixel++) bars[pixel] /= largest; }
  return bars;
}

function drawRowStrip(context: CanvasRenderingContext2D, scene: Scene): void {
  const { layout, rect, rowNorms, ink, ordering } = scene;
  if (!rowNorms) return;
  const right = layout.left - 4, room = strip.rows - 6;
  const bars = edgeBars(rowNorms.norm, rect.row0, rect.row1, layout.map.height, ordering.rowAt);
  bars.forEach((share, pixel) => {
    context.fillStyle = ink.rule;
    context.fillRect(right - share * room, layout.top + pixel, share * room, 1);
    context.fillStyle = ink.muted;
    context.fillRect(right - share * room, layout.top + pixel, Math.min(1.5, share * room), 1);
  });
}

function drawColumnStrip(context: CanvasRenderingContext2D, scene: Scene): void {
  const { layout, rect, columnNorms, ink } = scene;
  if (!columnNorms) return;
  const bottom = layout.top - 4, room = strip.columns - 6;
  const bars = edgeBars(columnNorms.norm, rect.column0, rect.column1, layout.map.width);
  bars.forEach((share, pixel) => {
    context.fillStyle = ink.rule;
    context.fillRect(layout.left + pixel, bottom - share * room, 1, share * room);
    context.fillStyle = ink.muted;
    context.fillRect(layout.left + pixel, bottom - share * room, 1, Math.min(1.5, share * room));
  });
}

function drawRowLabels(context: CanvasRenderingContext2D, scene: Scene): void {
  const { layout, rect, labels, ink, ordering: { rowAt, order } } = scene;
  const { y } = placesOf(scene);
  const room = layout.left - strip.rows - 6;
  context.font = `10px ${scene.font}`;
  context.textAlign = "right";
  context.textBaseline = "middle";
  const high = layout.map.height / (rect.row1 - rect.row0);
  for (const place of ticks(rect.row0, rect.row1, layout.map.height, 12)) {
    if (place < Math.floor(rect.row0)) continue;
    const at = high >= 12 ? y(place + 0.5) : y(place);
    if (at < layout.top + 4 || at > layout.top + layout.map.height - 4) continue;
    // Names where every row has one; else numbers, and fewer of them.
    const row = rowAt(place), name = high >= 11 ? labels.rows.short(row) : "";
    if (name === "" && high < 11 && (at - layout.top) < 6) continue;
    context.fillStyle = name ? ink.text : ink.muted;
    // Of rows in an order that stand too close for names, places are told: the number of one row says nothing of those beside it.
    const text = name ? shortened(context, name, room) : order && high < 11 ? `${place}.` : String(row);
    context.fillText(text, layout.left - strip.rows - 4, at);
  }
}

function drawColumnLabels(context: CanvasRenderingContext2D, scene: Scene): void {
  const { layout, rect, ink } = scene;
  const { x } = placesOf(scene);
  context.font = `10px ${scene.font}`;
  context.textAlign = "center";
  context.textBaseline = "top";
  context.fillStyle = ink.muted;
  const wide = layout.map.width / (rect.column1 - rect.column0);
  for (const column of ticks(rect.column0, rect.column1, layout.map.width, 48)) {
    const at = wide >= 12 ? x(column + 0.5) : x(column);
    if (at < layout.left || at > layout.left + layout.map.width - 8) continue;
    context.fillText(String(column), at, 2);
  }
}

function shortened(context: CanvasRenderingContext2D, text: string, room: number): string {
  if (context.measureText(text).width <= room) return text;
  let length = text.length - 1;
  while (length > 1 && context.measureText(`${text.slice(0, length)}…`).width > room) length--;
  return `${text.slice(0, length)}…`;
}
