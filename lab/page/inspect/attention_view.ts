/**
 * <attention-view>: every head of every layer as a small map; one of them large, with its tokens along the edges, and what a token looks
 * at, or is looked at by, in the text itself.
 */
import { css, html, LitElement, nothing, type PropertyValues } from "lit";
import { type ColourScale, paint } from "../../inspect/colour.ts";
import type { AttentionMap, AttentionThumbnails, Capture } from "../../inspect/types.ts";
import { duration, percent, significant } from "../numbers.ts";
import { type AttentionScale, attentionScales } from "./address.ts";
import { attentionOf, scaled, withoutSink } from "./attention_text.ts";
import { visible } from "./labels.ts";
import { newestOnly } from "./newest.ts";
import { cssColour, lettersOn, themeOf } from "./palette.ts";
import { paneStyle } from "./pane_style.ts";
import type { Inspector } from "./service.ts";

const unit: ColourScale = { kind: "fixed", extent: 1 };

export class AttentionView extends LitElement {
  static override properties = {
    service: { attribute: false },
    capture: { attribute: false },
    layer: { type: Number },
    head: { type: Number },
    scale: {},
    sink: { type: Boolean },
    position: { type: Number },
    thumbnails: { state: true },
    map: { state: true },
    at: { state: true },
    direction: { state: true },
    trouble: { state: true },
  };
  declare service: Pick<Inspector, "attention" | "attentionThumbnails"> | null;
  declare capture: Capture | null;
  declare layer: number;
  declare head: number;
  declare scale: AttentionScale;
  /** The first token, which many heads rest on, is left out. */
  declare sink: boolean;
  /** The token that the text tells of. */
  declare position: number | undefined;
  declare private thumbnails: AttentionThumbnails | null;
  declare private map: AttentionMap | null;
  declare private at: { row: number; column: number } | null;
  declare private direction: "from" | "to";
  declare private trouble: string;
  private askMap!: (question: { capture: string; layer: number; head: number }) => void;
  private readonly scheme = matchMedia("(prefers-color-scheme: dark)");
  private readonly redraw = () => this.requestUpdate();
  private readonly resized = new ResizeObserver(() => this.drawMap());

  static override styles = [
    paneStyle,
    css`
      .grid {
        display: grid;
        gap: 3px;
        width: fit-content;
        align-items: center;
      }
      .grid span {
        color: var(--muted);
        font: 11px/1 var(--mono);
        text-align: center;
      }
      .grid button {
        padding: 0;
        border: 1px solid var(--rule);
        border-radius: 0;
        width: 50px;
        height: 50px;
        background: none;
      }
      .many .grid button {
        width: 34px;
        height: 34px;
      }
      .grid button[aria-pressed="true"] {
        outline: 2px solid var(--accent);
        outline-offset: 0;
      }
      .grid canvas {
        display: block;
        width: 100%;
        height: 100%;
        image-rendering: pixelated;
      }
      .sides {
        display: grid;
        grid-template-columns: auto minmax(0, 1fr);
        gap: 32px;
        align-items: start;
      }
      .large canvas {
        display: block;
        width: 100%;
        max-width: 720px;
        cursor: crosshair;
        color: var(--ink);
        caret-color: var(--muted);
        outline-color: var(--accent);
        border: 0 solid var(--rule);
        font-family: var(--mono);
      }
      .readout {
        min-height: 3em;
        margin: 6px 0 0;
      }
      .text {
        border-top: 1px solid var(--rule);
        padding-top: 10px;
        margin-top: 12px;
      }
      .tokens {
        font: 14px/1.9 var(--mono);
        overflow-wrap: anywhere;
      }
      .tokens button {
        font: inherit;
        border: 0;
        border-radius: 2px;
        padding: 0 1px;
        margin: 0 1px 0 0;
        background: none;
        line-height: 1.5;
        white-space: pre-wrap;
      }
      .tokens button.here {
        outline: 2px solid var(--accent);
      }
      .wait {
        color: var(--muted);
      }
      @media (max-width: 900px) {
        .sides {
          grid-template-columns: minmax(0, 1fr);
          gap: 20px;
        }
      }
    `,
  ];

  constructor() {
    super();
    this.service = null;
    this.capture = null;
    this.layer = this.head = 0;
    this.scale = "root";
    this.sink = false;
    this.thumbnails = this.map = null;
    this.at = null;
    this.direction = "from";
    this.trouble = "";
    this.askMap = newestOnly(
      ({ capture, layer, head }) => this.service!.attention(capture, layer, head),
      (map, { capture }) => {
        if (capture === this.capture?.id) this.map = map;
      },
      (error) => this.trouble = error.message,
    );
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.scheme.addEventListener("change", this.redraw);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.scheme.removeEventListener("change", this.redraw);
    this.resized.disconnect();
  }

