/** The built notebook page for tests: at an address of its own, with empty storage, and what tests do with it again and again. */
import { assertEquals } from "deno-std/assert/mod.js";
import { Buffer } from "node:buffer";
import type { BrowserContext, Locator, Page, Worker } from "playwright-core";
import { buildPage, labHandler, serveLab } from "../../../headless/lab.ts";
import { newCell, newNotebook, type Notebook, serialiseNotebook } from "../../../lab/notebook/ipynb.ts";
import { openBrowser } from "./browser.ts";

export interface Opened {
  page: Page;
  context: BrowserContext;
  /** Of the server, with its last "/". */
  address: string;
  open: (query?: string) => Promise<void>;
  /** Stops the server, as if the network went. */
  unplug: () => Promise<void>;
}

export interface Circumstances {
  runs?: string;
  without?: "WebGPU";
  /** Served as by a static host that sends no headers but those of the content. */
  bare?: boolean;
  /** Opens on the notebook that ships, rather than on one that changes with the tests alone. */
  shipped?: boolean;
  /** Faults of the page that the test brings about. */
  faults?: RegExp;
}

/** Runs a test with the page; uncaught errors of the page fail it. */
export async function withNotebook(
  body: (opened: Opened) => Promise<void>,
  { runs = "/nowhere", without, bare, shipped, faults: expected }: Circumstances = {},
): Promise<void> {
  await buildPage();
  const server = bare ? serveBare() : serveLab(0, runs);
  let running = true;
  const unplug = async () => {
    if (running) await server.shutdown();
    running = false;
  };
  const context = await (await openBrowser()).newContext({ viewport: { width: 1280, height: 900 } });
  const faults: string[] = [];
  if (!shipped) await standIn(context);
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
    page.on("pageerror", (error) => faults.push(String(error)));
    if (without) await withoutWebGpu(context);
    const address = `http://localhost:${server.addr.port}/`;
    const open = async (query = "") => {
      await page.goto(address + query);
      await page.locator("notebook-cell").first().waitFor();
    };
    await body({ page, context, address, open, unplug });
    assertEquals(faults.filter((fault) => !expected?.test(fault)), []);
  } finally {
    await context.close();
    await unplug();
  }
}

/** As in a browser that has none, neither in pages nor in workers. */
async function withoutWebGpu(context: BrowserContext): Promise<void> {
  await context.addInitScript(() => delete (Navigator.prototype as { gpu?: GPU }).gpu);
  await context.route(/assets\/worker-[^/]*\.js$/, async (route) => {
    const response = await route.fetch();
    const first = "delete Object.getPrototypeOf(navigator).gpu;\n";
    await route.fulfill({ response, body: first + await response.text() });
  });
}

/** The page's files, each with its type and its length. */
export function serveBare(): Deno.HttpServer<Deno.NetAddr> {
  const answerTo = labHandler("/nowhere");
  return Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { body, status, headers } = await answerTo(request);
    const kept = ["content-type", "content-length"].flatMap((name) => {
      const value = headers.get(name);
      return value === null ? [] : [[name, value]];
    });
    return new Response(body, { status, headers: Object.fromEntries(kept) });
  });
}

/** The notebook that tests open on. */
export const testNotebook = new URL("./notebooks/change_one_word.ipynb", import.meta.url);

/** Puts it in the place of the first that ships. */
export async function standIn(context: BrowserContext): Promise<void> {
  const body = await Deno.readTextFile(testNotebook);
  await context.route(
    "**/notebooks/welcome.ipynb",
    (route) => route.fulfill({ body, contentType: "application/json" }),
  );
}

/** A notebook of code cells, and of markdown where a source begins with "#". */
export function notebookOf(...sources: string[]): Notebook {
  const notebook = newNotebook(7);
  for (const source of sources) {
    const kind = source.startsWith("#") ? "markdown" : "code";
    notebook.cells.push(newCell(kind, source, notebook.cells.length, notebook.cells));
  }
  return notebook;
}

/** Opens a notebook as a file that somebody gave. @param trusted lets it run */
export async function openFile(page: Page, notebook: Notebook | string, trusted = true): Promise<void> {
  const text = typeof notebook === "string" ? notebook : serialiseNotebook(notebook);
  await page.getByRole("button", { name: "Open", exact: true }).click();
  await page.locator("open-dialog dialog[open]").waitFor();
  await page.locator("open-dialog input[type=file]").setInputFiles({
    name: "given.ipynb",
    mimeType: "application/json",
    buffer: Buffer.from(text),
  });
  await page.locator("open-dialog dialog").waitFor({ state: "hidden" });
  if (!trusted) return;
  await page.getByRole("button", { name: "Let it run in the sandbox" }).click();
  await page.locator("stranger-card").waitFor({ state: "detached" });
}

/** A new notebook whose cells are these, made by hand in the page. */
export async function writeNotebook(page: Page, ...sources: string[]): Promise<void> {
  await page.getByRole("button", { name: "New", exact: true }).click();
  await page.locator("notebook-cell").nth(1).waitFor();
  for (const [i, source] of sources.entries()) {
    if (i > 0) await page.getByRole("button", { name: "+ Code" }).click();
    else await cell(page, 2).locator("pre.code-text").dblclick();
    await page.locator(".cm-content").waitFor();
    await page.keyboard.press("ControlOrMeta+a");
    await page.keyboard.insertText(source);
    await leaveEditor(page);
  }
}

/** The first Escape may only close a list of completions. */
export async function leaveEditor(page: Page): Promise<void> {
  const editor = page.locator(".cm-content");
  while (await editor.count() > 0) {
    await page.keyboard.press("Escape");
    await page.waitForTimeout(100);
  }
}

/** The worker that has the GPU. Both it and that of the cells come from blobs, but theirs from one without an origin. */
export function gpuWorker(page: Page): Worker {
  return page.workers().find((worker) => worker.url().startsWith("blob:http"))!;
}

/** @param position from 1, as the page counts */
export function cell(page: Page, position: number): Locator {
  return page.locator("notebook-cell").nth(position - 1);
}

export async function statusOf(page: Page, position: number): Promise<string> {
  const classes = await cell(page, position).locator("section.cell").getAttribute("class");
  return classes!.split(/\s+/).at(-1)!;
}

/** Waits until nothing runs any more. */
export async function idle(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Run all", exact: true }).waitFor();
}

export async function runAll(page: Page): Promise<string> {
  // Seen by the page itself: a short run may be over before anybody outside looks.
  const begun = page.evaluate(() =>
    new Promise<void>((resolve) => {
      const observer = new MutationObserver(() => {
        const buttons = [...document.querySelectorAll(".bar button")];
        if (!buttons.some(({ textContent }) => textContent!.trim() === "Interrupt")) return;
        observer.disconnect();
        resolve();
      });
      observer.observe(document.body, { childList: true, subtree: true, characterData: true });
    })
  );
  await page.getByRole("button", { name: "Run all", exact: true }).click();
  await begun;
  await idle(page);
  return await page.locator(".bar .badge").innerText();
}

/** What a cell put out, as text. */
export async function outputOf(page: Page, position: number): Promise<string> {
  const outputs = cell(page, position).locator(".outputs");
  return await outputs.count() > 0 ? (await outputs.innerText()).trim() : "";
}

/** The notebook as the page would save it. */
export async function savedFile(page: Page): Promise<string> {
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Share", exact: true }).click();
  await page.getByRole("menuitem", { name: "A file (.ipynb)" }).click();
  return await Deno.readTextFile(await (await download).path());
}
