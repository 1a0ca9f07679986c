/**
 * Weights that have come over the network once are kept on this device: what is read of a file is written down as it comes, and the next
 * visit asks the server for its tag alone. A file that is not all there yet is completed by whoever reads on.
 */
import {
  DamagedFileError,
  type Files,
  isObject,
  joinPath,
  readJson,
  sha256Of,
  writeJson,
} from "../../bytes.ts";
import type { PrivateFiles } from "./private_files.ts";

/** How much of a file is here: sorted, disjoint [start, end). */
export type Ranges = [number, number][];

/** Adds a range. */
export function covering(ranges: Ranges, start: number, end: number): Ranges {
  const apart = ranges.filter(([from, to]) => to < start || from > end);
  const touching = ranges.filter(([from, to]) => to >= start && from <= end);
  const whole: [number, number] = [
    Math.min(start, ...touching.map(([from]) => from)),
    Math.max(end, ...touching.map(([, to]) => to)),
  ];
  return [...apart, whole].sort(([a], [b]) => a - b);
}

/** Whether a range is all there. */
export function covers(ranges: Ranges, start: number, end: number): boolean {
  return start === end || ranges.some(([from, to]) => from <= start && end <= to);
}

/** A file being kept. */
interface Kept {
  folder: string;
  path: string;
  size: number;
  ranges: Ranges;
  /** Bytes since the ranges were last written down. */
  unsaved: number;
}

/** Bytes after which it is written down what is there. */
const between = 16 << 20;

/** Where kept weights lie. */
export const weightsFolder = "weights";

/**
 * Files of a server, those of weights kept.
 * @param base the folder's address, with "/" at its end
 * @param tagOf names the state of a file on the server (its ETag); null where the server has none, and then nothing is kept
 * @param note is told, once, why nothing can be kept
 */
export function keptWeights(
  remote: Files,
  base: string,
  keep: PrivateFiles,
  tagOf: (path: string) => Promise<string | null>,
  note: (why: string) => void = () => {},
): Files {
  const known = new Map<string, Promise<Kept | null>>();
  let refused = false;
  const refuse = (error: unknown) => {
    if (!refused) note((error as Error).message);
    refused = true;
  };

  const keptOf = (path: string): Promise<Kept | null> => {
    if (refused || !path.endsWith(".safetensors")) return Promise.resolve(null);
    const there = known.get(path);
    if (there) return there;
    const looked = look(path).catch((error) => {
      refuse(error);
      return null;
    });
    known.set(path, looked);
    return looked;
  };

  const look = async (path: string): Promise<Kept | null> => {
    const tag = await tagOf(path);
    if (tag === null) return null;
    const address = new TextEncoder().encode(`${base}\n${path}`);
    const folder = joinPath(weightsFolder, (await sha256Of(address)).slice(0, 32));
    const kept = { folder, path: joinPath(folder, "file"), unsaved: 0 };
    const record = joinPath(folder, "kept.json");
    if (await keep.exists(record)) {
      const found = readRecord(record, await readJson(keep, record));
      if (found.tag === tag) return { ...kept, size: found.size, ranges: found.ranges };
      await keep.remove(folder);
    }
    const size = await remote.size(path);
    await keep.makeDirectory(folder);
    await writeJson(keep, record, { address: new URL(path, base).href, tag, size, ranges: [] });
    return { ...kept, size, ranges: [] };
  };

  const save = async (kept: Kept) => {
    const record = joinPath(kept.folder, "kept.json");
    const before = await readJson(keep, record) as Record<string, unknown>;
    await writeJson(keep, record, { ...before, ranges: kept.ranges });
    kept.unsaved = 0;
  };

  /** One at a time: a file that is open for writing cannot be opened twice. */
  let latest: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const next = latest.then(work);
    latest = next.catch(() => {});
    return next;
  };

  return {
    ...remote,
    async size(path) {
      return (await keptOf(path))?.size ?? await remote.size(path);
    },
    async readRange(path, start, end) {
      const kept = await keptOf(path);
      if (!kept) return await remote.readRange(path, start, end);
      if (covers(kept.ranges, start, end) && end <= kept.size) {
        return await inTurn(() => keep.readRange(kept.path, start, end));
      }
      const bytes = await remote.readRange(path, start, end);
      if (refused) return bytes;
      try {
        await inTurn(async () => {
          await keep.writeAt(kept.path, start, bytes);
          kept.ranges = covering(kept.ranges, start, end);
          kept.unsaved += bytes.length;
          if (kept.unsaved >= between || covers(kept.ranges, 0, kept.size)) await save(kept);
        });
      } catch (error) {
        // The model can be had all the same; it is only not kept.
        refuse(error);
      }
      return bytes;
    },
  };
}

function readRecord(path: string, record: unknown): { tag: string; size: number; ranges: Ranges } {
  const { tag, size, ranges } = isObject(record) ? record : {};
  const whole = typeof tag === "string" && Number.isSafeInteger(size) && Array.isArray(ranges) &&
    ranges.every((range) => Array.isArray(range) && range.length === 2 && range.every(Number.isSafeInteger));
  if (!whole) throw new DamagedFileError(`${path} is damaged; remove the kept weights.`);
  return { tag: tag as string, size: size as number, ranges: ranges as Ranges };
}

/** A file of weights that is kept, for people. */
export interface KeptFile {
  folder: string;
  address: string;
  /** Bytes that are here, and of the whole file. */
  here: number;
  size: number;
}

/** What is kept. */
export async function listKept(files: Files): Promise<KeptFile[]> {
  if (!await files.exists(weightsFolder)) return [];
  const found: KeptFile[] = [];
  for (const name of await files.list(weightsFolder)) {
    const folder = joinPath(weightsFolder, name.replace(/\/$/, ""));
    try {
      const record = await readJson(files, joinPath(folder, "kept.json"));
      const { size, ranges } = readRecord(folder, record);
      const here = ranges.reduce((sum, [from, to]) => sum + to - from, 0);
      found.push({ folder, address: String((record as Record<string, unknown>).address), here, size });
    } catch {
      found.push({ folder, address: "", here: 0, size: 0 });
    }
  }
  return found;
}