  override willUpdate(changed: PropertyValues<this>): void {
    const { capture, service } = this;
    if (changed.has("capture")) {
      this.thumbnails = this.map = null;
      this.trouble = "";
      if (capture && service) {
        service.attentionThumbnails(capture.id).then((thumbnails) => {
          if (this.capture === capture) this.thumbnails = thumbnails;
        }, (error) => this.trouble = error.message);
      }
    }
    if ((changed.has("capture") || changed.has("layer") || changed.has("head")) && capture && service) {
      this.layer = Math.min(this.layer, capture.layers - 1);
      this.head = Math.min(this.head, capture.queryHeads - 1);
      this.askMap({ capture: capture.id, layer: this.layer, head: this.head });
    }
  }

  override updated(changed: PropertyValues<this>): void {
    const large = this.renderRoot.querySelector(".large");
    if (large) this.resized.observe(large);
    this.drawMap();
    // Small maps change with what they show, not with where the pointer is.
    if (
      (["thumbnails", "scale", "sink"] as (keyof AttentionView)[]).some((name) => changed.has(name)) ||
      changed.size === 0
    ) {
      this.drawThumbnails();
    }
  }

  // ---- drawing ----

  private probabilities(): Float32Array {
    const { probabilities, tokens } = this.map!;
    return this.sink ? withoutSink(probabilities, tokens) : probabilities;
  }

  private drawThumbnails(): void {
    const { thumbnails } = this;
    if (!thumbnails) return;
    const { edge, heads, probabilities } = thumbnails, cells = edge * edge, theme = themeOf(this);
    for (const canvas of this.renderRoot.querySelectorAll<HTMLCanvasElement>(".grid canvas")) {
      const at = (Number(canvas.dataset.layer) * heads + Number(canvas.dataset.head)) * cells;
      const part = probabilities.slice(at, at + cells);
      const shown = this.sink ? part.map((p, i) => i % edge === 0 ? 0 : p) : part;
      canvas.width = canvas.height = edge;
      const pixels = paint(scaled(shown, edge, this.scale), new Uint32Array(cells), unit, theme);
      clearAbove(pixels, edge);
      canvas.getContext("2d")!.putImageData(new ImageData(pixels, edge, edge), 0, 0);
    }
  }

  /** Sides of the large map: room for names at its edges where they can be read, else the map alone. */
  private layout() {
    const canvas = this.renderRoot.querySelector<HTMLCanvasElement>(".large canvas");
    const width = canvas?.clientWidth ?? 0, tokens = this.map?.tokens ?? 1;
    const named = (width - 84) / tokens >= 8;
    const edge = named ? 84 : 26;
    return { canvas, width, edge, side: width - edge - 1, each: (width - edge - 1) / tokens, named };
  }

