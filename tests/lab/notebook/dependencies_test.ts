import { assert, assertEquals } from "deno-std/assert/mod.js";
import { Binding, define, instantiateCell, newScope } from "../../../lab/notebook/cell_function.ts";
import { compileCell } from "../../../lab/notebook/cells.ts";
import {
  analyseCells,
  dependencies,
  inputRecords,
  staleAfter,
  whatChanged,
  type World,
} from "../../../lab/notebook/dependencies.ts";
import { uniforms } from "../../kernels/testing.ts";

const cellsOf = (...sources: string[]) =>
  analyseCells(sources.map((source, i) => ({ id: `c${i + 1}`, source })));
const linksOf = (...sources: string[]) => dependencies(cellsOf(...sources));
const needs = (...sources: string[]) => linksOf(...sources).map(({ needs }) => needs.join(" "));

Deno.test("a cell needs the latest earlier cell that defines or changes a name that it uses", () => {
  assertEquals(needs("const a = 1", "const b = a", "a + b", "c"), ["", "c1", "c1 c2", ""]);
  assertEquals(needs("let a = 1", "const a = 2", "a"), ["", "", "c2"]);
  assertEquals(needs("let a = 1", "a = 2", "a"), ["", "c1", "c2"]);
  assertEquals(needs("let a = 1", "a++", "a"), ["", "c1", "c2"]);
  assertEquals(needs("const a = []", "a.push(1)", "a.length", "a"), ["", "c1", "c2", "c2"]);
  assertEquals(needs("const t = await lab.ppo()", "await t.step()", "t.metrics"), ["", "c1", "c2"]);
  assertEquals(needs("const a = 1", "((a) => a)(2)", "let b = { a: 1 }.a"), ["", "", ""]);
  assertEquals(needs("let a = ", "a"), ["", ""]);
});

Deno.test("what the kernel supplies ties no cells together", () => {
  const links = linksOf(
    'import { lab, type Tensor } from "precis"; const seed = 1',
    "lab.show(seed)",
    "lab.load('sft')",
  );
  assertEquals(links.map(({ needs, missing }) => [needs, missing]), [[[], []], [["c1"], []], [[], []]]);
});

Deno.test("names used too early, by nobody defined, and defined twice", () => {
  const links = linksOf(
    "const f = () => late + never + fetch(GPUBufferUsage)",
    "const late = 1",
    "const late = 2, f = 3",
    "late = nobody",
    "somewhere = 1",
  );
  assertEquals(links.map(({ early }) => [...early]), [[["late", "c2"]], [], [], [], []]);
  assertEquals(links.map(({ missing }) => missing), [["never"], [], [], ["nobody"], ["somewhere"]]);
  assertEquals(links.map(({ again }) => [...again]), [[], [], [["late", "c2"], ["f", "c1"]], [], []]);
  assertEquals(links[3].from, new Map([["late", "c3"]]));
});

Deno.test("a change makes stale what needs it, through others too", () => {
  const links = linksOf("const a = 1", "const b = a", "const c = 1", "b + c", "c");
  assertEquals(staleAfter(links, ["c1"]), ["c1", "c2", "c4"]);
  assertEquals(staleAfter(links, ["c3"]), ["c3", "c4", "c5"]);
  assertEquals(staleAfter(links, ["c3", "c2"]), ["c2", "c3", "c4", "c5"]);
  assertEquals(staleAfter(links, []), []);
});

const world: World = {
  seed: 7,
  imports: { d3: { url: "https://example.org/d3@7.9.0", integrity: "sha384-AAAA" } },
  models: { sft: "a".repeat(64) },
  datasets: {},
};

