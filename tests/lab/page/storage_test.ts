/** What the page keeps on the device: the private file system as `Files`, weights between visits, models of one's own. */
import { assert, assertEquals } from "deno-std/assert/mod.js";
import type { Page } from "playwright-core";
import { buildPage, serveLab } from "../../../headless/lab.ts";
import { memoryFiles } from "../../../lab/bytes.ts";
import type { Lab } from "../../../lab/page/worker.ts";
import { covering, covers, keptWeights, listKept } from "../../../lab/page/storage/kept_weights.ts";
import type { Files } from "../../../lab/bytes.ts";
import { browserTest, closeBrowser, openBrowser } from "./browser.ts";

Deno.test("ranges of a file that are there are joined, and tell whether another is among them", () => {
  for (let round = 0; round < 200; round++) {
    const size = 24, there = new Array<boolean>(size).fill(false);
    let ranges: [number, number][] = [];
    for (let i = 0; i < 6; i++) {
      const start = Math.floor(Math.random() * size),
        end = start + Math.floor(Math.random() * (size - start));
      if (start === end) continue;
      ranges = covering(ranges, start, end);
      there.fill(true, start, end);
      for (let a = 0; a < size; a++) {
        for (let b = a; b <= size; b++) {
          assertEquals(
            covers(ranges, a, b),
            there.slice(a, b).every(Boolean),
            `${JSON.stringify(ranges)} ${a} ${b}`,
          );
        }
      }
    }
  }
});

/** Memory that can be written within. */
function keep(): ReturnType<typeof memoryFiles> & {
  writeAt(path: string, at: number, bytes: Uint8Array): Promise<void>;
} {
  const files = memoryFiles();
  return {
    ...files,
    async writeAt(path, at, bytes) {
      const before = await files.exists(path) ? await files.read(path) : new Uint8Array();
      const after = new Uint8Array(Math.max(before.length, at + bytes.length));
      after.set(before);
      after.set(bytes, at);
      await files.writeAtomic(path, after);
    },
  };
}

/** A server's folder that counts what is read of it. */
function counted(bytes: Uint8Array): { files: Files; read: number } {
  const files = memoryFiles({ "model.safetensors": bytes, "config.json": "{}" });
  const server = { files, read: 0 };
  server.files = {
    ...files,
    readRange: async (path, start, end) => {
      server.read += end - start;
      return await files.readRange(path, start, end);
    },
  };
  return server;
}

Deno.test("weights come over the network once; a new state of the file comes again, and a full disk costs nothing but the copy", async () => {
  const bytes = crypto.getRandomValues(new Uint8Array(1000));
  const server = counted(bytes), kept = keep();
  const open = (tag: string | null, notes: string[] = []) =>
    keptWeights(
      server.files,
      "http://a.example/m/",
      kept,
      () => Promise.resolve(tag),
      (why) => notes.push(why),
    );
  const readAll = async (files: Files) => {
    const pieces = await Promise.all(
      [[0, 8], [8, 300], [300, 900], [900, 1000]].map(([a, b]) => files.readRange("model.safetensors", a, b)),
    );
    assertEquals(pieces.flatMap((piece) => [...piece]), [...bytes]);
  };
  // A visit that breaks off in the middle.
  await open("1").readRange("model.safetensors", 0, 300);
  assertEquals((await listKept(kept))[0].here, 0); // not yet written down
  await readAll(open("1"));
  assertEquals(server.read, 300 + 1000);
  assertEquals((await listKept(kept)).map(({ here, size, address }) => [here, size, address]), [
    [1000, 1000, "http://a.example/m/model.safetensors"],
  ]);
  await readAll(open("1"));
  assertEquals(server.read, 1300);
  bytes.reverse();
  Object.assign(server, { files: counted(bytes).files });
  await readAll(open("2"));
  await readAll(open("2"));
  assertEquals((await listKept(kept)).length, 1);

  // Without a tag nothing is kept; with a full disk, the model is read all the same and it is said once.
  const empty = keep(), notes: string[] = [];
  await readAll(keptWeights(server.files, "http://b.example/", empty, () => Promise.resolve(null)));
  assertEquals(await empty.list(""), []);
  empty.writeAt = () => Promise.reject(new Error("full"));
  await readAll(
    keptWeights(
      server.files,
      "http://b.example/",
      empty,
      () => Promise.resolve("1"),
      (why) => notes.push(why),
    ),
  );
  assertEquals(notes, ["full"]);
});

