/**
 * What a cell puts out, as it arrives: bounded, so that no loop that prints fills the memory or the file, and free of what is the machine's
 * own.
 *
 *     collectOutputs(limit?: number): OutputCollector         add(output), replace(index, output), list()
 *     errorOutput(error: {name, message, stack?}, cells: ReadonlyMap<string, string>): ErrorOutput
 *     withoutPaths(text: string): string
 */
import { cellFrames } from "./cell_function.ts";
import type { ErrorOutput, MimeBundle, Output } from "./ipynb.ts";

/** Most bytes (UTF-8) of one cell's outputs. */
export const outputLimit = 64 * 1024;

/** Of the limit: for an error, which comes last and says most. */
const errorShare = 6 * 1024;
/** Of the limit: for the notice of what was left out. */
const noticeShare = 512;
/** Most outputs of one cell: each costs more than its bytes. */
const mostOutputs = 200;

/** The outputs of one run of one cell. */
export interface OutputCollector {
  /**
   * Takes one more output, or as much of it as there is room for.
   * @returns its place in the list, for `replace`, or undefined where nothing of it was kept or it went on with the stream before it
   */
  add(output: Output): number | undefined;
  /** Puts an output, such as a progress line, in the place of an earlier one; false where it does not fit there. */
  replace(index: number, output: Output): boolean;
  /** What was kept so far, with a notice of what was not. */
  list(): Output[];
}

/** @param limit bytes, notice included */
export function collectOutputs(limit = outputLimit): OutputCollector {
  const kept: Output[] = [];
  const sizes: number[] = [];
  let used = 0;
  const lost = { bytes: 0, outputs: 0, types: new Map<string, number>() };
  const room = () => Math.max(0, limit - errorShare - noticeShare - used);

  const keep = (output: Output, size: number): number => {
    used += size;
    sizes.push(size);
    return kept.push(output) - 1;
  };
  return {
    add(output) {
      if (output.output_type === "stream") {
        if (output.text === "") return undefined;
        const before = kept.at(-1);
        const goesOn = before?.output_type === "stream" && before.name === output.name;
        const { text, size, left } = cut(output.text, goesOn || kept.length < mostOutputs ? room() : 0);
        if (left > 0) lost.bytes += left;
        if (text === "") return undefined;
        if (!goesOn) return keep({ ...output, text }, size);
        before.text += text;
        used += size;
        sizes[sizes.length - 1] += size;
        return undefined;
      }
      if (output.output_type === "error") {
        if (kept.some(({ output_type }) => output_type === "error")) {
          lost.outputs++;
          return undefined;
        }
        const error = shortError(output);
        return keep(error, sizeOf(error));
      }
      if (kept.length >= mostOutputs) {
        lost.outputs++;
        return undefined;
      }
      const data = fitting(output.data, room());
      for (const [mime, size] of data.left) lost.types.set(mime, (lost.types.get(mime) ?? 0) + size);
      const size = sizeOf(data.kept);
      if (Object.keys(data.kept).length === 0) return undefined;
      // What describes a picture must not be larger than pictures may be.
      const metadata = sizeOf(output.metadata) <= 1024 ? output.metadata : {};
      return keep({ ...output, data: data.kept, metadata }, size + sizeOf(metadata));
    },
    replace(index, output) {
      const size = sizeOf(output);
      if (!(index in kept) || output.output_type === "error" || size > room() + sizes[index]) return false;
      used += size - sizes[index];
      sizes[index] = size;
      kept[index] = output;
      return true;
    },
    list() {
      const notice = noticeOf(lost, limit);
      return notice === undefined ? [...kept] : [...kept, {
        output_type: "display_data",
        data: { "text/plain": notice },
        metadata: {},
      }];
    },
  };
}

function noticeOf(
  lost: { bytes: number; outputs: number; types: Map<string, number> },
  limit: number,
): string | undefined {
  const types = [...lost.types].sort(([, a], [, b]) => b - a);
  const parts = [
    lost.bytes > 0 && `${lost.bytes} bytes of text`,
    ...types.slice(0, 3).map(([mime, size]) => `${mime.slice(0, 60)} (${size} bytes)`),
    types.length > 3 && `${types.length - 3} more types`,
    lost.outputs > 0 && `${lost.outputs} whole outputs`,
  ].filter((part) => part !== false);
  if (parts.length === 0) return undefined;
  return `Left out: ${parts.join(", ")}. A cell keeps ${
    Math.round(limit / 1024)
  } KiB and ${mostOutputs} outputs.`;
}

