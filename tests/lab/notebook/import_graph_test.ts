import { assert, assertEquals, assertMatch, assertRejects } from "deno-std/assert/mod.js";
import { Imports } from "../../../lab/notebook/import_graph.ts";
import { ImportError } from "../../../lab/notebook/import_specifiers.ts";
import { Modules } from "../../../lab/notebook/module_link.ts";
import type { LockedImport } from "../../../lab/notebook/records.ts";
import { cdn, graphOfThree, type ModuleServer, withModules } from "./module_server.ts";

const mean = "npm:mean@1.0.0";
const anywhere = { mayFetch: () => true };

async function digestOf(text: string, kind = "384"): Promise<string> {
  const digest = await crypto.subtle.digest(`SHA-${kind}`, new TextEncoder().encode(text));
  return `sha${kind}-${btoa(String.fromCharCode(...new Uint8Array(digest)))}`;
}

async function lockOf({ source }: ModuleServer, specifier = mean): Promise<LockedImport> {
  return (await new Imports(source, anywhere).lock(specifier)).locked;
}

async function refused(work: () => Promise<unknown>, says: RegExp): Promise<void> {
  const { message } = await assertRejects(work, ImportError);
  assertMatch(message, says);
  assert(!/undefined|\[object/.test(message), message);
}

Deno.test("a lock holds every module of the graph, by address and digest", async () => {
  await withModules({ ...graphOfThree }, async (server) => {
    const { locked, modules, bytes } = await new Imports(server.source, anywhere).lock(mean);
    const digest = (address: string) => digestOf(graphOfThree[address] as string);
    const [first, second, third] = Object.keys(graphOfThree);
    assertEquals(locked, {
      url: first,
      integrity: await digest(first),
      modules: { [second]: await digest(second), [third]: await digest(third) },
    });
    assertEquals(modules.map(({ address }) => address), [first, second, third]);
    assertEquals(bytes, Object.values(graphOfThree).join("").length);
    assertEquals(server.heard, [first, second, third]);
    const linked = new Modules();
    linked.add(modules);
    const { mean: f } = await linked.import(locked.url, mean) as { mean: (of: number[]) => number };
    assertEquals(f([1, 2, 6]), 3);
  });
});

Deno.test("what is locked comes from where it is kept, and nothing is asked", async () => {
  await withModules({ ...graphOfThree }, async (server) => {
    const lock = await lockOf(server);
    server.heard.length = 0;
    await server.unplug();
    const imports = new Imports(server.source, { mayFetch: () => false });
    assertEquals((await imports.locked(mean, lock)).modules.length, 3);
    assertEquals(server.heard, []);
    server.kept.clear();
    await refused(
      () => new Imports(server.source, anywhere).locked(mean, lock),
      /^"npm:mean@1\.0\.0" cannot be had: https:\/\/cdn.* is not answered: .* It is not kept in the test's memory either\.$/,
    );
  });
});

Deno.test("what is kept and damaged is fetched anew", async () => {
  await withModules({ ...graphOfThree }, async (server) => {
    const lock = await lockOf(server);
    for (const bytes of server.kept.values()) bytes[0] ^= 1;
    server.heard.length = 0;
    await new Imports(server.source, anywhere).locked(mean, lock);
    assertEquals(server.heard.length, 3);
  });
});

Deno.test("a module that is not what was locked is refused, with both digests and the remedy", async () => {
  await withModules({ ...graphOfThree }, async (server) => {
    const lock = await lockOf(server);
    const address = cdn("sum@2.1.0");
    server.kept.clear();
    server.answers[address] += "\n";
    const now = await digestOf(server.answers[address] as string);
    const error = await assertRejects(
      () => new Imports(server.source, anywhere).locked(mean, lock),
      ImportError,
    );
    assertEquals(
      error.message,
      `"${mean}" is not what was locked: at ${address} was ${
        lock.modules![address]
      }, and there is ${now} now. ` +
        `If what is there now is right, lock it anew: deno task notebook lock FILE --update ${mean}.`,
    );
    assertEquals(server.kept.has(now), false);
  });
});

Deno.test("locks of the simple form, with any of the three digests, are read on", async () => {
  await withModules({ [cdn("one@1.0.0")]: "export default 1;" }, async ({ source }) => {
    for (const kind of ["256", "384", "512"]) {
      const entry = { url: cdn("one@1.0.0"), integrity: await digestOf("export default 1;", kind) };
      assertEquals((await new Imports(source, anywhere).locked("one", entry)).modules.length, 1);
    }
  });
  await withModules({ ...graphOfThree }, async (server) => {
    const { url, integrity } = await lockOf(server);
    await refused(
      () => new Imports(server.source, anywhere).locked(mean, { url, integrity }),
      /^"npm:mean@1\.0\.0" imports https:\/\/cdn.*sum.*, which the import lock does not have\. .*--update npm:mean@1\.0\.0\.$/,
    );
  });
});

Deno.test("what two imports of a notebook share is locked once, and the same for both", async () => {
  await withModules({ ...graphOfThree }, async (server) => {
    const first = await lockOf(server);
    server.heard.length = 0;
    const imports = new Imports(server.source, anywhere);
    const { locked } = await imports.lock("npm:sum@2.1.0", { [mean]: first });
    assertEquals(locked.integrity, first.modules![locked.url]);
    assertEquals(server.heard, []);
    server.kept.clear();
    server.answers[cdn("sum@2.1.0")] += " ";
    await refused(
      () => imports.lock("npm:sum@2.1.0", { [mean]: first }),
      /^"npm:sum@2\.1\.0" is not what was locked: .* lock FILE --update all\.$/,
    );
  });
});

Deno.test("redirections are followed, and what is locked is where they led", async () => {
  const answers = {
    "https://a.example/x@1.0.0": { to: "/a.example/x@1.0.0/index.js" },
    "https://a.example/x@1.0.0/index.js": 'import { y } from "./y"; export const x = y + 1;',
    "https://a.example/x@1.0.0/y": { to: "https://b.example/y@3.0.0/deep/y.js" },
    "https://b.example/y@3.0.0/deep/y.js": 'export * from "./z.js";',
    "https://b.example/y@3.0.0/deep/z.js": "export const y = 1;",
  };
  await withModules(answers, async (server) => {
    const specifier = "https://a.example/x@1.0.0";
    const lock = await lockOf(server, specifier);
    assertEquals(lock.url, "https://a.example/x@1.0.0/index.js");
    assertEquals(Object.keys(lock.modules!), [
      "https://b.example/y@3.0.0/deep/y.js",
      "https://b.example/y@3.0.0/deep/z.js",
    ]);
    assertEquals(lock.redirects, {
      "https://a.example/x@1.0.0": "https://a.example/x@1.0.0/index.js",
      "https://a.example/x@1.0.0/y": "https://b.example/y@3.0.0/deep/y.js",
    });
    server.kept.clear();
    server.heard.length = 0;
    const { modules } = await new Imports(server.source, anywhere).locked(specifier, lock);
    assertEquals(server.heard, Object.keys(answers).filter((one) => one.endsWith(".js")));
    const linked = new Modules();
    linked.add(modules);
    assertEquals((await linked.import(lock.url, specifier)).x, 2);

    // It has moved since.
    server.kept.clear();
    server.answers["https://b.example/y@3.0.0/deep/z.js"] = { to: "/b.example/y@3.0.1/z.js" };
    server.answers["https://b.example/y@3.0.1/z.js"] = "export const y = 1;";
    await refused(
      () => new Imports(server.source, anywhere).locked(specifier, lock),
      /is locked at .*deep\/z\.js, and that leads to https:\/\/b\.example\/y@3\.0\.1\/z\.js now\. If/,
    );
  });
});

Deno.test("what cannot be had is said: absent, failing, silent, too large, no module, from elsewhere", async () => {
  const big = () => new Response(new Uint8Array((4 << 20) + 1));
  const endless = () =>
    new Response(new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(1 << 16)) }));
  const many = Object.fromEntries(
    Array.from({ length: 501 }, (_, i) => [`https://a.example/${i}.js`, `import "./${i + 1}.js";`]),
  );
  await withModules({
    [cdn("fails@1.0.0")]: { status: 503 },
    [cdn("big@1.0.0")]: big,
    [cdn("endless@1.0.0")]: endless,
    [cdn("silent@1.0.0")]: () => new Promise((resolve) => setTimeout(resolve, 1500, new Response("1"))),
    [cdn("text@1.0.0")]: "<!doctype html>",
    [cdn("bytes@1.0.0")]: () => new Response(new Uint8Array([0xff, 0xfe, 0x00])),
    [cdn("node@1.0.0")]: 'import fs from "node:fs";',
    [cdn("bare@1.0.0")]: 'export * from "internmap";',
    [cdn("plain@1.0.0")]: 'import "http://a.example/x.js";',
    [cdn("json@1.0.0")]: 'import data from "./x.json" with { type: "json" };',
    [cdn("deep@1.0.0")]: "[".repeat(50_000),
    [cdn("half@1.0.0")]: 'import "./gone.js";',
    [cdn("own@1.0.0")]: "const $precis_export = 1;",
    [cdn("args@1.0.0")]: "export default arguments;",
    ...many,
  }, async ({ source }) => {
    const imports = new Imports(source, { ...anywhere, patience: 400 });
    const says: Record<string, RegExp> = {
      "npm:absent@1.0.0":
        /cannot be had: .*\/npm\/absent@1\.0\.0\/\+esm does not exist \(404\): look at name/,
      "npm:fails@1.0.0": /is answered with status 503/,
      "npm:big@1.0.0": /has more than 4 MiB/,
      "npm:endless@1.0.0": /has more than 4 MiB/,
      "npm:silent@1.0.0": /did not come within 0\.4 s/,
      "npm:text@1.0.0":
        /^"npm:text@1\.0\.0" cannot be linked: .* is no JavaScript module: Unexpected token \(line 1/,
      "npm:bytes@1.0.0": /is not UTF-8 text/,
      "npm:node@1.0.0": /imports "node:fs", which a notebook does not have/,
      "npm:bare@1.0.0": /imports "internmap", which a notebook does not have/,
      "npm:plain@1.0.0": /imports "http:\/\/a\.example\/x\.js", which/,
      "npm:json@1.0.0": /imports "\.\/x\.json" as something else than JavaScript/,
      "npm:deep@1.0.0": /is no JavaScript module: Not enough stack space/,
      "npm:half@1.0.0": /"npm:half@1\.0\.0" cannot be had: .*gone\.js does not exist/,
      "npm:own@1.0.0": /has the name "\$precis_export", which is the notebook's own/,
      "npm:args@1.0.0": /asks for "arguments" outside/,
      "https://a.example/0.js": /more than 500 modules or 16 MiB/,
    };
    for (const [specifier, said] of Object.entries(says)) await refused(() => imports.lock(specifier), said);
    await refused(
      () => new Imports(source, { mayFetch: (host) => host === "a.example" }).lock("npm:text@1.0.0"),
      /is a module of cdn\.jsdelivr\.net, and this notebook may not have modules from there/,
    );
  });
});

