/**
 * <tensor-view>: any tensor of any size as a map that is aggregated on the GPU for the part on show. Wheel or pinch zooms about the
 * pointer, dragging moves, a double click shows the whole again; a click pins a value, one with Shift pins a second beside it.
 */
import { html, LitElement, nothing, type PropertyValues } from "lit";
import type { ColourScale } from "../../inspect/colour.ts";
import type { Histogram, Marginals, Overview, Rect, TensorEntry } from "../../inspect/types.ts";
import { duration, size } from "../numbers.ts";
import { isExact, isFine } from "./cells.ts";
import { type AxisLabels, labelsOfEntry } from "./labels.ts";
import { newestOnly } from "./newest.ts";
import { asTheyLie, type OrderedBy, type Ordering, orderingOf, orderKey } from "./ordering.ts";
import type { TensorSource } from "./service.ts";
import { controls } from "./tensor_controls.ts";
import { below } from "./tensor_below.ts";
import { legend } from "./tensor_legend.ts";
import { draw, type Layer, layoutOf, type Scene } from "./tensor_map.ts";
import { readout } from "./tensor_readout.ts";
import { onMapKey } from "./tensor_keys.ts";
import { scaleOfView, themeOf } from "./palette.ts";
import { type TensorViewState, usualTensorView } from "./tensor_view_state.ts";
import { tensorViewStyle } from "./tensor_view_style.ts";
import {
  aroundElement,
  type Axes,
  elementAt,
  isWhole,
  mapHeight,
  panned,
  placesOf,
  sameRect,
  within,
  zoomed,
} from "./viewport.ts";

interface Element_ {
  row: number;
  column: number;
  /** Undefined until it is there. */
  value?: number;
}

/** Layers beyond the whole that are kept to be drawn at once when the view comes back to them. */
const mostLayers = 6;

export class TensorView extends LitElement {
  static override properties = {
    source: { attribute: false },
    entry: { attribute: false },
    vocabulary: { attribute: false },
    tokens: { attribute: false },
    view: { attribute: false },
    most: { type: Number },
    thumbnail: { attribute: false },
    compact: { type: Boolean, reflect: true },
    pointed: { attribute: false },
    orderedBy: { attribute: false },
    at: { state: true },
    histogram: { state: true },
    trouble: { state: true },
    answered: { state: true },
    pending: { state: true },
  };
  static override styles = tensorViewStyle;

  /** Who aggregates. */
  declare source: TensorSource | null;
  declare entry: TensorEntry | null;
  /** Text of every token id, for rows that stand for tokens. */
  declare vocabulary: readonly string[];
  /** Of the captured text, for rows that stand for positions. */
  declare tokens: readonly { id: number; text: string }[];
  declare view: TensorViewState;
  /** Pixels that the map may be high. */
  declare most: number;
  /** What is shown where there is nobody to aggregate: a picture of the whole, and what it is of. */
  declare thumbnail: { src: string; about: string } | null;
  /** The map alone, without spread and rows. */
  declare compact: boolean;
  /** An element that a view beside this one points at. */
  declare pointed: { row: number; column: number } | null;
  /** Whose rows the order goes by, and what their change is told from. */
  declare orderedBy: OrderedBy;
  declare private at: Element_ | null;
  declare private histogram: Histogram | null;
  declare private trouble: string;
  /** Of the newest answer: what it took. */
  declare private answered: { milliseconds: number; overview: Overview } | null;
  /** Since when, in milliseconds, an aggregate finer than what is on show is being computed. */
  declare private pending: number | null;

