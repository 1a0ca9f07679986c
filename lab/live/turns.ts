/** Calls on a thing that holds memory of the device: worked off one after the other, given up once it is disposed of, then freed. */

export interface Turns {
  /** Runs `work` when all earlier calls have ended. Rejects once the thing has been disposed of. */
  inTurn<T>(work: () => Promise<T>): Promise<T>;
  /** What a long call is to ask often: the caller's own question, and whether the thing is still wanted. */
  heeding(heed?: () => void): () => void;
  /** Frees the thing: at once, or as soon as the call that is at work has given up. */
  dispose(): void;
}

/** @param what names the thing in errors: "sft trainer" */
export function turns(what: string, free: () => void): Turns {
  let last: Promise<unknown> = Promise.resolve();
  let open = 0, disposed = false;
  const requireWanted = () => {
    if (disposed) throw new Error(`This ${what} has been disposed of.`);
  };
  return {
    inTurn(work) {
      open++;
      const mine = last.then(() => {
        requireWanted();
        return work();
      }).finally(() => {
        open--;
        if (disposed && open === 0) free();
      });
      last = mine.catch(() => {});
      return mine;
    },
    heeding: (heed) => () => {
      requireWanted();
      heed?.();
    },
    dispose() {
      if (disposed) return;
      disposed = true;
      if (open === 0) free();
    },
  };
}
