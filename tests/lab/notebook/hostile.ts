/** What a stranger might write into a notebook to have a reader's browser run or fetch something. */
import type { CodeCell, Notebook, Output } from "../../../lab/notebook/ipynb.ts";
import { notebookOf } from "./notebooks.ts";

/** Markdown, the last two too deep or too odd for one page with the others. */
export const hostile = [
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "a <b onclick='alert(1)'>b</b> <svg/onload=alert(1)>",
  "[x](javascript:alert(1)) [y](JaVaScRiPt&#58;alert(1)) [z](<java\nscript:alert(1)>) [v](vbscript:x) [d](data:text/html,<script>1</script>)",
  '[x](https://a.b "t\\" onmouseover=\\"alert(1)") <https://a.b/"onclick=alert(1)>',
  "![x](javascript:alert(1)) ![y](https://tracker.example/a.png) ![z](data:text/html;base64,PHNjcmlwdD4=)",
  '![" onerror="alert(1)](attachment:a.png) ![q](data:image/png;base64,iVBOR"onerror="x)',
  '```"><script>alert(1)</script>\n</code></pre><script>alert(1)</script>\n```',
  "`</code><script>alert(1)</script>`",
  "[r]: javascript:alert(1) 'x'\n[r] <javascript:alert(1)> www.a.b javascript:alert(1)",
  "| a<script> | b |\n|---|:-:|\n| <img src=x onerror=1> | [c](javascript:1) |",
  "- [x] <iframe src=//a.b>\n1. <style>*{}</style>\n\n# <a href=javascript:1>h</a> {#x onclick=1}",
  "<!-- --!><script>1</script> --> <![CDATA[<script>]]> <?php <script>?>",
  "&lt;script&gt; &#60;script&#62; \u202escript\u0000",
  "> ".repeat(30_000) + "deep",
  "\ud800<scr\u0000ipt>",
];

/** All of it in every place that a notebook has. */
export function hostileNotebook(): Notebook {
  const bad = hostile.slice(0, -2).join("\n\n");
  const outputs: Output[] = [
    { output_type: "stream", name: 'stderr" onclick="x', text: bad },
    {
      output_type: "error",
      ename: "<script>",
      evalue: bad,
      traceback: [bad, "\u001b[31m<script>red\u001b[0m"],
    },
    ...[
      { "text/html": bad, "text/plain": bad },
      { "text/html": bad },
      { "text/markdown": bad },
      { "image/png": '"><script>' },
      { "image/png": "iVBORw0KGgo=", "text/plain": '" onerror="alert(1)' },
      { "image/svg+xml": '<svg onload="alert(1)"><script>1</script></svg>"' },
      { "application/javascript": "alert(1)" },
      { 'application/vnd."><script>+json': { "<script>": "</pre><script>" } },
      { "text/plain": bad, "application/vnd.precis.tensor+json": {} },
    ].map((data): Output => ({ output_type: "display_data", data, metadata: {} })),
  ];
  const notebook = notebookOf(["# " + bad, bad]);
  (notebook.cells[1] as CodeCell).outputs = outputs;
  notebook.cells.push({ cell_type: "raw", id: "r", metadata: {}, source: bad });
  const { lab } = notebook.metadata;
  Object.assign(lab, {
    models: { [bad]: "0".repeat(64) },
    needs: [bad],
    imports: { [bad]: { url: bad, integrity: "sha256-A" } },
  });
  return notebook;
}
