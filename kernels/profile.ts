/**
 * Time per kernel by timestamp queries. While a profile is set on a `Gpu`, every dispatch gets a compute pass of its own, which
 * costs some speed: read the shares, not the sum.
 */
import type { Gpu } from "./gpu.ts";

export interface KernelTime {
  kernel: string;
  calls: number;
  /** Microseconds on the device, over all calls. */
  microseconds: number;
}

const capacity = 4096; // queries in a set: WebGPU's maximum

export class Profile {
  private readonly querySet: GPUQuerySet;
  private readonly resolved: GPUBuffer;
  private labels: string[] = [];
  private readonly readings: Promise<void>[] = [];
  private readonly totals = new Map<string, KernelTime>();
  /** Microseconds of every dispatch, in order; holes where they have not come yet. */
  private readonly times: number[] = [];
  private encoded = 0;
  private pending: { staging: GPUBuffer; labels: string[]; first: number } | null = null;

  /** @throws if the device was opened without `timestamp-query` */
  constructor(private readonly gpu: Gpu) {
    if (!gpu.facts.timestamps) {
      throw new Error("this adapter has no timestamp queries: kernels cannot be timed one by one");
    }
    this.querySet = gpu.device.createQuerySet({ type: "timestamp", count: capacity });
    this.resolved = gpu.device.createBuffer({
      size: capacity * 8,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
  }

  /** How many dispatches have been given a query: the place in {@link each} of the next one. */
  get timed(): number {
    return this.encoded + this.labels.length;
  }

  next(gpu: Gpu, kernel: string, _path: string): GPUComputePassTimestampWrites {
    if (this.labels.length * 2 === capacity) gpu.submit();
    const index = this.labels.push(kernel) - 1;
    return {
      querySet: this.querySet,
      beginningOfPassWriteIndex: index * 2,
      endOfPassWriteIndex: index * 2 + 1,
    };
  }

  resolve(encoder: GPUCommandEncoder): void {
    if (this.labels.length === 0) return;
    const bytes = this.labels.length * 16;
    const staging = this.gpu.device.createBuffer({
      size: bytes,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    encoder.resolveQuerySet(this.querySet, 0, this.labels.length * 2, this.resolved, 0);
    encoder.copyBufferToBuffer(this.resolved, 0, staging, 0, bytes);
    this.pending = { staging, labels: this.labels, first: this.encoded };
    this.encoded += this.labels.length;
    this.labels = [];
  }

  submitted(): void {
    if (!this.pending) return;
    const { staging, labels, first } = this.pending;
    this.pending = null;
    const reading = staging.mapAsync(GPUMapMode.READ).then(() => {
      const times = new BigUint64Array(staging.getMappedRange());
      labels.forEach((kernel, i) => {
        const total = this.totals.get(kernel) ?? { kernel, calls: 0, microseconds: 0 };
        total.calls++;
        this.times[first + i] = Number(times[2 * i + 1] - times[2 * i]) / 1000;
        total.microseconds += this.times[first + i];
        this.totals.set(kernel, total);
      });
      staging.destroy();
    });
    // Of a lost device whoever asks for the times is told, if anybody does.
    reading.catch(() => {});
    this.readings.push(reading);
  }

  /** Kernels by time, slowest first. */
  async table(): Promise<KernelTime[]> {
    await this.each();
    return [...this.totals.values()].sort((a, b) => b.microseconds - a.microseconds);
  }

  /** Microseconds of every dispatch so far, in the order of encoding. */
  async each(): Promise<readonly number[]> {
    this.gpu.submit();
    await Promise.all(this.readings.splice(0));
    return this.times;
  }

  /** Frees what it has on the device. */
  destroy(): void {
    this.querySet.destroy();
    this.resolved.destroy();
  }
}
