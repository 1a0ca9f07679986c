/** What a map shows of its cells, in which colours, and how near: the line above it. */
import { html, nothing } from "lit";
import type { ScaleKind } from "../../inspect/colour.ts";
import type { Aggregate, Histogram } from "../../inspect/types.ts";
import { significant } from "../numbers.ts";
import { aggregates, scaleKinds } from "./palette.ts";
import type { TensorViewState } from "./tensor_view_state.ts";

export interface ControlActions {
  change(change: Partial<TensorViewState>): void;
  zoom(factor: number): void;
  /** The high end of the colours on show. */
  extent(): number;
  go(row: number, column: number): void;
}

export function controls(view: TensorViewState, histogram: Histogram | null, actions: ControlActions) {
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
