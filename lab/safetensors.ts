/**
 * The safetensors format: eight bytes of header length (little-endian), a JSON header naming each tensor's dtype, shape and byte
 * range, then the bytes. Reading trusts nothing that it has not checked; writing is deterministic and byte for byte what the
 * reference implementation (huggingface/safetensors, `serialize`) writes. Typed arrays are taken to be little-endian, as on every
 * machine that has WebGPU.
 */
import { DamagedFileError, type Files, reason, shortened, shown } from "./bytes.ts";
import type { StoredNumbers } from "../kernels/widen.ts";

/**
 * Bytes per element of each dtype that we read, in the reference implementation's order: a file's tensors are laid out from the
 * last of these to the first, and by name within one dtype. Types narrower than a byte are not supported.
 */
const BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  F8_E8M0: 1,
  F8_E4M3FNUZ: 1,
  F8_E5M2FNUZ: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  C64: 8,
  F64: 8,
  I64: 8,
  U64: 8,
} as const;

export type Dtype = keyof typeof BYTES;

/** Typed arrays that a tensor can be decoded into. */
export type TensorValues =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** One tensor of a file: `start` and `end` are absolute byte offsets in that file, `end` excluded. */
export interface TensorEntry {
  name: string;
  dtype: Dtype;
  shape: number[];
  start: number;
  end: number;
}

/** What a file's header says, checked. `tensors` is in the order of the bytes. */
export interface SafetensorsHeader {
  path: string;
  metadata: Record<string, string>;
  tensors: Map<string, TensorEntry>;
  fileSize: number;
}

/** The longest header that the format allows, in bytes. */
const LONGEST_HEADER = 100_000_000;

/** How many elements go through memory at a time when a tensor is streamed: 16 MiB of F32. */
const PIECE = 4 * 1024 * 1024;

/**
 * Reads and checks the header of a safetensors file; of the tensors themselves nothing is read.
 * @throws DamagedFileError naming the file and, where there is one, the tensor
 */
export async function readSafetensorsHeader(files: Files, path: string): Promise<SafetensorsHeader> {
  const fileSize = await files.size(path);
  const bad = (why: string) => new DamagedFileError(`${path} is not a usable safetensors file: ${why}.`);
  if (fileSize < 8) throw bad(`it has ${fileSize} bytes, fewer than the 8 of the header's length`);
  const prefix = await files.readRange(path, 0, 8);
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(LONGEST_HEADER)) {
    throw bad(`it claims a header of ${length} bytes, and the format allows ${LONGEST_HEADER}`);
  }
  const headerEnd = 8 + Number(length);
  if (headerEnd > fileSize) {
    throw bad(
      `its header should end at byte ${headerEnd} but the file ends at ${fileSize}; download it again`,
    );
  }
  return parseSafetensorsHeader(path, await files.readRange(path, 8, headerEnd), fileSize);
}

/**
 * Checks the JSON of a header against the size of its file. `header` is the JSON alone, without the eight bytes before it.
 * @throws DamagedFileError naming the file and, where there is one, the tensor
 */
export function parseSafetensorsHeader(
  path: string,
  header: Uint8Array,
  fileSize: number,
): SafetensorsHeader {
  const bad = (why: string) => new DamagedFileError(`${path} is not a usable safetensors file: ${why}.`);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(header);
  } catch {
    throw bad("its header is not UTF-8 text");
  }
  if (!text.startsWith("{")) throw bad("its header does not begin with {");
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw bad(`its header is not valid JSON (${reason(error as Error)})`);
  }
  if (!isObject(json)) throw bad("its header is not a JSON object");
  const twice = repeatedKey(text);
  if (twice !== undefined) throw bad(`its header names ${shown(twice)} twice`);

  const dataStart = 8 + header.length;
  const entries: TensorEntry[] = [];
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(json)) {
    if (name === "__metadata__") metadata = checkedMetadata(value, bad);
    else entries.push(checkedEntry(name, value, dataStart, fileSize, bad));
  }

  // The format wants the tensors to fill the rest of the file exactly: a hole could hide anything, an overlap makes two tensors of one.
  entries.sort((a, b) => a.start - b.start || a.end - b.end);
  let reached = dataStart;
  let previous = "the header";
  for (const { name, start, end } of entries) {
    if (start < reached) throw bad(`tensor ${shown(name)} overlaps ${previous}`);
    if (start > reached) {
      throw bad(`${start - reached} bytes between ${previous} and tensor ${shown(name)} belong to no tensor`);
    }
    reached = end;
    previous = `tensor ${shown(name)}`;
  }
  if (reached !== fileSize) throw bad(`${fileSize - reached} bytes after ${previous} belong to no tensor`);
  return { path, metadata, tensors: new Map(entries.map((entry) => [entry.name, entry])), fileSize };
}

