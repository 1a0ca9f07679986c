/**
 * AdamW's moments in a checkpoint's folder (optimizer_file.ts): flat arenas, which hold the parameters one behind the other as
 * kernels/parameters.ts lays them out. One parameter's are read at a time.
 */
import type { Gpu } from "../../kernels/gpu.ts";
import { parameterRoom } from "../../kernels/parameters.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import { DamagedFileError, type Files, joinPath } from "../bytes.ts";
import { optimizerFile } from "../optimizer_file.ts";
import type { Qwen2 } from "../qwen2.ts";
import { readNumbers, readSafetensorsHeader, type SafetensorsHeader } from "../safetensors.ts";
import { fillTensors } from "../transfer.ts";

export type Moment = "firstMoment" | "secondMoment";

/** Where a parameter's moments lie: elements `from` on of the arena. */
interface MomentPlace {
  arena: number;
  from: number;
  size: number;
}

export interface Moments {
  header: SafetensorsHeader;
  /** By our parameter's name, ranges apart. */
  places: Map<string, MomentPlace>;
}

/**
 * Opens a folder's moments.
 * @returns undefined where it has none
 * @throws DamagedFileError where they are not those of such a model
 */
export async function openMoments(files: Files, folder: string, model: Qwen2): Promise<Moments | undefined> {
  const path = joinPath(folder, optimizerFile);
  if (!await files.exists(path)) return undefined;
  const header = await readSafetensorsHeader(files, path);
  const sizes: number[] = [];
  for (let i = 0; header.tensors.has(`firstMoment.${i}`); i++) {
    sizes.push(
      header.tensors.get(`firstMoment.${i}`)!.shape.reduce((product, extent) => product * extent, 1),
    );
  }
  const places = new Map<string, MomentPlace>();
  let arena = 0, from = 0;
  for (const [name, { size }] of model.parameters.tensors) {
    const room = parameterRoom(size);
    // An arena ends where the next parameter did not fit, wherever that was: the sizes tell.
    if (from === sizes[arena]) [arena, from] = [arena + 1, 0];
    if (arena >= sizes.length || from + room > sizes[arena]) {
      throw new DamagedFileError(
        `${path} does not hold the moments of ${model.name}: "${name}" has no place in it.`,
      );
    }
    places.set(name, { arena, from, size });
    from += room;
  }
  if (arena !== sizes.length - 1 || from !== sizes[arena]) {
    throw new DamagedFileError(`${path} holds more moments than ${model.name} has parameters.`);
  }
  return { header, places };
}

/**
 * Reads the moments of one parameter onto the device.
 * @param names of its ranges
 * @returns tensors shaped as its ranges are, to be dropped by the caller
 */
export async function readMoments(
  gpu: Gpu,
  files: Files,
  { header, places }: Moments,
  moment: Moment,
  pieces: readonly Tensor[],
  names: readonly string[],
): Promise<Tensor[]> {
  const tensors = pieces.map(({ shape }, i) => gpu.persistent(shape, `${moment} of ${names[i]}`));
  const source = {
    path: () => header.path,
    read: (key: string, from: number, to: number) => readNumbers(files, header, key, from, to),
  };
  try {
    await fillTensors(
      gpu,
      source,
      tensors.map((tensor, i) => {
        const { arena, from, size } = places.get(names[i])!;
        return { name: `${moment}.${arena}`, from, size, tensor, to: 0 };
      }),
      // Whoever looks at moments wants to see what is wrong with them.
      () => {},
    );
  } catch (error) {
    for (const tensor of tensors) gpu.drop(tensor);
    throw error;
  }
  return tensors;
}
