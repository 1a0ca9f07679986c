/** Colours for canvases, which know no variables: those of the style sheet, as they are now. */

/** Variables of the runs' own colours, in the order in which runs are opened. */
export const runColours = Array.from({ length: 8 }, (_, i) => `--run-${i + 1}`);

const known = new Map<string, string>();
const listeners = new Set<() => void>();
let probe: HTMLElement | undefined;

/** The colour of a style variable as `rgb(…)`. */
export function colourOf(variable: string): string {
  const before = known.get(variable);
  if (before) return before;
  probe ??= document.body.appendChild(Object.assign(document.createElement("i"), { hidden: true }));
  probe.style.color = `var(${variable})`;
  const colour = getComputedStyle(probe).color;
  known.set(variable, colour);
  return colour;
}

/** The same colour, see-through. */
export function faint(colour: string, opacity: number): string {
  return `color-mix(in srgb, ${colour} ${100 * opacity}%, transparent)`;
}

/** Calls back when light turns to dark or back. @returns ends that */
export function onTheme(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  known.clear();
  for (const listener of listeners) listener();
});
