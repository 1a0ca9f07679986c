/** The referee's page in a real browser: transformers.js on onnxruntime-web beside our engine, on one device and in WebAssembly. */
import { assert, assertEquals, assertMatch } from "deno-std/assert/mod.js";
import type { Page } from "playwright-core";
import { buildPage, serveLab } from "../../../headless/lab.ts";
import type { Comparison } from "../../../lab/referee.ts";
import { axeFindings } from "./axe.ts";
import { browserTest, closeBrowser, openBrowser } from "./browser.ts";

interface Verdict {
  comparison: Comparison;
  wrote: { differsAt: number | null; text: { ours: string; theirs: string } };
}

/** The page, once the demo's post is in it. */
async function withReferee<T>(
  query: string,
  body: (page: Page, asked: string[]) => Promise<T>,
): Promise<T> {
  await buildPage();
  const server = serveLab(0, "/nowhere");
  const context = await (await openBrowser()).newContext({ viewport: { width: 1280, height: 900 } });
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(120_000);
    const asked: string[] = [];
    page.on("request", (request) => asked.push(request.url()));
    await page.goto(`http://localhost:${server.addr.port}/referee.html${query}`);
    await page.waitForFunction(() =>
      /SUBREDDIT/.test(document.querySelector("referee-page")!.shadowRoot!.querySelector("textarea")!.value)
    );
    return await body(page, asked);
  } finally {
    await context.close();
    await server.shutdown();
  }
}

function verdictOf(query: string): Promise<{ verdict: Verdict; said: string; asked: string[] }> {
  return withReferee(query, async (page, asked) => {
    await page.getByRole("button", { name: "Compare" }).click();
    await page.locator("referee-page .verdict, referee-page .trouble").first().waitFor();
    const element = page.locator("referee-page");
    const said = await element.evaluate((element) => element.shadowRoot!.textContent!);
    const verdict = await element.evaluate((element) => (element as unknown as { verdict: Verdict }).verdict);
    return { verdict, said, asked };
  });
}

// onnxruntime's WebGPU kernels are themselves 3e-3 off its WebAssembly ones on Chromium's software adapter; ours are not.
for (const [provider, most] of [["webgpu", 1e-2], ["wasm", 1e-3]] as const) {
  browserTest(`transformers.js agrees with our engine in the page: ${provider}`, async () => {
    const { verdict, said, asked } = await verdictOf(`?provider=${provider}`);
    assert(verdict, said);
    const { comparison, wrote } = verdict;
    assertMatch(comparison.referee, provider === "webgpu" ? /WebGPU, the same device/ : /WebAssembly/);
    assert(comparison.positions.length > 50, `${comparison.positions.length} positions`);
    assert(comparison.sameIds);
    assert(comparison.worst.gap > 0 && comparison.worst.gap < most, `a gap of ${comparison.worst.gap}`);
    for (const { likeliest, margin, gap } of comparison.positions) {
      assert(likeliest.ours === likeliest.theirs || margin < 2 * gap);
    }
    assertEquals([wrote.differsAt, wrote.text.theirs], [null, wrote.text.ours]);
    assert(wrote.text.ours.length > 10, wrote.text.ours);
    assertEquals(asked.filter((url) => !/^(http:\/\/localhost:|blob:|data:)/.test(url)), []);
  });
}

for (const colorScheme of ["light", "dark"] as const) {
  browserTest(`axe finds nothing, ${colorScheme}`, async () => {
    await withReferee("", async (page) => {
      await page.emulateMedia({ colorScheme });
      assertEquals(await axeFindings(page), []);
    });
  });
}

browserTest("a folder that is no export is named", async () => {
  const { verdict, said } = await verdictOf("?provider=wasm&onnx=demo/base");
  assertEquals(verdict, null);
  assertMatch(said, /model\.onnx/);
});

Deno.test({ name: "the browser closes", fn: closeBrowser, sanitizeOps: false, sanitizeResources: false });
