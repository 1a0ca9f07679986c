/** What the page keeps on this device: how much room it takes, weights and models one by one, and a way to be rid of each. */
import { css, html, LitElement, nothing } from "lit";
import type { Engine } from "../engine.ts";
import { size } from "../numbers.ts";
import type { Storage } from "./service.ts";

export class StoragePanel extends LitElement {
  static override properties = { storage: { state: true }, trouble: { state: true } };
  declare private storage: Storage | null;
  declare private trouble: string;
  /** Gives the worker, in which files can be written. */
  engine: (() => Engine) | null = null;

  static override styles = css`
    :host {
      display: block;
      font: 14px/1.5 var(--sans);
    }
    p {
      margin: 0 0 8px;
      text-wrap: pretty;
    }
    table {
      border-collapse: collapse;
      width: 100%;
      font-variant-numeric: tabular-nums;
    }
    td {
      border-top: 1px solid var(--rule);
      padding: 4px 8px 4px 0;
      overflow-wrap: anywhere;
    }
    td.bytes {
      text-align: right;
      white-space: nowrap;
      color: var(--muted);
    }
    td:last-child {
      text-align: right;
      padding-right: 0;
    }
    button {
      font: inherit;
      font-size: 12px;
      color: var(--ink);
      background: var(--alt);
      border: 1px solid var(--rule);
      border-radius: 4px;
      padding: 2px 8px;
      cursor: pointer;
    }
    :focus-visible {
      outline: 2px solid var(--accent);
      outline-offset: 1px;
    }
    .muted {
      color: var(--muted);
      font-size: 12px;
    }
  `;

  constructor() {
    super();
    this.storage = null;
    this.trouble = "";
  }

  /** Looks again. */
  async look(): Promise<void> {
    await this.doing(async () => {});
  }

  private async doing(work: (engine: Engine) => Promise<void>) {
    this.trouble = "";
    try {
      const engine = this.engine!();
      await work(engine);
      this.storage = await engine.lab.storage.look();
    } catch (error) {
      this.trouble = (error as Error).message;
    }
  }

  override render() {
    const { storage } = this;
    if (this.trouble) return html`<p role="alert">${this.trouble}</p>`;
    if (!storage) {
      return html`
        <p class="muted">Looking …</p>
      `;
    }
    const { usage, quota, persisted, weights, models } = storage;
    return html`
      <p>${usage === undefined
        ? "This browser does not say how much this page keeps."
        : `This page keeps ${size(usage)}${quota ? ` of the ${size(quota)} that it may` : ""}.`} ${persisted
        ? "The browser will not clear it by itself."
        : html`The browser may clear it when room is short. <button @click=${() =>
          this.doing(async () => void await navigator.storage.persist())}>Ask it not to</button>`}</p>
      ${weights.length + models.length === 0
        ? html`
          <p
            class="muted">No weights are kept yet: the first time that a model is opened, its weights stay here, and the next visit needs no network for them. Models that you train in a notebook come here with
            <code>lab.keep</code>.</p>
        `
        : nothing}
      <table>${models.map(({ name, bytes }) =>
        this.row(`kept/${name}`, size(bytes), (engine) => engine.lab.storage.forgetModel(name))
      )}${weights.map(({ address, here, size: whole, folder }) =>
        this.row(
          address || "damaged",
          here === whole ? size(whole) : `${size(here)} of ${size(whole)}`,
          (engine) => engine.lab.storage.forgetWeights(folder),
        )
      )}</table>
    `;
  }

  private row(name: string, bytes: string, forget: (engine: Engine) => Promise<void>) {
    return html`
      <tr>
        <td>${name}</td>
        <td class="bytes">${bytes}</td>
        <td><button aria-label=${`Remove ${name}`} @click=${() => this.doing(forget)}>Remove</button></td>
      </tr>
    `;
  }
}

customElements.define("storage-panel", StoragePanel);
