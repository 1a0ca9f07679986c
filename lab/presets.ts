/** The presets: what each changes in the defaults of config.ts. */
import type { Overrides, PresetName } from "./config.ts";

export const presets: Record<PresetName, Overrides> = {
  /** The published recipe. */
  spark: {},

  /** Everything embedded; minutes on two CPU cores. */
  demo: {
    out: "runs/demo",
    model: "demo",
    data: "demo",
    preprocess: { queryTokens: 96, responseTokens: 28, preferenceTokens: 48 },
    sft: { learningRate: 1e-3, batch: 32, evalEvery: 20, evalRows: 64 },
    reward: { learningRate: 5e-4, batch: 32, rows: 0, evalEvery: 25, evalRows: 200 },
    ppo: {
      learningRate: 2e-4,
      batch: 64,
      episodes: 1920,
      responseLength: 28,
      klCoef: 0.05,
      sampleEvery: 10,
      sampleRows: 8,
    },
    evaluate: { posts: 0, split: "test", judge: "gold", bestOfPosts: 64 },
    checkpoints: { every: 50 },
  },
};
