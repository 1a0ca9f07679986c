/** The referee's page: which weights, which text, and how far the two engines are from each other. */
import { proxy } from "comlink";
import { css, html, LitElement, nothing } from "lit";
import { styleMap } from "lit/directives/style-map.js";
import type { Example } from "../../demo/example.ts";
import { formatTldrQuery } from "../../query.ts";
import type { Position } from "../../referee.ts";
import { type Engine, startEngine } from "../engine.ts";
import { duration, nats } from "../numbers.ts";
import { whereWebGpuIs } from "../webgpu.ts";
import type { refereeService } from "./service.ts";

type Verdict = Awaited<ReturnType<ReturnType<typeof refereeService>["compare"]>>;

/** A gap of 10⁻⁶ draws no bar, one of this draws a full one. */
const fullGap = 1e-2;

const barOf = (gap: number) => Math.min(1, Math.max(0, 1 + Math.log10(gap / fullGap) / 4));

const asked = new URLSearchParams(location.search);

export class RefereePage extends LitElement {
  static override properties = {
    place: { state: true },
    onnx: { state: true },
    provider: { state: true },
    text: { state: true },
    count: { state: true },
    doing: { state: true },
    trouble: { state: true },
    verdict: { state: true },
  };
  declare private place: string;
  /** Folder of an export; empty for one made here. */
  declare private onnx: string;
  declare private provider: "webgpu" | "wasm";
  declare private text: string;
  /** Tokens to write. */
  declare private count: number;
  declare private doing: string;
  declare private trouble: string;
  declare private verdict: Verdict | null;
  private engine: Engine | null = null;

  static override styles = css`
    :host {
      display: block;
    }
    form {
      display: grid;
      gap: 12px;
      margin: 24px 0 32px;
    }
    .row {
      display: flex;
      flex-wrap: wrap;
      gap: 12px;
      align-items: end;
    }
    label {
      display: grid;
      gap: 4px;
      font-size: 12px;
      color: var(--muted);
      flex: 1 1 220px;
    }
    label.short {
      flex: 0 1 190px;
    }
    input,
    select,
    textarea {
      font: 14px/1.5 var(--sans);
      color: var(--ink);
      background: var(--paper);
      border: 1px solid var(--rule);
      border-radius: 4px;
      padding: 6px 8px;
      width: 100%;
      min-width: 0;
      box-sizing: border-box;
    }
    textarea {
      font: 13px/1.5 var(--mono);
      resize: vertical;
    }
    button {
      font: 500 14px/1.5 var(--sans);
      color: var(--on-accent);
      background: var(--accent);
      border: 1px solid var(--accent);
      border-radius: 4px;
      padding: 6px 14px;
      cursor: pointer;
    }
    button:disabled {
      opacity: .5;
      cursor: default;
    }
    :focus-visible {
      outline: 2px solid var(--accent);
      outline-offset: 1px;
    }
    .doing,
    .hint,
    .small {
      color: var(--muted);
      font-size: 12px;
      margin: 0;
      text-wrap: pretty;
    }
    .trouble {
      border-left: 3px solid var(--negative);
      background: var(--alt);
      padding: 10px 14px;
      margin: 0;
      overflow-wrap: anywhere;
    }
    h2 {
      font: 600 14px/1.4 var(--sans);
      margin: 32px 0 8px;
    }
    .verdict {
      font: 22px/1.4 var(--serif);
      margin: 0;
      text-wrap: pretty;
    }
    .yes {
      color: var(--verified);
    }
    .no {
      color: var(--negative);
    }
    dl {
      display: grid;
      grid-template-columns: max-content minmax(0, 1fr);
      gap: 4px 16px;
      margin: 0;
    }
    dt {
      color: var(--muted);
    }
    dd {
      margin: 0;
      overflow-wrap: anywhere;
      font-family: var(--serif);
      font-size: 17px;
    }
    .scroll {
      overflow: auto;
      max-height: 480px;
      border-top: 1px solid var(--rule);
      border-bottom: 1px solid var(--rule);
    }
    table {
      border-collapse: collapse;
      width: 100%;
      font-variant-numeric: tabular-nums;
    }
    caption {
      text-align: left;
      color: var(--muted);
      font-size: 12px;
      padding-bottom: 4px;
    }
    th {
      position: sticky;
      top: 0;
      background: var(--paper);
      color: var(--muted);
      font-weight: 500;
      font-size: 12px;
    }
    th,
    td {
      text-align: right;
      padding: 2px 8px;
      white-space: nowrap;
    }
    th.text,
    td.text {
      text-align: left;
      font-family: var(--mono);
      white-space: pre;
    }
    td.bar {
      width: 20%;
      min-width: 60px;
    }
    td.bar span {
      display: block;
      height: 8px;
      background: var(--role-policy);
    }
    tr.apart td {
      color: var(--negative);
    }
  `;

