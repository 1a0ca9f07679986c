/**
 * Which kernels a run takes on a hardware GPU: measured once, kept beside the run, so that resuming takes the same kernels and gets the same
 * bits. Software adapters have fixed choices and nothing is measured there.
 */
import type { Gpu } from "../kernels/gpu.ts";
import { chooseMatmul, exportChoices, importChoices } from "../kernels/matmul_choice.ts";
import { DamagedFileError, type Files, joinPath, shortened } from "../lab/bytes.ts";
import type { Config } from "../lab/config.ts";
import { productShapes } from "../lab/qwen2.ts";
import type { Qwen2Config } from "../lab/qwen2_config.ts";

/**
 * Fills `gpu.choices` from `kernels.json` in the run directory, or measures and writes it.
 * @returns a sentence on what was done, or undefined on a software adapter
 */
export async function settleKernels(
  gpu: Gpu,
  files: Files,
  config: Config,
  shape: Qwen2Config,
): Promise<string | undefined> {
  if (gpu.facts.software) return undefined;
  const path = joinPath(config.out, "kernels.json");
  if (await files.exists(path)) {
    const text = new TextDecoder().decode(await files.read(path));
    try {
      if (importChoices(gpu, text)) return `Kernels as measured before: ${path}.`;
    } catch (error) {
      throw new DamagedFileError(
        `${path} is damaged (${shortened((error as Error).message)}); delete it to measure again.`,
      );
    }
  }
  const rows = new Set([
    config.sft.microTokens,
    config.reward.microTokens,
    config.ppo.microTokens,
    config.ppo.decodeBatch,
  ]);
  const trials = await chooseMatmul(gpu, [...rows].flatMap((tokens) => productShapes(shape, tokens)));
  await files.writeAtomic(path, new TextEncoder().encode(exportChoices(gpu)));
  return `Kernels measured for ${
    new Set(trials.map((trial) => trial.shapeClass)).size
  } classes of shapes: ${path}.`;
}
