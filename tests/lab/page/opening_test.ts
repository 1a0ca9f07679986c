/**
 * How long the pages take to open, held against what cannot be helped: the same browser on the same machine, whoever else is at work there,
 * shows an empty page of the same server, or reads a run's figures and does nothing with them. Of several visits the best counts.
 */
import { assert, assertEquals } from "deno-std/assert/mod.js";
import type { Page } from "playwright-core";
import { buildPage, serveLab } from "../../../headless/lab.ts";
import { syntheticRun } from "../runs/synthetic.ts";
import { browserTest, closeBrowser, openBrowser } from "./browser.ts";

/** What one visit took, milliseconds. */
interface Visit {
  /** From the navigation until what was waited for was painted. */
  shown: number;
  /** Of a processor, for the page's main thread: what others do on the machine hardly counts. */
  processor: number;
  /** Addresses that were asked for until then, without the server's. */
  requests: string[];
}

const visits = 5;

/** Serves the page, with an empty one beside it and a long run. */
async function withServer(body: (address: string) => Promise<void>): Promise<void> {
  await buildPage();
  const folder = await Deno.makeTempDir({ prefix: "precis-opening-" });
  const server = serveLab(0, folder);
  try {
    for (const [path, text] of Object.entries(syntheticRun({ updates: 1953 }))) {
      const file = `${folder}/long/${path}`;
      await Deno.mkdir(file.slice(0, file.lastIndexOf("/")), { recursive: true });
      await Deno.writeTextFile(file, text);
    }
    await Deno.writeTextFile(`${folder}/empty.html`, "<!doctype html><title>Empty</title><p>Nothing");
    await body(`http://localhost:${server.addr.port}/`);
  } finally {
    await server.shutdown();
    await Deno.remove(folder, { recursive: true });
  }
}

/** Somebody who has never been here opens a page. @param part what there is to see, within `whole` or its shadow */
async function visit(
  url: string,
  whole: string,
  part: string,
  then: (page: Page) => Promise<void> = async () => {},
): Promise<Visit> {
  const context = await (await openBrowser()).newContext({ viewport: { width: 1280, height: 900 } });
  try {
    const page = await context.newPage();
    const debug = await context.newCDPSession(page);
    await debug.send("Performance.enable", { timeDomain: "threadTicks" });
    const processor = async () => {
      const { metrics } = await debug.send("Performance.getMetrics");
      return 1000 * metrics.find(({ name }) => name === "TaskDuration")!.value;
    };
    await page.addInitScript(([whole, part]) => {
      const shown = Promise.withResolvers<number>();
      (globalThis as unknown as { shown: Promise<number> }).shown = shown.promise;
      const look = () => {
        const parts = Array.from(
          document.querySelectorAll(whole),
          (one) => one.querySelector(part) ?? one.shadowRoot?.querySelector(part),
        );
        const there = parts.some((one) => one && one.getBoundingClientRect().height > 0);
        // A task that is begun after a frame was asked for runs after it is painted.
        if (there) requestAnimationFrame(() => setTimeout(() => shown.resolve(performance.now())));
        else requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
      setTimeout(() => shown.reject(new Error(`nothing of ${whole} ${part} in 30 s`)), 30_000);
    }, [whole, part]);
    const requests: string[] = [];
    page.on("request", (request) => requests.push(new URL(request.url()).pathname));
    const before = await processor();
    await page.goto(url, { waitUntil: "commit" });
    const shown = await page.evaluate(() => (globalThis as unknown as { shown: Promise<number> }).shown);
    const taken = { shown, processor: await processor() - before, requests: [...requests] };
    await then(page);
    return taken;
  } finally {
    await context.close();
  }
}

const best = (taken: readonly number[]) => Math.min(...taken);
const told = (taken: readonly number[]) => taken.map(Math.round).join(", ");

browserTest(
  "the stored outputs of the first notebook are there within a second, before anything is computed",
  async () => {
    await withServer(async (address) => {
      const empty: number[] = [], taken: Visit[] = [];
      for (let i = 0; i < visits; i++) {
        empty.push((await visit(`${address}runs/empty.html`, "body", "p")).shown);
        taken.push(await visit(address, "notebook-cell", ".outputs .output"));
      }
      const shown = taken.map(({ shown }) => shown), processor = taken.map(({ processor }) => processor);
      console.log(
        `shown after ${told(shown)} ms, of a processor ${told(processor)}; an empty page after ${
          told(empty)
        }`,
      );
      for (const { requests } of taken) {
        // Neither the engine nor a model: the outputs lie in the notebook's file.
        assertEquals(requests.filter((path) => /worker|\.wasm$|\/demo\/|sandbox/.test(path)), []);
      }
      // It took 8 times as long as an empty page, at loads of 7 and of 12 on two cores.
      assert(
        best(shown) < Math.max(1000, 20 * best(empty)),
        `${told(shown)} ms; an empty page ${told(empty)} ms`,
      );
      assert(best(processor) < 350, `${told(processor)} ms of a processor`);
    });
  },
);

browserTest("a run of 1,953 updates with 53 metrics opens within a second", async () => {
  await withServer(async (address) => {
    const reading: number[] = [], taken: Visit[] = [];
    for (let i = 0; i < visits; i++) {
      await visit(`${address}runs/empty.html`, "body", "p", async (page) => {
        const [took, figures] = await page.evaluate(async () => {
          const start = performance.now();
          const text = await (await fetch("long/metrics.jsonl")).text();
          let figures = 0;
          for (const line of text.split("\n")) {
            if (line) figures = Math.max(figures, Object.keys(JSON.parse(line)).length);
          }
          return [performance.now() - start, figures];
        });
        assert(figures >= 53, `${figures} figures in a line`);
        reading.push(took);
      });
      taken.push(await visit(`${address}runs.html?run=runs/long`, "run-chart", "canvas"));
    }
    const shown = taken.map(({ shown }) => shown), processor = taken.map(({ processor }) => processor);
    console.log(`shown after ${told(shown)} ms, of a processor ${told(processor)}; read in ${told(reading)}`);
    assert(
      best(shown) < Math.max(1000, 30 * best(reading)),
      `${told(shown)} ms; read in ${told(reading)} ms`,
    );
    assert(best(processor) < 700, `${told(processor)} ms of a processor`);
  });
});

browserTest("the browser closes", closeBrowser);
