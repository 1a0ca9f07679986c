/** The lab's server: gives the page's files and those of the runs, whole and in ranges, and nothing else. */
import { assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { buildPage, labHandler } from "../../headless/lab.ts";
import { canBuild } from "../lab/page/browser.ts";

const digits = "0123456789";

async function withRuns(
  body: (ask: (path: string, init?: RequestInit) => Promise<Response>, runs: string) => Promise<void>,
) {
  const folder = await Deno.makeTempDir({ prefix: "precis-lab-" });
  const runs = `${folder}/runs`;
  try {
    await Deno.mkdir(`${runs}/demo`, { recursive: true });
    await Deno.writeTextFile(`${runs}/demo/digits.txt`, digits);
    await Deno.writeTextFile(`${folder}/secret.txt`, "secret");
    await Deno.symlink(`${folder}/secret.txt`, `${runs}/demo/link.txt`);
    await Deno.symlink(folder, `${runs}/out`);
    const handler = labHandler(runs);
    await body((path, init = {}) => {
      const headers = { host: "localhost:8420", ...init.headers as Record<string, string> };
      return handler(new Request(`http://localhost:8420${path}`, { ...init, headers }));
    }, runs);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("files come whole and in ranges", async () => {
  await withRuns(async (ask) => {
    const whole = await ask("/runs/demo/digits.txt");
    assertEquals([whole.status, await whole.text()], [200, digits]);
    assertEquals(whole.headers.get("content-length"), "10");
    assertEquals(whole.headers.get("x-content-type-options"), "nosniff");
    for (
      const [range, status, text, told] of [
        ["bytes=2-4", 206, "234", "bytes 2-4/10"],
        ["bytes=7-", 206, "789", "bytes 7-9/10"],
        ["bytes=8-99", 206, "89", "bytes 8-9/10"],
        ["bytes=10-12", 416, "", "bytes */10"],
        ["lines=1-2", 200, digits, null],
      ] as const
    ) {
      const answer = await ask("/runs/demo/digits.txt", { headers: { range } });
      assertEquals([answer.status, await answer.text()], [status, text], range);
      assertEquals(answer.headers.get("content-range"), told, range);
    }
    const head = await ask("/runs/demo/digits.txt", { method: "HEAD" });
    assertEquals([head.status, head.headers.get("content-length"), await head.text()], [200, "10", ""]);
  });
});

Deno.test("nothing outside is given, nothing is written, and no other name is answered to", async () => {
  await withRuns(async (ask) => {
    for (
      const path of [
        "/runs/demo/link.txt",
        "/runs/..%2fsecret.txt",
        "/runs/demo/..%2f..%2fsecret.txt",
        "/..%2fdeno.json",
        "/runs/demo",
        "/runs/demo/",
        "/runs/none.txt",
        "/runs/none/index.json",
        "/runs/out/index.json",
        "/runs/out/secret.txt",
        "/runs/..%2findex.json",
        "/runs/demo/..%2f..%2findex.json",
        "/runs/demo/digits.txt/index.json",
        "/runs/%00/index.json",
        "/index.json",
        "/runs/demo/digits.txt/x",
        "/runs/demo/digits.txt%00",
      ]
    ) {
      const answer = await ask(path);
      assertEquals([answer.status, await answer.text()], [404, "There is no such file.\n"], path);
    }
    assertEquals((await ask("/%ff")).status, 400);
    for (const method of ["POST", "PUT", "DELETE"]) {
      assertEquals((await ask("/runs/demo/digits.txt", { method })).status, 405);
    }
    for (const host of ["evil.example", "evil.example:8420", "localhost.evil.example", ""]) {
      assertEquals((await ask("/runs/demo/digits.txt", { headers: { host } })).status, 421, host);
    }
    for (const host of ["localhost", "127.0.0.1:1", "[::1]:8420"]) {
      assertEquals((await ask("/runs/demo/digits.txt", { headers: { host } })).status, 200, host);
    }
  });
});

Deno.test("pages of other origins get nothing, links from anywhere lead here", async () => {
  await withRuns(async (ask) => {
    const status = async (headers: Record<string, string>) =>
      (await ask("/runs/demo/digits.txt", { headers })).status;
    for (
      const origin of [
        "https://evil.example",
        "null",
        "http://localhost:1",
        "http://localhost:8420.evil.example",
        "",
      ]
    ) {
      assertEquals(await status({ origin }), 403, origin);
    }
    assertEquals(await status({ origin: "http://localhost:8420" }), 200);
    assertEquals(await status({ "sec-fetch-site": "same-origin" }), 200);
    assertEquals(await status({ "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" }), 403);
    const framed = {
      "sec-fetch-site": "cross-site",
      "sec-fetch-mode": "navigate",
      "sec-fetch-dest": "iframe",
    };
    assertEquals(await status(framed), 403);
    assertEquals(await status({ ...framed, "sec-fetch-dest": "document" }), 200);
  });
});

Deno.test("a folder tells what is in it and which runs, and nothing of what its links lead to", async () => {
  await withRuns(async (ask, runs) => {
    await Deno.mkdir(`${runs}/sweep/seed-2/stages`, { recursive: true });
    const config = { preset: "demo", seed: 2, model: "demo" };
    await Deno.writeTextFile(
      `${runs}/sweep/seed-2/run.json`,
      JSON.stringify({ config, startedAt: "2026-01-02T03:04:05Z" }),
    );
    await Deno.writeTextFile(`${runs}/sweep/seed-2/stages/sft.json`, "{}");
    await Deno.writeTextFile(`${runs}/sweep/seed-2/lock.json`, "{}");
    const index = await (await ask("/runs/index.json")).json();
    assertEquals(index.names, ["demo/", "sweep/"]);
    const [{ changedAt, ...run }, ...others] = index.runs;
    assertEquals([run, others], [{
      path: "sweep/seed-2",
      ...config,
      startedAt: "2026-01-02T03:04:05Z",
      done: ["sft"],
      state: "running",
    }, []]);
    assertEquals(Math.abs(Date.now() - changedAt) < 60_000, true);
    assertEquals((await (await ask("/runs/sweep/seed-2/index.json")).json()).names, [
      "lock.json",
      "run.json",
      "stages/",
    ]);
    assertEquals(await (await ask("/runs/demo/index.json")).json(), { names: ["digits.txt"], runs: [] });
    // A file of that name, as a static copy may have one, goes first.
    await Deno.writeTextFile(`${runs}/demo/index.json`, '{"names":[],"runs":[]}');
    assertEquals((await (await ask("/runs/demo/index.json")).json()).names, []);
  });
});

Deno.test("an unchanged file is not sent again; a part of another one neither", async () => {
  await withRuns(async (ask, runs) => {
    const path = "/runs/demo/digits.txt";
    const first = await ask(path);
    await first.body?.cancel();
    const tag = first.headers.get("etag")!;
    assertMatch(first.headers.get("last-modified")!, /GMT$/);
    assertEquals((await ask(path, { headers: { "if-none-match": tag } })).status, 304);
    await Deno.writeTextFile(`${runs}/demo/digits.txt`, digits + digits);
    const again = await ask(path, { headers: { "if-none-match": tag } });
    assertEquals([again.status, await again.text()], [200, digits + digits]);
    const part = await ask(path, { headers: { "if-range": tag, "range": "bytes=0-1" } });
    assertEquals([part.status, await part.text()], [200, digits + digits]);
  });
});

const offline = canBuild ? "" : " (skipped: vite cannot be loaded)";
Deno.test(`the page is built once, and lies at the root${offline}`, { ignore: !canBuild }, async () => {
  await buildPage();
  assertEquals(await buildPage(), false);
  await withRuns(async (ask) => {
    const page = await ask("/");
    assertEquals(page.headers.get("content-type"), "text/html; charset=UTF-8");
    assertMatch(page.headers.get("content-security-policy")!, /default-src 'self'/);
    const html = await page.text();
    // Relative addresses alone, so that any folder of any server can hold it.
    for (const [, address] of html.matchAll(/(?:src|href)="([^"]+)"/g)) assertMatch(address, /^(\.\/|data:)/);
    const script = /src="\.(\/[^"]+)"/.exec(html)![1];
    assertMatch((await ask(script)).headers.get("content-type")!, /^text\/javascript/);
    assertEquals((await ask("/demo/base/none.json")).status, 404);
  });
});
