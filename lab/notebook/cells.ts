/**
 * A cell's TypeScript as a function that the kernel calls. The signatures that others build on:
 *
 *     compileCell(source: string): CompiledCell                     throws CellSyntaxError { what, line, column }
 *     instantiateCell(code: string, sourceName?: string): CellFunction
 *     cellFrames(stack: string): CellFrame[]                        places of an error: { inside, sourceName, line }
 *     newScope(): Scope;  define(scope: Scope, defined: Record<string, unknown>): void
 *
 * A kernel does `const { value, defined } = await instantiateCell(code)(scope, lab, display, console, imports)`, then `define(scope, defined)`.
 *
 * What a cell means: its top-level names are for the cells after it, as live as the exports of a module: a function of an earlier cell that
 * changes a variable of its own changes what later cells see, and `count++` in a later cell changes what that function sees. A `const`
 * stays one. A later cell may declare a name anew; the latest declaration counts. A cell that fails defines nothing.
 * The last statement, if it is an expression, is awaited and is the cell's value, unless a semicolon ends it: that suppresses, as in
 * Jupyter. What a top-level `using` holds lives until the cell runs again, when the kernel disposes of it.
 */
import * as acorn from "acorn";
import { full } from "acorn-walk";
import { Edits, parseModule, statementStarts, writtenOut } from "./edits.ts";
import { CellSyntaxError, type Stripped, stripTypes } from "./erasable.ts";
import { languageNames } from "./globals.ts";
import { namesOf, type Reference } from "./names.ts";

export {
  type CellFrame,
  cellFrames,
  type CellFunction,
  type CellImporter,
  define,
  instantiateCell,
  newScope,
  type Scope,
} from "./cell_function.ts";
export { CellSyntaxError } from "./erasable.ts";

/** An import of a cell: a static one, or an import() whose specifier is written out, which takes no names. */
export interface CellImport {
  specifier: string;
  /** What is taken of the module: export names, "default", or "*" for all of it. Empty where it is only run. */
  names: string[];
  /** What they are called in the cell, in the same order. */
  locals: string[];
  /** Import attributes, such as { type: "json" }. */
  attributes?: Record<string, string>;
}

/** A cell, compiled. Plain data, so that it can be sent to where it runs. */
export interface CompiledCell {
  /** Body of an async function, for `instantiateCell`. Line n of the code is line n of the cell. */
  code: string;
  /** Names that the cell declares at its top, in order of appearance. */
  defines: string[];
  /** Names that it assigns or changes in place without declaring them; they must be an earlier cell's. */
  changes: string[];
  /** Names that it reads without declaring them, JavaScript's own (Math, Promise, …) aside. */
  uses: string[];
  imports: CellImport[];
  /** Of `defines`, what a top-level `using` holds: to be disposed of when the cell runs again. */
  disposes: string[];
}

/** Names that the code around a cell goes by. */
const kept = /^\$(scope|imports|missing|value|new|\d+)$/;
const takenName = (name: string) => `"${name}" is a name that the notebook keeps for itself; choose another`;

type Refuse = (what: string, at: acorn.Position) => never;

/**
 * Compiles a cell.
 * @throws CellSyntaxError with line and column of the cell, both from 1
 */
export function compileCell(source: string): CompiledCell {
  try {
    return compile(stripTypes(source));
  } catch (error) {
    // The parsers and what walks their trees call themselves for each level.
    if (error instanceof RangeError) throw new CellSyntaxError("The cell is too deeply nested", 1, 1);
    throw error;
  }
}

function compile({ code, placeInSource }: Stripped): CompiledCell {
  const refuseAt: Refuse = (what, at) => {
    const { line, column } = placeInSource(at.line, at.column);
    throw new CellSyntaxError(what, line, column);
  };
  const program = parse(code, refuseAt);
  const { declared, free, mutated } = namesOf(program);
  refuseForeign(program, code, refuseAt);
  const at = (offset: number) => acorn.getLineInfo(code, offset);
  for (const { name, start } of declared) {
    if (languageNames.has(name)) refuseAt(`"${name}" is JavaScript's own; choose another name`, at(start));
    if (kept.test(name)) refuseAt(takenName(name), at(start));
  }
  for (const { name, start } of free) {
    if (name === "arguments") refuseAt("A cell has no arguments; only a function has", at(start));
  }

  const edits = new Edits(code);
  const { imports, lookups } = takeImports(program, edits);
  const disposes = keepUsing(program, edits);
  const last = program.body.at(-1);
  const hasValue = last?.type === "ExpressionStatement" && code[last.end - 1] !== ";";
  const listed = statementStarts(program);
  if (hasValue) {
    listed.delete(last.start);
    edits.insert(last.start, "$value = await (");
    edits.insert(last.end, ")");
  }
  const outside = distinct(free.map(({ name }) => name));
  for (const reference of free) {
    const at = outside.indexOf(reference.name);
    if (at >= 0) reroute(reference, `$${at}`, edits, listed);
  }
  const bindings = outside.map((name, i) => `const $${i}=$scope.binding(${JSON.stringify(name)});`).join("");
  imports.push(...rerouteImports(program, edits));

  const defines = declared.map(({ name }) => name);
  const accessors = defines.map((name) => `get ${name}(){return ${name}},set ${name}($new){${name}=$new},`);
  const missing = `const $missing=(name)=>{throw new ReferenceError(name+" is not defined")};`;
  return {
    code: `"use strict";let $value;${missing}${bindings}{${lookups}${edits.result()}\n` +
      `;return {${hasValue ? "value:$value," : ""}defined:{__proto__:null,${accessors.join("")}}}}`,
    defines,
    changes: distinct([...free.filter(({ writes }) => writes).map(({ name }) => name), ...mutated]),
    uses: distinct(free.filter(({ reads }) => reads).map(({ name }) => name)),
    imports,
    disposes,
  };
}

