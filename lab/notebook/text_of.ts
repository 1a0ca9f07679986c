/** Values as text, the way a console shows them, whoever's console it is: no longer than asked, however big or strange the value. */
import { Handle } from "./transport.ts";

/** Items of a list, and fields of an object, that are shown. */
const mostItems = 100;
const deepest = 4;
const lineWidth = 90;

/** @param length characters at most */
export function textOf(value: unknown, length = 20_000): string {
  const shown = show(value, 0, [], { left: length });
  return shown.length > length ? `${shown.slice(0, length)}…` : shown;
}

function show(value: unknown, depth: number, around: unknown[], budget: { left: number }): string {
  const text = shape(value, depth, around, budget);
  budget.left -= text.length;
  return text;
}

function shape(value: unknown, depth: number, around: unknown[], budget: { left: number }): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(
        value.length > budget.left ? `${value.slice(0, Math.max(0, budget.left))}…` : value,
      );
    case "bigint":
      return `${value}n`;
    case "number":
      return Object.is(value, -0) ? "-0" : String(value);
    case "symbol":
      return value.toString();
    case "function":
      return describeFunction(value);
    case "object":
      break;
    default:
      return String(value);
  }
  if (value === null) return "null";
  try {
    return shapeOfObject(value, depth, around, budget);
  } catch {
    // A getter or a proxy of the value's own.
    return "[an object that cannot be shown]";
  }
}

function describeFunction(value: object): string {
  const { name } = value as { name?: unknown };
  const isClass = /^class\b/.test(Function.prototype.toString.call(value));
  const kind = isClass ? "class" : "Function";
  return typeof name === "string" && name !== "" ? `[${kind}: ${name}]` : `[${kind}]`;
}

function shapeOfObject(value: object, depth: number, around: unknown[], budget: { left: number }): string {
  if (value instanceof Handle) return value.toString();
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
  if (value instanceof RegExp) return String(value);
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (value instanceof Promise) return "Promise { … }";
  if (around.includes(value)) return "[Circular]";
  const inside = [...around, value];
  const prefix = prefixOf(value);
  if (depth >= deepest) return Array.isArray(value) ? "[Array]" : `[${prefix.trim() || "Object"}]`;
  const next = (item: unknown) => show(item, depth + 1, inside, budget);
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
    return list(prefix, value as unknown as ArrayLike<unknown>, next, depth, budget);
  }
  if (Array.isArray(value)) return list(prefix === "Array " ? "" : prefix, value, next, depth, budget);
  if (value instanceof Map) {
    return block(
      `Map(${value.size}) `,
      "{}",
      value,
      ([key, item]) => `${next(key)} => ${next(item)}`,
      depth,
      budget,
    );
  }
  if (value instanceof Set) return block(`Set(${value.size}) `, "{}", value, next, depth, budget);
  const fields = Object.getOwnPropertyNames(value).filter((name) =>
    Object.prototype.propertyIsEnumerable.call(value, name)
  );
  return block(
    prefix === "Object " ? "" : prefix,
    "{}",
    fields,
    (name) => {
      const { get, value: field } = Object.getOwnPropertyDescriptor(value, name)!;
      const key = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name) ? name : JSON.stringify(name);
      return `${key}: ${get ? "[Getter]" : next(field)}`;
    },
    depth,
    budget,
  );
}

function prefixOf(value: object): string {
  const prototype = Object.getPrototypeOf(value);
  if (prototype === null) return "[Object: null prototype] ";
  const name = prototype.constructor?.name;
  const length = ArrayBuffer.isView(value) ? `(${(value as Uint8Array).length ?? value.byteLength})` : "";
  return `${typeof name === "string" && name ? name : "Object"}${length} `;
}

function list(
  prefix: string,
  items: ArrayLike<unknown>,
  next: (item: unknown) => string,
  depth: number,
  budget: { left: number },
): string {
  const head = Array.from({ length: Math.min(items.length, mostItems) }, (_, i) => items[i]);
  return block(prefix, "[]", head, next, depth, budget, items.length - head.length);
}

/** On one line where it fits, else an item a line. */
function block<T>(
  prefix: string,
  [open, close]: string,
  items: Iterable<T>,
  show: (item: T) => string,
  depth: number,
  budget: { left: number },
  more = 0,
): string {
  const parts: string[] = [];
  for (const item of items) {
    if (parts.length === mostItems || budget.left <= 0) more++;
    else parts.push(show(item));
  }
  if (more > 0) parts.push(`… ${more} more`);
  if (parts.length === 0) return `${prefix}${open}${close}`;
  const padding = open === "{" ? " " : "";
  const line = `${prefix}${open}${padding}${parts.join(", ")}${padding}${close}`;
  if (line.length + 2 * depth <= lineWidth && !line.includes("\n")) return line;
  const indent = "  ".repeat(depth + 1);
  const numbers = open === "[" && parts.every((part) => part.length <= 24 && !part.includes("\n"));
  const lines = numbers ? packed(parts, lineWidth - indent.length) : parts;
  return `${prefix}${open}\n${indent}${lines.join(`,\n${indent}`)}\n${"  ".repeat(depth)}${close}`;
}

/** Short items, several a line. */
function packed(parts: string[], width: number): string[] {
  const lines: string[] = [];
  for (const part of parts) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + part.length + 2 <= width) {
      lines[lines.length - 1] = `${last}, ${part}`;
    } else lines.push(part);
  }
  return lines;
}

/** What a console prints for its arguments: `%s`, `%d`, `%i`, `%f`, `%o`, `%O`, `%j` and `%c` of a first text are filled in. */
export function consoleText(args: readonly unknown[], length = 20_000): string {
  const rest = [...args];
  const parts: string[] = [];
  if (typeof rest[0] === "string" && /%[sdifoOjc%]/.test(rest[0]) && rest.length > 1) {
    const format = rest.shift() as string;
    parts.push(format.replace(/%([sdifoOjc%])/g, (match, kind) => {
      if (kind === "%") return "%";
      if (rest.length === 0) return match;
      const value = rest.shift();
      switch (kind) {
        case "s":
          return plain(value, length);
        case "d":
          return String(Number(value));
        case "i":
          return String(Math.trunc(Number(value)));
        case "f":
          return String(Number(value));
        case "c":
          return "";
        default:
          return textOf(value, length);
      }
    }));
  }
  for (const value of rest) parts.push(plain(value, length));
  const text = parts.join(" ");
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

function plain(value: unknown, length: number): string {
  return typeof value === "string" ? value : textOf(value, length);
}
