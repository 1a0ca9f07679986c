/** The kinds of fields that a configuration or a command line has: what they hold, how they read text, what they refuse. */

import { levenshteinDistance } from "deno-std/text/levenshtein_distance.js";
import { shown } from "./bytes.ts";

/** What every field says about itself. */
interface Told {
  /** One line, without a full stop. */
  doc: string;
  /** Where the default comes from; see `originsNote` in config.ts. */
  from?: string;
  /** Of numbers: "tokens", "pairs", "nats". */
  unit?: string;
  /** Changes what is written down or where, never what a stage computes; such fields are not part of a stage's inputs. */
  neutral?: boolean;
}

interface Bounds {
  min?: number;
  max?: number;
  /** Excluded bounds: the value lies above, below. */
  above?: number;
  below?: number;
}

export interface NumberField extends Told, Bounds {
  kind: "number" | "integer";
  default: number;
}
export interface BooleanField extends Told {
  kind: "boolean";
  default: boolean;
}
export interface ChoiceField<T extends string = string> extends Told {
  kind: "choice";
  default: T;
  choices: readonly T[];
}
export interface TextField extends Told {
  kind: "text";
  default: string;
  /** What `--help` writes for the value: "FOLDER". */
  placeholder?: string;
  /** Whether the empty text is a value. */
  mayBeEmpty?: boolean;
}
/** Several whole numbers, or several of some words. */
export interface ListField<T extends number | string = number | string> extends Told, Bounds {
  kind: "list";
  of: "integer" | "choice";
  default: readonly T[];
  choices?: readonly T[];
}
export type Field = NumberField | BooleanField | ChoiceField | TextField | ListField;

/** The value that a field holds. */
export type ValueOf<F> = F extends NumberField ? number
  : F extends BooleanField ? boolean
  : F extends ChoiceField<infer T> ? T
  : F extends TextField ? string
  : F extends ListField<infer T> ? readonly T[]
  : never;

export const number = (value: number, told: Told & Bounds): NumberField => ({
  kind: "number",
  default: value,
  ...told,
});
export const integer = (value: number, told: Told & Bounds): NumberField => ({
  kind: "integer",
  default: value,
  ...told,
});
export const boolean = (value: boolean, told: Told): BooleanField => ({
  kind: "boolean",
  default: value,
  ...told,
});
export const choice = <const T extends string>(
  choices: readonly T[],
  value: NoInfer<T>,
  told: Told,
): ChoiceField<T> => ({ kind: "choice", default: value, choices, ...told });
export const text = (
  value: string,
  told: Told & Pick<TextField, "placeholder" | "mayBeEmpty">,
): TextField => ({ kind: "text", default: value, ...told });
export const integers = (value: readonly number[], told: Told & Bounds): ListField<number> => ({
  kind: "list",
  of: "integer",
  default: value,
  ...told,
});
export const words = <const T extends string>(
  choices: readonly T[],
  value: readonly NoInfer<T>[],
  told: Told,
): ListField<T> => ({ kind: "list", of: "choice", default: value, choices, ...told });

/** Fields by name. */
export type Fields = Record<string, Field>;

/** The values of fields by name. */
export type Values<F extends Fields> = { -readonly [Name in keyof F]: ValueOf<F[Name]> };

/** A value as it stands in a file, on a command line, in help: 3e-6 rather than 0.000003. */
export function formatValue(value: unknown): string {
  if (Array.isArray(value)) return value.map(formatValue).join(",");
  if (typeof value !== "number") return String(value);
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential().replace("e-0", "e-");
  return String(value);
}

/** What a field takes, in words: "a whole number from 1", "cosine, linear or constant". */
export function describeKind(field: Field): string {
  switch (field.kind) {
    case "boolean":
      return "true or false";
    case "choice":
      return either(field.choices);
    case "text":
      return field.mayBeEmpty ? "text" : "text that is not empty";
    case "list":
      return field.of === "integer"
        ? `whole numbers${describeBounds(field)} with commas between them`
        : `some of ${field.choices!.join(", ")} with commas between them`;
    default:
      return `${field.kind === "integer" ? "a whole number" : "a number"}${describeBounds(field)}`;
  }
}

