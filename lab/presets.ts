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
    preprocess: { queryTokens: 96, responseTokens: 32, preferenceTokens: 48 },
    sft: { learningRate: 2e-3, batch: 32, rows: 2016, evalEvery: 21, evalRows: 64, microTokens: 8192 },
    reward: {
      learningRate: 1e-3,
      batch: 32,
      rows: 2400,
      normaliseRows: 512,
      evalEvery: 25,
      evalRows: 100,
      microTokens: 8192,
    },
    ppo: {
      learningRate: 5e-4,
      batch: 64,
      episodes: 1024,
      epochs: 2,
      microTokens: 8192,
      responseLength: 32,
      sampleEvery: 8,
      sampleRows: 8,
    },
    evaluate: { split: "test", judge: "gold", bestOf: [8], bestOfPosts: 32, decodeBatch: 128, table: 12 },
    checkpoints: { every: 25 },
  },
};