  /** All in the same order of rows. */
  private layers: Layer[] = [];
  /** In which the layers are. */
  private ordering = asTheyLie;
  /** That which is asked for, once there is one, and what it is called. */
  private next: { key: string; ordering: Ordering | null } = { key: "", ordering: asTheyLie };
  private marginals: { rows: Marginals | null; columns: Marginals | null } = { rows: null, columns: null };
  private asked: { rows?: Promise<Marginals>; columns?: Promise<Marginals> } = {};
  private labels: { rows: AxisLabels; columns: AxisLabels } | null = null;
  private values = new Map<string, number>();
  /** A tensor whose spread is still to be asked for. */
  private fresh = false;
  private frame = 0;
  private width = 0;
  private readonly pointers = new Map<number, { x: number; y: number }>();
  private moved = false;
  private readonly resized = new ResizeObserver(([{ contentRect }]) => {
    if (Math.round(contentRect.width) === this.width) return;
    this.width = Math.round(contentRect.width);
    this.requestUpdate();
    this.ask();
  });
  private readonly scheme = matchMedia("(prefers-color-scheme: dark)");
  private readonly redraw = () => this.requestUpdate();

  private askOverview!: (
    question: { id: string; rect: Rect; width: number; height: number; ordering: Ordering },
  ) => void;
  private askValue!: (question: { id: string; row: number; column: number }) => void;

  constructor() {
    super();
    this.source = null;
    this.entry = null;
    this.vocabulary = [];
    this.tokens = [];
    this.view = usualTensorView;
    this.most = 560;
    this.thumbnail = null;
    this.compact = false;
    this.pointed = null;
    this.orderedBy = {};
    this.forget();
  }

  private forget(): void {
    this.at = null;
    this.histogram = null;
    this.trouble = "";
    this.answered = null;
    this.pending = null;
    this.layers = [];
    this.ordering = asTheyLie;
    this.next = { key: "", ordering: asTheyLie };
    this.marginals = { rows: null, columns: null };
    this.asked = {};
    this.values = new Map();
    const { id } = this.entry ?? {};
    this.askOverview = newestOnly(
      ({ id, rect, width, height, ordering: { order } }) =>
        order
          ? this.source!.overview(id, rect, width, height, order.slice(...placesOf(rect)))
          : this.source!.overview(id, rect, width, height),
      (overview, asked) =>
        asked.id === this.entry?.id && asked.id === id && asked.ordering === this.next.ordering &&
        this.take(overview, asked),
      (error, asked) => asked.id === this.entry?.id && this.fail(error),
    );
    this.askValue = newestOnly(
      ({ id, row, column }) =>
        this.source!.values(id, { row0: row, row1: row + 1, column0: column, column1: column + 1 }),
      ({ values }, { id, row, column }) => {
        if (id !== this.entry?.id) return;
        this.values.set(`${row} ${column}`, values[0]);
        this.requestUpdate();
      },
      (error) => this.fail(error),
    );
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.scheme.addEventListener("change", this.redraw);
    this.requestUpdate();
  }

  /** Answers come after the view has been taken away, too; without a page it has no colours. */
  override shouldUpdate(): boolean {
    return this.isConnected;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.scheme.removeEventListener("change", this.redraw);
    this.resized.disconnect();
    cancelAnimationFrame(this.frame);
  }

  override willUpdate(changed: PropertyValues<this>): void {
    if (changed.has("entry") || changed.has("source")) {
      const before = changed.get("entry") as TensorEntry | null | undefined;
      if (changed.has("source") || before?.id !== this.entry?.id) {
        this.forget();
        this.fresh = true;
      }
    }
    if (this.entry && (changed.has("entry") || changed.has("vocabulary") || changed.has("tokens"))) {
      this.labels = labelsOfEntry(this.entry, this.vocabulary, this.tokens);
    }
  }

  override updated(changed: PropertyValues<this>): void {
    if (changed.has("pointed") && this.pointed) this.lookUp(this.pointed);
    const figure = this.renderRoot.querySelector(".figure");
    if (figure) this.resized.observe(figure);
    if (
      changed.has("view") || changed.has("entry") || changed.has("source") || changed.has("orderedBy")
    ) this.ask();
    if (this.fresh) this.askHistogram();
    this.fresh = false;
    this.schedule();
  }

