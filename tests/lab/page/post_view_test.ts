/** The post that the page opens on, in a real browser, served by deno task lab's server: the same engine, model and numbers as headless. */
import { assert, assertEquals, assertMatch } from "deno-std/assert/mod.js";
import type { Locator, Page } from "playwright-core";
import { openGpu } from "../../../headless/devices.ts";
import { diskFiles } from "../../../headless/files.ts";
import { buildPage, serveLab } from "../../../headless/lab.ts";
import { writeJson } from "../../../lab/bytes.ts";
import { presetConfig } from "../../../lab/config.ts";
import { demoLengths, type Example, examplePost, makeExample } from "../../../lab/demo/example.ts";
import { loadPosts } from "../../../lab/demo/load.ts";
import type { Lab } from "../../../lab/page/worker.ts";
import type { Post } from "../../../lab/query.ts";
import { loadQwen2 } from "../../../lab/qwen2.ts";
import { type ShownToken, summarise, type Writer } from "../../../lab/summarise.ts";
import { loadTokenizer } from "../../../lab/tokenizer.ts";
import { testRuntime } from "../../kernels/testing.ts";
import { llama2cEncoder, readLlama2c, storiesCheckpoint, storiesData } from "../stories.ts";
import { browserTest, closeBrowser, openBrowser } from "./browser.ts";
import { gpuWorker, standIn } from "./notebook_page.ts";

const root = decodeURIComponent(new URL("../../..", import.meta.url).pathname);
const demo = `${root}public/demo`;
const files = diskFiles();
const stories = storiesData();

/** The page at an address of its own, with empty storage. */
async function withPage(
  body: (page: Page, open: (query?: string) => Promise<void>) => Promise<void>,
  { runs = "/nowhere", without }: { runs?: string; without?: "WebGPU" } = {},
) {
  await buildPage();
  const server = serveLab(0, runs);
  const context = await (await openBrowser()).newContext({ viewport: { width: 1280, height: 900 } });
  const faults: string[] = [];
  await standIn(context);
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
    page.on("pageerror", (error) => faults.push(String(error)));
    if (without) await page.addInitScript(() => delete (Navigator.prototype as { gpu?: GPU }).gpu);
    await body(page, async (query = "") => {
      await page.goto(`http://localhost:${server.addr.port}/${query}`);
    });
    assertEquals(faults, []);
  } finally {
    await context.close();
    await server.shutdown();
  }
}

async function shipped(): Promise<Example> {
  return JSON.parse(await Deno.readTextFile(`${demo}/example.json`));
}

const summaryText = (page: Page) => page.locator(".summary p.text");
const source = (page: Page) => page.locator(".summary .source");
const body = (page: Page) => page.locator("post-view textarea");
const tokensOf = (strip: Locator) =>
  strip.evaluate((element) => (element as unknown as { tokens: ShownToken[] }).tokens);

/** Presses a button and waits until its result is there. */
async function compute(page: Page, panel: "summary" | "own") {
  await page.getByRole("button", { name: panel === "own" ? "Rate" : "Summarise", exact: true }).click();
  await page.locator(`.${panel} .source:not(:has(.busy))`).filter({ hasText: "Computed here" }).waitFor();
}

/** The same tokens, and numbers that agree as far as two adapters' arithmetic does. */
function assertSame(actual: readonly ShownToken[], expected: readonly ShownToken[]) {
  assertEquals(actual.map(({ id, text }) => [id, text]), expected.map(({ id, text }) => [id, text]));
  actual.forEach(({ logprob, entropy }, t) => {
    assert(
      Math.abs(logprob - expected[t].logprob) < 1e-3,
      `token ${t}: ${logprob} and ${expected[t].logprob}`,
    );
    assert(
      Math.abs(entropy - expected[t].entropy) < 1e-3,
      `token ${t}: ${entropy} and ${expected[t].entropy}`,
    );
  });
}

let opened: Promise<Writer> | null = null;

/** The same model on the device of the tests. */
function headless(): Promise<Writer> {
  opened ??= (async () => {
    const gpu = await openGpu(testRuntime);
    const model = await loadQwen2(gpu, files, `${demo}/base`, "base");
    const tokenizer = await loadTokenizer((path) => files.read(path), `${demo}/base`);
    return { gpu, model, tokenizer, lengths: demoLengths };
  })();
  return opened;
}

/** A test that leaves its device to the next. */
function engineTest(name: string, fn: () => Promise<void>) {
  Deno.test({ name, fn, sanitizeOps: false, sanitizeResources: false });
}

engineTest("the example that ships with the page is what the model makes of its post", async () => {
  const posts = await loadPosts((path) => files.read(`${demo}/${path}`), "test");
  const example = await shipped();
  const made = await makeExample(await headless(), posts[examplePost], example.model);
  assertSame(made.summary.tokens, example.summary.tokens);
  assertSame(made.rated.tokens, example.rated.tokens);
  assertEquals([made.post, made.summary.text], [example.post, example.summary.text]);
});

