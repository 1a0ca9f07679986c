/**
 * Numbers between files and the device in bounded pieces: neither loading nor saving ever has a whole model, or a whole tensor, in host
 * memory. While one piece is carried to the device, the next is read.
 */
import type { Gpu } from "../kernels/gpu.ts";
import type { Tensor } from "../kernels/tensor.ts";
import { noStray, type StoredNumbers, widen } from "../kernels/widen.ts";
import { DamagedFileError } from "./bytes.ts";

/** Tensors in files, by name. */
export interface NumberSource {
  /** The file that holds a tensor, for messages. */
  path(name: string): string;
  /** Elements `from` (included) to `to` (excluded), row-major. */
  read(name: string, from: number, to: number): Promise<StoredNumbers>;
}

/** Consecutive numbers of a stored tensor, from element `from` on, and where they go: `tensor`, from element `to` on. */
export interface Stretch {
  name: string;
  from: number;
  size: number;
  tensor: Tensor;
  to: number;
}

/** A number that is NaN or an infinity, the first of a stretch. */
export interface Stray {
  /** Of the stored tensor, and the element's place in it. */
  name: string;
  element: number;
  /** Tells of it, as a refusal. */
  error: DamagedFileError;
}

/** Numbers in one piece: 16 MiB of f32. */
const pieceSize = 4 << 20;

/** Pieces that are being read while one is carried to the device. */
const readAhead = 2;

/** Bytes that may be on their way to the device before it is waited for; twice as many are in memory at most. */
const flightBytes = 32 << 20;

/**
 * Fills tensors with stored numbers, widened to f32 on the device.
 * @param onStray is told of each stretch that has numbers that are NaN or infinite, once all are on the device as they are; by default that
 * is an error
 * @throws DamagedFileError of the first such number, unless it is heard of otherwise; the tensors then hold whatever was read until the end
 */
export async function fillTensors(
  gpu: Gpu,
  source: NumberSource,
  stretches: readonly Stretch[],
  onStray: (stray: Stray) => void = ({ error }) => {
    throw error;
  },
): Promise<void> {
  const pieces = stretches.flatMap((stretch, slot) =>
    Array.from({ length: Math.ceil(stretch.size / pieceSize) }, (_, n) => {
      const done = n * pieceSize;
      const from = stretch.from + done, size = Math.min(pieceSize, stretch.size - done);
      return { ...stretch, slot, from, size, to: stretch.to + done };
    })
  );
  const first = gpu.persistent([Math.max(1, stretches.length)], "first stray numbers", "u32");
  gpu.upload(first, new Uint32Array(first.size).fill(noStray));
  const read = (piece: typeof pieces[number] | undefined) => {
    const bytes = piece && source.read(piece.name, piece.from, piece.from + piece.size);
    bytes?.catch(() => {}); // Told when it is awaited, if it comes to that.
    return bytes;
  };
  try {
    const ahead = pieces.slice(0, readAhead).map(read);
    let landed = Promise.resolve(), bytes = 0;
    for (const [i, { tensor, to, from, slot }] of pieces.entries()) {
      const numbers = (await ahead.shift())!;
      ahead.push(read(pieces[i + readAhead]));
      widen(gpu, numbers, { target: tensor, to }, { first, slot, at: from });
      bytes += numbers.bytes.length;
      if (bytes < flightBytes) continue;
      await landed;
      landed = gpu.finish();
      landed.catch(() => {});
      bytes = 0;
    }
    const [strays] = await gpu.readU32(first);
    for (const [slot, { name }] of stretches.entries()) {
      const element = strays[slot];
      if (element !== noStray) onStray({ name, element, error: await strayNumber(source, name, element) });
    }
  } finally {
    gpu.drop(first);
  }
}

async function strayNumber(source: NumberSource, name: string, element: number): Promise<DamagedFileError> {
  const { format, bytes } = await source.read(name, element, element + 1);
  const bits = bytes.reduce((word, byte, i) => word | byte << 8 * i, 0);
  const mantissa = { bf16: 0x7f, f16: 0x3ff, f32: 0x7fffff }[format];
  const infinity = bits >>> (8 * bytes.length - 1) ? "-Infinity" : "Infinity";
  const value = bits & mantissa ? "NaN" : infinity;
  return new DamagedFileError(
    `${
      source.path(name)
    }: tensor "${name}" holds ${value} at element ${element}; these weights cannot be used.`,
  );
}

/** A tensor's numbers from element `from` on, piece by piece. */
export async function* readPieces(
  gpu: Gpu,
  tensor: Tensor,
  from = 0,
  size = tensor.size,
): AsyncGenerator<Float32Array<ArrayBuffer>> {
  for (let done = 0; done < size; done += pieceSize) {
    yield await gpu.readPart(tensor, from + done, Math.min(pieceSize, size - done));
  }
}
