/** Ctrl-C, `kill` or a supervisor's stop, and a closed terminal: the first asks to stop, the same one again to stop at once. */

/**
 * Calls `first` once, for whichever of them comes first, and `again` when one comes a second time; of a closed terminal that means
 * nothing, for shells and systems pass it on several times, beside other signals.
 * @returns ends it
 */
export function onInterrupt(first: () => void, again: () => void): () => void {
  let told = false;
  const removals = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map((signal) => {
    let times = 0;
    const heard = () => {
      if (++times > 1 && signal !== "SIGHUP") return again();
      if (told) return;
      told = true;
      first();
    };
    Deno.addSignalListener(signal, heard);
    return () => Deno.removeSignalListener(signal, heard);
  });
  return () => removals.forEach((remove) => remove());
}
