import { assert, assertEquals, assertRejects, assertThrows } from "deno-std/assert/mod.js";
import {
  cellFrames,
  type CellImporter,
  CellSyntaxError,
  compileCell,
  define,
  instantiateCell,
  newScope,
  type Scope,
} from "../../../lab/notebook/cells.ts";
import { uniforms } from "../../kernels/testing.ts";

const noImports: CellImporter = (specifier) => Promise.reject(new Error(`no ${specifier}`));

/** Runs cells one after the other; the value of each. */
async function run(cells: string[], scope: Scope = newScope(), imports = noImports): Promise<unknown[]> {
  const values: unknown[] = [];
  for (const source of cells) {
    const { code } = compileCell(source);
    const { value, defined } = await instantiateCell(code)(scope, "the lab", "the display", console, imports);
    define(scope, defined);
    values.push(value);
  }
  return values;
}

const last = async (...cells: string[]) => (await run(cells)).at(-1);

Deno.test("the last expression is the value, a semicolon suppresses it, and no other statement has one", async () => {
  for (
    const [source, value] of [
      ["1 + 1", 2],
      ["1 + 1;", undefined],
      ["const a = 2\na * 3 // six", 6],
      ["const a = 2\na * 3 /* ; */", 6],
      ["const a = 2\na * 3\n;", undefined],
      ["let a = 1; a = 5", 5],
      ["1, 2", 2],
      ["(1, 2)", 2],
      ["await Promise.resolve(3)", 3],
      ["Promise.resolve(4)", 4],
      ["'a;'", "a;"],
      ["`a\n;`", "a\n;"],
      ["({ a: 1 }).a", 1],
      ["if (true) 5", undefined],
      ["function f() { return 1 }", undefined],
      ["", undefined],
      ["// nothing", undefined],
      ["const o = { a: 1 }\no.a as number", 1],
      ["for (const x of [1]) x", undefined],
    ] as const
  ) assertEquals(await last(source), value, source);
  assertEquals(Object.keys(await instantiateCell(compileCell("1;").code)(newScope(), 0, 0, 0, noImports)), [
    "defined",
  ]);
});

Deno.test("types go, lines stay", async () => {
  const source = `import type { Tensor } from "precis";
interface Shape { rows: number; columns: number }
type Pair<T> = [T, T];
const shape: Shape = { rows: 2, columns: 3 };
abstract class Base<T> { abstract area(): T; declare kept: string; protected readonly name!: string; constructor(public_: T) { void public_ } }
class Rectangle extends Base<number> implements Iterable<number> {
  private static count = 0;
  constructor(private_: number) { super(private_) }
  override area(): number { return (shape!.rows as number) * shape.columns }
  *[Symbol.iterator](): Generator<number> { yield 1 }
  enum = 3; namespace = 4;
}
function over(a: string): string;
function over(a: number): number;
function over(this: void, a: unknown, b?: number): unknown { return <unknown> a }
declare const ambient: number; declare enum Gone { A } declare namespace N { const deep: number }
const generic = async <T,>(x: T): Promise<T> => x satisfies T;
const words = { enum: 1, namespace: 2, module: 3, constructor: (x: number) => x };
words.enum + new Rectangle(1).area() + Number(over(1)) + await generic(2)`;
  assertEquals(await last(source), 1 + 6 + 1 + 2);
  const { defines, code } = compileCell(source);
  assertEquals(defines, ["shape", "Base", "Rectangle", "over", "generic", "words"]);
  assert(code.split("\n")[18].includes(".enum +"), "the nineteenth line is not the nineteenth");
});

