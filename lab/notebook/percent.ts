/**
 * A notebook as TypeScript with cells after `// %%` lines, as VS Code and Jupytext have them: to read its differences, and to run it with
 * `deno run` (which, other than a notebook, does not let two cells declare one name). Outputs stay behind.
 *
 *     toPercent(notebook: Notebook): string
 *     fromPercent(path: string, text: string): Notebook               throws DamagedFileError
 *
 *     // %% [notebook]
 *     // { … }                                 the notebook's metadata as JSON
 *
 *     // %% [markdown] c1f0                    kind, id, and, where there is more, { "metadata", "attachments" } as JSON
 *     // # Title
 *
 *     // %% c2a7
 *     const x = 1;
 */
import { canonicalJson, DamagedFileError, isObject } from "../bytes.ts";
import { isCode, newCell, newNotebook, type Notebook, parseNotebook, serialiseNotebook } from "./ipynb.ts";

/** Line breaks other than "\n" become spaces in texts: TypeScript would end the comment that they are in. */
export function toPercent(notebook: Notebook): string {
  const blocks = [
    `// %% [notebook]\n${commented(JSON.stringify(JSON.parse(canonicalJson(notebook.metadata)), null, 1))}`,
  ];
  for (const cell of notebook.cells) {
    const { lab: _, ...metadata } = cell.metadata;
    const more = {
      ...(Object.keys(metadata).length > 0 && { metadata }),
      ...(!isCode(cell) && cell.attachments && { attachments: cell.attachments }),
    };
    const kind = isCode(cell) ? "" : ` [${cell.cell_type}]`;
    const json = Object.keys(more).length > 0 ? ` ${oneLine(canonicalJson(more))}` : "";
    blocks.push(
      `// %%${kind} ${cell.id}${json}\n${isCode(cell) ? escaped(cell.source) : commented(cell.source)}`,
    );
  }
  return blocks.join("\n\n") + "\n";
}

/** JSON in a comment: the line breaks that JSON leaves as they are would end it. */
function oneLine(json: string): string {
  return json.replace(/[\u2028\u2029]/g, (one) => `\\u${one.charCodeAt(0).toString(16)}`);
}

function commented(text: string): string {
  return text.replace(/[\r\u2028\u2029]/g, " ").split("\n").map((line) => line === "" ? "//" : `// ${line}`)
    .map(escapedLine)
    .join("\n");
}

function escaped(source: string): string {
  return source.split("\n").map(escapedLine).join("\n");
}

/** What would be taken for the beginning of a cell gets a backslash. */
function escapedLine(line: string): string {
  return line.replace(/^(\/\/ \\*)%%/, "$1\\%%");
}

function unescapedLine(line: string): string {
  return line.replace(/^(\/\/ \\*)\\%%/, "$1%%");
}

const opening = /^\/\/ %%(?: \[(\w+)\])?(?: +([\w-]{1,64})(?= |$))?(.*)$/;

/**
 * Reads a notebook back. Cells without an id get one from source and place; a title behind `// %%` is passed over; what stands before
 * the first cell is a cell of code.
 * @param path for messages
 * @throws DamagedFileError where the notebook's or a cell's metadata cannot be read
 */
export function fromPercent(path: string, text: string): Notebook {
  const notebook = newNotebook(0);
  /** Lines of the cell being read. */
  let cell: { line: number; kind: string; id?: string; more: string; lines: string[] } = {
    line: 1,
    kind: "code",
    more: "",
    lines: [],
  };
  const blocks: typeof cell[] = [];
  for (const [i, line] of text.split("\n").entries()) {
    const match = opening.exec(line);
    if (!match) cell.lines.push(unescapedLine(line));
    else {
      blocks.push(cell);
      const [, kind = "code", id, more] = match;
      cell = { line: i + 1, kind, id, more: more.trim(), lines: [] };
    }
  }
  // The last line ends with a line break of its own; every other cell is followed by an empty line as well.
  if (cell.lines.at(-1) === "") cell.lines.pop();
  blocks.forEach(({ lines }) => lines.at(-1) === "" && lines.pop());
  blocks.push(cell);
  const [before, ...rest] = blocks;

  for (const { line, kind, id, more, lines } of before.lines.join("").trim() === "" ? rest : blocks) {
    const refuse = (what: string): never => {
      throw new DamagedFileError(`${path}:${line} ${what}; mend the line or export the notebook again.`);
    };
    const json = (text: string, what: string): Record<string, unknown> => {
      try {
        const value = JSON.parse(text);
        if (isObject(value)) return value;
      } catch {
        // Said below.
      }
      return refuse(`holds ${what} that is no JSON object`);
    };
    const words = lines.map((one) => one.replace(/^\/\/ ?/, "")).join("\n");
    if (kind === "notebook") {
      notebook.metadata = json(words, "notebook metadata") as Notebook["metadata"];
      continue;
    }
    if (kind !== "code" && kind !== "markdown" && kind !== "raw") {
      refuse(`begins a cell of the unknown kind "${kind.slice(0, 40)}"`);
    }
    const source = kind === "code" ? lines.join("\n") : words;
    const made = newCell(kind as "code", source, notebook.cells.length, notebook.cells);
    if (id !== undefined) made.id = id;
    if (more.startsWith("{")) {
      const { metadata = made.metadata, attachments } = json(more, "metadata of a cell");
      if (!isObject(metadata)) return refuse("holds metadata of a cell that is no JSON object");
      Object.assign(made, { metadata, ...(attachments !== undefined && { attachments }) });
    }
    notebook.cells.push(made);
  }
  // The file's own reader looks at all of it, metadata and ids included.
  return parseNotebook(path, new TextEncoder().encode(serialiseNotebook(notebook)));
}
