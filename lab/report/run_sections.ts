/** The report's sections on the run: machine, time, memory, configuration. */
import { configField, configFields, differences, readConfig, valueAt } from "../config.ts";
import { formatValue } from "../config_fields.ts";
import { duration, formatBytes, shortCount } from "../format.ts";
import { memoryByPurpose } from "../plan_table.ts";
import type { ReportData, StageName } from "./data.ts";
import { type Content, type Html, html } from "./html.ts";
import { runtimeName } from "./words.ts";

export function runSection({ run, stages, plan }: ReportData): Html {
  const total = stages.reduce((sum, { seconds }) => sum + seconds, 0);
  const { device } = run;
  const abilities = [
    device.software && "shaders run on the CPU",
    device.f16 && "f16",
    device.subgroups && "subgroups",
    device.matrixUnits?.length > 0 && "matrix units",
    device.timestamps && "timestamps",
  ].filter((one) => one);
  const facts: [string, Content][] = [
    ["Adapter", device.adapter],
    ["Driver", [device.vendor, device.driver].filter((one) => one).join(" · ")],
    ["Runtime", runtimeName(device.runtime)],
    ["Features", abilities.join(", ") || "none beyond WebGPU's core"],
    ["Seed", String(run.config.seed)],
    ["Started", run.startedAt.replace("T", " ").replace(/\.\d+Z$|Z$/, " UTC")],
    ...Object.entries(run.sources ?? {}).map(([field, { name, commit }]): [string, Content] => [
      field,
      `${name} at ${commit}`,
    ]),
    ...Object.entries(run.versions).map(([name, version]): [string, Content] => [name, version]),
    ["Kernels, SHA-256", html`<code>${run.kernelDigest}</code>`],
    ...(run.choices ?? []).map((choice): [string, Content] => ["Chosen", choice]),
    ...(run.notes ?? []).map((note): [string, Content] => ["Data", note]),
  ];
  const foreseen = new Map<StageName, number>();
  for (const { name, peakMemory } of plan ?? []) {
    // The judge is a part of the evaluation.
    const stage = name === "judge" ? "evaluate" : name;
    foreseen.set(stage, Math.max(peakMemory, foreseen.get(stage) ?? 0));
  }
  const longest = Math.max(...stages.map(({ seconds }) => seconds), 1e-9);
  return html`
    <div class="columns">
      <div>
        <h3>What it ran on</h3>
        <div class="panel">
          <dl class="facts">${facts.filter(([, value]) => value !== "").map(([name, value]) =>
            html`
              <dt>${name}</dt>
              <dd>${value}</dd>
            `
          )}</dl>
        </div>
      </div>
      <div>
        <h3>Time and memory</h3>
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Stage</th>
                <th scope="col" class="number">Time</th>
                <th scope="col" class="number">Tokens/s</th>
                <th scope="col" class="number">Peak memory</th>
                <th scope="col" class="number">foreseen</th>
              </tr>
            </thead>
            <tbody>${stages.map(({ name, ran, seconds, tokens, peakMemory }) =>
              html`
                <tr>
                  <th scope="row">${name}${ran &&
                    html`<div class="bar" style="width:${Math.round(100 * seconds / longest)}%"></div>`}</th>
                  <td class="number">${ran ? duration(seconds) : "earlier run"}</td>
                  <td class="number">${ran && tokens && seconds > 0 ? shortCount(tokens / seconds) : "–"}</td>
                  <td class="number">${peakMemory === undefined ? "–" : formatBytes(peakMemory)}</td>
                  <td class="number">${foreseen.has(name) ? formatBytes(foreseen.get(name)!) : "–"}</td>
                </tr>
              `
            )}<tr class="strong"><th scope="row">Total</th><td class="number">${duration(
              total,
            )}</td><td></td><td></td><td></td></tr></tbody>
          </table>
        </div>
      </div>
    </div>
    ${Object.keys(run.kernels).length > 0 && html`
      <h3>Kernel variants</h3>
      <div class="panel">
        <dl class="facts">${Object.entries(run.kernels).map(([name, variant]) =>
          html`
            <dt><code>${name}</code></dt>
            <dd>${variant}</dd>
          `
        )}</dl>
      </div>
    `}
    ${plan && plan.length > 0 && html`
      <h3>Memory, as foreseen at the start</h3>
      <div class="columns">${plan.filter(({ memory }) => memory.length > 0).map((
        { name, peakMemory, memory },
      ) =>
        html`
          <details class="panel">
            <summary>${name}: ${formatBytes(peakMemory)}</summary>
            <table>
              <tbody>${memoryByPurpose(memory).map((row) =>
                html`
                  <tr>
                    <td>${row.name}${row.count > 1 && html`
                      <small>× ${row.count}</small>
                    `}</td>
                    <td><small>${row.lifetime}</small></td>
                    <td class="number">${formatBytes(row.bytes)}</td>
                  </tr>
                `
              )}</tbody>
            </table>
          </details>
        `
      )}</div>
    `}
    ${run.inputs && Object.keys(run.inputs).length > 0 && html`
      <h3>Inputs, by SHA-256</h3>
      <div class="panel">
        <dl class="facts">${Object.entries(run.inputs).map(([name, digest]) =>
          html`
            <dt>${name}</dt>
            <dd><code>${digest}</code></dd>
          `
        )}</dl>
      </div>
    `}
  `;
}

export function configurationSection({ run }: ReportData): Html {
  let config;
  try {
    config = readConfig(run.config);
  } catch {
    // A run of another version: show what it says without knowing its fields.
    return html`<pre><code>${JSON.stringify(run.config, null, 2)}</code></pre>`;
  }
  const different = differences(config);
  return html`
    <p class="about">${different.length === 0
      ? "Every field is as in the published recipe."
      : `${different.length} of ${configFields.length} fields differ from the published recipe.`}</p>
    ${different.length > 0 && html`
      <div class="scroll">
        <table class="fields">
          <thead>
            <tr>
              <th scope="col">Field</th>
              <th scope="col" class="number">Here</th>
              <th scope="col" class="number">Published</th>
              <th scope="col">What it is</th>
            </tr>
          </thead>
          <tbody>${different.map(({ path, value, published }) => {
            const { field } = configField(path)!;
            return html`
              <tr>
                <th scope="row"><code>${path}</code></th>
                <td class="number" data-label="Here">${formatValue(value) || "none"}</td>
                <td class="number" data-label="Published">${formatValue(published) || "none"}</td>
                <td class="whole">${field.doc}${field.unit && html`
                  <small>${field.unit}</small>
                `}</td>
              </tr>
            `;
          })}</tbody>
        </table>
      </div>
    `}
    <details style="margin-top:12px">
      <summary>all fields</summary>
      <div class="scroll">
        <table class="fields">
          <tbody>${configFields.map(({ path, field }) =>
            html`
              <tr>
                <th scope="row"><code>${path}</code></th>
                <td class="number whole">${formatValue(valueAt(config, path)) || "none"}</td>
                <td class="whole">${field.doc}</td>
                <td class="whole"><small>${field.from}</small></td>
              </tr>
            `
          )}</tbody>
        </table>
      </div>
    </details>
  `;
}