/** Runs in a worker of the browser, with the file system as it is bundled for the page. */
const contract = `
  const files = privateFiles(navigator.storage);
  const utf8 = (text) => new TextEncoder().encode(text);
  const text = async (path) => new TextDecoder().decode(await files.read(path));
  const said = async (work) => { try { await work(); return "nothing"; } catch (error) { return error.name + ": " + error.message; } };
  const found = [];
  await files.remove("t");
  await files.makeDirectory("t/a/b");
  await files.makeDirectory("t/a/b");
  await files.writeAtomic("t/a/f", (async function* () { yield utf8("he"); yield utf8(""); yield utf8("llo"); })());
  found.push(await text("t/a/f"), await files.size("t/a/f"), new TextDecoder().decode(await files.readRange("t/a/f", 1, 4)));
  found.push(await files.list("t/a"));
  await files.append("t/a/g", utf8("one")); await files.append("t/a/g", utf8("two"));
  await files.truncate("t/a/g", 4); await files.truncate("t/a/g", 40);
  found.push(await text("t/a/g"));
  await files.rename("t/a/g", "t/a/f");
  await files.rename("t/a", "t/c/d").catch(() => {});
  found.push(await files.exists("t/a"), await text("t/c/d/f"), await files.list("t/c/d"));
  found.push(await said(() => files.writeAtomic("t/c/d/f", (async function* () { yield utf8("ne"); throw new RangeError("stop"); })())));
  found.push(await text("t/c/d/f"), await files.list("t/c/d"));
  found.push(await files.createNew("t/n", utf8("1")), await files.createNew("t/n", utf8("2")), await text("t/n"));
  await files.writeAt("t/w", 3, utf8("x")); await files.writeAt("t/w", 0, utf8("abc"));
  found.push(await text("t/w"), await files.exists("t/none"), await files.exists("t/n/below"), await files.exists(""));
  for (const work of [() => files.read("t/none"), () => files.read("t/c"), () => files.list("t/n"), () => files.writeAtomic("t/no/f", utf8("x")),
    () => files.readRange("t/n", 0, 2 ** 40), () => files.makeDirectory("t/n"), () => files.writeAtomic("t/c", utf8("x"))]) found.push(await said(work));
  const first = await (await (await navigator.storage.getDirectory()).getDirectoryHandle("precis")).getDirectoryHandle("t");
  const held = await (await first.getFileHandle("n")).createSyncAccessHandle();
  found.push(await said(() => files.append("t/n", utf8("x"))));
  held.close();
  found.push(await files.freeSpace("t") > 1e6);
  await files.remove("t"); await files.remove("t");
  found.push(await files.exists("t"));
  postMessage(found);
`;

browserTest("the browser's private file system keeps the contract of Files", async () => {
  const { build } = await import("vite");
  const entry = decodeURIComponent(
    new URL("../../../lab/page/storage/private_files.ts", import.meta.url).pathname,
  );
  const bundle = await build({
    configFile: false,
    logLevel: "silent",
    build: { write: false, target: "esnext", lib: { entry, formats: ["es"] } },
  }) as unknown as { output: { code: string }[] }[];
  const scripts: Record<string, string> = {
    "/private_files.js": bundle[0].output[0].code,
    "/contract.js": `import { privateFiles } from "./private_files.js"; ${contract}`,
  };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const script = scripts[new URL(request.url).pathname];
    const type = script ? "text/javascript" : "text/html";
    return new Response(script ?? "<!doctype html>", { headers: { "content-type": type } });
  });
  const context = await (await openBrowser()).newContext();
  try {
    const page = await context.newPage();
    await page.goto(`http://localhost:${server.addr.port}/`);
    const found = await page.evaluate(() =>
      new Promise<unknown[]>((resolve, reject) => {
        const worker = new Worker("/contract.js", { type: "module" });
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = ({ message }) => reject(new Error(message));
      })
    );
    assertEquals(found, [
      "hello",
      5,
      "ell",
      ["b/", "f"],
      "onet",
      false,
      "onet",
      ["b/", "f"],
      "RangeError: stop",
      "onet",
      ["b/", "f"],
      true,
      false,
      "1",
      "abcx",
      false,
      false,
      true,
      "FileAccessError: t/none does not exist in this browser's storage; check the path.",
      "FileAccessError: t/c cannot be used so: a file is where a folder is due, or the other way round.",
      "FileAccessError: t/n cannot be listed: it is a file.",
      "FileAccessError: t/no/f does not exist in this browser's storage; check the path.",
      "FileAccessError: t/n has 1 bytes; bytes 0 to 1099511627776 are not in it.",
      "FileAccessError: t/n cannot be used so: a file is where a folder is due, or the other way round.",
      "FileAccessError: t/c cannot be used so: a file is where a folder is due, or the other way round.",
      "FileAccessError: t/n is being written by another tab of this page; close that one, or wait.",
      true,
      false,
    ]);
  } finally {
    await context.close();
    await server.shutdown();
  }
});

browserTest(
  "the weights of a model come over the network once, and are there at the next visit",
  async () => {
    await buildPage();
    const server = serveLab(0, "/nowhere");
    const context = await (await openBrowser()).newContext();
    try {
      const visit = async () => {
        const page: Page = await context.newPage();
        page.setDefaultTimeout(60_000);
        let ranges = 0;
        page.on("request", (request) => {
          if (request.url().endsWith("base/model.safetensors") && request.method() === "GET") ranges++;
        });
        await page.goto(`http://localhost:${server.addr.port}/`);
        const found = await page.evaluate(async () => {
          const lab = await (globalThis as unknown as { openLab: () => Promise<Lab> }).openLab();
          const [{ logprob }] = await lab.writing.rateIds("base", [1, 2]);
          return { logprob, storage: await lab.storage.look() };
        });
        await page.close();
        return { ...found, ranges };
      };
      const first = await visit(), second = await visit();
      assert(first.ranges > 0, `${first.ranges}`);
      assertEquals([second.ranges, second.logprob], [0, first.logprob]);
      const [kept] = second.storage.weights;
      assert(
        kept.address.endsWith("demo/base/model.safetensors") && kept.here === kept.size,
        JSON.stringify(kept),
      );
      assert(second.storage.usage! >= kept.size);
    } finally {
      await context.close();
      await server.shutdown();
    }
  },
);

Deno.test({ name: "the browser closes", fn: closeBrowser, sanitizeOps: false, sanitizeResources: false });
