/**
 * Hugging Face's cache on the disk, in the layout of Python's `huggingface_hub` (2.4.0 was read), so that either finds what the other
 * has fetched:
 *
 *     $HF_HUB_CACHE/models--owner--name/
 *       blobs/<SHA-256, or git's SHA-1 of small files>     the bytes, once however many revisions have them
 *       refs/main                                          the commit that the revision was last seen at
 *       snapshots/<commit>/config.json                     a link to ../../blobs/…
 *       trees/<commit>.json                                every file of the commit with its size and hashes
 *     $HF_HUB_CACHE/.locks/models--owner--name/<blob>.lock flock(2), held while a blob is fetched
 */
import { dirname, relative } from "node:path";

/** A repository of the Hub. */
export interface Repository {
  kind: "model" | "dataset";
  /** "owner/name". */
  name: string;
}

/** A file of a commit. */
export interface TreeFile {
  path: string;
  /** Bytes; undefined where only the cache was asked and it does not know. */
  size?: number;
  /** Git's SHA-1 of the file, or of its pointer where `sha256` is there. */
  blobId?: string;
  /** Of files in LFS or Xet storage. */
  sha256?: string;
  xetHash?: string;
}

export const isCommit = (revision: string) => /^[0-9a-f]{40}$/.test(revision);

/** Where the cache keeps a repository. */
export function repositoryFolder(cache: string, { kind, name }: Repository): string {
  return `${cache}/${[`${kind}s`, ...name.split("/")].join("--")}`;
}

/** The folder that looks like a checkout of the commit, with the files fetched so far. */
export function snapshotFolder(repository: string, commit: string): string {
  return `${repository}/snapshots/${commit}`;
}

/** The commit that a branch or tag was last seen at. */
export async function readRef(repository: string, revision: string): Promise<string | undefined> {
  const text = (await Deno.readTextFile(`${repository}/refs/${revision}`).catch(() => "")).trim();
  return isCommit(text) ? text : undefined;
}

/** Keeps where a branch or tag is. A cache that may only be read stays as it is. */
export async function writeRef(repository: string, revision: string, commit: string): Promise<void> {
  if (isCommit(revision) || await readRef(repository, revision) === commit) return;
  await writeIfPossible(`${repository}/refs/${revision}`, commit);
}

/** Names of the branches and tags seen so far. */
export async function knownRefs(repository: string): Promise<string[]> {
  return await filesUnder(`${repository}/refs`);
}

/** The files of a commit as the Hub listed them once, or undefined. */
export async function readTree(repository: string, commit: string): Promise<TreeFile[] | undefined> {
  try {
    const { format_version, files } = JSON.parse(
      await Deno.readTextFile(`${repository}/trees/${commit}.json`),
    );
    if (format_version !== 1) return undefined;
    return Object.entries(files as Record<string, PythonTreeEntry>).map(([path, entry]) => ({
      path,
      size: entry.lfs_size ?? entry.size,
      blobId: entry.blob_id,
      sha256: entry.lfs_sha256,
      xetHash: entry.xet_hash,
    }));
  } catch {
    return undefined;
  }
}

interface PythonTreeEntry {
  size: number;
  blob_id: string;
  lfs_sha256?: string;
  lfs_size?: number;
  xet_hash?: string;
}

/** Keeps a listing of the Hub's, in Python's form. */
export async function writeTree(repository: string, commit: string, tree: TreeFile[]): Promise<void> {
  const entries = tree.map(({ path, size, blobId, sha256, xetHash }) => [path, {
    size,
    blob_id: blobId,
    ...(sha256 && { lfs_sha256: sha256, lfs_size: size }),
    ...(xetHash && { xet_hash: xetHash }),
  }]);
  const json = JSON.stringify({ format_version: 1, files: Object.fromEntries(entries) }, null, 2);
  await writeIfPossible(`${repository}/trees/${commit}.json`, json);
}

async function writeIfPossible(path: string, text: string): Promise<void> {
  const unfinished = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  try {
    await Deno.mkdir(dirname(path), { recursive: true });
    await Deno.writeTextFile(unfinished, text);
    await Deno.rename(unfinished, path);
  } catch {
    await Deno.remove(unfinished).catch(() => {});
  }
}

/** Paths of all files under a folder, relative to it, sorted; links count as what they lead to. Empty where there is no folder. */
export async function filesUnder(folder: string): Promise<string[]> {
  const found: string[] = [];
  const visit = async (under: string) => {
    for await (const { name } of Deno.readDir(`${folder}/${under}`)) {
      const path = under + name;
      const info = await Deno.stat(`${folder}/${path}`).catch(() => undefined);
      if (info?.isDirectory) await visit(`${path}/`);
      else if (info) found.push(path);
    }
  };
  await visit("").catch((error) => {
    if (!(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory)) throw error;
  });
  return found.sort();
}

/** Bytes of the file, following links; undefined where there is none. */
export async function sizeOf(path: string): Promise<number | undefined> {
  const info = await Deno.stat(path).catch(() => undefined);
  return info?.isFile ? info.size : undefined;
}

/** Makes the snapshot's file a link to its blob; a copy where the disk has no links. */
export async function linkBlob(blob: string, pointer: string): Promise<void> {
  await Deno.mkdir(dirname(pointer), { recursive: true });
  const unfinished = `${pointer}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  try {
    await Deno.symlink(relative(dirname(pointer), blob), unfinished);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) throw error;
    await Deno.copyFile(blob, unfinished);
  }
  await Deno.rename(unfinished, pointer);
}

/**
 * Does the work while no other process that asks for the same lock does: one that Python's `filelock` respects and takes as well. It
 * goes when the process ends, however that ends.
 * @param onWait called once if another process holds it
 * @throws the signal's reason where that is aborted while waiting
 */
export async function withLock<T>(
  path: string,
  onWait: () => void,
  work: () => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  await Deno.mkdir(dirname(path), { recursive: true });
  using file = await Deno.open(path, { read: true, write: true, create: true, mode: 0o664 });
  for (let tries = 0; !await file.tryLock(true); tries++) {
    if (tries === 0) onWait();
    signal?.throwIfAborted();
    await new Promise((resume) => setTimeout(resume, 250));
  }
  try {
    return await work();
  } finally {
    await file.unlock();
  }
}
