/**
 * An append-only JSONL file that may be growing, read from where the last reading ended. A last line without its newline waits until it is
 * whole. Where a resumed run has cut the file back, or somebody has put another in its place, reading begins again.
 */
import { DamagedFileError, type Files, reason } from "../bytes.ts";

/** What a reading found. */
export interface TailReading {
  /** Whole lines in order; blank ones are passed over. */
  values: unknown[];
  /** What was read before counts no longer: `values` begin with the file's first line. */
  restarted: boolean;
}

/** A place in a growing file. */
export interface Tail {
  /** Bytes of whole lines that have been read. */
  readonly offset: number;
  /** Whole lines that have been read. */
  readonly lines: number;
  /**
   * Reads what has been added; a file that is not there is an empty one.
   * @throws DamagedFileError naming file and line where one is not JSON; it is met again by the next reading
   */
  read(): Promise<TailReading>;
}

const NEWLINE = 0x0a;

/** Bytes before the place that are read again: they tell whether the file is still the one that was read. */
const overlap = 1024;

/** Most bytes asked for at once. */
const piece = 8 * 1024 * 1024;

/** Follows a file from its beginning. */
export function tailOf(files: Files, path: string): Tail {
  let offset = 0, lines = 0;
  /** The last bytes before `offset`. */
  let known = new Uint8Array();

  const read = async (): Promise<TailReading> => {
    const size = await files.exists(path) ? await files.size(path) : 0;
    if (size < offset) return await again();
    if (size === 0) return { values: [], restarted: false };
    const values: unknown[] = [];
    let start = offset - known.length, rest = known.length, at = offset, line = lines;
    let begun = new Uint8Array();
    let last = known;
    while (start < size) {
      const bytes = await files.readRange(path, start, Math.min(size, start + piece));
      if (rest > 0 && !sameBytes(bytes.subarray(0, rest), known)) return await again();
      const fresh = joinedBytes(begun, bytes.subarray(rest));
      start += bytes.length;
      rest = 0;
      const end = fresh.lastIndexOf(NEWLINE) + 1;
      const text = textOf(fresh.subarray(0, end), path, line);
      for (const one of text.split("\n").slice(0, -1)) {
        line++;
        if (one.trim() !== "") values.push(parsed(one, path, line));
      }
      if (end > 0) last = joinedBytes(last, fresh.subarray(0, end)).slice(-overlap);
      at += end;
      begun = fresh.slice(end);
    }
    [offset, lines, known] = [at, line, last];
    return { values, restarted: false };
  };

  const again = async (): Promise<TailReading> => {
    [offset, lines, known] = [0, 0, new Uint8Array()];
    return { ...await read(), restarted: true };
  };

  return {
    get offset() {
      return offset;
    },
    get lines() {
      return lines;
    },
    read,
  };
}

function joinedBytes(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function textOf(bytes: Uint8Array, path: string, line: number): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new DamagedFileError(`${path} is not UTF-8 text after line ${line}; save the file as UTF-8.`);
  }
}

function parsed(text: string, path: string, line: number): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new DamagedFileError(
      `${path}:${line} is not valid JSON (${reason(error as Error)}); correct or remove the line.`,
    );
  }
}
