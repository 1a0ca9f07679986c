/** A run's device that was lost (a driver reset, memory gone) or has failed, and the one that takes its place. */
import type { Gpu } from "../kernels/gpu.ts";
import { GpuError } from "../kernels/gpu_error.ts";
import type { Run } from "./run.ts";

/** Whether an error comes of the device's loss, which may be heard of a little after what it made fail. */
export async function wasLost(gpu: Gpu, error: unknown): Promise<boolean> {
  if (error instanceof GpuError && error.kind === "lost") return true;
  let lost = false;
  gpu.device.lost.then(() => lost = true);
  for (let tries = 0; tries < 10 && !lost; tries++) await new Promise((resume) => setTimeout(resume, 20));
  return lost;
}

/**
 * Opens the run's device again. The new one takes the kernels of the old one, so that it computes the same bits.
 * @param open opens it
 * @param doing what it was lost in, for messages
 * @throws GpuError where only another adapter is to be had; whatever `open` throws in the end
 */
export async function replaceDevice(run: Run, open: () => Promise<Gpu>, doing: string): Promise<void> {
  const old = run.gpu;
  // Frees what is left of it before as much is allocated again.
  old.destroy();
  run.gpu = await reopened(run, open);
  if (run.gpu.facts.adapter !== old.facts.adapter) {
    throw new GpuError(
      "lost",
      doing,
      `${old.facts.adapter} did not come back, only ${run.gpu.facts.adapter}, on which the run would not be the same; ` +
        `resume it when the device is there`,
    );
  }
  for (const [shapes, variant] of old.choices) run.gpu.choices.set(shapes, variant);
}

/** A driver that starts anew may have the device ready only after a while. */
async function reopened(run: Run, open: () => Promise<Gpu>): Promise<Gpu> {
  for (const seconds of [1, 5, 20, 60]) {
    try {
      return await open();
    } catch (error) {
      run.progress.note(
        `The device is not back yet (${(error as Error).message}); trying again in ${seconds} s.`,
      );
      await new Promise((resume) => setTimeout(resume, 1000 * seconds));
    }
  }
  return await open();
}