  constructor() {
    super();
    this.place = asked.get("model") ?? "base";
    this.onnx = asked.get("onnx") ?? "";
    this.provider = asked.get("provider") === "wasm" ? "wasm" : "webgpu";
    this.text = "";
    this.count = 32;
    this.doing = "";
    this.trouble = "";
    this.verdict = null;
  }

  override async connectedCallback() {
    super.connectedCallback();
    try {
      const { post } = await (await fetch(new URL("demo/example.json", document.baseURI))).json() as Example;
      this.text ||= formatTldrQuery(post);
    } catch {
      this.trouble = "The post that ships with the page cannot be read; write a text of your own.";
    }
  }

  override disconnectedCallback() {
    super.disconnectedCallback();
    this.engine?.stop();
    this.engine = null;
  }

  private async compare() {
    this.trouble = "";
    this.doing = "Opening the GPU";
    try {
      const engine = this.engine ??= startEngine();
      const resolved = /^(base|sft|ppo)$/.test(this.place)
        ? this.place
        : new URL(this.place, document.baseURI).href;
      const note = proxy((doing: string) => this.doing = doing);
      this.verdict = await engine.unlessLost(
        engine.lab.referee.compare(
          { place: resolved, onnx: this.onnx.trim(), provider: this.provider },
          this.text,
          this.count,
          note,
        ),
      );
    } catch (error) {
      this.verdict = null;
      this.trouble = (error as Error).message;
      // What a fault has left of two engines on one device is not to be trusted.
      this.engine?.stop();
      this.engine = null;
    } finally {
      this.doing = "";
    }
  }

  override render() {
    const webgpu = "gpu" in navigator;
    const value = (event: Event) => (event.target as HTMLInputElement).value;
    return html`
      <form @submit=${(event: Event) => {
        event.preventDefault();
        this.compare();
      }}>
        <div class="row">
          <label>Our model: base, sft, ppo, or a folder<input list="places" autocomplete="off" spellcheck="false" .value=${this
            .place} @input=${(event: Event) => this.place = value(event)} required></label>
          <datalist id="places"><option value="base"></option><option value="sft"></option><option
            value="ppo"></option><option value="runs/demo/models/ppo"></option></datalist>
          <label>Theirs: a folder of deno task export --to onnx; empty for one made here
            <input autocomplete="off" spellcheck="false" placeholder="made from the same weights, in memory" .value=${this
              .onnx} @input=${(event: Event) => this.onnx = value(event)}></label>
          <label class="short">It computes on<select @change=${(event: Event) =>
            this.provider = value(event) as "webgpu" | "wasm"}>
            <option value="webgpu" ?selected=${this.provider === "webgpu"}>WebGPU: our device</option>
            <option value="wasm" ?selected=${this.provider === "wasm"}>WebAssembly</option></select></label>
          <label class="short">Tokens to write<input type="number" min="1" max="256" step="1" .value=${String(
            this.count,
          )} @change=${(event: Event) => this.count = Number(value(event))} required></label>
        </div>
        <label>Text<textarea rows="7" .value=${this.text} required
          @input=${(event: Event) => this.text = value(event)}></textarea></label>
        <div class="row"><button ?disabled=${this.doing !== "" || !webgpu}>Compare</button>
          <p class="doing" role="status">${this.doing ? `${this.doing} …` : ""}</p></div>
        ${webgpu
          ? nothing
          : html`<p class="trouble">This browser has no WebGPU, so our engine cannot run here. ${whereWebGpuIs}</p>`}
        ${this.trouble ? html`<p class="trouble" role="alert">${this.trouble}</p>` : nothing}
      </form>
      ${this.verdict
        ? this.result(this.verdict)
        : html`<p class="hint">Here the two will stand side by side: for every
          position the largest difference of their logits, and the text that each writes. The first comparison fetches about 24 MB of onnxruntime from this server.</p>`}
    `;
  }