function checkedMetadata(value: unknown, bad: (why: string) => Error): Record<string, string> {
  if (value === null) return {};
  if (!isObject(value) || Object.values(value).some((field) => typeof field !== "string")) {
    throw bad("its __metadata__ is not a map from text to text");
  }
  return value as Record<string, string>;
}

function checkedEntry(
  name: string,
  value: unknown,
  dataStart: number,
  fileSize: number,
  bad: (why: string) => Error,
): TensorEntry {
  const tensor = `tensor ${shown(name)}`;
  if (!isObject(value)) throw bad(`the header's entry for ${tensor} is not an object`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(BYTES, dtype)) {
    throw bad(
      `${tensor} has the dtype ${shown(dtype)}, which is not one of ${Object.keys(BYTES).join(", ")}`,
    );
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    throw bad(`${tensor} has the shape ${shown(shape)}, which is not a list of whole numbers`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw bad(`${tensor} has the offsets ${shown(offsets)}, which are not two whole numbers`);
  }
  let bytes: number = BYTES[dtype as Dtype];
  for (const length of shape) {
    bytes *= length;
    if (!Number.isSafeInteger(bytes)) {
      throw bad(`${tensor} has the absurd shape [${shortened(shape.join(","))}]`);
    }
  }
  const [from, to] = offsets;
  if (to < from) throw bad(`${tensor} ends at byte ${to}, before it begins at ${from}`);
  if (to > fileSize - dataStart) {
    throw bad(
      `${tensor} should end at byte ${to} of the data, which has ${
        fileSize - dataStart
      }; the file is cut short or its header is wrong`,
    );
  }
  if (to - from !== bytes) {
    throw bad(
      `${tensor} of shape [${shortened(shape.join(","))}] in ${dtype} needs ${bytes} bytes but is given ${
        to - from
      }`,
    );
  }
  return { name, dtype: dtype as Dtype, shape: shape.slice(), start: dataStart + from, end: dataStart + to };
}

/**
 * Finds a key that occurs twice in one object of a text that is known to be valid JSON: `JSON.parse` would keep the last without a
 * word, and two readers could then see two different files.
 */
function repeatedKey(text: string): string | undefined {
  const open: (Set<string> | null)[] = [];
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === "{") open.push(new Set());
    else if (character === "[") open.push(null);
    else if (character === "}" || character === "]") open.pop();
    else if (character === '"') {
      const begin = at++;
      while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
      let after = at + 1;
      while (" \t\n\r".includes(text[after])) after++;
      const keys = open[open.length - 1];
      if (text[after] !== ":" || !keys) continue;
      const key: string = JSON.parse(text.slice(begin, at + 1));
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
}

/**
 * Looks a tensor up by name.
 * @throws DamagedFileError where the file has none of that name
 */
export function entryOf(header: SafetensorsHeader, name: string): TensorEntry {
  const entry = header.tensors.get(name);
  if (!entry) throw new DamagedFileError(`${header.path} has no tensor ${shown(name)}.`);
  return entry;
}

/** Elements of a tensor: the product of its shape, 1 for a scalar. */
export function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

/** Bytes of one element. */
export function bytesPerElement(dtype: Dtype): number {
  return BYTES[dtype];
}

/** Reads a whole tensor in its own type; see `decodeTensor`. */
export async function readTensorValues(
  files: Files,
  header: SafetensorsHeader,
  name: string,
): Promise<TensorValues> {
  const { dtype, start, end } = entryOf(header, name);
  return decodeTensor(dtype, await files.readRange(header.path, start, end));
}

/** Reads a whole tensor as f32 (row-major); see `toFloat32` for what each dtype becomes. */
export async function readTensor(
  files: Files,
  header: SafetensorsHeader,
  name: string,
): Promise<Float32Array> {
  const entry = entryOf(header, name);
  const values = new Float32Array((entry.end - entry.start) / BYTES[entry.dtype]);
  let at = 0;
  for await (const piece of streamTensor(files, header, name)) {
    values.set(piece, at);
    at += piece.length;
  }
  return values;
}

/**
 * Reads elements `from` (included) to `to` (excluded) of a tensor, row-major: BF16, F16 and F32 as the file has them, for the device to
 * widen, other dtypes as `toFloat32` makes them.
 * @throws RangeError where the tensor has no such elements
 */
export async function readNumbers(
  files: Files,
  header: SafetensorsHeader,
  name: string,
  from: number,
  to: number,
): Promise<StoredNumbers> {
  const { dtype, shape, start } = entryOf(header, name);
  const size = elementsOf(shape);
  if (!isCount(from) || !isCount(to) || to < from || to > size) {
    throw new RangeError(
      `${header.path}: tensor ${
        shown(name)
      } has ${size} elements, so elements ${from} to ${to} are not in it.`,
    );
  }
  const each = BYTES[dtype];
  const bytes = await files.readRange(header.path, start + from * each, start + to * each);
  const format = ({ BF16: "bf16", F16: "f16", F32: "f32" } as const)[dtype as "BF16"];
  const numbers = format ? bytes : toFloat32(dtype, bytes);
  return {
    format: format ?? "f32",
    bytes: new Uint8Array(numbers.buffer as ArrayBuffer, numbers.byteOffset, numbers.byteLength),
  };
}

/** Reads a tensor as f32 in pieces of at most `elements`, in order, so that no more than a piece is ever in memory. */
export async function* streamTensor(
  files: Files,
  header: SafetensorsHeader,
  name: string,
  elements: number = PIECE,
): AsyncGenerator<Float32Array> {
  const { dtype, start, end } = entryOf(header, name);
  const step = elements * BYTES[dtype];
  for (let at = start; at < end; at += step) {
    yield toFloat32(dtype, await files.readRange(header.path, at, Math.min(end, at + step)));
  }
}

/**
 * A tensor's bytes as numbers of its own type. F16, BF16 and the eight-bit floats become f32, which holds each of their values
 * exactly; C64 becomes interleaved real and imaginary f32; BOOL becomes bytes.
 */
export function decodeTensor(dtype: Dtype, bytes: Uint8Array): TensorValues {
  const size = BYTES[dtype];
  // Typed arrays must begin at a multiple of their element's size; bytes from a file may not.
  const at = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  const count = bytes.length / size;
  const view = [at.buffer as ArrayBuffer, at.byteOffset, count] as const;
  switch (dtype) {
    case "BOOL":
    case "U8":
      return new Uint8Array(...view);
    case "I8":
      return new Int8Array(...view);
    case "I16":
      return new Int16Array(...view);
    case "U16":
      return new Uint16Array(...view);
    case "I32":
      return new Int32Array(...view);
    case "U32":
      return new Uint32Array(...view);
    case "F32":
      return new Float32Array(...view);
    case "F64":
      return new Float64Array(...view);
    case "I64":
      return new BigInt64Array(...view);
    case "U64":
      return new BigUint64Array(...view);
    case "C64":
      return new Float32Array(view[0], view[1], count * 2);
    case "F16":
      return Float32Array.from(new Float16Array(...view));
    case "BF16": {
      // A bfloat16 is the upper half of the f32 with the same value.
      const halves = new Uint16Array(...view);
      const words = new Uint32Array(count);
      for (let i = 0; i < count; i++) words[i] = halves[i] << 16;
      return new Float32Array(words.buffer);
    }
    default: {
      const table = eightBitFloats(dtype);
      return Float32Array.from(at, (code) => table[code]);
    }
  }
}

/**
 * A tensor's bytes as f32. Exact for F32, F16, BF16, the eight-bit floats and integers up to 2²⁴; F64 and larger integers are
 * rounded to the nearest f32, C64 gives interleaved real and imaginary parts.
 */
export function toFloat32(dtype: Dtype, bytes: Uint8Array): Float32Array {
  const values = decodeTensor(dtype, bytes);
  if (values instanceof Float32Array) return values;
  const result = new Float32Array(values.length);
  for (let i = 0; i < values.length; i++) result[i] = Number(values[i]);
  return result;
}

/** The 256 values of an eight-bit float type (OCP FP8 for E5M2 and E4M3, OCP MX for E8M0; FNUZ has no infinities and no −0). */
function eightBitFloats(dtype: Dtype): Float32Array {
  return Float32Array.from({ length: 256 }, (_, code) => {
    if (dtype === "F8_E8M0") return code === 255 ? NaN : 2 ** (code - 127);
    const fnuz = dtype.endsWith("FNUZ");
    const mantissaBits = dtype.startsWith("F8_E5M2") ? 2 : 3;
    const exponentBits = 7 - mantissaBits;
    const bias = 2 ** (exponentBits - 1) - (fnuz ? 0 : 1);
    const sign = code & 0x80 ? -1 : 1;
    const exponent = (code & 0x7f) >> mantissaBits;
    const mantissa = code & (2 ** mantissaBits - 1);
    if (fnuz && code === 0x80) return NaN;
    if (dtype === "F8_E4M3" && (code & 0x7f) === 0x7f) return NaN;
    if (dtype === "F8_E5M2" && exponent === 31) return mantissa ? NaN : sign * Infinity;
    const fraction = mantissa / 2 ** mantissaBits;
    return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias));
  });
}

