/** `Files` over a disk, with Deno: whole files appear at once or not at all, and failures say what to do about them. */
import { createHash } from "node:crypto";
import process from "node:process";
import { FileAccessError, type Files, shown } from "../lab/bytes.ts";

/** The disk. Relative paths mean the current folder. */
export function diskFiles(): Files {
  return {
    read: (path) => explained("read", path, () => Deno.readFile(path)),
    readRange: (path, start, end) => explained("read", path, () => readRange(path, start, end)),
    size: (path) =>
      explained("read", path, async () => {
        const { isDirectory, size } = await Deno.stat(path);
        if (isDirectory) throw new Deno.errors.IsADirectory();
        return size;
      }),
    exists: (path) =>
      explained("look for", path, async () => {
        try {
          await Deno.stat(path);
          return true;
        } catch (error) {
          if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
            return false;
          }
          throw error;
        }
      }),
    list: (folder) =>
      explained("list", folder, async () => {
        const names: string[] = [];
        for await (const { name, isDirectory } of Deno.readDir(folder)) {
          if (!isUnfinished(name)) names.push(isDirectory ? name + "/" : name);
        }
        return names.sort();
      }),
    writeAtomic: (path, content) => explained("write", path, () => writeAtomic(path, content)),
    createNew: (path, content) => explained("write", path, () => createNew(path, content)),
    append: (path, bytes) =>
      explained("write", path, async () => {
        using file = await Deno.open(path, { append: true, create: true });
        await writeAll(file, bytes);
      }),
    truncate: (path, size) =>
      explained("write", path, async () => {
        using file = await Deno.open(path, { write: true });
        if (size < (await file.stat()).size) await file.truncate(size);
        await file.sync();
      }),
    remove: (path) =>
      explained("remove", path, async () => {
        try {
          await Deno.remove(path, { recursive: true });
        } catch (error) {
          if (!(error instanceof Deno.errors.NotFound)) throw error;
        }
      }),
    rename: (from, to) =>
      explained("move", from, async () => {
        await Deno.rename(from, to);
        await syncFolder(folderOf(to));
      }),
    makeDirectory: (path) => explained("make the folder", path, () => Deno.mkdir(path, { recursive: true })),
    startSha256: () => {
      const hash = createHash("sha256");
      return { update: (bytes) => void hash.update(bytes), finish: () => hash.digest("hex") };
    },
  };
}

async function readRange(path: string, start: number, end: number): Promise<Uint8Array> {
  using file = await Deno.open(path, { read: true });
  // Asked before anything is allocated: the range may come from a file that lies about its length.
  const { size } = await file.stat();
  if (start < 0 || end < start || end > size) {
    throw new FileAccessError(`${path} has ${size} bytes; bytes ${start} to ${end} are not in it.`);
  }
  await file.seek(start, Deno.SeekMode.Start);
  const bytes = new Uint8Array(end - start);
  for (let at = 0; at < bytes.length;) {
    const got = await file.read(bytes.subarray(at));
    if (got === null) throw new FileAccessError(`${path} became shorter while it was being read; try again.`);
    at += got;
  }
  return bytes;
}

async function writeAtomic(path: string, content: Uint8Array | AsyncIterable<Uint8Array>): Promise<void> {
  const unfinished = unfinishedName(path);
  try {
    await writeWhole(unfinished, content);
    await Deno.rename(unfinished, path);
  } catch (error) {
    await Deno.remove(unfinished).catch(() => {});
    throw error;
  }
  await syncFolder(folderOf(path));
}

async function createNew(path: string, content: Uint8Array): Promise<boolean> {
  const unfinished = `${unfinishedName(path)}${crypto.randomUUID()}${UNFINISHED}`;
  try {
    await writeWhole(unfinished, content);
    // A hard link appears with its content and never over something else; a rename would replace it silently.
    await Deno.link(unfinished, path);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return false;
    if (!await lacksHardLinks(error, unfinished)) throw error;
    try {
      using file = await Deno.open(path, { write: true, createNew: true });
      await writeAll(file, content);
      await file.sync();
    } catch (second) {
      if (second instanceof Deno.errors.AlreadyExists) return false;
      throw second;
    }
  } finally {
    await Deno.remove(unfinished).catch(() => {});
  }
  await syncFolder(folderOf(path));
  return true;
}

/** Whether a link failed for want of hard links (FAT, some network disks), and not because nothing can be written here at all. */
async function lacksHardLinks(error: unknown, unfinished: string): Promise<boolean> {
  const written = await Deno.stat(unfinished).then(() => true, () => false);
  return written && ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"].includes(codeOf(error));
}

