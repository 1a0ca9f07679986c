/** How a token's text is written where every character of it counts. */
import { html } from "lit";

/** A token's text with what is invisible made visible; marks have the class "mark". */
export function written(text: string) {
  if (text === "<|endoftext|>") return html`<span class="mark">end</span>`;
  const marked = (character: string) => html`<span class="mark">${character}</span>`;
  return Array.from(
    text,
    (c) => c === " " ? marked("·") : c === "\n" ? marked("↵") : c === "\t" ? marked("⇥") : c,
  );
}

/** The same for those who hear it. */
export const spoken = (text: string) =>
  text === "<|endoftext|>" ? "end of the summary" : text.trim() || "blank";
