/**
 * Checkpoints of a stage in progress, `checkpoints/<stage>/step-000123/` in its run directory: whole or not there, the newest few kept.
 * A manifest with the SHA-256 of every file is written last.
 */
import {
  DamagedFileError,
  FileAccessError,
  type Files,
  isObject,
  joinPath,
  sha256OfFile,
  startSha256,
} from "./bytes.ts";
import { formatBytes } from "./format.ts";
import { type AppendCursors, appendCursors, areCursors, readSealed, writeSealed } from "./run_directory.ts";

/** `complete.json`: written last, so that a checkpoint with it is whole. */
export interface CheckpointManifest {
  format: 1;
  stage: string;
  step: number;
  /** Whatever the writer wants to find again, for instance the digest of the stage's inputs. */
  notes: Record<string, unknown>;
  cursors: AppendCursors;
  /** Every other file of the checkpoint, by path inside its folder. */
  files: Record<string, { size: number; sha256: string }>;
}

/** A checkpoint that was found whole. */
export interface FoundCheckpoint extends CheckpointManifest {
  /** Its folder, to be joined with file names. */
  folder: string;
}

const MANIFEST = "complete.json";

/**
 * The states of a step's folder. A checkpoint is written as `.partial` and counts from the moment its manifest is there; the bare
 * name is its final one; `.replaced` is an earlier checkpoint of the same step, `.removed` one that is being deleted.
 */
const STEP_FOLDER = /^step-(\d{6,})(\.partial|\.replaced|\.removed)?\/$/;

function stageFolder(run: string, stage: string): string {
  return joinPath(run, "checkpoints", stage);
}

function stepName(step: number): string {
  if (!Number.isSafeInteger(step) || step < 0) throw new RangeError(`${step} is not the number of a step.`);
  return `step-${String(step).padStart(6, "0")}`;
}

/**
 * Writes a checkpoint so that it is found whole or not at all, then removes the oldest ones beyond `keep`.
 *
 * `write` puts its files into the folder that it is given (subfolders are welcome), through the `Files` that it is given: these take the
 * SHA-256 of what was meant to be written, on its way. Reading it back would show what the system's cache holds, not the disk, and would
 * pass off bytes that were garbled on the way as good ones; this way whoever reads the checkpoint finds out. Then the manifest is
 * written, and the folder moves to its final name. A checkpoint of the same step is replaced. Where writing fails, its rest is removed,
 * so that a full disk is not left fuller.
 *
 * @param notes come back in the manifest
 * @param keep how many checkpoints of this stage to leave, at least 1
 * @param every steps between those that count: others, made as a run was stopped, stay only while they are the newest, so that what a
 *   rollback goes back to does not depend on stops
 * @returns the checkpoint's folder
 */
export async function writeCheckpointFolder(
  files: Files,
  run: string,
  stage: string,
  step: number,
  write: (folder: string, files: Files) => Promise<void>,
  { notes = {}, keep = 2, every = 1 }: { notes?: Record<string, unknown>; keep?: number; every?: number } =
    {},
): Promise<string> {
  if (!/^[\w-]+$/.test(stage)) throw new RangeError(`"${stage}" cannot name a stage's folder.`);
  if (!Number.isSafeInteger(keep) || keep < 1) {
    throw new RangeError(`keep is ${keep} but should be 1 or more.`);
  }
  const parent = stageFolder(run, stage);
  const final = joinPath(parent, stepName(step));
  const partial = `${final}.partial`;
  await files.makeDirectory(parent);
  await settle(files, parent);

  try {
    await files.makeDirectory(partial);
    const written = new Map<string, Written>();
    await write(partial, noting(files, written));
    const manifest: CheckpointManifest = {
      format: 1,
      stage,
      step,
      notes,
      cursors: await appendCursors(files, run),
      files: {},
    };
    for (const name of await filesBelow(files, partial)) {
      const path = joinPath(partial, name);
      const known = written.get(path) ?? await sha256OfFile(files, path);
      const size = await files.size(path);
      if (size !== known.size) {
        throw new DamagedFileError(
          `${path} has ${size} bytes after ${known.size} were written; check the disk.`,
        );
      }
      manifest.files[name] = known;
    }
    await writeSealed(files, joinPath(partial, MANIFEST), manifest);
  } catch (error) {
    await files.remove(partial).catch(() => {});
    throw error;
  }

  await finalise(files, parent, stepName(step));
  await rotate(files, parent, keep, every);
  return final;
}

/** Size and digest of what was handed over to be written. */
interface Written {
  size: number;
  sha256: string;
}

