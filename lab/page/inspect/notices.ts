/** What is said above everything: that something went wrong, or that a model is not as it should be. */
import { html, nothing } from "lit";
import type { StrayTensor } from "../../inspect/types.ts";
import { whereWebGpuIs } from "../webgpu.ts";

export function noWebGpu() {
  return html`
    <p
      class="notice">This browser has no WebGPU, and all that is shown here is computed with it. ${whereWebGpuIs} <a
        href="./">Notebooks</a> with what is stored in them and <a href="./runs.html">runs</a> can be read without.</p>
  `;
}

/**
 * @param trouble `lost`: with the device, or the worker
 * @param again tries again
 */
export function troubleNotice(
  trouble: { said: string; lost: boolean } | null,
  again: (lost: boolean) => void,
) {
  if (!trouble) return nothing;
  const { said, lost } = trouble;
  return html`
    <div class="notice"
      role="alert"><p>${said}${lost
        ? " What was on the device is gone with it; what is on show stays as it was."
        : ""}</p><button type="button" @click=${() => again(lost)}>${lost
        ? "Start the GPU again"
        : "Try again"}</button></div>
  `;
}

/** Tensors that have a way to them; all are marked in the list. */
const named = 4;

/** @param show goes to a value */
export function strayNotice(
  place: string,
  strays: readonly StrayTensor[],
  show: (tensor: string, row: number, column: number) => void,
) {
  if (strays.length === 0) return nothing;
  const total = strays.reduce((sum, { count }) => sum + count, 0);
  return html`
    <div class="notice strays" role="status">
      <p><b>${total.toLocaleString("en")} ${total === 1
        ? "weight is"
        : "weights are"} not finite</b>, in ${strays.length === 1
        ? "one tensor"
        : `${strays.length} tensors`} of ${place}. Its tensors can be looked at here, with statistics over what is finite; no text is run through it, and whatever else
        opens models refuses it.</p>
      <p>${strays.slice(0, named).map(({ name, count, row, column }) =>
        html`
          <button type="button"
            @click=${() => show(name, row, column)}>${name}: ${count.toLocaleString(
              "en",
            )}, the first at [${row}, ${column}]</button>
        `
      )}${strays.length > named ? `and ${strays.length - named} more, marked in the list` : nothing}</p>
    </div>
  `;
}
