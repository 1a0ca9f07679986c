/** Requests that survive a bad connection, and downloads that go on where they stopped and are checked when they end. */
import { createHash } from "node:crypto";
import { dirname } from "node:path";
import { duration, formatBytes } from "../lab/format.ts";
import type { StageProgress } from "../lab/progress.ts";
import { explainCacheError, explainSilence, HubError, PassingError } from "./hub_errors.ts";

/** How requests are made; tests wait less. */
export interface Patience {
  /** Tries of whatever may pass, before it is an error. Of a download: in a row, without a byte arriving. */
  tries: number;
  /** Milliseconds after which a silent connection is given up. */
  silence: number;
  /** Waits so many milliseconds. */
  wait: (milliseconds: number) => Promise<void>;
  /** Aborted when the user wants no more of it. */
  signal?: AbortSignal;
}

export const patience: Patience = {
  tries: 8,
  silence: 60_000,
  wait: (milliseconds) => new Promise((resume) => setTimeout(resume, milliseconds)),
};

/** Longest wait that a server may ask for, in seconds. */
const longestWait = 15 * 60;

/**
 * Does the work again, later and later, where it ends in a PassingError.
 * @param note is told why and when
 * @param progress a figure that grows where a try gets further than those before; tries are then counted anew
 * @throws HubError after the last try; the signal's reason once that is aborted
 */
export async function persist<T>(
  { tries, wait, signal }: Patience,
  note: (sentence: string) => void,
  work: () => Promise<T>,
  progress: () => number = () => 0,
): Promise<T> {
  let reached = progress();
  for (let at = 1;; at++) {
    try {
      return await work();
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof PassingError)) throw error;
      // Only what is further than ever before: whoever begins anew each time must come to an end.
      if (progress() > reached) [reached, at] = [progress(), 1];
      const seconds = error.after ?? Math.min(60, 2 ** (at - 1));
      if (at >= tries || seconds > longestWait) {
        const why = at >= tries ? `tried ${tries} times` : `and asks to wait ${duration(seconds)}`;
        throw new HubError(error.fault, `${error.said}, ${why}: ${error.remedy}.`, { cause: error });
      }
      note(`${error.said}; trying again in ${duration(seconds)} (try ${at + 1} of ${tries}).`);
      await Promise.race([wait(seconds * 1000), ...(signal ? [abortion(signal)] : [])]);
      signal?.throwIfAborted();
    }
  }
}

/** Resolves once the signal is aborted. */
function abortion(signal: AbortSignal): Promise<void> {
  return new Promise((resume) => signal.addEventListener("abort", () => resume(), { once: true }));
}

/** One request. An answer of any status is returned. @throws PassingError where none came */
export async function send(
  url: string,
  init: RequestInit,
  { silence, signal: stopped }: Patience,
): Promise<{ response: Response; signal: () => void; stop: () => void }> {
  const controller = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stop = () => clearTimeout(timer);
  const signal = () => {
    stop();
    timer = setTimeout(() => controller.abort(new Error("no answer came in time")), silence);
  };
  signal();
  try {
    const headers = new Headers(init.headers);
    headers.set("User-Agent", "precis");
    // Sizes and ranges are those of the file, not of some compression of it.
    headers.set("Accept-Encoding", "identity");
    const ends = stopped ? AbortSignal.any([controller.signal, stopped]) : controller.signal;
    return { response: await fetch(url, { ...init, headers, signal: ends }), signal, stop };
  } catch (error) {
    stop();
    throw explainSilence(error, url);
  }
}

/** Shows bytes and file at most twice a second: rates are taken over the last ten calls, and packets come by the thousand. */
export function calmly(stage: StageProgress): (bytes: number, file: string) => void {
  let shownAt = -Infinity;
  return (bytes, file) => {
    const now = performance.now();
    if (now - shownAt < 500) return;
    shownAt = now;
    stage.step(bytes, { file });
  };
}

/** A hash that a file must have. Git's is over "blob SIZE\0" and the file. */
export interface Digest {
  kind: "sha256" | "git" | "md5";
  hex: string;
}

/** A file to be had. */
export interface Download {
  url: string;
  headers: Record<string, string>;
  /** What messages call it. */
  label: string;
  /** Where it will be, whole. */
  target: string;
  /** Where it grows; named by its content, so that what lies there is a beginning of it. */
  incomplete: string;
  /** Bytes. */
  size: number;
  digest?: Digest;
  /** The error for an answer that is not the file. */
  explain: (response: Response) => HubError | PassingError;
}

