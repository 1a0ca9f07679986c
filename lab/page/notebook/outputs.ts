/** How what a cell puts out is shown: ours as views, pictures and foreign markup safely, everything else as text. */
import { html, nothing, type TemplateResult } from "lit";
import { guard } from "lit/directives/guard.js";
import type { MimeBundle, Output } from "../../notebook/ipynb.ts";
import { isObject } from "../../bytes.ts";
import type { Post } from "../../query.ts";
import { markdownFragment, safeFragment } from "./markdown.ts";
import { views } from "./output_views.ts";

export interface OutputContext {
  /** Which cell's, for names and for what is kept with it. */
  cell: string;
  /** The model that the address of the page names in place of others. */
  model: string | null;
  /** Keeps something of the reader's with the output. */
  annotate(index: number, metadata: Record<string, unknown>): void;
  /** A knob was moved: the cell runs again with it. */
  turn(values: Record<string, unknown>): void;
}

/** Characters of one text that are shown before "show all". */
const shownAtFirst = 20_000;

export function outputView(output: Output, index: number, context: OutputContext): TemplateResult {
  switch (output.output_type) {
    case "stream":
      return html`<div class="output stream ${output.name}">${text(output.text)}</div>`;
    case "error":
      return errorView(output);
    default:
      return html`<div class="output display">${bundleView(output.data, output.metadata, index, context)}${
        captionOf(output.metadata)
      }</div>`;
  }
}

function bundleView(
  data: MimeBundle,
  metadata: Record<string, unknown>,
  index: number,
  context: OutputContext,
): TemplateResult | typeof nothing {
  for (const [mime, view] of Object.entries(views)) {
    const value = data[mime];
    if (!isObject(value)) continue;
    const shown = view(value, { data, metadata, index, context });
    if (shown) return shown;
  }
  const picture = ["image/png", "image/jpeg", "image/gif", "image/webp"].find((mime) =>
    typeof data[mime] === "string"
  );
  if (picture) {
    const about = typeof data["text/plain"] === "string"
      ? data["text/plain"]
      : "A picture that the cell put out";
    const size = isObject(metadata[picture]) ? metadata[picture] : {};
    const pixels = (value: unknown) =>
      typeof value === "number" && value > 0 && value < 1e5 ? value : nothing;
    return html`
      <img class="picture" alt=${about.slice(0, 300)} width=${pixels(size.width)} height=${pixels(
        size.height,
      )}
        src=${`data:${picture};base64,${String(data[picture]).replace(/[^A-Za-z0-9+/=]/g, "")}`}>
    `;
  }
  const markup = data["image/svg+xml"] ?? data["text/html"];
  if (typeof markup === "string") return html`<div class="markup">${once(markup, safeFragment)}</div>`;
  const markdown = data["text/markdown"];
  if (typeof markdown === "string") return html`<div class="prose">${once(markdown, markdownFragment)}</div>`;
  const json = data["application/json"];
  if (json !== undefined) return text(JSON.stringify(json, null, 2));
  const plain = data["text/plain"];
  if (typeof plain === "string") return text(plain);
  const [mime] = Object.keys(data);
  return mime
    ? html`<p class="hint">An output of the kind ${mime}, which this page cannot show.</p>`
    : nothing;
}

/** Markup made anew only where the text is another. */
function once(source: string, make: (source: string) => DocumentFragment) {
  return guard([source], () => make(source));
}

function text(whole: string): TemplateResult {
  if (whole.length <= shownAtFirst) return html`<pre>${withoutEscapes(whole)}</pre>`;
  const more = (event: Event) => {
    const holder = (event.target as HTMLElement).closest("div")!;
    holder.querySelector("pre")!.textContent = withoutEscapes(whole);
    (event.target as HTMLElement).remove();
  };
  return html`<div><pre>${
    withoutEscapes(whole.slice(0, shownAtFirst))
  }</pre><button type="button" class="quiet"
    @click=${more}>Show all ${whole.length.toLocaleString("en")} characters</button></div>`;
}

/** Colours that terminals understand mean nothing here. */
function withoutEscapes(whole: string): string {
  // deno-lint-ignore no-control-regex
  return whole.replace(/\x1b\[[\d;]*[A-Za-z]/g, "");
}

function errorView({ ename, evalue, traceback }: Extract<Output, { output_type: "error" }>): TemplateResult {
  const said = evalue ? `${ename}: ${evalue}` : ename;
  const stack = withoutEscapes(traceback.join("\n"));
  // A traceback begins with what it is the trace of.
  const places = stack.startsWith(said) ? stack.slice(said.length).replace(/^\s*\n/, "") : stack;
  return html`<div class="output error"><p><b>${ename}</b>${evalue ? `: ${evalue}` : ""}</p>${
    places.trim() ? html`<pre>${places}</pre>` : nothing
  }</div>`;
}

function captionOf({ lab }: Record<string, unknown>) {
  const caption = isObject(lab) ? lab.caption : undefined;
  return typeof caption === "string" ? html`<p class="caption">${caption}</p>` : nothing;
}

/** What the reader has changed in a post, kept in the output's metadata. */
export function draftOf(metadata: Record<string, unknown>): Post | null {
  const { lab } = metadata;
  const draft = isObject(lab) ? lab.draft : undefined;
  if (!isObject(draft)) return null;
  const { subreddit, title, post } = draft;
  const sound = [subreddit, title, post].every((value) => typeof value === "string");
  return sound ? { subreddit, title, post } as Post : null;
}
