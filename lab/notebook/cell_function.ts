/** A compiled cell (cells.ts) where it runs: without the compiler, which has no business there. */

/** Names of all cells so far. Has no prototype: a name is there only if a cell defined it. */
export type Scope = Record<string, unknown>;

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
) => Promise<{ value?: unknown; defined: Scope }>;

/** Parameters of the function whose body a compiled cell's code is. */
export const cellParameters = ["$scope", "lab", "display", "console", "$imports"] as const;

/** Lines that V8 puts before the code of a function made from text. */
export const linesBefore = 2;

/** An empty scope. */
export function newScope(): Scope {
  return Object.create(null);
}

/** Puts what a cell defined into the scope, live. */
export function define(scope: Scope, defined: Scope): void {
  Object.defineProperties(scope, Object.getOwnPropertyDescriptors(defined));
}

/**
 * A compiled cell as a function.
 * @param sourceName what stacks call it, of letters, digits, "_", "-" and "."
 */
export function instantiateCell(code: string, sourceName?: string): CellFunction {
  const AsyncFunction = (async () => {}).constructor as new (...texts: string[]) => CellFunction;
  if (sourceName !== undefined && !/^[\w.-]+$/.test(sourceName)) {
    throw new TypeError(`"${sourceName}" is no name of a source.`);
  }
  const named = sourceName === undefined ? "" : `\n//# sourceURL=${sourceName}`;
  return new AsyncFunction(...cellParameters, code + named);
}

/**
 * The innermost line of a cell in an error's stack, from 1, as V8 writes stacks; undefined where the cell is not in it.
 * @param sourceName what `instantiateCell` was given
 */
export function lineInCell(stack: string, sourceName: string): number | undefined {
  for (const entry of stack.split("\n")) {
    const at = entry.indexOf(`(${sourceName}`);
    const place = at < 0
      ? null
      : /^(?:, <anonymous>)?:(\d+):\d+\)/.exec(entry.slice(at + 1 + sourceName.length));
    if (place) return Number(place[1]) - linesBefore;
  }
}