  private drawMap(): void {
    const { canvas, width, edge, side, each, named } = this.layout();
    if (!canvas || !this.map || !this.capture || width < 50) return;
    const { tokens } = this.map, theme = themeOf(this), ratio = devicePixelRatio || 1;
    canvas.style.height = `${width}px`;
    canvas.width = canvas.height = Math.round(width * ratio);
    const context = canvas.getContext("2d")!;
    const { color, caretColor, borderTopColor, outlineColor, fontFamily } = getComputedStyle(canvas);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const bitmap = document.createElement("canvas");
    bitmap.width = bitmap.height = tokens;
    const shown = scaled(this.probabilities(), tokens, this.scale);
    const pixels = paint(shown, new Uint32Array(shown.length), unit, theme);
    clearAbove(pixels, tokens);
    bitmap.getContext("2d")!.putImageData(new ImageData(pixels, tokens, tokens), 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(bitmap, edge, edge, side, side);
    if (this.sink) hatch(context, edge, edge, each, side, caretColor);
    context.strokeStyle = borderTopColor;
    context.strokeRect(edge - 0.5, edge - 0.5, side + 1, side + 1);
    context.font = `${named ? Math.min(10, each) : 10}px ${fontFamily}`;
    const focus = this.at ??
      (this.position === undefined ? null : { row: this.position, column: this.position });
    const label = (index: number) => named ? visible(this.capture!.tokens[index]?.text ?? "") : String(index);
    const step = named ? 1 : Math.max(1, Math.ceil(40 / each));
    for (let index = 0; index < tokens; index += step) {
      const middle = edge + (index + 0.5) * each;
      context.fillStyle = index === focus?.row ? color : caretColor;
      context.textAlign = "right";
      context.textBaseline = "middle";
      context.fillText(label(index).slice(0, 12), edge - 4, middle);
      context.save();
      context.translate(middle, edge - 4);
      if (named) context.rotate(-Math.PI / 2);
      context.textAlign = named ? "left" : "center";
      context.textBaseline = named ? "middle" : "bottom";
      context.fillStyle = index === focus?.column ? color : caretColor;
      context.fillText(label(index).slice(0, 12), 0, 0);
      context.restore();
    }
    if (focus) {
      context.strokeStyle = outlineColor;
      context.lineWidth = 1;
      if (this.at || this.direction === "from") context.strokeRect(edge, edge + focus.row * each, side, each);
      if (this.at || this.direction === "to") {
        context.strokeRect(edge + focus.column * each, edge, each, side);
      }
    }
  }

  // ---- acting ----

  private choose(layer: number, head: number): void {
    this.layer = layer;
    this.head = head;
    this.changed();
  }

  private changed(): void {
    const { layer, head, scale, sink, position } = this;
    this.dispatchEvent(
      new CustomEvent("attention-change", { detail: { layer, head, scale, sink, position } }),
    );
  }

  private point(event: PointerEvent): void {
    const { canvas, edge, each } = this.layout();
    const { left, top } = canvas!.getBoundingClientRect();
    const column = Math.floor((event.clientX - left - edge) / each);
    const row = Math.floor((event.clientY - top - edge) / each);
    const tokens = this.map?.tokens ?? 0;
    const inside = row >= 0 && column >= 0 && row < tokens && column < tokens;
    if (inside !== (this.at !== null) || row !== this.at?.row || column !== this.at?.column) {
      this.at = inside ? { row, column } : null;
    }
  }

  private lock(position: number): void {
    this.position = this.position === position ? undefined : position;
    this.changed();
  }

  // ---- rendering ----

  override render() {
    const { capture, thumbnails } = this;
    if (!capture) {
      return html`
        <p
          class="hint">Here each head’s attention over the text would be. Run a text above: its queries and keys are kept, and
                the maps are computed from them one by one.</p>
      `;
    }
    if (this.trouble) return html`<p class="bad" role="alert">${this.trouble}</p>`;
    return html`
      ${this.controls()}
      <div class="sides ${capture.layers * capture.queryHeads > 60 ? "many" : ""}">
        <div>
          <h2>${capture.layers} layers, ${capture.queryHeads} heads</h2>
          ${thumbnails
            ? this.grid(thumbnails)
            : html`<p class="wait">Computing ${
              capture.layers * capture.queryHeads
            } maps of ${capture.tokens.length} tokens …</p>`}
        </div>
        <div class="large">
          <h2>Layer ${this.layer}, head ${this.head}</h2>
          <canvas role="img" aria-label="Attention of layer ${this.layer}, head ${this
            .head}: rows look at columns"
            @pointermove=${this.point} @pointerleave=${() => this.at = null}
            @click=${() =>
              this.at && this.lock(this.direction === "from" ? this.at.row : this.at.column)}></canvas>
          <div class="readout">${this.readout()}</div>
        </div>
      </div>
      ${this.map ? this.text() : nothing}
    `;
  }

  private controls() {
    const value = (event: Event) => (event.target as HTMLSelectElement).value;
    return html`
      <div class="controls">
        <label>Scale <select @change=${(event: Event) => {
          this.scale = value(event) as AttentionScale;
          this.changed();
        }}>${attentionScales.map((scale) =>
          html`<option value=${scale} ?selected=${scale === this.scale}>${
            {
              root: "square root",
              linear: "linear",
              log: "logarithmic, 3 decades",
              rank: "rank in the row",
            }[scale]
          }</option>`
        )}</select></label>
        <label><input type="checkbox" .checked=${this.sink} @change=${(event: Event) => {
          this.sink = (event.target as HTMLInputElement).checked;
          this.changed();
        }}>hide the first token</label>
        <span><kbd>,</kbd> <kbd>.</kbd> layer, <kbd>h</kbd> <kbd>l</kbd> head</span>
      </div>
    `;
  }

  private grid({ layers, heads }: AttentionThumbnails) {
    const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);
    return html`
      <div class="scroll">
        <div class="grid" role="group" aria-label="Layers and heads"
          style="grid-template-columns: 22px repeat(${heads}, auto)">
            <span></span>${numbers(heads).map((head) => html`<span>${head}</span>`)}
            ${numbers(layers).map((layer) =>
              html`<span>${layer}</span>${
                numbers(heads).map((head) =>
                  html`
                    <button type="button" aria-label="Layer ${layer}, head ${head}"
                      aria-pressed=${layer === this.layer && head === this.head}
                      @click=${() =>
                        this.choose(
                          layer,
                          head,
                        )}><canvas data-layer=${layer} data-head=${head}></canvas></button>
                  `
                )
              }`
            )}
          </div>
      </div>
    `;
  }