/**
 * Downloads a file, going on after what is there. Wrong bytes are thrown away and fetched once more.
 * @param arrived is told how many bytes are there, often
 * @throws HubError in one sentence; what has arrived stays, unless it was wrong
 */
export async function download(
  file: Download,
  world: Patience,
  note: (sentence: string) => void,
  arrived: (bytes: number) => void,
): Promise<void> {
  try {
    await Deno.mkdir(dirname(file.target), { recursive: true });
    for (let round = 1;; round++) {
      const found = await fill(file, world, note, arrived);
      if (file.digest === undefined || found === file.digest.hex) break;
      await Deno.remove(file.incomplete);
      const wrong =
        `${file.label} arrived with the wrong ${hashName[file.digest.kind]} (${
          found.slice(0, 12)
        }… instead of ` +
        `${file.digest.hex.slice(0, 12)}…)`;
      if (round === 2) {
        throw new HubError(
          "damaged",
          `${wrong}, twice; nothing of it was kept: try another network or mirror (HF_ENDPOINT).`,
        );
      }
      note(`${wrong}; fetching it once more.`);
    }
    await Deno.rename(file.incomplete, file.target);
  } catch (error) {
    throw explainCacheError(error, file.target);
  }
}

const hashName = { sha256: "SHA-256", git: "git hash", md5: "MD5" };

/** Completes the incomplete file and returns its digest, in hexadecimal. */
async function fill(
  { url, headers, label, incomplete, size, digest, explain }: Download,
  world: Patience,
  note: (sentence: string) => void,
  arrived: (bytes: number) => void,
): Promise<string> {
  using disk = await Deno.open(incomplete, { read: true, write: true, create: true });
  const begin = () => {
    const hash = createHash(digest?.kind === "git" ? "sha1" : digest?.kind ?? "sha256");
    if (digest?.kind === "git") hash.update(`blob ${size}\0`);
    return hash;
  };
  let hash = begin(), have = 0;
  const startOver = async () => {
    await disk.truncate(0);
    await disk.seek(0, Deno.SeekMode.Start);
    [hash, have] = [begin(), 0];
  };
  if ((await disk.stat()).size > size) await startOver();
  // What is there already has to go through the hash too.
  const piece = new Uint8Array(4 * 1024 * 1024);
  for (let got = await disk.read(piece); got !== null; got = await disk.read(piece)) {
    world.signal?.throwIfAborted();
    hash.update(piece.subarray(0, got));
    have += got;
  }
  arrived(have);
  if (have > 0 && have < size) {
    note(`Going on with ${label} at ${formatBytes(have)} of ${formatBytes(size)}.`);
  }

  await persist(world, note, async () => {
    if (have === size) return;
    const wanted = have > 0 ? { ...headers, Range: `bytes=${have}-` } : headers;
    const { response, signal, stop } = await send(url, { headers: wanted }, world);
    const host = new URL(response.url).host;
    try {
      if (response.status === 416 && have > 0) {
        await startOver();
        throw new PassingError(
          "busy",
          `${host} has no ${label} from there on (416)`,
          "remove it from the cache",
          0,
        );
      }
      if (!response.ok || response.body === null) throw explain(response);
      // Whoever ignores the range sends all of it again.
      const starts = /^bytes (\d+)-/.exec(response.headers.get("Content-Range") ?? "");
      if (have > 0 && !(response.status === 206 && Number(starts?.[1]) === have)) await startOver();
      for await (const bytes of bodyOf(response, () => `${host} broke off ${at()}`)) {
        signal();
        if (have + bytes.length > size) {
          await startOver();
          throw new HubError(
            "damaged",
            `${host} sends more than the ${size} bytes that ${label} has; try another mirror.`,
          );
        }
        for (let done = 0; done < bytes.length;) done += await disk.write(bytes.subarray(done));
        hash.update(bytes);
        have += bytes.length;
        arrived(have);
      }
      if (have < size) throw broken(`${host} broke off ${at()}`);
    } finally {
      stop();
      await response.body?.cancel().catch(() => {});
    }
  }, () => have);
  await disk.sync();
  return hash.digest("hex");

  function at(): string {
    return `at ${formatBytes(have)} of the ${formatBytes(size)} of ${label}`;
  }
}

/** The pieces of a body. @throws PassingError where the connection breaks */
async function* bodyOf(response: Response, said: () => string): AsyncGenerator<Uint8Array> {
  const reader = response.body!.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(() => {
        throw broken(said());
      });
      if (done) return;
      yield value;
    }
  } finally {
    reader.releaseLock();
  }
}

const broken = (said: string) =>
  new PassingError("busy", said, "check the network and start again, what has arrived is kept");