Deno.test("an error's line is the cell's", async () => {
  const { code } = compileCell("const a = 1;\ntype T = {\n  x: 1;\n};\nimport 'x';\nnull.x;\n");
  const error = await assertRejects(
    () => instantiateCell(code, "cell-7")(newScope(), 0, 0, 0, () => Promise.resolve({})),
    TypeError,
  );
  assertEquals(cellFrames(error.stack!)[0], { inside: "", sourceName: "cell-7", line: 6 });
  // As Chromium writes it.
  const chromium =
    "Error: (x:1:1)\n    at f (cell-7:9:3)\n    at async eval (cell-7:4:1)\n    at https://a.b/c.js:3:4";
  assertEquals(cellFrames(chromium).map(({ inside, line }) => [inside, line]), [["f", 7], ["", 2]]);
});

Deno.test("what is not erasable is refused where it stands", () => {
  for (
    const [source, line, column, what] of [
      ["enum A { B }", 1, 1, /enum A/],
      ["let a;\n  const enum A { B }", 2, 9, /enum A/],
      ["namespace N { export const x = 1 }", 1, 1, /namespace N/],
      ["1\nmodule Deep.er { export let y = 2 }", 2, 1, /namespace Deep/],
      ["declare namespace N { namespace M {} }\nnamespace N { export const x = 1 }", 2, 1, /namespace N/],
      ["class C {\n  constructor(a: number, private b = (1, 2)) {}\n}", 2, 26, /"private"/],
      ["class C { constructor(readonly b: string) {} }", 1, 23, /"readonly"/],
      ["import fs = require('fs')", 1, 1, /import fs/],
      ["class C {\n @log m() {} }", 2, 2, /decorators/],
      ["@log class C {}", 1, 1, /decorators/],
    ] as const
  ) {
    const error = assertThrows(() => compileCell(source), CellSyntaxError);
    assertEquals([error.line, error.column], [line, column], `${source}: ${error.message}`);
    assert(what.test(error.message), error.message);
    assert(error.message.endsWith(`(line ${line}, column ${column}).`), error.message);
  }
});

Deno.test("what is no JavaScript is refused with its place", () => {
  for (
    const [source, line, column] of [
      ["let a = ;", 1, 9],
      ["const x: number = 1;\nconst y: string = (1 + ;", 2, 24],
      // Found after the types are gone: the column is the source's none the less.
      ["const x: number = 1, y: Array<number> = [], x = 2", 1, 45],
      ["let a: number = 1; return a", 1, 20],
      ["function f(a: string) {\n  let b: number = 1; break }", 2, 22],
      ["`open", 1, 2],
      ["let a: number = 1; export const b = 2", 1, 20],
      ["a: while (1) { break b }", 1, 16],
      ["#!/usr/bin/env deno", 1, 2],
      ["let u: any = import.meta.url", 1, 14],
      ["let Math: any", 1, 5],
      ["const f = (a: string) => $scope", 1, 26],
      ["function f(a: string, { $scope }) {}", 1, 25],
      ["import { $value } from 'x'", 1, 10],
      ["let $0 = 1", 1, 5],
      ["let a: 1 = arguments[0]", 1, 12],
      // As the body of a function, all behind the sign would be a comment, and the text on the next line code.
      ["let a: number = 1, b = [1];\na<!--b[`\nimport('npm:x') //`]", 2, 2],
      [`${"[".repeat(50_000)}${"]".repeat(50_000)}`, 1, 1],
    ] as const
  ) {
    const error = assertThrows(() => compileCell(source), CellSyntaxError, undefined, source);
    assertEquals([error.line, error.column], [line, column], `${source.slice(0, 80)}: ${error.message}`);
    assert(/^[^\n]+ \(line \d+, column \d+\)\.$/.test(error.message), error.message);
  }
});

