/** The order in which the rows of a map are on show: as they lie, or by what they measure. */
import { placesIn, rowMeasures, rowOrder } from "../../inspect/order.ts";
import type { Marginals, RowMeasure, TensorEntry } from "../../inspect/types.ts";
import type { TensorSource } from "./service.ts";

/** What is asked for. */
export interface RowOrder {
  by: RowMeasure;
  /** The smallest first; else the largest. */
  rising: boolean;
}

/** What rows can be put in order by. */
export const rowMeasureLabels: readonly { by: RowMeasure; label: string }[] = [
  { by: "rms", label: "rms" },
  { by: "absolute", label: "|max|" },
  { by: "mean", label: "mean" },
  { by: "change", label: "change" },
];

/** Whose rows decide, where it is not the tensor on show, and what they are compared with. Ids of tensors. */
export interface OrderedBy {
  of?: string;
  /** Empty until one is chosen; undefined where there is none to be had. */
  than?: string;
}

export interface Ordering {
  /** Two with the same key are the same. */
  key: string;
  /** "rms, falling"; empty as they lie. */
  about: string;
  /** Rows, the first on show first; null as they lie. */
  order: Uint32Array<ArrayBuffer> | null;
  /** What it goes by, row by row. */
  measures: Float64Array | null;
  /** The row in a place, and the place of a row. */
  rowAt(place: number): number;
  placeOf(row: number): number;
}

export const asTheyLie: Ordering = {
  key: "",
  about: "",
  order: null,
  measures: null,
  rowAt: (place) => place,
  placeOf: (row) => row,
};

/** A change without anything to compare with is no order. */
export function orderKey(order: RowOrder | undefined, { of = "", than = "" }: OrderedBy): string {
  if (!order || (order.by === "change" && than === "")) return "";
  return [order.by, order.rising ? "rising" : "falling", of, order.by === "change" ? than : ""].join(" ");
}

/**
 * Has the rows measured on the device and puts them in order.
 * @param marginals of the tensor's own rows, for whom they are needed
 */
export async function orderingOf(
  { by, rising }: RowOrder,
  { of, than }: OrderedBy,
  { id, columns }: Pick<TensorEntry, "id" | "columns">,
  source: TensorSource,
  marginals: () => Promise<Marginals>,
): Promise<Ordering> {
  const elsewhere = of !== undefined && of !== id;
  const measures = by === "change"
    ? (await source.rowChanges(of ?? id, than!)).distance
    : rowMeasures(await (elsewhere ? source.marginals(of, "rows") : marginals()), columns, by);
  const order = rowOrder(measures, rising), places = placesIn(order);
  const label = rowMeasureLabels.find((one) => one.by === by)!.label;
  const from = by === "change" ? ` from ${placeIn(than!)}` : "";
  return {
    key: orderKey({ by, rising }, { of, than }),
    about: `${label}${from}${elsewhere || (by === "change" && of) ? ` in ${placeIn(of!)}` : ""}, ${
      rising ? "rising" : "falling"
    }`,
    order,
    measures,
    rowAt: (place) => order[Math.min(order.length - 1, Math.max(0, place))],
    placeOf: (row) => places[row],
  };
}

/** The model that a tensor is of, by its id. */
const placeIn = (id: string) => id.slice(0, id.lastIndexOf("#"));
