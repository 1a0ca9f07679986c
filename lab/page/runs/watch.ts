/** Runs that are open in the page: read once, then followed for as long as they may change and somebody looks. */
import { openRun, type SeenRun } from "../../runs/run.ts";
import { pickedFiles, servedFiles } from "./files.ts";
import { runColours } from "./colours.ts";
import type { PickedRun } from "./picked.ts";

/** A run that is open. */
export interface WatchedRun {
  /** What tells it from others: its address, or where it lies in the picked folder. */
  key: string;
  name: string;
  /** "A": stands for the run in charts. */
  label: string;
  /** The style variable of its colour. */
  colour: string;
  seen: SeenRun;
  /** Absolute address of its folder; undefined where it was picked. */
  url?: string;
  /** Bytes that have come so far. */
  received: number;
  /** Why it could not be read the last time, since when, and when it is tried again, milliseconds since 1970. */
  trouble?: { said: string; since: number; again: number };
  /** Whether anything of it has been read. */
  ready: boolean;
  close(): void;
}

/** Milliseconds: how soon a run is looked at again. */
const soonest = 1000, usual = 2000, latest = 10_000, quiet = 30_000;

/** A letter and a colour that no open run has. */
function markFor(others: readonly WatchedRun[]): { label: string; colour: string } {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  const at = Array.from(letters).findIndex((letter) => others.every(({ label }) => label !== letter));
  return { label: letters[Math.max(0, at)], colour: runColours[Math.max(0, at) % runColours.length] };
}

/** A run's name, from the end of its address: "demo", "sweep/seed-2". */
export function nameOf(address: string): string {
  const path = decodeURIComponent(new URL(address, document.baseURI).pathname).replace(/\/+$/, "");
  return /\/runs\/(.+)$/.exec(path)?.[1] ?? path.slice(path.lastIndexOf("/") + 1);
}

/**
 * Opens a run at an address, and follows it.
 * @param changed called after every look that found something, or failed
 */
export function watchUrl(address: string, others: readonly WatchedRun[], changed: () => void): WatchedRun {
  const url = new URL(address.endsWith("/") ? address : `${address}/`, document.baseURI).href;
  const files = servedFiles(url, (bytes) => run.received += bytes);
  const { seen, refresh } = openRun(files, "", Date.now);
  let closed = false;
  let wake = () => {};
  const onVisible = () => wake();
  document.addEventListener("visibilitychange", onVisible);
  const run: WatchedRun = {
    key: url,
    name: nameOf(url),
    ...markFor(others),
    seen,
    url,
    received: 0,
    ready: false,
    close: () => {
      closed = true;
      document.removeEventListener("visibilitychange", onVisible);
      wake();
    },
  };
  const wait = (milliseconds: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  (async () => {
    let failures = 0;
    while (!closed) {
      let pause: number;
      try {
        files.forget();
        const news = await refresh();
        const recovered = run.trouble !== undefined || !run.ready;
        failures = 0;
        run.trouble = undefined;
        run.ready = true;
        if ((news || recovered) && !closed) changed();
        const { state, pace: { stepTime } } = seen;
        pause = state !== "running"
          ? quiet
          : stepTime === undefined
          ? usual
          : Math.min(latest, Math.max(soonest, stepTime / 2));
      } catch (error) {
        pause = Math.min(quiet, usual * 2 ** failures++);
        const since = run.trouble?.since ?? Date.now();
        run.trouble = { said: (error as Error).message, since, again: Date.now() + pause };
        if (!closed) changed();
      }
      if (closed) return;
      await wait(pause);
      // Nobody looks: nothing is asked until somebody does.
      while (document.hidden && !closed) await wait(2 ** 31 - 1);
    }
  })();
  return run;
}

/** Opens a run of a picked folder; such a folder is read as it was then. */
export function watchPicked(
  { key, name, files, folder }: PickedRun,
  others: readonly WatchedRun[],
  changed: () => void,
): WatchedRun {
  const { seen, refresh } = openRun(pickedFiles(files), folder, Date.now);
  const run: WatchedRun = {
    key,
    name,
    ...markFor(others),
    seen,
    received: 0,
    ready: false,
    close: () => {},
  };
  refresh().then(
    () => run.ready = true,
    (error) => run.trouble = { said: error.message, since: Date.now(), again: Infinity },
  ).finally(changed);
  return run;
}
