/**
 * The measured choice: which variant of the matrix product is fastest for the shapes at hand, on this adapter. Choices live in `gpu.choices` and go to
 * and from JSON, so that a later run on the same adapter takes the same kernels and gets the same bits.
 *
 * On software adapters nothing is tried unless asked for: the usual variants there are known, and a trial among busy cores could fall out
 * differently every time.
 */
import { gemm, matmulUsual, type Shape, shapeClass } from "./matmul.ts";
import { variants } from "./matmul_variants.ts";
import type { Gpu } from "./gpu.ts";

export interface Trial {
  /** As in `gpu.choices`: the form and each extent to the next power of two. */
  shapeClass: string;
  variant: string;
  gflops: number;
  chosen: boolean;
}

export interface ChoiceOptions {
  /** `f16` lets matrix units with f16 operands compete; everything else is f32. */
  precision?: "f32" | "f16";
  /** Tries on software adapters too. */
  always?: boolean;
  /** Milliseconds that one timing should take at least; the wait for a result costs ten in Deno. */
  budget?: number;
}

/**
 * Times the variants that can do each shape and notes the fastest in `gpu.choices`. Classes that have a choice already are left alone.
 * @returns the trials, one per class and variant; none on a software adapter
 * @throws if `f16` is asked for and the device shows no matrix units that can do it
 */
export async function chooseMatmul(
  gpu: Gpu,
  shapes: readonly Shape[],
  { precision = "f32", always = false, budget = 40 }: ChoiceOptions = {},
): Promise<Trial[]> {
  const reason = precision === "f16" && variants.matrix.lacks(gpu);
  if (reason) throw new Error(`f16 products: ${reason}`);
  if (gpu.facts.software && !always) {
    if (precision === "f16") gpu.choices.set("matmul", "matrix");
    return [];
  }
  const trials: Trial[] = [];
  for (const shape of shapes) {
    const name = shapeClass(shape.form, shape.M, shape.N, shape.K);
    if (gpu.choices.has(name)) continue;
    const { M, N, K } = shape;
    const a = gpu.hold([M * K], "matmul trial a"), b = gpu.hold([N * K], "matmul trial b");
    const out = gpu.hold([M, N], "matmul trial out");
    gpu.clear(a);
    gpu.clear(b);
    const layout = { M, N, K, ...dense(shape), aOffset: 0, bOffset: 0, outOffset: 0 };
    const job = { form: shape.form, a, b, out, accumulate: 0, alpha: 1, ...layout } as const;
    const candidates = [...matmulUsual(gpu.facts), ...precision === "f16" ? ["matrix"] : []];
    const found: Trial[] = [];
    for (const variant of candidates.filter((name) => variants[name].refuses(gpu, job) === null)) {
      const milliseconds = await time(
        gpu,
        () => gemm(gpu, shape.form, a, b, out, { M, N, K, variant }),
        budget,
      );
      found.push({ shapeClass: name, variant, gflops: 2 * M * N * K / milliseconds / 1e6, chosen: false });
    }
    for (const tensor of [a, b, out]) gpu.release(tensor);
    const best = found.reduce((best, trial) => trial.gflops > best.gflops ? trial : best);
    best.chosen = true;
    gpu.choices.set(name, best.variant);
    trials.push(...found);
  }
  gpu.trim();
  return trials;
}

function dense({ form, M, N, K }: Shape): { aStride: number; bStride: number; outStride: number } {
  return { aStride: form === "TN" ? M : K, bStride: form === "NT" ? K : N, outStride: N };
}

/** Milliseconds a call: the best of three runs of at least `budget` each. */
async function time(gpu: Gpu, call: () => void, budget: number): Promise<number> {
  const run = async (calls: number) => {
    const start = performance.now();
    for (let i = 0; i < calls; i++) call();
    await gpu.finish();
    return performance.now() - start;
  };
  await run(1); // compiles
  let calls = 1;
  while (await run(calls) < budget && calls < 4096) calls *= 2;
  return Math.min(await run(calls), await run(calls), await run(calls)) / calls;
}

/** The choices of a device as JSON, with the adapter that they hold for. */
export function exportChoices(gpu: Gpu): string {
  const { adapter, driver, runtime } = gpu.facts;
  const choices = Object.fromEntries([...gpu.choices].sort(([a], [b]) => a < b ? -1 : 1));
  return JSON.stringify({ adapter, driver, runtime, choices }, null, 2) + "\n";
}

/**
 * Takes up choices that {@link exportChoices} wrote.
 * @returns whether they hold for this device; if not (another adapter, driver or runtime), nothing is taken
 * @throws if the text is not such choices, or names a variant that there is not
 */
export function importChoices(gpu: Gpu, text: string): boolean {
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch {
    throw new Error("kernel choices: not JSON");
  }
  const { adapter, driver, runtime, choices } = (read ?? {}) as Record<string, unknown>;
  if (typeof choices !== "object" || choices === null || Array.isArray(choices)) {
    throw new Error('kernel choices: no object "choices"');
  }
  for (const [name, variant] of Object.entries(choices)) {
    if (/^matmul\b/.test(name) && !Object.hasOwn(variants, String(variant))) {
      throw new Error(`kernel choices: "${name}" asks for "${variant}", which is no variant of the product`);
    }
    if (typeof variant !== "string") throw new Error(`kernel choices: "${name}" is no name`);
  }
  const { facts } = gpu;
  if (adapter !== facts.adapter || driver !== facts.driver || runtime !== facts.runtime) return false;
  for (const [name, variant] of Object.entries(choices)) gpu.choices.set(name, variant as string);
  return true;
}

/** Trials as lines of a table, the chosen marked. */
export function formatTrials(trials: readonly Trial[]): string {
  const width = Math.max(0, ...trials.map(({ shapeClass }) => shapeClass.length));
  return trials.map(({ shapeClass, variant, gflops, chosen }) =>
    `${shapeClass.padEnd(width)}  ${variant.padEnd(8)} ${gflops.toFixed(1).padStart(10)} GFLOP/s${
      chosen ? "  <" : ""
    }`
  ).join("\n");
}
