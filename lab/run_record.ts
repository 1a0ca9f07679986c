/** What `run.json` says of how a run was started, and which of several runs was started last. */
import { DamagedFileError, type Files, joinPath, readJson } from "./bytes.ts";
import { type Config, readConfig } from "./config.ts";

/** How a run was started. */
export interface StartedRun {
  config: Config;
  /** ISO 8601, UTC. */
  startedAt: string;
}

const remedy = "start the run again with its flags and the same --out: what is done will be kept";

/**
 * Reads the `run.json` of a run directory.
 * @throws DamagedFileError naming the file and what is wrong with it
 */
export async function readStartedRun(files: Files, run: string): Promise<StartedRun> {
  const { path, config, startedAt } = await readStart(files, run);
  try {
    return { config: readConfig(config, "its configuration"), startedAt };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new DamagedFileError(`${path} cannot be used: ${error.message}`);
  }
}

async function readStart(
  files: Files,
  run: string,
): Promise<{ path: string; config: unknown; startedAt: string }> {
  const path = joinPath(run, "run.json");
  let json: { config?: unknown; startedAt?: unknown } | null;
  try {
    json = await readJson(files, path) as typeof json;
  } catch (error) {
    if (!(error instanceof DamagedFileError)) throw error;
    throw new DamagedFileError(`${path} is damaged; ${remedy}.`);
  }
  const { config, startedAt } = json ?? {};
  if (typeof startedAt !== "string" || Number.isNaN(Date.parse(startedAt))) {
    throw new DamagedFileError(`${path} does not say when the run was started; ${remedy}.`);
  }
  return { path, config, startedAt };
}

/** The folders of a folder that have a `run.json`. */
export async function runsIn(files: Files, parent: string): Promise<string[]> {
  if (!await files.exists(parent)) return [];
  const folders = (await files.list(parent)).filter((name) => name.endsWith("/")).map((name) =>
    joinPath(parent, name.slice(0, -1))
  );
  const there = await Promise.all(folders.map((folder) => files.exists(joinPath(folder, "run.json"))));
  return folders.filter((_, i) => there[i]);
}

/**
 * The run directory that was started last; undefined where there is none.
 * @throws DamagedFileError where one does not say when it was started
 */
export async function newestOf(files: Files, runs: readonly string[]): Promise<string | undefined> {
  const started = await Promise.all(
    runs.map(async (run) => [(await readStart(files, run)).startedAt, run] as const),
  );
  return started.sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0).at(-1)?.[1];
}
