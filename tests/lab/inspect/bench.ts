/** A workbench over the shipped demo and any folders beside it, on the device that tests share. */
import type { Files } from "../../../lab/bytes.ts";
import { diskFiles } from "../../../headless/files.ts";
import { gatherRows } from "../../../kernels/gather_rows.ts";
import type { Gpu } from "../../../kernels/gpu.ts";
import { crossEntropy } from "../../../kernels/logprob.ts";
import { presetConfig } from "../../../lab/config.ts";
import { silent } from "../../../lab/progress.ts";
import { hiddenStates, loadQwen2, type Qwen2, tokenBatch } from "../../../lab/qwen2.ts";
import { type Run, saveProgress } from "../../../lab/run.ts";
import { Workbench } from "../../../lab/workbench.ts";

export const publicFolder = decodeURIComponent(new URL("../../../public", import.meta.url).pathname);
export const goldenFolder = decodeURIComponent(new URL("../../oracles/golden", import.meta.url).pathname);

/** Places: "base" is the demo's base model, "golden/x" a golden folder, anything else a folder of `files`. */
export function testBench(gpu: Gpu, files: Files = diskFiles()): Workbench {
  return new Workbench({
    openGpu: () => Promise.resolve(gpu),
    locate(place) {
      if (place === "base") return { files: diskFiles(), folder: `${publicFolder}/demo/base` };
      if (place.startsWith("golden/")) {
        return { files: diskFiles(), folder: place.replace("golden", goldenFolder) };
      }
      return { files, folder: place };
    },
    shipped: { files: diskFiles(), folder: publicFolder },
  });
}

/** What {@link trainedRun} trains on. */
export const trainedIds = [300, 400, 500, 600, 700, 310, 320, 330];

/**
 * A run's folder with one checkpoint: the demo's base model after two steps of AdamW on a text, as stage sft saves it at
 * `checkpoints/sft/step-000002/policy`.
 * @returns the model as it was saved, moments and all; the caller's
 */
export async function trainedRun(gpu: Gpu, folder: string): Promise<Qwen2> {
  const files = diskFiles(), config = presetConfig("demo");
  const model = await loadQwen2(gpu, files, `${publicFolder}/demo/base`, "policy");
  const { learningRate, beta1, beta2, eps } = config.sft;
  model.parameters.train();
  for (let step = 1; step <= 2; step++) {
    model.parameters.clearGradients();
    gpu.scope(() => {
      const batch = tokenBatch(gpu, model, [trainedIds], true), last = trainedIds.length - 1;
      const targets = gpu.from(Uint32Array.from(trainedIds.slice(1)), [last], "targets");
      const rows = Uint32Array.from({ length: last }, (_, t) => t);
      gpu.differentiate(() =>
        crossEntropy(gpu, gatherRows(gpu, hiddenStates(gpu, model, batch), rows), model.head, targets).loss
      );
    });
    model.parameters.step({ learningRate, beta1, beta2, eps, weightDecay: 0, step });
  }
  const run = { gpu, files, path: folder, config, progress: silent } as unknown as Run;
  await files.makeDirectory(`${folder}/checkpoints`);
  await saveProgress(run, "sft", 2, { policy: model }, {});
  return model;
}
