/**
 * The engine's hands: allocates tensors, encodes dispatches, submits, reads back. One instance per device.
 *
 * A step is encoded into one compute pass and submitted once. Scalars travel in a ring of 256-byte slots that is written once per
 * submission; bind groups and pipelines are cached, so a warm step creates nothing.
 */
import add from "./add.wgsl" with { type: "text" };
import copy from "./copy.wgsl" with { type: "text" };
import type { Captures, Watcher } from "./capture.ts";
import { type DeviceFacts, dialect, type OpenDevice, uploadable, uploadFlushBytes } from "./device.ts";
import { GpuError } from "./gpu_error.ts";
import { type Kernel, kernel, parameterSlotBytes, windowBytes } from "./kernel.ts";
import { type Allocation, Memory } from "./memory.ts";
import type { Profile } from "./profile.ts";
import type { Recorder } from "./recorder.ts";
import { Tape } from "./tape.ts";
import { bytesPerElement, type DType, Tensor, tensorsIn } from "./tensor.ts";

const addKernel = kernel("add", add);
const copyKernel = kernel("copy", copy);

/** Dispatches that fit in one submission; the next one submits first. */
export const ringSlots = 4096;

interface Pipeline {
  id: number;
  pipeline: GPUComputePipeline;
  layout: GPUBindGroupLayout;
  parameterBytes: number;
}

/** What has been created and encoded so far; a warm step adds only to the last three. */
export interface Counters {
  pipelines: number;
  bindGroups: number;
  buffers: number;
  dispatches: number;
  submissions: number;
  reads: number;
}

/** One of several dispatches of a kernel on the same tensors; see {@link Gpu.run}. */
export interface Part {
  params: Record<string, number>;
  groups: readonly [number, number?, number?];
  windows?: Record<string, number>;
}

export class Gpu {
  readonly device: GPUDevice;
  readonly facts: DeviceFacts;
  readonly memory: Memory;
  /** Held only so that it is not collected; see device.ts. */
  private readonly instance: GPU;
  readonly counters: Counters = {
    pipelines: 0,
    bindGroups: 0,
    buffers: 0,
    dispatches: 0,
    submissions: 0,
    reads: 0,
  };
  /** The tape that differentiable ops record on, while there is one. */
  tape: Tape | null = null;
  captures: Captures | null = null;
  watcher: Watcher | null = null;
  profile: Profile | null = null;
  recorder: Recorder | null = null;
  /** Which variant of a kernel serves which shape class, as measured or given; see matmul.ts. */
  readonly choices = new Map<string, string>();

  private readonly pipelines = new Map<Kernel, Map<string, Pipeline>>();
  private readonly bindGroups = new Map<string, GPUBindGroup>();
  private readonly ring: GPUBuffer;
  private readonly slots = new ArrayBuffer(ringSlots * parameterSlotBytes);
  private readonly slotsU32 = new Uint32Array(this.slots);
  private readonly slotsI32 = new Int32Array(this.slots);
  private readonly slotsF32 = new Float32Array(this.slots);
  protected nextSlot = 0;
  private encoder: GPUCommandEncoder | null = null;
  private pass: GPUComputePassEncoder | null = null;
  private readonly scopes: Set<Allocation>[] = [];
  private readonly constants = new Map<number, Tensor>();
  private readonly staging = new Map<number, GPUBuffer[]>();
  private path: string[] = [];
  private unflushed = 0;
  private fault: GpuError | null = null;
  private destroyed = false;
  /** The kernel that was encoded last. */
  private latest: Kernel | null = null;
  private readonly mostGroups: number;

  constructor(open: OpenDevice) {
    this.device = open.device;
    this.facts = open.facts;
    this.instance = open.instance;
    const limits = open.device.limits;
    this.mostGroups = limits.maxComputeWorkgroupsPerDimension;
    this.memory = new Memory(open.device, {
      binding: limits.maxStorageBufferBindingSize,
      buffer: limits.maxBufferSize,
      smallest: open.facts.software ? windowBytes : 256,
    });
    this.ring = open.device.createBuffer({
      size: this.slots.byteLength,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
      label: "scalars",
    });
    open.device.addEventListener("uncapturederror", (event) => {
      const { error } = event as GPUUncapturedErrorEvent;
      const kind = /out.of.memory/i.test(error.constructor.name + error.message)
        ? "out-of-memory"
        : error.constructor.name === "GPUInternalError"
        ? "internal"
        : "validation";
      this.fault ??= new GpuError(kind, this.opIn(error.message), error.message);
    });
    open.device.lost.then((info) => {
      if (!this.destroyed) this.fault = new GpuError("lost", this.where, info.message || "no reason given");
    });
  }

