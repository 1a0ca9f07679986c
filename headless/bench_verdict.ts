/** What `deno task bench` closes with: whether the engine is as much faster than its peers as it means to be. */
import type { BenchReport } from "./bench.ts";

/** How many times as fast as each peer: every product, and a whole training step. */
export const targets = { product: 2, step: 3 };

/** One comparison. Larger is faster for products (GFLOP/s), smaller for a step (ms). */
export interface Verdict {
  kernel: string;
  unit: "GFLOP/s" | "ms";
  ours: number;
  jax: number | null;
  tfjs: number | null;
  /** Against the faster peer. */
  ratio: number;
  target: number;
  holds: boolean;
}

/** Every comparison of a report with a peer. */
export function verdicts(report: BenchReport): Verdict[] {
  const found: Verdict[] = [];
  for (const { where, form, M, N, K, ours, jax, tfjs } of report.matmul ?? []) {
    const peer = Math.max(jax ?? 0, tfjs ?? 0);
    if (peer === 0) continue;
    const ratio = ours / peer, target = targets.product, kernel = `${where} ${form} ${M}×${N}×${K}`;
    found.push({ kernel, unit: "GFLOP/s", ours, jax, tfjs, ratio, target, holds: ratio >= target });
  }
  if (report.step?.jax) {
    const { ours, jax } = report.step, ratio = jax / ours, target = targets.step;
    found.push({
      kernel: "training step",
      unit: "ms",
      ours,
      jax,
      tfjs: null,
      ratio,
      target,
      holds: ratio >= target,
    });
  }
  return found;
}

/**
 * Rows of the closing table, its heading first, and the sentence under it. Of products that share a name before the last word (a layer's y, dx and
 * dW) only the one with the lowest ratio is shown, unless others miss the target too.
 */
export function verdictTable(report: BenchReport): { rows: string[][]; sentence: string } {
  const all = verdicts(report), groups = new Map<string, Verdict[]>();
  if (all.length === 0) {
    return { rows: [], sentence: "no verdict: neither jax-js nor tfjs was measured beside the engine" };
  }
  for (const verdict of all) {
    const name = verdict.kernel.replace(/ (y|dx|dW) .*$/, "");
    groups.set(name, [...groups.get(name) ?? [], verdict]);
  }
  const shown = [...groups.values()].flatMap((group) => {
    const lowest = group.reduce((a, b) => b.ratio < a.ratio ? b : a);
    return group.filter((verdict) => verdict === lowest || !verdict.holds);
  });
  const figure = (value: number | null) => value === null ? "–" : value.toFixed(1);
  const rows = shown.map(({ kernel, unit, ours, jax, tfjs, ratio, target, holds }) => [
    kernel,
    unit,
    figure(ours),
    figure(jax),
    figure(tfjs),
    `${ratio.toFixed(1)}×`,
    `${target}×`,
    holds ? "yes" : "NO",
  ]);
  const missed = all.filter(({ holds }) => !holds).length;
  const sentence = missed === 0
    ? `all ${all.length} comparisons hold; of each layer's the closest is shown`
    : `${missed} of ${all.length} comparisons miss their target`;
  return {
    rows: [["closest comparison", "unit", "ours", "jax-js", "tfjs", "ratio", "target", "holds"], ...rows],
    sentence,
  };
}
