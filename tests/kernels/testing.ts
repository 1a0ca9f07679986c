/**
 * What kernel tests share. The device under test is Deno's own WebGPU unless PRECIS_TEST_GPU says `dawn`; the whole suite is
 * run on both.
 */
import { type GpuOptions, openGpu } from "../../headless/devices.ts";
import type { Gpu } from "../../kernels/gpu.ts";

export const testRuntime = (Deno.env.get("PRECIS_TEST_GPU") ?? "native") as "native" | "dawn";

let shared: Promise<Gpu> | null = null;

/** A test on the shared device; pooled tensors that it makes are freed after it, and faults of the device fail it. */
export function gpuTest(name: string, body: (gpu: Gpu) => Promise<void> | void): void {
  Deno.test({
    name,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const gpu = await (shared ??= openGpu(testRuntime));
      await body(gpu);
      await gpu.finish();
    },
  });
}

/** A device of one's own, for tests that need special limits or destroy it. */
export async function withGpu(options: GpuOptions, body: (gpu: Gpu) => Promise<void>): Promise<void> {
  const gpu = await openGpu(testRuntime, options);
  try {
    await body(gpu);
  } finally {
    gpu.destroy();
  }
}

/** Seeded numbers, roughly normal with standard deviation `scale` (a sum of four uniforms). */
export function normals(count: number, seed: number, scale = 1): Float32Array<ArrayBuffer> {
  const next = uniforms(seed);
  return Float32Array.from(
    { length: count },
    () => (next() + next() + next() + next() - 2) * Math.sqrt(3) * scale,
  );
}

/** Seeded uniform numbers in [0, 1) (mulberry32). */
export function uniforms(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Every element within `tolerance` of the expected one, relative to the larger of its own size and the expected array's
 * root mean square. NaN never passes.
 */
export function assertClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance = 1e-5,
  what = "values",
): void {
  if (actual.length !== expected.length) {
    throw new Error(`${what}: ${actual.length} numbers, expected ${expected.length}`);
  }
  let squares = 0;
  for (let i = 0; i < expected.length; i++) squares += expected[i] ** 2;
  const rms = Math.sqrt(squares / Math.max(1, expected.length));
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i] - expected[i]) / Math.max(Math.abs(expected[i]), rms, 1e-30);
    if (!(error <= tolerance)) {
      throw new Error(
        `${what}[${i}] is ${actual[i]}, expected ${expected[i]} (relative error ${error.toExponential(2)})`,
      );
    }
  }
}

/**
 * Central finite differences of a scalar function in f64, at a few seeded positions of `point`, against `gradient`.
 */
export function assertGradient(
  loss: (point: Float64Array) => number,
  point: ArrayLike<number>,
  gradient: ArrayLike<number>,
  { samples = 8, step = 1e-5, tolerance = 1e-4, seed = 7 } = {},
): void {
  const next = uniforms(seed);
  const at = Float64Array.from(point);
  const scale = Math.max(...Array.from(gradient, Math.abs));
  for (let n = 0; n < samples; n++) {
    const i = Math.floor(next() * at.length);
    const kept = at[i];
    at[i] = kept + step;
    const up = loss(at);
    at[i] = kept - step;
    const down = loss(at);
    at[i] = kept;
    const slope = (up - down) / (2 * step);
    if (!(Math.abs(slope - gradient[i]) <= tolerance * Math.max(scale, 1e-12))) {
      throw new Error(`gradient[${i}] is ${gradient[i]}, but the function's slope is ${slope}`);
    }
  }
}

/** A parameter for tests: persistent, with a gradient of zeros. */
export function parameter(gpu: Gpu, data: Float32Array<ArrayBuffer>, shape: number[], name = "parameter") {
  const tensor = gpu.persistent(shape, name);
  gpu.upload(tensor, data);
  tensor.requiresGrad = true;
  tensor.grad = gpu.persistent(shape, `${name}.grad`);
  return tensor;
}

/** NaNs of either sign and with any payload, infinities, both zeros, the smallest and the largest number, by their bits. */
const strange = [0x7fc00000, 0xffc00001, 0x7f800001, 0x7f800000, 0xff800000, 0, 0x80000000, 1, 0x807fffff];

/** Seeded normal numbers, every so-many-th replaced by one that is easily got wrong. */
export function strangeNumbers(count: number, seed: number, every: number): Float32Array<ArrayBuffer> {
  const x = normals(count, seed);
  const bits = new Uint32Array(x.buffer);
  for (let i = 0, n = 0; i < count; i += every, n++) bits[i] = strange[n % strange.length];
  return x;
}

/** Runs `body` with launchers choosing the forms for software adapters, or those for GPUs, whichever adapter this is. */
export async function asIf<T>(gpu: Gpu, software: boolean, body: () => Promise<T>): Promise<T> {
  const kept = gpu.facts.software;
  gpu.facts.software = software;
  try {
    return await body();
  } finally {
    gpu.facts.software = kept;
  }
}
