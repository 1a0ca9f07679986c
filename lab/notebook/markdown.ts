/**
 * Markdown as HTML that is safe wherever it is put, without a DOM: HTML in the source is shown, not obeyed; links go to the web, to mail or
 * within the page; pictures are the notebook's own. Nothing that is let through can run.
 */
import { Marked, type Tokens } from "marked";
import { escapeHtml, type Html, html, trusted } from "../report/html.ts";
import type { MimeBundle } from "./ipynb.ts";

/** Pictures that can be shown from a data URI; scripts in an SVG do not run in an <img>. */
const pictures = ["image/png", "image/jpeg", "image/webp", "image/gif", "image/svg+xml"] as const;

/** A picture of a MIME bundle as a data URI. */
export function pictureOf(bundle: MimeBundle): string | undefined {
  for (const mime of pictures) {
    const data = bundle[mime];
    if (typeof data !== "string" || data === "") continue;
    if (mime === "image/svg+xml") return `data:${mime},${encodeURIComponent(data.toWellFormed())}`;
    const base64 = data.replace(/\s/g, "");
    if (/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return `data:${mime};base64,${base64}`;
  }
}

/** Whether a link's target is harmless: of the web, of mail, or in the page. */
export function isSafeLink(href: string): boolean {
  // Browsers pass over control characters and spaces in front, and over line breaks and tabs anywhere.
  // deno-lint-ignore no-control-regex
  const bare = href.replace(/[\x00-\x20\x7f-\x9f]/g, "").toLowerCase();
  return /^(https?:\/\/|mailto:|#)/.test(bare);
}

function link(href: string, inside: string, title?: string | null): string {
  const named = title ? ` title="${escapeHtml(title)}"` : "";
  return `<a href="${escapeHtml(href)}"${named} rel="noopener noreferrer">${inside}</a>`;
}

/** @param attachments the cell's pictures by file name, for `![](attachment:name)` */
export function markdownHtml(source: string, attachments: Readonly<Record<string, MimeBundle>> = {}): Html {
  const marked = new Marked({
    gfm: true,
    async: false,
    renderer: {
      html: ({ text }: Tokens.HTML | Tokens.Tag) => escapeHtml(text),
      link({ href, title, tokens }: Tokens.Link) {
        const inside = this.parser.parseInline(tokens);
        return isSafeLink(href) ? link(href, inside, title) : inside;
      },
      image({ href, text }: Tokens.Image) {
        const name = /^attachment:(.*)$/.exec(href)?.[1];
        const data = /^data:(image\/(?:png|jpeg|webp|gif));base64,(.*)$/.exec(href);
        const bundle = name !== undefined
          ? Object.entries(attachments).find(([one]) =>
            one === name || encodeURI(one) === name || encodeURIComponent(one) === name
          )?.[1]
          : data
          ? { [data[1]]: data[2] }
          : undefined;
        const picture = bundle && pictureOf(bundle);
        if (picture) return `<img src="${escapeHtml(picture)}" alt="${escapeHtml(text)}">`;
        // A picture from elsewhere would tell its server who reads this.
        return isSafeLink(href) ? link(href, escapeHtml(text || href)) : escapeHtml(text);
      },
    },
  });
  try {
    return trusted(marked.parse(source) as string);
  } catch (error) {
    // Quotes in quotes in quotes, without end.
    if (error instanceof RangeError) return html`<pre>${source}</pre>`;
    throw error;
  }
}
