import { assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { importsOf, sourcesIn, violations, violationsIn } from "../headless/architecture.ts";

const root = decodeURIComponent(new URL("..", import.meta.url).pathname);

Deno.test("imports run one way, and only headless knows Deno", async () => {
  assertEquals(await violations(root), []);
});

Deno.test("the sources are all looked at", async () => {
  const paths: string[] = [];
  for await (const path of sourcesIn(root)) paths.push(path);
  for (const path of ["kernels/gpu.ts", "lab/stages/sft.ts", "headless/check.ts"]) {
    assertEquals(paths.filter((one) => one === path), [path]);
  }
});

for (
  const [path, source, complaint] of [
    ["kernels/a.ts", 'import { x } from "../lab/a.ts";', /kernels\/a\.ts:1 imports lab\/a\.ts/],
    [
      "kernels/a.ts",
      '\nimport assert from "deno-std/assert/mod.js";',
      /kernels\/a\.ts:2 imports the package/,
    ],
    ["lab/a.ts", 'const { x } = await import("../headless/files.ts");', /imports headless\/files\.ts/],
    ["lab/stages/a.ts", 'export * from "../../headless/files.ts";', /imports headless\/files\.ts/],
    ["lab/a.ts", 'import type { P } from "./page/p.ts";', /imports lab\/page\/p\.ts/],
    ["headless/a.ts", 'import "../lab/page/p.ts";', /imports lab\/page\/p\.ts/],
    ["kernels/a.ts", 'import { x } from "../tests/kernels/testing.ts";', /imports tests/],
    ["lab/a.ts", 'import process from "node:process";', /a browser lacks/],
    ["lab/a.ts", "export const a = 1;\nawait Deno.readFile('x');", /lab\/a\.ts:2 uses Deno/],
    ["lab/a.ts", "globalThis.x = document.createElement('p');", /uses the DOM/],
    ["kernels/a.ts", "const gpu = navigator.gpu;", /uses the navigator/],
  ] as const
) {
  Deno.test(`${path} may not say: ${source.trim().replaceAll("\n", " ")}`, () => {
    const found = violationsIn(path, source);
    assertEquals(found.length, 1);
    assertMatch(found[0], complaint);
  });
}

for (
  const [path, source] of [
    ["lab/a.ts", 'import { x } from "../kernels/a.ts";'],
    ["lab/a.ts", 'import { Tokenizer } from "@huggingface/tokenizers";'],
    ["lab/page/a.ts", "document.createElement('p'); window.x = 1;"],
    ["headless/a.ts", 'import { x } from "../lab/a.ts"; Deno.exit(1);'],
    ["lab/a.ts", '// runs in Deno too\n/* Deno.readFile */ const a = "Deno.exit", b = /Deno"/, c = `Deno`;'],
    ["lab/a.ts", "const window = 3; if (window > 2) run({ document: window });"],
    ["tests/a.ts", 'import { x } from "../headless/a.ts"; Deno.exit(1);'],
  ] as const
) {
  Deno.test(`${path} may say: ${source.replaceAll("\n", " ")}`, () => {
    assertEquals(violationsIn(path, source), []);
  });
}

Deno.test("all forms of import are found", () => {
  const source = 'import a from "./a.ts";\nimport {\n  b,\n} from "./b.ts";\nimport "./c.ts";\n' +
    'export { d } from "./d.ts";\nconst e = await import("./e.ts");\nimport w from "./w.wgsl" with { type: "text" };';
  assertEquals(
    importsOf(source).map(({ specifier }) => specifier),
    ["./a.ts", "./b.ts", "./c.ts", "./d.ts", "./e.ts", "./w.wgsl"],
  );
});