  // ---- tensors ----

  /** A pooled tensor with undefined contents, freed at the end of the current scope. */
  empty(shape: readonly number[], name: string, dtype: DType = "f32"): Tensor {
    const tensor = this.hold(shape, name, dtype);
    this.scopes.at(-1)?.add(tensor.allocation);
    return tensor;
  }

  /** A pooled tensor that no scope frees: whoever asks for it must {@link release} it. */
  hold(shape: readonly number[], name: string, dtype: DType = "f32"): Tensor {
    const elements = shape.reduce((product, extent) => product * extent, 1);
    const allocation = this.memory.draw(Math.max(4, elements * bytesPerElement[dtype]), name);
    const tensor = new Tensor(allocation, shape, dtype, name);
    this.recorder?.overwritten(tensor);
    return tensor;
  }

  /** A tensor of its own buffer that lives until {@link drop}. Starts as zeros. */
  persistent(shape: readonly number[], name: string, dtype: DType = "f32"): Tensor {
    const elements = shape.reduce((product, extent) => product * extent, 1);
    return new Tensor(this.memory.keep(elements * bytesPerElement[dtype], name), shape, dtype, name);
  }

  /** A pooled tensor holding `data`, freed at the end of the current scope. */
  from(data: Float32Array | Uint32Array, shape: readonly number[], name: string): Tensor {
    const elements = shape.reduce((product, extent) => product * extent, 1);
    if (data.length !== elements) throw new Error(`${name}: ${data.length} numbers cannot fill [${shape}]`);
    // A buffer that no pending command uses: the upload then needs no submission before it, whenever in a step it comes.
    const allocation = this.memory.draw(Math.max(4, data.byteLength), name, this.counters.submissions);
    const tensor = new Tensor(allocation, shape, data instanceof Float32Array ? "f32" : "u32", name);
    this.scopes.at(-1)?.add(allocation);
    this.upload(tensor, data);
    return tensor;
  }

  /** A shared scalar. Never write to it. */
  constant(value: number): Tensor {
    let tensor = this.constants.get(value);
    if (!tensor) {
      tensor = this.persistent([1], `constant ${value}`);
      this.upload(tensor, new Float32Array([value]));
      this.constants.set(value, tensor);
    }
    return tensor;
  }

  /** Writes host numbers into a tensor. Commands already encoded that use the tensor are submitted first. */
  upload(tensor: Tensor, data: ArrayBufferView, elementOffset = 0): void {
    if (data.byteLength === 0) return;
    this.recorder?.overwritten(tensor);
    const owner = tensor.allocation.parent ?? tensor.allocation;
    if (Math.max(owner.lastUse, tensor.allocation.lastUse) === this.counters.submissions) this.submit();
    const offset = tensor.allocation.offset + elementOffset * bytesPerElement[tensor.dtype];
    this.device.queue.writeBuffer(tensor.allocation.buffer, offset, uploadable(data));
    this.unflushed += data.byteLength;
    if (this.unflushed > uploadFlushBytes) {
      this.submit();
      this.device.queue.submit([]);
      this.unflushed = 0;
    }
  }

  /** Returns a pooled tensor to the pool now rather than at the end of its scope. */
  release(tensor: Tensor): void {
    for (let i = this.scopes.length - 1; i >= 0; i--) if (this.scopes[i].delete(tensor.allocation)) break;
    this.memory.release(tensor.allocation);
  }

  /** Keeps a tensor past the scope and the tape that would free it; {@link release} it later. */
  keep<T extends Tensor>(tensor: T): T {
    this.memory.retain(tensor.allocation);
    return tensor;
  }

  /** Destroys a persistent tensor. */
  drop(tensor: Tensor): void {
    this.submit();
    this.forget(new Set([tensor.allocation.id]));
    this.memory.drop(tensor.allocation);
  }

  /** Destroys the pool's idle buffers; for the seams between stages, whose sizes differ. */
  trim(): void {
    this.submit();
    this.forget(this.memory.trim());
  }