  private readout() {
    const { map, capture, at } = this;
    if (!map) return html`<p class="wait">Computing the map …</p>`;
    const name = (index: number) =>
      html`<code>${visible(capture!.tokens[index]?.text ?? "")}</code> (${index})`;
    if (at) {
      if (at.column > at.row) {
        return html`<p class="small">${name(at.row)} is before ${name(at.column)} and cannot look at it.</p>`;
      }
      const p = map.probabilities[at.row * map.tokens + at.column];
      return html`<p>${name(at.row)} looks at ${name(at.column)} with <b>${
        percent(p)
      }</b> <span class="small">p ${significant(p, 6)}</span></p>`;
    }
    const rest = map.probabilities.reduce((sum, p, i) => i % map.tokens === 0 ? sum + p : sum, 0) /
      map.tokens;
    return html`
      <p
        class="small">Each row sums to one over the columns before it and its own. The first token gets ${percent(
          rest,
        )} on average${this.sink
          ? "; it is left out here, and the others’ shares are of the rest"
          : ""}. Computed in ${duration(map.cost.milliseconds)}.</p>
    `;
  }

  private text() {
    const { map, capture, direction } = this, theme = themeOf(this);
    const { tokens } = map!;
    const focus = this.at ? (direction === "from" ? this.at.row : this.at.column) : this.position;
    const shares = focus === undefined ? null : attentionOf(this.probabilities(), tokens, focus, direction);
    const most = shares ? Math.max(1e-9, ...shares) : 1;
    return html`
      <div class="text">
        <div class="controls"><h2>In the text</h2>
              <label><input type="radio" name="direction" .checked=${direction === "from"}
                @change=${() => this.direction = "from"}>what a token looks at</label>
              <label><input type="radio" name="direction" .checked=${direction === "to"}
                @change=${() => this.direction = "to"}>who looks at it</label>
              <span>${focus === undefined
                ? "Choose a token."
                : html`<code>${visible(capture!.tokens[focus]?.text ?? "")}</code> ${focus}; full colour at ${
                  percent(most)
                }`}</span></div>
        <div class="tokens">${capture!.tokens.map(({ text }, index) => {
          const share = shares ? shares[index] / most : 0;
          const style = share > 0.01
            ? `background: ${cssColour(share, theme)}; color: ${lettersOn(share, theme)}`
            : "";
          return html`
            <button type="button" class=${index === focus ? "here" : ""} style=${style}
              aria-label="${text.trim() || "blank"}, token ${index}${shares
                ? `, ${percent(shares[index])}`
                : ""}" aria-pressed=${index === this.position}
              title=${shares ? percent(shares[index]) : ""} @click=${() => this.lock(index)}>${visible(
                text,
              )}</button>
          `;
        })}</div>
      </div>
    `;
  }
}

/** What no token can look at has no colour. */
function clearAbove(pixels: Uint8ClampedArray, edge: number): void {
  for (let row = 0; row < edge; row++) {
    for (let column = row + 1; column < edge; column++) pixels[4 * (row * edge + column) + 3] = 0;
  }
}

/** Marks a column as left out. */
function hatch(
  context: CanvasRenderingContext2D,
  left: number,
  top: number,
  width: number,
  height: number,
  colour: string,
): void {
  context.save();
  context.beginPath();
  context.rect(left, top, Math.max(3, width), height);
  context.clip();
  context.strokeStyle = colour;
  context.lineWidth = 0.7;
  context.beginPath();
  for (let y = top - width; y < top + height; y += 5) {
    context.moveTo(left, y + Math.max(3, width));
    context.lineTo(left + Math.max(3, width), y);
  }
  context.stroke();
  context.restore();
}

customElements.define("attention-view", AttentionView);
