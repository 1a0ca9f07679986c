/** Scores against distance from the SFT policy: best-of-n at its analytic KL, PPO's updates at theirs (Gao et al. 2022, P1 Fig. 5). */
import { joinPath } from "../bytes.ts";
import type { SummarisedPost } from "../dataset.ts";
import { readMetrics } from "../metrics.ts";
import type { MetricRecord, Optimisation, OptimisationPoint } from "../report/data.ts";
import type { Run } from "../run.ts";
import type { Best, Written } from "./evaluation_figures.ts";

/** Points of PPO's curve, at most: each a mean over a run of updates, whose single KL estimates are noisy and may be negative. */
const mostPoints = 100;

/**
 * Gathers the curve.
 * @param samples post by post, of the SFT policy; `rewards` are their scores
 * @returns undefined where there is neither a sample nor an update
 */
export async function optimisationOf(
  run: Pick<Run, "files" | "path" | "gold">,
  posts: readonly SummarisedPost[],
  samples: readonly Written[][],
  rewards: readonly number[][],
  best: readonly Best[],
): Promise<Optimisation | undefined> {
  const path = joinPath(run.path, "metrics.jsonl");
  const records = await run.files.exists(path) ? await readMetrics(run.files, path) : [];
  const ppo = ppoPoints(records);
  const all = rewards.flat();
  if (ppo.length === 0 && all.length === 0) return undefined;
  const gold = run.gold &&
    samples.flatMap((some, i) => some.map(({ text }) => run.gold!(posts[i], text)));
  return {
    ...(all.length > 0 && { sft: { kl: 0, reward: average(all), ...(gold && { gold: average(gold) }) } }),
    bestOf: best.map(({ figures: { n, kl, reward, gold } }) => ({
      n,
      kl,
      reward: reward!.mean,
      ...(gold && { gold: gold.mean }),
    })),
    ppo,
  };
}

/** PPO's updates, of one that was recorded twice the later; the score is the one without the penalty for a missing end, where known. */
export function ppoPoints(records: readonly MetricRecord[]): (OptimisationPoint & { update: number })[] {
  const at = new Map<number, OptimisationPoint>();
  for (const record of records) {
    const kl = record["objective/kl"], reward = record["objective/raw_scores"] ?? record["objective/scores"];
    if (record.stage !== "ppo" || typeof kl !== "number" || typeof reward !== "number") continue;
    const gold = record["precis/gold_score"];
    at.set(record.step, { kl, reward, ...(typeof gold === "number" && { gold }) });
  }
  const updates = [...at].sort(([a], [b]) => a - b);
  const size = Math.ceil(updates.length / mostPoints);
  const points: (OptimisationPoint & { update: number })[] = [];
  for (let i = 0; i < updates.length; i += size) {
    const some = updates.slice(i, i + size).map(([, point]) => point);
    points.push({
      update: updates[Math.min(i + size, updates.length) - 1][0],
      kl: average(some.map(({ kl }) => kl)),
      reward: average(some.map(({ reward }) => reward)),
      ...(some.every(({ gold }) => gold !== undefined) && { gold: average(some.map(({ gold }) => gold!)) }),
    });
  }
  return points;
}

function average(values: readonly number[]): number {
  return values.reduce((sum, x) => sum + x, 0) / values.length;
}
