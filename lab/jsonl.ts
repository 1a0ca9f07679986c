/** Append-only files of one JSON value a line: metrics, samples, episodes, data sets. */
import { DamagedFileError, type Files, reason } from "./bytes.ts";

const NEWLINE = 0x0a;

/** The longest line read, in bytes, unless the reader says otherwise: a line without end must not fill the memory. */
const LONGEST_LINE = 16 * 1024 * 1024;

/**
 * Appends records, one line each, in one write. NaN and infinities become null, as `JSON.stringify` has them.
 * @throws FileAccessError where the file cannot be written
 */
export async function appendJsonl(files: Files, path: string, records: readonly unknown[]): Promise<void> {
  if (records.length === 0) return;
  const text = records.map((record) => JSON.stringify(record) + "\n").join("");
  await files.append(path, new TextEncoder().encode(text));
}

/**
 * Cuts off what follows the last newline: the part of a line that a kill left behind. To be called before the first append to a
 * file that exists; a file that does not is left so.
 * @returns the number of bytes cut off
 */
export async function healJsonl(files: Files, path: string): Promise<number> {
  if (!await files.exists(path)) return 0;
  const size = await files.size(path);
  const block = 64 * 1024;
  let keep = 0;
  for (let end = size; end > 0 && keep === 0; end -= block) {
    const start = Math.max(0, end - block);
    const newline = (await files.readRange(path, start, end)).lastIndexOf(NEWLINE);
    if (newline >= 0) keep = start + newline + 1;
  }
  if (keep < size) await files.truncate(path, keep);
  return size - keep;
}

/** How to read a JSONL file. */
export interface JsonlReading {
  /** Bytes; a longer line is an error. */
  longestLine?: number;
  /** Take a last line without newline for one that is still being written, and leave it out. Otherwise it is a line like any other. */
  stillGrowing?: boolean;
}

/**
 * Reads the values of a JSONL file in order with their line numbers (from 1), a piece at a time. Blank lines are passed over, a byte
 * order mark at the beginning and carriage returns are allowed. Lines added after the reading began are not seen.
 * @throws DamagedFileError naming file and line where a line is too long, not UTF-8 or not JSON
 */
export async function* readJsonl(
  files: Files,
  path: string,
  { longestLine = LONGEST_LINE, stillGrowing = false }: JsonlReading = {},
): AsyncGenerator<{ line: number; value: unknown }> {
  const size = await files.size(path);
  const block = 1024 * 1024;
  let line = 1;
  let begun: Uint8Array[] = [];
  let begunBytes = 0;
  const grow = (piece: Uint8Array) => {
    begunBytes += piece.length;
    if (begunBytes > longestLine) {
      throw new DamagedFileError(
        `${path}:${line} is longer than ${longestLine} bytes; is this file one JSON value per line?`,
      );
    }
    begun.push(piece);
  };
  const finish = () => {
    const value = parseLine(path, line, begun, begunBytes);
    [begun, begunBytes] = [[], 0];
    return value;
  };
  for (let start = 0; start < size; start += block) {
    const bytes = await files.readRange(path, start, Math.min(size, start + block));
    let at = 0;
    for (let newline = bytes.indexOf(NEWLINE); newline >= 0; newline = bytes.indexOf(NEWLINE, at)) {
      grow(bytes.subarray(at, newline));
      at = newline + 1;
      const value = finish();
      if (value !== undefined) yield { line, value };
      line++;
    }
    if (at < bytes.length) grow(bytes.subarray(at));
  }
  if (begunBytes > 0 && !stillGrowing) {
    const value = finish();
    if (value !== undefined) yield { line, value };
  }
}

/** The value of one line, undefined where it is blank. */
function parseLine(path: string, line: number, pieces: Uint8Array[], length: number): unknown {
  let bytes = pieces[0] ?? new Uint8Array();
  if (pieces.length > 1) {
    bytes = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: line > 1 }).decode(bytes);
  } catch {
    throw new DamagedFileError(`${path}:${line} is not UTF-8 text; save the file as UTF-8.`);
  }
  if (text.trim() === "") return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new DamagedFileError(
      `${path}:${line} is not valid JSON (${reason(error as Error)}); correct or remove the line.`,
    );
  }
}
