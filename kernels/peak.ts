/** How fast a device is at the simplest things, to hold everything else against. */
import type { Gpu } from "./gpu.ts";

/** Bytes read and written by a copy that no cache holds, GB/s. */
export async function copyGigabytesPerSecond(gpu: Gpu): Promise<number> {
  const elements = gpu.facts.software ? 1 << 23 : 1 << 25; // 32 MiB or 128 MiB
  const [source, target] = ["source", "target"].map((name) => gpu.hold([elements], name));
  const seconds = await secondsOf(gpu, () => gpu.copy(target, source));
  for (const tensor of [source, target]) gpu.release(tensor);
  return 2 * 4 * elements / seconds / 1e9;
}

/** The best of a few trials, each of enough calls to drown the wait for its end. */
export async function secondsOf(gpu: Gpu, call: () => void, budget = 0.25): Promise<number> {
  const trial = async (calls: number) => {
    const start = performance.now();
    for (let i = 0; i < calls; i++) call();
    await gpu.finish();
    return (performance.now() - start) / 1000 / calls;
  };
  await trial(1); // compiles
  const once = await trial(1);
  if (once > budget) return once;
  const calls = Math.max(1, Math.min(256, Math.round(budget / 3 / once)));
  let best = once;
  for (let i = 0; i < 3; i++) best = Math.min(best, await trial(calls));
  return best;
}
