import { assertEquals, assertMatch, assertThrows } from "deno-std/assert/mod.js";
import { addressOf, hostsOf, ImportError } from "../../../lab/notebook/import_specifiers.ts";

Deno.test("what a specifier stands for", () => {
  for (
    const [specifier, address] of [
      ["npm:d3-array@3.2.4", "https://cdn.jsdelivr.net/npm/d3-array@3.2.4/+esm"],
      ["npm:/d3-array@3.2.4", "https://cdn.jsdelivr.net/npm/d3-array@3.2.4/+esm"],
      [
        "npm:@stdlib/stats-base@0.3.0-rc.1",
        "https://cdn.jsdelivr.net/npm/@stdlib/stats-base@0.3.0-rc.1/+esm",
      ],
      ["npm:preact@10.19.0/hooks", "https://cdn.jsdelivr.net/npm/preact@10.19.0/hooks/+esm"],
      ["npm:@a/b@1.0.0/src/x.js", "https://cdn.jsdelivr.net/npm/@a/b@1.0.0/src/x.js/+esm"],
      ["https://a.example/x@1.2.3/y.js?z", "https://a.example/x@1.2.3/y.js?z"],
      ["https://a.example", "https://a.example/"],
    ]
  ) assertEquals(addressOf(specifier), address);
});

Deno.test("what cannot be imported, and how it is written", () => {
  for (
    const [specifier, says] of [
      [
        "npm:d3-array",
        /no exact version: write all three numbers, as in npm:d3-array@3\.2\.4; a range such as \^3/,
      ],
      ["npm:d3-array@^3", /no exact version/],
      ["npm:d3-array@3.2", /no exact version/],
      ["npm:d3-array@latest", /no exact version/],
      ["npm:@a/b", /no exact version/],
      ["npm:d3-array@3.2.4 || 1", /no exact version/],
      ["npm:", /names no package of npm/],
      ["npm:a b@1.0.0", /names no package of npm/],
      ["npm:a@1.0.0/../../x", /names no package of npm/],
      ["npm:..@1.0.0", /names no package of npm/],
      ["npm:a@1.0.0/x?y", /names no package of npm/],
      ["d3-array", /does not say where it is from/],
      ["", /does not say where it is from/],
      ["__proto__", /does not say where it is from/],
      ["./x.js", /lies beside nothing/],
      ["/x.js", /lies beside nothing/],
      ["../x.js", /lies beside nothing/],
      ["node:fs", /cannot be imported: "precis" can, npm: packages, and https: addresses/],
      ["http://a.example/x.js", /cannot be imported/],
      ["https://me:secret@a.example/x.js", /cannot be imported/],
      ["https://a.example/x.js#1", /cannot be imported/],
      ["https://" + "a".repeat(3000), /cannot be imported/],
      ["jsr:@std/assert@1", /cannot be imported/],
      ["data:text/javascript,1", /cannot be imported/],
      ["file:///etc/passwd", /cannot be imported/],
    ] as const
  ) assertMatch(assertThrows(() => addressOf(specifier), ImportError, undefined, specifier).message, says);
});

Deno.test("hosts of a lock, those of all its modules", () => {
  assertEquals(hostsOf({}), []);
  const modules = { "https://b.example/y": "", "https://a.example/z": "", "https://c.example:8443/": "" };
  assertEquals(hostsOf({ x: { url: "https://a.example/x", modules } }), [
    "a.example",
    "b.example",
    "c.example:8443",
  ]);
});
