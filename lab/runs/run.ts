/** A run's directory as it is looked at: everything that is there is read once, and then only what has been added. */
import { type Files, isObject, joinPath, parseJson } from "../bytes.ts";
import type { StagePlan } from "../plan_table.ts";
import {
  type Alarm,
  type Evaluation,
  type Invariant,
  type RunRecord,
  type StageFacts,
  type StageName,
  stageNames,
} from "../report/data.ts";
import { type Columns, columns } from "./columns.ts";
import { type EpisodeFile, episodeFile } from "./episode_file.ts";
import { type SampleBook, sampleBook } from "./samples.ts";
import { type Pace, pace, type RunState, stateOf } from "./state.ts";
import { type Tail, tailOf } from "./tail.ts";

/** Files that can tell when they were last changed. */
export interface DatedFiles extends Files {
  /** Milliseconds since 1970; undefined where that is not known. */
  changedAt?(path: string): Promise<number | undefined>;
}

/** Who writes, by `lock.json`. */
export interface Holder {
  pid: number;
  host: string;
  since: string;
}

/** A run as far as it has been read. What is missing is undefined, or empty. */
export interface SeenRun {
  /** Where it is read from. */
  readonly files: DatedFiles;
  readonly path: string;
  record?: RunRecord;
  plan: StagePlan[];
  stages: StageFacts[];
  alarms: Alarm[];
  invariants: Invariant[];
  evaluation?: Evaluation;
  holder?: Holder;
  readonly columns: Columns;
  readonly samples: SampleBook;
  readonly episodes: EpisodeFile;
  readonly pace: Pace;
  state: RunState;
  /** Milliseconds since 1970 of the last change that was seen or told. */
  changedAt?: number;
  /** Whether the folder has `models/ppo`, `models/sft` and so on. */
  models: string[];
  /** Whether there is a report.html. */
  hasReport: boolean;
  /** Sentences on what could not be read. */
  troubles: string[];
  /** Counts the changes of all but columns and samples. */
  version: number;
}

/** A run and how to go on reading it. */
export interface OpenRun {
  readonly seen: SeenRun;
  /**
   * Reads what is new.
   * @returns whether anything was
   * @throws FileAccessError where the folder cannot be reached; what has been read stays
   */
  refresh(): Promise<boolean>;
}

/**
 * Opens a run directory; nothing is read before the first `refresh`.
 * @param now milliseconds since 1970
 */
