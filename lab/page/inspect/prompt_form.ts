/** <prompt-form>: the text that models are run on, and what is kept of the run. */
import { css, html, LitElement, nothing } from "lit";
import type { Capture } from "../../inspect/types.ts";
import { nats, size } from "../numbers.ts";
import type { Prompt } from "./address.ts";
import { paneStyle } from "./pane_style.ts";

/** What can be kept beside what attention maps and the lens need; the first three are not names. */
export const extras = [
  { pattern: "gradients", label: "gradients", about: "Runs the loss of SFT backward, for the gradient flow" },
  { pattern: "dispatches", label: "dispatches", about: "Records every dispatch, for the kernel view" },
  { pattern: "cache", label: "keys, values", about: "The cache of keys and values of every layer" },
  {
    pattern: "layers.*.attn.mixed",
    label: "attn.mixed",
    about: "What attention brings together, before its output matrix",
  },
  { pattern: "layers.*.attn.out", label: "attn.out", about: "The residual stream behind attention" },
  { pattern: "layers.*.mlp.gateUp", label: "mlp.gateUp", about: "Gate and up, before the activation" },
  { pattern: "layers.*.mlp.activated", label: "mlp.activated", about: "The hidden layer of the MLP" },
  { pattern: "*.norm", label: "*.norm", about: "What goes into attention and MLP" },
  { pattern: "*.grad", label: "*.grad", about: "Gradients of all activations" },
  { pattern: "weights.*.grad", label: "weights.*.grad", about: "Gradients of all weights" },
] as const;

export class PromptForm extends LitElement {
  static override properties = {
    prompt: { attribute: false },
    keep: { attribute: false },
    write: { type: Number },
    capture: { attribute: false },
    stale: { type: Boolean },
    busy: {},
    open: { type: Boolean },
    disabled: { type: Boolean },
  };
  declare prompt: Prompt;
  declare keep: readonly string[];
  /** Tokens that the model writes before it is captured; below 0 for a model that writes none. */
  declare write: number;
  declare capture: Capture | null;
  /** The text has changed since it was run. */
  declare stale: boolean;
  /** What is being done; empty for nothing. */
  declare busy: string;
  declare open: boolean;
  declare disabled: boolean;

  static override styles = [
    paneStyle,
    css`
      :host {
        border-bottom: 1px solid var(--rule);
        padding: 0 0 10px;
        margin: 0 0 14px;
      }
      .line {
        display: flex;
        gap: 12px;
        align-items: center;
        margin: 0;
      }
      .line p {
        flex: 1;
        margin: 0;
        min-width: 0;
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .line p span {
        color: var(--muted);
      }
      .stale {
        border-left: 2px solid var(--stale);
        padding-left: 8px;
      }
      form {
        display: grid;
        gap: 8px;
        margin: 10px 0 0;
      }
      .row {
        display: flex;
        flex-wrap: wrap;
        gap: 8px 16px;
        align-items: center;
      }
      .field {
        display: grid;
        gap: 2px;
        font-size: 12px;
        color: var(--muted);
        flex: 1 1 160px;
      }
      .field input,
      textarea {
        font: 14px/1.5 var(--serif);
        color: var(--ink);
        background: transparent;
        border: 1px solid var(--rule);
        border-radius: 3px;
        padding: 4px 8px;
        margin: 0;
        width: 100%;
        box-sizing: border-box;
      }
      textarea {
        resize: vertical;
      }
      fieldset {
        border: 0;
        margin: 0;
        padding: 0;
        display: flex;
        flex-wrap: wrap;
        gap: 4px 14px;
        font-size: 12px;
      }
      legend {
        float: left;
        padding: 0 14px 0 0;
        color: var(--muted);
      }
    `,
  ];

  constructor() {
    super();
    this.prompt = { kind: "text", text: "", post: { subreddit: "", title: "", post: "" }, summary: "" };
    this.keep = [];
    this.write = 0;
    this.capture = null;
    this.stale = this.open = this.disabled = false;
    this.busy = "";
  }

  private change(prompt: Partial<Prompt>): void {
    this.prompt = { ...this.prompt, ...prompt };
    this.dispatchEvent(new CustomEvent("prompt", { detail: this.prompt }));
  }

  private keeps(pattern: string, wanted: boolean): void {
    this.keep = wanted ? [...this.keep, pattern] : this.keep.filter((one) => one !== pattern);
    this.dispatchEvent(new CustomEvent("keep", { detail: this.keep }));
  }

  private writes(tokens: number): void {
    this.write = Math.max(0, Math.floor(tokens) || 0);
    this.dispatchEvent(new CustomEvent("write", { detail: this.write }));
  }

