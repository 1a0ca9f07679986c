/** The compiler of cells and what it knows of them, apart: a notebook is read without. */
export { analyseCells, dependencies, inputRecords, staleAfter } from "../../notebook/dependencies.ts";
export { CellSyntaxError, compileCell } from "../../notebook/cells.ts";
export { cellState, certificate } from "../../notebook/certify.ts";
export { Imports } from "../../notebook/import_graph.ts";
export { pageModules } from "./modules.ts";
