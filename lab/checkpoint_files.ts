/**
 * A model folder as Hugging Face lays it out: `config.json` and the weights, either in one `model.safetensors` or in shards
 * `model-00001-of-00003.safetensors` … with `model.safetensors.index.json` saying which tensor is where.
 */
import { DamagedFileError, type Files, joinPath, readJson, shown, writeJson } from "./bytes.ts";
import {
  bytesPerElement,
  type Dtype,
  elementsOf,
  entryOf,
  fileOrder,
  readNumbers,
  readSafetensorsHeader,
  safetensorsBytes,
  type SafetensorsHeader,
  type TensorSource,
} from "./safetensors.ts";
import type { NumberSource } from "./transfer.ts";

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";

/** A model's weights, open for reading; nothing but headers has been read. */
export interface CheckpointWeights extends NumberSource {
  folder: string;
  /** Every tensor's name, sorted. */
  names: string[];
  has(name: string): boolean;
  shape(name: string): number[];
  dtype(name: string): Dtype;
}

/**
 * Opens the weights of a model folder.
 * @throws FileAccessError where a file cannot be read
 * @throws DamagedFileError where there are no weights, or a header or the index is damaged, or the two disagree
 */
export async function openCheckpoint(files: Files, folder: string): Promise<CheckpointWeights> {
  const single = joinPath(folder, SINGLE);
  const index = joinPath(folder, INDEX);
  const tensors = new Map<string, SafetensorsHeader>();
  // As in transformers, one whole file goes before an index.
  if (await files.exists(single)) {
    const header = await readSafetensorsHeader(files, single);
    for (const name of header.tensors.keys()) tensors.set(name, header);
  } else if (await files.exists(index)) {
    await openShards(files, folder, index, tensors);
  } else {
    throw new DamagedFileError(
      `${folder} holds no model: it has neither ${SINGLE} nor ${INDEX}; check the path.`,
    );
  }

  const headerOf = (name: string) => {
    const header = tensors.get(name);
    if (!header) throw new DamagedFileError(`${folder} has no tensor ${shown(name)}.`);
    return header;
  };
  const entry = (name: string) => entryOf(headerOf(name), name);
  return {
    folder,
    names: [...tensors.keys()].sort(),
    has: (name) => tensors.has(name),
    shape: (name) => entry(name).shape.slice(),
    dtype: (name) => entry(name).dtype,
    path: (name) => headerOf(name).path,
    read: (name, from, to) => readNumbers(files, headerOf(name), name, from, to),
  };
}

async function openShards(
  files: Files,
  folder: string,
  index: string,
  tensors: Map<string, SafetensorsHeader>,
) {
  const json = await readJson(files, index);
  const map = (json as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== "object" || map === null || Array.isArray(map)) {
    throw new DamagedFileError(`${index} has no weight_map from tensor names to files; download it again.`);
  }
  const shards = new Map<string, SafetensorsHeader>();
  for (const [name, file] of Object.entries(map)) {
    // A file name from an index must not lead out of its folder.
    if (typeof file !== "string" || !/^[\w.-]+\.safetensors$/.test(file)) {
      throw new DamagedFileError(
        `${index} places tensor ${shown(name)} in ${
          shown(file)
        }, which is not the name of a safetensors file.`,
      );
    }
    let header = shards.get(file);
    if (!header) {
      const path = joinPath(folder, file);
      if (!await files.exists(path)) {
        throw new DamagedFileError(`${path} is missing, though ${index} names it; download it again.`);
      }
      header = await readSafetensorsHeader(files, path);
      shards.set(file, header);
    }
    if (!header.tensors.has(name)) {
      throw new DamagedFileError(
        `${header.path} has no tensor ${shown(name)}, though ${index} places it there.`,
      );
    }
    tensors.set(name, header);
  }
  for (const header of shards.values()) {
    for (const name of header.tensors.keys()) {
      if (tensors.get(name) !== header) {
        throw new DamagedFileError(
          `${header.path} holds tensor ${shown(name)}, which ${index} does not place there.`,
        );
      }
    }
  }
}

/**
 * Checks that a checkpoint holds the tensors that its configuration calls for, in their shapes, and no others but `optional` ones.
 * @throws DamagedFileError naming the first few tensors that are missing, misshapen or unknown
 */
