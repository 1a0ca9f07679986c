/** Tensors that cells hold by a handle: their numbers on the device, how they were computed, and what may be asked of them. */
import type { Gpu } from "../../kernels/gpu.ts";
import type { DType, Tensor } from "../../kernels/tensor.ts";
import { startSha256 } from "../bytes.ts";
import type { TensorView } from "./display.ts";
import type { Sketch } from "./records.ts";
import { samplePositions } from "./sketch.ts";

/** The operation that made a tensor, so that it can be done again on a tape. */
export interface Operation {
  name: string;
  /** Names of its results where it has several. */
  results?: readonly string[];
  inputs: readonly HeldTensor[];
  /** Encodes it; called once for the values, and once more within each differentiation. */
  run: (gpu: Gpu, inputs: Tensor[]) => Tensor[];
}

/** Where a tensor's numbers come from. */
export type Source =
  /** On the device, the handle's own. */
  | { tensor: Tensor }
  /** Of an open model: read, or copied to where operations want them, when they are asked for. */
  | { read: (from: number, to: number) => Promise<Float32Array>; copy: (gpu: Gpu) => Tensor };

/** Elements read at once. */
const piece = 4 << 20;

/** Numbers that one call returns at most. */
export const mostValues = 16 << 20;

/** What is to be known of a tensor's numbers at a glance; of those that are finite, but for the counts. */
export interface TensorStatistics {
  count: number;
  nan: number;
  infinite: number;
  zeros: number;
  min: number;
  max: number;
  mean: number;
  /** Root of the mean square. */
  rms: number;
  absmax: number;
}

export class HeldTensor {
  readonly kind = "Tensor";
  readonly size: number;
  /** Bytes on the device. */
  bytes: number;
  private freed = false;

  constructor(
    private readonly gpu: Gpu,
    private source: Source,
    readonly name: string,
    readonly shape: readonly number[],
    readonly dtype: DType = "f32",
    /** What computed it, and as which of its results; null for tensors that were given. */
    readonly made: { by: Operation; result: number } | null = null,
    /** Of a model's weight: the place that the model can be opened from anew. */
    readonly place: string | null = null,
  ) {
    this.size = shape.reduce((product, extent) => product * extent, 1);
    this.bytes = "tensor" in source ? source.tensor.bytes : 0;
  }

  facts(): Record<string, unknown> {
    const { name, shape, dtype, size, place } = this;
    return { name, shape: [...shape], dtype, size, ...(place !== null && { place }) };
  }

  /** @throws if it is freed */
  requireAlive(): void {
    if (!this.freed) return;
    throw new Error(
      `The tensor ${this.name} is no longer there: it was freed, or the cell that made it has run again.`,
    );
  }

  /** Its numbers on the device, copied there if need be. */
  onDevice(): Tensor {
    this.requireAlive();
    if (!("tensor" in this.source)) {
      this.source = { tensor: this.source.copy(this.gpu) };
      this.bytes = this.source.tensor.bytes;
    }
    return this.source.tensor;
  }

  free(): void {
    if (this.freed) return;
    this.freed = true;
    if ("tensor" in this.source) this.gpu.release(this.source.tensor);
    this.bytes = 0;
  }

  /** Elements `from` to `to`, row-major. */
  async values(from = 0, to = this.size): Promise<Float32Array | Uint32Array> {
    this.requireAlive();
    if (!(Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from <= to && to <= this.size)) {
      throw new RangeError(`${this.name} has ${this.size} elements; ${from} to ${to} are not among them.`);
    }
    if (to - from > mostValues) {
      throw new RangeError(
        `${this.name} has ${this.size} elements, more than one call returns (${mostValues}); read a part: values(from, to).`,
      );
    }
    if (to === from) return this.dtype === "u32" ? new Uint32Array() : new Float32Array();
    if (!("tensor" in this.source)) return await this.source.read(from, to);
    const values = await this.gpu.readPart(this.source.tensor, from, to - from);
    return this.dtype === "u32" ? new Uint32Array(values.buffer) : values;
  }