/**
 * Numbers as the bytes of a dtype. From f32: F32 as it is, F64 exactly, F16 and BF16 rounded to nearest with ties to even. All
 * other dtypes take the typed array that `decodeTensor` gives.
 * @throws TypeError where that typed array does not belong to the dtype
 * @throws RangeError where a finite number is too large for F16 or BF16
 */
export function encodeTensor(dtype: Dtype, values: TensorValues): Uint8Array {
  const bytesOf = (array: ArrayBufferView) =>
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  if (values instanceof Float32Array) {
    if (dtype === "F32" || dtype === "C64") return bytesOf(values);
    if (dtype === "F64") return bytesOf(Float64Array.from(values));
    if (dtype === "F16") {
      const halves = Float16Array.from(values);
      refuseOverflow(dtype, values, (i) => !Number.isFinite(halves[i]));
      return bytesOf(halves);
    }
    if (dtype === "BF16") {
      const halves = toBfloat16(values);
      refuseOverflow(dtype, values, (i) => (halves[i] & 0x7f80) === 0x7f80);
      return bytesOf(halves);
    }
  }
  const fits = values instanceof Uint8Array
    ? dtype === "U8" || dtype === "BOOL" || dtype.startsWith("F8_")
    : values.constructor.name === ARRAYS[dtype];
  if (!fits) throw new TypeError(`A ${values.constructor.name} cannot be written as ${dtype}.`);
  return bytesOf(values);
}