  // ---- asking ----

  /** Has the spread counted of a tensor that has just come into view; the map, asked for before it, is drawn before it. */
  private askHistogram(): void {
    const { entry, source } = this;
    if (!entry || !source) return;
    source.histogram(entry.id).then(
      (histogram) => this.shows(entry, source) && (this.histogram = histogram),
      (error) => this.shows(entry, source) && this.fail(error),
    );
  }

  /** Of all rows or columns; of a large tensor it takes as long as the map. */
  private askMarginals(axis: "rows" | "columns"): Promise<Marginals> {
    const { entry, source } = this;
    const asking = this.asked[axis] ??= source!.marginals(entry!.id, axis);
    asking.then(
      (marginals) => {
        if (!this.shows(entry!, source!)) return;
        this.marginals = { ...this.marginals, [axis]: marginals };
        this.requestUpdate();
      },
      (error) => this.shows(entry!, source!) && this.fail(error),
    );
    return asking;
  }

  /** The order that the view asks for; null while its rows are measured. */
  private wantedOrdering(): Ordering | null {
    const { entry, source, orderedBy, view: { order } } = this;
    const key = orderKey(order, orderedBy);
    if (key === this.next.key) return this.next.ordering;
    const next = this.next = { key, ordering: key === "" ? asTheyLie : null as Ordering | null };
    if (next.ordering) return next.ordering;
    const marginals = () => this.askMarginals("rows");
    orderingOf(order!, orderedBy, entry!, source!, marginals).then((ordering) => {
      if (this.next !== next) return;
      next.ordering = ordering;
      this.ask();
    }, (error) => {
      if (this.next !== next) return;
      this.fail(error);
      next.ordering = asTheyLie;
      this.ask();
    });
    return null;
  }

  private shows(entry: TensorEntry, source: TensorSource): boolean {
    return this.entry?.id === entry.id && this.source === source;
  }

  private get rect(): Rect {
    return within(this.view.rect, this.entry!);
  }

  private get layout() {
    const labelled = this.labels !== null && this.labels.rows.short(0) !== "";
    const { map } = layoutOf(this.width, 1, labelled);
    return layoutOf(this.width, mapHeight(this.entry!, map.width, this.most), labelled);
  }

  /** Has the part on show aggregated, unless it is there; what is there is drawn meanwhile, however coarse. */
  private ask(): void {
    if (!this.entry || !this.source || this.width < 100) return;
    const { map } = this.layout, { rect } = this, ordering = this.wantedOrdering();
    const fine = ({ overview }: Layer) => sameRect(overview.rect, rect) && isFine(overview, map);
    if (ordering === this.ordering && this.layers.some(fine)) {
      this.pending = null;
      return;
    }
    this.pending ??= performance.now();
    if (!ordering) return;
    this.askOverview({
      id: this.entry.id,
      rect,
      width: Math.floor(map.width),
      height: Math.floor(map.height),
      ordering,
    });
  }

  private take(overview: Overview, { rect, ordering }: { rect: Rect; ordering: Ordering }): void {
    // Norms are asked for once there is something to see.
    if (this.layers.length === 0) (["rows", "columns"] as const).forEach((axis) => this.askMarginals(axis));
    // What is on show keeps its order until there is something in the new one.
    if (ordering !== this.ordering) this.layers = [];
    this.ordering = ordering;
    const layer = { overview, bitmap: document.createElement("canvas"), painting: "" };
    const [whole] = this.layers.filter((one) => isWhole(one.overview.rect, this.entry!)).slice(-1);
    const others = this.layers.filter((one) => one !== whole).slice(-mostLayers);
    this.layers = [...whole ? [whole] : [], ...others, layer];
    const milliseconds = this.pending === null
      ? overview.cost.milliseconds
      : performance.now() - this.pending;
    this.answered = { milliseconds, overview };
    if (sameRect(rect, this.rect)) this.pending = null;
    this.requestUpdate();
  }

