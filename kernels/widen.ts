/** Numbers as files hold them (bf16, f16, f32) become f32 on the device: half the bytes to carry there, and no loop on the host. */
import source from "./widen.wgsl" with { type: "text" };
import { elementwise, type Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import type { Tensor } from "./tensor.ts";

const widenKernel = kernel("widen", source);

export type StoredFormat = "bf16" | "f16" | "f32";

/** Numbers as a file holds them, little-endian. */
export interface StoredNumbers {
  format: StoredFormat;
  bytes: Uint8Array<ArrayBuffer>;
}

/** Bytes of one number. */
export const storedBytes: Record<StoredFormat, number> = { bf16: 2, f16: 2, f32: 4 };

const formats: Record<StoredFormat, number> = { bf16: 0, f16: 1, f32: 2 };

/** What {@link widen} leaves in a slot while every number has been finite. */
export const noStray = 0xffffffff;

/**
 * Uploads numbers and widens them: target[to + i] = number i, exactly.
 * @param first u32 [slots], which started as {@link noStray}: `slot` becomes the least `at` + i where number i is not finite
 */
export function widen(
  gpu: Gpu,
  { format, bytes }: StoredNumbers,
  { target, to }: { target: Tensor; to: number },
  { first, slot, at }: { first: Tensor; slot: number; at: number },
): void {
  const size = bytes.length / storedBytes[format];
  const whole = Math.ceil(bytes.length / 16) * 4;
  gpu.scope(() => {
    const aligned = bytes.length % 16 === 0 && bytes.byteOffset % 4 === 0;
    const copy = aligned ? bytes : new Uint8Array(4 * whole);
    if (!aligned) copy.set(bytes);
    const words = gpu.from(new Uint32Array(copy.buffer, copy.byteOffset, whole), [whole], "stored numbers");
    gpu.run(
      widenKernel,
      { words, target_bits: target, first },
      { size, to, at, slot },
      elementwise(Math.ceil(whole / 4)),
      { format: formats[format] },
    );
  });
}

/** The same in f64 on the host, from one number's bits. */
export function widenReference(format: StoredFormat, bits: number): number {
  if (format === "f32") return new Float32Array(Uint32Array.of(bits).buffer)[0];
  const [exponentBits, mantissaBits] = format === "bf16" ? [8, 7] : [5, 10];
  const sign = bits >>> 15 ? -1 : 1;
  const exponent = (bits >>> mantissaBits) & (2 ** exponentBits - 1),
    mantissa = bits & (2 ** mantissaBits - 1);
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return mantissa ? NaN : sign * Infinity;
  const fraction = mantissa / 2 ** mantissaBits;
  return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias));
}
