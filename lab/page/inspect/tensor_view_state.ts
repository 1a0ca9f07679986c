import type { ScaleKind } from "../../inspect/colour.ts";
import type { Aggregate, Rect } from "../../inspect/types.ts";
import type { RowOrder } from "./ordering.ts";

/** What a view can be cited by. */
export interface TensorViewState {
  /** Rows are counted by their places in the order on show. */
  rect?: Rect;
  aggregate: Aggregate;
  scale: ScaleKind;
  /** The high end of a fixed scale. */
  fixed?: number;
  /** Values outside are faint. */
  only?: { low: number; high: number };
  /** By which the rows are put; undefined as they lie. */
  order?: RowOrder;
  /** At most two, by the rows' own numbers whatever their order. */
  pins: { row: number; column: number }[];
}

export const usualTensorView: TensorViewState = { aggregate: "extreme", scale: "quantile", pins: [] };