function distinct(names: string[]): string[] {
  return [...new Set(names)].filter((name) => !languageNames.has(name));
}

function parse(code: string, refuseAt: Refuse): acorn.Program {
  try {
    const { program } = parseModule(code);
    for (const statement of program.body) {
      if (statement.type.startsWith("Export")) {
        refuseAt(
          "A cell exports nothing; what it declares is there for the cells after it",
          statement.loc!.start,
        );
      }
    }
    return program;
  } catch (error) {
    if (error instanceof CellSyntaxError) throw error;
    const { message, loc } = error as SyntaxError & { loc?: acorn.Position };
    if (!loc) throw error;
    return refuseAt(message.replace(/ \(\d+:\d+\)$/, ""), loc);
  }
}

/** Static imports become lookups in front of everything else, as imports run first wherever they stand. */
function takeImports(program: acorn.Program, edits: Edits): { imports: CellImport[]; lookups: string } {
  const imports: CellImport[] = [];
  let lookups = "";
  for (const statement of program.body) {
    if (statement.type !== "ImportDeclaration") continue;
    const specifier = String(statement.source.value);
    const names: string[] = [], locals: string[] = [];
    for (const one of statement.specifiers) {
      locals.push(one.local.name);
      if (one.type === "ImportNamespaceSpecifier") names.push("*");
      else if (one.type === "ImportDefaultSpecifier") names.push("default");
      else names.push(one.imported.type === "Identifier" ? one.imported.name : String(one.imported.value));
    }
    const pairs = statement.attributes.map(({ key, value }) =>
      [key.type === "Identifier" ? key.name : String(key.value), String(value.value)] as const
    );
    const attributes = pairs.length > 0 ? Object.fromEntries(pairs) : undefined;
    imports.push({ specifier, names, locals, ...(attributes && { attributes }) });

    const options = attributes ? `,{with:${JSON.stringify(attributes)}}` : "";
    const module = `await $imports(${JSON.stringify(specifier)}${options})`;
    const whole = names.indexOf("*");
    const taken = names.flatMap((name, i) => name === "*" ? [] : [`${JSON.stringify(name)}:${locals[i]}`]);
    if (whole >= 0) lookups += `const ${locals[whole]}=${module};`;
    else if (taken.length === 0) lookups += `${module};`;
    if (taken.length > 0) lookups += `const {${taken.join()}}=${whole >= 0 ? locals[whole] : module};`;
    edits.blankStatement(statement);
  }
  return { imports, lookups };
}

/** What a top-level `using` declares is a `const` that the kernel disposes of. */
function keepUsing(program: acorn.Program, edits: Edits): string[] {
  const names: string[] = [];
  for (const statement of program.body) {
    if (statement.type !== "VariableDeclaration" || !/using$/.test(statement.kind)) continue;
    // Only comments and line breaks can stand between the words and the first name.
    const [first] = statement.declarations;
    edits.blank(statement.start, first.start);
    edits.insert(first.start, "const ");
    for (const { id } of statement.declarations) names.push((id as acorn.Identifier).name);
  }
  return names;
}

/** Makes a mention of a name that the cell does not declare one of its binding, if there is one by then, or else of the world's. */
function reroute(
  { name, start, end, writes, shorthand, typeofStart }: Reference,
  binding: string,
  edits: Edits,
  listed: Set<number>,
): void {
  const from = typeofStart ?? start;
  const before = (shorthand ? `${name}:` : "") + (listed.has(from) ? ";" : "");
  let by;
  if (writes) by = `(${binding}.set?${binding}:$missing(${JSON.stringify(name)})).value`;
  else if (typeofStart !== undefined) by = `(${binding}.get?typeof ${binding}.get():typeof ${name})`;
  else by = `(${binding}.get?${binding}.get():${name})`;
  edits.replace(from, end, before + by);
}

/** Dynamic imports go where the static ones go. @returns those whose specifier is written out */
function rerouteImports(program: acorn.Program, edits: Edits): CellImport[] {
  const imports: CellImport[] = [];
  full(program, (node) => {
    if (node.type !== "ImportExpression") return;
    edits.replace(node.start, node.start + "import".length, "$imports");
    const specifier = writtenOut((node as acorn.ImportExpression).source);
    if (specifier !== undefined) imports.push({ specifier, names: [], locals: [] });
  });
  return imports;
}

/** Refuses what would mean something else where the code runs. */
function refuseForeign(program: acorn.Program, code: string, refuseAt: Refuse): void {
  full(program, (node) => {
    const one = node as acorn.AnyNode;
    const at = () => acorn.getLineInfo(code, node.start);
    if (one.type === "MetaProperty" && one.meta.name === "import") {
      refuseAt("A cell has no import.meta; it is no file", at());
    }
    if (one.type === "Identifier" && kept.test(one.name)) refuseAt(takenName(one.name), at());
  });
}
