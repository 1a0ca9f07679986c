/** What keys do on a map that has the focus. */
import type { Rect } from "../../inspect/types.ts";
import { type Extent, panned, wholeOf } from "./viewport.ts";

export interface MapActions {
  show(rect: Rect): void;
  zoom(factor: number): void;
  /** Pins what is in the middle of a part. @param second beside the one that is pinned */
  pinMiddle(place: { row: number; column: number }, second: boolean): void;
  letGo(): void;
}

/** @param rect the part on show */
export function onMapKey(event: KeyboardEvent, rect: Rect, extent: Extent, actions: MapActions): void {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const rows = (rect.row1 - rect.row0) / 8, columns = (rect.column1 - rect.column0) / 8;
  const move = (byRows: number, byColumns: number) => () =>
    actions.show(panned(rect, extent, byRows, byColumns));
  const middle = {
    row: Math.floor((rect.row0 + rect.row1) / 2),
    column: Math.floor((rect.column0 + rect.column1) / 2),
  };
  const done = {
    ArrowUp: move(-rows, 0),
    ArrowDown: move(rows, 0),
    ArrowLeft: move(0, -columns),
    ArrowRight: move(0, columns),
    PageUp: move(-rows * 8, 0),
    PageDown: move(rows * 8, 0),
    "+": () => actions.zoom(1.5),
    "=": () => actions.zoom(1.5),
    "-": () => actions.zoom(1 / 1.5),
    "0": () => actions.show(wholeOf(extent)),
    Enter: () => actions.pinMiddle(middle, event.shiftKey),
    Escape: actions.letGo,
  }[event.key];
  if (!done) return;
  event.preventDefault();
  event.stopPropagation();
  done();
}
