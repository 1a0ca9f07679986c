/**
 * A run's directory, the only interface between training and everything that looks at it:
 *
 *     run.json                          configuration, versions, adapter, seeds, digests
 *     metrics.jsonl, samples.jsonl      append-only
 *     episodes/<stage>.jsonl            append-only, per-token records
 *     stages/<stage>.json               present once a stage is done: the digest of its inputs and what it gave
 *     checkpoints/<stage>/step-000123/  whole or not there, see checkpoints.ts
 *     invariants.json                   what had to hold in PPO's first update, as it was found
 *     alarms.json                       what went wrong and what was done about it, see health.ts
 *     evaluation/<model>.json           summaries and scores, which the next judge takes up
 *     judge/<judge>.jsonl               append-only, a language model's answers by digest of the question
 *     lock.json                         who is writing
 *
 * Whatever instant a run is killed at, the previous good state can be read.
 */
import {
  DamagedFileError,
  digestOfJson,
  FileAccessError,
  type Files,
  isObject,
  joinPath,
  parseJson,
  readJson,
  writeJson,
} from "./bytes.ts";
import { appendJsonl, healJsonl } from "./jsonl.ts";

/** Another run is writing to the directory. */
export class RunLockedError extends Error {
  override name = "RunLockedError";
}

/** The process that writes to a run directory. */
export interface RunOwner {
  pid: number;
  host: string;
  /** What tells this process from a later one with the same number; may be empty. */
  instance: string;
}

/** Sizes in bytes of the append-only files at some instant, by path inside the run directory. */
export type AppendCursors = Record<string, number>;

/** A run directory held by this process. */
export interface RunDirectory {
  path: string;
  /** Sentences on what was mended on opening; to be shown. */
  healed: string[];
  /** Appends to metrics.jsonl. */
  appendMetrics(...records: unknown[]): Promise<void>;
  /** Appends to samples.jsonl. */
  appendSamples(...records: unknown[]): Promise<void>;
  /** Appends to episodes/<stage>.jsonl. */
  appendEpisodes(stage: string, ...records: unknown[]): Promise<void>;
  /** Gives the directory up; harmless when done twice. */
  release(): Promise<void>;
}

/**
 * Takes a run directory for writing, making it where there is none, and heals torn last lines of its append-only files.
 * @param owner this process
 * @param hasEnded whether the process that a lock names has certainly ended; its lock is then taken over
 * @throws RunLockedError where another run holds it
 */
export async function openRunDirectory(
  files: Files,
  path: string,
  owner: RunOwner,
  hasEnded: (holder: RunOwner) => boolean | Promise<boolean>,
): Promise<RunDirectory> {
  await files.makeDirectory(path);
  const release = await lock(files, path, owner, hasEnded);
  try {
    for (const folder of ["checkpoints", "episodes", "stages"]) {
      await files.makeDirectory(joinPath(path, folder));
    }
    const healed: string[] = [];
    for (const name of await appendOnlyFiles(files, path)) {
      const cut = await healJsonl(files, joinPath(path, name));
      if (cut > 0) {
        healed.push(`${joinPath(path, name)} ended in half a line; its last ${cut} bytes were cut off.`);
      }
    }
    return {
      path,
      healed,
      appendMetrics: (...records) => appendJsonl(files, joinPath(path, "metrics.jsonl"), records),
      appendSamples: (...records) => appendJsonl(files, joinPath(path, "samples.jsonl"), records),
      appendEpisodes: (stage, ...records) =>
        appendJsonl(files, joinPath(path, "episodes", `${stage}.jsonl`), records),
      release,
    };
  } catch (error) {
    await release();
    throw error;
  }
}

async function lock(
  files: Files,
  run: string,
  owner: RunOwner,
  hasEnded: (holder: RunOwner) => boolean | Promise<boolean>,
): Promise<() => Promise<void>> {
  const path = joinPath(run, "lock.json");
  const release = await takeLock(files, run, path, owner, hasEnded);
  // Claims on earlier locks are only left where a taker was killed; nobody can act on one while another lock is in place.
  for (const name of await files.list(run)) {
    if (name.startsWith("lock.json.")) await files.remove(joinPath(run, name));
  }
  return release;
}

/**
 * Creates the lock at `path`, past one whose holder has ended. Only the holder of the claim on a dead lock (itself a lock, named after
 * the dead one's token) may remove it, and a lock's token never comes back: so whoever sees the dead lock in place while holding its
 * claim can remove it without removing a live one. A claim whose holder was killed is taken over in the same way.
 * @returns gives the lock up; harmless when done twice
 */
async function takeLock(
  files: Files,
  run: string,
  path: string,
  owner: RunOwner,
  hasEnded: (holder: RunOwner) => boolean | Promise<boolean>,
): Promise<() => Promise<void>> {
  const token = crypto.randomUUID();
  const content = new TextEncoder().encode(
    JSON.stringify({ ...owner, since: new Date().toISOString(), token }) + "\n",
  );
  const release = async () => {
    if ((await readLock(files, path))?.token === token) await files.remove(path);
  };
  if (await files.createNew(path, content)) return release;

  const holder = await readLock(files, path);
  if (holder) {
    if (!await hasEnded(holder)) throw locked(run, path, holder);
    const releaseClaim = await takeLock(
      files,
      run,
      joinPath(run, `lock.json.${holder.token}`),
      owner,
      hasEnded,
    );
    try {
      if ((await readLock(files, path))?.token === holder.token) await files.remove(path);
      if (await files.createNew(path, content)) return release;
    } finally {
      await releaseClaim();
    }
  }
  throw locked(run, path, await readLock(files, path));
}