/** The same files; whatever is written whole is noted by its path. */
function noting(files: Files, written: Map<string, Written>): Files {
  return {
    ...files,
    async writeAtomic(path, content) {
      const digest = files.startSha256?.() ?? startSha256();
      let size = 0;
      const note = (piece: Uint8Array) => {
        digest.update(piece);
        size += piece.length;
        return piece;
      };
      await files.writeAtomic(path, content instanceof Uint8Array ? note(content) : mapped(content, note));
      written.set(joinPath(path), { size, sha256: digest.finish() });
    },
  };
}

async function* mapped<T>(pieces: AsyncIterable<T>, through: (piece: T) => T): AsyncGenerator<T> {
  for await (const piece of pieces) yield through(piece);
}

/** Moves a whole `.partial` to its final name, past an earlier checkpoint of the same step. */
async function finalise(files: Files, parent: string, name: string): Promise<void> {
  const final = joinPath(parent, name);
  const replaced = `${final}.replaced`;
  if (await files.exists(final)) {
    await files.remove(replaced);
    await files.rename(final, replaced);
  }
  await files.rename(`${final}.partial`, final);
  await files.remove(replaced);
}

/** Ends what a kill interrupted: whole partials become final, replaced ones without a successor come back, the rest goes. */
async function settle(files: Files, parent: string): Promise<void> {
  for (const folder of await files.list(parent)) {
    const match = STEP_FOLDER.exec(folder);
    if (match?.[2] === ".removed") await files.remove(joinPath(parent, folder));
    if (match?.[2] !== ".partial") continue;
    const path = joinPath(parent, folder.slice(0, -1));
    if (await isWhole(files, path)) await finalise(files, parent, `step-${match[1]}`);
    else await files.remove(path);
  }
  for (const folder of await files.list(parent)) {
    const match = STEP_FOLDER.exec(folder);
    if (match?.[2] !== ".replaced") continue;
    const final = joinPath(parent, `step-${match[1]}`);
    if (await isWhole(files, final)) await files.remove(`${final}.replaced`);
    else {
      await files.remove(final);
      await files.rename(`${final}.replaced`, final);
    }
  }
}

async function isWhole(files: Files, folder: string): Promise<boolean> {
  return await inspect(files, folder, "sizes").then(() => true, () => false);
}

/**
 * Sees to it that so many bytes can be written to the run directory. Where they cannot, and older checkpoints of the stage take up room,
 * all but the newest whole one go first.
 * @param what is to be written, for the message: "a checkpoint of ppo"
 * @returns a sentence where checkpoints had to go
 * @throws FileAccessError saying how much is needed and how much there is
 */
export async function requireRoom(
  files: Files,
  run: string,
  stage: string,
  bytes: number,
  what: string,
): Promise<string | undefined> {
  const free = () => files.freeSpace?.(run) ?? Promise.resolve(undefined);
  const before = await free() ?? Infinity;
  if (before >= bytes) return;
  const parent = stageFolder(run, stage);
  if (await files.exists(parent)) {
    await settle(files, parent);
    await rotate(files, parent, 1);
  }
  const after = await free() ?? Infinity;
  if (after < bytes) {
    throw new FileAccessError(
      `${what} needs ${formatBytes(bytes)} in ${run}, but ${formatBytes(after)} are free on its disk; ` +
        `free some, or choose another place with --out; the same command then goes on from the last checkpoint.`,
    );
  }
  return `Older checkpoints of ${stage} were removed to make room for ${what}.`;
}

async function rotate(files: Files, parent: string, keep: number, every = 1): Promise<void> {
  const steps = (await files.list(parent)).map((name) => STEP_FOLDER.exec(name)).filter((match) =>
    match && !match[2]
  );
  steps.sort((a, b) => Number(b![1]) - Number(a![1]));
  let whole = 0, newest = true;
  for (const match of steps) {
    const folder = joinPath(parent, `step-${match![1]}`);
    // A damaged checkpoint does not count as kept, so that it never pushes out the last good one.
    const counts = Number(match![1]) % every === 0;
    if ((counts && whole < keep) || newest) {
      if (!await isWhole(files, folder)) continue;
      newest = false;
      if (counts) whole++;
      continue;
    }
    await discard(files, folder);
  }
}

/** Out of the way in one step: a half-deleted checkpoint under its own name would be reported as damaged. */
async function discard(files: Files, folder: string): Promise<void> {
  await files.rename(folder, `${folder}.removed`);
  await files.remove(`${folder}.removed`);
}

