/** Model folders for the tests of judges. */
import type { Gpu } from "../../../kernels/gpu.ts";
import type { Files } from "../../../lab/bytes.ts";
import { random } from "../../../lab/demo/random.ts";
import { allocateQwen2, initialiseQwen2, saveQwen2 } from "../../../lab/qwen2.ts";
import type { Qwen2Config } from "../../../lab/qwen2_config.ts";
import { standardNormal } from "../../../lab/training.ts";

const demo = new URL("../../../public/demo/", import.meta.url);

/** A folder with a random model and the demo's tokenizer. */
export async function judgeFolder(
  gpu: Gpu,
  files: Files,
  folder: string,
  seed: number,
  changes: Partial<Qwen2Config> = {},
): Promise<void> {
  const model = allocateQwen2(gpu, {
    head: "language",
    vocabulary: 768,
    hiddenSize: 32,
    layers: 1,
    queryHeads: 2,
    keyValueHeads: 1,
    headDim: 16,
    feedForward: 64,
    tiedHead: true,
    attentionBias: true,
    ropeTheta: 10_000,
    rmsNormEps: 1e-6,
    maxPositions: 2048,
    eosTokenId: 766,
    bosTokenId: null,
    padTokenId: null,
    initializerRange: 0.2,
    ...changes,
  }, folder);
  initialiseQwen2(gpu, model, standardNormal(random(seed)));
  await files.makeDirectory(folder);
  await saveQwen2(gpu, files, folder, model);
  model.parameters.drop();
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    await files.writeAtomic(`${folder}/${name}`, await Deno.readFile(new URL(name, demo)));
  }
}
