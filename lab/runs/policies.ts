/** Which states of its policy a run still has, and which of them is nearest to the one that sampled an episode. */
import { type Files, joinPath } from "../bytes.ts";

/** A policy as it was after so many updates. */
export interface KeptPolicy {
  /** Of its model's folder, below the run: `checkpoints/ppo/step-000012/policy`. */
  path: string;
  /** 0: the SFT policy, which PPO begins with. */
  updates: number;
}

/**
 * What a run has of its policy, from the earliest to the last.
 * @param models of the run: "sft", "ppo" …
 * @param last the run's last update, which `models/ppo` has been through
 */
export async function keptPolicies(
  files: Files,
  run: string,
  models: readonly string[],
  last: number,
): Promise<KeptPolicy[]> {
  const kept: KeptPolicy[] = [];
  if (models.includes("sft")) kept.push({ path: "models/sft", updates: 0 });
  for (const name of await checkpointsOf(files, run)) {
    const step = /^step-(\d+)\/$/.exec(name);
    if (step) kept.push({ path: `checkpoints/ppo/${name}policy`, updates: Number(step[1]) });
  }
  if (models.includes("ppo")) kept.push({ path: "models/ppo", updates: last });
  return kept.sort((a, b) => a.updates - b.updates);
}

/** Names in the folder of PPO's checkpoints. A server that does not tell what its folders hold is asked no more than once. */
async function checkpointsOf(files: Files, run: string): Promise<string[]> {
  try {
    if (!(await files.list(run)).includes("checkpoints/")) return [];
    const folder = joinPath(run, "checkpoints");
    return (await files.list(folder)).includes("ppo/") ? await files.list(joinPath(folder, "ppo")) : [];
  } catch {
    return [];
  }
}

/** The policy nearest to the one that sampled update `update`, which had been through all those before it; of two as near the earlier. */
export function nearestPolicy(kept: readonly KeptPolicy[], update: number): KeptPolicy | undefined {
  const distance = ({ updates }: KeptPolicy) => Math.abs(updates - (update - 1));
  return kept.reduce<KeptPolicy | undefined>(
    (best, one) => best === undefined || distance(one) < distance(best) ? one : best,
    undefined,
  );
}

/**
 * Whose policy it is, so that nobody takes it for the one that sampled an episode unless it is that one.
 * @param update of the episode
 * @param last the run's last update
 * @returns a name for a heading, and a sentence
 */
export function policyInWords(
  { updates }: KeptPolicy,
  update: number,
  last: number,
): { name: string; says: string } {
  const after = (count: number) =>
    count === 0 ? "the SFT policy" : `the policy after update ${count} of ${last}`;
  if (updates === update - 1) {
    return {
      name: `policy that sampled this, ${updates === 0 ? "SFT" : `after update ${updates} of ${last}`}`,
      says: `The episode was sampled by ${after(updates)}, and this is what that policy holds likely.`,
    };
  }
  const name = updates === 0
    ? "SFT policy, before update 1"
    : updates === last
    ? `final policy, update ${last} of ${last}`
    : `policy after update ${updates} of ${last}`;
  return {
    name,
    says:
      `Not of the policy that sampled the episode: that was ${
        after(update - 1)
      }, which the run has not kept. ` +
      `This is ${
        updates === last ? `the final policy, after update ${last} of ${last}` : after(updates)
      }, the nearest that there is.`,
  };
}
