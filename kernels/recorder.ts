/**
 * A record of every dispatch while a recorder is set on a `Gpu`: which kernel ran where, on which tensors, and who wrote what it read. With
 * timestamps every dispatch is timed, in a pass of its own as in {@link Profile}. Costs nothing when there is none.
 */
import type { Gpu } from "./gpu.ts";
import type { Kernel } from "./kernel.ts";
import { Profile } from "./profile.ts";
import type { Tensor } from "./tensor.ts";

export interface RecordedBinding {
  name: string;
  /** Its name is known once whoever made it has named it, which is after the dispatch. */
  tensor: Tensor;
  access: "read" | "write" | "window";
  /** The dispatch that last wrote this memory before; undefined where the host did, or it was there when recording began. */
  producer?: number;
}

export interface RecordedDispatch {
  /** Where in the model: `layers.3`, with what is differentiated in between as `rmsnorm.grad`. */
  path: string;
  kernel: Kernel;
  params: Record<string, number>;
  overrides: Record<string, number>;
  groups: [number, number, number];
  bindings: RecordedBinding[];
  /** Its place among the dispatches that were timed. */
  timed?: number;
  microseconds?: number;
}

export class Recorder {
  readonly dispatches: RecordedDispatch[] = [];
  /** The latest dispatch that wrote each allocation, by id. */
  private readonly writers = new Map<number, number>();

  /** Called by the engine before each dispatch is encoded. */
  see(
    gpu: Gpu,
    path: string,
    kernel: Kernel,
    bindings: Record<string, Tensor>,
    params: Record<string, number>,
    groups: readonly [number, number?, number?],
    overrides: Record<string, number> = {},
  ): void {
    const recorded = kernel.bindings.map(({ name, writable, window }): RecordedBinding => ({
      name,
      tensor: bindings[name],
      access: writable ? "write" : window > 0 ? "window" : "read",
      producer: this.writers.get(bindings[name].allocation.id),
    }));
    for (const { tensor, access } of recorded) {
      if (access === "write") this.writers.set(tensor.allocation.id, this.dispatches.length);
    }
    this.dispatches.push({
      timed: gpu.profile?.timed,
      path,
      kernel,
      params: Object.fromEntries(kernel.fields.map(({ name }) => [name, params[name]])),
      overrides: { ...overrides },
      groups: [groups[0], groups[1] ?? 1, groups[2] ?? 1],
      bindings: recorded,
    });
  }

  /** Called by the engine where the host or a copy, and no dispatch, writes a tensor. */
  overwritten(tensor: Tensor): void {
    this.writers.delete(tensor.allocation.id);
  }
}

/** Records what `encode` encodes, timed where the adapter can. */
export async function recordDispatches<T>(
  gpu: Gpu,
  encode: () => T,
): Promise<{ dispatches: RecordedDispatch[]; result: T }> {
  if (gpu.recorder || gpu.profile) throw new Error("the device is being recorded or timed already");
  gpu.submit();
  const recorder = gpu.recorder = new Recorder();
  const profile = gpu.profile = gpu.facts.timestamps ? new Profile(gpu) : null;
  let result: T;
  try {
    result = encode();
    gpu.submit();
  } finally {
    gpu.recorder = null;
    gpu.profile = null;
  }
  const times = await profile?.each();
  profile?.destroy();
  for (const dispatch of recorder.dispatches) dispatch.microseconds = times?.[dispatch.timed!];
  return { dispatches: recorder.dispatches, result };
}

/**
 * Runs one recorded dispatch alone, on tensors of zeros of the same sizes, and times it.
 * @returns microseconds on the device, the best of so many; undefined where the adapter has no timestamps
 */
export async function timeDispatch(
  gpu: Gpu,
  { kernel, bindings, params, groups, overrides }: RecordedDispatch,
  times = 5,
): Promise<number | undefined> {
  if (!gpu.facts.timestamps || bindings.some(({ access }) => access === "window")) return undefined;
  const stand = bindings.map(({ name, tensor }) => ({
    name,
    tensor: gpu.hold([tensor.allocation.size / 4], name),
  }));
  for (const { tensor } of stand) gpu.clear(tensor);
  const { dispatches } = await recordDispatches(gpu, () => {
    const tensors = Object.fromEntries(stand.map(({ name, tensor }) => [name, tensor]));
    for (let i = 0; i < times; i++) gpu.run(kernel, tensors, params, groups, overrides);
  });
  for (const { tensor } of stand) gpu.release(tensor);
  return Math.min(...dispatches.map(({ microseconds }) => microseconds!));
}
