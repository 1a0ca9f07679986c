/** Markdown and foreign HTML as safe DOM: nothing in it runs, loads from elsewhere, or passes for a part of the page. */
import DOMPurify from "dompurify";
import { Marked } from "marked";

const marked = new Marked({ gfm: true });

const purify = DOMPurify(window);

// What is shown of a picture comes with the text; all others would tell their server who reads here.
purify.addHook("uponSanitizeAttribute", (_node, data) => {
  const { attrName, attrValue } = data;
  if (attrName === "src" || attrName === "href" || attrName === "xlink:href") {
    // Notebooks name each other by their files.
    const [, notebook] = /^(?:\.\/)?([\w-]+)\.ipynb$/.exec(attrValue) ?? [];
    if (notebook && attrName === "href" && _node.nodeName.toLowerCase() === "a") {
      data.attrValue = `#shipped=${notebook}`;
      return;
    }
    const inText = /^data:image\/(png|jpeg|gif|webp);base64,/i.test(attrValue);
    const isLink = _node.nodeName.toLowerCase() === "a" && /^(https?:|mailto:|#)/i.test(attrValue);
    const isPart = attrName !== "src" && attrValue.startsWith("#");
    if (!inText && !isLink && !isPart) data.keepAttr = false;
  } else if (/url\s*\(\s*(?!["']?#)/i.test(attrValue)) data.keepAttr = false;
});
purify.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName.toLowerCase() !== "a" || !node.hasAttribute("href")) return;
  if (node.getAttribute("href")!.startsWith("#")) return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer");
});

/** HTML, SVG or MathML that came from anywhere, reduced to what can be looked at. */
export function safeFragment(source: string): DocumentFragment {
  return purify.sanitize(source, {
    RETURN_DOM_FRAGMENT: true,
    USE_PROFILES: { html: true, svg: true, svgFilters: true, mathMl: true },
    FORBID_TAGS: [
      "style",
      "form",
      "input",
      "button",
      "textarea",
      "select",
      "option",
      "audio",
      "video",
      "image",
    ],
    FORBID_ATTR: [
      "style",
      "class",
      "id",
      "name",
      "srcset",
      "poster",
      "background",
      "ping",
      "action",
      "autofocus",
    ],
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
  });
}

/** A markdown cell's text. */
export function markdownFragment(source: string): DocumentFragment {
  return safeFragment(marked.parse(source, { async: false }));
}

export interface Heading {
  level: number;
  text: string;
}

/** The headings of a markdown text, as they read. */
export function headingsOf(source: string): Heading[] {
  return marked.lexer(source).flatMap((token) => {
    if (token.type !== "heading") return [];
    const text = markdownFragment(token.text).textContent?.trim() ?? "";
    return [{ level: token.depth, text }];
  });
}