  /**
   * Runs `body` and frees every pooled tensor it made, but for those it returns: these move to the enclosing scope, or, where there
   * is none, belong to the caller, who must {@link release} them.
   */
  scope<T>(body: () => T): T {
    const scope = new Set<Allocation>();
    this.scopes.push(scope);
    try {
      const result = body();
      const outer = this.scopes.at(-2);
      for (const tensor of tensorsIn(result)) {
        if (scope.delete(tensor.allocation)) outer?.add(tensor.allocation);
      }
      return result;
    } finally {
      this.scopes.pop();
      for (const allocation of scope) this.memory.release(allocation);
    }
  }

  // ---- differentiation ----

  /**
   * Runs `forward` on a fresh tape, then differentiates the scalar it returns. Gradients are added to every parameter's `grad`.
   * Call it within a {@link scope}; tensors other than the result that must outlive it need {@link keep}.
   */
  differentiate(forward: () => Tensor, seed?: Tensor): Tensor {
    if (this.tape) throw new Error("a tape is already recording");
    const tape = new Tape(this);
    this.tape = tape;
    let root: Tensor;
    try {
      root = forward();
    } finally {
      this.tape = null;
    }
    tape.backward(root, seed);
    return root;
  }

  // ---- names ----

  /** Runs `body` with `name` appended to the path that names, captures and faults are given by. */
  inside<T>(name: string, body: () => T): T {
    this.path.push(name);
    try {
      return body();
    } finally {
      this.path.pop();
    }
  }

  /** `body`, to be run at another time under the path that holds now. */
  later<T>(body: () => T): () => T {
    const path = [...this.path];
    return () => {
      const before = this.path;
      this.path = path;
      try {
        return body();
      } finally {
        this.path = before;
      }
    };
  }

  /** Gives an intermediate its name (the current path, then `name`) and shows it to whoever captures it. */
  named(name: string, tensor: Tensor): Tensor {
    tensor.name = this.path.length === 0 ? name : `${this.path.join(".")}.${name}`;
    this.show(tensor.name, tensor);
    return tensor;
  }

  /** Lets whoever captures or watches see a tensor that has just been made. */
  show(name: string, tensor: Tensor): void {
    this.captures?.see(this, name, tensor);
    this.watcher?.see(this, name, tensor);
    this.recorder?.named(name, tensor);
  }

  private get where(): string {
    return this.path.join(".") || "the engine";
  }

  /** A kernel, and where in the model it is being run. */
  private opOf(kernel: Kernel): string {
    return this.path.length > 0 ? `${kernel.name} (${this.path.join(".")})` : kernel.name;
  }

  /** Name of the kernel that was encoded last: in a {@link Watcher}, the one that made the tensor. */
  get latestKernel(): string {
    return this.latest?.name ?? "none";
  }

