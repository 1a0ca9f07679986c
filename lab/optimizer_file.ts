/** AdamW's state as a file beside a model's weights: `optimizer.safetensors`, the flat arenas of kernels/parameters.ts as they lie. */
import type { Gpu } from "../kernels/gpu.ts";
import type { Tensor } from "../kernels/tensor.ts";
import { type Files, joinPath } from "./bytes.ts";
import type { Qwen2 } from "./qwen2.ts";
import { fileOrder, safetensorsBytes } from "./safetensors.ts";
import { readPieces } from "./transfer.ts";

/** The file's name in a model's folder. */
export const optimizerFile = "optimizer.safetensors";

/** The optimiser's state as the tensors of a file. @throws if the model is not being trained */
export function momentArenas({ parameters }: Qwen2): Map<string, Tensor> {
  const roles = ["firstMoment", "secondMoment"] as const;
  return new Map(
    roles.flatMap((role) =>
      parameters.arenasOf(role).map((arena, i): [string, Tensor] => [`${role}.${i}`, arena])
    ),
  );
}

/** Writes the optimiser's state into a folder. */
export async function saveMoments(gpu: Gpu, files: Files, folder: string, model: Qwen2): Promise<void> {
  const moments = momentArenas(model);
  const plans = fileOrder(
    [...moments].map(([key, { shape }]) => ({ name: key, dtype: "F32" as const, shape })),
  );
  const bytes = safetensorsBytes(plans, ({ name: key }) => readPieces(gpu, moments.get(key)!));
  await files.writeAtomic(joinPath(folder, optimizerFile), bytes);
}
