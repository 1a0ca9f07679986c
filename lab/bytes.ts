/**
 * Where bytes live. The lab reads and writes through `Files` alone, so that the same code runs over a disk (headless/files.ts),
 * a browser's private file system, HTTP ranges, or plain memory.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { joinedBytes } from "./joined_bytes.ts";

/** A file could not be had or kept: absent, forbidden, no space left. The message names the path and the remedy. */
export class FileAccessError extends Error {
  override name = "FileAccessError";
}

/** A file was read and is not what it should be. The message names the file, the place in it, and what was expected. */
export class DamagedFileError extends Error {
  override name = "DamagedFileError";
}

/** SHA-256 of bytes that arrive piece by piece. */
export interface RunningDigest {
  update(bytes: Uint8Array): void;
  /** Lower-case hexadecimal; nothing may be added afterwards. */
  finish(): string;
}

/**
 * A tree of files. Paths use "/", relative ones mean whatever the implementation's root is, and parents must exist: nothing is
 * created that was not asked for. Every method rejects with `FileAccessError`.
 */
export interface Files {
  /** The whole file. */
  read(path: string): Promise<Uint8Array>;
  /** Bytes `start` (included) to `end` (excluded); rejects where the file ends before `end`. */
  readRange(path: string, start: number, end: number): Promise<Uint8Array>;
  /** Bytes in the file. */
  size(path: string): Promise<number>;
  /** Whether a file or a folder has this path. */
  exists(path: string): Promise<boolean>;
  /** Names in a folder, sorted by UTF-16 code units, folders with a trailing "/"; files still being written are not shown. */
  list(folder: string): Promise<string[]>;
  /**
   * Puts a file in place whole or not at all: until the promise resolves the previous file, if any, is untouched, and afterwards
   * the new one is on stable storage. One writer per path at a time.
   */
  writeAtomic(path: string, content: Uint8Array | AsyncIterable<Uint8Array>): Promise<void>;
  /** Creates a file that must not exist yet, with its content in one step; false where something has that path already. */
  createNew(path: string, content: Uint8Array): Promise<boolean>;
  /** Adds to the end of a file, creating it where absent. A kill may leave any prefix of `bytes` behind. */
  append(path: string, bytes: Uint8Array): Promise<void>;
  /** Cuts a file to its first `size` bytes; never lengthens it. */
  truncate(path: string, size: number): Promise<void>;
  /** Removes a file or a folder with all it holds; nothing happens where there is none. */
  remove(path: string): Promise<void>;
  /** Moves a file (over an existing one, if any) or a folder (onto a free name). Moving a folder need not be atomic. */
  rename(from: string, to: string): Promise<void>;
  /** Makes a folder and its parents; nothing happens where it exists. */
  makeDirectory(path: string): Promise<void>;
  /** Bytes that can still be written where the path is, or undefined where that is not known. */
  freeSpace?(path: string): Promise<number | undefined>;
  /** A faster SHA-256 than the portable one, where the platform has it. */
  startSha256?(): RunningDigest;
}

/** Joins path parts with single slashes; empty parts vanish. */
export function joinPath(...parts: string[]): string {
  const joined = parts.filter((part) => part !== "").join("/");
  return joined.replace(/\/{2,}/g, "/");
}

/** The portable running SHA-256. */
export function startSha256(): RunningDigest {
  const state = sha256.create();
  return { update: (bytes) => void state.update(bytes), finish: () => hex(state.digest()) };
}

/** SHA-256 of bytes in memory, in hexadecimal. */
export async function sha256Of(bytes: Uint8Array): Promise<string> {
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as BufferSource)));
}

/** SHA-256 of a file, in hexadecimal, read in 8 MiB pieces, with its size in bytes. */
export async function sha256OfFile(files: Files, path: string): Promise<{ size: number; sha256: string }> {
  const digest = files.startSha256?.() ?? startSha256();
  const size = await files.size(path);
  const piece = 8 * 1024 * 1024;
  for (let start = 0; start < size; start += piece) {
    digest.update(await files.readRange(path, start, Math.min(size, start + piece)));
  }
  return { size, sha256: digest.finish() };
}

