/** What had to hold in the first update, and what went wrong later. */
import { html, nothing } from "lit";
import { styleMap } from "lit/directives/style-map.js";
import { formatFigure } from "../../format.ts";
import { alarmPlace } from "../../report/data.ts";
import type { WatchedRun } from "./watch.ts";

/** All runs' checks side by side, one row a fact. */
export function checksTable(runs: readonly WatchedRun[]) {
  const names = [...new Set(runs.flatMap(({ seen }) => seen.invariants.map(({ name }) => name)))];
  if (names.length === 0) {
    return html`
      <p
        class="empty">The facts that hold in a first update by construction (ratio 1, KL 0, the value behind EOS equal to the
            score) would be checked here; they are found in the first update of stage ppo.</p>
    `;
  }
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label="Checks of the first update">
      <table class="dense checks">
        <thead>
          <tr><th scope="col">Holds in the first update</th>${runs.map((run) =>
            html`<th scope="col" class="number" style=${styleMap({ "--k": `var(${run.colour})` })}>${
              runs.length > 1 ? html`<span class="letter">${run.label}</span>` : "found"
            }</th>`
          )}<th scope="col" class="number">expected</th></tr>
        </thead>
        <tbody>${names.map((name) => {
          const of = runs.map(({ seen }) => seen.invariants.find((one) => one.name === name));
          const any = of.find((one) => one)!;
          return html`<tr><th scope="row">${name}</th>${
            of.map((one) =>
              html`<td class="number">${
                one
                  ? html`<span class=${one.passed ? "holds" : "fails"}><span role="img" aria-label=${
                    one.passed ? "holds" : "does not hold"
                  }>${one.passed ? "✓" : "✗"}</span> ${
                    one.found === null ? "not finite" : formatFigure(one.found)
                  }</span>`
                  : "–"
              }</td>`
            )
          }<td class="number">${formatFigure(any.expected)} <small>± ${
            formatFigure(any.tolerance)
          }</small></td></tr>`;
        })}</tbody>
      </table>
    </div>
  `;
}

/** Alarms of all runs, the latest first. */
export function alarmList(runs: readonly WatchedRun[]) {
  const alarms = runs.flatMap((run) => run.seen.alarms.map((alarm) => ({ run, alarm }))).reverse();
  if (alarms.length === 0) return nothing;
  return html`<ul class="alarms">${
    alarms.map(({ run, alarm }) =>
      html`<li><span class="glyph" role="img" aria-label="alarm">▲</span>${
        runs.length > 1
          ? html`
            <b>${run.label}</b>
          `
          : nothing
      }<b>${alarmPlace(alarm)}</b>: ${alarm.sentence}</li>`
    )
  }</ul>`;
}
