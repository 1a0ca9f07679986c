/** A notebook that is open: its cells, and what can be done to them. It tells whoever listens of every change. */
import type { Cell, CodeCell, Notebook, Output } from "../../notebook/ipynb.ts";
import { isCode, newCell } from "../../notebook/ipynb.ts";
import { headingsOf } from "./markdown.ts";
import type { Change } from "./storage.ts";

export type CellKind = "code" | "markdown";

export interface Deleted {
  cell: Cell;
  index: number;
}

export class OpenNotebook {
  /** What `Z` brings back, the last deleted at the end. */
  private readonly deleted: Deleted[] = [];

  /**
   * @param notebook changed in place
   * @param changed is told of each change after it was made
   */
  constructor(readonly notebook: Notebook, private readonly changed: (...changes: Change<Cell>[]) => void) {}

  get cells(): readonly Cell[] {
    return this.notebook.cells;
  }

  get codeCells(): CodeCell[] {
    return this.notebook.cells.filter(isCode);
  }

  /** The first heading, else what a new notebook is called. */
  get title(): string {
    for (const cell of this.cells) {
      if (cell.cell_type !== "markdown") continue;
      const heading = headingsOf(cell.source)[0];
      if (heading?.text) return heading.text;
    }
    return "Untitled notebook";
  }

  index(id: string): number {
    return this.cells.findIndex((cell) => cell.id === id);
  }

  cell(id: string): Cell | undefined {
    return this.cells.find((cell) => cell.id === id);
  }

  edit(id: string, source: string): void {
    const cell = this.cell(id);
    if (!cell || cell.source === source) return;
    cell.source = source;
    this.changed({ cell });
  }

  /** A new cell at a place; returns it. */
  insert(index: number, kind: CellKind, source = ""): Cell {
    const cell = newCell(kind, source, index, this.cells);
    this.put(index, cell);
    return cell;
  }

  private put(index: number, cell: Cell): void {
    this.notebook.cells.splice(index, 0, cell);
    this.changed({ cell }, this.order());
  }

  remove(id: string): void {
    const index = this.index(id);
    if (index < 0) return;
    const [cell] = this.notebook.cells.splice(index, 1);
    this.deleted.push({ cell, index });
    this.changed(this.order());
  }

  /** Brings the last deleted cell back; returns it. */
  restore(): Cell | undefined {
    const last = this.deleted.pop();
    if (!last) return undefined;
    this.put(Math.min(last.index, this.cells.length), last.cell);
    return last.cell;
  }

  move(id: string, by: -1 | 1): void {
    const from = this.index(id), to = from + by;
    if (from < 0 || to < 0 || to >= this.cells.length) return;
    const [cell] = this.notebook.cells.splice(from, 1);
    this.notebook.cells.splice(to, 0, cell);
    this.changed(this.order());
  }

  /** Makes a cell one of another kind; its id stays, what it put out goes. */
  convert(id: string, kind: CellKind): void {
    const index = this.index(id), cell = this.cells[index];
    if (!cell || cell.cell_type === kind) return;
    const { source } = cell;
    const next: Cell = kind === "code"
      ? { cell_type: kind, id, metadata: {}, source, outputs: [], execution_count: null }
      : { cell_type: kind, id, metadata: {}, source };
    this.notebook.cells[index] = next;
    this.changed({ cell: next });
  }

  /** Cuts a cell in two at an offset of its source; returns the second. */
  split(id: string, offset: number): Cell | undefined {
    const cell = this.cell(id);
    if (!cell || cell.cell_type === "raw") return undefined;
    const [first, second] = [cell.source.slice(0, offset), cell.source.slice(offset)];
    this.edit(id, first.replace(/\n+$/, ""));
    return this.insert(this.index(id) + 1, cell.cell_type, second.replace(/^\n+/, ""));
  }

  /** What a code cell put out, from now on; the record of how is the caller's. */
  setOutputs(
    id: string,
    outputs: Output[],
    executionCount: number | null,
    record?: CodeCell["metadata"]["lab"],
  ): void {
    const cell = this.cell(id);
    if (!cell || !isCode(cell)) return;
    cell.outputs = outputs;
    cell.execution_count = executionCount;
    if (record) cell.metadata.lab = record;
    else delete cell.metadata.lab;
    this.changed({ cell });
  }

  /** Takes a cell's outputs away, or all cells'. */
  clearOutputs(id?: string): void {
    for (const cell of this.codeCells) {
      if (id === undefined || cell.id === id) this.setOutputs(cell.id, [], null);
    }
  }

  /** Keeps something with a cell's output that is the reader's: a changed post, a knob's place. */
  annotate(id: string, output: number, metadata: Record<string, unknown>): void {
    const cell = this.cell(id);
    if (!cell || !isCode(cell)) return;
    const one = cell.outputs[output];
    if (!one || !("metadata" in one)) return;
    one.metadata = metadata;
    this.changed({ cell });
  }

  setMetadata(change: Partial<Notebook["metadata"]>): void {
    Object.assign(this.notebook.metadata, change);
    this.changed({ metadata: this.notebook.metadata });
  }

  private order(): Change<Cell> {
    return { order: this.cells.map(({ id }) => id) };
  }
}
