/**
 * Where tensors live. Two kinds of memory, and nothing else on the device:
 *
 * - *persistent*: weights, gradients, optimiser states, caches; one buffer each, named, freed by hand;
 * - *pooled*: activations and scratch, drawn from free lists by size class. A step that repeats a previous step's sizes
 *   draws the very same buffers in the same order, so its bind groups are found in the cache and nothing is created. Steps of
 *   nearly the same sizes share buffers: a larger one that is free goes before a new one.
 *
 * Reuse inside one submission is safe because WebGPU orders the dispatches of a pass.
 */

/** A range of a GPU buffer that can be bound. `id` is unique to the range and is what bind groups are cached by. */
export interface Allocation {
  readonly id: number;
  readonly buffer: GPUBuffer;
  /** Bytes; a multiple of 256. */
  readonly offset: number;
  /** Bytes that are bound; a multiple of 4. */
  readonly size: number;
  /** The submission in which a dispatch last used the range; an upload must not overtake it. */
  lastUse: number;
  /** `null` for persistent memory, else the number of owners; at 0 the range returns to the pool. */
  owners: number | null;
  /** Of pooled memory: the size class that was asked for. */
  wanted?: number;
  /** The allocation whose buffer this is a range of, when it is a view. */
  readonly parent?: Allocation;
}

/** One row of the memory plan. */
export interface PlanRow {
  name: string;
  bytes: number;
  lifetime: "persistent" | "pooled";
  count: number;
}

/** Something is larger than the adapter can bind or allocate in one piece. */
export class TooLargeError extends Error {
  override name = "TooLargeError";
}

/** Size classes above the one wanted in which a free buffer is taken before one is created: at most twice the bytes. */
const classesAbove = 4;

const poolUsage = 0x0080 | 0x0040 | 0x0004 | 0x0008; // STORAGE | UNIFORM | COPY_SRC | COPY_DST

export class Memory {
  private readonly free = new Map<number, Allocation[]>();
  private readonly classes = new Map<number, number>();
  private readonly persistent = new Map<Allocation, string>();
  /** Every buffer that has not been destroyed. */
  private readonly alive = new Set<GPUBuffer>();
  private nextId = 1;
  private pooledBytes = 0;
  private pooledInUse = 0;
  private persistentBytes = 0;
  /** Bytes on the device at their highest: persistent, and pooled whether in use or free. */
  peakBytes = 0;
  /** Pooled bytes in use, as they were asked for, at their highest since {@link resetPeak}. */
  peakPooledInUse = 0;
  buffersCreated = 0;

  constructor(
    private readonly device: GPUDevice,
    /** `smallest` bytes are in every buffer, so that a window of that size fits anywhere. */
    private readonly limits: { binding: number; buffer: number; smallest: number },
  ) {}

  /**
   * Draws at least `bytes` from the pool.
   * @param unusedIn a submission in which the range must not have been used: that of the commands being encoded, for ranges that
   * are about to be uploaded to, since an upload runs before them
   * @throws if no single binding can hold them
   */
  draw(bytes: number, name: string, unusedIn = -1): Allocation {
    const size = sizeClass(Math.max(bytes, this.limits.smallest));
    if (bytes > this.limits.binding || size > this.limits.buffer) {
      throw new TooLargeError(
        `${name} needs ${mebibytes(bytes)} in one binding, but this adapter allows ${
          mebibytes(Math.min(this.limits.binding, this.limits.buffer))
        }: ` +
          `make the micro-batch smaller`,
      );
    }
    this.pooledInUse += size;
    this.peakPooledInUse = Math.max(this.peakPooledInUse, this.pooledInUse);
    for (let held = size, above = 0; above <= classesAbove; held = sizeClass(held + 1), above++) {
      const list = this.free.get(held);
      const index = list?.findLastIndex(({ lastUse }) => lastUse !== unusedIn || lastUse < 0) ?? -1;
      if (index < 0) continue;
      const [found] = list!.splice(index, 1);
      found.owners = 1;
      found.wanted = size;
      return found;
    }
    const buffer = this.create(size, `pool ${size}`);
    this.classes.set(size, (this.classes.get(size) ?? 0) + 1);
    this.pooledBytes += size;
    this.notePeak();
    const bound = Math.min(size, this.limits.binding);
    return { id: this.nextId++, buffer, offset: 0, size: bound, lastUse: -1, owners: 1, wanted: size };
  }