  private fail(error: Error): void {
    this.pending = null;
    // Whoever tells of it elsewhere prevents that it is told of here.
    const told = !this.dispatchEvent(new CustomEvent("trouble", { detail: error, cancelable: true }));
    if (!told) this.trouble = error.message;
  }

  // ---- drawing ----

  private schedule(): void {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.paintNow());
  }

  private paintNow(): void {
    const canvas = this.renderRoot.querySelector("canvas");
    if (canvas && this.entry && this.labels && this.width >= 100) draw(canvas, this.scene(canvas));
  }

  private scene(canvas: HTMLCanvasElement): Scene {
    const { color, borderTopColor, caretColor, outlineColor, fontFamily } = getComputedStyle(canvas);
    const { aggregate, only } = this.view;
    const area = ({ overview: { rect, width, height } }: Layer) =>
      (rect.row1 - rect.row0) / height * (rect.column1 - rect.column0) / width;
    return {
      layout: this.layout,
      extent: this.entry!,
      rect: this.rect,
      layers: this.layers.toSorted((a, b) => area(b) - area(a)),
      aggregate,
      painting: { scale: this.scale(), theme: themeOf(canvas), only },
      rowNorms: this.marginals.rows,
      columnNorms: this.marginals.columns,
      labels: this.labels!,
      ordering: this.ordering,
      at: this.at ?? this.pointed,
      marks: this.view.pins.map((pin, i) => ({ ...pin, letter: "AB"[i] })),
      ink: { text: color, muted: caretColor, rule: borderTopColor, accent: outlineColor },
      font: fontFamily,
    };
  }

  private scale(): ColourScale {
    return scaleOfView(this.view, this.histogram, this.layers[0]?.overview);
  }

  // ---- moving about ----

  private change(change: Partial<TensorViewState>): void {
    this.view = { ...this.view, ...change };
    this.dispatchEvent(new CustomEvent("view-change", { detail: this.view, bubbles: true, composed: true }));
  }

  private show(rect: Rect): void {
    if (sameRect(rect, this.rect)) return;
    this.change({ rect: isWhole(rect, this.entry!) ? undefined : rect });
  }

  /** Shows an element large enough to read its value, and pins it. */
  showElement(row: number, column: number): void {
    const { map } = this.layout;
    this.change({
      rect: aroundElement(this.ordering.placeOf(row), column, this.entry!, map),
      pins: [{ row, column }],
    });
  }

  /** Where an element's middle is on the page; for whoever wants to point at it. */
  placeOf(row: number, column: number): { x: number; y: number } {
    const { left, top } = this.renderRoot.querySelector("canvas")!.getBoundingClientRect();
    const { layout, rect } = this;
    return {
      x: left + layout.left +
        (column + 0.5 - rect.column0) / (rect.column1 - rect.column0) * layout.map.width,
      y: top + layout.top +
        (this.ordering.placeOf(row) + 0.5 - rect.row0) / (rect.row1 - rect.row0) * layout.map.height,
    };
  }

  /** A point of the map in shares of it, and in pixels. */
  private pointOf({ clientX, clientY }: { clientX: number; clientY: number }) {
    const { left, top } = this.renderRoot.querySelector("canvas")!.getBoundingClientRect();
    const { layout } = this;
    const x = clientX - left - layout.left, y = clientY - top - layout.top;
    const inside = x >= 0 && y >= 0 && x < layout.map.width && y < layout.map.height;
    return { x, y, shareX: x / layout.map.width, shareY: y / layout.map.height, inside };
  }

  private zoom(factor: number, x = 0.5, y = 0.5, axes: Axes = "both"): boolean {
    const rect = zoomed(this.rect, this.entry!, this.layout.map, factor, x, y, axes);
    const changes = !sameRect(rect, this.rect);
    this.show(rect);
    return changes;
  }

  private onWheel(event: WheelEvent): void {
    const { shareX, shareY, inside } = this.pointOf(event);
    if (!inside) return;
    const pixels = event.deltaY * (event.deltaMode === 1 ? 20 : 1) + (event.shiftKey ? event.deltaX : 0);
    // A pinch on a touchpad comes as a wheel with Ctrl, in small steps.
    const factor = Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.002));
    const axes = event.shiftKey ? "columns" : event.altKey ? "rows" : "both";
    // Where there is nothing more to zoom, the page scrolls.
    if (this.zoom(factor, shareX, shareY, axes) || factor > 1) event.preventDefault();
  }

  private onPointerDown(event: PointerEvent): void {
    if (event.button !== 0 || !this.pointOf(event).inside) return;
    (event.target as Element).setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.moved = this.pointers.size > 1;
  }

  private onPointerMove(event: PointerEvent): void {
    const before = this.pointers.get(event.pointerId);
    if (!before) return this.point(event);
    const { x, y } = { x: event.clientX, y: event.clientY };
    if (!this.moved && Math.hypot(x - before.x, y - before.y) < 4) return;
    this.moved = true;
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
    this.pointers.set(event.pointerId, { x, y });
    const { map } = this.layout, { rect } = this;
    if (others.length === 0) {
      const perRow = (rect.row1 - rect.row0) / map.height,
        perColumn = (rect.column1 - rect.column0) / map.width;
      this.show(panned(rect, this.entry!, (before.y - y) * perRow, (before.x - x) * perColumn));
      return;
    }
    const [other] = others;
    const spread = (point: { x: number; y: number }) =>
      Math.max(10, Math.hypot(point.x - other.x, point.y - other.y));
    const { shareX, shareY } = this.pointOf({ clientX: (x + other.x) / 2, clientY: (y + other.y) / 2 });
    this.zoom(spread({ x, y }) / spread(before), shareX, shareY);
  }

  private onPointerUp(event: PointerEvent): void {
    const was = this.pointers.delete(event.pointerId);
    if (!was || this.moved || event.type === "pointercancel") return;
    const { x, y } = this.pointOf(event);
    this.pin(this.elementAt(x, y), event.shiftKey);
  }

  private elementAt(x: number, y: number): { row: number; column: number } {
    const { row: place, column } = elementAt(this.rect, this.entry!, this.layout.map, x, y);
    return { row: this.ordering.rowAt(place), column };
  }

  private pin(element: { row: number; column: number }, second: boolean): void {
    const [first] = this.view.pins;
    this.lookUp(element);
    this.change({ pins: second && first ? [first, element] : [element] });
  }

  private point(event: PointerEvent): void {
    const { x, y, inside } = this.pointOf(event);
    if (!inside) return this.pointAt(null);
    const element = this.elementAt(x, y);
    if (this.at?.row === element.row && this.at.column === element.column) return;
    this.pointAt(element);
    this.lookUp(element);
  }

  private pointAt(element: { row: number; column: number } | null): void {
    this.at = element;
    this.dispatchEvent(new CustomEvent("point", { detail: element }));
  }

  /** Has an element's value fetched, unless it is on show already. */
  private lookUp({ row, column }: { row: number; column: number }): void {
    if (this.valueAtElement({ row, column }) === undefined && this.entry && this.source) {
      this.askValue({ id: this.entry.id, row, column });
    }
  }

  private valueAtElement({ row, column }: { row: number; column: number }): number | undefined {
    const kept = this.values.get(`${row} ${column}`);
    if (kept !== undefined) return kept;
    for (const { overview } of this.layers) {
      if (!isExact(overview)) continue;
      const { rowStarts, columnStarts, width, height, extreme, nonFinite } = overview;
      const y = this.ordering.placeOf(row) - rowStarts[0], x = column - columnStarts[0];
      if (y < 0 || x < 0 || y >= height || x >= width || nonFinite[y * width + x] > 0) continue;
      return extreme[y * width + x];
    }
    return undefined;
  }

  private onKey(event: KeyboardEvent): void {
    onMapKey(event, this.rect, this.entry!, {
      show: (rect) => this.show(rect),
      zoom: (factor) => this.zoom(factor),
      pinMiddle: ({ row, column }, second) => this.pin({ row: this.ordering.rowAt(row), column }, second),
      letGo: () => this.change({ pins: [], only: undefined }),
    });
  }

  // ---- rendering ----

  override render() {
    const { entry, labels } = this;
    if (!this.source && this.thumbnail) {
      const { src, about } = this.thumbnail;
      return html`
        <img src=${src} alt=${about}><p
          class="hint">${about}. A picture that was kept: where its model is open, it can be zoomed into.</p>
      `;
    }
    if (!entry || !labels) {
      return html`<p class="empty">Here a tensor would be. Choose one from the list: <kbd>/</kbd> searches it.</p>`;
    }
    const height = this.width >= 100 ? this.layout.height : 200;
    return html`
      ${controls(this.view, this.histogram, {
        count: entry.rows,
        compared: this.orderedBy.than !== undefined,
      }, {
        change: (change) => this.change(change),
        zoom: (factor) => this.zoom(factor),
        extent: () => this.scale().extent,
        go: (row, column) => this.showElement(row, column),
      })}
      <div class="figure" style="height: ${height}px">
        <canvas tabindex="0" role="application" aria-roledescription="heat map" style="height: ${height}px"
          aria-label="${entry.name}, ${entry.rows} rows and ${entry
            .columns} columns. Arrow keys move, plus and minus zoom, 0 shows the whole, Enter pins the middle."
          aria-busy=${this.pending !== null}
          @wheel=${this.onWheel} @pointerdown=${this.onPointerDown} @pointermove=${this.onPointerMove}
          @pointerup=${this.onPointerUp} @pointercancel=${this.onPointerUp}
          @pointerleave=${() => this.pointAt(null)} @keydown=${this.onKey}
          @dblclick=${() => this.change({ rect: undefined })}></canvas>
        ${this.layers.length === 0 ? this.firstWait() : nothing}
      </div>
      ${legend({
        scale: this.scale(),
        aggregate: this.view.aggregate,
        theme: themeOf(this),
        histogram: this.histogram,
        overview: this.answered?.overview ?? null,
        order: this.ordering.about,
        cost: this.answered &&
          (this.pending !== null
            ? this.next.ordering ? "Aggregating …" : `Measuring ${entry.rows.toLocaleString("en")} rows …`
            : `${size(this.answered.overview.cost.bytes)} read, ${duration(this.answered.milliseconds)}`),
      })}
      ${this.trouble && this.layers.length > 0
        ? html`<p class="trouble" role="alert">${this.trouble}</p>`
        : nothing}
      ${this.readout()}
      ${this.compact ? nothing : below(entry, this.view, this.histogram, this.scale().extent, {
        labels: labels.rows,
        marginals: this.marginals.rows,
        only: (only) => this.change({ only }),
        go: (row) => this.showElement(row, Math.floor((this.rect.column0 + this.rect.column1) / 2)),
      })}
    `;
  }

  private firstWait() {
    return this.trouble
      ? html`<p class="wait bad" role="alert">${this.trouble}</p>`
      : html`<p class="wait">Aggregating ${size(this.entry!.bytes)} of ${this.entry!.name} …</p>`;
  }

  private readout() {
    const value = (element: { row: number; column: number }) => {
      const found = this.valueAtElement(element);
      if (found === undefined) this.lookUp(element);
      return found;
    };
    return readout({
      at: this.at ?? this.pointed,
      pins: this.view.pins,
      value,
      labels: this.labels!,
      histogram: this.histogram,
      overview: this.layers.at(-1)?.overview,
      ordering: this.ordering,
      hints: !this.compact,
    });
  }
}

customElements.define("tensor-view", TensorView);