const encoder = new TextEncoder();

/** The beginning of a text, so many bytes at most, whole characters only; what is left is measured in bytes. */
function cut(text: string, bytes: number): { text: string; size: number; left: number } {
  // A text that surely does not fit is not encoded as a whole: it may be as large as the memory.
  const { read, written } = encoder.encodeInto(text, new Uint8Array(Math.min(bytes, 3 * text.length)));
  if (read === text.length) return { text, size: written, left: 0 };
  let left = 0;
  const piece = Math.min(65536, text.length - read), buffer = new Uint8Array(3 * piece);
  for (let at = read; at < text.length; at += piece) {
    left += encoder.encodeInto(text.slice(at, at + piece), buffer).written;
  }
  return { text: text.slice(0, read), size: written, left };
}

function bytesOf(text: string): number {
  return cut(text, 0).left;
}

function sizeOf(value: unknown): number {
  return bytesOf(JSON.stringify(value) ?? "");
}

/** As many representations as there is room for, the smallest first; of text/plain the beginning rather than nothing. */
function fitting(data: MimeBundle, room: number): { kept: MimeBundle; left: [mime: string, size: number][] } {
  const kept: [string, unknown][] = [], left: [string, number][] = [];
  const sized = Object.entries(data).map(([mime, value]) =>
    [mime, value, typeof value === "string" ? bytesOf(value) : sizeOf(value)] as const
  );
  for (const [mime, value, size] of sized.sort((a, b) => a[2] - b[2])) {
    // Its name and the marks around it count as well.
    const own = bytesOf(mime) + 16;
    if (own + size <= room) {
      kept.push([mime, value]);
      room -= own + size;
    } else {
      const begin = mime === "text/plain" && typeof value === "string"
        ? cut(value, Math.max(0, room - own))
        : undefined;
      if (begin && begin.size > 0) {
        kept.push([mime, begin.text]);
        room -= own + begin.size;
      }
      left.push([mime, begin ? begin.left : size]);
    }
  }
  return { kept: Object.fromEntries(kept), left };
}

function shortError({ output_type, ename, evalue, traceback }: ErrorOutput): ErrorOutput {
  const name = cut(ename, 100).text, message = cut(evalue, 2000).text;
  let room = 3000;
  const lines: string[] = [];
  for (const line of traceback) {
    const { text, size } = cut(line, room);
    if (text !== "") lines.push(text);
    room -= size;
  }
  return { output_type, ename: name, evalue: message, traceback: lines };
}

/**
 * An error as a notebook keeps it: of its stack the places in cells alone, and no path of the machine.
 * @param cells what each cell is called in the traceback, by the name that `instantiateCell` was given
 */
export function errorOutput(
  { name, message, stack = "" }: { name: string; message: string; stack?: string },
  cells: ReadonlyMap<string, string>,
): ErrorOutput {
  const said = withoutPaths(message);
  const places = cellFrames(stack).flatMap(({ inside, sourceName, line }) => {
    const cell = cells.get(sourceName);
    return cell === undefined ? [] : [`    at ${inside && `${inside}, `}${cell}, line ${line}`];
  });
  return { output_type: "error", ename: name, evalue: said, traceback: [`${name}: ${said}`, ...places] };
}

/** A text in which paths of this machine have lost their folders: they say where its owner keeps things, and differ on the next one. */
export function withoutPaths(text: string): string {
  return text
    .replace(/(["'`])(?:\/|[A-Za-z]:\\)[^"'`\n]*[\\/][^"'`\n]*\1/g, (quoted) => {
      return quoted[0] + nameOnly(quoted.slice(1, -1)) + quoted[0];
    })
    .replace(/\bblob:[^\s"'`)]+/g, "blob:…")
    .replace(/\b(?:file:\/\/|https?:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?)\/[^\s"'`)]*/g, nameOnly)
    .replace(/(?<![\w\\])[A-Za-z]:\\(?:[^\\\s"'`<>|:]+\\)*[^\\\s"'`<>|:)]*/g, nameOnly)
    .replace(/(?<![\w.:/)\]<…-])\/(?:[\w.@+~-]+\/)+[\w.@+~-]+/g, nameOnly);
}

function nameOnly(path: string): string {
  const end = /[.,;:!?]*$/.exec(path)![0];
  const parts = path.slice(0, path.length - end.length).split(/[\\/]/).filter(Boolean);
  return `…/${parts.at(-1) ?? ""}${end}`;
}