/** Removes those of a stage's checkpoints that a run which is rolled back must not go on from. */
export async function discardCheckpoints(
  files: Files,
  run: string,
  stage: string,
  isUnfit: (step: number) => boolean,
): Promise<void> {
  const parent = stageFolder(run, stage);
  if (!await files.exists(parent)) return;
  await settle(files, parent);
  for (const name of await files.list(parent)) {
    const match = STEP_FOLDER.exec(name);
    if (match && isUnfit(Number(match[1]))) await discard(files, joinPath(parent, name.replace(/\/$/, "")));
  }
}

/**
 * The newest whole checkpoint of a stage. Nothing is changed, so anyone may look while a run is writing.
 * @param check "digests" reads every byte; "sizes" trusts files that have the right length
 * @returns the checkpoint, if any, and a sentence on each newer one that was passed over because it is damaged
 */
export async function newestCheckpoint(
  files: Files,
  run: string,
  stage: string,
  check: "digests" | "sizes" = "digests",
): Promise<{ checkpoint?: FoundCheckpoint; damaged: string[] }> {
  const parent = stageFolder(run, stage);
  const damaged: string[] = [];
  if (!await files.exists(parent)) return { damaged };
  // Of one step, what is newest: a whole partial was about to replace the final one.
  const rank = [".partial", undefined, ".replaced"];
  const candidates = (await files.list(parent))
    .map((name) => STEP_FOLDER.exec(name))
    .filter((match) => match !== null)
    .filter((match) => rank.includes(match[2]))
    .sort((a, b) => Number(b[1]) - Number(a[1]) || rank.indexOf(a[2]) - rank.indexOf(b[2]));
  for (const match of candidates) {
    const folder = joinPath(parent, match[0].slice(0, -1));
    try {
      return {
        checkpoint: { ...await inspect(files, folder, check, stage, Number(match[1])), folder },
        damaged,
      };
    } catch (error) {
      // A partial without a manifest is only a checkpoint that was never finished.
      const unfinished = match[2] === ".partial" && !await files.exists(joinPath(folder, MANIFEST));
      if (!unfinished) damaged.push((error as Error).message);
    }
  }
  return { damaged };
}

/**
 * Reads a checkpoint's manifest and checks its files against it.
 * @throws DamagedFileError naming the file that is missing, has the wrong size or other bytes
 */
async function inspect(
  files: Files,
  folder: string,
  check: "digests" | "sizes",
  stage?: string,
  step?: number,
): Promise<CheckpointManifest> {
  const path = joinPath(folder, MANIFEST);
  if (!await files.exists(path)) {
    throw new DamagedFileError(`${folder} is not a whole checkpoint: it has no ${MANIFEST}.`);
  }
  const manifest = await readSealed(files, path);
  if (!isManifest(manifest)) {
    throw new DamagedFileError(`${path} is not a checkpoint's manifest, or not as it was written.`);
  }
  if ((stage !== undefined && manifest.stage !== stage) || (step !== undefined && manifest.step !== step)) {
    throw new DamagedFileError(
      `${path} belongs to step ${manifest.step} of ${manifest.stage}; the folder was moved or renamed.`,
    );
  }
  for (const [name, { size, sha256 }] of Object.entries(manifest.files)) {
    const file = joinPath(folder, name);
    if (!await files.exists(file)) throw new DamagedFileError(`${file} is missing from its checkpoint.`);
    const actual = await files.size(file);
    if (actual !== size) throw new DamagedFileError(`${file} has ${actual} bytes instead of ${size}.`);
    if (check === "digests" && (await sha256OfFile(files, file)).sha256 !== sha256) {
      throw new DamagedFileError(`${file} has other bytes than were written (its SHA-256 differs).`);
    }
  }
  return manifest;
}

function isManifest(value: unknown): value is CheckpointManifest {
  if (!isObject(value) || value.format !== 1 || typeof value.stage !== "string") return false;
  if (!Number.isSafeInteger(value.step) || !isObject(value.notes) || !areCursors(value.cursors)) return false;
  return isObject(value.files) &&
    Object.entries(value.files).every(([name, file]) =>
      name.split("/").every((part) => part !== "" && part !== "." && part !== "..") &&
      isObject(file) && Number.isSafeInteger(file.size) && typeof file.sha256 === "string"
    );
}

/** Every file below a folder, as paths inside it. */
async function filesBelow(files: Files, folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of await files.list(folder)) {
    if (!name.endsWith("/")) found.push(name);
    else for (const below of await filesBelow(files, joinPath(folder, name))) found.push(name + below);
  }
  return found;
}