async function writeWhole(path: string, content: Uint8Array | AsyncIterable<Uint8Array>): Promise<void> {
  using file = await Deno.open(path, { write: true, create: true, truncate: true });
  if (content instanceof Uint8Array) await writeAll(file, content);
  else for await (const piece of content) await writeAll(file, piece);
  await file.sync();
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}

/** A rename is only safe from a power cut once its folder is on the disk too. Windows has no such call and needs none. */
async function syncFolder(folder: string): Promise<void> {
  if (Deno.build.os === "windows") return;
  using handle = await Deno.open(folder, { read: true });
  await handle.sync();
}

const UNFINISHED = ".unfinished";

/** In the same folder, since a rename across disks is not atomic; the same name every time, so that kills leave no heap behind. */
function unfinishedName(path: string): string {
  const cut = path.lastIndexOf("/") + 1;
  return `${path.slice(0, cut)}.${path.slice(cut)}${UNFINISHED}`;
}

function isUnfinished(name: string): boolean {
  return name.startsWith(".") && name.endsWith(UNFINISHED);
}

function folderOf(path: string): string {
  const cut = path.lastIndexOf("/");
  return cut < 0 ? "." : cut === 0 ? "/" : path.slice(0, cut);
}

async function explained<T>(action: string, path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw explainFileError(error, action, path);
  }
}

/**
 * One sentence for what the system said when `action` ("read", "write" …) was tried on `path`. Errors that are not the system's come
 * back as they are.
 */
export function explainFileError(error: unknown, action: string, path: string): unknown {
  if (error instanceof FileAccessError || !(error instanceof Error)) return error;
  if (path.includes("\0")) {
    return new FileAccessError(
      `Could not ${action} ${shown(path)}: no path holds a NUL character; correct it.`,
    );
  }
  const remedy = {
    ENOENT: action === "read" || action === "list" || action === "move"
      ? "it does not exist; check the path"
      : "its folder does not exist; make the folder first or check the path",
    EACCES: "permission is denied; change the file's permissions or choose another place with --out",
    EPERM: "the system does not permit it; change the file's permissions or choose another place with --out",
    EROFS: "the disk is mounted read-only; choose another place with --out",
    ENOSPC: "no space is left on the disk; free some or choose another place with --out",
    EDQUOT: "your disk quota is used up; free some space or choose another place with --out",
    EFBIG: "the file would be larger than this disk allows; choose another place with --out",
    EISDIR: "it is a folder, not a file; check the path",
    ENOTDIR: "part of the path is a file, not a folder; check the path",
    EEXIST: "a file is in the way; choose another path",
    ENOTEMPTY: "the target exists and is not empty; choose another path",
    ENAMETOOLONG: "the name is too long; choose a shorter one",
    EMFILE: "too many files are open; raise the limit with ulimit -n",
    EIO: "the disk reported a fault; check the disk",
  }[codeOf(error)];
  if (remedy) return new FileAccessError(`Could not ${action} ${path}: ${remedy}.`, { cause: error });
  if (error instanceof Deno.errors.NotCapable) {
    const flag = action === "read" || action === "list" || action === "look for"
      ? "--allow-read"
      : "--allow-write";
    return new FileAccessError(`Could not ${action} ${path}: Deno was not allowed to; run it with ${flag}.`, {
      cause: error,
    });
  }
  return error;
}

function codeOf(error: unknown): string {
  if (error instanceof Deno.errors.IsADirectory) return "EISDIR";
  return String((error as { code?: unknown })?.code ?? "");
}

/** Who holds a run directory: enough to see later whether that process is still there. */
export interface ProcessIdentity {
  pid: number;
  host: string;
  /** What tells this process from a later one with the same number: boot and start time, on Linux; otherwise empty. */
  instance: string;
}

/** This process. */
export async function thisProcess(): Promise<ProcessIdentity> {
  return { pid: Deno.pid, host: Deno.hostname(), instance: await instanceOf(Deno.pid) };
}

/**
 * Whether a process has certainly ended: it ran on this host, and no process has its number any more, or another one does. A process
 * of another host is never said to have ended.
 */
export async function hasEnded({ pid, host, instance }: ProcessIdentity): Promise<boolean> {
  if (host !== Deno.hostname()) return false;
  if (instance !== "") return (await instanceOf(pid)) !== instance;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return codeOf(error) === "ESRCH";
  }
}

async function instanceOf(pid: number): Promise<string> {
  try {
    const boot = await Deno.readTextFile("/proc/sys/kernel/random/boot_id");
    const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
    // The second field is the command in parentheses and may hold anything; field 22, the start time, is the 20th after it.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // A zombie has ended. In a container whose first process does not collect orphans it stays for good.
    return /^[ZX]/.test(fields[0]) ? "" : `${boot.trim()} ${fields[19]}`;
  } catch {
    return "";
  }
}
