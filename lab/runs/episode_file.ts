/**
 * The episodes of any update out of a file that may be large: found by bisection over its bytes, since updates rise along it. Nothing is
 * kept but where updates begin.
 */
import type { Files } from "../bytes.ts";
import { type Episode, isEpisode } from "./episode.ts";

const NEWLINE = 0x0a;

/** Bytes looked at to find a line's beginning and its update. */
const window = 16 * 1024;

/** A file of episodes. */
export interface EpisodeFile {
  /** First and last update with whole lines; undefined where there are none. Looks at the file again. */
  range(): Promise<[first: number, last: number] | undefined>;
  /** The episodes of an update; none where there are none. */
  at(update: number): Promise<Episode[]>;
}

export function episodeFile(files: Files, path: string): EpisodeFile {
  /** Bytes of whole lines, and where lines of an update have been seen to begin. */
  let size = 0;
  let seen = new Map<number, number>();

  /** The first whole line that begins at or behind `from`, and its update; undefined where there is none. */
  const lineFrom = async (from: number): Promise<{ start: number; update: number } | undefined> => {
    let at = from;
    // A line begins behind a newline; the byte before `from` tells whether one begins there.
    let begun = from === 0, text = "";
    const decoder = new TextDecoder();
    let start = 0;
    for (let look = from === 0 ? 0 : from - 1; look < size; look += window) {
      const bytes = await files.readRange(path, look, Math.min(size, look + window));
      let rest = bytes;
      if (!begun) {
        const newline = bytes.indexOf(NEWLINE);
        if (newline < 0) continue;
        begun = true;
        at = look + newline + 1;
        rest = bytes.subarray(newline + 1);
      }
      if (text === "") start = at;
      text += decoder.decode(rest, { stream: true });
      const update = /^\{"update":(\d+)[,}]/.exec(text);
      if (update) return { start, update: Number(update[1]) };
      if (text.length > 64) return undefined; // not a file of ours
    }
    return undefined;
  };

  /** Where the file's last newline is. */
  const wholeLines = async (): Promise<number> => {
    const all = await files.exists(path) ? await files.size(path) : 0;
    for (let end = all; end > 0; end -= window) {
      const from = Math.max(0, end - window);
      const newline = (await files.readRange(path, from, end)).lastIndexOf(NEWLINE);
      if (newline >= 0) return from + newline + 1;
    }
    return 0;
  };

  const lastLine = async (): Promise<{ start: number; update: number } | undefined> => {
    for (let back = window;; back *= 4) {
      const from = Math.max(0, size - back);
      let found: { start: number; update: number } | undefined, next = await lineFrom(from);
      while (next) {
        found = next;
        next = next.start + 1 < size ? await lineFrom(next.start + 1) : undefined;
      }
      if (found || from === 0) return found;
    }
  };

  return {
    async range() {
      const now = await wholeLines();
      if (now < size) seen = new Map();
      size = now;
      const first = await lineFrom(0), last = await lastLine();
      return first && last && [first.update, last.update];
    },
    async at(update) {
      if (size === 0) size = await wholeLines();
      let low = 0, high = size;
      for (const [one, start] of seen) {
        if (one < update) low = Math.max(low, start);
        else high = Math.min(high, start);
      }
      // The first line at or behind which updates are not below the wanted one lies in (low, high].
      while (high - low > window) {
        const middle = Math.floor((low + high) / 2), line = await lineFrom(middle);
        if (!line || line.start >= high) high = middle;
        else {
          if (!seen.has(line.update) || seen.get(line.update)! > line.start) {
            seen.set(line.update, line.start);
          }
          if (line.update < update) low = line.start;
          else high = middle;
        }
      }
      return await read(low, update);
    },
  };

  /** Lines from a line's beginning on, up to the first of a later update; those of the wanted one. */
  async function read(from: number, update: number): Promise<Episode[]> {
    const begin = (await lineFrom(from))?.start ?? size;
    const episodes: Episode[] = [];
    const decoder = new TextDecoder();
    let text = "";
    for (let at = begin; at < size; at += 4 * window) {
      text += decoder.decode(await files.readRange(path, at, Math.min(size, at + 4 * window)), {
        stream: true,
      });
      const lines = text.split("\n");
      text = lines.pop()!;
      for (const line of lines) {
        const of = Number(/^\{"update":(\d+)[,}]/.exec(line)?.[1]);
        if (of > update) return episodes;
        if (of !== update) continue;
        let episode: unknown;
        try {
          episode = JSON.parse(line);
        } catch {
          continue;
        }
        if (isEpisode(episode)) episodes.push(episode);
      }
    }
    return episodes;
  }
}