Deno.test("names: declared, changed, used", () => {
  const cases: [source: string, defines: string, changes: string, uses: string][] = [
    ["const { a, b: { c = d }, ...e } = f, [g, , h = i, ...j] = k", "a c e g h j", "", "d f i k"],
    [
      "var a = 1; { var b; let c; function d() { var e } } for (var f of []) {} try { var g } catch { }",
      "a b f g",
      "",
      "",
    ],
    ["function f(a, { b }, c = d, ...e) { return a + b + c + e + g }", "f", "", "d g"],
    ["function f(a = x) { var x; return arguments.length }", "f", "", "x"],
    [
      "class A extends B { #p = q; static { var r = s } [t] = u; get v() { return A } }",
      "A",
      "",
      "B q s t u",
    ],
    ["const f = function g() { return g }, h = class I { x = I }", "f h", "", ""],
    ["try { a } catch ({ b, c = d }) { b + c + e }", "", "", "a d e"],
    ["try { a } catch (b) { b } b", "", "", "a b"],
    ["outer: for (const x of y) { continue outer; }", "", "", "y"],
    ["for (let i = 0, n = a; i < n; i++) b(i); i", "", "", "a b i"],
    ["for (x of y) z", "", "x", "y z"],
    ["for (const k in o) { switch (k) { case m: let n = k; n } } n", "", "", "o m n"],
    ["a = b; c += d; e++; [f, g.h] = i; ({ j, k: l = m } = n)", "", "a c e f j l g", "b c d e g i m n"],
    [
      "a.b = 1; c[0]++; delete d?.e; f.push(1); g.map(2); h.b.c.fill(0); x().y = 1",
      "",
      "a c d f h",
      "a c d f g h x",
    ],
    ["let a = []; a.push(1); (() => { let b; b.c = 1 })()", "a", "", ""],
    [
      "typeof a === 'undefined' ? b : { c, d: e, [f]: 1, g() {}, h: Math.abs(undefined) }",
      "",
      "",
      "a b c e f",
    ],
    ["import a, { b as c, default as d } from 'x'; import * as e from 'y'; import 'z'", "a c d e", "", ""],
    ["const t = tag`x${a}` as Foo<Bar>; `${b}`", "t", "", "tag a b"],
    ["(a) => { b; { let b; } }; async ({ c }) => await c; d => e", "", "", "b e"],
    ["x?.y?.[z]; new Foo.Bar(q); import(w); super_", "", "", "x z Foo q w super_"],
    ["type T = typeof q; let a: typeof r; interface I { s: t }", "a", "", ""],
    ["lab.show(1); console.log(fetch)", "", "", "lab console fetch"],
    ["({ a } = b);", "", "a", "b"],
  ];
  for (const [source, defines, changes, uses] of cases) {
    const cell = compileCell(source);
    const words = (text: string) => text === "" ? [] : text.split(" ");
    assertEquals(
      [cell.defines, cell.changes, cell.uses].map((names) => [...names].sort()),
      [defines, changes, uses].map((text) => words(text).sort()),
      source,
    );
  }
});

Deno.test("names live on in later cells, as bindings", async () => {
  assertEquals(await last("let n = 1; function up() { n++; return n }", "up(); up()", "n"), 3);
  assertEquals(await last("let n = 1; const see = () => n", "n = 7", "n += 1; n++", "see()"), 9);
  assertEquals(await last("const a = 1", "const a = 2", "a"), 2);
  assertEquals(await last("let o = { x: 1 }", "({ x: o.x, y: o.z = 5 } = { x: 4 }); [o.w] = [6]", "o"), {
    x: 4,
    z: 5,
    w: 6,
  });
  assertEquals(await last("let a = 1, b = 2", "[a, b] = [b, a]", "[a, b]"), [2, 1]);
  assertEquals(await last("let a = 0", "for (a of [1, 2, 3]);", "({ a })"), { a: 3 });
  assertEquals(await last("function who(this: unknown) { return this }", "who()"), undefined);
  assertEquals(await last("class A { x = 1 }", "new A().x + new (class extends A {})().x"), 2);
  assertEquals(await last("const later = () => answer", "const answer = 42", "later()"), 42);
  assertEquals(await last("var display = 3", "display"), 3);
  assertEquals(await last("display"), "the display");
  assertEquals(await last("typeof nothing + typeof (1 as any)"), "undefinednumber");
  assertEquals(await last("const toString = 1", "toString"), 1);
  assertEquals(await last("let __proto__ = 5", "__proto__"), 5);
  // A function sees what its names were declared to be since.
  const anew = newScope();
  await run(["let n = 1", "const see = () => n++"], anew);
  assertEquals(await run(["let n = 5", "see() + n"], anew), [undefined, 11]);
  const scope = newScope();
  await run(["const a = 1, b = 2"], scope);
  await assertRejects(() => run(["a = 2"], scope), TypeError, "constant");
  await assertRejects(() => run(["nowhere = 2"], scope), ReferenceError, "nowhere is not defined");
  await assertRejects(() => run(["nowhere"], scope), ReferenceError, "nowhere is not defined");
  await assertRejects(() => run(["const b = 3; throw new RangeError('so')"], scope), RangeError);
  assertEquals(await run(["b"], scope), [2]);
});

