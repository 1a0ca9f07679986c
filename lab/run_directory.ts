/**
 * A run's directory, the only interface between training and everything that looks at it:
 *
 *     run.json                          configuration, versions, adapter, seeds, digests
 *     metrics.jsonl, samples.jsonl      append-only
 *     episodes/<stage>.jsonl            append-only, per-token records
 *     stages/<stage>.json               present once a stage is done: the digest of its inputs and what it gave
 *     checkpoints/<stage>/step-000123/  whole or not there, see checkpoints.ts
 *     lock.json                         who is writing
 *
 * Whatever instant a run is killed at, the previous good state can be read.
 */
import {
  DamagedFileError,
  digestOfJson,
  FileAccessError,
  type Files,
  joinPath,
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
  const token = crypto.randomUUID();
  const content = new TextEncoder().encode(
    JSON.stringify({ ...owner, since: new Date().toISOString(), token }) + "\n",
  );
  if (!await files.createNew(path, content)) {
    const holder = await readLock(files, path);
    if (holder && !await hasEnded(holder)) throw locked(run, path, holder);
    if (holder) {
      // Two runs may find the same dead lock. Only one of them can move it away, and what was moved shows whether it was that one.
      const aside = `${path}.${token}`;
      await files.rename(path, aside).catch(() => {});
      const moved = await readLock(files, aside);
      if (moved && moved.token !== holder.token) {
        await files.rename(aside, path);
        throw locked(run, path, moved);
      }
      await files.remove(aside);
    }
    if (!await files.createNew(path, content)) throw locked(run, path, await readLock(files, path));
  }
  return async () => {
    if ((await readLock(files, path))?.token === token) await files.remove(path);
  };
}

/** The lock's content, or undefined where there is none (any more). */
async function readLock(
  files: Files,
  path: string,
): Promise<RunOwner & { since: string; token: string } | undefined> {
  let json;
  try {
    json = await readJson(files, path) as Partial<RunOwner & { since: string; token: string }> | null;
  } catch (error) {
    if (error instanceof FileAccessError && !await files.exists(path)) return undefined;
    if (error instanceof DamagedFileError) {
      throw new RunLockedError(`${path} is damaged; if no other run uses this directory, delete that file.`);
    }
    throw error;
  }
  const { pid, host, instance = "", since = "an unknown time", token = "" } = json ?? {};
  if (typeof pid !== "number" || typeof host !== "string" || typeof instance !== "string") {
    throw new RunLockedError(`${path} is damaged; if no other run uses this directory, delete that file.`);
  }
  return { pid, host, instance, since: String(since), token: String(token) };
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
  await writeJson(files, joinPath(run, "stages", `${stage}.json`), record);
}

/**
 * What a stage left behind, or undefined where it is not done or was done from other inputs.
 * @throws DamagedFileError where the record cannot be understood
 */
export async function readStageRecord(
  files: Files,
  run: string,
  stage: string,
  inputs: unknown,
): Promise<StageRecord | undefined> {
  const path = joinPath(run, "stages", `${stage}.json`);
  if (!await files.exists(path)) return undefined;
  const record = await readJson(files, path) as Partial<StageRecord> | null;
  if (
    !isObject(record) || typeof record.inputDigest !== "string" || !isObject(record.output) ||
    !areCursors(record.cursors)
  ) {
    throw new DamagedFileError(`${path} is not a stage's record; delete it to run the stage again.`);
  }
  return record.inputDigest === await digestOfJson(inputs) ? record as StageRecord : undefined;
}

/** Whether this can be the sizes of append-only files. */
export function areCursors(value: unknown): value is AppendCursors {
  return isObject(value) &&
    Object.values(value).every((size) => Number.isSafeInteger(size) && (size as number) >= 0);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