export function openRun(files: DatedFiles, path: string, now: () => number): OpenRun {
  const at = (name: string) => joinPath(path, name);
  const metrics = tailOf(files, at("metrics.jsonl")), samples = tailOf(files, at("samples.jsonl"));
  const seen: SeenRun = {
    files,
    path,
    plan: [],
    stages: [],
    alarms: [],
    invariants: [],
    columns: columns(),
    samples: sampleBook(),
    episodes: episodeFile(files, at("episodes/ppo.jsonl")),
    pace: pace(),
    state: "stopped",
    models: [],
    hasReport: false,
    troubles: [],
    version: 0,
  };
  /** The text of small files when they were last read, by name. */
  const known = new Map<string, string>();
  let troubles: string[] = [];

  /** The value of a small JSON file if it has changed since; "gone" where it is no longer there. */
  const changed = async (name: string, there: boolean): Promise<unknown> => {
    if (!there) return known.delete(name) ? "gone" : undefined;
    let text: string, value: unknown;
    try {
      const bytes = await files.read(at(name));
      text = new TextDecoder().decode(bytes);
      if (known.get(name) === text) return undefined;
      value = parseJson(at(name), bytes);
    } catch (error) {
      // Replaced or removed at this instant, or damaged; the run itself will say which.
      troubles.push((error as Error).message);
      return undefined;
    }
    known.set(name, text);
    return value;
  };

  const grow = async (tail: Tail, into: Columns | SampleBook): Promise<boolean> => {
    try {
      const { values, restarted } = await tail.read();
      if (restarted) into.clear();
      into.add(values);
      return restarted || values.length > 0;
    } catch (error) {
      if ((error as Error).name !== "DamagedFileError") throw error;
      troubles.push((error as Error).message);
      return false;
    }
  };

  const refresh = async (): Promise<boolean> => {
    troubles = [];
    const names = await namesIn(files, path);
    const has = (name: string) => names ? names.includes(name) : files.exists(at(name));
    if (!await has("run.json")) {
      throw new Error(
        `${path || "This folder"} has no run.json, so it is no run directory; check the address.`,
      );
    }
    let news = false;
    const take = async (name: string, there: boolean | Promise<boolean>, put: (value: unknown) => void) => {
      const value = await changed(name, await there);
      if (value === undefined) return;
      put(value === "gone" ? undefined : value);
      news = true;
    };
    const list = <T>(value: unknown, key: string) =>
      isObject(value) && Array.isArray(value[key]) ? value[key] as T[] : [];
    await take("run.json", true, (value) => {
      seen.record = isObject(value) && isObject(value.config) ? value as unknown as RunRecord : undefined;
    });
    await take("lock.json", has("lock.json"), (value) => {
      seen.holder = isObject(value) ? value as unknown as Holder : undefined;
    });
    const grew = await Promise.all([grow(metrics, seen.columns), grow(samples, seen.samples)]);
    news ||= grew.some(Boolean);
    await take("plan.json", has("plan.json"), (value) => seen.plan = list(value, "stages"));
    await take("alarms.json", has("alarms.json"), (value) => seen.alarms = list(value, "alarms"));
    await take("invariants.json", has("invariants.json"), (value) => {
      seen.invariants = list(value, "invariants");
    });
    const stageFiles = names && !names.includes("stages/") ? [] : await namesIn(files, at("stages"));
    for (const stage of stageNames) {
      const file = `stages/${stage}.json`;
      const there = stageFiles ? stageFiles.includes(`${stage}.json`) : await files.exists(at(file));
      await take(file, there, (value) => {
        const others = seen.stages.filter(({ name }) => name !== stage);
        const facts = isObject(value) && isObject(value.output)
          ? value.output as unknown as StageFacts
          : null;
        seen.stages = facts ? [...others, { ...facts, name: stage }] : others;
      });
    }
    // A stage's record tells what held in its first update for runs that kept no file of it.
    const recorded = seen.stages.find(({ name }) => name === "ppo")?.invariants;
    if (Array.isArray(recorded)) seen.invariants = recorded;
    await take("evaluation.json", has("evaluation.json"), (value) => {
      seen.evaluation = isObject(value) && Array.isArray(value.authors) && Array.isArray(value.matches)
        ? value as unknown as Evaluation
        : undefined;
    });
    seen.hasReport = await has("report.html");
    if (news || seen.version === 0) {
      seen.models = await modelsIn(files, path, names);
      seen.changedAt = await lastChange(files, path, names) ?? (seen.version > 0 ? now() : undefined);
    }
    const stage = seen.columns.stages().at(-1);
    if (stage) seen.pace.see(stage, seen.columns.lastStep(stage), now());
    const state = stateOf({
      locked: seen.holder !== undefined,
      done: seen.stages.map(({ name }) => name),
      // Judging is planned for itself and done as a part of evaluate.
      planned: seen.plan.flatMap(({ name }) => name === "judge" ? [] : [name]),
      silence: seen.changedAt === undefined ? undefined : now() - seen.changedAt,
      stepTime: seen.pace.stepTime,
    });
    news ||= state !== seen.state || troubles.join() !== seen.troubles.join();
    [seen.state, seen.troubles] = [state, troubles];
    if (news) seen.version++;
    return news;
  };
  return { seen, refresh };
}

/** What a folder holds; undefined where the files do not tell. */
async function namesIn(files: Files, folder: string): Promise<string[] | undefined> {
  try {
    return await files.list(folder);
  } catch {
    return undefined;
  }
}

async function modelsIn(files: Files, path: string, names: string[] | undefined): Promise<string[]> {
  if (names && !names.includes("models/")) return [];
  const inside = await namesIn(files, joinPath(path, "models"));
  if (inside) return inside.filter((name) => name.endsWith("/")).map((name) => name.slice(0, -1));
  const wanted = ["sft", "reward", "ppo"];
  const there = await Promise.all(
    wanted.map((name) => files.exists(joinPath(path, "models", name, "config.json"))),
  );
  return wanted.filter((_, i) => there[i]);
}

/** When one of the files that grow or change last was changed. */
export async function lastChange(
  files: DatedFiles,
  path: string,
  names?: readonly string[],
): Promise<number | undefined> {
  if (!files.changedAt) return undefined;
  const watched = [
    "run.json",
    "lock.json",
    "metrics.jsonl",
    "samples.jsonl",
    "summaries.json",
    "report.html",
  ];
  const there = watched.filter((name) => !names || names.includes(name));
  const times = await Promise.all(there.map((name) => files.changedAt!(joinPath(path, name))));
  const known = times.filter((time) => time !== undefined);
  return known.length > 0 ? Math.max(...known) : undefined;
}

/** The stage of whose end a run's directory tells. */
export function stagesDone(stages: readonly StageFacts[]): StageName[] {
  return stageNames.filter((stage) => stages.some(({ name }) => name === stage));
}
