/** Which models there are to choose from: those that ship with the demo, and those of the runs that the server tells of. */
import { demoPlaces } from "../../demo/places.ts";
import type { Engine } from "../engine.ts";

export const demoModels = demoPlaces;

/** The end of a place, short enough for a title. */
export const modelName = (place: string) => place.split("/").filter(Boolean).slice(-3).join("/");

const stages = ["sft", "reward", "ppo"];

/**
 * Places that answer, the demo's first. Servers of static files may not tell of runs; then there are none.
 * @param engine tells what notebooks have kept in this browser
 */
export async function offeredPlaces(engine: Engine | null): Promise<string[]> {
  const shipped = await Promise.all(
    demoPlaces.map(async (place) => await isThere(`demo/${place}/config.json`) ? [place] : []),
  );
  return [...shipped.flat(), ...await placesOfRuns(), ...engine ? await keptPlaces(engine) : []];
}

async function placesOfRuns(): Promise<string[]> {
  const index = await json(`runs/index.json`) as { runs?: { path: string; done?: string[] }[] } | undefined;
  return (index?.runs ?? []).flatMap(({ path, done }) =>
    stages.filter((stage) => done?.includes(stage)).map((stage) =>
      ["runs", path, "models", stage].filter(Boolean).join("/")
    )
  );
}

async function keptPlaces({ lab, unlessLost }: Engine): Promise<string[]> {
  try {
    const { models } = await unlessLost(lab.storage.look());
    return models.map(({ name }) => `kept/${name}`);
  } catch {
    return []; // Some browsers keep nothing for private windows.
  }
}

/** The run that a place belongs to, as an address: `runs/demo`; null where it is of none. */
export function runOfPlace(place: string): string | null {
  return /^(.*)\/(?:models\/[^/]+|checkpoints\/[^/]+\/[^/]+\/[^/]+)\/?$/.exec(place)?.[1] ?? null;
}

/** A model of a run as training left it at a step, with the optimiser's state beside it. */
export interface Checkpoint {
  place: string;
  /** "sft, step 200: policy" */
  label: string;
}

/** Of so many steps of a stage, the newest, what there is to open is asked for. */
const stepsAsked = 8;

/** The checkpoints of a run, each stage's newest first; none where the server does not tell what a folder holds. */
export async function checkpointsOf(run: string): Promise<Checkpoint[]> {
  const folders = async (path: string) => {
    const { names = [] } = (await json(`${path}/index.json`) ?? {}) as { names?: string[] };
    return names.filter((name) => name.endsWith("/")).map((name) => name.slice(0, -1));
  };
  const within = `${run}/checkpoints`, found: Checkpoint[] = [];
  for (const stage of await folders(within)) {
    const steps = (await folders(`${within}/${stage}`)).filter((name) => /^step-\d+$/.test(name)).sort();
    for (const step of steps.reverse().slice(0, stepsAsked)) {
      const place = `${within}/${stage}/${step}`;
      for (const model of await folders(place)) {
        found.push({
          place: `${place}/${model}`,
          label: `${stage}, step ${Number(step.slice(5))}: ${model}`,
        });
      }
    }
  }
  return found;
}

async function isThere(path: string): Promise<boolean> {
  try {
    const answer = await fetch(new URL(path, document.baseURI), { method: "HEAD" });
    return answer.ok && !/^text\/html\b/.test(answer.headers.get("content-type") ?? "");
  } catch {
    return false;
  }
}

async function json(path: string): Promise<unknown> {
  try {
    const answer = await fetch(new URL(path, document.baseURI));
    return answer.ok ? await answer.json() : undefined;
  } catch {
    return undefined;
  }
}