Deno.test("a line without semicolon does not run into a name of another cell", async () => {
  const head = "let n = 0; const f = () => ++n; const o = { f }; let x: any = [3]";
  for (
    const [cell, value] of [
      ["const a = 1\nf()\nf()", 2],
      ["const a = o\nf()\nx[0]", 3],
      ["if (n === 0)\nf()\nelse\nx = 1\nn", 1],
      ["for (const _ of [1, 2])\n  f()\nn", 2],
      ["switch (1) { case 1: const q = o\nf() }\nn", 1],
      ["const a = () => { const b = o\nx = b\nreturn x }\na() === o", true],
      ["let c = n\ntypeof x", "object"],
      ["class A { static { const z = o\nf() } }\nn", 1],
      ["do f()\nwhile (n < 3)\nn", 3],
      ["l: f()\nn", 1],
    ] as const
  ) assertEquals(await last(head, cell), value, cell);
});

Deno.test("imports are lookups that come first", async () => {
  const asked: unknown[] = [];
  const imports: CellImporter = (specifier, options) => {
    asked.push(options ? [specifier, options.with] : specifier);
    return Promise.resolve({ default: "d", named: "n", "odd-name": "o" });
  };
  const source = `const early = named + (await import("dyn")).named;
import whole, { named, "odd-name" as odd } from "a";
import * as space from "b"; import both, * as rest from "c";
import "side"; import json from "j" with { type: "json" };
[early, whole, odd, space.named, both, rest.named, json].join()`;
  assertEquals(await run([source, "named + odd"], newScope(), imports), ["nn,d,o,n,d,n,d", "no"]);
  assertEquals(asked, ["a", "b", "c", "side", ["j", { type: "json" }], "dyn"]);
  assertEquals(
    compileCell(source).imports.map(({ specifier, names, locals }) => [specifier, names, locals]),
    [
      ["a", ["default", "named", "odd-name"], ["whole", "named", "odd"]],
      ["b", ["*"], ["space"]],
      ["c", ["default", "*"], ["both", "rest"]],
      ["side", [], []],
      ["j", ["default"], ["json"]],
      ["dyn", [], []],
    ],
  );
});

Deno.test("what using holds is kept, and named", async () => {
  const source = "let n = 0;\nusing a = { [Symbol.dispose]() { n++ } },\n  b = null;\nawait using c = null";
  const { disposes, defines } = compileCell(source);
  assertEquals([disposes, defines], [["a", "b", "c"], ["n", "a", "b", "c"]]);
  assertEquals(await last(source, "a[Symbol.dispose](); n"), 1);
  // Inside a block it is JavaScript's own.
  assertEquals(await last("let n = 0", "{ using a = { [Symbol.dispose]() { n++ } }; }", "n"), 1);
});

