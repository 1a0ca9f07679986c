/** A folder on a web server as `Files`: read whole or in ranges, never written. */
import { FileAccessError, type Files } from "../bytes.ts";

/**
 * @param folder absolute URL, with or without a "/" at its end; paths are relative to it
 * @param received called with the bytes of every answer as they arrive
 * @param growing whether files may change: then nothing is taken from the browser's cache unasked
 */
export function httpFiles(
  folder: string,
  received: (bytes: number) => void = () => {},
  growing = false,
): Files {
  const base = folder.endsWith("/") ? folder : `${folder}/`;
  /** Files of servers that know no ranges: such an answer is the whole file, and is kept for the next question. */
  const whole = new Map<string, Uint8Array>();

  const ask = async (url: string, init: RequestInit = {}): Promise<Response> => {
    try {
      // Whole files are asked for anew but not sent again where they are the same; of parts a cache is of no use.
      const cache = !growing ? "default" : "headers" in init ? "no-store" : "no-cache";
      return await fetch(url, { cache, ...init });
    } catch {
      throw new FileAccessError(
        `${url} cannot be reached; check the network, and whether that server lets this page read it.`,
      );
    }
  };
  // Some servers answer a path that they do not have with their home page.
  const isThere = (url: string, { ok, headers }: Response) =>
    ok && (/\.html?$/.test(url) || !/^text\/html\b/.test(headers.get("content-type") ?? ""));
  const body = async (url: string, response: Response): Promise<Uint8Array<ArrayBuffer>> => {
    if (!isThere(url, response)) {
      await response.body?.cancel();
      const what = response.ok ? "a page in place of the file" : `status ${response.status}`;
      throw new FileAccessError(`${url} cannot be read: the server answers with ${what}; check the address.`);
    }
    const pieces: Uint8Array<ArrayBuffer>[] = [];
    try {
      for await (const piece of response.body ?? []) {
        pieces.push(piece);
        received(piece.length);
      }
    } catch {
      throw new FileAccessError(`${url} broke off on the way; try again.`);
    }
    return new Uint8Array(await new Blob(pieces).arrayBuffer());
  };
  const within = (url: string, bytes: Uint8Array, start: number, end: number) => {
    if (end > bytes.length) {
      throw new FileAccessError(`${url} has ${bytes.length} bytes; bytes ${start} to ${end} are not in it.`);
    }
    return bytes.slice(start, end);
  };
  const locate = (path: string) => new URL(path, base).href;
  const unwritable = (path: string) =>
    Promise.reject(new FileAccessError(`${locate(path)} cannot be changed: it is on a web server.`));

  return {
    async read(path) {
      const url = locate(path);
      return whole.get(url)?.slice() ?? await body(url, await ask(url));
    },
    async readRange(path, start, end) {
      const url = locate(path);
      const kept = whole.get(url);
      if (kept) return within(url, kept, start, end);
      if (start === end) return new Uint8Array();
      const response = await ask(url, { headers: { range: `bytes=${start}-${end - 1}` } });
      const bytes = await body(url, response);
      if (response.status === 206) {
        if (bytes.length !== end - start) {
          throw new FileAccessError(`${url} ends before byte ${end}; download it again.`);
        }
        return bytes;
      }
      whole.set(url, bytes);
      return within(url, bytes, start, end);
    },
    async size(path) {
      const url = locate(path);
      const kept = whole.get(url);
      if (kept) return kept.length;
      // The length of a whole answer may be that of its compressed form; a range is never compressed.
      const response = await ask(url, { headers: { range: "bytes=0-0" } });
      const total = /\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
      if (total && (response.status === 206 || response.status === 416)) {
        await response.body?.cancel();
        return Number(total[1]);
      }
      const bytes = await body(url, response);
      if (response.status === 206) {
        throw new FileAccessError(
          `${url} cannot be measured: the server hides how long it is; use another server.`,
        );
      }
      whole.set(url, bytes);
      return bytes.length;
    },
    async exists(path) {
      const url = locate(path);
      return whole.has(url) || isThere(url, await ask(url, { method: "HEAD" }));
    },
    list: (path) =>
      Promise.reject(
        new FileAccessError(`${locate(path)} cannot be listed: web servers do not tell what they have.`),
      ),
    writeAtomic: unwritable,
    createNew: unwritable,
    append: unwritable,
    truncate: unwritable,
    remove: unwritable,
    rename: unwritable,
    makeDirectory: unwritable,
  };
}
