/** <flow-view>: how large the loss's gradient is at each layer of the residual stream, and in each weight, beside the weight itself. */
import { css, html, LitElement, nothing } from "lit";
import type { Capture, WeightFlow } from "../../inspect/types.ts";
import { nats, significant } from "../numbers.ts";
import { paneStyle } from "./pane_style.ts";

export class FlowView extends LitElement {
  static override properties = { capture: { attribute: false }, open: { state: true } };
  declare capture: Capture | null;
  /** Layers whose weights are told one by one. */
  declare private open: ReadonlySet<string>;

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
    this.capture = null;
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
      <p class="small">${this.about()} Bars are logarithmic over six decades.</p>
      <section>
        <h3>Residual stream</h3>
        <table>
          <thead>
            <tr>
              <th>gradient of</th>
              <th class="number">norm</th>
              <th class="number">rms</th>
              <th></th>
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
        <h3>Weights</h3>
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th>weights of</th>
                <th class="number">‖weight‖</th>
                <th class="number">‖gradient‖</th>
                <th></th>
                <th class="number">‖gradient‖ ÷ ‖weight‖</th>
                <th class="number">next update ÷ ‖weight‖</th>
                <th></th>
              </tr>
            </thead>
            <tbody>${this.rows(flow.layers, flow.weights)}</tbody>
          </table>
        </div>
      </section>
    `;
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
