/** What can be said of a notebook without running it: errors, names that are not there yet, outputs of another source. */
import { analyseCells, dependencies, inputRecords, whatChanged } from "./dependencies.ts";
import { notLocked } from "./import_specifiers.ts";
import { isCode, type Notebook } from "./ipynb.ts";

export interface Finding {
  /** From 1, among the code cells. */
  position: number;
  /** Of the cell, from 1, where one can be named. */
  line?: number;
  /** `error`: it will not run; `stale`: its outputs are not its source's; `note`: it may not come out the same. */
  kind: "error" | "stale" | "note";
  says: string;
}

/** Names whose values no seed decides. */
const undecided: Record<string, string> = {
  crypto: "random numbers of crypto are others every time; lab.random() draws the same",
  performance: "times are others every time",
};

/** `Date` is JavaScript's own, which no list of a cell's names has. */
const today = /\bnew Date\(\s*\)|\bDate\.now\b|\bDate\(\s*\)/;

/** Findings in the order of the cells. */
export async function checkNotebook(notebook: Notebook): Promise<Finding[]> {
  const cells = notebook.cells.filter(isCode);
  const analysed = analyseCells(cells);
  const links = dependencies(analysed);
  const now = await inputRecords(analysed, links, notebook.metadata.lab);
  const positions = new Map(cells.map(({ id }, i) => [id, i + 1]));
  return cells.flatMap((cell, i): Finding[] => {
    const position = i + 1;
    const { error, imports, uses } = analysed[i];
    if (error) return [{ position, line: error.line, kind: "error", says: error.what }];
    const found: Finding[] = [];
    for (const [name, id] of links[i].early) {
      const says = `"${name}" is used before cell ${positions.get(id)} defines it`;
      found.push({ position, kind: "error", says });
    }
    for (const name of links[i].missing) {
      found.push({ position, kind: "error", says: `"${name}" is defined nowhere` });
    }
    for (const specifier of new Set(imports.map(({ specifier }) => specifier))) {
      if (specifier === "precis" || Object.hasOwn(notebook.metadata.lab.imports, specifier)) continue;
      found.push({ position, kind: "error", says: notLocked(specifier).message.replace(/\.$/, "") });
    }
    for (const name of uses) {
      if (Object.hasOwn(undecided, name)) found.push({ position, kind: "note", says: undecided[name] });
    }
    if (today.test(cell.source)) {
      found.push({ position, kind: "note", says: "the date is another every time" });
    }
    const stored = cell.metadata.lab?.inputs;
    const changed = stored ? whatChanged(stored, now.get(cell.id)!) : [];
    if (changed.length > 0) {
      found.push({ position, kind: "stale", says: `its outputs are stale: ${changed.join(", ")}` });
    } else if (!stored && cell.outputs.length > 0) {
      found.push({ position, kind: "note", says: "its outputs do not say what they came from" });
    }
    return found;
  });
}
