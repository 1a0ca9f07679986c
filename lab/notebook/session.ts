/** What the host keeps for one open notebook: its handles by number and owner, its share of the device, and its way to models and data. */
import type { Gpu } from "../../kernels/gpu.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import type { Workbench } from "../workbench.ts";
import { type Grant, Meter } from "./grant.ts";
import { HeldTensor, type Operation } from "./held_tensor.ts";

/** What cells hold by a handle. */
export interface Held {
  /** Names the table of its methods in lab_object.ts, and the class that stands for it in lab.ts. */
  readonly kind: string;
  /** Bytes on the device. */
  readonly bytes: number;
  /** What the cell's end knows without asking. */
  facts(): Record<string, unknown>;
  free(): void;
}

export class Session {
  readonly meter: Meter;
  private readonly handles = new Map<number, { held: Held; cell: string }>();
  private readonly numbers = new Map<Held, number>();
  private next = 1;
  private gpu_: Gpu | null = null;

  constructor(readonly bench: Workbench, readonly seed: number, grant: Grant) {
    this.meter = new Meter(grant);
  }

  /** The device. @throws NeedRefused where the notebook may not use it, or has used its time */
  async gpu(): Promise<Gpu> {
    this.meter.requireGpu();
    return this.gpu_ = await this.bench.gpu();
  }

  /** The device, if the notebook has come to use it. */
  get deviceInUse(): Gpu | null {
    return this.gpu_;
  }

  /** The number of a handle, which `cell` owns from now on if it is new. */
  number(held: Held, cell: string): number {
    let number = this.numbers.get(held);
    if (number === undefined) {
      number = this.next++;
      this.numbers.set(held, number);
      this.handles.set(number, { held, cell });
      this.count();
    }
    return number;
  }

  /** @throws where there is no such handle, or it was freed */
  get(number: number): Held {
    const found = this.handles.get(number);
    if (found) return found.held;
    throw new Error("This is no longer there: it was freed, or the cell that made it has run again.");
  }

  free(held: Held): void {
    const number = this.numbers.get(held);
    if (number === undefined) return;
    this.numbers.delete(held);
    this.handles.delete(number);
    held.free();
    this.count();
  }

  /** Frees what a cell made, as it runs again. */
  freeCell(cell: string): void {
    for (const { held, cell: owner } of [...this.handles.values()]) if (owner === cell) this.free(held);
  }

  freeAll(): void {
    for (const { held } of [...this.handles.values()]) this.free(held);
  }

  /** Handles and the bytes they hold, by owner: what a panel of memory shows. */
  memory(): { cell: string; kind: string; name: string; bytes: number }[] {
    return Array.from(this.handles.values(), ({ held, cell }) => ({
      cell,
      kind: held.kind,
      name: String(held.facts().name ?? held.kind),
      bytes: held.bytes,
    }));
  }

  /** Computes new tensors from others, remembering how. Results belong to the handles that are made of them. */
  async compute(operation: Operation): Promise<HeldTensor[]> {
    const gpu = await this.gpu();
    for (const input of operation.inputs) input.requireAlive();
    const tensors = gpu.scope(() => operation.run(gpu, operation.inputs.map((input) => input.onDevice())));
    return tensors.map((tensor, result) =>
      this.hold(gpu, tensor, operation.results?.[result] ?? operation.name, { by: operation, result })
    );
  }

  /** A handle on a tensor that nobody else owns. */
  hold(gpu: Gpu, tensor: Tensor, name: string, made: HeldTensor["made"] = null): HeldTensor {
    try {
      this.meter.requireBytes(tensor.bytes, name);
    } catch (error) {
      gpu.release(tensor);
      throw error;
    }
    return new HeldTensor(gpu, { tensor }, name, tensor.shape, tensor.dtype, made);
  }

  private count(): void {
    let bytes = 0;
    for (const { held } of this.handles.values()) bytes += held.bytes;
    this.meter.deviceBytes = bytes;
  }
}
