/** Folders that are dropped on the view of runs, and files on the notebook. */
import { assert, assertEquals, assertMatch } from "deno-std/assert/mod.js";
import type { Page } from "playwright-core";
import { buildPage, serveLab } from "../../../headless/lab.ts";
import { serialiseNotebook } from "../../../lab/notebook/ipynb.ts";
import { filesOfEntries } from "../../../lab/page/runs/files.ts";
import { pickedRuns } from "../../../lab/page/runs/picked.ts";
import { type SyntheticRun, syntheticRun } from "../runs/synthetic.ts";
import { browserTest, closeBrowser, openBrowser } from "./browser.ts";
import { notebookOf, standIn } from "./notebook_page.ts";

async function writeRun(folder: string, options: SyntheticRun, startedAt?: string): Promise<void> {
  for (const [path, text] of Object.entries(syntheticRun(options))) {
    const file = `${folder}/${path}`;
    await Deno.mkdir(file.slice(0, file.lastIndexOf("/")), { recursive: true });
    const begun = startedAt && path === "run.json"
      ? JSON.stringify({ ...JSON.parse(text), startedAt })
      : text;
    await Deno.writeTextFile(file, begun);
  }
}

/** A page, and what drops paths of this computer on its middle as a file manager does. */
async function withDrops(
  address: string,
  body: (page: Page, drop: (...paths: string[]) => Promise<void>, folder: string) => Promise<void>,
): Promise<void> {
  await buildPage();
  const folder = await Deno.makeTempDir({ prefix: "precis-dropped-" });
  const server = serveLab(0, "/nowhere");
  const context = await (await openBrowser()).newContext({ viewport: { width: 1280, height: 900 } });
  const faults: string[] = [];
  try {
    await standIn(context);
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    page.on("pageerror", (error) => faults.push(String(error)));
    await page.goto(`http://localhost:${server.addr.port}/${address}`);
    const debug = await context.newCDPSession(page);
    const drop = async (...files: string[]) => {
      const data = { items: [], files, dragOperationsMask: 1 };
      for (const type of ["dragEnter", "dragOver", "drop"] as const) {
        await debug.send("Input.dispatchDragEvent", { type, x: 640, y: 450, data });
      }
    };
    await body(page, drop, folder);
    assertEquals(faults, []);
  } finally {
    await context.close();
    await server.shutdown();
    await Deno.remove(folder, { recursive: true });
  }
}

const names = (page: Page) => page.locator(".list .name").allInnerTexts();
const heads = (page: Page) => page.locator(".heads h2").allInnerTexts();
const updates = (page: Page) => page.locator(".heads .told").first().innerText();

browserTest(
  "dropped folders: nested, again after a change, of one name twice, and none of a run",
  async () => {
    await withDrops("runs.html", async (page, drop, folder) => {
      await page.locator("input[webkitdirectory]").waitFor({ state: "attached" });
      await Deno.mkdir(`${folder}/empty`);
      await Deno.writeTextFile(`${folder}/notes.txt`, "not a run");
      await drop(`${folder}/empty`, `${folder}/notes.txt`);
      await page.getByText("There is no run.json in what was picked").waitFor();

      // Deeper than any run lies, beside hundreds of files that are none of its own.
      await writeRun(`${folder}/sweep/of/many/one`, { updates: 20 });
      await writeRun(`${folder}/sweep/of/many/two`, { updates: 12, seed: 2 }, "2026-11-21T08:00:00.000Z");
      await Deno.mkdir(`${folder}/sweep/of/many/one/models/ppo`, { recursive: true });
      for (let i = 0; i < 250; i++) {
        await Deno.writeTextFile(`${folder}/sweep/of/many/one/models/ppo/${i}`, "x");
      }
      await drop(`${folder}/sweep`);
      await page.locator(".heads > .head").filter({ hasText: "finished" }).waitFor();
      assertEquals(await names(page), ["sweep/of/many/one", "sweep/of/many/two"]);
      assertEquals(await heads(page), ["sweep/of/many/one"]);
      assertEquals(await page.getByText("There is no run.json").count(), 0);
      await page.locator(".list label").filter({ hasText: "two" }).click();
      await page.locator(".heads > .head").nth(1).filter({ hasText: "finished" }).waitFor();

      // The same run once more, with news: it is read anew, and stands once.
      await writeRun(`${folder}/live`, { updates: 10, running: true });
      await drop(`${folder}/live`);
      await page.locator(".heads > .head").nth(2).filter({ hasText: "update 10 of" }).waitFor();
      await writeRun(`${folder}/live`, { updates: 14, running: true });
      await drop(`${folder}/live`);
      await page.locator(".heads > .head").nth(2).filter({ hasText: "update 14 of" }).waitFor();
      assertEquals(
        (await names(page)).filter((name) => name === "live").length,
        1,
      );
      assertEquals((await heads(page)).length, 3);

      // Another run in a folder of the same name stands beside it.
      await writeRun(`${folder}/elsewhere/live`, { updates: 8, running: true }, "2026-11-22T08:00:00.000Z");
      await drop(`${folder}/elsewhere/live`);
      await page.locator(".heads > .head").nth(3).filter({ hasText: "update 8 of" }).waitFor();
      assertEquals((await names(page)).slice(2), ["live", "live (2)"]);
    });
  },
);

