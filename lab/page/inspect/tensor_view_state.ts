import type { ScaleKind } from "../../inspect/colour.ts";
import type { Aggregate, Rect } from "../../inspect/types.ts";

/** What a view can be cited by. */
export interface TensorViewState {
  rect?: Rect;
  aggregate: Aggregate;
  scale: ScaleKind;
  /** The high end of a fixed scale. */
  fixed?: number;
  /** Values outside are faint. */
  only?: { low: number; high: number };
  /** At most two. */
  pins: { row: number; column: number }[];
}

export const usualTensorView: TensorViewState = { aggregate: "extreme", scale: "quantile", pins: [] };
