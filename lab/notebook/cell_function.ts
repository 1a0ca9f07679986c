/** A compiled cell (cells.ts) where it runs: without the compiler, which has no business there. */

/** What a name stands for in all cells that mention it: the variable of the cell that declared it last. */
export class Binding {
  /** Absent until a cell has declared the name. */
  get?: () => unknown = undefined;
  set?: (value: unknown) => void = undefined;

  set value(value: unknown) {
    this.set!(value);
  }
  get value(): unknown {
    return this.get!();
  }
}

/**
 * The names of all cells so far. A cell looks each of its names up once, when it starts: one object of all names would be a hash table
 * to V8, and a name in a loop would cost twenty times as much.
 */
export interface Scope {
  /** The one binding of a name, made where there is none. */
  binding(name: string): Binding;
}

/** What the kernel gives to a cell for its static and dynamic imports: the module's namespace. */
export type CellImporter = (
  specifier: string,
  options?: { with?: Record<string, string> },
) => Promise<Record<string, unknown>>;

/** A cell that can be run. */
export type CellFunction = (
  scope: Scope,
  lab: unknown,
  display: unknown,
  console: unknown,
  imports: CellImporter,
) => Promise<{ value?: unknown; defined: Record<string, unknown> }>;

/** Lines that V8 puts before the code of a function made from text. */
const linesBefore = 2;

/** An empty scope. */
export function newScope(): Scope {
  const bindings = new Map<string, Binding>();
  return {
    binding(name) {
      let binding = bindings.get(name);
      if (!binding) bindings.set(name, binding = new Binding());
      return binding;
    },
  };
}

/** Puts what a cell defined into the scope, live. */
export function define(scope: Scope, defined: Record<string, unknown>): void {
  for (const [name, { get, set }] of Object.entries(Object.getOwnPropertyDescriptors(defined))) {
    Object.assign(scope.binding(name), { get, set });
  }
}

/** Kept from the start: a kernel takes it away from cells. */
const AsyncFunction = (async () => {}).constructor as new (...texts: string[]) => CellFunction;

/**
 * A compiled cell as a function.
 * @param sourceName what stacks call it, of letters, digits, "_", "-" and "."
 */
export function instantiateCell(code: string, sourceName?: string): CellFunction {
  if (sourceName !== undefined && !/^[\w.-]+$/.test(sourceName)) {
    throw new TypeError(`"${sourceName}" is no name of a source.`);
  }
  const named = sourceName === undefined ? "" : `\n//# sourceURL=${sourceName}`;
  // Written out: what a list is spread to is for a cell to say, which may have given lists another iterator.
  return new AsyncFunction("$scope", "lab", "display", "console", "$imports", code + named);
}

/** A place in a cell. */
export interface CellFrame {
  /** The function that it is in; empty at the cell's top. */
  inside: string;
  /** What `instantiateCell` was given. */
  sourceName: string;
  /** From 1. */
  line: number;
}

/** "    at f (cell-1:7:3)" as Chromium writes it, "    at f (cell-1, <anonymous>:7:3)" as Deno does. */
const frame = /^ +at (?:async )?(?:([^\n(]*?) )?\(?([\w.-]+)(?:, <anonymous>)?:(\d+):\d+\)?$/gm;

/** The places in an error's stack that can be cells', the innermost first. */
export function cellFrames(stack: string): CellFrame[] {
  return Array.from(stack.matchAll(frame), ([, inside = "", sourceName, line]) => ({
    inside: inside === "eval" ? "" : inside,
    sourceName,
    line: Number(line) - linesBefore,
  }));
}
