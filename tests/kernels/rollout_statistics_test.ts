import { rolloutStatistics, rolloutSums } from "../../kernels/rollout_statistics.ts";
import golden from "../oracles/golden/ppo_losses.json" with { type: "json" };
import { assertClose, gpuTest } from "./testing.ts";

gpuTest("what is logged of a rollout is what PyTorch computes", async (gpu) => {
  const { B, T, beta, old, ref, last, hasEos, scores, rows } = golden.ppo;
  const sums = gpu.scope(() =>
    gpu.keep(rolloutSums(gpu, {
      logprob: gpu.from(Float32Array.from(old.flat()), [B, T], "logprob"),
      reference: gpu.from(Float32Array.from(ref.flat()), [B, T], "reference"),
      last: gpu.from(Uint32Array.from(last), [B], "last"),
      hasEos: gpu.from(Uint32Array.from(hasEos), [B], "hasEos"),
      scores: gpu.from(Float32Array.from(scores), [B], "scores"),
    }, { beta }))
  );
  const [totals] = await gpu.read(sums);
  const statistics = rolloutStatistics(totals, T);
  const final = scores.map((score, b) => hasEos[b] ? score : -1);
  const mean = final.reduce((sum, v) => sum + v, 0) / B;
  const expected: Record<string, number> = {
    "objective/kl": rows.kl,
    "objective/kl_k2": rows.k2,
    "objective/kl_k3": rows.k3,
    "objective/entropy": rows.entropy,
    "objective/entropy_with_sentinels": rows.legacyEntropy,
    "objective/non_score_reward": rows.nonScoreReward,
    "objective/scores": rows.score,
    "objective/scores_std": Math.sqrt(final.reduce((sum, v) => sum + (v - mean) ** 2, 0) / B),
    "objective/scores_max": Math.max(...final),
    "objective/scores_min": Math.min(...final),
    "objective/raw_scores": scores.reduce((sum, v) => sum + v, 0) / B,
    "objective/rlhf_reward": rows.score + rows.nonScoreReward,
    "val/length": rows.length,
    "val/length_max": T,
    "val/eos_fraction": rows.eosFraction,
  };
  for (const [name, value] of Object.entries(expected)) assertClose([statistics[name]], [value], 2e-5, name);
});