/** A program of statements that mean the same whether they are one program or cells. */
function randomProgram(seed: number): string[] {
  const next = uniforms(seed);
  const below = (n: number) => Math.floor(next() * n);
  const pick = <T>(list: readonly T[]) => list[below(list.length)];
  const known = ["v"], functions: string[] = [];
  const number = (depth = 0): string => {
    const name = pick(known);
    switch (below(depth > 2 ? 3 : 9)) {
      case 0:
        return String(below(10));
      case 1:
      case 2:
        return name;
      case 3:
        return `(${number(depth + 1)} ${pick(["+", "-", "*"])} ${number(depth + 1)}) % 97`;
      case 4:
        return functions.length > 0 ? `${pick(functions)}(${number(depth + 1)})` : name;
      case 5:
        return `((${name}) => ${number(depth + 1)})(${number(depth + 1)})`;
      case 6:
        return `{ ${name}, other: 1 }.${name}`.replace(/^(.*)\.(\w+)$/, "($1).$2");
      case 7:
        return `Number(\`\${${number(depth + 1)}}\`.length)`;
      default:
        return `(typeof ${name} === "number" ? ${number(depth + 1)} : typeof nowhere)`;
    }
  };
  const statement = (): string => {
    const name = pick(known), other = pick(known);
    switch (below(11)) {
      case 0:
      case 1: {
        const fresh = `v${known.length}`;
        const text = `${pick(["let", "var"])} ${fresh} = ${number()}`;
        known.push(fresh);
        return text;
      }
      case 2: {
        const fresh = `f${functions.length}`;
        const text = `function ${fresh}(${pick(["a", name])}) { ${name} ${
          pick(["=", "+="])
        } ${number()} % 7; return ${other} % 89 }`;
        functions.push(fresh);
        return text;
      }
      case 3:
        return `${name}${pick(["++", "--", ` += ${number()}`, ` = ${number()}`])}`;
      case 4:
        return `[${name}, ${other}] = [${number()}, ${number()}]`;
      case 5:
        return `({ a: ${name} = ${number()}, ...{} } = { b: 1 })`.replace(", ...{}", "");
      case 6:
        return `{ let ${name} = ${below(10)}; ${name}++; ${other === name ? "" : `${other} += ${name}`} }`;
      case 7:
        return `for (let ${name} = 0; ${name} < 3; ${name}++) { ${other === name ? "" : `${other}++`} }`;
      case 8:
        return `try { throw ${number()} } catch (${name}) { ${name} = 1; ${
          other === name ? "" : `${other} -= ${name}`
        } }`;
      case 9:
        return `if (${number()} > ${number()})\n${name} = ${number()}\nelse ${other}++`;
      default:
        return number().replace(/^/, "void ");
    }
  };
  return ["let v = 1", ...Array.from({ length: 4 + below(12) }, statement)];
}

Deno.test("a program in cells computes what it computes in one piece", async () => {
  for (let seed = 1; seed <= 400; seed++) {
    const statements = randomProgram(seed);
    const next = uniforms(seed + 5000);
    const names = [...new Set(statements.join("\n").match(/\bv\d*\b/g))];
    const dump = `[${names.join(", ")}]`;
    const cells: string[] = [];
    for (const one of statements) {
      if (cells.length === 0 || next() < 0.5) cells.push(one);
      else cells[cells.length - 1] += /^[[({]/.test(one) ? "\n;" + one : "\n" + one;
    }
    const source = statements.join("\n;");
    const AsyncFunction = (async () => {}).constructor as new (text: string) => () => Promise<unknown>;
    const outcome = async (work: () => Promise<unknown>) => {
      try {
        return await work();
      } catch (error) {
        return (error as Error).name;
      }
    };
    const whole = await outcome(new AsyncFunction(`"use strict";${source}\n;return ${dump}`));
    const scope = newScope();
    const parts = await outcome(async () => (await run([...cells, dump], scope)).at(-1));
    assertEquals(parts, whole, `seed ${seed}:\n${cells.join("\n// ---\n")}`);
  }
});
