/** Remembers, through a reload or a crash of the tab, that cells of a notebook were running. */
const key = "precis-running";

/** A browser that keeps nothing does without. */
function stored(work: (kept: Storage) => string | null | void): string | null {
  try {
    return work(sessionStorage) ?? null;
  } catch {
    return null;
  }
}

/** Cells run, or no longer. */
export function rememberRunning(notebook: string, running: boolean): void {
  stored((kept) => running ? kept.setItem(key, notebook) : kept.removeItem(key));
}

/** Whether the page was left while the notebook's cells ran; it is told once. */
export function wasCutOff(notebook: string): boolean {
  const cut = stored((kept) => kept.getItem(key)) === notebook;
  if (cut) rememberRunning(notebook, false);
  return cut;
}