  private result({ comparison, wrote, facts }: Verdict) {
    const { positions, worst, sameIds, milliseconds, referee } = comparison;
    const agree = positions.filter(({ likeliest }) => likeliest.ours === likeliest.theirs).length;
    const same = wrote.differsAt === null;
    const rate = (ms: number) => (positions.length / ms * 1000).toFixed(0);
    return html`
      <p class="verdict">Logits differ by at most <b>${worst.gap.toExponential(1)}</b>;
        <span class=${same ? "yes" : "no"}>${same
          ? "✓ the same greedy text"
          : `✗ the texts part at token ${wrote.differsAt! + 1}`}</span>,
        <span class=${agree === positions.length ? "yes" : "no"}>${agree === positions.length
          ? "✓"
          : "✗"} the same likeliest token at ${agree} of ${positions.length} positions</span>,
        <span class=${sameIds ? "yes" : "no"}>${sameIds ? "✓ the same" : "✗ other"} token ids</span>.</p>
      <p class="small">${referee}, beside our kernels on ${facts.adapter}${facts.software
        ? " (software)"
        : ""}. Greedy, f32.</p>
      <h2>Text</h2>
      <dl>
        <dt>Ours</dt>
        <dd class="ours">${wrote.text.ours}</dd>
        <dt>Theirs</dt>
        <dd class="theirs">${wrote.text.theirs}</dd>
      </dl>
      <h2>Speed, second of two runs</h2>
      <dl>
        <dt>The text at once</dt>
        <dd>ours ${duration(milliseconds.ours)}, ${rate(milliseconds.ours)} tokens/s; theirs ${duration(
          milliseconds.theirs,
        )}, ${rate(milliseconds.theirs)} tokens/s</dd>
        <dt>Writing</dt>
        <dd>ours ${wrote.rate.ours.toFixed(0)} tokens/s; theirs ${wrote.rate.theirs.toFixed(0)} tokens/s</dd>
      </dl>
      <p class="small">Times hold logits of every position read back to the host, which our training never does.</p>
      <h2>Position by position</h2>
      <p
        class="small">Bars are logarithmic: none at 10⁻⁶, full at 10⁻². The lead is that of our likeliest logit over the second: where it is below the difference, rounding alone may change the token.</p>
      <div class="scroll" tabindex="0" role="region" aria-label="Differences by position">
        <table>
          <thead>
            <tr>
              <th>#</th>
              <th class="text">token</th>
              <th>logprob of the next, ours</th>
              <th>theirs</th>
              <th>largest |Δ logit|</th>
              <th></th>
              <th>lead of the likeliest</th>
            </tr>
          </thead>
          <tbody>${positions.map((position, t) => this.position(position, t))}</tbody>
        </table>
      </div>
    `;
  }

  private position({ text, logprob, gap, likeliest, margin }: Position, t: number) {
    return html`
      <tr class=${likeliest.ours === likeliest.theirs ? "" : "apart"}>
        <td>${t + 1}</td>
        <td class="text">${JSON.stringify(text).slice(1, -1)}</td>
        <td>${logprob ? nats(logprob.ours) : "—"}</td>
        <td>${logprob ? nats(logprob.theirs) : "—"}</td>
        <td>${gap.toExponential(1)}</td>
        <td class="bar"><span style=${styleMap({ width: `${100 * barOf(gap)}%` })}></span></td>
        <td>${nats(margin)}</td>
      </tr>
    `;
  }
}

customElements.define("referee-page", RefereePage);
