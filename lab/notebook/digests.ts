/**
 * What a value was, kept as a proof, and whether a later one is the same: exactly (tier A), exactly on the same stack of adapter,
 * implementation and kernels (B), or within a tolerance (C). WGSL lets implementations round, fuse and reorder, so that exactness across
 * them cannot be asked of floats.
 *
 *     recordValue(name: string, tier: Tier, value: unknown, options?: RecordOptions): Promise<ValueRecord>
 *     recordGreedy(name: string, ids: number[], margins: ArrayLike<number>, tolerance: Tolerance): Promise<ValueRecord>
 *     compareValues(stored: ValueRecord, found: ValueRecord): Verdict
 *     thinMargin(record: ValueRecord): string | undefined
 *     digestOf(value: unknown): Promise<string>;  stackDigest(stack: Stack): Promise<string>
 */
import { digestOfJson, sha256Of } from "../bytes.ts";
import type { Sketch, Tier, Tolerance, ValueRecord } from "./records.ts";
import { compareSketches, type Gap, sketchOf } from "./sketch.ts";

/** A tensor whose elements are at hand. */
export interface TensorData {
  shape: readonly number[];
  data:
    | Float32Array
    | Int32Array
    | Uint32Array
    | Float64Array
    | Uint8Array
    | Uint16Array
    | Int8Array
    | Int16Array;
}

/** What a float depends on beside its inputs. */
export interface Stack {
  /** The device, as it names itself. */
  adapter: string;
  /** What runs WGSL on it, with its version: "wgpu 25", "Dawn (Chromium 156)". */
  implementation: string;
  /** Of all kernels' sources and variants. */
  kernels: string;
}

/** Whether a value is what it was, and how that is known. */
export type Verdict =
  | { verdict: "verified"; exact: true }
  | { verdict: "verified"; exact: false; gap?: Gap }
  | { verdict: "differs"; why: string; gap?: Gap }
  | { verdict: "unproven"; why: string };

/** Tier C where nothing else is said: what one reordered sum of thousands of 32-bit floats is off by. */
export const defaultTolerance: Tolerance = { absolute: 1e-6, relative: 1e-4 };

/**
 * What logits may be off by between adapters after one pass, in their unit: twenty times the most that Chromium's and Deno's software
 * adapters were found apart by on the demo's base model (5e-6 over the 630 likeliest of a text).
 */
export const logitTolerance: Tolerance = { absolute: 1e-4, relative: 0 };

/** Ids that a proof holds themselves, at most; of longer texts it keeps the smallest margin alone. */
const mostIds = 1024;

export function stackDigest({ adapter, implementation, kernels }: Stack): Promise<string> {
  return digestOfJson({ adapter, implementation, kernels });
}

/**
 * SHA-256 in hexadecimal: of a tensor's type, shape and bytes, of bytes, or of canonical JSON.
 * @throws TypeError where the value is none of these
 */
export async function digestOf(value: unknown): Promise<string> {
  const tensor = tensorOf(value);
  if (!tensor) return await digestOfJson(value);
  const { data, shape } = tensor;
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  // Of the digests of head and body: no copy of the body is made.
  const body = await sha256Of(bytes as Uint8Array<ArrayBuffer>);
  return await digestOfJson({ type: data.constructor.name, shape, body });
}

function tensorOf(value: unknown): TensorData | undefined {
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
    const data = value as TensorData["data"];
    return { shape: [data.length], data };
  }
  const { shape, data } = (value ?? {}) as Partial<TensorData>;
  if (Array.isArray(shape) && ArrayBuffer.isView(data) && !(data instanceof DataView)) return { shape, data };
}

export interface RecordOptions {
  /** Tier B: of the stack that computed it. */
  stack?: string;
  /** Tier C; `defaultTolerance` where absent. */
  tolerance?: Tolerance;
  /** Where a sketch samples; 32 bits. */
  seed?: number;
  /** Tier C, where the tensor stays on the GPU and was sketched there. The digest is then the sketch's. */
  sketch?: Sketch;
}

/**
 * The proof of a value.
 * @param value a tensor { shape, data }, a typed array, or JSON; with `options.sketch` it does not matter
 * @throws TypeError where the tier asks for what is not there: a stack (B), a tensor or its sketch (C)
 */
export async function recordValue(
  name: string,
  tier: Tier,
  value: unknown,
  { stack, tolerance = defaultTolerance, seed = 0, sketch }: RecordOptions = {},
): Promise<ValueRecord> {
  const tensor = tensorOf(value);
  const digest = sketch ? await digestOfJson(sketch) : await digestOf(value);
  if (tier === "A") return { name, tier, digest };
  if (tier === "B" && stack === undefined) {
    throw new TypeError(`"${name}" is of tier B and no stack is named.`);
  }
  if (!sketch && tensor) sketch = sketchOf(tensor.data, tensor.shape, seed);
  if (!sketch && typeof value === "number") sketch = sketchOf([value], [], seed);
  if (tier === "C" && !sketch) throw new TypeError(`"${name}" is of tier C and is no tensor or number.`);
  return { name, tier, digest, ...(stack !== undefined && { stack }), ...(sketch && { sketch, tolerance }) };
}

