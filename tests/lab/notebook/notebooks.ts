/** Notebooks for tests. */
import {
  type Cell,
  isCode,
  newCell,
  newNotebook,
  type Notebook,
  type Output,
} from "../../../lab/notebook/ipynb.ts";
import { uniforms } from "../../kernels/testing.ts";

/** A notebook of code cells, or of markdown where the source begins with "# ". */
export function notebookOf(sources: readonly string[], seed = 7): Notebook {
  const notebook = newNotebook(seed);
  sources.forEach((source, i) =>
    notebook.cells.push(newCell(source.startsWith("# ") ? "markdown" : "code", source, i, notebook.cells))
  );
  return notebook;
}

const digest = (digit: number) => "0123456789abcdef"[digit].repeat(64);

/** A notebook with some of everything that the format has, and of what is ours. */
export function richNotebook(seed: number): Notebook {
  const next = uniforms(seed);
  const below = (n: number) => Math.floor(next() * n);
  const pick = <T>(list: readonly T[]) => list[below(list.length)];
  const texts = [
    "",
    "a",
    "a\n",
    "\n\nb",
    "größe 🙂\u2028\r\n",
    "\ud800",
    "1 + 1",
    'const x = "\\n"\nx\n',
    "\u0000\u001b[31m",
  ];
  const text = () => pick(texts);
  const bundle = () => ({
    "text/plain": text(),
    ...(below(2) && { "image/png": "iVBORw0KGgo=" }),
    ...(below(2) && { "text/html": "<b>\n</b>" }),
    ...(below(2) && { "image/svg+xml": "<svg>\n</svg>" }),
    ...(below(2) && { "application/vnd.precis.tensor+json": { shape: [2, below(5)], z: null, a: [] } }),
    ...(below(2) && { "application/json": pick<unknown>([["a", "b"], "a\nb", 1.5e-7, null]) }),
  });
  const output = (): Output => {
    switch (below(4)) {
      case 0:
        return { output_type: "stream", name: pick(["stdout", "stderr"]), text: text() };
      case 1:
        return { output_type: "display_data", data: bundle(), metadata: below(2) ? {} : { isolated: true } };
      case 2:
        return { output_type: "execute_result", data: bundle(), metadata: {}, execution_count: below(9) };
      default:
        return { output_type: "error", ename: "TypeError", evalue: text(), traceback: [text(), text()] };
    }
  };
  const notebook = newNotebook(below(2 ** 32));
  const { lab } = notebook.metadata;
  if (below(2)) {
    Object.assign(notebook.metadata, {
      title: "T",
      authors: [{ name: "A. B." }],
      other: { 2: 1, 10: 1, b: 1 },
    });
    lab.models = { sft: digest(below(16)), base: digest(1) };
    lab.datasets = { tldr: digest(2) };
    lab.kernels = digest(3);
    lab.imports = { d3: { url: "https://example.org/d3@7.9.0/+esm", integrity: "sha384-AAAA" } };
    lab.needs = ["gpu", "network:example.org"];
  }
  for (let index = below(8); index > 0; index--) {
    const cell: Cell = newCell(pick(["code", "code", "markdown", "raw"]), text(), below(30), notebook.cells);
    if (isCode(cell)) {
      cell.outputs = Array.from({ length: below(4) }, output);
      cell.execution_count = below(2) ? below(100) : null;
      if (below(2)) {
        cell.metadata.tags = ["a", "b"];
        cell.metadata.lab = {
          inputs: {
            source: digest(4),
            needs: { c1: digest(5) },
            seed: 7,
            imports: digest(6),
            data: digest(7),
          },
          values: [{
            name: "logits",
            tier: pick(["A", "B", "C"]),
            digest: digest(8),
            tolerance: { absolute: 0, relative: 1e-5 },
            sketch: {
              shape: [2, 3],
              nonFinite: 1,
              mean: -0.25,
              rms: 0.5,
              absMax: 3,
              seed: 1,
              samples: [0.1, -3, "NaN"],
            },
          }],
        };
      }
    } else if (below(2)) cell.attachments = { "a.png": { "image/png": "iVBORw0KGgo=" } };
    notebook.cells.push(cell);
  }
  return notebook;
}
