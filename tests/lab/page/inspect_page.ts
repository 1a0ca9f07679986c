/** The inspector in a real browser, for its tests: at an address of its own, and what is to be read off its map. */
import { assertEquals } from "deno-std/assert/mod.js";
import type { Locator, Page } from "playwright-core";
import { diskFiles } from "../../../headless/files.ts";
import { buildPage, serveLab } from "../../../headless/lab.ts";
import type { Gpu } from "../../../kernels/gpu.ts";
import { type Qwen2, saveQwen2 } from "../../../lab/qwen2.ts";
import { entryOf, readSafetensorsHeader, readTensor } from "../../../lab/safetensors.ts";
import { openBrowser } from "./browser.ts";

export const root = decodeURIComponent(new URL("../../..", import.meta.url).pathname);
export const files = diskFiles();

/** The inspector at an address of its own. */
export async function withPage(
  body: (page: Page, open: (query?: string) => Promise<void>) => Promise<void>,
  { colorScheme = "light", runs = "/nowhere" }: { colorScheme?: "light" | "dark"; runs?: string } = {},
): Promise<void> {
  await buildPage();
  const server = serveLab(0, runs);
  const context = await (await openBrowser()).newContext({
    viewport: { width: 1280, height: 900 },
    colorScheme,
  });
  const faults: string[] = [];
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
    page.on("pageerror", (error) => faults.push(String(error)));
    await body(page, async (query = "") => {
      await page.goto(`http://localhost:${server.addr.port}/inspect.html${query}`);
    });
    assertEquals(faults, []);
  } finally {
    await context.close();
    await server.shutdown();
  }
}

/** A published tensor of a shipped model, as its file has it. */
export async function published(
  model: string,
  name: string,
): Promise<{ values: Float32Array; columns: number }> {
  const header = await readSafetensorsHeader(files, `${root}public/demo/${model}/model.safetensors`);
  return { values: await readTensor(files, header, name), columns: entryOf(header, name).shape.at(-1)! };
}

/** A model as a finished stage of a run leaves it. */
export async function saveFinished(gpu: Gpu, model: Qwen2, folder: string): Promise<void> {
  await files.makeDirectory(folder);
  await saveQwen2(gpu, files, folder, model);
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    await Deno.copyFile(`${root}public/demo/base/${name}`, `${folder}/${name}`);
  }
}

/** A copy of the demo's base model in which some elements of a tensor are not what they were. */
export async function poison(folder: string, tensor: string, values: Record<number, number>): Promise<void> {
  for await (const { name } of Deno.readDir(`${root}public/demo/base`)) {
    await Deno.copyFile(`${root}public/demo/base/${name}`, `${folder}/${name}`);
  }
  const path = `${folder}/model.safetensors`, header = await readSafetensorsHeader(files, path);
  const { start, dtype } = entryOf(header, tensor);
  assertEquals(dtype, "F32");
  const bytes = await Deno.readFile(path), numbers = new DataView(bytes.buffer, start);
  for (const [element, value] of Object.entries(values)) numbers.setFloat32(4 * Number(element), value, true);
  await Deno.writeFile(path, bytes);
}

export const view = (page: Page) => page.locator("tensor-view");
export const readout = (page: Page) => view(page).locator(".readout");

/** Waits until what is on show is as fine as it gets. */
export const settled = (page: Page) => view(page).locator("canvas[aria-busy=false]").waitFor();

/** Where an element of the tensor on show is on the page. */
export const placeOf = (page: Page, row: number, column: number) =>
  view(page).evaluate(
    (element, [row, column]) =>
      (element as unknown as { placeOf(row: number, column: number): { x: number; y: number } })
        .placeOf(row, column),
    [row, column],
  );

export async function hover(page: Page, row: number, column: number): Promise<string> {
  const { x, y } = await placeOf(page, row, column);
  await page.mouse.move(x, y);
  // The first line is of what is pointed at; pins, which have theirs already, come below.
  await readout(page).locator("p").first().locator("output").waitFor();
  return await readout(page).innerText();
}

/** A view's own data, which is not to be read off pixels. */
export const property = <T>(locator: Locator, name: string) =>
  locator.evaluate((element, name) => (element as unknown as Record<string, unknown>)[name], name) as Promise<
    T
  >;

export const hex = (value: number) =>
  `0x${new Uint32Array(Float32Array.of(value).buffer)[0].toString(16).padStart(8, "0")}`;
