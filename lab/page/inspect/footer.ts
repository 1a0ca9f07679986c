/** Below everything: on what device, how large the model is, and that the page can be cited. */
import { html, nothing } from "lit";
import type { InspectedModel } from "../../inspect/types.ts";
import { count, duration, size } from "../numbers.ts";

/** @param opened null while no model is open */
export function footer(opened: InspectedModel | null) {
  return html`<footer>${
    opened ? aboutModel(opened) : nothing
  }<p>The address of this page names what is on show: whoever opens it sees the same. <kbd>?</kbd> tells the keys.</p></footer>`;
}

function aboutModel({ facts, config, parameters, bytes, milliseconds }: InspectedModel) {
  const { layers, queryHeads, keyValueHeads, vocabulary } = config;
  return html`<p>${facts.adapter}${facts.software ? " (software)" : ""}: ${
    facts.runtime === "dawn" ? "Chromium’s WebGPU" : "this browser’s WebGPU"
  }, timestamps ${facts.timestamps ? "yes" : "no"}. ${count(parameters)} parameters, ${layers} layers,
    ${queryHeads} heads${
    keyValueHeads < queryHeads ? ` over ${keyValueHeads} of keys and values` : ""
  }, ${vocabulary} ids; ${size(bytes)} in ${duration(milliseconds)}.</p>`;
}