browserTest("a file dropped on a view that has no use for it does not take the view's place", async () => {
  for (const view of ["inspect.html", "referee.html"]) {
    await withDrops(view, async (page, drop, folder) => {
      await page.locator("precis-nav nav").waitFor();
      const address = page.url();
      await Deno.writeTextFile(`${folder}/notes.txt`, "not a run");
      await drop(`${folder}/notes.txt`);
      await page.waitForTimeout(500);
      assertEquals(page.context().pages().map((one) => one.url()), [address]);
    });
  }
});

browserTest("files that vanish after they were dropped are told by name; what was read stays", async () => {
  await withDrops("runs.html", async (page, drop, folder) => {
    await page.locator("input[webkitdirectory]").waitFor({ state: "attached" });
    await writeRun(`${folder}/gone`, { updates: 20 });
    await drop(`${folder}/gone`);
    await page.locator(".heads > .head").filter({ hasText: "finished" }).waitFor();
    await Deno.remove(`${folder}/gone`, { recursive: true });
    await page.getByRole("tab", { name: "Episodes" }).click();
    await page.getByText(/episodes\/.* has changed since it was picked; pick the folder again\./).first()
      .waitFor();
    await page.getByRole("tab", { name: "PPO" }).click();
    await page.locator("run-chart").first().waitFor();
    assertMatch(await updates(page), /score/);
    // And one that is gone before anything of it was read.
    await drop(`${folder}/gone`);
    await page.getByText(/There is no run\.json|could not be read/).first().waitFor();
    assertEquals(await heads(page), ["gone"]);
  });
});

browserTest("a notebook that is dropped opens; a folder is refused in words", async () => {
  await withDrops("", async (page, drop, folder) => {
    await page.locator("notebook-cell").first().waitFor();
    await Deno.mkdir(`${folder}/things`);
    await drop(`${folder}/things`);
    await page.locator(".notices .notice").waitFor();
    const said = await page.locator(".notices").innerText();
    assertMatch(said, /things.*(folder|\.ipynb)/s);
    await Deno.writeTextFile(
      `${folder}/given.ipynb`,
      serialiseNotebook(notebookOf("# Dropped here", "1 + 1")),
    );
    await drop(`${folder}/given.ipynb`);
    await page.getByRole("heading", { name: "Dropped here" }).waitFor();
  });
});

/** A folder or file as browsers hand them out: names in parts of two, and what rejects where it cannot be read. */
type Tree = { [name: string]: Tree | string | null };

function entry(name: string, tree: Tree | string | null): FileSystemEntry {
  if (typeof tree === "string") {
    return {
      name,
      isFile: true,
      file: (found: (file: File) => void) => found(new File([tree], name)),
    } as never;
  }
  const refuse = (_: unknown, failed: (error: Error) => void) =>
    failed(new DOMException("no", "NotReadableError"));
  if (tree === null) {
    return {
      name,
      isFile: name.includes("."),
      file: refuse,
      createReader: () => ({ readEntries: refuse }),
    } as never;
  }
  const left = Object.entries(tree);
  const createReader = () => ({
    readEntries: (found: (some: FileSystemEntry[]) => void) =>
      found(left.splice(0, 2).map(([name, tree]) => entry(name, tree))),
  });
  return { name, isFile: false, createReader } as never;
}

Deno.test("what of a dropped tree cannot be read is left out and named, and the rest is there", async () => {
  const counts: number[] = [];
  const { files, unreadable } = await filesOfEntries([
    entry("a", {
      "run.json": "{}",
      b: { c: { "d.txt": "deep" }, locked: null },
      e: {},
      "f.txt": "f",
      "gone.txt": null,
    }),
    entry("top.txt", "top"),
  ], (count) => counts.push(count));
  assertEquals([...files.keys()].sort(), ["a/b/c/d.txt", "a/f.txt", "a/run.json", "top.txt"]);
  assertEquals(await files.get("a/b/c/d.txt")!.text(), "deep");
  assertEquals(unreadable, ["a/b/locked", "a/gone.txt"]);
  assert(counts.length > 0 && counts.every((count, i) => i === 0 || count >= counts[i - 1]));
});

Deno.test("runs among files: in the folder itself, of one name, and with a run.json that cannot be read", async () => {
  const of = (entries: Record<string, string>) =>
    new Map(Object.entries(entries).map(([path, text]) => [path, new File([text], path)]));
  const start = (startedAt: string) => JSON.stringify({ startedAt });
  const first = await pickedRuns(
    of({ "run.json": start("1"), "sub/run.json": "{", "metrics.jsonl": "" }),
    [],
  );
  assertEquals(first.map(({ name, folder }) => [name, folder]), [["picked folder", ""], ["sub", "sub"]]);
  const again = await pickedRuns(of({ "run.json": start("1") }), first);
  assertEquals(again.map(({ key }) => key), [first[0].key]);
  const other = await pickedRuns(of({ "run.json": start("2"), "sub/run.json": start("3") }), first);
  assertEquals(other.map(({ name }) => name), ["picked folder (2)", "sub (2)"]);
  assertEquals((await pickedRuns(of({ "sub/other.json": "" }), first)).length, 0);
});

browserTest("the browser closes", closeBrowser);