  /** The element at these indices, one for each extent. */
  async at(indices: readonly number[]): Promise<number> {
    const within = indices.length === this.shape.length &&
      indices.every((index, axis) => Number.isInteger(index) && index >= 0 && index < this.shape[axis]);
    if (!within) {
      throw new RangeError(`${this.name} is [${this.shape}]; there is no element [${indices}] in it.`);
    }
    const place = indices.reduce((sum, index, axis) => sum * this.shape[axis] + index, 0);
    return (await this.values(place, place + 1))[0];
  }

  /** Its numbers in pieces. */
  async *pieces(): AsyncGenerator<Float32Array | Uint32Array> {
    for (let from = 0; from < this.size; from += piece) {
      yield await this.values(from, Math.min(this.size, from + piece));
    }
  }

  /** Summed in f64, in order, on the host: the same on every device for the same numbers. */
  async statistics(): Promise<TensorStatistics> {
    let nan = 0, infinite = 0, zeros = 0, min = Infinity, max = -Infinity, sum = 0, squares = 0;
    for await (const values of this.pieces()) {
      for (const value of values) {
        if (Number.isNaN(value)) nan++;
        else if (!Number.isFinite(value)) infinite++;
        else {
          if (value === 0) zeros++;
          if (value < min) min = value;
          if (value > max) max = value;
          sum += value;
          squares += value * value;
        }
      }
    }
    const finite = this.size - nan - infinite;
    const share = (total: number) => finite > 0 ? total / finite : NaN;
    return {
      count: this.size,
      nan,
      infinite,
      zeros,
      min: finite > 0 ? min : NaN,
      max: finite > 0 ? max : NaN,
      mean: share(sum),
      rms: Math.sqrt(share(squares)),
      absmax: finite > 0 ? Math.max(Math.abs(min), Math.abs(max)) : NaN,
    };
  }

  /**
   * The tensor as a matrix, its last extent across, in at most `most` × `most` cells: of each cell the value of the largest magnitude, NaN
   * where one is not finite.
   */
  async view(most = 96): Promise<Omit<TensorView, "stats" | "digest">> {
    const columns = this.shape.at(-1) ?? 1, rows = this.size / columns;
    const width = Math.min(columns, most), height = Math.min(rows, most);
    const extreme = new Float32Array(width * height);
    let at = 0;
    for await (const values of this.pieces()) {
      for (const value of values) {
        const row = Math.floor(at / columns), column = at - row * columns;
        const cell = Math.floor(row * height / rows) * width + Math.floor(column * width / columns);
        if (!Number.isFinite(value)) extreme[cell] = NaN;
        else if (Math.abs(value) > Math.abs(extreme[cell])) extreme[cell] = value;
        at++;
      }
    }
    return { rows, columns, width, height, extreme };
  }

  /**
   * A sketch to compare it by (sketch.ts), computed piece by piece where it is too large to be held as a whole.
   * @param seed where it samples
   */
  async sketch(seed: number): Promise<Sketch> {
    const { nan, infinite, mean, rms, absmax } = await this.statistics();
    const samples: Sketch["samples"] = [];
    for (const position of samplePositions(this.size, seed)) {
      const [value] = await this.values(position, position + 1);
      samples.push(Number.isFinite(value) ? value + 0 : String(value) as "NaN");
    }
    const finite = this.size > nan + infinite;
    return {
      shape: [...this.shape],
      nonFinite: nan + infinite,
      mean: finite ? mean : 0,
      rms: finite ? rms : 0,
      absMax: finite ? absmax : 0,
      seed,
      samples,
    };
  }

  /** SHA-256 of its bytes, little-endian, in hexadecimal. */
  async digest(): Promise<string> {
    const digest = startSha256();
    for await (const values of this.pieces()) {
      digest.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    }
    return digest.finish();
  }
}
