/**
 * A device that computes nothing and holds nothing. The engine encodes on it exactly as on a real one and keeps its books of memory, so
 * a step that is rehearsed here tells what it would take before any of it is taken. What is read back is zeros.
 */
import type { DeviceFacts, OpenDevice } from "./device.ts";
import { Gpu } from "./gpu.ts";

/** What a rehearsal has to know of the device that it stands for: an engine will do. */
export interface Rehearsed {
  device: { limits: GPUSupportedLimits };
  facts: DeviceFacts;
  choices: ReadonlyMap<string, string>;
}

/**
 * An engine for rehearsals of what would run on `like`: the same limits, the same choice of kernels.
 * Host work is real: a dispatch costs about as much encoding as on the device itself.
 */
export function rehearsalOf(like: Rehearsed): Gpu {
  const nothing = () => {};
  const pass = {
    setPipeline: nothing,
    setBindGroup: nothing,
    dispatchWorkgroups: nothing,
    end: nothing,
  };
  const encoder = {
    beginComputePass: () => pass,
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
    createShaderModule: () => ({}),
    createBindGroupLayout: () => ({}),
    createPipelineLayout: () => ({}),
    createComputePipeline: () => ({}),
    createBindGroup: () => ({}),
    createCommandEncoder: () => encoder,
  };
  const gpu = new Gpu({ device, facts: like.facts, instance: {} } as unknown as OpenDevice);
  for (const [shape, variant] of like.choices) gpu.choices.set(shape, variant);
  return gpu;
}
