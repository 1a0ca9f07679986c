/** The runs below a folder, told in short: what the page's list shows before a run is opened. */
import { type Files, isObject, joinPath, readJson } from "../bytes.ts";
import { type StageName, stageNames } from "../report/data.ts";
import { type DatedFiles, lastChange } from "./run.ts";
import { type RunState, stateOf } from "./state.ts";

/** One run. */
export interface ListedRun {
  /** From the folder that was listed: "demo", "sweep/seed-2"; empty for the folder itself. */
  path: string;
  preset?: string;
  seed?: number;
  model?: string;
  /** ISO 8601, UTC. */
  startedAt?: string;
  /** Stages that are done. */
  done: StageName[];
  state: RunState;
  /** Milliseconds since 1970. */
  changedAt?: number;
}

/** What `index.json` of a folder tells. */
export interface FolderIndex {
  /** Names, folders with a trailing "/". */
  names: string[];
  /** The runs in it and in its folders. */
  runs: ListedRun[];
}

/** Folders within folders that are looked into. */
const deepest = 3;

/** Most runs that are listed. */
const mostRuns = 1000;

/**
 * All runs in a folder and its folders, the one changed last first. A run's own folders are not looked into.
 * @param now milliseconds since 1970
 */
export async function listRuns(files: DatedFiles, folder: string, now: number): Promise<ListedRun[]> {
  const found: ListedRun[] = [];
  const look = async (path: string, depth: number) => {
    const names = await files.list(joinPath(folder, path));
    if (names.includes("run.json")) {
      if (found.length < mostRuns) found.push(await listed(files, folder, path, names, now));
      return;
    }
    if (depth === deepest) return;
    for (const name of names) {
      if (name.endsWith("/") && !name.startsWith(".")) {
        await look(joinPath(path, name.slice(0, -1)), depth + 1);
      }
    }
  };
  if (await files.exists(folder)) await look("", 0);
  return found.sort((a, b) => (b.changedAt ?? 0) - (a.changedAt ?? 0) || (a.path < b.path ? -1 : 1));
}

async function listed(
  files: DatedFiles,
  folder: string,
  path: string,
  names: readonly string[],
  now: number,
): Promise<ListedRun> {
  const run = joinPath(folder, path);
  const { config, startedAt } = await objectIn(files, joinPath(run, "run.json"));
  const { preset, seed, model } = isObject(config) ? config : {};
  const stages = names.includes("stages/") ? await files.list(joinPath(run, "stages")) : [];
  const done = stageNames.filter((stage) => stages.includes(`${stage}.json`));
  const plan = names.includes("plan.json") ? await objectIn(files, joinPath(run, "plan.json")) : {};
  const changedAt = await lastChange(files, run, names);
  return {
    path,
    preset: typeof preset === "string" ? preset : undefined,
    seed: typeof seed === "number" ? seed : undefined,
    model: typeof model === "string" ? model : undefined,
    startedAt: typeof startedAt === "string" ? startedAt : undefined,
    done,
    state: stateOf({
      locked: names.includes("lock.json"),
      done,
      planned: Array.isArray(plan.stages) ? plan.stages.map(({ name }) => name) : undefined,
      silence: changedAt === undefined ? undefined : now - changedAt,
    }),
    changedAt,
  };
}

/** A file's object; an empty one where it is damaged or being replaced, as a list must not fail for one run. */
async function objectIn(files: Files, path: string): Promise<Record<string, unknown>> {
  try {
    const value = await readJson(files, path);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}
