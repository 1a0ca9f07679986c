/** Locks a notebook's imports: finds what its cells import, and what that stands for, module by module. */
import { analyseCells } from "./dependencies.ts";
import { type Graph, type Imports, kernelSpecifier } from "./import_graph.ts";
import { ImportError } from "./import_specifiers.ts";
import { isCode, type Notebook } from "./ipynb.ts";

export interface Locking {
  /** With the lock. */
  notebook: Notebook;
  /** What is in the lock now, in the order in which cells import it. `held`: it was there, and is still what it was. */
  entries: { specifier: string; held: boolean; graph: Graph }[];
  /** Specifiers that no cell imports any more, taken out. */
  dropped: string[];
  /** What could not be locked, in one sentence each; it is in the lock as it was, if it was. */
  failures: string[];
}

/**
 * Brings the lock up to what the cells import.
 * @param update a specifier that is locked anew, whatever the lock says of it; "all" for every one
 * @throws RangeError where no cell imports what is to be updated
 */
export async function lockNotebook(notebook: Notebook, imports: Imports, update?: string): Promise<Locking> {
  const cells = analyseCells(notebook.cells.filter(isCode));
  const specifiers = new Set(cells.flatMap((cell) => cell.imports.map(({ specifier }) => specifier)));
  specifiers.delete(kernelSpecifier);
  if (update !== undefined && update !== "all" && !specifiers.has(update)) {
    throw new RangeError(
      `No cell imports ${update}; there ${specifiers.size === 1 ? "is" : "are"} ${
        [...specifiers].join(", ") || "no imports"
      }.`,
    );
  }
  const before = new Map(Object.entries(notebook.metadata.lab.imports));
  const isHeld = (specifier: string) => before.has(specifier) && update !== "all" && update !== specifier;
  const after = new Map([...before].filter(([specifier]) => specifiers.has(specifier) && isHeld(specifier)));
  const entries: Locking["entries"] = [], failures: string[] = [];
  for (const specifier of specifiers) {
    const entry = before.get(specifier);
    const held = entry !== undefined && isHeld(specifier);
    try {
      const graph = held
        ? await imports.locked(specifier, entry)
        : await imports.lock(specifier, Object.fromEntries(after));
      entries.push({ specifier, held, graph });
      after.set(specifier, graph.locked);
    } catch (error) {
      if (!(error instanceof ImportError)) throw error;
      failures.push(error.message);
      if (entry) after.set(specifier, entry);
    }
  }
  const unread = cells.flatMap(({ error }, i) =>
    error ? [`Cell ${i + 1} cannot be read: ${error.message}`] : []
  );
  const dropped: string[] = [];
  for (const [specifier, entry] of before) {
    if (after.has(specifier)) continue;
    // A cell that cannot be read may import it.
    if (unread.length > 0) after.set(specifier, entry);
    else dropped.push(specifier);
  }
  return {
    notebook: {
      ...notebook,
      metadata: {
        ...notebook.metadata,
        lab: { ...notebook.metadata.lab, imports: Object.fromEntries(after) },
      },
    },
    entries,
    dropped,
    failures: [...unread, ...failures],
  };
}
