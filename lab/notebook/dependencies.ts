/**
 * Which cell needs which, from what their sources say, and what a change makes stale. Cells run in the order of the document. What
 * cannot be seen in the source (a value changed by a function of another cell) a clean run of all cells shows, see certify.ts.
 *
 *     analyseCells(cells: {id, source}[]): AnalysedCell[]
 *     dependencies(cells: AnalysedCell[]): CellLinks[]
 *     staleAfter(links: CellLinks[], changed: Iterable<string>): string[]
 *     inputRecords(cells, links, world): Promise<Map<id, InputRecord>>;  whatChanged(before, now): string[]
 */
import { canonicalJson, digestOfJson } from "../bytes.ts";
import { type CellImport, CellSyntaxError, compileCell } from "./cells.ts";
import { isHostName } from "./globals.ts";
import type { InputRecord, NotebookRecord } from "./records.ts";

/** What a code cell says about names; nothing where it cannot be compiled. */
export interface AnalysedCell {
  id: string;
  source: string;
  defines: readonly string[];
  changes: readonly string[];
  uses: readonly string[];
  imports: readonly CellImport[];
  /** Why it cannot be compiled. */
  error?: CellSyntaxError;
}

/** What ties a code cell to others. */
export interface CellLinks {
  id: string;
  /** By name that the cell uses or changes: the id of the latest earlier cell that defines or changes it. */
  from: Map<string, string>;
  /** The ids in `from`, each once, in the order of the document. */
  needs: string[];
  /** By name that it uses and no earlier cell defines: the id of the first later cell that does. */
  early: Map<string, string>;
  /** Names that it uses or assigns and neither any cell nor the world has. */
  missing: string[];
  /** By name that it defines although an earlier cell has: the id of that cell. Allowed; the later one counts from here on. */
  again: Map<string, string>;
}

/** Compiles the code cells of a notebook, in the order of the document. */
export function analyseCells(cells: Iterable<{ id: string; source: string }>): AnalysedCell[] {
  return Array.from(cells, ({ id, source }) => {
    try {
      const { defines, changes, uses, imports } = compileCell(source);
      return { id, source, defines, changes, uses, imports };
    } catch (error) {
      if (!(error instanceof CellSyntaxError)) throw error;
      return { id, source, defines: [], changes: [], uses: [], imports: [], error };
    }
  });
}

/** What the kernel supplies under this specifier is no cell's work, whichever cell imports it. */
const kernelModule = "precis";

/** Finds for each cell where its names come from. @param cells the code cells in the order of the document */
export function dependencies(cells: readonly AnalysedCell[]): CellLinks[] {
  /** By name: the cell so far that last defined or changed it. */
  const latest = new Map<string, string>();
  const links = cells.map(({ id, defines, changes, uses, imports }): CellLinks => {
    const from = new Map<string, string>(), again = new Map<string, string>();
    const missing: string[] = [];
    for (const name of new Set([...uses, ...changes])) {
      const definer = latest.get(name);
      if (definer !== undefined) from.set(name, definer);
      else missing.push(name);
    }
    const supplied = imports.filter(({ specifier }) => specifier === kernelModule).flatMap(({ locals }) =>
      locals
    );
    for (const name of defines) {
      if (supplied.includes(name)) continue;
      const before = latest.get(name);
      if (before !== undefined) again.set(name, before);
      latest.set(name, id);
    }
    for (const name of changes) if (from.has(name)) latest.set(name, id);
    const sources = new Set(from.values());
    const needs = cells.map((cell) => cell.id).filter((one) => sources.has(one));
    return { id, from, needs, early: new Map(), missing, again };
  });

  const suppliedSomewhere = new Set(
    cells.flatMap(({ imports }) => imports.filter(({ specifier }) => specifier === kernelModule))
      .flatMap(({ locals }) => locals),
  );
  links.forEach((link, i) => {
    link.missing = link.missing.filter((name) => {
      if (suppliedSomewhere.has(name)) return false;
      const later = cells.slice(i + 1).find(({ defines }) => defines.includes(name));
      if (later) link.early.set(name, later.id);
      return !later && !isHostName(name);
    });
  });
  return links;
}

/**
 * The cells that are stale once some have changed: these themselves and all that need them, directly or through others, in the order
 * of the document. Where a change took a definition away or brought one, both the links before and those after it count: call this on each.
 */
export function staleAfter(links: readonly CellLinks[], changed: Iterable<string>): string[] {
  const stale = new Set(changed);
  // Needs point backwards only, so one pass reaches everything.
  for (const { id, needs } of links) if (needs.some((one) => stale.has(one))) stale.add(id);
  return links.map(({ id }) => id).filter((id) => stale.has(id));
}

/** What all cells of a notebook are run with. */
export type World = Pick<NotebookRecord, "seed" | "imports" | "models" | "datasets">;

/** The inputs of every code cell as they are now, by id. */
export async function inputRecords(
  cells: readonly AnalysedCell[],
  links: readonly CellLinks[],
  { seed, imports, models, datasets }: World,
): Promise<Map<string, InputRecord>> {
  const records = new Map<string, InputRecord>();
  const digests = new Map<string, string>();
  const data = await digestOfJson({ models, datasets });
  for (let i = 0; i < cells.length; i++) {
    const { id, source } = cells[i];
    const specifiers = cells[i].imports.map(({ specifier }) => specifier);
    const record: InputRecord = {
      source: await digestOfJson({ id, source }),
      needs: Object.fromEntries(links[i].needs.map((one) => [one, digests.get(one)!])),
      seed,
      imports: await digestOfJson(specifiers.map((one) => Object.hasOwn(imports, one) ? imports[one] : null)),
      data,
    };
    records.set(id, record);
    digests.set(id, await digestOfJson(record));
  }
  return records;
}

/** What is different, as short phrases for "stale because …"; empty where nothing is. */
export function whatChanged(before: InputRecord, now: InputRecord): string[] {
  const changed: string[] = [];
  if (before.source !== now.source) changed.push("its source was edited");
  for (const [id, digest] of Object.entries(now.needs)) {
    if (!Object.hasOwn(before.needs, id)) changed.push(`it now needs the cell ${id}`);
    else if (before.needs[id] !== digest) changed.push(`the cell ${id} that it needs has changed`);
  }
  for (const id of Object.keys(before.needs)) {
    if (!Object.hasOwn(now.needs, id)) changed.push(`it no longer needs the cell ${id}`);
  }
  if (before.seed !== now.seed) changed.push(`the seed was ${before.seed} and is ${now.seed}`);
  if (before.imports !== now.imports) changed.push("the import lock has changed");
  if (before.data !== now.data) changed.push("the notebook's models or datasets have changed");
  // Only a damaged or foreign record can differ otherwise.
  if (changed.length === 0 && canonicalJson(before) !== canonicalJson(now)) {
    changed.push("its record differs");
  }
  return changed;
}
