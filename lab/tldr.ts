/**
 * The TL;DR data set: one JSON object a line, as in OpenAI's tldr_3_filtered/{train,valid,test}.jsonl and the columns of
 * vwxyzjn/summarize_from_feedback_tldr_3_filtered.
 */
import { DamagedFileError } from "./bytes.ts";
import type { Post } from "./query.ts";

/** A post with its author's own summary, which has no leading space. */
export interface TldrRow extends Post {
  id: string;
  summary: string;
}

/** Rows of the three published splits: what a complete download holds. */
export const tldrRowCounts = { train: 116_722, validation: 6_447, test: 6_553 } as const;

/**
 * Reads TL;DR rows one at a time. Other fields are ignored, and blank lines skipped.
 *
 * @param path names the file in messages
 * @throws DamagedFileError naming file and line where a line is not a row
 */
export function* readTldr(path: string, bytes: Uint8Array): Generator<TldrRow> {
  for (const { place, fields } of readJsonLines(path, bytes)) {
    yield {
      id: stringField(place, fields, "id"),
      subreddit: stringField(place, fields, "subreddit"),
      title: stringField(place, fields, "title"),
      post: stringField(place, fields, "post"),
      summary: stringField(place, fields, "summary"),
    };
  }
}

/** A line of a JSONL file: where it stands ("file:12"), its number from 1, and its fields. */
export interface JsonLine {
  place: string;
  line: number;
  fields: Record<string, unknown>;
}

/**
 * The objects of a JSONL file, line by line, so that files longer than the longest string can be read. Blank lines are skipped;
 * lines may end in CRLF and the file may start with a byte order mark.
 *
 * @throws DamagedFileError naming file and line where a line is not UTF-8 or not a JSON object
 */
export function* readJsonLines(path: string, bytes: Uint8Array): Generator<JsonLine> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const marked = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  let start = marked ? 3 : 0;
  for (let number = 1; start < bytes.length; number++) {
    const newline = bytes.indexOf(10, start);
    const end = newline < 0 ? bytes.length : newline;
    const place = `${path}:${number}`;
    let value: unknown;
    let blank = false;
    try {
      const line = decoder.decode(bytes.subarray(start, end));
      blank = line.trim() === "";
      if (!blank) value = JSON.parse(line);
    } catch (error) {
      const why = error instanceof SyntaxError ? "is not valid JSON" : "is not UTF-8 text";
      const cut = newline < 0 ? " (the file ends within it: was the download cut short?)" : "";
      throw new DamagedFileError(`${place} ${why}${cut}; download the file again or remove the line.`);
    }
    start = end + 1;
    if (blank) continue;
    if (!isRecord(value)) throw new DamagedFileError(`${place} is not a JSON object; one is needed a line.`);
    yield { place, line: number, fields: value };
  }
}

/** A field that must be a string. `name` may lead through objects, as in "info.id". */
export function stringField(place: string, fields: Record<string, unknown>, name: string): string {
  const value = optionalString(place, fields, name);
  if (value === null) {
    throw new DamagedFileError(`${place} has no "${name}"; check that this is the right file.`);
  }
  return value;
}

/** A field that is a string, or null where it is null or missing. */
export function optionalString(place: string, fields: Record<string, unknown>, name: string): string | null {
  const value = fieldAt(fields, name);
  if (value === undefined || value === null) return null;
  if (typeof value !== "string") {
    throw new DamagedFileError(`${place} has "${name}" that is not text; check that this is the right file.`);
  }
  return value;
}

/** The value that a path such as "info.id" or "summaries.0.text" leads to; undefined where a part of the way is missing. */
export function fieldAt(fields: Record<string, unknown>, name: string): unknown {
  let value: unknown = fields;
  for (const part of name.split(".")) {
    value = isRecord(value) ? value[part] : Array.isArray(value) ? value[Number(part)] : undefined;
  }
  return value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
