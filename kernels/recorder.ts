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
  tensor: Tensor;
  /** What the model calls the tensor, where it does: what is written gets its name after the dispatch. */
  label?: string;
  access: "read" | "write" | "window";
  /** The dispatch that last wrote the tensor before; undefined where none did, or before recording began. */
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
  /** The dispatch that had last written each tensor when the model named it, by that name. */
  readonly made = new Map<string, number>();
  /** The latest dispatch that wrote each allocation, and what the model calls what is in it, by id. */
  private readonly writers = new Map<number, number>();
  private readonly labels = new Map<number, string>();

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
      label: this.labels.get(bindings[name].allocation.id),
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

  /** Called by the engine where a tensor is new, or is written by the host or a copy and no dispatch. */
  overwritten(tensor: Tensor): void {
    this.writers.delete(tensor.allocation.id);
    this.labels.delete(tensor.allocation.id);
  }

  /** Called by the engine where the model names a tensor. */
  named(name: string, tensor: Tensor): void {
    const { id } = tensor.allocation;
    this.labels.set(id, name);
    const writer = this.writers.get(id);
    if (writer === undefined) return;
    this.made.set(name, writer);
    for (const binding of this.dispatches[writer].bindings) {
      if (binding.access === "write" && binding.tensor.allocation.id === id) binding.label = name;
    }
  }
}

/** Records what `encode` encodes, timed where the adapter can. */
export async function recordDispatches<T>(
  gpu: Gpu,
  encode: () => T,
): Promise<{ dispatches: RecordedDispatch[]; made: ReadonlyMap<string, number>; result: T }> {
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
  return { dispatches: recorder.dispatches, made: recorder.made, result };
}

/**
 * The dispatches that wrote a tensor, in order: the one that had last written it when the model named it (or else the last one to write a
 * tensor of that name), and before it those from whose result it went on in place.
 */
export function writersOf(
  dispatches: readonly RecordedDispatch[],
  made: ReadonlyMap<string, number>,
  name: string,
): number[] {
  const writes = ({ access, tensor }: RecordedBinding) => access === "write" && tensor.name === name;
  const last = made.get(name) ?? dispatches.findLastIndex(({ bindings }) => bindings.some(writes));
  if (last < 0) return [];
  const written = dispatches[last].bindings.filter(({ access }) => access === "write");
  const { id } =
    (written.find(({ label, tensor }) => label === name || tensor.name === name) ?? written[0]).tensor
      .allocation;
  const writers = [last];
  for (;;) {
    const own = dispatches[writers[0]].bindings.find(({ access, tensor }) =>
      access === "write" && tensor.allocation.id === id
    );
    if (own?.producer === undefined) return writers;
    writers.unshift(own.producer);
  }
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