/**
 * JSON with sorted keys and no spaces (the order and number forms of RFC 8785), so that equal values give equal text. Fields that
 * are `undefined` are left out; NaN, infinities, functions and objects with a prototype of their own are refused with a TypeError.
 */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === "boolean" || typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new TypeError(`${value} has no JSON form.`);
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value === "object") {
    const prototype = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) {
      throw new TypeError(`A ${prototype.constructor?.name ?? "special object"} has no canonical JSON form.`);
    }
    const fields = Object.entries(value).filter(([, field]) => field !== undefined);
    fields.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`).join(",")}}`;
  }
  throw new TypeError(`A ${typeof value} has no JSON form.`);
}

/** SHA-256, in hexadecimal, of a value's canonical JSON: the identity of a configuration or of a stage's inputs. */
export function digestOfJson(value: unknown): Promise<string> {
  return sha256Of(new TextEncoder().encode(canonicalJson(value)));
}

/**
 * Reads a small UTF-8 JSON file.
 * @throws DamagedFileError where the bytes are not UTF-8 or not JSON
 */
export async function readJson(files: Files, path: string): Promise<unknown> {
  return parseJson(path, await files.read(path));
}

/** Why a text is not JSON, as V8 says it, on one line: it quotes the text as it stands. */
export function reason({ message }: Error): string {
  return shortened(message.replace(/\.$/, ""));
}

/** Parses the bytes of a JSON file; `path` is for the message only. */
export function parseJson(path: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    const why = error instanceof SyntaxError ? reason(error) : "it is not UTF-8 text";
    throw new DamagedFileError(`${path} is not valid JSON (${why}); restore or download the file again.`);
  }
}

/** Whether a value that was read is a JSON object. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value as short one-line text for a message; it may come from a hostile file. */
export function shown(value: unknown): string {
  // JSON has no Infinity, which 1e999 is read as.
  if (typeof value === "number") return String(value);
  try {
    return shortened(JSON.stringify(value) ?? "nothing");
  } catch {
    return "something too deeply nested to show";
  }
}

/** At most 80 characters on one line, control characters escaped. */
export function shortened(text: string): string {
  // deno-lint-ignore no-control-regex
  const line = text.replace(/[\x00-\x1f\x7f]/g, (c) => JSON.stringify(c).slice(1, -1));
  return line.length > 80 ? line.slice(0, 77) + "…" : line;
}

/** Writes a value as indented JSON, atomically. */
export function writeJson(files: Files, path: string, value: unknown): Promise<void> {
  return files.writeAtomic(path, new TextEncoder().encode(JSON.stringify(value, null, 2) + "\n"));
}