const ARRAYS: Partial<Record<Dtype, string>> = {
  I8: "Int8Array",
  I16: "Int16Array",
  U16: "Uint16Array",
  I32: "Int32Array",
  U32: "Uint32Array",
  I64: "BigInt64Array",
  U64: "BigUint64Array",
  F64: "Float64Array",
};

function toBfloat16(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    const nan = (word & 0x7fffffff) > 0x7f800000;
    // Half of the last kept bit, less one where that bit is even: what is exactly half-way then goes to the even neighbour.
    halves[i] = nan ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return halves;
}

function refuseOverflow(dtype: Dtype, values: Float32Array, overflowed: (i: number) => boolean): void {
  for (let i = 0; i < values.length; i++) {
    if (overflowed(i) && Number.isFinite(values[i])) {
      throw new RangeError(`${values[i]} at element ${i} is too large for ${dtype}; write F32 instead.`);
    }
  }
}

/** A tensor to be written. */
export interface TensorPlan {
  name: string;
  dtype: Dtype;
  shape: readonly number[];
}

/** Where a tensor's values come from when its turn comes: whole, or in pieces that together have the shape's elements. */
export type TensorSource = TensorValues | Promise<TensorValues> | AsyncIterable<TensorValues>;

/**
 * The tensors in the order in which a file holds them: dtype from the widest to the narrowest, then by name (UTF-8 order).
 */
