/** Views of what only the lab puts out, by MIME type, in the order in which they are preferred. */
import { html, type TemplateResult } from "lit";
import { isObject } from "../../bytes.ts";
import type { PostOutput } from "../post_view.ts";
import "../post_view.ts";
import type { ShownToken } from "../../summarise.ts";
import "../token_strip.ts";
import { draftOf, type OutputContext } from "./outputs.ts";

type Value = Record<string, unknown>;
interface Place {
  metadata: Value;
  index: number;
  context: OutputContext;
}

/** Each shows a value, or nothing where the value is not of its form: then the next MIME type is tried. */
export const views: Record<string, (value: Value, place: Place) => TemplateResult | null> = {
  "application/vnd.precis.post+json": post,
  "application/vnd.precis.strip+json": strip,
};

function post(value: Value, { metadata, index, context }: Place): TemplateResult | null {
  const texts = [value.subreddit, value.title, value.post];
  if (!texts.every((text) => typeof text === "string") || !isWritten(value.written)) return null;
  const keep = ({ detail }: CustomEvent) => {
    const lab = { ...isObject(metadata.lab) ? metadata.lab : {} };
    delete lab.draft;
    context.annotate(index, { ...metadata, lab: detail ? { ...lab, draft: detail } : lab });
  };
  return html`
    <post-view .value=${value as unknown as PostOutput} .draft=${draftOf(metadata)} .model=${context.model}
      @draft=${keep}></post-view>
  `;
}

/** What models wrote, as the view takes it; a list of anything else is no such output. */
function isWritten(value: unknown): boolean {
  return Array.isArray(value) &&
    value.every((one) =>
      isObject(one) && typeof one.model === "string" && typeof one.text === "string" &&
      Array.isArray(one.tokens) &&
      one.tokens.every((token) => isObject(token) && typeof token.text === "string")
    );
}

function strip(value: Value): TemplateResult | null {
  const { tokens, label } = value;
  const sound = Array.isArray(tokens) &&
    tokens.every((token) =>
      isObject(token) && typeof token.text === "string" && typeof token.logprob === "number" &&
      typeof token.entropy === "number"
    );
  if (!sound) return null;
  return html`<token-strip .tokens=${tokens as ShownToken[]} label=${
    typeof label === "string" ? label : "Tokens"
  }></token-strip>`;
}
