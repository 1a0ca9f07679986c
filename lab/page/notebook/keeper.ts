/** Autosave: every change goes into the journal at once; while one is being written, the next ones wait together. */
import {
  appendChanges,
  type Change,
  keepWhole,
  type Kept,
  onWrittenElsewhere,
  type Snapshot,
  WrittenElsewhere,
} from "./storage.ts";

/** How it stands with what was changed. */
export type Keeping =
  | { state: "kept" | "writing" }
  /** Another tab has written the same notebook. What was changed here since is only here. */
  | { state: "elsewhere" }
  /** The storage is full, or there is none. What was changed since is only here. */
  | { state: "lost"; why: string; remedy: string };

export interface Keeper {
  readonly keeping: Keeping;
  /** Whether anything is kept of the notebook. */
  readonly began: boolean;
  keep(...changes: Change[]): void;
  /** Resolves once all that was changed is written, or cannot be. */
  settled(): Promise<void>;
  /** Writes this tab's state over another's. */
  overrule(): void;
  close(): void;
}

/**
 * @param began what is kept already; undefined for a notebook that is kept from its first change on
 * @param whole the notebook as it is now
 */
export function startKeeper(
  identity: Pick<Kept, "id" | "shipped" | "stranger">,
  began: Kept | undefined,
  whole: () => Snapshot & { title: string },
  said: (keeping: Keeping) => void,
): Keeper {
  let keeping: Keeping = { state: "kept" };
  let kept = began;
  let waiting: Change[] = [];
  let writing: Promise<void> | null = null;
  let closed = false;
  const say = (now: Keeping) => {
    keeping = now;
    if (!closed) said(now);
  };

  const write = async () => {
    while (waiting.length > 0 && (keeping.state === "kept" || keeping.state === "writing")) {
      const changes = newest(waiting);
      waiting = [];
      say({ state: "writing" });
      try {
        const { title, metadata, cells } = whole();
        kept = kept
          ? await appendChanges({ ...kept, title }, structuredClone(changes))
          : await keepWhole({ ...identity, title }, structuredClone({ metadata, cells }));
      } catch (error) {
        waiting = [...changes, ...waiting];
        if (error instanceof WrittenElsewhere) return say({ state: "elsewhere" });
        return say({ state: "lost", ...whyLost(error as Error) });
      }
    }
    if (keeping.state === "writing") say({ state: "kept" });
  };
  const start = () => {
    writing ??= write().finally(() => {
      writing = null;
      if (waiting.length > 0 && keeping.state === "kept") start();
    });
  };

  const deafen = onWrittenElsewhere((id, revision) => {
    if (id === identity.id && keeping.state === "kept" && revision > (kept?.revision ?? 0)) {
      say({ state: "elsewhere" });
    }
  });

  return {
    get keeping() {
      return keeping;
    },
    get began() {
      return kept !== undefined;
    },
    keep(...changes) {
      waiting.push(...changes);
      // After a fault everything is tried anew: room may have been made.
      if (keeping.state === "lost") say({ state: "kept" });
      start();
    },
    async settled() {
      while (writing) await writing;
    },
    overrule() {
      const { title, metadata, cells } = whole();
      waiting = [];
      keepWhole({ ...identity, title }, structuredClone({ metadata, cells })).then(
        (now) => {
          kept = now;
          say({ state: "kept" });
          if (waiting.length > 0) start();
        },
        (error) => say({ state: "lost", ...whyLost(error) }),
      );
    },
    close() {
      closed = true;
      deafen();
    },
  };
}

/** Of several states of one thing, the newest. Cells come before their order, which drops those that it does not name. */
function newest(changes: readonly Change[]): Change[] {
  const cells = new Map<string, Change>(), others = new Map<string, Change>();
  for (const change of changes) {
    if ("cell" in change) cells.set(change.cell.id, change);
    else others.set("order" in change ? "order" : "metadata", change);
  }
  return [...cells.values(), ...others.values()];
}

function whyLost({ name, message }: Error): { why: string; remedy: string } {
  return name === "QuotaExceededError"
    ? {
      why: "The browser’s storage for this page is full",
      remedy: "Save it as a file, or delete notebooks under “Open”.",
    }
    : {
      why: `The browser keeps nothing for this page (${message.replace(/\.$/, "")})`,
      remedy: "Save it as a file before you leave.",
    };
}
