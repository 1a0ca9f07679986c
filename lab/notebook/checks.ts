/** Expectations of cells: invariants that are looked at live, in both worlds, and again by whoever verifies the notebook. */
import type { MimeBundle } from "./ipynb.ts";
import { jsonOf, mime } from "./display.ts";
import type { Tier, Tolerance } from "./records.ts";

export interface Expectation {
  /** How far numbers may be off: absolute, in their unit, or relative to the expected one. None by default. */
  tolerance?: number | Partial<Tolerance>;
  /** How exactly the found value can be reproduced; see the records of cells. A by default, C where there is a tolerance. */
  tier?: Tier;
}

/** What came of an expectation. */
export interface Check {
  name: string;
  passed: boolean;
  tier: Tier;
  tolerance: Tolerance;
  /** Shortened where they are long. */
  found: unknown;
  expected: unknown;
  /** The first difference beyond the tolerance, else the widest within; none where they are the same. */
  gap?: { where: string; found: unknown; expected: unknown; absolute?: number; relative?: number };
}

/** Holds a value against what is expected: numbers within the tolerance, all else exactly. */
export function check(name: string, found: unknown, expected: unknown, expectation: Expectation = {}): Check {
  const given = expectation.tolerance ?? 0;
  const tolerance = typeof given === "number"
    ? { absolute: given, relative: 0 }
    : { absolute: given.absolute ?? 0, relative: given.relative ?? 0 };
  const exact = tolerance.absolute === 0 && tolerance.relative === 0;
  const { beyond, widest } = compare(plain(found), plain(expected), tolerance);
  const gap = beyond ?? widest;
  return {
    name,
    passed: beyond === undefined,
    tier: expectation.tier ?? (exact ? "A" : "C"),
    tolerance,
    found: short(found),
    expected: short(expected),
    ...(gap && { gap }),
  };
}

type Gap = NonNullable<Check["gap"]>;

function compare(
  found: unknown,
  expected: unknown,
  tolerance: Tolerance,
): { beyond?: Gap; widest?: Gap } {
  let widest: Gap | undefined;
  const walk = (found: unknown, expected: unknown, where: string): Gap | undefined => {
    if (typeof found === "number" && typeof expected === "number") {
      if (Object.is(found, expected) || found === expected) return undefined;
      const absolute = Math.abs(found - expected);
      const gap = { where, found, expected, absolute, relative: absolute / Math.abs(expected) };
      if (!(absolute <= tolerance.absolute + tolerance.relative * Math.abs(expected))) return gap;
      if (absolute > (widest?.absolute ?? 0)) widest = gap;
      return undefined;
    }
    if (Array.isArray(found) && Array.isArray(expected)) {
      if (found.length !== expected.length) {
        return { where: `${where}.length`, found: found.length, expected: expected.length };
      }
      for (let i = 0; i < found.length; i++) {
        const gap = walk(found[i], expected[i], `${where}[${i}]`);
        if (gap) return gap;
      }
      return undefined;
    }
    if (isRecord(found) && isRecord(expected)) {
      for (const field of new Set([...Object.keys(expected), ...Object.keys(found)])) {
        const gap = walk(found[field], expected[field], `${where}.${field}`);
        if (gap) return gap;
      }
      return undefined;
    }
    return found === expected ? undefined : { where, found: short(found), expected: short(expected) };
  };
  const beyond = walk(found, expected, "value");
  return { beyond, widest };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Typed arrays as lists: they are compared number by number. */
function plain(value: unknown): unknown {
  return ArrayBuffer.isView(value) && !(value instanceof DataView)
    ? Array.from(value as unknown as ArrayLike<unknown>)
    : value;
}

function short(value: unknown): unknown {
  const json = jsonOf(Array.isArray(plain(value)) ? (plain(value) as unknown[]).slice(0, 9) : value);
  const text = JSON.stringify(json) ?? "nothing";
  if (Array.isArray(json) && (plain(value) as unknown[]).length > 8) {
    return [...json.slice(0, 8), `… ${(plain(value) as unknown[]).length - 8} more`];
  }
  return text.length <= 400 ? json : `${text.slice(0, 400)}…`;
}

export function checkBundle(found: Check): MimeBundle {
  const { name, passed, gap } = found;
  const shown = (value: unknown) => typeof value === "string" ? JSON.stringify(value) : String(value);
  const apart = gap === undefined
    ? ""
    : gap.absolute === undefined
    ? `${gap.where} is ${shown(gap.found)} instead of ${shown(gap.expected)}`
    : `${gap.where} is ${gap.found} instead of ${gap.expected}, ${Number(gap.absolute.toPrecision(2))} apart`;
  const words = passed ? `✓ ${name}${apart && `: within tolerance; ${apart}`}` : `✗ ${name}: ${apart}`;
  return { [mime.check]: jsonOf(found), "text/plain": words };
}
