/** What a map shows of its cells, in which colours, and how near: the line above it. */
import { html, nothing } from "lit";
import type { ScaleKind } from "../../inspect/colour.ts";
import type { Aggregate, Histogram } from "../../inspect/types.ts";
import { significant } from "../numbers.ts";
import { rowMeasureLabels } from "./ordering.ts";
import { aggregates, scaleKinds } from "./palette.ts";
import type { TensorViewState } from "./tensor_view_state.ts";

export interface ControlActions {
  change(change: Partial<TensorViewState>): void;
  zoom(factor: number): void;
  /** The high end of the colours on show. */
  extent(): number;
  go(row: number, column: number): void;
}

/** What rows there are to put in order. */
export interface Rows {
  count: number;
  /** There is another tensor to tell changes from, or may be. */
  compared: boolean;
}

export function controls(
  view: TensorViewState,
  histogram: Histogram | null,
  rows: Rows,
  actions: ControlActions,
) {
  const { aggregate, scale, fixed, only } = view;
  const value = (event: Event) => (event.target as HTMLSelectElement).value;
  const chooseScale = (scale: ScaleKind) =>
    // A scale that is to be kept is the one on show.
    actions.change({ scale, fixed: scale === "fixed" ? Number(actions.extent().toPrecision(3)) : undefined });
  const fix = (extent: number) => extent > 0 && actions.change({ fixed: extent });
  return html`
    <div class="controls">
      <label>Cells <select @change=${(event: Event) =>
        actions.change({ aggregate: value(event) as Aggregate })}>
        ${aggregates.map(({ name, label }) =>
          html`<option value=${name} ?selected=${name === aggregate}>${label}</option>`
        )}
      </select></label>
      <label>Colours <select @change=${(event: Event) => chooseScale(value(event) as ScaleKind)}>
        ${scaleKinds.map(({ kind, label }) =>
          html`<option value=${kind} ?selected=${kind === scale}>${label}</option>`
        )}
      </select></label>
      ${scale === "fixed"
        ? html`<label>± <input type="number" step="any" min="0" aria-label="High end of the colours" .value=${
          String(fixed ?? "")
        } @change=${(event: Event) => fix(Number(value(event)))}></label>`
        : nothing}
      ${rows.count > 1 ? orders(view, rows, actions) : nothing}
      ${only
        ? html`
          <button type="button"
            @click=${() => actions.change({ only: undefined })}>Only ${significant(only.low)} … ${significant(
              only.high,
            )} <span aria-hidden="true">×</span><span class="unseen">: show all</span></button>
        `
        : nothing}
      ${flag(histogram, actions)}
      <span class="zoom" role="group" aria-label="Zoom">
        <button type="button" aria-label="Zoom out" @click=${() => actions.zoom(1 / 2)}>−</button>
        <button type="button" aria-label="Zoom in" @click=${() => actions.zoom(2)}>+</button>
        <button type="button" @click=${() => actions.change({ rect: undefined })} ?disabled=${!view
          .rect}>Whole</button>
      </span>
    </div>
  `;
}

/** By what the rows are put in order, and which way. */
function orders({ order, rect }: TensorViewState, { compared }: Rows, { change }: ControlActions) {
  // Whoever puts rows in order wants to see the first of them.
  const top = rect && { ...rect, row0: 0, row1: rect.row1 - rect.row0 };
  const choose = (by: string) => {
    const found = rowMeasureLabels.find((one) => one.by === by);
    change({ order: found && { by: found.by, rising: order?.rising ?? false }, rect: top });
  };
  return html`
    <span class="orders"><label>Rows <select @change=${(event: Event) =>
      choose((event.target as HTMLSelectElement).value)}>
      <option value="" ?selected=${!order}>as they lie</option>
      ${rowMeasureLabels.filter(({ by }) => compared || by !== "change").map(({ by, label }) =>
        html`<option value=${by} ?selected=${order?.by === by}>by ${label}</option>`
      )}
    </select></label>${order
      ? html`
        <button type="button"
          @click=${() =>
            change({
              order: { ...order, rising: !order.rising },
              rect: top,
            })}><span aria-hidden="true">${order.rising ? "↑" : "↓"}</span> ${order.rising
            ? "rising"
            : "falling"}<span class="unseen">: turn round</span></button>
      `
      : nothing}</span>
  `;
}

/** How many values are not finite, and the way to the first. */
function flag(histogram: Histogram | null, { go }: ControlActions) {
  if (!histogram || histogram.finite === histogram.count) return nothing;
  const { nan, plusInfinity, minusInfinity, firstNonFinite } = histogram;
  const counts = ([[nan, "NaN"], [plusInfinity, "+∞"], [minusInfinity, "−∞"]] as const)
    .filter(([count]) => count > 0).map(([count, name]) => `${count.toLocaleString("en")} ${name}`);
  return html`<button type="button" class="flag" @click=${() =>
    firstNonFinite && go(firstNonFinite.row, firstNonFinite.column)}>${
    counts.join(", ")
  }: show the first</button>`;
}
