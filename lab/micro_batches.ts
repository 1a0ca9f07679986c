/**
 * How large micro-batches are: as configured where the adapter can bind so much, or the largest that keep a stage within a budget of
 * device memory. What comes out stands in run.json as if it had been configured: it decides in which order sums are taken.
 */
import { TooLargeError } from "../kernels/memory.ts";
import type { Config } from "./config.ts";
import { formatBytes } from "./format.ts";
import { readQwen2Config } from "./qwen2.ts";
import { rehearse } from "./rehearsal.ts";
import { heed, type Run } from "./run.ts";

/** The stages that train, each with a `microTokens` of its own. */
const trained = ["sft", "reward", "ppo"] as const;

/** Sizes that a budget chooses from, the largest first: beyond, products gain nothing; below, most would be single sequences. */
const sizes = [16_384, 8192, 4096, 2048, 1024, 512];

/**
 * The configuration with micro-batches that fit this run's device; the token tables must be there.
 * @returns it, and a sentence for each stage whose micro-batches are not as configured
 * @throws RangeError where a stage does not fit the budget in the smallest ones; Stopped when the run is asked to stop
 */
export async function fitMicroBatches(run: Run): Promise<{ config: Config; notes: string[] }> {
  let { config } = run;
  const notes: string[] = [];
  const choose = (stage: typeof trained[number], microTokens: number, why: string) => {
    if (config[stage].microTokens === microTokens) return;
    config = { ...config, [stage]: { ...config[stage], microTokens } };
    notes.push(`${stage}: micro-batches of ${microTokens} tokens, ${why}.`);
  };
  const model = await readQwen2Config(run.files, run.baseFolder);
  const checkStop = heed(run, "planning");
  const progress = config.memory > 0
    ? run.progress.stage("fit", { steps: trained.length * sizes.length, unit: "sizes" })
    : undefined;
  let tries = 0;
  for (const stage of trained) {
    if (config.memory === 0) {
      // The widest activation is that of gate and up together.
      const binding = run.gpu.device.limits.maxStorageBufferBindingSize;
      let microTokens = config[stage].microTokens;
      while (microTokens > sizes.at(-1)! && microTokens * 2 * model.feedForward * 4 > binding) {
        microTokens = Math.ceil(microTokens / 2);
      }
      choose(stage, microTokens, `as this adapter binds no more than ${formatBytes(binding)} at once`);
      continue;
    }
    const budget = config.memory * 2 ** 30;
    let least = Infinity;
    const fitting = await firstAsync(sizes, async (microTokens) => {
      progress?.step(++tries, { now: `${stage} in ${microTokens} tokens` });
      checkStop();
      const tried = { ...run, config: { ...config, [stage]: { ...config[stage], microTokens } } };
      try {
        least = (await rehearse(tried, model, stage)).peakMemory;
        return least <= budget;
      } catch (error) {
        if (error instanceof TooLargeError) return false;
        throw error;
      }
    });
    if (fitting === undefined) {
      throw new RangeError(
        `${stage} does not fit into --memory ${config.memory} GiB: in micro-batches of ${
          sizes.at(-1)
        } tokens it takes ` +
          `${formatBytes(least)}; raise that, or try --recompute layers.`,
      );
    }
    choose(stage, fitting, `the largest that keep it within --memory ${config.memory} GiB`);
  }
  progress?.done();
  return { config, notes };
}

async function firstAsync<T>(
  items: readonly T[],
  holds: (item: T) => Promise<boolean>,
): Promise<T | undefined> {
  for (const item of items) if (await holds(item)) return item;
}