/** How often a lock that changes hands while it is being looked at is looked at again. */
const mostLooks = 10;

/** The lock's content, or undefined where there is none (any more). */
async function readLock(
  files: Files,
  path: string,
  look = 1,
): Promise<RunOwner & { since: string; token: string } | undefined> {
  let json;
  try {
    json = await readJson(files, path) as Partial<RunOwner & { since: string; token: string }> | null;
  } catch (error) {
    if (error instanceof FileAccessError) {
      if (!await files.exists(path)) return undefined;
      // One lock was gone and another is there already, or the file cannot be read at all.
      if (look < mostLooks) return await readLock(files, path, look + 1);
    }
    if (error instanceof DamagedFileError) {
      throw new RunLockedError(`${path} is damaged; if no other run uses this directory, delete that file.`);
    }
    throw error;
  }
  const { pid, host, instance = "", since = "an unknown time", token = "" } = json ?? {};
  const texts = [host, instance, since, token].every((text) => typeof text === "string");
  // The token becomes part of a file's name.
  if (!Number.isSafeInteger(pid) || !texts || !/^[\w-]*$/.test(token)) {
    throw new RunLockedError(`${path} is damaged; if no other run uses this directory, delete that file.`);
  }
  return { pid, host, instance, since, token } as RunOwner & { since: string; token: string };
}

function locked(run: string, path: string, holder?: RunOwner & { since: string }): RunLockedError {
  const who = holder ? `process ${holder.pid} on ${holder.host} since ${holder.since}` : "another run";
  return new RunLockedError(
    `${run} is in use by ${who}; wait for it, choose another directory with --out, or, if that process is gone, delete ${path}.`,
  );
}

async function appendOnlyFiles(files: Files, run: string): Promise<string[]> {
  const inside = async (folder: string) =>
    await files.exists(joinPath(run, folder)) ? await files.list(joinPath(run, folder)) : [];
  return [
    ...(await inside("")).filter((name) => name.endsWith(".jsonl")),
    ...(await inside("episodes")).filter((name) => name.endsWith(".jsonl")).map((name) => `episodes/${name}`),
  ];
}

/** How long each append-only file is now. */
export async function appendCursors(files: Files, run: string): Promise<AppendCursors> {
  const cursors: AppendCursors = {};
  for (const name of await appendOnlyFiles(files, run)) cursors[name] = await files.size(joinPath(run, name));
  return cursors;
}

/**
 * Takes the append-only files back to where they were when a checkpoint was written, so that a resumed run does not record steps
 * twice. Files that came later are emptied. A file that is shorter than it was has lost records for good and is left as it is.
 */
export async function rewindAppends(files: Files, run: string, cursors: AppendCursors): Promise<void> {
  for (const name of await appendOnlyFiles(files, run)) {
    await files.truncate(joinPath(run, name), Object.hasOwn(cursors, name) ? cursors[name] : 0);
  }
}

/** What a finished stage leaves behind for the next invocation to decide whether it can be skipped. */
export interface StageRecord {
  /** `digestOfJson` of all that the stage's output depends on. */
  inputDigest: string;
  /** Whatever later stages and the report need to know: file names, final metrics. */
  output: Record<string, unknown>;
  cursors: AppendCursors;
}

/** Marks a stage as done. */
export async function writeStageRecord(
  files: Files,
  run: string,
  stage: string,
  inputs: unknown,
  output: Record<string, unknown>,
): Promise<void> {
  await files.makeDirectory(joinPath(run, "stages"));
  const record: StageRecord = {
    inputDigest: await digestOfJson(inputs),
    output,
    cursors: await appendCursors(files, run),
  };
  await writeSealed(files, joinPath(run, "stages", `${stage}.json`), record);
}

/**
 * What a stage left behind, or undefined where it is not done.
 * @param inputs if given, what was done from others counts as not done
 * @throws DamagedFileError where the record is not as it was written
 */
export async function readStageRecord(
  files: Files,
  run: string,
  stage: string,
  inputs?: unknown,
): Promise<StageRecord | undefined> {
  const path = joinPath(run, "stages", `${stage}.json`);
  if (!await files.exists(path)) return undefined;
  const record = await readSealed(files, path);
  if (
    record === undefined || typeof record.inputDigest !== "string" || !isObject(record.output) ||
    !areCursors(record.cursors)
  ) {
    throw new DamagedFileError(`${path} is not a stage's record; delete it to run the stage again.`);
  }
  const { inputDigest, output, cursors } = record;
  if (inputs !== undefined && inputDigest !== await digestOfJson(inputs)) return undefined;
  return { inputDigest, output, cursors };
}

/** Writes a record with the digest of its own content: what is read back decides what a run does. */
export async function writeSealed(files: Files, path: string, record: object): Promise<void> {
  const content = JSON.parse(JSON.stringify(record));
  await writeJson(files, path, { ...content, digest: await digestOfJson(content) });
}

/** The content of such a record; undefined where it is not as it was written. */
export async function readSealed(files: Files, path: string): Promise<Record<string, unknown> | undefined> {
  const bytes = await files.read(path);
  try {
    const { digest, ...content } = parseJson(path, bytes) as Record<string, unknown>;
    return digest === await digestOfJson(content) ? content : undefined;
  } catch {
    // No JSON, no object, or one that has no canonical form.
    return undefined;
  }
}

/** Whether this can be the sizes of append-only files. */
export function areCursors(value: unknown): value is AppendCursors {
  return isObject(value) &&
    Object.values(value).every((size) => Number.isSafeInteger(size) && (size as number) >= 0);
}
