/**
 * A JavaScript module as a function, as cells are functions: that needs nothing of the realm that it runs in but what cells need, no module
 * loader, and so no way to one. Every import of it, static or not, goes through what the kernel hands to the function, and that has nothing
 * but the modules of the lock: see module_link.ts.
 *
 * The function is an async generator. Up to its first `yield` it says what it exports, functions of it can be called by then, and everything
 * else is as good as not there yet: what modules that import each other in a circle rely on. After that it runs, waiting where it waits.
 */
import * as acorn from "acorn";
import { full } from "acorn-walk";
import { Edits, parseModule, statementStarts, writtenOut } from "./edits.ts";
import { addressOf, ImportError, isModuleAddress } from "./import_specifiers.ts";
import type { CompiledModule, ModuleExport, Taken } from "./module_link.ts";
import { namesOf } from "./names.ts";

const kept = /^\$precis_/;
const defaultName = "$precis_default";

/**
 * Compiles a module.
 * @param address of its text, which relative imports are relative to
 * @throws ImportError where it is no JavaScript module, or one that cannot run here
 */
export function compileModule(address: string, text: string): CompiledModule {
  try {
    return compile(address, text);
  } catch (error) {
    if (error instanceof ImportError) throw error;
    if (error instanceof RangeError) throw new ImportError(`${address} is too deeply nested to be read.`);
    if (!(error instanceof SyntaxError)) throw error;
    const { message, loc } = error as SyntaxError & { loc?: acorn.Position };
    const place = loc ? ` (line ${loc.line}, column ${loc.column + 1})` : "";
    throw new ImportError(
      `${address} is no JavaScript module: ${message.replace(/ \(\d+:\d+\)$/, "")}${place}.`,
    );
  }
}

function compile(address: string, text: string): CompiledModule {
  const { program, tokens } = parseModule(text);
  for (const { type, value } of tokens as (acorn.Token & { value: unknown })[]) {
    if (type !== acorn.tokTypes.name || !kept.test(String(value))) continue;
    throw new ImportError(`${address} has the name "${value}", which is the notebook's own.`);
  }
  const edits = new Edits(text);
  const needs: string[] = [];
  const need = (source: acorn.Literal, attributes: readonly unknown[]): number => {
    if (attributes.length > 0) {
      throw new ImportError(
        `${address} imports "${source.value}" as something else than JavaScript; only that can be linked.`,
      );
    }
    const wanted = resolve(String(source.value), address);
    if (!needs.includes(wanted)) needs.push(wanted);
    return needs.indexOf(wanted);
  };

  const imported = new Map<string, Taken>();
  for (const statement of program.body) {
    if (statement.type !== "ImportDeclaration") continue;
    const from = need(statement.source, statement.attributes);
    for (const one of statement.specifiers) {
      const as = one.type === "ImportNamespaceSpecifier"
        ? "*"
        : one.type === "ImportDefaultSpecifier"
        ? "default"
        : nameOf(one.imported);
      imported.set(one.local.name, { from, as });
    }
    edits.blankStatement(statement);
  }

  const { exports, locals, stars } = takeExports(program, tokens, edits, imported, need);
  rerouteNames(withoutModuleSyntax(program), imported, edits, address);
  const later = rerouteLater(program, address, edits);

  const getters = [...locals].map(([name, local]) => `get ${JSON.stringify(name)}(){return ${local}},`);
  const modules = needs.map((_, i) => `const $precis_${i}=$precis_needs[${i}];`);
  return {
    address,
    code: `"use strict";${modules.join("")}$precis_export({__proto__:null,${
      getters.join("")
    }});yield;${edits.result()}\n`,
    needs,
    later,
    exports,
    takes: [...imported.values(), ...exports.filter((one) => "from" in one)].map(({ from, as }) => ({
      from,
      as,
    })),
    stars,
  };
}

