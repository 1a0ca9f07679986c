/**
 * A notebook as one HTML file to read, with the outputs that are stored: no script, nothing from elsewhere, and the notebook itself to
 * download. What a stranger wrote into it stays text; a policy in the page forbids scripts once more.
 *
 *     notebookHtml(notebook: Notebook, title: string): Html           String(…) is the file
 */
import { canonicalJson } from "../bytes.ts";
import { type Content, type Html, html, trusted } from "../report/html.ts";
import {
  type Cell,
  type CodeCell,
  isCode,
  languageOf,
  type MimeBundle,
  type Notebook,
  type Output,
  serialiseNotebook,
} from "./ipynb.ts";
import { markdownHtml, pictureOf } from "./markdown.ts";
import { style } from "./html_style.ts";

/** @param title of the page, and, made harmless, of the file that it offers */
export function notebookHtml(notebook: Notebook, title: string): Html {
  const file = `${title.replace(/[^\p{L}\p{N} ._-]+/gu, "-").slice(0, 80).trim() || "notebook"}.ipynb`;
  const base64 = new TextEncoder().encode(serialiseNotebook(notebook)).toBase64();
  let position = 0;
  const cells = notebook.cells.map((cell) => isCode(cell) ? codeCell(cell, ++position) : textCell(cell));
  return html`
    <!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta http-equiv="Content-Security-Policy"
          content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>${title}</title>
        <style>${trusted(style)}</style>
      </head>
      <body>
        <main>
    ${cells.length > 0 ? cells : html`<p class="small">This notebook has no cells yet.</p>`}
        </main>
        <footer>
    ${facts(notebook)}
    <p><a download="${file}" href="data:application/x-ipynb+json;base64,${base64}">Download this notebook (${file})</a>
    to run it. This page shows what was stored when it was written, and runs nothing.</p>
        </footer>
      </body>
    </html>
  `;
}

function textCell(cell: Exclude<Cell, CodeCell>): Html {
  if (cell.cell_type === "raw") {
    return html`
      <section class="text" id="${cell.id}">
        <pre>${cell.source}</pre>
      </section>
    `;
  }
  return html`<section class="text" id="${cell.id}">${markdownHtml(cell.source, cell.attachments)}</section>`;
}

function codeCell(cell: CodeCell, position: number): Html {
  const name = `Cell ${position}`;
  const source = cell.source.trim() === "" ? null : html`<pre class="code"><code>${cell.source}</code></pre>`;
  return html`<section class="cell" id="${cell.id}" aria-label="${name}">
<p class="position" aria-hidden="true">${position}</p>
${source}
${cell.outputs.map((output) => html`<div class="output">${shown(output)}</div>`)}</section>`;
}

function shown(output: Output): Content {
  switch (output.output_type) {
    case "stream":
      return html`<pre class="${output.name === "stderr" ? "stderr" : "stdout"}">${plain(output.text)}</pre>`;
    case "error": {
      const said = `${output.ename}: ${output.evalue}`;
      const places = output.traceback.map(plain).join("\n");
      return html`<pre class="error">${
        places.includes(plain(said)) ? places : `${plain(said)}\n${places}`
      }</pre>`;
    }
    default:
      return bundle(output.data);
  }
}

/** The best of the representations that need no program to be seen. */
function bundle(data: MimeBundle): Content {
  const words = data["text/plain"];
  const picture = pictureOf(data);
  if (picture) {
    return html`<img src="${picture}" alt="${
      typeof words === "string" ? plain(words).slice(0, 300) : "figure"
    }">`;
  }
  const markdown = data["text/markdown"];
  if (typeof markdown === "string") return html`<div class="text">${markdownHtml(markdown)}</div>`;
  if (typeof words === "string") return html`<pre>${plain(words)}</pre>`;
  for (const [mime, value] of Object.entries(data)) {
    const text = typeof value === "string"
      ? value
      : JSON.stringify(JSON.parse(canonicalJson(value)), null, 1);
    return html`
      <details>
        <summary>${mime}, which this page does not draw</summary>
        <pre>${text}</pre>
      </details>
    `;
  }
  return null;
}

/** Without the colours of terminals. */
function plain(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/\x1b\[[0-9;?]*[ -/]*[@-~]/g, "");
}

/** What the outputs hang on. */
function facts(notebook: Notebook): Html {
  const { seed, models, datasets, kernels, imports, needs } = notebook.metadata.lab;
  const short = (digest: string) => html`<code title="${digest}">${digest.slice(0, 12)}</code>`;
  const rows: [string, Content][] = [["Language", languageOf(notebook)], ["Seed", seed]];
  for (const [place, digest] of Object.entries(models)) rows.push([`Model ${place}`, short(digest)]);
  for (const [place, digest] of Object.entries(datasets)) rows.push([`Data ${place}`, short(digest)]);
  if (kernels !== undefined) rows.push(["Kernels", short(kernels)]);
  for (const [specifier, { url, integrity, modules = {} }] of Object.entries(imports)) {
    const more = Object.keys(modules).length;
    const rest = more === 0 ? "" : ` and ${more} ${more === 1 ? "module" : "modules"} that it imports`;
    rows.push([`Import ${specifier}`, html`<code title="${integrity}">${url}</code>${rest}`]);
  }
  if (needs.length > 0) rows.push(["Asks for", needs.join(", ")]);
  return html`<dl>${
    rows.map(([name, value]) =>
      html`
        <dt>${name}</dt>
        <dd>${value}</dd>
      `
    )
  }</dl>`;
}
