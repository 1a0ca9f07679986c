/**
 * A device that computes nothing and holds nothing. The engine encodes on it exactly as on a real one and keeps its books of memory, so
 * a step that is rehearsed here tells what it would take before any of it is taken. What is read back is zeros.
 */
import type { DeviceFacts, OpenDevice } from "./device.ts";
import { Gpu, type Part, ringSlots } from "./gpu.ts";
import type { Kernel } from "./kernel.ts";
import type { Tensor } from "./tensor.ts";

/** What a rehearsal has to know of the device that it stands for: an engine will do. */
export interface Rehearsed {
  device: { limits: GPUSupportedLimits };
  facts: DeviceFacts;
  choices: ReadonlyMap<string, string>;
}

/**
 * An engine for rehearsals of what would run on `like`: the same limits, the same choice of kernels. Of a dispatch it notes that it took
 * place and what it used, which decides on the memory that the next one gets.
 */
export function rehearsalOf(like: Rehearsed): Gpu {
  const nothing = () => {};
  const encoder = {
    clearBuffer: nothing,
    copyBufferToBuffer: nothing,
    finish: () => ({}),
  };
  const device = {
    limits: like.device.limits,
    queue: { writeBuffer: nothing, submit: nothing, onSubmittedWorkDone: () => Promise.resolve() },
    lost: new Promise<never>(nothing),
    addEventListener: nothing,
    destroy: nothing,
    createBuffer: ({ size }: GPUBufferDescriptor) => ({
      size,
      destroy: nothing,
      mapAsync: () => Promise.resolve(),
      getMappedRange: (_offset: number, bytes: number) => new ArrayBuffer(bytes),
      unmap: nothing,
    }),
    createCommandEncoder: () => encoder,
  };
  const gpu = new Rehearsal({ device, facts: like.facts, instance: {} } as unknown as OpenDevice);
  for (const [shape, variant] of like.choices) gpu.choices.set(shape, variant);
  return gpu;
}

class Rehearsal extends Gpu {
  override run(
    kernel: Kernel,
    bindings: Record<string, Tensor>,
    _params: Record<string, number>,
    groups: Part["groups"],
  ): void {
    if (!groups.includes(0)) this.runParts(kernel, bindings, 1);
  }

  override runParts(kernel: Kernel, bindings: Record<string, Tensor>, count: number): void {
    while (count > 0) {
      if (this.nextSlot === ringSlots) this.submit();
      this.openEncoder();
      const some = kernel.fields.length > 0 ? Math.min(count, ringSlots - this.nextSlot) : count;
      for (const { name } of kernel.bindings) this.used(bindings[name]);
      if (kernel.fields.length > 0) this.nextSlot += some;
      this.counters.dispatches += some;
      count -= some;
    }
  }
}