export function requireTensors(
  weights: Pick<CheckpointWeights, "folder" | "names" | "has" | "shape">,
  expected: readonly { name: string; shape: readonly number[] }[],
  optional: readonly string[] = [],
): void {
  const faults: string[] = [];
  for (const { name, shape } of expected) {
    if (!weights.has(name)) faults.push(`"${name}" is missing`);
    else if (weights.shape(name).join() !== shape.join()) {
      faults.push(`"${name}" has shape [${weights.shape(name)}] instead of [${shape}]`);
    }
  }
  const known = new Set([...expected.map(({ name }) => name), ...optional]);
  for (const name of weights.names) {
    if (!known.has(name)) faults.push(`${shown(name)} is not part of such a model`);
  }
  if (faults.length === 0) return;
  const more = faults.length > 3 ? ` (and ${faults.length - 3} more)` : "";
  throw new DamagedFileError(
    `${weights.folder}: the weights do not match config.json: ${faults.slice(0, 3).join(", ")}${more}.`,
  );
}

/** @throws Error where the folder holds a model already: mixing two would go unnoticed */
export async function requireNoModel(files: Files, folder: string): Promise<void> {
  for (const name of [SINGLE, INDEX]) {
    if (await files.exists(joinPath(folder, name))) {
      throw new Error(`${folder} holds a model already; write to a new folder, or remove this one first.`);
    }
  }
}

/** A tensor to be written; `read` is called once, when its turn comes, and may give the numbers piece by piece. */
export interface WeightToWrite {
  name: string;
  shape: readonly number[];
  read(): TensorSource;
}

/**
 * Writes a model folder. The file that makes it a model (`model.safetensors`, or the index) comes last, so that a kill leaves nothing
 * that opens. No more is in memory than what one `read` gives at a time.
 *
 * @param config what goes into `config.json`, for instance `qwen2ConfigJson(…)`
 * @param dtype of every tensor in the file; BF16 and F16 round to nearest even
 * @param maxShardBytes of tensor data per file (a larger tensor gets a file of its own); above it the weights are sharded.
 *   The default is transformers' 5 GB.
 * @throws FileAccessError where it cannot be written, RangeError where a number does not fit the dtype
 * @throws Error as {@link requireNoModel}
 */
export async function writeCheckpoint(
  files: Files,
  folder: string,
  config: Record<string, unknown>,
  weights: readonly WeightToWrite[],
  { dtype = "F32", maxShardBytes = 5e9 }: { dtype?: "F32" | "F16" | "BF16"; maxShardBytes?: number } = {},
): Promise<void> {
  await requireNoModel(files, folder);
  await files.makeDirectory(folder);
  await writeJson(files, joinPath(folder, "config.json"), config);

  const plans = fileOrder(weights.map((weight) => ({ ...weight, dtype, read: () => weight.read() })));
  const bytesOf = (shape: readonly number[]) => elementsOf(shape) * bytesPerElement(dtype);
  const shards: (typeof plans)[] = [];
  let room = 0;
  for (const plan of plans) {
    const bytes = bytesOf(plan.shape);
    if (shards.length === 0 || bytes > room) {
      shards.push([]);
      room = maxShardBytes;
    }
    shards[shards.length - 1].push(plan);
    room -= bytes;
  }

  const write = (file: string, tensors: typeof plans) =>
    files.writeAtomic(
      joinPath(folder, file),
      // transformers refuses files that do not say which framework's layout they follow.
      safetensorsBytes(tensors, (tensor) => tensor.read(), { format: "pt" }),
    );
  if (shards.length <= 1) return await write(SINGLE, plans);

  const place: Record<string, string> = {};
  const number = (n: number) => String(n).padStart(5, "0");
  for (const [i, tensors] of shards.entries()) {
    const file = `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    await write(file, tensors);
    for (const { name } of tensors) place[name] = file;
  }
  const total = plans.reduce((sum, { shape }) => sum + bytesOf(shape), 0);
  await writeJson(files, joinPath(folder, INDEX), {
    metadata: { total_size: total },
    weight_map: Object.fromEntries(Object.entries(place).sort(([a], [b]) => (a < b ? -1 : 1))),
  });
}