/** A `Files` in memory: for tests, and where a browser offers nothing better. Files handed in bring their folders with them. */
export function memoryFiles(initial: Record<string, Uint8Array | string> = {}): Files {
  const contents = new Map<string, Uint8Array>();
  const folders = new Set<string>([""]);

  const clean = (path: string) => path.split("/").filter((part) => part !== "" && part !== ".").join("/");
  const parentOf = (path: string) => path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
  const addFolder = (path: string) => {
    for (let folder = path; folder !== ""; folder = parentOf(folder)) {
      if (contents.has(folder)) {
        throw new FileAccessError(`${folder} is a file, so no folder can be made there.`);
      }
      folders.add(folder);
    }
  };
  const have = (path: string) => {
    const content = contents.get(clean(path));
    if (!content) throw new FileAccessError(`${path} does not exist; check the path.`);
    return content;
  };
  const place = (path: string, content: Uint8Array) => {
    const key = clean(path);
    if (!folders.has(parentOf(key))) {
      throw new FileAccessError(
        `${path} cannot be written: its folder does not exist; make the folder first.`,
      );
    }
    if (folders.has(key)) throw new FileAccessError(`${path} cannot be written: it is a folder.`);
    contents.set(key, content);
  };

  for (const [path, content] of Object.entries(initial)) {
    addFolder(parentOf(clean(path)));
    place(path, typeof content === "string" ? new TextEncoder().encode(content) : content.slice());
  }

  // Failures arrive as rejections, as they do from a disk.
  /* eslint-disable require-await */
  return {
    read: (path) => promise(() => have(path).slice()),
    readRange: (path, start, end) =>
      promise(() => {
        const content = have(path);
        if (start < 0 || end < start || end > content.length) {
          throw new FileAccessError(
            `${path} has ${content.length} bytes; bytes ${start} to ${end} are not in it.`,
          );
        }
        return content.slice(start, end);
      }),
    size: (path) => promise(() => have(path).length),
    exists: (path) => promise(() => contents.has(clean(path)) || folders.has(clean(path))),
    list: (folder) =>
      promise(() => {
        const key = clean(folder);
        if (!folders.has(key)) throw new FileAccessError(`${folder} does not exist; check the path.`);
        const inside = (path: string) => path !== "" && parentOf(path) === key;
        const nameOf = (path: string) => path.slice(path.lastIndexOf("/") + 1);
        return [
          ...[...contents.keys()].filter(inside).map(nameOf),
          ...[...folders].filter(inside).map((path) => nameOf(path) + "/"),
        ].sort();
      }),
    writeAtomic: async (path, content) => place(path, await gather(content)),
    createNew: (path, content) =>
      promise(() => {
        if (contents.has(clean(path)) || folders.has(clean(path))) return false;
        place(path, content.slice());
        return true;
      }),
    append: (path, bytes) =>
      promise(() => {
        const before = contents.get(clean(path)) ?? new Uint8Array();
        const after = new Uint8Array(before.length + bytes.length);
        after.set(before);
        after.set(bytes, before.length);
        place(path, after);
      }),
    truncate: (path, size) => promise(() => place(path, have(path).slice(0, size))),
    remove: (path) =>
      promise(() => {
        const key = clean(path);
        for (const held of [...contents.keys()]) {
          if (held === key || held.startsWith(key + "/")) contents.delete(held);
        }
        for (const held of [...folders]) if (held === key || held.startsWith(key + "/")) folders.delete(held);
      }),
    rename: (from, to) =>
      promise(() => {
        const [source, target] = [clean(from), clean(to)];
        if (contents.has(source)) {
          place(target, have(source));
          contents.delete(source);
        } else if (folders.has(source)) {
          if (contents.has(target) || folders.has(target)) {
            throw new FileAccessError(`${from} cannot be moved: ${to} exists already.`);
          }
          if (!folders.has(parentOf(target))) {
            throw new FileAccessError(`${from} cannot be moved: the folder of ${to} does not exist.`);
          }
          const moved = (path: string) => target + path.slice(source.length);
          for (const [path, content] of [...contents]) {
            if (path.startsWith(source + "/")) {
              contents.delete(path);
              contents.set(moved(path), content);
            }
          }
          for (const path of [...folders]) {
            if (path === source || path.startsWith(source + "/")) {
              folders.delete(path);
              folders.add(moved(path));
            }
          }
        } else throw new FileAccessError(`${from} does not exist; check the path.`);
      }),
    makeDirectory: (path) => promise(() => addFolder(clean(path))),
  };
}

/** Runs a function at once and hands its result, or its failure, over as a promise. */
function promise<T>(work: () => T): Promise<T> {
  return new Promise((resolve) => resolve(work()));
}

async function gather(content: Uint8Array | AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  if (content instanceof Uint8Array) return content.slice();
  const pieces: Uint8Array[] = [];
  // A producer may reuse its buffer for the next piece, so each is copied.
  for await (const piece of content) pieces.push(piece.slice());
  return joinedBytes(pieces);
}

function hex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}
