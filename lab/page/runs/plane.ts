/** Score against √KL, all runs in one plane. */
import { css, html, LitElement, nothing, svg } from "lit";
import { formatFigure } from "../../format.ts";
import { metricTitle } from "../../metrics.ts";
import { ticks } from "../../report/chart.ts";
import { planeCourse, type PlanePoint } from "../../runs/plane.ts";
import type { WatchedRun } from "./watch.ts";

/** What can be on the y axis. */
const scores = ["objective/scores", "objective/rlhf_reward", "objective/raw_scores", "precis/gold_score"];

const height = 256, left = 46, right = 22, top = 10, bottom = 36;

/** Means that a line is drawn through. */
const parts = 48;

export class RunPlane extends LitElement {
  static override properties = {
    runs: { attribute: false },
    version: {},
    score: { state: true },
    at: { state: true },
    wide: { state: true },
  };
  declare runs: readonly WatchedRun[];
  declare version: string;
  declare private score: string;
  declare private at: { run: WatchedRun; point: PlanePoint } | null;
  /** Pixels across. */
  declare private wide: number;
  private resized = new ResizeObserver(() => this.wide = Math.max(240, this.clientWidth));

  static override styles = css`
    :host {
      display: block;
      border-top: 1px solid var(--rule);
      padding-top: 5px;
    }
    .head {
      display: flex;
      gap: 10px;
      align-items: baseline;
      justify-content: space-between;
    }
    h3 {
      font: 600 13px/1.4 var(--sans);
      margin: 0;
    }
    select {
      font: 12px/1.4 var(--sans);
      color: var(--ink);
      background: var(--paper);
      border: 1px solid var(--rule);
      border-radius: 3px;
      padding: 1px 4px;
    }
    svg {
      display: block;
      width: 100%;
      height: auto;
      overflow: visible;
    }
    text {
      font: 11px var(--sans);
      font-variant-numeric: tabular-nums;
      fill: var(--muted);
    }
    text.label {
      font-weight: 600;
      fill: var(--k);
    }
    .grid {
      stroke: var(--rule);
      stroke-width: .5;
    }
    .dots {
      fill: none;
      stroke: var(--k);
      stroke-width: 2.4;
      stroke-linecap: round;
      opacity: .22;
    }
    .line {
      fill: none;
      stroke: var(--k);
      stroke-width: 1.8;
      stroke-linejoin: round;
    }
    .best {
      fill: none;
      stroke: var(--k);
      stroke-dasharray: 3 3;
      opacity: .8;
    }
    .point {
      fill: var(--k);
    }
    .mark {
      fill: var(--paper);
      stroke: var(--k);
      stroke-width: 1.6;
    }
    p {
      font: 12px/1.45 var(--sans);
      font-variant-numeric: tabular-nums;
      color: var(--muted);
      margin: 2px 0 0;
      min-height: 2.9em;
    }
    p b {
      color: var(--ink);
      font-weight: 600;
    }
  `;

  constructor() {
    super();
    this.runs = [];
    this.version = "";
    this.score = scores[0];
    this.at = null;
    this.wide = 520;
  }

  override connectedCallback() {
    super.connectedCallback();
    this.resized.observe(this);
  }

  override disconnectedCallback() {
    super.disconnectedCallback();
    this.resized.disconnect();
  }