  /** A named buffer of its own, outside the pool. The contents start as zeros. */
  keep(bytes: number, name: string): Allocation {
    const size = Math.max(this.limits.smallest, Math.ceil(bytes / 256) * 256);
    if (size > this.limits.buffer) {
      throw new TooLargeError(
        `${name} needs a buffer of ${mebibytes(size)}, but this adapter allows ${
          mebibytes(this.limits.buffer)
        }`,
      );
    }
    const buffer = this.create(size, name);
    const bound = Math.min(size, this.limits.binding);
    const allocation: Allocation = {
      id: this.nextId++,
      buffer,
      offset: 0,
      size: bound,
      lastUse: -1,
      owners: null,
    };
    this.persistent.set(allocation, name);
    this.persistentBytes += size;
    this.notePeak();
    return allocation;
  }

  /** A range of a persistent allocation. `offset` counts bytes and must be a multiple of 256. */
  view(parent: Allocation, offset: number, bytes: number): Allocation {
    if (offset % 256 !== 0) throw new Error(`a view must start at a multiple of 256 bytes, not at ${offset}`);
    const size = Math.ceil(bytes / 4) * 4;
    return {
      id: this.nextId++,
      buffer: parent.buffer,
      offset: parent.offset + offset,
      size,
      lastUse: -1,
      owners: null,
      parent,
    };
  }

  retain(allocation: Allocation): void {
    if (allocation.owners !== null) allocation.owners++;
  }

  release(allocation: Allocation): void {
    if (allocation.owners === null) return;
    if (allocation.owners === 0) throw new Error(`allocation ${allocation.id} was released twice`);
    if (--allocation.owners > 0) return;
    this.pooledInUse -= allocation.wanted!;
    const list = this.free.get(allocation.buffer.size);
    if (!list) this.free.set(allocation.buffer.size, [allocation]);
    else insertDescending(list, allocation);
  }

  /** Destroys a persistent buffer. */
  drop(allocation: Allocation): void {
    if (!this.persistent.delete(allocation)) return;
    this.persistentBytes -= allocation.buffer.size;
    this.end(allocation.buffer);
  }

  /** Destroys every buffer, in use or not: a device that is destroyed or lost leaves their memory allocated. */
  destroy(): void {
    for (const buffer of this.alive) buffer.destroy();
    this.alive.clear();
  }

  /** Destroys every pooled buffer that is not in use; for the seams between stages. Returns the ids that died. */
  trim(): Set<number> {
    const dead = new Set<number>();
    for (const [size, list] of this.free) {
      for (const allocation of list) {
        dead.add(allocation.id);
        this.end(allocation.buffer);
        this.pooledBytes -= size;
        this.classes.set(size, this.classes.get(size)! - 1);
      }
    }
    this.free.clear();
    return dead;
  }

  resetPeak(): void {
    this.peakPooledInUse = this.pooledInUse;
    this.peakBytes = this.persistentBytes + this.pooledBytes;
  }

  /** Bytes on the device now. */
  get bytes(): number {
    return this.persistentBytes + this.pooledBytes;
  }

  get pooledBytesInUse(): number {
    return this.pooledInUse;
  }

  /** Every named buffer, largest first, then the pool by size class. */
  plan(): PlanRow[] {
    const named = [...this.persistent].map(([allocation, name]): PlanRow => ({
      name,
      bytes: allocation.buffer.size,
      lifetime: "persistent",
      count: 1,
    })).sort((a, b) => b.bytes - a.bytes);
    const pooled = [...this.classes].filter(([, count]) => count > 0).sort(([a], [b]) => b - a).map((
      [size, count],
    ): PlanRow => ({ name: `pool of ${mebibytes(size)}`, bytes: size * count, lifetime: "pooled", count }));
    return [...named, ...pooled];
  }

  private create(size: number, label: string): GPUBuffer {
    this.buffersCreated++;
    const buffer = this.device.createBuffer({ size, usage: poolUsage, label });
    this.alive.add(buffer);
    return buffer;
  }

  private end(buffer: GPUBuffer): void {
    this.alive.delete(buffer);
    buffer.destroy();
  }

  private notePeak(): void {
    this.peakBytes = Math.max(this.peakBytes, this.persistentBytes + this.pooledBytes);
  }
}

/**
 * Keeps a free list sorted, lowest id last: a draw then depends only on which buffers are free and not on the order in which they were
 * freed, so that equal steps draw equal buffers for ever.
 */
function insertDescending(list: Allocation[], allocation: Allocation): void {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle].id > allocation.id) low = middle + 1;
    else high = middle;
  }
  list.splice(low, 0, allocation);
}

/** Rounds up to a quarter of a power of two, so that at most a fifth of a buffer is slack and near sizes share a class. */
export function sizeClass(bytes: number): number {
  if (bytes <= 1024) return Math.max(256, Math.ceil(bytes / 256) * 256);
  const quarter = 2 ** (Math.floor(Math.log2(bytes - 1)) - 2);
  return Math.ceil(bytes / quarter) * quarter;
}

export function mebibytes(bytes: number): string {
  return bytes < 1 << 20 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`;
}
