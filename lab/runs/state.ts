/** What a run is doing, told by its files alone. */
import type { StagePlan } from "../plan_table.ts";
import { type StageName, stageNames } from "../report/data.ts";

/**
 * running: somebody holds the lock and wrote lately. stale: somebody holds it and wrote long ago, or a kill left it behind. finished: nobody
 * holds it and the last stage is done. stopped: nobody holds it, and stages are missing.
 */
export type RunState = "running" | "stale" | "finished" | "stopped";

export interface StateFacts {
  locked: boolean;
  done: readonly StageName[];
  /** The stages that the last invocation meant to run, by `plan.json`. */
  planned?: readonly StageName[];
  /** Milliseconds since something was last written; undefined where that cannot be known. */
  silence?: number;
  /** Milliseconds between the last steps, where known. */
  stepTime?: number;
}

/** Stages that write nothing before their end, or only between long works. */
const silentStages: readonly StageName[] = ["preprocess", "evaluate"];

export function stateOf({ locked, done, planned = [], silence, stepTime = 0 }: StateFacts): RunState {
  if (!locked) {
    const meant = planned.length > 0 ? planned : stageNames;
    return meant.every((stage) => done.includes(stage)) ? "finished" : "stopped";
  }
  const at = currentStage(done);
  const patience = at && silentStages.includes(at) ? 6 * 3600_000 : Math.max(600_000, 10 * stepTime);
  return silence === undefined || silence <= patience ? "running" : "stale";
}

/** The stage that is being run, or would be next. */
export function currentStage(done: readonly StageName[]): StageName | undefined {
  return stageNames.find((stage) => !done.includes(stage));
}

/** Steps seen at some times, for a rate and what is left. */
export interface Pace {
  /** Milliseconds a step, over the last minutes; undefined before two steps have been seen. */
  readonly stepTime: number | undefined;
  /** Tells that `step` was there at `time`, milliseconds. A new stage begins anew. */
  see(stage: StageName, step: number, time: number): void;
}

/** Of the sightings that a rate is made of, so many count. */
const sightings = 20;

export function pace(): Pace {
  let of: StageName | undefined, seen: { step: number; time: number }[] = [];
  return {
    get stepTime() {
      // What was there already when the page was opened came at an unknown time: the first change is the first that counts.
      const [first, last] = [seen[1] ?? seen[0], seen.at(-1)];
      if (!first || !last || last.step <= first.step) return undefined;
      return (last.time - first.time) / (last.step - first.step);
    },
    see(stage, step, time) {
      if (stage !== of || step < (seen.at(-1)?.step ?? 0)) [of, seen] = [stage, []];
      if (step === seen.at(-1)?.step) return;
      seen.push({ step, time });
      if (seen.length > sightings + 1) seen.splice(1, 1);
    },
  };
}

/** Steps of the stage and, where they can be told, milliseconds until it and all that is planned after it are done. */
export function remaining(
  plan: readonly StagePlan[],
  stage: StageName,
  step: number,
  stepTime: number | undefined,
): { steps?: number; stage?: number; all?: number } {
  const planned = plan.find(({ name }) => name === stage);
  if (!planned) return {};
  const each = stepTime ??
    (planned.seconds === undefined ? undefined : 1000 * planned.seconds / planned.steps);
  if (each === undefined) return { steps: planned.steps };
  const left = Math.max(0, planned.steps - step) * each;
  const later = plan.slice(plan.indexOf(planned) + 1);
  return {
    steps: planned.steps,
    stage: left,
    all: later.every(({ seconds }) => seconds !== undefined)
      ? later.reduce((sum, { seconds }) => sum + 1000 * seconds!, left)
      : undefined,
  };
}
