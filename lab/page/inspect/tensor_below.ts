/** Below a map: how the values are spread, and the rows by what they measure. */
import { html } from "lit";
import type { Histogram, Marginals, TensorEntry } from "../../inspect/types.ts";
import { size } from "../numbers.ts";
import type { AxisLabels } from "./labels.ts";
import "./tensor_histogram.ts";
import "./tensor_rows.ts";
import type { TensorViewState } from "./tensor_view_state.ts";

/**
 * @param histogram null until the tensor has been counted
 * @param extent the high end of the colours on show
 */
export function below(
  { bytes, rows }: TensorEntry,
  view: TensorViewState,
  histogram: Histogram | null,
  extent: number,
  { labels, marginals, only, go }: {
    labels: AxisLabels;
    marginals: Marginals | null;
    only(part: TensorViewState["only"]): void;
    go(row: number): void;
  },
) {
  const spread = histogram
    ? html`
      <tensor-histogram class="spread" .histogram=${histogram} .only=${view.only} .ends=${[-extent, extent]}
        @only=${({ detail }: CustomEvent<TensorViewState["only"]>) => only(detail)}></tensor-histogram>
    `
    : html`<p class="empty spread">Counting ${size(bytes)} …</p>`;
  return html`
    <div class="below">
      ${spread}
      <tensor-rows .labels=${labels} .marginals=${marginals} count=${rows}
        @go=${({ detail }: CustomEvent<number>) => go(detail)}></tensor-rows>
    </div>
  `;
}
