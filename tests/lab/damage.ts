/** A thousand damaged files for every reader: what comes of each must be a sound value or one of the errors with a name. */
import { assert } from "deno-std/assert/mod.js";
import { DamagedFileError, FileAccessError } from "../../lab/bytes.ts";
import { uniforms } from "../kernels/testing.ts";

/** How a reader is fed. */
export interface Feeding {
  /** What every message must name; the file's path as a rule. */
  names: string;
  /** Errors beside DamagedFileError and FileAccessError that the reader may end in. */
  // deno-lint-ignore no-explicit-any
  errors?: readonly (new (...args: any[]) => Error)[];
  rounds?: number;
  seed?: number;
}

/**
 * Feeds a reader damaged copies of a sound JSON file, of a file of one JSON value a line, or of any bytes.
 * @param read must check the value that it gets: what throws anything but a named error fails
 * @returns how many copies were refused
 */
export async function feedDamaged(
  sound: string | Uint8Array<ArrayBuffer>,
  read: (bytes: Uint8Array<ArrayBuffer>) => unknown,
  { names, errors = [], rounds = 1000, seed = 1 }: Feeding,
): Promise<number> {
  const next = uniforms(seed);
  const named = [DamagedFileError, FileAccessError, ...errors];
  let refused = 0;
  for (let round = 0; round < rounds; round++) {
    const bytes = damaged(sound, (n) => Math.floor(next() * n));
    const fails = (why: string, cause: unknown) =>
      new Error(`round ${round} ${why}: ${String(cause).slice(0, 500)}\n${excerpt(bytes)}`, { cause });
    try {
      await read(bytes);
    } catch (error) {
      if (!named.some((kind) => (error as Error)?.constructor === kind)) throw fails("ended in", error);
      const { message } = error as Error;
      const sentence = message.includes(names) && /[.?]$/.test(message) && message.length < 600 &&
        // deno-lint-ignore no-control-regex
        !/[\x00-\x1f]/.test(message);
      if (!sentence) throw fails(`is not told in one sentence that names ${names}`, error);
      refused++;
    }
  }
  assert(refused > rounds / 4, `only ${refused} of ${rounds} were refused`);
  return refused;
}

function excerpt(bytes: Uint8Array): string {
  // deno-lint-ignore no-control-regex
  const text = new TextDecoder().decode(bytes).replace(/[\x00-\x1f]/g, "\ufffd");
  return text.length <= 1500 ? text : `${text.slice(0, 900)} … ${text.slice(-200)}`;
}

type Below = (n: number) => number;

/** A copy with one to three faults; those of a text half the time in its bytes and half the time in its values. */
function damaged(sound: string | Uint8Array<ArrayBuffer>, below: Below): Uint8Array<ArrayBuffer> {
  let text = typeof sound === "string" ? sound : "";
  let bytes = typeof sound === "string" ? undefined : sound;
  for (let times = 1 + below(3); times > 0; times--) {
    if (!bytes && below(2) === 0) text = damagedValue(text, below);
    else bytes = damagedBytes(bytes ?? new TextEncoder().encode(text), below);
  }
  return bytes ?? new TextEncoder().encode(text);
}

/** Flips a bit, cuts, inserts, changes a digit, moves a piece. */
function damagedBytes(original: Uint8Array<ArrayBuffer>, below: Below): Uint8Array<ArrayBuffer> {
  const bytes = original.slice();
  const at = below(bytes.length + 1);
  switch (below(6)) {
    case 0:
      return bytes.subarray(0, at);
    case 1: {
      const more = pick([[0], [0xff, 0xfe], [0xef, 0xbb, 0xbf], [0x22], [0x0a], [0x2c, 0x7d], [0x5b]], below);
      return Uint8Array.from([...bytes.subarray(0, at), ...more, ...bytes.subarray(at)]);
    }
    case 2: {
      const digits = Array.from(bytes.keys()).filter((i) => bytes[i] >= 48 && bytes[i] <= 57);
      if (digits.length > 0) bytes[pick(digits, below)] = 48 + below(10);
      return bytes;
    }
    case 3:
      bytes.copyWithin(below(bytes.length), at, at + below(40));
      return bytes;
    default:
      if (at < bytes.length) bytes[at] = below(2) ? bytes[at] ^ 1 << below(8) : below(256);
      return bytes;
  }
}