browserTest("the page opens on the shipped result, and starts no GPU for it", async () => {
  const example = await shipped();
  await withPage(async (page, open) => {
    await open();
    await page.getByText("Stored with the notebook").first().waitFor();
    assertEquals((await summaryText(page).textContent())?.trim(), example.summary.text);
    assertSame(await tokensOf(page.locator(".summary token-strip")), example.summary.tokens);
    assertEquals(await page.locator(".own input").inputValue(), example.reference);
    assertEquals(page.workers().length, 0);

    // By keyboard: one stop in the strip, arrows within, the numbers told below; a click pins, Escape lets go.
    const strip = page.locator(".summary token-strip"), readout = strip.locator(".readout");
    await strip.locator("button").first().focus();
    for (let i = 0; i < 3; i++) await page.keyboard.press("ArrowRight");
    const at = (i: number) => `Token ${i} of ${example.summary.tokens.length}`;
    assertMatch(
      await readout.innerText(),
      new RegExp(`^${at(4)}.*id ${example.summary.tokens[3].id}\\b.*entropy`),
    );
    await page.keyboard.press("End");
    assertMatch(await readout.innerText(), new RegExp(at(example.summary.tokens.length)));
    await strip.locator("button").nth(1).click();
    await page.locator("h1").first().hover();
    await body(page).focus();
    assertMatch(await readout.innerText(), new RegExp(at(2)));
    await strip.locator("button").nth(1).press("Escape");
    await body(page).focus();
    assertMatch(await readout.innerText(), /nats in all/);

    for (const [width, colorScheme] of [[1280, "light"], [400, "dark"]] as const) {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert(wide <= width, `${wide} pixels on a page of ${width}`);
    }
  });
});

browserTest("without WebGPU the page says so, and the shipped result stays readable", async () => {
  const example = await shipped();
  await withPage(async (page, open) => {
    await open();
    await page.getByText("This browser has no WebGPU").first().waitFor();
    assertEquals((await summaryText(page).textContent())?.trim(), example.summary.text);
    for (const name of ["Summarise", "Rate"]) {
      assert(await page.getByRole("button", { name, exact: true }).isDisabled(), name);
    }
  }, { without: "WebGPU" });
});

browserTest(
  "the page's worker writes the same summaries as headless, and a changed post is kept",
  async () => {
    const example = await shipped();
    await withPage(async (page, open) => {
      await open();
      await compute(page, "summary");
      assertSame(await tokensOf(page.locator(".summary token-strip")), example.summary.tokens);
      assertEquals((await summaryText(page).textContent())?.trim(), example.summary.text);
      assertMatch(
        await source(page).innerText(),
        /^Computed here on \S.* in [\d.]+ m?s: greedy, \d+ tokens read, \d+ written/,
      );
      await compute(page, "own");
      assertSame(await tokensOf(page.locator(".own token-strip")), example.rated.tokens);

      const changed: Post = { ...example.post, post: example.post.post.replace("birthday", "guitar") };
      await body(page).fill(changed.post);
      assertMatch(await source(page).innerText(), /^Of the text before your change/);
      await compute(page, "summary");
      const expected = await summarise(await headless(), changed, { temperature: 0, seed: 1 });
      assertSame(await tokensOf(page.locator(".summary token-strip")), expected.tokens);
      assert(expected.text !== example.summary.text);

      // Drawn: the seed decides.
      const draw = async (seed: string) => {
        await page.getByLabel("Temperature").fill("1");
        await page.getByLabel("Temperature").press("Tab");
        await page.getByLabel("Seed").fill(seed);
        await page.getByLabel("Seed").press("Tab");
        await compute(page, "summary");
        return await summaryText(page).textContent();
      };
      const [first, second, again] = [await draw("1"), await draw("2"), await draw("1")];
      assert(first !== second && first === again, `${first} / ${second} / ${again}`);

      await page.reload();
      await page.getByText("Of the text before your change").first().waitFor();
      assertEquals(await body(page).inputValue(), changed.post);
      await page.getByRole("button", { name: "Back to the post as it was" }).click();
      assertEquals(await body(page).inputValue(), example.post.post);
      await page.reload();
      await page.getByText("Stored with the notebook").first().waitFor();
      assertEquals(await body(page).inputValue(), example.post.post);
    });
  },
);