  private run(event?: Event): void {
    event?.preventDefault();
    this.dispatchEvent(new CustomEvent("run"));
  }

  override render() {
    const { prompt, busy, capture, stale, disabled } = this;
    const text = prompt.kind === "text" ? prompt.text : `${prompt.post.post} → ${prompt.summary}`;
    const facts = capture &&
      html`<span>${capture.tokens.length} tokens${
        capture.written > 0 ? `, the last ${capture.written} its own` : ""
      }, ${
        capture.score !== undefined
          ? `score ${nats(capture.score)}`
          : capture.loss !== undefined
          ? `loss ${nats(capture.loss)}`
          : ""
      }; ${capture.tensors.length} tensors kept, ${size(capture.bytes)}</span>`;
    return html`
      <div class="line ${stale && capture ? "stale" : ""}">
        <button type="button" aria-expanded=${this.open} aria-controls="form"
          @click=${() => this.open = !this.open}>${this.open ? "▾" : "▸"} Text</button>
        <p aria-live="polite">${busy
          ? html`<span>${busy} …</span>`
          : html`${facts || html`<span>not run yet:</span>`} ${
            stale && capture ? html`<b>of the text before your change</b>` : ""
          } ${text}`}</p>
        <button type="button" class=${stale || !capture ? "primary" : ""} ?disabled=${disabled ||
          busy !== "" ||
          text.trim().length < 2} @click=${this.run}>Run</button>
      </div>
      <form id="form" ?hidden=${!this.open} style=${this.open ? "" : "display: none"} @submit=${this.run}
        @keydown=${(event: KeyboardEvent) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.run(event);
        }}>
        <div class="row">
          ${(["summary", "text"] as const).map((kind) =>
            html`<label><input type="radio" name="kind" .checked=${prompt.kind === kind}
            @change=${() => this.change({ kind })}>${
              kind === "summary" ? "post and summary" : "plain text"
            }</label>`
          )}
          ${this.write < 0 ? nothing : html`
            <label
              title="Greedily, behind the text or in place of the summary; what is run and kept is all of it">then the
                        model writes <input type="number" min="0" max="512" .value=${String(
                          this.write,
                        )} @change=${(event: Event) =>
                          this.writes(Number((event.target as HTMLInputElement).value))}> tokens</label>
          `}
          <span class="small"><kbd>Ctrl</kbd> <kbd>Enter</kbd> runs</span>
        </div>
        ${prompt.kind === "summary" ? this.postFields() : this.textField()}
        <fieldset><legend>Keep also</legend>${extras.map(({ pattern, label, about }) =>
          html`<label title=${about}><input type="checkbox" .checked=${this.keep.includes(pattern)}
          @change=${(event: Event) =>
            this.keeps(pattern, (event.target as HTMLInputElement).checked)}>${label}</label>`
        )}
          <label>other <input size="18" placeholder="layers.0.*" .value=${this.keep.filter((one) =>
            !extras.some(({ pattern }) => pattern === one)
          ).join(" ")} @change=${(event: Event) => {
            const own = (event.target as HTMLInputElement).value.split(/[\s,]+/).filter(Boolean);
            this.keep = [...this.keep.filter((one) => extras.some(({ pattern }) => pattern === one)), ...own];
            this.dispatchEvent(new CustomEvent("keep", { detail: this.keep }));
          }}></label></fieldset>
      </form>
    `;
  }

  private postFields() {
    const { post, summary } = this.prompt;
    const value = (event: Event) => (event.target as HTMLInputElement).value;
    return html`
      <div class="row">
        <label class="field">Subreddit<input .value=${post.subreddit} autocomplete="off"
          @input=${(event: Event) => this.change({ post: { ...post, subreddit: value(event) } })}></label>
        <label class="field">Title<input .value=${post.title} autocomplete="off"
          @input=${(event: Event) => this.change({ post: { ...post, title: value(event) } })}></label>
      </div>
      <label class="field">Post<textarea rows="4" .value=${post.post}
        @input=${(event: Event) => this.change({ post: { ...post, post: value(event) } })}></textarea></label>
      <label class="field">Summary<input .value=${summary} autocomplete="off"
        @input=${(event: Event) => this.change({ summary: value(event) })}></label>
    `;
  }

  private textField() {
    return html`<label class="field">Text<textarea rows="3" .value=${this.prompt.text}
      @input=${(event: Event) =>
      this.change({ text: (event.target as HTMLTextAreaElement).value })}></textarea></label>`;
  }
}

customElements.define("prompt-form", PromptForm);
