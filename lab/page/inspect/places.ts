/** Which models there are to choose from: those that ship with the demo, and those of the runs that the server tells of. */
import { demoPlaces } from "../../demo/places.ts";

export const demoModels = demoPlaces;

/** The end of a place, short enough for a title. */
export const modelName = (place: string) => place.split("/").filter(Boolean).slice(-3).join("/");

const stages = ["sft", "reward", "ppo"];

/** Places that answer, the demo's first. Servers of static files may not tell of runs; then there are none. */
export async function offeredPlaces(): Promise<string[]> {
  const shipped = await Promise.all(
    demoPlaces.map(async (place) => await isThere(`demo/${place}/config.json`) ? [place] : []),
  );
  return [...shipped.flat(), ...await placesOfRuns()];
}

async function placesOfRuns(): Promise<string[]> {
  const index = await json(`runs/index.json`) as { runs?: { path: string; done?: string[] }[] } | undefined;
  return (index?.runs ?? []).flatMap(({ path, done }) =>
    stages.filter((stage) => done?.includes(stage)).map((stage) =>
      ["runs", path, "models", stage].filter(Boolean).join("/")
    )
  );
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
