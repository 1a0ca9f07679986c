/** Where the page reads runs from: a web server, which may tell what it has in `index.json`, or a folder of this computer. */
import { FileAccessError, isObject, joinPath, parseJson } from "../../bytes.ts";
import type { FolderIndex } from "../../runs/listing.ts";
import type { DatedFiles } from "../../runs/run.ts";
import { httpFiles } from "../http_files.ts";

/** A folder on a web server whose files may be growing. */
export interface ServedFiles extends DatedFiles {
  /** Forgets what was kept of files that the server can only send whole; to be called before they are looked at again. */
  forget(): void;
}

/** @param folder absolute URL */
export function servedFiles(folder: string, received?: (bytes: number) => void): ServedFiles {
  const base = folder.endsWith("/") ? folder : `${folder}/`;
  let files = httpFiles(base, received, true);
  /** Folders of which the server told nothing are not asked about again. */
  let silent = false;
  return {
    ...files,
    read: (path) => files.read(path),
    readRange: (path, start, end) => files.readRange(path, start, end),
    size: (path) => files.size(path),
    exists: (path) => files.exists(path),
    list: async (path) => {
      if (silent) throw new FileAccessError(`${base} does not tell what it has.`);
      const index = await folderIndex(new URL(joinPath(path, "index.json"), base).href);
      silent = index === undefined;
      if (!index) throw new FileAccessError(`${base} does not tell what it has.`);
      return index.names;
    },
    changedAt: async (path) => {
      try {
        const { ok, headers } = await fetch(new URL(path, base), { method: "HEAD", cache: "no-store" });
        const time = Date.parse(headers.get("last-modified") ?? "");
        return ok && Number.isFinite(time) ? time : undefined;
      } catch {
        return undefined;
      }
    },
    forget: () => files = httpFiles(base, received, true),
  };
}

/** What the `index.json` at an address tells; undefined where there is none, or something else. */
export async function folderIndex(url: string): Promise<FolderIndex | undefined> {
  try {
    const answer = await fetch(url, { cache: "no-cache" });
    if (!answer.ok) return undefined;
    const index = parseJson(url, new Uint8Array(await answer.arrayBuffer()));
    if (!isObject(index) || !Array.isArray(index.names) || !Array.isArray(index.runs)) return undefined;
    return index as unknown as FolderIndex;
  } catch {
    return undefined;
  }
}

/** Files of this computer that somebody has picked or dropped, by path; read only, as they were then. */
export function pickedFiles(picked: ReadonlyMap<string, File>): DatedFiles {
  const have = (path: string): File => {
    const file = picked.get(path);
    if (!file) throw new FileAccessError(`${path} is not among the files that were picked.`);
    return file;
  };
  const bytes = async (path: string, part: Blob) => {
    try {
      return new Uint8Array(await part.arrayBuffer());
    } catch {
      throw new FileAccessError(`${path} has changed since it was picked; pick the folder again.`);
    }
  };
  const within = (folder: string) => folder === "" ? "" : `${folder}/`;
  const unwritable = (path: string) =>
    Promise.reject(new FileAccessError(`${path} cannot be changed: it was only picked for reading.`));
  return {
    read: async (path) => await bytes(path, have(path)),
    readRange: async (path, start, end) => {
      const { size } = have(path);
      if (end > size) {
        throw new FileAccessError(`${path} has ${size} bytes; bytes ${start} to ${end} are not in it.`);
      }
      return await bytes(path, have(path).slice(start, end));
    },
    size: (path) => new Promise((resolve) => resolve(have(path).size)),
    exists: (path) =>
      Promise.resolve(picked.has(path) || [...picked.keys()].some((one) => one.startsWith(within(path)))),
    list: (folder) => {
      const names = new Set<string>();
      for (const path of picked.keys()) {
        if (!path.startsWith(within(folder))) continue;
        const [name, ...rest] = path.slice(within(folder).length).split("/");
        names.add(rest.length > 0 ? `${name}/` : name);
      }
      return Promise.resolve([...names].sort());
    },
    changedAt: (path) => Promise.resolve(picked.get(path)?.lastModified),
    writeAtomic: unwritable,
    createNew: unwritable,
    append: unwritable,
    truncate: unwritable,
    remove: unwritable,
    rename: unwritable,
    makeDirectory: unwritable,
  };
}

/** The files of a folder that was picked with `<input type="file" webkitdirectory>`. */
export function filesOfInput(list: FileList): Map<string, File> {
  return new Map(Array.from(list, (file) => [file.webkitRelativePath || file.name, file]));
}

/** What was dropped: the files by path, and the paths of what could not be read. */
export interface Dropped {
  files: Map<string, File>;
  unreadable: string[];
}

/**
 * The files of what was dropped: folders with all that is in them. What cannot be read, or is gone meanwhile, is left out and named.
 * @param found is told how many files there are so far
 */
export function filesOfDrop(data: DataTransfer, found: (count: number) => void): Promise<Dropped> {
  // All entries are taken before the first wait: afterwards the browser has taken them back.
  const entries = Array.from(data.items, (item) => item.webkitGetAsEntry());
  return filesOfEntries(entries.filter((entry) => entry !== null), found);
}

/** The files of entries and of what is in them. */
export async function filesOfEntries(
  entries: readonly FileSystemEntry[],
  found: (count: number) => void,
): Promise<Dropped> {
  const files = new Map<string, File>(), unreadable: string[] = [];
  const walk = async (entry: FileSystemEntry, path: string): Promise<void> => {
    try {
      if (entry.isFile) {
        files.set(
          path,
          await new Promise((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject)),
        );
        return;
      }
      const reader = (entry as FileSystemDirectoryEntry).createReader();
      for (;;) {
        // A folder is told of in parts, of a hundred names each in some browsers.
        const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
          reader.readEntries(resolve, reject)
        );
        if (some.length === 0) return;
        await Promise.all(some.map((one) => walk(one, `${path}/${one.name}`)));
        found(files.size);
      }
    } catch {
      unreadable.push(path);
    }
  };
  for (const entry of entries) await walk(entry, entry.name);
  return { files, unreadable: unreadable.sort() };
}