Deno.test("what is only imported later may be missing, and fails when it is asked for", async () => {
  const text =
    `export const node = () => import("node:fs"), there = () => import("./b.js"), gone = () => import("./gone.js"),
    broken = () => import("./broken.js"), half = () => import("./half.js");`;
  await withModules({
    [cdn("a@1.0.0")]: text,
    "https://cdn.jsdelivr.net/npm/a@1.0.0/b.js": "export const b = 1;",
    "https://cdn.jsdelivr.net/npm/a@1.0.0/broken.js": 'import "fs";',
    "https://cdn.jsdelivr.net/npm/a@1.0.0/half.js": 'import "./gone.js";',
  }, async (server) => {
    const imports = new Imports(server.source, anywhere);
    const { locked } = await imports.lock("npm:a@1.0.0");
    assertEquals(Object.keys(locked.modules!).map((address) => address.replace(/.*\//, "")).sort(), [
      "b.js",
      "half.js",
    ]);
    server.heard.length = 0;
    const { modules } = await imports.locked("npm:a@1.0.0", locked);
    assertEquals(server.heard, []);
    const linked = new Modules();
    linked.add(modules);
    const all = await linked.import(locked.url, "npm:a@1.0.0") as Record<string, () => Promise<object>>;
    assertEquals({ ...await all.there() }, { b: 1 });
    for (const name of ["node", "gone", "broken", "half"]) {
      await refused(all[name], /imports "?[^ ]+, which the notebook's import lock does not have/);
    }
    // A server that fails is no absence.
    server.answers["https://cdn.jsdelivr.net/npm/a@1.0.0/gone.js"] = { status: 500 };
    await refused(() => imports.lock("npm:a@1.0.0"), /gone\.js is answered with status 500/);
  });
});

Deno.test("a cell is sent what it imports, and why not where it cannot be had; a stranger's locks nothing", async () => {
  await withModules({ ...graphOfThree }, async (server) => {
    const imports = new Imports(server.source, anywhere);
    const wants = ["precis", mean, "npm:absent@1.0.0", "d3", mean].map((specifier) => ({
      specifier,
      names: [],
      locals: [],
    }));
    const own = await imports.prepare(wants, {}, true);
    assertEquals(Object.keys(own.locked), [mean]);
    assertEquals(
      own.sent.specifiers.map(({ specifier, address, error }) => [specifier, address, error?.slice(0, 30)]),
      [
        [mean, cdn("mean@1.0.0"), undefined],
        ["npm:absent@1.0.0", undefined, '"npm:absent@1.0.0" cannot be h'],
        ["d3", undefined, '"d3" does not say where it is '],
      ],
    );
    assertEquals(own.sent.modules.length, 3);
    server.heard.length = 0;
    const stranger = await imports.prepare(wants, {}, false);
    assertEquals(stranger.sent.modules, []);
    assertEquals(stranger.locked, {});
    assertMatch(
      stranger.sent.specifiers[0].error!,
      /is not in the notebook's import lock: deno task notebook lock/,
    );
    assertEquals(server.heard, []);
  });
});
