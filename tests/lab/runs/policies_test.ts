import { assertEquals } from "deno-std/assert/mod.js";
import { FileAccessError, type Files } from "../../../lab/bytes.ts";
import { keptPolicies, nearestPolicy, policyInWords } from "../../../lab/runs/policies.ts";

/** Files that tell what some folders hold, and are asked nothing else. */
function listing(folders: Record<string, string[]>, asked: string[] = []): Files {
  const list = (path: string) => {
    asked.push(path);
    return path in folders
      ? Promise.resolve(folders[path])
      : Promise.reject(new FileAccessError(`${path} is not there`));
  };
  return { list } as Partial<Files> as Files;
}

Deno.test("a run's policies are the SFT model, PPO's checkpoints and its end, by the updates they have been through", async () => {
  const asked: string[] = [];
  const files = listing({
    "run": ["checkpoints/", "models/", "run.json"],
    "run/checkpoints": ["ppo/", "sft/"],
    "run/checkpoints/ppo": ["step-000020/", "step-000008/", ".step-000030.part/", "notes.json"],
  }, asked);
  assertEquals(await keptPolicies(files, "run", ["sft", "reward", "ppo"], 24), [
    { path: "models/sft", updates: 0 },
    { path: "checkpoints/ppo/step-000008/policy", updates: 8 },
    { path: "checkpoints/ppo/step-000020/policy", updates: 20 },
    { path: "models/ppo", updates: 24 },
  ]);
  asked.length = 0;
  // A folder that is not there is not asked for; a server that tells nothing is asked once.
  assertEquals(await keptPolicies(listing({ "run": ["models/"] }, asked), "run", ["ppo"], 24), [
    { path: "models/ppo", updates: 24 },
  ]);
  assertEquals(await keptPolicies(listing({}, asked), "run", ["sft"], 24), [{
    path: "models/sft",
    updates: 0,
  }]);
  assertEquals(asked, ["run", "run"]);
});

Deno.test("the nearest policy is the one with the fewest updates between, and of two the one that had not seen the episode", () => {
  const kept = [0, 8, 20, 24].map((updates) => ({ path: String(updates), updates }));
  const nearest = (update: number) => nearestPolicy(kept, update)?.updates;
  assertEquals([1, 2, 5, 6, 9, 15, 16, 21, 23, 24].map(nearest), [0, 0, 0, 8, 8, 8, 20, 20, 20, 24]);
  assertEquals(nearestPolicy([], 3), undefined);
});

Deno.test("words never take another policy for the one that sampled", () => {
  const words = (updates: number, update: number) => policyInWords({ path: "", updates }, update, 24);
  assertEquals(words(0, 1).name, "policy that sampled this, SFT");
  assertEquals(words(23, 24).name, "policy that sampled this, after update 23 of 24");
  assertEquals(words(24, 24).name, "final policy, update 24 of 24");
  assertEquals(words(0, 3).name, "SFT policy, before update 1");
  for (const [updates, update] of [[24, 24], [0, 3], [8, 12], [24, 1]]) {
    const { says } = words(updates, update);
    assertEquals(says.startsWith("Not of the policy that sampled the episode: that was "), true);
  }
});
