/** The page's keys, and the sheet that tells them. */
import { html } from "lit";
import { type Pane, panes } from "./address.ts";

export interface Actions {
  search(): void;
  pane(pane: Pane): void;
  layer(by: number): void;
  head(by: number): void;
  run(): void;
  model(): void;
  help(): void;
}

/** Milliseconds after `g` in which a letter names a pane. */
const patience = 1500;

/** A handler of keys for the whole page; what is typed into a field stays there. */
export function pageKeys(actions: Actions): (event: KeyboardEvent) => void {
  let jump = 0;
  return (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.composedPath()[0] as Element;
    if (target.matches?.("input:not([type=checkbox], [type=radio]), textarea, select")) return;
    const { key } = event;
    if (event.timeStamp - jump < patience && jump > 0) {
      jump = 0;
      const pane = panes.find((one) => one.key === key);
      if (pane) actions.pane(pane.name);
      else if (key === "m") actions.model();
      else return;
      event.preventDefault();
      return;
    }
    const action = {
      "/": actions.search,
      ",": () => actions.layer(-1),
      ".": () => actions.layer(1),
      h: () => actions.head(-1),
      l: () => actions.head(1),
      r: actions.run,
      "?": actions.help,
      g: () => void (jump = event.timeStamp),
    }[key];
    if (!action) return;
    event.preventDefault();
    action();
  };
}

export function helpDialog() {
  const rows: [keys: string[], does: string][] = [
    [["/"], "search the tensors"],
    ...panes.map(({ key, label }): [string[], string] => [["g", key], label]),
    [["g", "m"], "the models"],
    [[",", "."], "layer before, after"],
    [["h", "l"], "head before, after"],
    [["r"], "run the text"],
    [["←", "→", "↑", "↓"], "move the map, once it has the focus"],
    [["+", "−", "0"], "zoom in, out, the whole"],
    [["Enter"], "pin the middle; with Shift a second"],
    [["Esc"], "let go of pins and of the part chosen"],
    [["?"], "this sheet"],
  ];
  return html`
    <dialog aria-label="Keys" @click=${(event: Event) =>
      event.target === event.currentTarget && (event.currentTarget as HTMLDialogElement).close()}>
      <form method="dialog"><h2>Keys</h2><dl>${rows.map(([keys, does]) =>
        html`
          <div>
            <dt>${keys.map((key) =>
              html`
                <kbd>${key}</kbd>
              `
            )}</dt>
            <dd>${does}</dd>
          </div>
        `
      )}</dl><button autofocus>Close</button></form>
    </dialog>
  `;
}
