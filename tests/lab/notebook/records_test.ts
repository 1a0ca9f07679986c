import { assert, assertEquals, assertMatch, assertThrows } from "deno-std/assert/mod.js";
import { DamagedFileError } from "../../../lab/bytes.ts";
import { notebookHtml } from "../../../lab/notebook/html.ts";
import { parseNotebook, serialiseNotebook } from "../../../lab/notebook/ipynb.ts";
import { fromFragment, toFragment } from "../../../lab/notebook/share.ts";

const parse = (text: string) => parseNotebook("x.ipynb", new TextEncoder().encode(text));

Deno.test("an import lock comes through file, link and page, and a false one is refused by its place", async () => {
  const url = "https://example.org/d3@7.9.0/+esm", integrity = "sha384-AAAA";
  const lock = {
    d3: { url, integrity },
    "npm:d3@7.9.0": {
      url,
      integrity,
      modules: { "https://example.org/a": integrity, "https://example.org/b.js?c=d": integrity },
      redirects: { "https://example.org/b": "https://example.org/b.js?c=d" },
    },
  };
  const holding = (imports: unknown) => ({
    nbformat: 4,
    nbformat_minor: 5,
    metadata: { lab: { format: 1, imports } },
    cells: [],
  });
  const notebook = parse(JSON.stringify(holding(lock)));
  assertEquals(notebook.metadata.lab.imports, lock);
  assertEquals(parse(serialiseNotebook(notebook)).metadata.lab.imports, lock);
  assertEquals((await fromFragment(await toFragment(notebook))).metadata.lab.imports, lock);
  const page = String(notebookHtml(notebook, "x"));
  for (const said of ["Import npm:d3@7.9.0", url, "and 2 modules that it imports"]) {
    assert(page.includes(said), said);
  }

  const refused = (json: string, says: RegExp) =>
    assertMatch(
      assertThrows(() => parse(JSON.stringify(holding("HERE")).replace('"HERE"', json)), DamagedFileError)
        .message,
      says,
    );
  const entry = (fields: object) => JSON.stringify({ a: { url, integrity, ...fields } });
  const addresses = [
    "http://a.example/x",
    "javascript:alert(1)",
    "data:text/javascript,1",
    "//a.example/x",
    "",
    "https://",
  ];
  for (
    const one of [
      ...addresses,
      "https://me:secret@a.example/",
      "https://a.example/x#y",
      "https://a.b/" + "x".repeat(2000),
    ]
  ) {
    refused(entry({ url: one }), /metadata\.lab: imports, a, url is .* instead of an https address/);
    refused(entry({ modules: { [one]: integrity } }), /imports, a, modules/);
    refused(entry({ redirects: { [url]: one } }), /imports, a, redirects/);
  }
  for (const one of ["", "md5-AAAA", "sha384-", "sha384-<b>", 5, null]) {
    refused(entry({ integrity: one }), /imports, a, integrity/);
  }
  for (const name of ["__proto__", "constructor", "prototype"]) {
    refused(
      `{"${name}": {"url": "${url}", "integrity": "${integrity}"}}`,
      /imports is .* instead of an object with 100 entries/,
    );
    refused(
      `{"a": {"url": "${url}", "integrity": "${integrity}", "modules": {"${name}": "${integrity}"}}}`,
      /imports, a, modules/,
    );
  }
  const many = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`https://a.example/${i}`, integrity]));
  refused(entry({ modules: many(500) }), /modules is .* instead of an object with 499 entries/);
  refused(
    JSON.stringify(Object.fromEntries(Object.keys(many(101)).map((one) => [one, { url, integrity }]))),
    /imports is/,
  );
  assertEquals(parse(JSON.stringify(holding(JSON.parse(entry({ modules: many(499) }))))).cells, []);
});
