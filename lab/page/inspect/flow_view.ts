/** <flow-view>: how large the loss's gradient is at each layer of the residual stream, and in each weight, beside the weight itself. */
import { css, html, LitElement, nothing, type PropertyValues } from "lit";
import type { Capture, FiniteCheck, InspectedText, WeightFlow } from "../../inspect/types.ts";
import { nats, significant } from "../numbers.ts";
import { paneStyle } from "./pane_style.ts";
import type { Inspector } from "./service.ts";

export class FlowView extends LitElement {
  static override properties = {
    service: { attribute: false },
    capture: { attribute: false },
    text: { attribute: false },
    open: { state: true },
    check: { state: true },
  };
  declare service: Pick<Inspector, "finite"> | null;
  declare capture: Capture | null;
  declare text: InspectedText | null;
  /** Layers whose weights are told one by one. */
  declare private open: ReadonlySet<string>;
  /** Where the first value that is not finite was made; null until that was looked for. */
  declare private check: FiniteCheck | "looking" | Error | null;

  static override styles = [
    paneStyle,
    css`
      td.wide {
        width: 22%;
      }
      td button {
        border: 0;
        background: none;
        padding: 0;
        font: 12px/1.6 var(--mono);
      }
      td.name {
        font: 12px/1.6 var(--mono);
        white-space: nowrap;
      }
      .inner td.name {
        padding-left: 18px;
      }
      .inner td {
        color: var(--muted);
      }
      section {
        margin: 0 0 24px;
      }
      .flagged {
        color: light-dark(#a8006f, #ff77c8);
        font-weight: 600;
      }
    `,
  ];

  constructor() {
    super();
    this.service = null;
    this.capture = null;
    this.text = null;
    this.check = null;
    this.open = new Set();
  }

  override render() {
    const flow = this.capture?.flow;
    if (!flow) {
      return html`
        <p
          class="hint">Here the size of the gradient at every layer would be. Run a text above with <b>gradients</b> on: the loss
                of SFT over the response goes backward once.</p>
      `;
    }
    const streamMost = Math.max(...flow.stream.map(({ norm }) => norm), 1e-300);
    return html`
      <p class="small">${this.about()} Bars are logarithmic over six decades. ${this.finite()}</p>
      <section>
        <h2>Residual stream</h2>
        <table>
          <thead>
            <tr>
              <th>gradient of</th>
              <th class="number">norm</th>
              <th class="number">rms</th>
              <td></td>
            </tr>
          </thead>
          <tbody>${flow.stream.map(({ name, norm, rms }) =>
            html`
              <tr>
                <td class="name">${name}</td>
                <td class="number">${significant(norm)}</td>
                <td class="number">${significant(rms)}</td>
                <td class="wide" style="width: 50%">${bar(norm, streamMost)}</td>
              </tr>
            `
          )}</tbody>
        </table>
      </section>
      <section>
        <h2>Weights</h2>
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th>weights of</th>
                <th class="number">‖weight‖</th>
                <th class="number">‖gradient‖</th>
                <td></td>
                <th class="number">‖gradient‖ ÷ ‖weight‖</th>
                <th class="number">next update ÷ ‖weight‖</th>
                <td></td>
              </tr>
            </thead>
            <tbody>${this.rows(flow.layers, flow.weights)}</tbody>
          </table>
        </div>
      </section>
    `;
  }

  override willUpdate(changed: PropertyValues<this>): void {
    if (changed.has("capture")) this.check = null;
  }

  private finite() {
    const { check } = this;
    if (check === "looking") return "Looking at every tensor, forward and backward …";
    if (check instanceof Error) return html`<span class="bad">${check.message}</span>`;
    if (check) {
      return check.first
        ? html`<b class="flagged">${check.first}</b>`
        : "Every value is finite, forward and backward.";
    }
    return html`<button type="button" @click=${this.look}>Look for the first value that is not finite</button>`;
  }

  private async look(): Promise<void> {
    const { service, capture, text } = this;
    if (!service || !capture || !text) return;
    this.check = "looking";
    const check = await service.finite(capture.place, text).catch((error: Error) => error);
    if (this.capture === capture) this.check = check;
  }

  private rows(layers: WeightFlow[], weights: WeightFlow[]) {
    const gradientMost = Math.max(...layers.map(({ gradientNorm }) => gradientNorm), 1e-300);
    const updateMost = Math.max(...layers.map(({ updateRatio }) => updateRatio), 1e-300);
    const row = (flow: WeightFlow, name: unknown, kind: string) =>
      html`
        <tr class=${kind}>
          <td class="name">${name}</td>
          <td class="number">${significant(flow.weightNorm)}</td>
          <td class="number">${significant(flow.gradientNorm)}</td>
          <td class="wide">${bar(flow.gradientNorm, gradientMost)}</td>
          <td class="number">${significant(flow.gradientRatio)}</td>
          <td class="number">${significant(flow.updateRatio)}</td>
          <td class="wide">${flow.nonFinite > 0
            ? html`<span class="flagged">${flow.nonFinite} not finite</span>`
            : bar(flow.updateRatio, updateMost)}</td>
        </tr>
      `;
    return layers.map((layer) => {
      const of = weights.filter(({ name }) => name.startsWith(`${layer.name}.`) && name !== layer.name);
      const open = this.open.has(layer.name);
      const name = of.length === 0
        ? layer.name
        : html`<button type="button" aria-expanded=${open} @click=${() => this.toggle(layer.name)}>${
          open ? "▾" : "▸"
        } ${layer.name}</button>`;
      return html`${row(layer, name, "")}${
        open ? of.map((one) => row(one, one.name.slice(layer.name.length + 1), "inner")) : nothing
      }`;
    });
  }

  private about(): string {
    const { loss, score, lossFrom, tokens } = this.capture!;
    if (score !== undefined) return `Of the score, ${nats(score)}, of the last token.`;
    return loss === undefined
      ? ""
      : `Of the loss of ${nats(loss)} nats a token, over tokens ${lossFrom} to ${tokens.length - 1}.`;
  }

  private toggle(name: string): void {
    const open = new Set(this.open);
    if (!open.delete(name)) open.add(name);
    this.open = open;
  }
}

/** Six decades below the largest. */
function bar(value: number, most: number) {
  const share = value > 0 ? Math.max(0, 1 + Math.log10(value / most) / 6) : 0;
  return html`<span class="bar" style="width: ${share * 100}%"></span>`;
}

customElements.define("flow-view", FlowView);