/** The address of what a module imports. */
function resolve(specifier: string, importer: string): string {
  if (specifier.startsWith("npm:")) return addressOf(specifier);
  if (/^\.{0,2}\//.test(specifier) || /^\.{1,2}$/.test(specifier)) return new URL(specifier, importer).href;
  if (isModuleAddress(specifier)) return new URL(specifier).href;
  throw new ImportError(
    `${importer} imports "${
      specifier.slice(0, 200)
    }", which a notebook does not have; a package whose imports are names is imported as ` +
      "npm:NAME@VERSION.",
  );
}

function nameOf(node: acorn.Identifier | acorn.Literal): string {
  return node.type === "Identifier" ? node.name : String(node.value);
}

/** Takes `export` off what it stands before. */
function takeExports(
  program: acorn.Program,
  tokens: readonly acorn.Token[],
  edits: Edits,
  imported: ReadonlyMap<string, Taken>,
  need: (source: acorn.Literal, attributes: readonly unknown[]) => number,
): { exports: ModuleExport[]; locals: Map<string, string>; stars: number[] } {
  const exports: ModuleExport[] = [], stars: number[] = [];
  /** By name of an export: the name in the module. */
  const locals = new Map<string, string>();
  const own = (name: string, local = name) => {
    exports.push({ name });
    locals.set(name, local);
  };
  for (const statement of program.body) {
    if (statement.type === "ExportAllDeclaration") {
      const from = need(statement.source, statement.attributes);
      if (statement.exported) exports.push({ name: nameOf(statement.exported), from, as: "*" });
      else stars.push(from);
      edits.blankStatement(statement);
    } else if (statement.type === "ExportNamedDeclaration" && statement.declaration) {
      const { declaration } = statement;
      edits.blank(statement.start, declaration.start);
      if (declaration.type !== "VariableDeclaration") own(declaration.id.name);
      else for (const { id } of declaration.declarations) for (const name of namesIn(id)) own(name);
    } else if (statement.type === "ExportNamedDeclaration") {
      const from = statement.source ? need(statement.source, statement.attributes) : undefined;
      for (const { local, exported } of statement.specifiers) {
        const name = nameOf(exported), its = nameOf(local), through = imported.get(its);
        if (from !== undefined) exports.push({ name, from, as: its });
        else if (through) exports.push({ name, ...through });
        else own(name, its);
      }
      edits.blankStatement(statement);
    } else if (statement.type === "ExportDefaultDeclaration") {
      const { declaration } = statement;
      const first = tokens.findIndex(({ start }) => start === statement.start);
      const end = tokens[first + 1].end;
      if (declaration.type === "FunctionDeclaration") {
        // It stays a declaration: modules in a circle may call it before this one has run.
        edits.blank(statement.start, end);
        const bracket = tokens.find(({ start, type }) =>
          start >= declaration.start && type === acorn.tokTypes.parenL
        )!;
        if (!declaration.id) edits.insert(bracket.start, ` ${defaultName}`);
        own("default", declaration.id?.name ?? defaultName);
      } else if (declaration.type === "ClassDeclaration" && declaration.id) {
        edits.blank(statement.start, end);
        own("default", declaration.id.name);
      } else {
        edits.replace(statement.start, end, `const ${defaultName}=`);
        edits.insert(statement.end, ";");
        own("default", defaultName);
      }
    }
  }
  return { exports, locals, stars };
}

/** Names that a pattern declares. */
function namesIn(pattern: acorn.Pattern): string[] {
  switch (pattern.type) {
    case "Identifier":
      return [pattern.name];
    case "ArrayPattern":
      return pattern.elements.flatMap((one) => one ? namesIn(one) : []);
    case "ObjectPattern":
      return pattern.properties.flatMap((one) =>
        namesIn(one.type === "RestElement" ? one.argument : one.value)
      );
    case "AssignmentPattern":
      return namesIn(pattern.left);
    case "RestElement":
      return namesIn(pattern.argument);
    default:
      return [];
  }
}

/** The program as it is without imports and exports, for the analysis of its names. */
function withoutModuleSyntax(program: acorn.Program): acorn.Program {
  const body = program.body.flatMap((statement): (acorn.Statement | acorn.ModuleDeclaration)[] => {
    if (statement.type === "ExportNamedDeclaration") {
      return statement.declaration ? [statement.declaration] : [];
    }
    if (statement.type === "ExportDefaultDeclaration") {
      const { declaration } = statement;
      if ("id" in declaration && declaration.id && /Declaration$/.test(declaration.type)) {
        return [declaration as acorn.FunctionDeclaration | acorn.ClassDeclaration];
      }
      const expression = { ...declaration, type: declaration.type.replace("Declaration", "Expression") };
      const { start, end } = statement;
      return [{ type: "ExpressionStatement", start, end, expression } as acorn.ExpressionStatement];
    }
    return statement.type === "ImportDeclaration" || statement.type === "ExportAllDeclaration"
      ? []
      : [statement];
  });
  return { ...program, body };
}

/** Makes a mention of an imported name one of what it stands for in the other module, at that moment. */
function rerouteNames(
  program: acorn.Program,
  imported: ReadonlyMap<string, Taken>,
  edits: Edits,
  address: string,
): void {
  const { free } = namesOf(program);
  const listed = statementStarts(program);
  for (const { name, start, end, writes, shorthand } of free) {
    if (name === "arguments") {
      throw new ImportError(`${address} asks for "arguments" outside of a function; a module has none.`);
    }
    const stands = imported.get(name);
    if (!stands) continue;
    const module = `$precis_${stands.from}`;
    const value = stands.as === "*" ? module : `${module}[${JSON.stringify(stands.as)}]`;
    // The comma leaves a function without the module as its `this`.
    const by = writes || stands.as === "*" ? value : `(0,${value})`;
    edits.replace(start, end, (shorthand ? `${name}:` : "") + (listed.has(start) ? ";" : "") + by);
  }
}

/** Makes import() and import.meta the kernel's. @returns imports whose specifier is written out and leads somewhere */
function rerouteLater(program: acorn.Program, address: string, edits: Edits): CompiledModule["later"] {
  const later = new Map<string, string>();
  full(program, (node) => {
    const one = node as acorn.AnyNode;
    if (one.type === "MetaProperty" && one.meta.name === "import") {
      edits.replace(one.start, one.end, "$precis_meta");
    } else if (one.type === "ImportExpression") {
      edits.replace(one.start, one.start + "import".length, "$precis_import");
      const specifier = writtenOut(one.source);
      if (specifier === undefined) return;
      try {
        later.set(specifier, resolve(specifier, address));
      } catch {
        // What is only for other worlds is refused when, and if, it is asked for.
      }
    }
  });
  return [...later];
}