  /** The kernel that an error tells of: it comes after the fact, but with the label of what we made for that kernel. */
  private opIn(message: string): string {
    for (const [, label] of message.matchAll(/[`'"]([\w ]+)[`'"]/g)) {
      for (const { name } of this.pipelines.keys()) if (name === label) return name;
    }
    return this.latest ? `what was encoded up to ${this.latest.name}` : this.where;
  }

  // ---- commands ----

  /**
   * Encodes one dispatch.
   * @param bindings a tensor for each storage binding of the kernel, by name
   * @param params a number for each field of its `Params`, by name
   * @param groups workgroups in x, y, z
   * @param overrides values of its pipeline-overridable constants
   * @param windows where each window of the kernel starts in its tensor's buffer, in bytes, a multiple of 256
   */
  run(
    kernel: Kernel,
    bindings: Record<string, Tensor>,
    params: Record<string, number>,
    groups: readonly [number, number?, number?],
    overrides?: Record<string, number>,
    windows?: Record<string, number>,
  ): void {
    if (this.fault) throw this.fault;
    if (groups[0] === 0 || groups[1] === 0 || groups[2] === 0) return;
    if (!(Math.max(groups[0], groups[1] ?? 1, groups[2] ?? 1) <= this.mostGroups)) {
      const why = `[${groups}] workgroups are more than ${this.mostGroups} in a dimension; fold the grid`;
      throw new GpuError("validation", this.opOf(kernel), why);
    }
    this.latest = kernel;
    this.recorder?.see(this, this.path.join("."), kernel, bindings, params, groups, overrides);
    if (this.nextSlot === ringSlots) this.submit();
    const pipeline = this.pipeline(kernel, overrides);
    const group = this.bindGroup(kernel, pipeline, bindings);
    const pass = this.openPass(kernel.name);
    pass.setPipeline(pipeline.pipeline);
    if (kernel.fields.length > 0) {
      this.writeParameters(kernel, params);
      const offsets = [this.nextSlot * parameterSlotBytes];
      if (windows) {
        for (const { name, window } of kernel.bindings) if (window > 0) offsets.push(windows[name]);
      }
      pass.setBindGroup(0, group, offsets);
      this.nextSlot++;
    } else {
      pass.setBindGroup(0, group);
    }
    pass.dispatchWorkgroups(groups[0], groups[1] ?? 1, groups[2] ?? 1);
    this.counters.dispatches++;
    if (this.profile) this.endPass();
  }

  /** {@link run} for each of the `count` parts of a job. A rehearsal wants to know how many they are, not which. */
  runParts(
    kernel: Kernel,
    bindings: Record<string, Tensor>,
    _count: number,
    parts: () => Iterable<Part>,
    overrides?: Record<string, number>,
  ): void {
    for (const { params, groups, windows } of parts()) {
      this.run(kernel, bindings, params, groups, overrides, windows);
    }
  }

  /** target += source, element by element. */
  addInto(target: Tensor, source: Tensor): void {
    this.run(addKernel, { source, sum: target }, { size: target.size }, elementwise(target.size));
  }

  /** target = source, for equal sizes; 32-bit elements. */
  copy(target: Tensor, source: Tensor): void {
    this.run(copyKernel, { source, duplicate: target }, { size: target.size }, elementwise(target.size));
  }

  /** Sets every byte of the tensor to zero. */
  clear(tensor: Tensor): void {
    this.recorder?.overwritten(tensor);
    this.endPass();
    const { buffer, offset, size } = this.used(tensor);
    this.openEncoder().clearBuffer(buffer, offset, size);
  }

  /** Puts all of `source` into `target` from element `at` on; 32-bit elements. */
  place(target: Tensor, at: number, source: Tensor): void {
    this.recorder?.overwritten(target);
    this.endPass();
    const from = this.used(source), to = this.used(target);
    this.openEncoder().copyBufferToBuffer(
      from.buffer,
      from.offset,
      to.buffer,
      to.offset + 4 * at,
      source.bytes,
    );
  }

  /** Where a tensor lies, marked as used by the commands that are being encoded. */
  protected used({ allocation }: Tensor): Allocation {
    allocation.lastUse = this.counters.submissions;
    if (allocation.parent) allocation.parent.lastUse = this.counters.submissions;
    return allocation;
  }

  /** Sends what has been encoded. */
  submit(): void {
    if (!this.encoder) return;
    this.endPass();
    this.profile?.resolve(this.encoder);
    const commands = this.encoder.finish();
    this.encoder = null;
    if (this.nextSlot > 0) {
      this.device.queue.writeBuffer(this.ring, 0, this.slots, 0, this.nextSlot * parameterSlotBytes);
      this.nextSlot = 0;
    }
    this.device.queue.submit([commands]);
    this.unflushed = 0;
    this.counters.submissions++;
    this.counters.buffers = this.memory.buffersCreated;
    this.profile?.submitted();
  }

  /** Reads tensors back in one wait. u32 tensors come as the bits of the floats; see {@link readU32}. */
  async read(...tensors: Tensor[]): Promise<Float32Array<ArrayBuffer>[]> {
    return (await this.readBytes(tensors.map(whole))).map((bytes) => new Float32Array(bytes));
  }

  /** Reads elements `from` to `from + count` of a 32-bit tensor back. */
  async readPart(tensor: Tensor, from: number, count: number): Promise<Float32Array<ArrayBuffer>> {
    const [bytes] = await this.readBytes([{ tensor, from: 4 * from, bytes: 4 * count }]);
    return new Float32Array(bytes);
  }

  /** Reads parts of 32-bit tensors back in one wait, each from element `from` on. */
  async readParts(
    parts: readonly { tensor: Tensor; from: number; count: number }[],
  ): Promise<Float32Array<ArrayBuffer>[]> {
    const ranges = parts.map(({ tensor, from, count }) => ({ tensor, from: 4 * from, bytes: 4 * count }));
    return (await this.readBytes(ranges)).map((bytes) => new Float32Array(bytes));
  }

  async readU32(...tensors: Tensor[]): Promise<Uint32Array<ArrayBuffer>[]> {
    return (await this.readBytes(tensors.map(whole))).map((bytes) => new Uint32Array(bytes));
  }

  /** Waits until the device has done all that was submitted. @throws GpuError if anything went wrong on the way. */
  async finish(): Promise<void> {
    this.submit();
    try {
      await this.device.queue.onSubmittedWorkDone();
    } catch (error) {
      throw await this.faultAfter(error);
    }
    if (this.fault) throw this.fault;
  }

  /** Frees the device and all its memory, lost or not. Nothing may be used afterwards. */
  destroy(): void {
    this.destroyed = true;
    this.memory.destroy();
    for (const buffer of [this.ring, ...[...this.staging.values()].flat()]) buffer.destroy();
    this.device.destroy();
  }

  // ---- beneath ----

  private async readBytes(parts: { tensor: Tensor; from: number; bytes: number }[]): Promise<ArrayBuffer[]> {
    if (this.fault) throw this.fault;
    const offsets: number[] = [];
    let total = 0;
    for (const { bytes } of parts) {
      offsets.push(total);
      total += Math.ceil(bytes / 4) * 4;
    }
    const size = 2 ** Math.ceil(Math.log2(Math.max(256, total)));
    const staging = this.staging.get(size)?.pop() ??
      this.device.createBuffer({
        size,
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
        label: "staging",
      });
    this.endPass();
    const encoder = this.openEncoder();
    parts.forEach(({ tensor, from, bytes }, i) => {
      const { buffer, offset } = tensor.allocation;
      encoder.copyBufferToBuffer(buffer, offset + from, staging, offsets[i], Math.ceil(bytes / 4) * 4);
    });
    this.submit();
    this.counters.reads++;
    let results: ArrayBuffer[];
    try {
      await staging.mapAsync(GPUMapMode.READ, 0, Math.max(4, total));
      if (this.fault) throw this.fault;
      const mapped = staging.getMappedRange(0, Math.max(4, total));
      results = parts.map(({ bytes }, i) => mapped.slice(offsets[i], offsets[i] + bytes));
      staging.unmap();
    } catch (error) {
      throw await this.faultAfter(error);
    }
    const idle = this.staging.get(size);
    if (idle) idle.push(staging);
    else this.staging.set(size, [staging]);
    return results;
  }

  /** What really happened when a wait failed: that is told elsewhere, and sometimes a little later. */
  private async faultAfter(error: unknown): Promise<GpuError> {
    if (!this.fault) await new Promise((resolve) => setTimeout(resolve, 50));
    return this.fault ?? new GpuError("internal", this.where, String(error));
  }

  protected openEncoder(): GPUCommandEncoder {
    this.encoder ??= this.device.createCommandEncoder();
    return this.encoder;
  }

  private openPass(name: string): GPUComputePassEncoder {
    if (!this.pass) {
      const timestampWrites = this.profile?.next(this, name, this.path.join("."));
      this.pass = this.openEncoder().beginComputePass(timestampWrites ? { timestampWrites } : undefined);
    }
    return this.pass;
  }

  private endPass(): void {
    this.pass?.end();
    this.pass = null;
  }

  private writeParameters(kernel: Kernel, params: Record<string, number>): void {
    let index = this.nextSlot * (parameterSlotBytes / 4);
    for (const field of kernel.fields) {
      const value = params[field.name];
      if (value === undefined) throw new Error(`kernel ${kernel.name}: no value for "${field.name}"`);
      if (field.type === "f32") this.slotsF32[index++] = value;
      else if (field.type === "u32") this.slotsU32[index++] = value;
      else this.slotsI32[index++] = value;
    }
  }

  private pipeline(kernel: Kernel, overrides: Record<string, number> | undefined): Pipeline {
    let variants = this.pipelines.get(kernel);
    if (!variants) this.pipelines.set(kernel, variants = new Map());
    let key = "";
    if (overrides) { for (const name in overrides) key += `${name}=${overrides[name]},`; }
    let pipeline = variants.get(key);
    if (!pipeline) variants.set(key, pipeline = this.createPipeline(kernel, overrides));
    return pipeline;
  }

  private createPipeline(kernel: Kernel, overrides: Record<string, number> | undefined): Pipeline {
    for (const name in overrides) {
      if (!kernel.overrides.includes(name)) {
        throw new Error(`kernel ${kernel.name}: no constant "${name}" to override`);
      }
    }
    const parameterBytes = Math.ceil(kernel.fields.length / 4) * 16;
    const entries: GPUBindGroupLayoutEntry[] = kernel.bindings.map(({ binding, writable, window }) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: window > 0
        ? { type: "uniform", hasDynamicOffset: true, minBindingSize: window }
        : { type: writable ? "storage" : "read-only-storage" },
    }));
    if (parameterBytes > 0) {
      entries.unshift({
        binding: 0,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: "uniform", hasDynamicOffset: true, minBindingSize: kernel.fields.length * 4 },
      });
    }
    const layout = this.device.createBindGroupLayout({ entries, label: kernel.name });
    const pipeline = this.device.createComputePipeline({
      label: kernel.name,
      layout: this.device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: {
        module: this.device.createShaderModule({
          code: dialect(kernel.source, this.facts),
          label: kernel.name,
        }),
        entryPoint: "main",
        constants: overrides,
      },
    });
    return { id: this.counters.pipelines++, pipeline, layout, parameterBytes };
  }

  private bindGroup(kernel: Kernel, pipeline: Pipeline, bindings: Record<string, Tensor>): GPUBindGroup {
    let key = `${pipeline.id}`;
    for (const { name } of kernel.bindings) {
      const tensor = bindings[name];
      if (tensor === undefined) throw new Error(`kernel ${kernel.name}: no tensor for binding "${name}"`);
      key += `,${this.used(tensor).id}`;
    }
    let group = this.bindGroups.get(key);
    if (!group) {
      this.refuseSharing(kernel, bindings);
      const entries: GPUBindGroupEntry[] = kernel.bindings.map(({ name, binding, window }) => {
        const { buffer, offset, size } = bindings[name].allocation;
        return { binding, resource: window > 0 ? { buffer, size: window } : { buffer, offset, size } };
      });
      if (pipeline.parameterBytes > 0) {
        // First: Deno's wgpu takes dynamic offsets in the order of the entries, the standard in that of the bindings.
        entries.unshift({
          binding: 0,
          resource: { buffer: this.ring, offset: 0, size: pipeline.parameterBytes },
        });
      }
      group = this.device.createBindGroup({ layout: pipeline.layout, entries, label: kernel.name });
      this.bindGroups.set(key, group);
      this.counters.bindGroups++;
    }
    return group;
  }

  /** WebGPU forbids a dispatch to write a buffer that it also reads through another binding, but tells so late and without names. */
  private refuseSharing(kernel: Kernel, bindings: Record<string, Tensor>): void {
    for (const written of kernel.bindings) {
      if (!written.writable) continue;
      const target = bindings[written.name].allocation;
      for (const other of kernel.bindings) {
        const { buffer, offset, size } = bindings[other.name].allocation;
        if (other === written || buffer !== target.buffer) continue;
        const apart = offset >= target.offset + target.size || target.offset >= offset + size;
        if (other.writable && apart) continue;
        const why = `"${written.name}" is written and shares a buffer with "${other.name}" (${
          bindings[other.name].name
        })`;
        throw new GpuError("validation", this.opOf(kernel), why);
      }
    }
  }

  /** Drops cached bind groups that name dead allocations. */
  private forget(dead: Set<number>): void {
    for (const key of this.bindGroups.keys()) {
      if (key.split(",").slice(1).some((id) => dead.has(Number(id)))) this.bindGroups.delete(key);
    }
  }
}

function whole(tensor: Tensor): { tensor: Tensor; from: number; bytes: number } {
  return { tensor, from: 0, bytes: tensor.bytes };
}

/** Workgroups of 64 for one invocation per element, folded into two dimensions where one is too short. */
export function elementwise(size: number, perGroup = 64): [number, number] {
  const groups = Math.ceil(size / perGroup);
  const x = Math.min(groups, 32768);
  return [x, Math.ceil(groups / Math.max(1, x))];
}