Deno.test("what has changed since a cell ran, in words", async () => {
  const recordsOf = async (changed: Partial<World>, ...sources: string[]) => {
    const cells = cellsOf(...sources);
    return await inputRecords(cells, dependencies(cells), { ...world, ...changed });
  };
  const sources = ["const a = 1", "import * as d3 from 'd3'; const b = a", "b", "5"];
  const before = await recordsOf({}, ...sources);
  const changes = async (changed: Partial<World>, ...sources: string[]) => {
    const now = await recordsOf(changed, ...sources);
    return [...now].map(([id, record]) => whatChanged(before.get(id)!, record));
  };
  assertEquals(await changes({}, ...sources), [[], [], [], []]);
  assertEquals(await changes({}, "const a = 2", ...sources.slice(1)), [
    ["its source was edited"],
    ["the cell c1 that it needs has changed"],
    ["the cell c2 that it needs has changed"],
    [],
  ]);
  assertEquals(await changes({}, "const z = 1", ...sources.slice(1)), [
    ["its source was edited"],
    ["it no longer needs the cell c1"],
    ["the cell c2 that it needs has changed"],
    [],
  ]);
  assertEquals((await changes({}, ...sources.slice(0, 3), "5 + a"))[3], [
    "its source was edited",
    "it now needs the cell c1",
  ]);
  assertEquals(await changes({ imports: {} }, ...sources), [
    [],
    ["the import lock has changed"],
    ["the cell c2 that it needs has changed"],
    [],
  ]);
  // Every module that an import stands for counts.
  const [{ url, integrity }] = Object.values(world.imports);
  const modules = { "https://example.org/sum@1.0.0": "sha384-BBBB" };
  assertEquals(
    await changes({ imports: { d3: { url, integrity, modules }, other: { url, integrity } } }, ...sources),
    [
      [],
      ["the import lock has changed"],
      ["the cell c2 that it needs has changed"],
      [],
    ],
  );
  assertEquals((await changes({ seed: 8 }, ...sources))[3], ["the seed was 7 and is 8"]);
  assertEquals((await changes({ models: {} }, ...sources))[3], [
    "the notebook's models or datasets have changed",
  ]);
});

Deno.test("no value comes from a cell that the analysis does not name", async () => {
  let reads = 0;
  for (let seed = 1; seed <= 300; seed++) {
    const next = uniforms(seed);
    const below = (n: number) => Math.floor(next() * n);
    const name = () => `v${below(4)}`;
    const statement = () => {
      const a = name(), b = name();
      return [
        `var ${a} = typeof ${b} === "undefined" ? 1 : ${b}`,
        `if (typeof ${a} === "number") ${a} += typeof ${b} === "undefined" ? 1 : ${b}`,
        `{ let ${a} = 3; ${a}++ }`,
        `((${a}) => ${a} + (typeof ${b} === "undefined" ? 0 : 1))(2)`,
        `try { [${a}] = [${b}] } catch {}`,
        `try { ({ ${a}, x: ${b} = 2 } = { ${a}: 1 }) } catch {}`,
      ][below(6)];
    };
    const sources = Array.from({ length: 6 }, () => [statement(), statement()].join("\n;"));
    const cells = cellsOf(...sources), links = dependencies(cells);
    // A scope that watches which cell last wrote a name, and who reads it.
    const store = newScope(), writer = new Map<string, number>();
    for (const [i, { source }] of cells.entries()) {
      const seen = (key: string) => {
        const by = writer.get(key);
        if (by === undefined || by === i) return;
        reads++;
        const told = links[i].from.get(key);
        assertEquals(
          told,
          cells[by].id,
          `seed ${seed}, cell ${i + 1}, ${key}:\n${sources.join("\n// ---\n")}`,
        );
      };
      const binding = (name: string): Binding => {
        const inner = store.binding(name), outer = new Binding();
        if (inner.get) {
          outer.get = () => (seen(name), inner.value);
          outer.set = (value) => (inner.value = value, writer.set(name, i));
        }
        return outer;
      };
      const run = instantiateCell(compileCell(source).code);
      const { defined } = await run({ binding }, 0, 0, console, () => Promise.reject());
      define(store, defined);
      for (const key of cells[i].defines) writer.set(key, i);
      for (const key of cells[i].changes) if (store.binding(key).get) writer.set(key, i);
    }
  }
  assert(reads > 300, `only ${reads} reads of other cells' values`);
});
