/** The report's sections on the trained stages: curves, invariants, accuracy. */
import { duration, fixed, formatFigure, groupThousands, percent, shortCount } from "../format.ts";
import { metrics } from "../metrics.ts";
import {
  calibrationChart,
  type ChartOptions,
  histogramChart,
  intervalBar,
  lineChart,
  type Series,
} from "./chart.ts";
import { courseSection } from "./course_section.ts";
import type { ReportData, StageName } from "./data.ts";
import { type Content, type Html, html, trusted } from "./html.ts";
import { interval } from "./words.ts";

export function has({ metrics: records }: ReportData, stage: StageName): boolean {
  return records.some((record) => record.stage === stage);
}

/** A metric over steps; of a step that was recorded twice, the later. Undefined where it was never measured. */
export function curve(
  data: ReportData,
  stage: StageName,
  name: string,
  options: Partial<Series> = {},
): Series | undefined {
  const at = new Map<number, number | null>();
  for (const record of data.metrics) {
    const value = record[name];
    if (record.stage === stage && (typeof value === "number" || value === null)) at.set(record.step, value);
  }
  if (at.size === 0) return undefined;
  const points = [...at].sort(([a], [b]) => a - b);
  return {
    name: metrics.get(name)?.title ?? name,
    x: points.map(([step]) => step),
    y: points.map(([, value]) => value !== null && Number.isFinite(value) ? value : null),
    colour: 1,
    ...options,
  };
}

function chartOf(
  data: ReportData,
  stage: StageName,
  names: readonly (string | [name: string, options: Partial<Series>])[],
  options: Partial<ChartOptions> = {},
): Html | null {
  const first = metrics.get(typeof names[0] === "string" ? names[0] : names[0][0]);
  const series = names.map((one, i) => {
    const [name, wanted] = typeof one === "string" ? [one, {}] : one;
    return curve(data, stage, name, { colour: (i % 4 + 1) as Series["colour"], ...wanted });
  }).filter((one) => one !== undefined);
  if (series.length === 0) return null;
  return lineChart({
    title: first?.title ?? "",
    unit: first?.unit,
    doc: first?.doc,
    share: first?.share,
    xName: stage === "ppo" ? "update" : "step",
    ...options,
    series,
  });
}

function stageLine(data: ReportData, name: StageName): Content {
  const stage = data.stages.find((one) => one.name === name);
  if (!stage) return null;
  const facts = [
    stage.steps !== undefined && `${groupThousands(stage.steps)} ${name === "ppo" ? "updates" : "steps"}`,
    stage.tokens !== undefined && `${shortCount(stage.tokens)} tokens`,
    stage.ran ? duration(stage.seconds) : "taken from an earlier run",
  ].filter((fact) => fact);
  return html`<p class="about">${facts.join(" · ")}${
    stage.summary && html`. ${stage.summary[0].toUpperCase() + stage.summary.slice(1)}.`
  }</p>`;
}

export function sftSection(data: ReportData): Html {
  const validation = { name: "validation", colour: 2, points: true } as const;
  return html`${stageLine(data, "sft")}
<div class="charts">
${
    chartOf(
      data,
      "sft",
      [["precis/loss_response", { name: "training" }], ["eval/loss_response", validation]],
      { title: "Loss of responses", doc: "Response tokens only." },
    )
  }
${
    chartOf(data, "sft", [["precis/loss_query_and_response", { name: "training" }], [
      "eval/loss_query_and_response",
      validation,
    ]], { title: "Loss of all tokens", doc: "Query tokens counted, as the published recipe trains." })
  }
${
    chartOf(data, "sft", [["eval/rougeL", { name: "ROUGE-L", colour: 2, points: true }], ["eval/rouge1", {
      name: "ROUGE-1",
      colour: 1,
      points: true,
    }], ["eval/rouge2", { name: "ROUGE-2", colour: 4, points: true }]], { title: "ROUGE" })
  }
${chartOf(data, "sft", ["grad_norm"])}
${chartOf(data, "sft", ["lr"])}
</div>`;
}