const deep = 100_000;

/** JSON texts of what a field is hardly meant to be. */
const hostile: readonly string[] = [
  "null",
  "true",
  "0",
  "-1",
  "-0",
  "0.5",
  "3",
  "9007199254740993",
  "1e21",
  "1e308",
  "1e400",
  "-1e400",
  '""',
  '"0"',
  '"x"',
  '"\\ud800"',
  '"\\u0000"',
  '"a\\nb"',
  '"../../etc/passwd"',
  '"__proto__"',
  "[]",
  "[[]]",
  "[null]",
  "{}",
  '{"__proto__":{"length":3}}',
  '{"length":-1}',
  `"${"long ".repeat(2000)}"`,
  "[".repeat(deep) + "]".repeat(deep),
  '{"a":'.repeat(deep) + "1" + "}".repeat(deep),
  `[${Array(5000).fill(7).join()}]`,
];

const placeholder = "@damage@";

/** Changes a value, a key, or the number of either in one of the file's lines, or in the whole where it is one JSON value. */
function damagedValue(text: string, below: Below): string {
  const whole = parsed(text);
  if (whole) return changed(whole.value, text, below);
  const lines = text.split("\n");
  const at = below(lines.length);
  const line = parsed(lines[at]);
  if (!line) return text;
  if (below(8) === 0) lines.splice(at, 1, ...pick([[], [lines[at], lines[at]], [lines[at], ""]], below));
  else lines[at] = changed(line.value, lines[at], below);
  return lines.join("\n");
}

function parsed(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

/** The value's text with one change; undamaged where it is too deeply nested to be written again. */
function changed(value: unknown, text: string, below: Below): string {
  try {
    return change(value, below);
  } catch (error) {
    if (error instanceof RangeError) return text;
    throw error;
  }
}

function change(value: unknown, below: Below): string {
  // The root in a list of one, so that it can be replaced like anything else.
  const root = [value];
  let holder: Record<string, unknown> = root as unknown as Record<string, unknown>;
  let key = "0";
  while (below(5) > 0 || holder === root as unknown) {
    const inside = holder[key];
    const keys = typeof inside === "object" && inside !== null ? Object.keys(inside) : [];
    if (keys.length === 0 || (holder === root as unknown && below(20) === 0)) break;
    holder = inside as Record<string, unknown>;
    key = pick(keys, below);
  }
  const old = holder[key];
  const text = (one: unknown) => JSON.stringify(one) ?? "null";
  let raw = pick(hostile, below);
  switch (below(8)) {
    case 0: // one is missing
      if (Array.isArray(holder)) holder.splice(Number(key), 1);
      else delete holder[key];
      return text(root[0]);
    case 1: { // another name
      if (Array.isArray(holder)) break;
      delete holder[key];
      const name = pick(
        [`${key}x`, key.slice(1), key.toUpperCase(), "", "__proto__", "a\nb", "\ud800"],
        below,
      );
      Object.defineProperty(holder, name, {
        value: old,
        enumerable: true,
        configurable: true,
        writable: true,
      });
      return text(root[0]);
    }
    case 2: // twice; the later one counts
      raw = Array.isArray(holder) ? `${text(old)},${text(old)}` : `${text(old)},${text(key)}:${raw}`;
      if (holder === root as unknown) raw = text(old);
      break;
    case 3: // the same as another type
      raw = text(typeof old === "string" ? Number(old) : typeof old === "object" ? text(old) : String(old));
      break;
    case 4: // in a wrapping
      raw = below(2) ? `[${text(old)}]` : `{"value":${text(old)}}`;
      break;
    case 5: // a near number
      if (typeof old === "number") raw = text(old + pick([1, -1, 0.5, 1e6, -old, old, 2 ** 40], below));
      break;
  }
  holder[key] = placeholder;
  return text(root[0]).replace(JSON.stringify(placeholder), () => raw);
}

function pick<T>(list: readonly T[], below: Below): T {
  return list[below(list.length)];
}
