/** The models and numbers that tests/oracles/qwen2_*.py wrote with PyTorch, and how ours are held against them. */
import { diskFiles } from "../../headless/files.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import type { StoredNumbers } from "../../kernels/widen.ts";
import type { CheckpointWeights } from "../../lab/checkpoint_files.ts";
import { type Qwen2, readByName } from "../../lab/qwen2.ts";
import { expectedTensors } from "../../lab/qwen2_config.ts";
import { readSafetensorsHeader, readTensor, toFloat32 } from "../../lab/safetensors.ts";

const folder = new URL("../oracles/golden/", import.meta.url);

/** The path of a model folder or file among the golden ones. */
export function goldenPath(name: string): string {
  return decodeURIComponent(new URL(name, folder).pathname);
}

export async function goldenJson<T>(name: string): Promise<T> {
  return JSON.parse(await Deno.readTextFile(goldenPath(`${name}.json`)));
}

/** Tensors of golden/<name>.safetensors by group, then by Hugging Face name. */
export async function goldenTensors(name: string): Promise<Record<string, Record<string, Float32Array>>> {
  const files = diskFiles();
  const header = await readSafetensorsHeader(files, goldenPath(`${name}.safetensors`));
  const groups: Record<string, Record<string, Float32Array>> = {};
  for (const key of header.tensors.keys()) {
    const slash = key.indexOf("/");
    (groups[key.slice(0, slash)] ??= {})[key.slice(slash + 1)] = await readTensor(files, header, key);
  }
  return groups;
}

/** Stored numbers as f32, by the host's own conversion. */
export function floatsOf({ format, bytes }: StoredNumbers): Float32Array {
  return toFloat32(({ bf16: "BF16", f16: "F16", f32: "F32" } as const)[format], bytes);
}

/** A whole tensor of a checkpoint. */
export async function wholeTensor(weights: CheckpointWeights, name: string): Promise<Float32Array> {
  const size = weights.shape(name).reduce((product, extent) => product * extent, 1);
  return floatsOf(await weights.read(name, 0, size));
}

/**
 * Relative errors of a tensor as a whole: of the difference's norm to the expected norm, and of the largest difference to the
 * largest expected number. NaN counts as infinitely wrong.
 */
export function errors(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
): { norm: number; most: number } {
  if (actual.length !== expected.length) return { norm: Infinity, most: Infinity };
  let off = 0, all = 0, farthest = 0, largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i] - expected[i]);
    if (!(difference < Infinity)) return { norm: Infinity, most: Infinity };
    off += difference ** 2;
    all += expected[i] ** 2;
    farthest = Math.max(farthest, difference);
    largest = Math.max(largest, Math.abs(expected[i]));
  }
  return { norm: Math.sqrt(off / Math.max(all, 1e-60)), most: farthest / Math.max(largest, 1e-30) };
}

/** @throws if either of {@link errors} is above the tolerance */
export function assertNear(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  what: string,
  tolerance = 1e-4,
): void {
  const { norm, most } = errors(actual, expected);
  if (norm <= tolerance && most <= tolerance) return;
  throw new Error(
    `${what} (${actual.length} numbers, expected ${expected.length}) is off by ${
      norm.toExponential(2)
    } of its norm and ` +
      `${most.toExponential(2)} of its largest number; allowed are ${tolerance}`,
  );
}

/**
 * Every tensor of a model against the golden one of its name.
 * @returns the worst of {@link errors}
 * @throws naming the tensors that differ, or that are there in only one of the two
 */
export async function assertTensors(
  gpu: Gpu,
  model: Qwen2,
  what: "value" | "gradient",
  expected: Record<string, Float32Array>,
  tolerance = 1e-4,
): Promise<number> {
  const names = expectedTensors(model.config).map(({ name }) => name);
  if ("score.bias" in expected) names.push("score.bias");
  const missing = Object.keys(expected).filter((name) => !names.includes(name));
  if (missing.length > 0) throw new Error(`${model.name} has no tensors ${missing.join(", ")}`);
  const faults: string[] = [];
  let worst = 0;
  for (const name of names) {
    if (!(name in expected)) throw new Error(`nothing is expected of ${model.name}'s ${name}`);
    const { norm, most } = errors(await readByName(gpu, model, name, what), expected[name]);
    worst = Math.max(worst, norm, most);
    if (!(norm <= tolerance && most <= tolerance)) {
      faults.push(
        `${name} by ${norm.toExponential(2)} of its norm, ${most.toExponential(2)} of its largest number`,
      );
    }
  }
  if (faults.length > 0) throw new Error(`the ${what}s of ${model.name} are off: ${faults.join("; ")}`);
  return worst;
}