  override render() {
    const width = this.wide;
    const there = scores.filter((name) => this.runs.some(({ seen }) => seen.columns.curve("ppo", name)));
    const score = there.includes(this.score) ? this.score : there[0];
    const courses = this.runs.flatMap((run) => {
      const kl = run.seen.columns.curve("ppo", "objective/kl"),
        y = score && run.seen.columns.curve("ppo", score);
      return kl && y ? [{ run, ...planeCourse(kl, y, parts) }] : [];
    });
    const head = html`
      <div class="head">
        <h3>Score against √KL</h3>
        ${there.length > 1
          ? html`<select aria-label="What is on the y axis" @change=${(event: Event) =>
            this.score = (event.target as HTMLSelectElement).value}>${
            there.map((name) =>
              html`<option value=${name} ?selected=${name === score}>${metricTitle(name)}</option>`
            )
          }</select>`
          : nothing}
      </div>
    `;
    if (courses.every(({ dots }) => dots.length === 0)) {
      return html`${head}<p>The course of PPO would be drawn here: how much score it buys with how much distance from the SFT policy. It
        begins with the first update of stage ppo.</p>`;
    }
    const best = courses.flatMap(({ run }) => ({ run, points: bestOf(run, score) }));
    const all = [...courses.flatMap(({ dots }) => dots), ...best.flatMap(({ points }) => points)];
    const most = Math.max(0.1, ...all.map(({ x }) => x)) * 1.02;
    const [low, high] = room(Math.min(...all.map(({ y }) => y)), Math.max(...all.map(({ y }) => y)));
    const px = (x: number) => left + x / most * (width - left - right);
    const py = (y: number) => top + (high - y) / (high - low) * (height - top - bottom);
    const path = (points: readonly { x: number; y: number }[]) =>
      points.map(({ x, y }, i) => `${i ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`).join("");
    const spoken = courses.map(({ run, line }) =>
      `${run.name}: from ${formatFigure(line[0].y)} at KL ${formatFigure(line[0].kl)} to ${
        formatFigure(line.at(-1)!.y)
      } at KL ${formatFigure(line.at(-1)!.kl)}`
    ).join("; ");
    return html`
      ${head}
      <svg viewBox="0 0 ${width} ${height}" role="img" aria-label=${`Score against the square root of KL. ${spoken}`}
        @pointermove=${(event: PointerEvent) => this.point(event, courses, px, py)}
        @pointerleave=${() => this.at = null}>
        ${ticks(low, high, 5).map((y) =>
          svg`
            <line class="grid" x1=${left} x2=${width - right} y1=${py(y)} y2=${py(y)} />
            <text x=${left - 6} y=${py(y) + 4} text-anchor="end">${formatFigure(y)}</text>
          `
        )}
        ${ticks(0, most, 6).map((x) =>
          svg`<text x=${px(x)} y=${height - bottom + 15} text-anchor="middle">${
            Number(x.toPrecision(4))
          }</text>`
        )}
        <text x=${(left + width - right) / 2} y=${height -
          5} text-anchor="middle">√KL to the SFT policy, √nats a response</text>
        ${best.map(({ run, points }) =>
          points.length === 0
            ? nothing
            : svg`<g style="--k: var(${this.colourOf(run)})"><path class="best" d=${path(points)} />${
              points.map((point) => svg`<circle class="mark" cx=${px(point.x)} cy=${py(point.y)} r="2.5" />`)
            }</g>`
        )}
        ${courses.map(({ run, dots, line }) =>
          svg`
            <g style="--k: var(${this.colourOf(run)})">
              <path class="dots" d=${dots.map(({ x, y }) => `M${px(x).toFixed(1)} ${py(y).toFixed(1)}h0`)
                .join("")} />
              <path class="line" d=${path(line)} />
              <circle class="mark" cx=${px(line[0].x)} cy=${py(line[0].y)} r="3.5" />
              <circle class="point" cx=${px(line.at(-1)!.x)} cy=${py(line.at(-1)!.y)} r="3.5" />
              <text class="label" x=${px(line.at(-1)!.x) + 7} y=${py(line.at(-1)!.y) +
                4}>${this.runs.length > 1 ? run.label : line.at(-1)!.to}</text>
            </g>
          `
        )}
        ${this.at
          ? svg`<circle class="mark" style="--k: var(${this.colourOf(this.at.run)})" cx=${
            px(this.at.point.x)
          } cy=${py(this.at.point.y)} r="5" />`
          : nothing}
      </svg>
      <p>${this.readout(score, best.some(({ points }) => points.length > 0))}</p>
    `;
  }

  /** A run on its own has the colour of rewards. */
  private colourOf({ colour }: WatchedRun): string {
    return this.runs.length === 1 ? "--role-reward" : colour;
  }

  private readout(score: string, hasBest: boolean) {
    if (!this.at) {
      return html`Every update a dot, means over ${parts} parts a line, from the ring to the dot.${
        hasBest ? " Dashed: the best of N samples of the SFT policy." : ""
      } Score rising while KL runs away is reward hacking.`;
    }
    const { run, point: { from, to, kl, y } } = this.at;
    const updates = from === to ? `update ${from}` : `updates ${from} to ${to}`;
    return html`<b>${run.label} ${run.name}</b>, ${updates}: ${metricTitle(score)} <b>${
      formatFigure(y)
    }</b>, KL
      <b>${formatFigure(kl)}</b> nats.`;
  }

  private point(
    event: PointerEvent,
    courses: { run: WatchedRun; line: PlanePoint[] }[],
    px: (x: number) => number,
    py: (y: number) => number,
  ) {
    const box = (event.currentTarget as SVGElement).getBoundingClientRect();
    const [x, y] = [
      (event.clientX - box.left) / box.width * this.wide,
      (event.clientY - box.top) / box.height * height,
    ];
    let nearest = Infinity;
    for (const { run, line } of courses) {
      for (const point of line) {
        const distance = Math.hypot(px(point.x) - x, py(point.y) - y);
        if (distance < nearest) [nearest, this.at] = [distance, { run, point }];
      }
    }
  }
}

/** Best-of-N of the SFT policy and that policy itself, by the score that is shown. */
function bestOf({ seen: { evaluation } }: WatchedRun, score: string): { x: number; y: number }[] {
  const { sft, bestOf = [] } = evaluation?.optimisation ?? {};
  const key = score === "precis/gold_score" ? "gold" : "reward";
  return [...sft ? [sft] : [], ...bestOf].flatMap((point) => {
    const y = point[key];
    return y === undefined ? [] : [{ x: Math.sqrt(Math.max(0, point.kl)), y }];
  });
}

function room(low: number, high: number): [number, number] {
  const some = high > low ? 0.06 * (high - low) : 1;
  return [low - some, high + some];
}

customElements.define("run-plane", RunPlane);
