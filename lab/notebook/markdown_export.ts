/** A notebook as Markdown with its stored outputs: for READMEs, mails and whoever reads without a browser. */
import { isCode, languageOf, type MimeBundle, type Notebook, type Output } from "./ipynb.ts";
import { isSafeLink, pictureOf } from "./markdown.ts";

export function toMarkdown(notebook: Notebook): string {
  const language = languageOf(notebook);
  const parts = notebook.cells.flatMap((cell) => {
    if (!isCode(cell)) return cell.source.trim() === "" ? [] : [cell.source.trim()];
    const code = cell.source.trim() === "" ? [] : [fenced(cell.source.trimEnd(), language)];
    return [...code, ...cell.outputs.map(outputText).filter((text) => text !== "")];
  });
  return parts.join("\n\n") + "\n";
}

function outputText(output: Output): string {
  if (output.output_type === "stream") return fenced(output.text.trimEnd(), "text");
  if (output.output_type === "error") return fenced(output.traceback.join("\n"), "text");
  return bundleText(output.data);
}

function bundleText(bundle: MimeBundle): string {
  const markdown = bundle["text/markdown"], plain = bundle["text/plain"];
  if (typeof markdown === "string") return markdown.trim();
  const picture = pictureOf(bundle);
  const words = typeof plain === "string" ? plain : "";
  if (picture && isSafeLink(picture) || picture?.startsWith("data:image/")) {
    return `![${words.split("\n")[0].replace(/[[\]\\]/g, "\\$&")}](${picture})`;
  }
  return words === "" ? "" : fenced(words, "text");
}

/** A fence longer than any in the text. */
function fenced(text: string, language: string): string {
  const longest = Math.max(2, ...Array.from(text.matchAll(/`{3,}/g), ([ticks]) => ticks.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}${language}\n${text}\n${fence}`;
}
