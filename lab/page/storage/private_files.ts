/**
 * The browser's private file system (OPFS) as `Files`: where weights are kept between visits, and models trained in the page. Works in
 * workers alone, where files can be written in place.
 */
import { FileAccessError, type Files } from "../../bytes.ts";

/** Parts of the interface that TypeScript's DOM library lacks. */
interface WritableHandle {
  write(bytes: ArrayBufferView, options?: { at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}
type Folder = FileSystemDirectoryHandle & { entries(): AsyncIterable<[string, FileSystemHandle]> };
type File = FileSystemFileHandle & {
  createSyncAccessHandle(): Promise<WritableHandle>;
  move(folder: FileSystemDirectoryHandle, name: string): Promise<void>;
};

/** What is still being written ends so, and is not shown. */
const unfinished = ".part";

/** Files that can also be written within. */
export interface PrivateFiles extends Files {
  /** Writes bytes at a place in a file, which is made or lengthened where need be. */
  writeAt(path: string, at: number, bytes: Uint8Array): Promise<void>;
}

/** @param storage the browser's `navigator.storage` */
export function privateFiles(storage: StorageManager): PrivateFiles {
  const root = async () =>
    await (await storage.getDirectory()).getDirectoryHandle("precis", { create: true }) as Folder;

  const partsOf = (path: string) => path.split("/").filter((part) => part !== "" && part !== ".");

  /** @param parts names from the root on */
  const folderAt = async (parts: readonly string[], create = false): Promise<Folder> => {
    let folder = await root();
    for (const part of parts) folder = await folder.getDirectoryHandle(part, { create }) as Folder;
    return folder;
  };

  const split = (path: string): [string[], string] => {
    const parts = partsOf(path);
    const name = parts.pop();
    if (name === undefined) throw new DOMException("", "TypeMismatchError");
    return [parts, name];
  };

  const fileAt = async (path: string, create = false): Promise<File> => {
    const [parts, name] = split(path);
    return await (await folderAt(parts)).getFileHandle(name, { create }) as File;
  };

  const isThere = async (path: string): Promise<"file" | "folder" | null> => {
    const parts = partsOf(path);
    if (parts.length === 0) return "folder";
    const name = parts.pop()!;
    try {
      const folder = await folderAt(parts);
      return await folder.getFileHandle(name).then(() => "file" as const, async (error) => {
        if ((error as Error).name !== "TypeMismatchError") throw error;
        await folder.getDirectoryHandle(name);
        return "folder" as const;
      });
    } catch (error) {
      if (["NotFoundError", "TypeMismatchError"].includes((error as Error).name)) return null;
      throw error;
    }
  };

  /** Opens a file for writing in place; nobody else can until it is closed. */
  const writing = async <T>(file: File, body: (handle: WritableHandle) => T | Promise<T>): Promise<T> => {
    const handle = await file.createSyncAccessHandle();
    try {
      const result = await body(handle);
      handle.flush();
      return result;
    } finally {
      handle.close();
    }
  };

  const writeAll = (handle: WritableHandle, bytes: Uint8Array, at: number) => {
    // A full disk shows as a short write in some browsers, as an error in others.
    if (handle.write(bytes, { at }) < bytes.length) throw new DOMException("", "QuotaExceededError");
  };

  const writeWhole = async (path: string, content: Uint8Array | AsyncIterable<Uint8Array>) => {
    const [parts, name] = split(path);
    const folder = await folderAt(parts);
    if (await isThere(path) === "folder") throw new DOMException("", "TypeMismatchError");
    const file = await folder.getFileHandle(name + unfinished, { create: true }) as File;
    try {
      await writing(file, async (handle) => {
        handle.truncate(0);
        let at = 0;
        const pieces = content instanceof Uint8Array ? [content] : content;
        for await (const piece of pieces) {
          writeAll(handle, piece, at);
          at += piece.length;
        }
      });
      await file.move(folder, name);
    } catch (error) {
      await folder.removeEntry(name + unfinished).catch(() => {});
      throw error;
    }
  };

  const files: PrivateFiles = {
    read: (path) => explained("read", path, async () => bytesOf(await (await fileAt(path)).getFile())),
    readRange: (path, start, end) =>
      explained("read", path, async () => {
        const file = await (await fileAt(path)).getFile();
        if (start < 0 || end < start || end > file.size) {
          throw new FileAccessError(
            `${path} has ${file.size} bytes; bytes ${start} to ${end} are not in it.`,
          );
        }
        return await bytesOf(file.slice(start, end));
      }),
    size: (path) => explained("read", path, async () => (await (await fileAt(path)).getFile()).size),
    exists: (path) => explained("look for", path, async () => await isThere(path) !== null),
    list: (path) =>
      explained("list", path, async () => {
        const names: string[] = [];
        for await (const [name, { kind }] of (await folderAt(partsOf(path))).entries()) {
          if (!name.endsWith(unfinished)) names.push(kind === "directory" ? `${name}/` : name);
        }
        return names.sort();
      }),
    writeAtomic: (path, content) => explained("write", path, () => writeWhole(path, content)),
    createNew: (path, content) =>
      explained("write", path, async () => {
        if (await isThere(path) !== null) return false;
        await writeWhole(path, content);
        return true;
      }),
    append: (path, bytes) =>
      explained("write", path, async () => {
        await writing(await fileAt(path, true), (handle) => writeAll(handle, bytes, handle.getSize()));
      }),
    writeAt: (path, at, bytes) =>
      explained("write", path, async () => {
        await writing(await fileAt(path, true), (handle) => writeAll(handle, bytes, at));
      }),
    truncate: (path, size) =>
      explained("write", path, async () => {
        await writing(await fileAt(path), (handle) => size < handle.getSize() && handle.truncate(size));
      }),
    remove: (path) =>
      explained("remove", path, async () => {
        if (await isThere(path) === null) return;
        const [parts, name] = split(path);
        await (await folderAt(parts)).removeEntry(name, { recursive: true });
      }),
    rename: (from, to) =>
      explained("move", from, async () => {
        const [parts, name] = split(to);
        if (await isThere(from) !== "folder") {
          await (await fileAt(from)).move(await folderAt(parts), name);
          return;
        }
        // Browsers move files, not folders.
        await folderAt([...parts, name], true);
        for (const inside of await files.list(from)) {
          const below = inside.replace(/\/$/, "");
          await files.rename(`${from}/${below}`, `${to}/${below}`);
        }
        await files.remove(from);
      }),
    makeDirectory: (path) =>
      explained("make the folder", path, async () => void await folderAt(partsOf(path), true)),
    freeSpace: async () => {
      const { quota, usage } = await storage.estimate();
      return quota === undefined ? undefined : Math.max(0, quota - (usage ?? 0));
    },
  };
  return files;
}

async function bytesOf(blob: Blob): Promise<Uint8Array> {
  return new Uint8Array(await blob.arrayBuffer());
}

/** Failures in the words of `Files`. */
async function explained<T>(doing: string, path: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    const { name } = error as Error;
    const remedy = ({
      NotFoundError: "does not exist in this browser's storage; check the path.",
      TypeMismatchError: `cannot be ${
        doing === "list"
          ? "listed: it is a file"
          : "used so: a file is where a folder is due, or the other way round"
      }.`,
      QuotaExceededError:
        "cannot be written: this browser's storage for the page is full; remove kept models, or free disk space.",
      NoModificationAllowedError: "is being written by another tab of this page; close that one, or wait.",
      InvalidStateError: "cannot be used: this browser's storage was cleared meanwhile; load the page again.",
      SecurityError: "cannot be used: this browser keeps nothing for this page, as in a private window.",
    } as Record<string, string>)[name];
    throw remedy ? new FileAccessError(`${path} ${remedy}`) : error;
  }
}
