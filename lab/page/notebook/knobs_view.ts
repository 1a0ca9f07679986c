/** Knobs that a cell gives its reader: what is turned runs the cell again. */
import { html, nothing, type TemplateResult } from "lit";
import { isObject } from "../../bytes.ts";
import type { OutputContext } from "./outputs.ts";

export function knobsView(
  { knobs, order, values }: Record<string, unknown>,
  { turn }: OutputContext,
): TemplateResult | null {
  if (!isObject(knobs) || !isObject(values)) return null;
  return html`<form class="knobs" aria-label="Knobs" @submit=${(event: Event) => event.preventDefault()}>${
    namesIn(knobs, order).map((name) => {
      const knob = knobs[name];
      return isObject(knob) ? knobView(name, knob, values[name], turn) : nothing;
    })
  }</form>`;
}

/** The knobs' names in the order in which the cell gave them. */
function namesIn(knobs: Record<string, unknown>, order: unknown): string[] {
  const names = Object.keys(knobs);
  const given = Array.isArray(order) ? order.filter((name) => names.includes(name)) : [];
  return [...new Set([...given, ...names])];
}

function knobView(name: string, knob: Record<string, unknown>, value: unknown, turn: OutputContext["turn"]) {
  const label = typeof knob.label === "string" ? knob.label : name;
  if (typeof knob.value === "boolean") {
    return html`<label class="switch"><input type="checkbox" .checked=${value === true} @change=${(
      event: Event,
    ) => turn({ [name]: (event.target as HTMLInputElement).checked })}> ${label}</label>`;
  }
  if (Array.isArray(knob.choices)) {
    return html`
      <div
        class="knob"><span>${label}</span><select aria-label=${label} @change=${(event: Event) =>
          turn({ [name]: (event.target as HTMLSelectElement).value })}>${knob.choices.map((choice) =>
            html`<option ?selected=${choice === value}>${String(choice)}</option>`
          )}</select></div>
    `;
  }
  const { min, max, step } = knob;
  if (typeof value !== "number" || typeof min !== "number" || typeof max !== "number") return nothing;
  const fine = typeof step === "number" ? step : (max - min) / 100;
  const set = (event: Event) => {
    const input = event.target as HTMLInputElement;
    if (input.value !== "" && input.checkValidity()) turn({ [name]: Number(input.value) });
  };
  // While it is dragged, the number beside it follows; the cell runs once it is let go.
  const follow = (event: Event) => {
    const input = event.target as HTMLInputElement;
    input.closest(".knob")!.querySelector<HTMLInputElement>("input[type=number]")!.value = input.value;
  };
  return html`<div class="knob"><span>${label}</span>
    <input type="range" aria-label=${label} min=${min} max=${max} step=${fine} .value=${
    String(value)
  } @input=${follow} @change=${set}>
    <input type="number" aria-label="${label}, as a number" min=${min} max=${max} step=${fine} .value=${
    String(value)
  }
      @change=${set}></div>`;
}
