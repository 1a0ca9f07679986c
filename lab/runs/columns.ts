/** The figures of `metrics.jsonl` as columns of numbers: one a stage and metric, for curves that are drawn again with every frame. */
import { type StageName, stageNames } from "../report/data.ts";

/** A metric over steps. Steps rise; a value that was not finite is NaN. */
export interface Curve {
  x: Float64Array;
  y: Float64Array;
}

/** A figure that is text, such as an alarm. */
export interface Remark {
  stage: StageName;
  step: number;
  name: string;
  text: string;
}

/** All figures of a run. */
export interface Columns {
  /** Counts the changes; a curve stays what it is while this does. */
  readonly version: number;
  readonly remarks: readonly Remark[];
  /** Lines that were no record of metrics. */
  readonly unread: number;
  /** Adds lines of the file. Of two values of one metric at one step the later counts. */
  add(values: readonly unknown[]): void;
  clear(): void;
  /** Stages with figures, in the recipe's order. */
  stages(): StageName[];
  /** A stage's metrics in the order in which they first came. */
  names(stage: StageName): string[];
  /** A view of the column, good until the next change; undefined where the metric was never measured. */
  curve(stage: StageName, name: string): Curve | undefined;
  /** The greatest step of a stage; −1 where there is none. */
  lastStep(stage: StageName): number;
}

interface Column {
  x: Float64Array;
  y: Float64Array;
  length: number;
}

export function columns(): Columns {
  const stages = new Map<StageName, Map<string, Column>>();
  let remarks: Remark[] = [], version = 0, unread = 0;
  const lasts = new Map<StageName, number>();

  const put = (stage: StageName, name: string, step: number, value: number) => {
    let columnsOfStage = stages.get(stage);
    if (!columnsOfStage) stages.set(stage, columnsOfStage = new Map());
    let column = columnsOfStage.get(name);
    if (!column) {
      columnsOfStage.set(name, column = { x: new Float64Array(64), y: new Float64Array(64), length: 0 });
    }
    let at = column.length;
    if (at > 0 && column.x[at - 1] >= step) {
      at = lowerBound(column.x, step, column.length);
      if (column.x[at] === step) {
        column.y[at] = value;
        return;
      }
    }
    if (column.length === column.x.length) {
      for (const key of ["x", "y"] as const) {
        const larger = new Float64Array(2 * column.length);
        larger.set(column[key]);
        column[key] = larger;
      }
    }
    column.x.copyWithin(at + 1, at, column.length);
    column.y.copyWithin(at + 1, at, column.length);
    column.x[at] = step;
    column.y[at] = value;
    column.length++;
  };

  return {
    get version() {
      return version;
    },
    get remarks() {
      return remarks;
    },
    get unread() {
      return unread;
    },
    add(values) {
      if (values.length > 0) version++;
      for (const record of values) {
        const { stage, step, ...figures } = (record ?? {}) as { stage?: StageName; step?: number };
        if (!stageNames.includes(stage!) || !Number.isSafeInteger(step) || step! < 0) {
          unread++;
          continue;
        }
        lasts.set(stage!, Math.max(lasts.get(stage!) ?? -1, step!));
        for (const [name, figure] of Object.entries(figures)) {
          if (typeof figure === "number") put(stage!, name, step!, figure);
          else if (figure === null) put(stage!, name, step!, NaN);
          else if (typeof figure === "string") {
            remarks.push({ stage: stage!, step: step!, name, text: figure });
          }
        }
      }
    },
    clear() {
      stages.clear();
      lasts.clear();
      remarks = [];
      unread = 0;
      version++;
    },
    stages: () => stageNames.filter((stage) => lasts.has(stage)),
    names: (stage) => [...stages.get(stage)?.keys() ?? []],
    curve(stage, name) {
      const column = stages.get(stage)?.get(name);
      return column &&
        { x: column.x.subarray(0, column.length), y: column.y.subarray(0, column.length) };
    },
    lastStep: (stage) => lasts.get(stage) ?? -1,
  };
}

/** The first place in `x`, sorted, that is not below `value`. */
export function lowerBound(x: ArrayLike<number>, value: number, length = x.length): number {
  let low = 0, high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The place whose `x` is nearest to a value; −1 in an empty curve. */
export function nearestPlace(x: ArrayLike<number>, value: number): number {
  const after = lowerBound(x, value);
  if (after === 0) return x.length > 0 ? 0 : -1;
  return after < x.length && x[after] - value < value - x[after - 1] ? after : after - 1;
}