browserTest("a lost device and a crashed worker are told of, and another can be started", async () => {
  const example = await shipped();
  await withPage(async (page, open) => {
    await open();
    await compute(page, "own");
    const alert = page.getByRole("alert");
    const breakages: [() => void, RegExp][] = [
      [() => {
        const { createCommandEncoder } = GPUDevice.prototype;
        GPUDevice.prototype.createCommandEncoder = function (...given) {
          this.destroy();
          return createCommandEncoder.apply(this, given);
        };
      }, /The GPU device was lost/],
      [() => {
        setTimeout(() => {
          throw new Error("broken on purpose");
        });
      }, /The GPU worker has stopped: .*broken on purpose/],
    ];
    for (const [breakIt, said] of breakages) {
      await gpuWorker(page).evaluate(breakIt);
      await page.getByRole("button", { name: "Summarise", exact: true }).click();
      await alert.waitFor();
      assertMatch(await alert.innerText(), said);
      assertEquals((await summaryText(page).textContent())?.trim(), example.summary.text);
      await alert.getByRole("button", { name: "Start the GPU again" }).click();
      await alert.waitFor({ state: "detached" });
      await compute(page, "own");
      assertSame(await tokensOf(page.locator(".own token-strip")), example.rated.tokens);
    }
  });
});

browserTest("the page works below any path of a static server, and with models from elsewhere", async () => {
  const example = await shipped();
  await withPage(async (page, open) => {
    await open("runs/dist/index.html?model=../public/demo/base");
    await page.getByText("“Summarise” writes one").waitFor();
    assertEquals(await body(page).inputValue(), example.post.post);
    await compute(page, "own");
    assertSame(await tokensOf(page.locator(".own token-strip")), example.rated.tokens);
    assertMatch(await page.locator(".facts").innerText(), /from http:\S+\/runs\/public\/demo\/base\b/);
  }, { runs: root });
});

browserTest("a run's model is asked within the lengths that the run was trained with", async () => {
  const example = await shipped();
  const runs = await Deno.makeTempDir({ prefix: "precis-runs-" });
  try {
    await Deno.mkdir(`${runs}/short/models/ppo`, { recursive: true });
    for await (const { name } of Deno.readDir(`${demo}/base`)) {
      await Deno.copyFile(`${demo}/base/${name}`, `${runs}/short/models/ppo/${name}`);
    }
    const { preprocess, ...others } = presetConfig("demo");
    const config = { ...others, preprocess: { ...preprocess, responseTokens: 5 } };
    await writeJson(files, `${runs}/short/run.json`, { config, startedAt: "2026-11-25T12:00:00Z" });
    await withPage(async (page, open) => {
      await open("?model=runs/short/models/ppo/");
      await page.getByText("“Summarise” writes one").waitFor();
      await compute(page, "summary");
      assertSame(await tokensOf(page.locator(".summary token-strip")), example.summary.tokens.slice(0, 5));
    }, { runs });
  } finally {
    await Deno.remove(runs, { recursive: true });
  }
});

browserTest("a model that is not there is named", async () => {
  await withPage(async (page, open) => {
    await open("?model=runs/none");
    await page.getByText("“Summarise” writes one").waitFor();
    await page.getByRole("button", { name: "Summarise", exact: true }).click();
    const said = await page.getByRole("alert").innerText();
    assertMatch(said, /\/runs\/none\/config\.json cannot be read: the server answers with status 404/);
  });
});

browserTest(
  "stories260K in the page's worker: the published ids, and the published loss of every story",
  async () => {
    const { model, tokenizer, greedy, texts } = stories!;
    const runs = await Deno.makeTempDir({ prefix: "precis-stories-" });
    try {
      await Deno.mkdir(`${runs}/stories`);
      const checkpoint = await storiesCheckpoint(model);
      for (const name of await checkpoint.list("stories")) {
        await Deno.writeFile(`${runs}/stories/${name}`, await checkpoint.read(`stories/${name}`));
      }
      const encode = llama2cEncoder(tokenizer, readLlama2c(model).config.vocabulary);
      await withPage(async (page, open) => {
        await open("?model=runs/stories");
        const found = await page.evaluate(async (sequences) => {
          const place = new URL("runs/stories", document.baseURI).href;
          const lab = await (globalThis as unknown as { openLab: () => Promise<Lab> }).openLab();
          const written = await lab.writing.writeIds(place, [1], 256, { temperature: 0, seed: 1 });
          const losses: number[] = [];
          for (const sequence of sequences) {
            const rated = await lab.writing.rateIds(place, sequence);
            losses.push(-rated.reduce((sum, { logprob }) => sum + logprob, 0) / rated.length);
          }
          return { ids: [1, ...written.map(({ id }) => id)], losses };
        }, texts.map(encode));
        assertEquals(found.ids, greedy);
        [1.3160, 1.2386, 0.9522, 1.4935, 1.1879].forEach((expected, story) => {
          const loss = found.losses[story];
          assert(
            Math.abs(loss - expected) <= 1e-3,
            `story ${story} has a loss of ${loss}, published is ${expected}`,
          );
        });
      }, { runs });
    } finally {
      await Deno.remove(runs, { recursive: true });
    }
  },
  stories ? undefined : "../shared/data/stories260k is missing",
);

engineTest("browser and device close", async () => {
  await closeBrowser();
  (await opened)?.gpu.destroy();
});