export function fileOrder<Plan extends TensorPlan>(tensors: readonly Plan[]): Plan[] {
  const rank = Object.keys(BYTES);
  return [...tensors].sort((a, b) =>
    rank.indexOf(b.dtype) - rank.indexOf(a.dtype) || compareText(a.name, b.name)
  );
}

/** Code-point order, which is the order of UTF-8 bytes; JavaScript's own order differs beyond U+FFFF. */
function compareText(a: string, b: string): number {
  const [left, right] = [Array.from(a), Array.from(b)];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = left[i].codePointAt(0)! - right[i].codePointAt(0)!;
    if (difference) return difference;
  }
  return left.length - right.length;
}

/**
 * The bytes of a safetensors file, piece by piece, for `Files.writeAtomic`. `valuesOf` is asked for one tensor after the other in
 * `fileOrder`, so that no more than one need be in memory. The same tensors give the same bytes.
 * @throws TypeError or RangeError where names repeat, shapes make no sense, or values do not fit the plan
 */
export async function* safetensorsBytes<Plan extends TensorPlan>(
  tensors: readonly Plan[],
  valuesOf: (tensor: Plan) => TensorSource,
  metadata: Record<string, string> = {},
): AsyncGenerator<Uint8Array> {
  const ordered = fileOrder(tensors);
  const header = safetensorsHeaderBytes(ordered, metadata);
  yield header;
  for (const plan of ordered) {
    const expected = elementsOf(plan.shape) * (plan.dtype === "C64" ? 2 : 1);
    const source = await valuesOf(plan);
    const pieces = ArrayBuffer.isView(source) ? [source] : source;
    let seen = 0;
    for await (const values of pieces) {
      seen += values.length;
      if (seen > expected) break;
      for (let at = 0; at < values.length; at += PIECE) {
        try {
          yield encodeTensor(plan.dtype, values.subarray(at, at + PIECE));
        } catch (error) {
          if (error instanceof Error) {
            error.message = `Tensor ${shown(plan.name)} cannot be written: ${error.message}`;
          }
          throw error;
        }
      }
    }
    if (seen !== expected) {
      throw new RangeError(
        `Tensor ${shown(plan.name)} of shape [${plan.shape}] needs ${expected} numbers but was given ${
          seen > expected ? "more" : seen
        }.`,
      );
    }
  }
}

/** Eight bytes of length and the JSON header, padded with spaces to a multiple of eight as the reference implementation does. */
function safetensorsHeaderBytes(
  ordered: readonly TensorPlan[],
  metadata: Record<string, string>,
): Uint8Array {
  const parts: string[] = [];
  const keys = Object.keys(metadata).sort(compareText);
  if (keys.length > 0) {
    parts.push(
      `"__metadata__":{${
        keys.map((key) => `${JSON.stringify(key)}:${JSON.stringify(metadata[key])}`).join(",")
      }}`,
    );
  }
  const seen = new Set<string>();
  let offset = 0;
  for (const { name, dtype, shape } of ordered) {
    if (name === "__metadata__") {
      throw new TypeError("No tensor can be named __metadata__; the format keeps that name.");
    }
    if (seen.has(name)) throw new TypeError(`Two tensors are named ${shown(name)}.`);
    seen.add(name);
    const end = offset + elementsOf(shape) * BYTES[dtype];
    if (!shape.every(isCount) || !Number.isSafeInteger(end)) {
      throw new RangeError(`Tensor ${shown(name)} cannot have the shape [${shape}].`);
    }
    parts.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [offset, end] })}`);
    offset = end;
  }
  const json = new TextEncoder().encode(`{${parts.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  if (length > LONGEST_HEADER) {
    throw new RangeError(`The header would have ${length} bytes; write several files.`);
  }
  const bytes = new Uint8Array(8 + length).fill(0x20, 8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
