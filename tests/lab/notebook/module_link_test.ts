import { assertEquals, assertMatch, assertRejects, assertThrows } from "deno-std/assert/mod.js";
import { ImportError } from "../../../lab/notebook/import_specifiers.ts";
import { compileModule } from "../../../lab/notebook/module_compiler.ts";
import { Modules } from "../../../lab/notebook/module_link.ts";

const home = "https://example.org/";

/** Ours: a.js of some texts, linked. */
async function linked(texts: Record<string, string>): Promise<Record<string, unknown>> {
  const modules = new Modules();
  modules.add(Object.entries(texts).map(([name, text]) => compileModule(home + name, text)));
  return await modules.import(`${home}a.js`, "npm:a@1.0.0");
}

/** The runtime's own: the same texts as files. */
async function native(texts: Record<string, string>): Promise<Record<string, unknown>> {
  const folder = await Deno.makeTempDir();
  try {
    for (const [name, text] of Object.entries(texts)) await Deno.writeTextFile(`${folder}/${name}`, text);
    return await import(`file://${folder}/a.js`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Graphs whose a.js exports `result`, or throws as it is loaded. */
const graphs: Record<string, Record<string, string>> = {
  "exports of every form": {
    "a.js":
      `import d, * as all from "./b.js"; import { l, v as renamed, "odd name" as odd, f, K, o1, o2, rest, gen } from "./b.js";
export const result = [d(), l, renamed, odd, f.name, new K().k, o1, o2, rest, [...gen()], Object.keys(all), String(all), Object.isExtensible(all)];`,
    "b.js": `export let l = 1; export var v = 2; const x = 3; export { x as "odd name" };
export function f() {} export class K { k = 4 } export const { o1, p: [o2, ...rest] } = { o1: 5, p: [6, 7, 8] };
export function* gen() { yield 9 } export default function () { return 10 }`,
  },
  "a default that is an expression, without semicolons": {
    "a.js": `import one from "./b.js"
import two from "./c.js"
import three from "./d.js"
(function () { globalThis.x = 1 })()
export const result = [one, new two().n, three()]`,
    "b.js": `let n = 1
export default n + (1, 2)
;[n] = [5]`,
    "c.js": `export default class { n = 4 }
(function () {})()`,
    "d.js": `export default async () => 3\nexport {}`,
  },
  "names are live, in both directions": {
    "a.js":
      `import { n, add, tell } from "./b.js"; import * as b from "./b.js"; const before = n; add(); export const result = [before, n, b.n, tell()];`,
    "b.js":
      `export let n = 0; export function add() { n++; } export { n as m }; import { m } from "./b.js"; export const tell = () => m;`,
  },
  "a circle": {
    "a.js":
      `import { even } from "./b.js"; export function odd(n) { return n > 0 && even(n - 1); } export const result = [odd(7), even(7)];`,
    "b.js":
      `import { odd } from "./a.js"; export const early = odd(0); export function even(n) { return n === 0 || odd(n - 1); }`,
  },
  "a circle that asks for what is not there yet": {
    "a.js": `import "./b.js"; export const late = 1; export const result = late;`,
    "b.js": `import { late } from "./a.js"; late + 1;`,
  },
  "stars, and two of one name": {
    "a.js":
      `import * as all from "./b.js"; export const result = Object.keys(all).concat(all.own, all.deep.z, all.same);`,
    "b.js":
      `export * from "./c.js"; export * from "./d.js"; export * as deep from "./e.js"; export const own = "b"; export { z as taken } from "./e.js";`,
    "c.js":
      `export const two = 1, own = "c"; export * from "./e.js"; export default 1; export { z as same } from "./e.js";`,
    "d.js": `export const two = 2; export * from "./e.js"; export { z as same } from "./e.js";`,
    "e.js": `export const z = "e";`,
  },
  "stars in a circle": {
    "a.js": `import * as all from "./b.js"; export const result = Object.keys(all);`,
    "b.js": `export * from "./c.js"; export const b = 1;`,
    "c.js": `export * from "./b.js"; export const c = 2;`,
  },
  "names shadowed, shorthand, typeof, tags, this": {
    "a.js": `import { n, f, T } from "./b.js"; const o = { n, f };
function shadow(n) { return n; } { let f = 3; var inner = f; } const { n: m = n } = {};
export const result = [o.n, shadow(5), inner, m, typeof n, typeof nowhere, f(), f\`x\`, o.f() === o, new T(4).n, this];`,
    "b.js":
      `export const n = 1; export function f() { return this === undefined ? "no this" : this; } export class T { constructor(n) { this.n = n; } }`,
  },
  "what is imported is constant": {
    "a.js":
      `import { n } from "./b.js"; let said = ""; try { n = 2; } catch (e) { said += e.name; } try { n++; } catch (e) { said += e.name; }
try { [n] = [1]; } catch (e) { said += e.name; } import * as b from "./b.js"; try { b.n = 1 } catch (e) { said += e.name; } export const result = said + n;`,
    "b.js": `export let n = 1;`,
  },
  "awaiting at the top, in order": {
    "a.js": `import { order } from "./o.js"; import "./b.js"; order.push("a"); export const result = order;`,
    "b.js":
      `import { order } from "./o.js"; await new Promise((r) => setTimeout(r, 5)); for await (const x of [1]) order.push("b" + x);`,
    "o.js": `export const order = [];`,
  },
  "imports later": {
    "a.js":
      `const { b } = await import("./b.js"); const again = await import(\`./b.js\`); let said; try { await import("./" + "c.js") } catch { said = "no" }
export const result = [b, again.b, again === await import("./b.js")];`,
    "b.js": `export const b = 2;`,
    "c.js": ``,
  },
  "its own address": {
    "a.js": `export const result = [import.meta.url.replace(/.*\\//, ""), typeof import.meta];`,
  },
  "signs that are a comment elsewhere": {
    "a.js": `let a = 1, b = [3]; const c = a<!--b[\`
0\`.trim()]; export const result = c;`,
  },
  "and where they are none": {
    "a.js": `let b = [3]; export const result = [1 < !--b[0], b, /<!--/.test("<!--"), \`<!--\` /* <!-- */];`,
  },
  "an error as it is loaded": { "a.js": `import "./b.js";`, "b.js": `null.x;` },
  "an export that is not there": {
    "a.js": `import { no } from "./b.js"; export const result = 1;`,
    "b.js": ``,
  },
  "an export of another's that is not there": {
    "a.js": `export { no } from "./b.js"; export const result = 1;`,
    "b.js": ``,
  },
};

for (const [name, texts] of Object.entries(graphs)) {
  Deno.test(`modules linked here do what the runtime's own do: ${name}`, async () => {
    const theirs = await native(texts).then(({ result }) => result, (error) => error as Error);
    const ours = await linked(texts).then(({ result }) => result, (error) => error as Error);
    assertEquals(ours instanceof Error, theirs instanceof Error, String(ours));
    if (!(theirs instanceof Error)) assertEquals(ours, theirs);
  });
}

Deno.test("an error of a module's own has the specifier, the module and what it threw, every time", async () => {
  const texts = { "a.js": `import "./b.js";`, "b.js": `export const x = 1; undefinedName;` };
  const modules = new Modules();
  modules.add(Object.entries(texts).map(([name, text]) => compileModule(home + name, text)));
  const says =
    '"npm:a@1.0.0" failed as it was loaded, in https://example.org/b.js: ReferenceError: undefinedName is not defined';
  for (const _ of [1, 2]) {
    const error = await assertRejects(() => modules.import(`${home}a.js`, "npm:a@1.0.0"), ImportError);
    assertEquals(error.message, says);
  }
  const thrown = await assertRejects(() => linked({ "a.js": "throw 5" }), ImportError);
  assertEquals(thrown.message, '"npm:a@1.0.0" failed as it was loaded: it threw: 5');
  const taken = await assertRejects(
    () => linked({ "a.js": `import { no } from "./b.js";`, "b.js": "" }),
    ImportError,
  );
  assertMatch(
    taken.message,
    /^https:\S+a\.js takes "no" of https:\S+b\.js, which exports nothing, or two things/,
  );
  const absent = await assertRejects(() => linked({ "a.js": `import "./b.js";` }), ImportError);
  assertMatch(absent.message, /a\.js imports https:\S+b\.js, which the notebook's import lock does not have/);
});

Deno.test("two that import the same at once get the same, which runs once", async () => {
  const modules = new Modules();
  const texts = {
    "a.js": `import { n } from "./c.js"; export { n };`,
    "b.js": `export * from "./c.js";`,
    "c.js": `globalThis.runsOfC = (globalThis.runsOfC ?? 0) + 1; await 0; export const n = {};`,
  };
  modules.add(Object.entries(texts).map(([name, text]) => compileModule(home + name, text)));
  const [a, b, again] = await Promise.all(
    ["a.js", "b.js", "a.js"].map((name) => modules.import(home + name, name)),
  );
  assertEquals([a === again, a.n === b.n, (globalThis as { runsOfC?: number }).runsOfC], [true, true, 1]);
  delete (globalThis as { runsOfC?: number }).runsOfC;
});

Deno.test("exports of any name are exports, and a namespace has no others", async () => {
  const all = await linked({
    "a.js": `const x = 1; export { x as "__proto__", x as constructor, x as then, x as "a\\"b" };`,
  });
  assertEquals(Object.getOwnPropertyNames(all), ["__proto__", 'a"b', "constructor", "then"]);
  assertEquals(Object.getPrototypeOf(all), null);
  assertEquals(Reflect.set(all, "constructor", 2), false);
});

Deno.test("a module finds nothing of the linker's by any name", () => {
  for (
    const text of [
      "$precis_import('x')",
      "let $precis_0",
      "a.b($precis_needs)",
      "\\u0024precis_export({})",
      "import { x as $precis_1 } from 'https://a.b/'",
    ]
  ) {
    assertMatch(
      assertThrows(() => compileModule(home, text), ImportError).message,
      /is the notebook's own/,
      text,
    );
  }
});