/**
 * The proof of ids that were chosen greedily.
 * @param margins for each id how far its logit was above the second best
 * @param tolerance of the logits
 * @throws RangeError where there are not as many margins as ids
 */
export async function recordGreedy(
  name: string,
  ids: readonly number[],
  margins: ArrayLike<number>,
  tolerance: Tolerance = logitTolerance,
): Promise<ValueRecord> {
  if (margins.length !== ids.length) {
    throw new RangeError(`"${name}" has ${ids.length} ids and ${margins.length} margins.`);
  }
  let margin = Infinity;
  for (let i = 0; i < margins.length; i++) margin = Math.min(margin, margins[i]);
  const digest = await digestOfJson(ids);
  // Without ids there is no choice that could have been close.
  return {
    name,
    tier: "A",
    digest,
    tolerance,
    ...(Number.isFinite(margin) && { margin: Math.max(0, margin) }),
    ...(ids.length > 0 && ids.length <= mostIds && {
      greedy: { ids: ids.join(" "), margins: Array.from(margins, shortNumber).join(" ") },
    }),
  };
}

/** A warning where another implementation may well choose other ids: both logits may be off by the tolerance. */
export function thinMargin({ name, margin, tolerance }: ValueRecord): string | undefined {
  if (margin === undefined || tolerance === undefined || margin > 2 * tolerance.absolute) return undefined;
  return `${name}: the best id was only ${
    margin.toPrecision(2)
  } ahead of the second best once, and logits may differ by ${tolerance.absolute} between implementations.`;
}

/** Where greedy ids part from those that were stored, and how near the choice was; undefined where that was not kept. */
function whereIdsPart(stored: ValueRecord, found: ValueRecord): string | undefined {
  if (!stored.greedy || !found.greedy) return undefined;
  const [was, is] = [stored, found].map(({ greedy }) => greedy!.ids.split(" "));
  const at = was.findIndex((id, i) => id !== is[i]);
  if (at < 0) return `it goes on behind token ${was.length}, the last that was stored`;
  if (at === is.length) return `it ends behind token ${at}, and ${was.length} were stored`;
  const margin = Number(stored.greedy.margins.split(" ")[at]);
  const tie = margin <= 2 * (stored.tolerance ?? logitTolerance).absolute
    ? ", as good as a tie, which another adapter may break the other way"
    : ", which is more than the rounding of one pass";
  return `at token ${at + 1}, where the two likeliest were ${shortNumber(margin)} apart${tie}`;
}

/** Holds a value against its proof in the notebook. */
export function compareValues(stored: ValueRecord, found: ValueRecord): Verdict {
  if (stored.tier !== found.tier) {
    return { verdict: "differs", why: `it was of tier ${stored.tier} and is of tier ${found.tier}` };
  }
  if (stored.digest === found.digest) return { verdict: "verified", exact: true };
  if (stored.tier === "A") {
    const parting = whereIdsPart(stored, found);
    if (parting) return { verdict: "differs", why: parting };
    const thin = thinMargin(stored);
    return {
      verdict: "differs",
      why: thin ? `its digest is another; ${thin.replace(/\.$/, "")}` : "its digest is another",
    };
  }
  if (stored.tier === "B" && stored.stack === found.stack) {
    const { gap } = stored.sketch && found.sketch
      ? compareSketches(stored.sketch, found.sketch, exactly)
      : {};
    return { verdict: "differs", why: "its digest is another on the same stack", ...(gap && { gap }) };
  }
  if (!stored.sketch || !found.sketch) {
    return { verdict: "unproven", why: "it was made on another stack, and no sketch was kept to compare" };
  }
  const { within, why, gap } = compareSketches(
    stored.sketch,
    found.sketch,
    stored.tolerance ?? defaultTolerance,
  );
  if (within) return { verdict: "verified", exact: false, ...(gap && { gap }) };
  return { verdict: "differs", why: why ?? "it is beyond the tolerance", ...(gap && { gap }) };
}

const exactly: Tolerance = { absolute: 0, relative: 0 };

/** A gap in words: "[3, 17] was 0.5 and is 0.50001: 1e-5 apart, 2e-5 of it, 168 ulp". */
export function gapInWords({ where, stored, found, absolute, relative, ulps }: Gap): string {
  const share = Number.isFinite(relative) ? `, ${shortNumber(relative)} of it` : "";
  const steps = ulps !== undefined && Number.isFinite(ulps) ? `, ${ulps} ulp` : "";
  return `${where} was ${stored} and is ${found}: ${shortNumber(absolute)} apart${share}${steps}`;
}

/** Two digits: 0.0012, 1e-5. */
function shortNumber(value: number): string {
  return Number.isFinite(value) ? String(Number(value.toPrecision(2))) : String(value);
}
