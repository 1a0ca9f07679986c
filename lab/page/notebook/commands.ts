/** What a notebook page can be told to do, and the list of actions that tell it. */
import type { Cell } from "../../notebook/ipynb.ts";
import type { Action } from "./actions.ts";
import type { CellKind } from "./open_notebook.ts";

export interface Commands {
  /** The chosen cell, where a notebook is open. */
  readonly at: { cell: Cell; index: number } | null;
  readonly busy: boolean;
  readonly fromShipped: boolean;
  edit(id: string): void;
  run(id: string, how: "stay" | "next" | "insert"): void;
  runAll(): void;
  interrupt(): void;
  restart(): void;
  insert(index: number, kind: CellKind): void;
  delete(id: string): void;
  restore(): void;
  convert(id: string, kind: CellKind): void;
  move(id: string, by: -1 | 1): void;
  step(by: -1 | 1): void;
  reveal(id: string): void;
  clear(id?: string): void;
  turnReading(): void;
  share(how: "ipynb" | "link" | "html"): void;
  openList(): void;
  openNew(): void;
  backToShipped(): void;
  showActions(): void;
  showKeys(): void;
}

export function actionsOf(page: Commands): Action[] {
  const any = () => page.at !== null;
  const is = (kind: Cell["cell_type"]) => () => page.at?.cell.cell_type === kind;
  const cell = (run: (id: string, index: number) => void) => () => {
    if (page.at) run(page.at.cell.id, page.at.index);
  };
  const action = (
    group: Action["group"],
    name: string,
    keys: string[],
    run: () => void,
    more: Partial<Action> = {},
  ): Action => ({ group, name, keys, run, ...more });
  const code = { can: is("code") }, open = { can: any };
  return [
    action(
      "Run",
      "Run the cell and go to the next",
      ["Shift+Enter"],
      cell((id) => page.run(id, "next")),
      open,
    ),
    action("Run", "Run the cell", ["Mod+Enter"], cell((id) => page.run(id, "stay")), open),
    action(
      "Run",
      "Run the cell and insert one below",
      ["Alt+Enter"],
      cell((id) => page.run(id, "insert")),
      open,
    ),
    action("Run", "Run all from clean, and certify", ["Mod+Shift+Enter"], () => page.runAll(), {
      ...open,
      everywhere: true,
    }),
    action("Run", "Interrupt", ["i i"], () => page.interrupt(), { can: () => page.busy }),
    action("Run", "Start the kernel anew", ["0 0"], () => page.restart(), open),
    action("Cells", "Write in the cell", ["Enter"], cell((id) => page.edit(id)), open),
    action("Cells", "Insert a cell above", ["a"], cell((_, index) => page.insert(index, "code")), open),
    action("Cells", "Insert a cell below", ["b"], cell((_, index) => page.insert(index + 1, "code")), open),
    action("Cells", "Delete the cell", ["d d"], cell((id) => page.delete(id)), open),
    action("Cells", "Bring the deleted cell back", ["z"], () => page.restore(), open),
    action("Cells", "Make the cell text", ["m"], cell((id) => page.convert(id, "markdown")), code),
    action("Cells", "Make the cell code", ["y"], cell((id) => page.convert(id, "code")), {
      can: is("markdown"),
    }),
    action("Cells", "Move the cell up", ["Alt+ArrowUp"], cell((id) => page.move(id, -1)), open),
    action("Cells", "Move the cell down", ["Alt+ArrowDown"], cell((id) => page.move(id, 1)), open),
    action("Cells", "Show or hide the cell’s code", ["o"], cell((id) => page.reveal(id)), code),
    action("Cells", "Clear the cell’s outputs", [], cell((id) => page.clear(id)), code),
    action("Move", "Go to the cell below", ["j", "ArrowDown"], () => page.step(1), open),
    action("Move", "Go to the cell above", ["k", "ArrowUp"], () => page.step(-1), open),
    action("Notebook", "Show all code, or fold it to read", ["r"], () => page.turnReading(), open),
    action("Notebook", "Open a notebook", ["Mod+o"], () => page.openList(), { everywhere: true }),
    action("Notebook", "New notebook", [], () => page.openNew()),
    action("Notebook", "Save as a file (.ipynb)", ["Mod+s"], () => page.share("ipynb"), {
      ...open,
      everywhere: true,
    }),
    action("Notebook", "Copy a link that carries the notebook", [], () => page.share("link"), open),
    action("Notebook", "Save as a page to read (.html)", [], () => page.share("html"), open),
    action("Notebook", "Clear all outputs", [], () => page.clear(), open),
    action("Notebook", "Back to the notebook as it ships", [], () => page.backToShipped(), {
      can: () => page.fromShipped,
    }),
    action("Page", "All actions", ["Mod+k"], () => page.showActions(), { everywhere: true }),
    action("Page", "Keys", ["?"], () => page.showKeys()),
  ];
}
