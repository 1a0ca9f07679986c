/** Which model is looked at, and which second one beside it. */
import { html, nothing } from "lit";
import { type Checkpoint, demoModels, runOfPlace } from "./places.ts";

/** Kept models that have a button of their own; the field completes the names of all. */
const mostKept = 4;

/**
 * @param offered places that can be opened
 * @param checkpoints of the run that the model is of
 */
export function modelChooser(
  model: string,
  offered: readonly string[],
  checkpoints: readonly Checkpoint[],
  turn: (model: string) => void,
) {
  const ships = demoModels as readonly string[];
  const kept = offered.filter((place) => place.startsWith("kept/")).slice(0, mostKept);
  const open = (event: Event) => {
    event.preventDefault();
    const { elements } = event.target as HTMLFormElement;
    turn((elements.namedItem("place") as HTMLInputElement).value.trim());
  };
  return html`
    <div class="models" role="group" aria-label="Model">
      ${demoModels.filter((name) => offered.includes(name) || name === model).map((name) =>
        html`
          <button type="button" class="role-${name}" aria-pressed=${name === model}
            @click=${() => turn(name)}>${name}</button>
        `
      )}${kept.map((name) =>
        html`
          <button type="button" aria-pressed=${name === model} title="Kept by a notebook of this browser"
            @click=${() => turn(name)}>${name}</button>
        `
      )}</div>
    <form class="place"
      @submit=${open}><input name="place" list="places" aria-label="Another model: a folder of runs, or an address"
      placeholder="runs/demo/models/ppo, or an address" autocomplete="off" spellcheck="false"
      .value=${ships.includes(model) ? "" : model}><button>Open</button>
      <datalist id="places">${offered.filter((place) => !ships.includes(place)).map((place) =>
        html`<option value=${place}></option>`
      )}</datalist></form>
    ${ofRun(model, offered, checkpoints, turn)}
  `;
}

/** The other models of a run: those that its stages gave, and its checkpoints. */
function ofRun(
  model: string,
  offered: readonly string[],
  checkpoints: readonly Checkpoint[],
  turn: (model: string) => void,
) {
  const run = runOfPlace(model);
  if (!run || checkpoints.length === 0) return nothing;
  const given = offered.filter((place) => runOfPlace(place) === run)
    .map((place) => ({ place, label: place.slice(run.length + 1) }));
  const all = [...given, ...checkpoints], known = all.some(({ place }) => place === model);
  return html`
    <label class="of-run">Of this run <select @change=${(event: Event) =>
      turn((event.target as HTMLSelectElement).value)}>
      ${known ? nothing : html`<option value=${model} selected>${model.slice(run.length + 1)}</option>`}
      ${all.map(({ place, label }) =>
        html`<option value=${place} ?selected=${place === model}>${label}</option>`
      )}
    </select></label>
  `;
}

/** @param other the second model; empty for none */
export function otherChooser(
  model: string,
  other: string,
  offered: readonly string[],
  choose: (other: string) => void,
  label = "Second model",
) {
  const names = offered.filter((place) => place !== model);
  return html`
    <form @submit=${(event: Event) => event.preventDefault()}><label>${label}
      <input list="others" placeholder=${names[0] ?? "runs/demo/models/sft"} autocomplete="off"
        spellcheck="false" .value=${other}
        @change=${(event: Event) => choose((event.target as HTMLInputElement).value.trim())}></label>
      <datalist id="others">${names.map((place) => html`<option value=${place}></option>`)}</datalist>
      ${names.slice(0, 5).map((place) =>
        html`<button type="button" aria-pressed=${place === other} @click=${() =>
          choose(place)}>${place}</button>`
      )}${other ? html`<button type="button" @click=${() => choose("")}>none</button>` : nothing}</form>
  `;
}
