/**
 * The notebooks that this browser keeps. Each is a snapshot and a journal of the changes since, so that a tab that is closed in the middle
 * loses nothing and an edit costs no more than its cell. A counter of revisions tells when another tab has written the same notebook.
 */
import { type DBSchema, type IDBPDatabase, openDB } from "idb";

/** A cell as it is stored; its content is the notebook's business. */
export interface StoredCell {
  id: string;
}

/** One change. Each says what is now, so that to apply one twice is to apply it once. */
export type Change<Cell extends StoredCell = StoredCell> =
  | { cell: Cell }
  /** Ids of the cells in the order of the document; those that are not in it are deleted. */
  | { order: string[] }
  | { metadata: Record<string, unknown> };

export interface Snapshot<Cell extends StoredCell = StoredCell> {
  metadata: Record<string, unknown>;
  cells: Cell[];
}

/** What the list of notebooks shows. */
export interface Kept {
  id: string;
  title: string;
  /** Milliseconds since 1970. */
  changed: number;
  /** The shipped notebook that it was begun from. */
  shipped?: string;
  /** Somebody else wrote it. */
  stranger?: boolean;
  revision: number;
}

interface Schema extends DBSchema {
  notebooks: { key: string; value: Kept };
  snapshots: { key: string; value: Snapshot };
  journal: { key: number; value: { notebook: string; change: Change }; indexes: { notebook: string } };
  grants: { key: string; value: unknown };
}

/** Changes after which the journal is folded into the snapshot. */
const foldAfter = 200;

/** Another tab has written the notebook since this one read it. */
export class WrittenElsewhere extends Error {
  override name = "WrittenElsewhere";
}

let opening: Promise<IDBPDatabase<Schema>> | null = null;

function database(): Promise<IDBPDatabase<Schema>> {
  opening ??= openDB<Schema>("precis", 2, {
    upgrade(db) {
      for (const name of Array.from(db.objectStoreNames)) db.deleteObjectStore(name);
      db.createObjectStore("notebooks", { keyPath: "id" });
      db.createObjectStore("snapshots");
      db.createObjectStore("journal", { autoIncrement: true }).createIndex("notebook", "notebook");
      db.createObjectStore("grants");
    },
    terminated: () => opening = null,
  });
  opening.catch(() => opening = null);
  return opening;
}

/** All notebooks, the latest changed first. */
export async function keptNotebooks(): Promise<Kept[]> {
  const all = await (await database()).getAll("notebooks");
  return all.sort((a, b) => b.changed - a.changed);
}

/** A notebook with its journal applied; undefined where there is none. */
export async function readKept(id: string): Promise<{ kept: Kept; snapshot: Snapshot } | undefined> {
  const tx = (await database()).transaction(["notebooks", "snapshots", "journal"]);
  const [kept, snapshot, changes] = await Promise.all([
    tx.objectStore("notebooks").get(id),
    tx.objectStore("snapshots").get(id),
    tx.objectStore("journal").index("notebook").getAll(id),
    tx.done,
  ]);
  if (!kept || !snapshot) return undefined;
  return { kept, snapshot: changes.reduce((so, { change }) => applied(so, change), snapshot) };
}

/** A snapshot after a change. */
export function applied(snapshot: Snapshot, change: Change): Snapshot {
  if ("metadata" in change) return { ...snapshot, metadata: change.metadata };
  if ("cell" in change) {
    const at = snapshot.cells.findIndex(({ id }) => id === change.cell.id);
    const cells = at < 0 ? [...snapshot.cells, change.cell] : snapshot.cells.with(at, change.cell);
    return { ...snapshot, cells };
  }
  const byId = new Map(snapshot.cells.map((cell) => [cell.id, cell]));
  return { ...snapshot, cells: change.order.flatMap((id) => byId.get(id) ?? []) };
}

/** Begins to keep a notebook, or replaces what is kept of it. */
export async function keepWhole(kept: Omit<Kept, "revision" | "changed">, snapshot: Snapshot): Promise<Kept> {
  const tx = (await database()).transaction(["notebooks", "snapshots", "journal"], "readwrite");
  const before = await tx.objectStore("notebooks").get(kept.id);
  const now: Kept = { ...kept, changed: Date.now(), revision: (before?.revision ?? 0) + 1 };
  await tx.objectStore("notebooks").put(now);
  await tx.objectStore("snapshots").put(snapshot, kept.id);
  await clearJournal(tx.objectStore("journal"), kept.id);
  await tx.done;
  tell(now);
  return now;
}

/**
 * Appends changes to a notebook's journal, all or none.
 * @param revision at which this tab knows the notebook
 * @throws WrittenElsewhere where that is not its revision any more; DOMException QuotaExceededError where the storage is full
 */
export async function appendChanges(
  { id, title, revision }: Pick<Kept, "id" | "title" | "revision">,
  changes: readonly Change[],
): Promise<Kept> {
  const tx = (await database()).transaction(["notebooks", "snapshots", "journal"], "readwrite");
  const notebooks = tx.objectStore("notebooks"), journal = tx.objectStore("journal");
  const before = await notebooks.get(id);
  if (before?.revision !== revision) {
    tx.abort();
    await tx.done.catch(() => {});
    throw new WrittenElsewhere("This notebook was changed in another tab.");
  }
  const now: Kept = { ...before, title, changed: Date.now(), revision: revision + 1 };
  try {
    await notebooks.put(now);
    for (const change of changes) await journal.add({ notebook: id, change });
    if (await journal.index("notebook").count(id) > foldAfter) {
      const snapshots = tx.objectStore("snapshots");
      const all = await journal.index("notebook").getAll(id);
      const folded = all.reduce((so, { change }) => applied(so, change), (await snapshots.get(id))!);
      await snapshots.put(folded, id);
      await clearJournal(journal, id);
    }
    await tx.done;
  } catch (error) {
    tx.done.catch(() => {});
    // Where the storage is full it has ended already.
    try {
      tx.abort();
    } catch { /* it has */ }
    throw error;
  }
  tell(now);
  return now;
}

/** Deletes a notebook for good. */
export async function forgetNotebook(id: string): Promise<void> {
  const tx = (await database()).transaction(["notebooks", "snapshots", "journal"], "readwrite");
  await tx.objectStore("notebooks").delete(id);
  await tx.objectStore("snapshots").delete(id);
  await clearJournal(tx.objectStore("journal"), id);
  await tx.done;
}

async function clearJournal(
  journal: {
    index(name: "notebook"): { getAllKeys(id: string): Promise<number[]> };
    delete?: (key: number) => Promise<void>;
  },
  id: string,
): Promise<void> {
  for (const key of await journal.index("notebook").getAllKeys(id)) await journal.delete!(key);
}

/** What a reader allowed a notebook, by the digest of what it asks for and what it is. */
export async function readGrant(digest: string): Promise<unknown> {
  return await (await database()).get("grants", digest);
}

export async function keepGrant(digest: string, grant: unknown): Promise<void> {
  await (await database()).put("grants", grant, digest);
}

// ---- other tabs ----

const channel = new BroadcastChannel("precis-notebooks");

function tell({ id, revision }: Kept): void {
  channel.postMessage({ id, revision });
}

/** Calls back when another tab writes a notebook. */
export function onWrittenElsewhere(heard: (id: string, revision: number) => void): () => void {
  const listener = ({ data }: MessageEvent) => heard(data.id, data.revision);
  channel.addEventListener("message", listener);
  return () => channel.removeEventListener("message", listener);
}
