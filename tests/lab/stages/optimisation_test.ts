import { assertAlmostEquals, assertEquals } from "deno-std/assert/mod.js";
import { memoryFiles } from "../../../lab/bytes.ts";
import { appendJsonl } from "../../../lab/jsonl.ts";
import type { MetricRecord } from "../../../lab/report/data.ts";
import type { Run } from "../../../lab/run.ts";
import type { Written } from "../../../lab/stages/evaluation_figures.ts";
import { chooseBest } from "../../../lab/stages/evaluation_figures.ts";
import { optimisationOf, ppoPoints } from "../../../lab/stages/optimisation.ts";
import { configure } from "../../../lab/config.ts";
import { posts as demoPosts } from "../../../lab/demo/corpus.ts";

const update = (step: number, kl: number, reward: number, gold?: number): MetricRecord => ({
  stage: "ppo",
  step,
  "objective/kl": kl,
  "objective/scores": reward - 1,
  "objective/raw_scores": reward,
  ...(gold !== undefined && { "precis/gold_score": gold }),
});

Deno.test("PPO's curve has its updates in order, the later of two records, the score without the penalty", () => {
  const records = [update(2, 3, 1), update(1, 0, 0), update(2, 4, 2, 5), {
    stage: "sft" as const,
    step: 1,
    "objective/kl": 9,
  }];
  assertEquals(ppoPoints(records), [{ update: 1, kl: 0, reward: 0 }, {
    update: 2,
    kl: 4,
    reward: 2,
    gold: 5,
  }]);
  assertEquals(ppoPoints([]), []);
});

Deno.test("thousands of updates become at most a hundred means, none left out", () => {
  const points = ppoPoints(Array.from({ length: 1953 }, (_, i) => update(i + 1, i, 2 * i, 1)));
  assertEquals(points.length, 98);
  assertEquals([points[0].update, points[0].kl, points.at(-1)!.update], [20, 9.5, 1953]);
  assertEquals(points.at(-1)!.kl, (1940 + 1952) / 2);
});

Deno.test("best of n rises with n from the mean of all samples, at its analytic KL", async () => {
  const files = memoryFiles();
  await files.makeDirectory("run");
  await appendJsonl(files, "run/metrics.jsonl", [update(1, 0.5, 0.25)]);
  const config = configure("demo", { evaluate: { bestOf: [4, 1, 2] } });
  const gold = (_: unknown, text: string) => text.length;
  const run = { files, path: "run", config, gold } as unknown as Run;
  const posts = demoPosts(1, 2);
  const written = (text: string): Written => ({ text, tokens: [1, 2], ended: true });
  const samples = [["a", "bb", "ccc", "d"].map(written), ["e", "f", "g", "hhhh"].map(written)];
  const rewards = [[0, 3, 1, 2], [1, 0, 0, 5]];
  const best = chooseBest(run, posts, samples, rewards);
  const curve = (await optimisationOf(run, posts, samples, rewards, best))!;
  assertEquals(curve.sft, { kl: 0, reward: 12 / 8, gold: 14 / 8 });
  assertEquals(curve.bestOf.map(({ n, reward, gold }) => [n, reward, gold]), [
    [1, 0.5, 1],
    [2, 2, 1.5],
    [4, 4, 3],
  ]);
  assertAlmostEquals(curve.bestOf[2].kl, Math.log(4) - 3 / 4, 1e-12);
  assertEquals(curve.ppo, [{ update: 1, kl: 0.5, reward: 0.25 }]);
  const bare = { files: memoryFiles(), path: "run" } as unknown as Run;
  assertEquals(await optimisationOf(bare, posts, [], [], []), undefined);
});
