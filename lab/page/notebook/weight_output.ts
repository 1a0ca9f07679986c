/** <weight-output>: about a stored picture of a model's weight, the ways to all of the weight: here on the page's engine, or in the inspector. */
import { css, html, LitElement, nothing } from "lit";
import { shippedFolder } from "../../demo/places.ts";
import type { TensorEntry } from "../../inspect/types.ts";
import { EngineLost, sharedEngine } from "../engine.ts";
import { usualAddress, writeAddress } from "../inspect/address.ts";
import { type Inspector, inspectorOf } from "../inspect/service.ts";

/** What is there once the weight itself is on show. */
interface Opened {
  service: Inspector;
  entry: TensorEntry;
  vocabulary: readonly string[];
}

/** Whether a place is this page's own: what a stranger's notebook names elsewhere is not opened from within it. */
function isNear(place: string): boolean {
  return shippedFolder(place) !== undefined || /^(runs|kept)(\/[\w-][\w.-]*)+$/.test(place);
}

export class WeightOutput extends LitElement {
  static override properties = {
    place: { attribute: false },
    name: { attribute: false },
    opened: { state: true },
    busy: { state: true },
    trouble: { state: true },
  };
  /** Of the model. */
  declare place: string;
  /** The weight's published name. */
  declare name: string;
  declare private opened: Opened | null;
  declare private busy: boolean;
  declare private trouble: string;

  static override styles = css`
    :host {
      display: block;
    }
    p {
      margin: 6px 0 0;
      font: 12px/1.5 var(--sans);
      display: flex;
      flex-wrap: wrap;
      gap: 4px 12px;
      align-items: baseline;
    }
    a {
      color: var(--accent);
    }
    button {
      font: inherit;
      color: var(--ink);
      background: transparent;
      border: 1px solid var(--rule);
      border-radius: 3px;
      padding: 2px 8px;
      cursor: pointer;
    }
    :focus-visible {
      outline: 2px solid var(--accent);
      outline-offset: 1px;
    }
  `;

  constructor() {
    super();
    this.place = this.name = this.trouble = "";
    this.opened = null;
    this.busy = false;
  }

  /** The id that the inspector knows it by, below the place. */
  private get tensor(): string {
    return `weights/${this.name}`;
  }

  override willUpdate(changed: Map<PropertyKey, unknown>): void {
    if (changed.has("place") || changed.has("name")) this.opened = null;
  }

  override render() {
    const { opened, busy, place, tensor } = this;
    const query = writeAddress({ ...usualAddress, model: place, tensor });
    return html`${
      opened
        ? html`
          <tensor-view .source=${opened.service} .entry=${opened.entry} .vocabulary=${opened.vocabulary}
            .most=${360} @trouble=${this.onTrouble}></tensor-view>
        `
        : html`<slot></slot>`
    }<p>
      ${
      isNear(place)
        ? html`<button type="button" ?disabled=${busy} aria-expanded=${
          opened !== null
        } @click=${this.toggle}>${
          busy ? `Opening ${place} …` : opened ? "Back to the picture" : "Look closer"
        }</button>`
        : nothing
    }
      <a href=${`./inspect.html${query}`}>Inspect in ${place}</a>
      ${this.trouble ? html`<span role="status">${this.trouble}</span>` : nothing}
    </p>`;
  }

  private async toggle(): Promise<void> {
    this.trouble = "";
    if (this.opened) {
      this.opened = null;
      return;
    }
    this.busy = true;
    const { place, tensor } = this;
    try {
      await import("../inspect/tensor_view.ts");
      const service = inspectorOf(sharedEngine());
      const entry = await service.tensor(`${place}#${tensor}`);
      const vocabulary = entry.rowMeaning === "tokens" ? await service.vocabulary(place) : [];
      if (this.place === place && this.tensor === tensor) this.opened = { service, entry, vocabulary };
    } catch (error) {
      this.trouble = (error as Error).message;
    } finally {
      this.busy = false;
    }
  }

  /** Without its engine the view has nothing to show more of; the picture is there still. */
  private onTrouble(event: CustomEvent<Error>): void {
    if (!(event.detail instanceof EngineLost)) return;
    event.preventDefault();
    this.opened = null;
    this.trouble = event.detail.message;
  }
}

customElements.define("weight-output", WeightOutput);