export function rewardSection(data: ReportData): Html {
  const figures = data.evaluation?.reward;
  const noise = figures?.labelNoise;
  const validation = { name: "held out", colour: 2, points: true } as const;
  const groups = ["all", "split", "batch", "confidence"] as const;
  const rows = groups.flatMap((by) => figures?.accuracy.filter((row) => row.by === by) ?? []);
  return html`${stageLine(data, "reward")}
<div class="charts">
${
    chartOf(data, "reward", [["loss", { name: "training" }], ["eval/loss", validation]], {
      title: "Pairwise loss",
      doc: "Mean −log σ(r_chosen − r_rejected); chance is ln 2 = 0.693.",
      rule: { y: Math.LN2, name: "chance" },
    })
  }
${
    chartOf(data, "reward", [["accuracy", { name: "training" }], ["eval/accuracy", validation]], {
      title: "Accuracy",
      doc: "Share of pairs whose preferred summary scores higher.",
      ...(noise ? { rule: { y: 1 - noise, name: `ceiling: ${percent(noise)} of labels are wrong` } } : {}),
    })
  }
${figures ? calibrationChart(figures.calibration, figures.calibrationError) : null}
${figures?.distribution ? histogramChart(figures.distribution) : null}
${chartOf(data, "reward", ["precis/margin"])}
${chartOf(data, "reward", ["grad_norm"])}
${chartOf(data, "reward", ["lr"])}
</div>
${
    rows.length > 0 && html`
      <h3>Held-out accuracy</h3>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Pairs</th>
              <th scope="col" class="number">Accuracy</th>
              <th scope="col">0 to 100 %</th>
              <th scope="col" class="number">Pairs</th>
              <th scope="col" class="number">Loss</th>
            </tr>
          </thead>
          <tbody>${rows.map(({ by, name, accuracy, loss }) =>
            html`
              <tr${by === "all" && trusted(' class="strong"')}>
                <th scope="row">${by === "all"
                  ? "All"
                  : html`<small class="muted">${by}</small> ${name}`}</th>
                <td class="number"><b>${percent(accuracy.rate, 1)}</b> <small>${interval(
                  accuracy,
                )}</small></td>
                <td>${intervalBar(accuracy)}</td>
                <td class="number">${groupThousands(accuracy.count)}</td>
                <td class="number">${loss === undefined ? "–" : fixed(loss, 3)}</td>
                </tr>
            `
          )}</tbody>
        </table>
      </div>
      <p class="caption">${[
        figures?.goldAgreement !== undefined &&
        `The gold rule agrees with ${percent(figures.goldAgreement, 1)} of these labels.`,
        figures?.referenceMean !== undefined &&
        `Mean score of the SFT references after normalisation: ${fixed(figures.referenceMean, 4)}.`,
        "Confidence: 1 and 9 are the sure ends of the scale.",
      ].filter((one) => one).join(" ")}</p>
    `
  }`;
}

export function ppoSection(data: ReportData): Html {
  const checks = data.stages.find(({ name }) => name === "ppo")?.invariants ?? [];
  const limit = Number(
    (data.run.config.ppo as { responseLength?: number } | undefined)?.responseLength ?? NaN,
  );
  const sparse = (name: string) => data.metrics.some((record) => record[name] !== undefined);
  const lengthName = sparse("precis/length") ? "precis/length" : "val/length";
  const eosName = sparse("precis/eos_rate") ? "precis/eos_rate" : "val/eos_fraction";
  return html`${stageLine(data, "ppo")}
${
    checks.length > 0 && html`
      <h3>What must hold in the first update</h3>
      <div class="panel">
        <ul class="checks">${checks.map(({ name, found, expected, passed, tolerance }) =>
          html`<li><span class="mark ${passed ? "yes" : "no"}" role="img" aria-label="${
            passed ? "holds" : "does not hold"
          }">${passed ? "✓" : "✗"}</span><span>${name}</span><span class="found">${formatFigure(found)}${
            expected !== 0 && html`, expected ${formatFigure(expected)}`
          } ± ${formatFigure(tolerance)}</span></li>`
        )}</ul>
      </div>
      <h3>Curves</h3>
    `
  }
<div class="charts">
${
    chartOf(data, "ppo", [["objective/scores", { name: "score" }], ["objective/rlhf_reward", {
      name: "less KL",
      colour: 4,
    }]], {
      title: "Reward score",
      doc: "The reward model's score of samples, and what is left of it after the KL penalty.",
    })
  }
${sparse("precis/gold_score") ? chartOf(data, "ppo", [["precis/gold_score", { colour: 2 }]]) : null}
${chartOf(data, "ppo", ["objective/kl"])}
${chartOf(data, "ppo", [lengthName], Number.isFinite(limit) ? { rule: { y: limit, name: "limit" } } : {})}
${chartOf(data, "ppo", [eosName])}
${chartOf(data, "ppo", ["policy/entropy_avg"])}
${chartOf(data, "ppo", [["val/explained_variance", { colour: 3 }]], { include: [0] })}
${chartOf(data, "ppo", [["loss/value_avg", { colour: 3 }]])}
${chartOf(data, "ppo", ["loss/policy_avg"])}
${
    chartOf(data, "ppo", [["policy/clipfrac_avg", { name: "policy" }], ["val/clipfrac_avg", {
      name: "value",
      colour: 3,
    }]], { title: "Clip fraction", doc: "Share of tokens whose ratio, or value, is clipped." })
  }
${chartOf(data, "ppo", ["val/ratio"], { include: [1] })}
${chartOf(data, "ppo", ["policy/approxkl_avg"])}
${chartOf(data, "ppo", ["grad_norm"])}
${chartOf(data, "ppo", [["objective/kl_coef", { colour: 4 }]])}
${chartOf(data, "ppo", ["lr"])}
</div>
${courseSection(data.samples ?? [])}`;
}