function describeBounds({ min, max, above, below }: Bounds): string {
  const low = min !== undefined ? ` from ${formatValue(min)}` : above !== undefined ? ` above ${above}` : "";
  const high = max !== undefined ? ` to ${formatValue(max)}` : below !== undefined ? ` below ${below}` : "";
  return low && high && !(min !== undefined && max !== undefined) ? `${low} and${high}` : low + high;
}

function either(options: readonly string[]): string {
  return options.length < 2 ? options.join() : `${options.slice(0, -1).join(", ")} or ${options.at(-1)}`;
}

/**
 * Reads a field's value from text, as a flag has it.
 * @param name what the message calls the field, for instance "--ppo.klCoef"
 * @throws RangeError saying what the field takes
 */
export function parseField(name: string, field: Field, text: string): ValueOf<Field> {
  const items = () => text === "" ? [] : text.split(",").map((item) => item.trim());
  const numeral = (item: string) =>
    /^[+-]?(\d+(_\d+)*\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(item) ? Number(item.replaceAll("_", "")) : item;
  switch (field.kind) {
    case "number":
    case "integer":
      return checkField(name, field, numeral(text.trim()));
    case "boolean":
      return checkField(name, field, text === "true" ? true : text === "false" ? false : text);
    case "list":
      return checkField(name, field, field.of === "integer" ? items().map(numeral) : items());
    default:
      return checkField(name, field, text);
  }
}

/**
 * Checks that a value, from JSON for instance, is one that the field takes.
 * @throws RangeError saying what the field takes
 */
export function checkField<F extends Field>(name: string, field: F, value: unknown): ValueOf<F> {
  if (!fits(field, value)) {
    throw new RangeError(`${name} takes ${describeKind(field)}, not ${shown(value)}.`);
  }
  return value as ValueOf<F>;
}

function fits(field: Field, value: unknown): boolean {
  switch (field.kind) {
    case "number":
      return within(field, value);
    case "integer":
      return Number.isSafeInteger(value) && within(field, value);
    case "boolean":
      return typeof value === "boolean";
    case "choice":
      return typeof value === "string" && field.choices.includes(value);
    case "text":
      return typeof value === "string" && (value !== "" || field.mayBeEmpty === true);
    case "list":
      return Array.isArray(value) && new Set(value).size === value.length &&
        value.every((item) =>
          field.of === "integer"
            ? Number.isSafeInteger(item) && within(field, item)
            : field.choices!.includes(item)
        );
  }
}

function within({ min, max, above, below }: Bounds, value: unknown): boolean {
  return typeof value === "number" && Number.isFinite(value) && !(value < (min ?? -Infinity)) &&
    !(value > (max ?? Infinity)) && !(above !== undefined && value <= above) &&
    !(below !== undefined && value >= below);
}

/**
 * The known names closest to an unknown one by edit distance, upper and lower case alike; a name without its section
 * ("klCoef") is near the full one. Several if they are equally near, none if nothing is.
 */
export function nearest(unknown: string, known: readonly string[]): string[] {
  const last = (name: string) => name.slice(name.lastIndexOf(".") + 1);
  const wanted = unknown.toLowerCase().slice(0, 100);
  const distances = known.map((name) => {
    const full = levenshteinDistance(wanted, name.toLowerCase());
    // A right name in a wrong section is nearer than it looks, yet not as near as the right section.
    const bare = levenshteinDistance(last(wanted), last(name.toLowerCase()));
    return Math.min(full, wanted.includes(".") ? bare + 0.5 + full / 100 : bare);
  });
  const smallest = Math.min(...distances);
  if (!(smallest <= Math.max(1, Math.min(4, wanted.length / 2)))) return [];
  return known.filter((_, i) => distances[i] === smallest);
}

/** "; the nearest is a or b", or nothing where no known name is near. */
export function nearestOf(unknown: string, known: readonly string[], prefix = ""): string {
  const found = nearest(unknown, known).map((name) => prefix + name);
  return found.length === 0 ? "" : `; the nearest is ${either(found)}`;
}
