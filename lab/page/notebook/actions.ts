/** Everything that can be done with a notebook, each with its name and its key: the keyboard, the palette and the cheat sheet read this list. */

export interface Action {
  name: string;
  /** Keys of command mode: one key, several in a row ("d d"), or with modifiers ("Shift+Enter", "Mod+k" for Ctrl or Cmd). */
  keys: readonly string[];
  group: "Run" | "Cells" | "Move" | "Notebook" | "Page";
  /** Also while something is being written. */
  everywhere?: boolean;
  /** Whether it can be done now. */
  can?: () => boolean;
  run: () => void;
}

const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

/** A key as it stands on keyboards. */
export function keyName(key: string): string {
  const names: Record<string, string> = {
    ArrowUp: "↑",
    ArrowDown: "↓",
    Mod: isMac ? "⌘" : "Ctrl",
    Escape: "Esc",
  };
  return key.split(" ").map((stroke) =>
    stroke.split("+").map((part) => names[part] ?? (part.length === 1 ? part.toUpperCase() : part)).join(" ")
  ).join(" ");
}

/** Reads strokes: a key that is the beginning of a longer row waits for the rest. */
export class KeyReader {
  private row: string[] = [];
  private since = 0;

  constructor(private readonly actions: () => readonly Action[]) {}

  /** The action that a key completes, or "waiting" where it begins one. */
  read(event: KeyboardEvent, writing: boolean): Action | "waiting" | null {
    const stroke = strokeOf(event);
    if (!stroke) return null;
    const now = event.timeStamp;
    if (now - this.since > 1000) this.row = [];
    this.since = now;
    this.row.push(stroke);
    const fits = this.actions().filter((action) => !writing || action.everywhere);
    for (; this.row.length > 0; this.row.shift()) {
      const row = this.row.join(" ");
      const action = fits.find(({ keys, can }) => keys.includes(row) && (can?.() ?? true));
      if (action) {
        this.row = [];
        return action;
      }
      if (fits.some(({ keys }) => keys.some((key) => key.startsWith(`${row} `)))) return "waiting";
    }
    return null;
  }
}

function strokeOf({ key, shiftKey, altKey, ctrlKey, metaKey }: KeyboardEvent): string | null {
  if (["Shift", "Control", "Alt", "Meta"].includes(key)) return null;
  const letter = key.length === 1;
  const parts = [
    ctrlKey || metaKey ? "Mod" : "",
    altKey ? "Alt" : "",
    // Of a character the shift is part of which one it is.
    shiftKey && !letter ? "Shift" : "",
    letter && (ctrlKey || metaKey) ? key.toLowerCase() : key,
  ];
  return parts.filter(Boolean).join("+");
}
