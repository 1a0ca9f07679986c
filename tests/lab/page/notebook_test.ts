/** The notebook page in a real browser: from clean to certified, what edits make stale, what is kept, keys, and every state that is no success. */
import { assert, assertEquals, assertMatch } from "deno-std/assert/mod.js";
import type { Page } from "playwright-core";
import { diskFiles } from "../../../headless/files.ts";
import { configure } from "../../../lab/config.ts";
import { loadDemoData } from "../../../lab/dataset.ts";
import type { Histogram } from "../../../lab/inspect/types.ts";
import { sftTrainer } from "../../../lab/live/sft.ts";
import { parseNotebook, serialiseNotebook } from "../../../lab/notebook/ipynb.ts";
import { testBench } from "../notebook/lab_testing.ts";
import { browserTest, closeBrowser } from "./browser.ts";
import {
  cell,
  gpuWorker,
  idle,
  leaveEditor,
  notebookOf,
  openFile,
  outputOf,
  runAll,
  savedFile,
  statusOf,
  testNotebook,
  withNotebook,
  writeNotebook,
} from "./notebook_page.ts";

const root = decodeURIComponent(new URL("../../..", import.meta.url).pathname);
const testFile = () => Deno.readTextFile(testNotebook);

/** Puts the keyboard on a cell as a whole. */
const choose = (page: Page, position: number) => cell(page, position).locator("section.cell").focus();

/** Writes a source over a cell's, by hand. */
async function rewrite(page: Page, position: number, source: string): Promise<void> {
  await choose(page, position);
  await page.keyboard.press("Enter");
  await page.locator(".cm-content").waitFor();
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.insertText(source);
  await leaveEditor(page);
}

browserTest("what the page loads before it can be read is at most 200 KiB, compressed", async () => {
  await withNotebook(async ({ page, open, address }) => {
    const asked: string[] = [];
    page.on("request", (request) => asked.push(request.url().slice(address.length)));
    const start = performance.now();
    await open();
    await page.getByText("Stored with the notebook").waitFor();
    const took = performance.now() - start;
    await page.waitForTimeout(2500); // what loads when there is nothing else to do
    let total = 0;
    for (const path of asked) {
      if (path.startsWith("data:") || path.startsWith("notebooks/")) continue;
      const bytes = await Deno.readFile(`${root}dist/${path || "index.html"}`);
      const packed = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
      total += (await new Response(packed).arrayBuffer()).byteLength;
    }
    assert(total > 40 * 1024 && total <= 200 * 1024, `${total} bytes: ${asked.join(", ")}`);
    assert(!asked.some((path) => /worker|editor|sandbox|demo\//.test(path)), asked.join(", "));
    assert(took < 8000, `${took} ms`);
  });
});

for (const shipped of [false, true]) {
  const which = shipped ? "the shipped notebook" : "a notebook";
  browserTest(`${which} is certified by a run from clean, and its file comes out as it went in`, async () => {
    const file = shipped
      ? await Deno.readTextFile(`${root}public/notebooks/welcome.ipynb`)
      : await testFile();
    await withNotebook(async ({ page, open }) => {
      await open();
      assertMatch(await page.locator(".bar .standing").innerText(), /^stored/);
      assertEquals(await savedFile(page), file);
      assertEquals(await runAll(page), "certified");
      const code = await page.locator("section.cell.code").count();
      assertEquals(await page.locator("section.cell.code.verified").count(), code);
      // What is verified keeps what was stored: the file has no difference.
      assertEquals(await savedFile(page), file);
    }, { shipped });
  });
}

browserTest("a result that differs is said, where and by how much, until it is taken", async () => {
  await withNotebook(async ({ page, open }) => {
    await open();
    const forged = parseNotebook("welcome", new TextEncoder().encode(await testFile()));
    const { values } = (forged.cells[3] as {
      metadata: { lab: { values: { sketch: { samples: number[] }; digest: string }[] } };
    })
      .metadata.lab;
    values[0].sketch.samples[2] += 0.25;
    values[0].digest = values[0].digest.replace(/^./, (digit) => digit === "0" ? "1" : "0");
    await openFile(page, forged);
    assertEquals(await runAll(page), "differs");
    assertEquals(await statusOf(page, 4), "differs");
    assertMatch(await page.locator(".bar .standing").innerText(), /at cell 2: differs in −log p/);
    assertMatch(await cell(page, 4).locator(".foot").innerText(), /was [\d.e-]+ and is [\d.e-]+.*apart/);
    await page.getByRole("button", { name: "Take it as it is now" }).click();
    assertEquals(await runAll(page), "certified");
  });
});

browserTest(
  "an edit marks what depends on it, a run takes the marks away, and needs are run first",
  async () => {
    await withNotebook(async ({ page, open }) => {
      await open();
      await writeNotebook(page, "const a = 2;", "const b = a * 10; b", "'apart'", "b + 1");
      assertEquals(await page.locator(".bar .badge").innerText(), "not run");
      // The last cell alone: what it needs runs before it, and nothing else.
      await choose(page, 5);
      await page.keyboard.press("ControlOrMeta+Enter");
      await cell(page, 5).locator("section.fresh").waitFor();
      assertEquals(await outputOf(page, 5), "21");
      assertEquals([await statusOf(page, 2), await statusOf(page, 4)], ["fresh", "unrun"]);
      assertEquals(await runAll(page), "certified");

      await rewrite(page, 2, "const a = 3;");
      await cell(page, 5).locator("section.stale").waitFor();
      assertEquals(await Promise.all([2, 3, 4, 5].map((i) => statusOf(page, i))), [
        "stale",
        "stale",
        "fresh",
        "stale",
      ]);
      assertMatch(await cell(page, 2).locator(".foot").innerText(), /its source was edited/);
      assertMatch(await page.locator(".bar .standing").innerText(), /^edited\s+3 cells are stale/);
      await choose(page, 2);
      await page.keyboard.press("Shift+Enter");
      await cell(page, 2).locator("section.fresh").waitFor();
      assertEquals(await statusOf(page, 3), "stale");
      await page.keyboard.press("Shift+Enter");
      await cell(page, 3).locator("section.fresh").waitFor();
      assertEquals(await outputOf(page, 3), "30");
      assertEquals(await statusOf(page, 5), "stale");

      // Errors name the line, in the output and in the editor.
      await rewrite(page, 3, "const b = a;\nb.missing.more");
      await choose(page, 3);
      await page.keyboard.press("ControlOrMeta+Enter");
      await cell(page, 3).locator("section.failed").waitFor();
      assertMatch(await outputOf(page, 3), /TypeError[^]*cell 2, line 2/);
      await rewrite(page, 3, "const b = ;");
      await choose(page, 3);
      await page.keyboard.press("ControlOrMeta+Enter");
      await cell(page, 3).locator(".output.error").filter({ hasText: "line 1" }).waitFor();
      await page.keyboard.press("Enter");
      await page.locator(".cm-lintRange-error, .cm-lintPoint-error").first().waitFor();
    });
  },
);

browserTest("Jupyter's keys, the palette and the sheet of keys", async () => {
  await withNotebook(async ({ page, open }) => {
    await open();
    await writeNotebook(page, "1", "2");
    const sources = () =>
      page.locator("notebook-cell").evaluateAll((cells) =>
        cells.map((one) => (one as unknown as { cell: { source: string } }).cell.source)
      );
    const chosen = () => page.locator("notebook-cell section[data-selected]").getAttribute("aria-label");
    await choose(page, 1);
    await page.keyboard.press("j");
    await page.keyboard.press("ArrowDown");
    assertMatch((await chosen())!, /^Cell 3, code/);
    await page.keyboard.press("k");
    assertMatch((await chosen())!, /^Cell 2/);
    await page.keyboard.press("a");
    await page.locator(".cm-content").waitFor();
    await page.keyboard.insertText("above");
    await leaveEditor(page);
    await page.keyboard.press("m");
    assertMatch((await chosen())!, /^Cell 2, text/);
    await page.keyboard.press("y");
    assertMatch((await chosen())!, /^Cell 2, code/);
    await page.keyboard.press("d");
    await page.keyboard.press("d");
    assertEquals(await sources(), ["# Untitled notebook", "1", "2"]);
    await page.keyboard.press("z");
    assertEquals(await sources(), ["# Untitled notebook", "above", "1", "2"]);
    await page.keyboard.press("Alt+ArrowDown");
    assertEquals(await sources(), ["# Untitled notebook", "1", "above", "2"]);
    await page.keyboard.press("d");
    await page.keyboard.press("d");
    await page.keyboard.press("b");
    await page.locator(".cm-content").waitFor();
    await page.keyboard.insertText("40 + 2");
    await page.keyboard.press("Alt+Enter");
    await page.locator("notebook-cell").nth(4).waitFor();
    await page.locator(".output").filter({ hasText: "42" }).waitFor();
    await page.locator(".cm-content").waitFor();
    await leaveEditor(page);

    await page.keyboard.press("?");
    await page.locator("key-sheet").getByText("Run all from clean").waitFor();
    await page.keyboard.press("Escape");
    await page.keyboard.press("ControlOrMeta+k");
    await page.keyboard.type("new note");
    assertEquals(await page.locator("action-palette [role=option]").count(), 1);
    await page.keyboard.press("Enter");
    await page.locator("action-palette dialog").waitFor({ state: "hidden" });
    await page.waitForFunction(() => document.querySelectorAll("notebook-cell").length === 2);
  });
});

browserTest("the editor completes lab's methods and explains them", async () => {
  await withNotebook(async ({ page, open }) => {
    await open();
    await writeNotebook(page, "const first = 1;", "");
    await choose(page, 3);
    await page.keyboard.press("Enter");
    await page.locator(".cm-content").waitFor();
    await page.keyboard.type("fir");
    await page.locator(".cm-tooltip-autocomplete").getByText("first").waitFor();
    await page.keyboard.press("Escape");
    await page.keyboard.press("ControlOrMeta+a");
    await page.keyboard.type("await lab.mod");
    await page.locator(".cm-tooltip-autocomplete li[aria-selected]").filter({ hasText: /^model/ }).waitFor();
    await page.locator(".cm-completionInfo").getByText("Opens a model").waitFor();
    await page.waitForTimeout(200); // a list that has just changed takes no keys
    await page.keyboard.press("Tab");
    assertEquals(await page.locator(".cm-content").innerText(), "await lab.model");
    await page.locator(".cm-line").hover({ position: { x: 104, y: 10 } }); // on "model"
    await page.locator(".api-help").getByText("Opens a model").waitFor();
  });
});

browserTest("a link carries the notebook, and a page to read needs nothing else", async () => {
  await withNotebook(async ({ page, open, context, address }) => {
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    await open();
    await page.getByRole("button", { name: "Share", exact: true }).click();
    await page.getByRole("menuitem", { name: "A link that carries it" }).click();
    await page.locator(".notice").filter({ hasText: "is copied" }).waitFor();
    const link = await page.evaluate(() => navigator.clipboard.readText());
    assert(link.startsWith(`${address}#n=`) && link.length < 32_000, `${link.length} characters`);
    const other = await context.newPage();
    await other.goto(link);
    await other.getByText("Somebody else wrote this notebook").waitFor();
    assertEquals(await savedFile(other), await testFile());
    await other.goto(`${link.slice(0, -40)}`);
    await other.reload();
    await other.locator(".notice").filter({ hasText: /The link .*(cut|changed|damaged)/ }).waitFor();
    await other.close();

    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "Share", exact: true }).click();
    await page.getByRole("menuitem", { name: "A page to read" }).click();
    const html = await Deno.readTextFile(await (await download).path());
    assertMatch(html, /<title>Change one word<\/title>/);
    assert(!/<script|src="(?!data:)/.test(html));
  });
});

browserTest(
  "a tab that is killed loses nothing, two tabs notice each other, and a full storage has a way out",
  async () => {
    await withNotebook(async ({ page, open, context, address }) => {
      await open();
      await writeNotebook(page, "const kept = 1;");
      await page.getByText("kept in this browser").waitFor();
      const kept = page.url();
      await rewrite(page, 2, "const kept = 2;");
      // Closed without a word, in the middle.
      await page.close({ runBeforeUnload: false });
      const second = await context.newPage();
      await second.goto(kept);
      await cell(second, 2).waitFor();
      assertMatch(await savedFile(second), /const kept = 2;/);

      const third = await context.newPage();
      await third.goto(kept);
      await cell(third, 2).waitFor();
      await rewrite(third, 2, "const kept = 3;");
      await third.getByText("kept in this browser").waitFor();
      const notice = second.locator(".notice").filter({ hasText: "Another tab has changed this notebook" });
      await notice.waitFor();
      await notice.getByRole("button", { name: "Take the other tab’s" }).click();
      await notice.waitFor({ state: "detached" });
      assertMatch(await savedFile(second), /const kept = 3;/);

      // No room: said, with the way out, and kept again once there is room.
      await second.evaluate(() => {
        const { add } = IDBObjectStore.prototype;
        Object.assign(globalThis, { makeRoom: () => IDBObjectStore.prototype.add = add });
        IDBObjectStore.prototype.add = () => {
          throw new DOMException("full", "QuotaExceededError");
        };
      });
      await rewrite(second, 2, "const kept = 4;");
      const full = second.locator(".notice").filter({ hasText: "storage for this page is full" });
      await full.waitFor();
      const download = second.waitForEvent("download");
      await full.getByRole("button", { name: "Save as a file" }).click();
      assertMatch(await Deno.readTextFile(await (await download).path()), /const kept = 4;/);
      await second.evaluate(() => (globalThis as unknown as { makeRoom: () => void }).makeRoom());
      await rewrite(second, 2, "const kept = 5;");
      await full.waitFor({ state: "detached" });
      await second.getByText("kept in this browser").waitFor();
      await second.reload();
      await cell(second, 2).waitFor();
      assertMatch(await savedFile(second), /const kept = 5;/);

      // The list has it; deleted, it is gone.
      await second.getByRole("button", { name: "Open", exact: true }).click();
      await second.getByRole("button", { name: "Delete Untitled notebook" }).click();
      await second.getByText("None yet.").waitFor();
      await second.goto(address);
    });
  },
);

browserTest("a lost device is said, and the notebook runs again on another", async () => {
  await withNotebook(async ({ page, open }) => {
    await open();
    assertEquals(await runAll(page), "certified");
    await gpuWorker(page).evaluate(() => {
      const { createCommandEncoder } = GPUDevice.prototype;
      GPUDevice.prototype.createCommandEncoder = function (...given) {
        this.destroy();
        return createCommandEncoder.apply(this, given);
      };
    });
    await runAll(page);
    const notice = page.locator(".notice").filter({ hasText: "The GPU device was lost" });
    await notice.waitFor();
    assertMatch(await page.locator("post-view .text").first().innerText(), /birthday/);
    await notice.getByRole("button", { name: "Start the GPU again" }).click();
    assertEquals(await runAll(page), "certified");
  });
});

browserTest("without WebGPU the notebook is read, and what needs no GPU runs", async () => {
  await withNotebook(async ({ page, open }) => {
    await open();
    await page.locator(".notices .notice").filter({ hasText: "This browser has no WebGPU" }).waitFor();
    // What would only fail does not take the place of what is stored.
    const stored = await savedFile(page);
    await page.getByRole("button", { name: "Run all", exact: true }).click();
    await page.locator(".notices .notice").filter({ hasText: /Cell \d could not run; what is stored of it/ })
      .waitFor();
    assertMatch(await page.locator("post-view .text").first().innerText(), /birthday/);
    assertEquals(await savedFile(page), stored);
    await writeNotebook(page, "6 * 7");
    await runAll(page);
    assertEquals(await outputOf(page, 2), "42");
  }, { without: "WebGPU" });
});

browserTest("a run that leaving the page cut off is told of, once", async () => {
  await withNotebook(async ({ page, open }) => {
    await open();
    await writeNotebook(page, "1", "for (;;);");
    await page.waitForFunction(() =>
      document.querySelector(".bar .hint")?.textContent === "kept in this browser"
    );
    await page.getByRole("button", { name: "Run all", exact: true }).click();
    await cell(page, 3).locator("section.running").waitFor();
    // Whoever leaves is asked first.
    const asked = Promise.withResolvers<string>();
    page.once("dialog", (dialog) => {
      asked.resolve(dialog.type());
      dialog.accept();
    });
    await page.reload();
    assertEquals(await asked.promise, "beforeunload");
    await page.getByText("The page was left while cells ran.").waitFor();
    assertEquals(await outputOf(page, 2), "1");
    await page.reload();
    await page.locator("notebook-cell").first().waitFor();
    assertEquals(await page.getByText("The page was left while cells ran.").count(), 0);
  });
});

browserTest("once loaded, the page goes on without its server", async () => {
  await withNotebook(async ({ page, open, unplug }) => {
    await open();
    assertEquals(await runAll(page), "certified");
    await rewrite(page, 6, "for (;;);");
    await unplug();
    await choose(page, 6);
    await page.keyboard.press("ControlOrMeta+Enter");
    await cell(page, 6).locator("section.running").waitFor();
    await page.getByRole("button", { name: "Interrupt", exact: true }).click();
    await idle(page);
    await rewrite(page, 6, "surprise.length");
    await choose(page, 6);
    await page.keyboard.press("ControlOrMeta+Enter");
    await cell(page, 6).locator("section.fresh").waitFor();
    assertEquals(await outputOf(page, 6), "6");
  });
});

browserTest("a part of the page that is gone from its server is told of", async () => {
  await withNotebook(async ({ page, context, open }) => {
    await context.route(/assets\/(editor|sharing)-/, (route) => route.fulfill({ status: 404 }));
    await open();
    const notice = page.locator(".notice").filter({
      hasText: "or has a newer page than this one. Reload it.",
    });
    await choose(page, 6);
    await page.keyboard.press("Enter");
    await notice.waitFor();
    await notice.getByRole("button").click();
    await notice.waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Share", exact: true }).click();
    await page.getByRole("menuitem", { name: "A file (.ipynb)" }).click();
    await notice.waitFor();
  });
});

browserTest("a damaged file is refused by name, and what was open stays", async () => {
  await withNotebook(async ({ page, open }) => {
    await open();
    await openFile(page, "{ not json", false);
    await page.locator(".notice").filter({ hasText: "given.ipynb" }).waitFor();
    assertEquals(await page.locator("h1").first().innerText(), "Change one word");
    const notebook = notebookOf("# Mine", "1");
    await openFile(page, notebook, false);
    await page.locator("h1").filter({ hasText: "Mine" }).waitFor();
    assertEquals(await savedFile(page), serialiseNotebook(notebook));
  });
});

browserTest("a weight is looked into where it is shown, and in the inspector", async () => {
  await withNotebook(async ({ page, open }) => {
    await open();
    await openFile(
      page,
      notebookOf(
        "# A weight",
        `import { lab } from "precis";
const model = await lab.model("base");
const weight = await model.tensor("model.layers.1.self_attn.k_proj.weight");
await lab.show(weight);
await lab.show(await lab.ops.scale(weight, 2));`,
      ),
    );
    assertEquals(await runAll(page), "certified");
    // What was computed from it lies in no folder.
    assertEquals(await page.locator("figure.tensor").count(), 2);
    const output = page.locator("weight-output");
    assertEquals(await output.count(), 1);
    await output.locator("img").waitFor();
    await output.getByRole("button", { name: "Look closer" }).click();
    await output.locator("tensor-view canvas").waitFor();
    await output.locator("tensor-histogram").waitFor();
    assertEquals(await output.locator("img").isVisible(), false);
    await output.getByRole("button", { name: "Back to the picture" }).click();
    assert(await output.locator("img").isVisible());

    await output.getByRole("link", { name: "Inspect in base" }).click();
    await page.locator("tensor-view canvas").waitFor();
    // The inspector knows it by our name, and shows its rows alone.
    assertEquals(await page.locator(".title h2").innerText(), "layers.1.attn.qkv.weight");
    const query = new URL(page.url()).searchParams;
    assertEquals(query.get("tensor"), "weights/layers.1.attn.qkv.weight");
    assertMatch(query.get("rows")!, /^[1-9]\d*~\d+$/);
  });
});

browserTest(
  "training in the page gives the losses that it gives without a browser, and moments to look at",
  async () => {
    const fields = { batch: 8, learningRate: 1e-3 }, steps = 3;
    const bench = testBench();
    const { gpu, model: base, tokenizer } = await bench.open("base");
    const config = configure("demo", { sft: { ...fields, rows: steps * fields.batch, epochs: 1 } });
    const { posts } = await loadDemoData(diskFiles(), `${root}public/demo`);
    const trainer = await sftTrainer({ gpu, config, tokenizer: await tokenizer(), base, posts });
    const expected = (await trainer.run(steps)).map(({ loss }) => Number(loss));
    const { parameters } = trainer.model, moved = parameters.momentsOf("layers.1.mlp.down.weight").second;
    const [squares] = await gpu.read(moved);
    trainer.dispose();
    await bench.destroy();
    assert(expected.length === steps && expected[steps - 1] < expected[0] - 0.1, expected.join(", "));

    await withNotebook(async ({ page, open, address }) => {
      await open();
      await writeNotebook(
        page,
        `import { lab } from "precis";
const trainer = await lab.trainer("sft", ${JSON.stringify({ steps, ...fields })});
const losses = [];
for (let step = 0; step < trainer.steps; step++) losses.push((await trainer.step()).loss);
await (await trainer.model()).keep("mine", { moments: true });
await lab.show(JSON.stringify(losses));`,
      );
      assertEquals(await runAll(page), "certified");
      const losses: number[] = JSON.parse(await outputOf(page, 2));
      assertEquals(losses.length, steps);
      losses.forEach((loss, i) => {
        assert(
          Math.abs(loss - expected[i]) < 1e-3,
          `step ${i + 1}: ${loss} in the page, ${expected[i]} without`,
        );
      });
      assert(losses[steps - 1] < losses[0], losses.join(", "));

      // What AdamW holds of each weight can be looked at, as the model was kept with it.
      await page.goto(`${address}inspect.html`);
      await page.getByRole("button", { name: "kept/mine" }).click();
      const tree = page.locator("tensor-tree");
      await tree.getByRole("heading", { name: "Second moments" }).waitFor();
      await tree.locator('button[title*="layers.1.mlp.down_proj"]').nth(2).click();
      await page.locator(".title").getByText("second moment").waitFor();
      await page.locator("tensor-histogram").waitFor();
      const { rms, min } = await page.locator("tensor-view").evaluate((view) =>
        (view as unknown as { histogram: Histogram }).histogram
      );
      const rmsOf = (values: Float32Array) =>
        Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length);
      assert(min >= 0 && Math.abs(rms / rmsOf(squares) - 1) < 0.01, `rms ${rms} and ${rmsOf(squares)}`);
    });
  },
);

browserTest("knobs run their cell again and mark what depends on it", async () => {
  await withNotebook(async ({ page, open }) => {
    await open();
    await openFile(
      page,
      notebookOf(
        "# Knobs",
        `import { lab } from "precis"; const { beta } = await lab.knobs({ beta: { value: 1, min: 0, max: 4, step: 1 } }); beta * 2`,
        "beta + 100",
      ),
    );
    await runAll(page);
    assertEquals(await outputOf(page, 3), "101");
    await cell(page, 2).getByLabel("beta", { exact: true }).fill("3");
    await cell(page, 2).locator(".output").filter({ hasText: /^6$/ }).waitFor();
    await cell(page, 3).locator("section.stale").waitFor();
    assertMatch(await cell(page, 3).locator(".foot").innerText(), /a knob of cell 1 was turned/);
    await choose(page, 3);
    await page.keyboard.press("ControlOrMeta+Enter");
    await cell(page, 3).locator(".output").filter({ hasText: "103" }).waitFor();
  });
});

browserTest(
  "axe finds nothing, light and dark, at 1280 and 400 pixels, with and without dialogs",
  async () => {
    const axe = await Deno.readTextFile(new URL(import.meta.resolve("axe-core")));
    await withNotebook(async ({ page, open }) => {
      await open();
      await runAll(page);
      const look = async (where: string) => {
        await page.evaluate(axe);
        const violations = await page.evaluate(async () => {
          const { axe } = globalThis as unknown as {
            axe: {
              run: (
                o: object,
              ) => Promise<
                { violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }
              >;
            };
          };
          const { violations } = await axe.run({
            runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
          });
          return violations.map(({ id, nodes }) =>
            `${id}: ${
              nodes.slice(0, 3).map(({ html, failureSummary }) =>
                `${html.slice(0, 160)} ${failureSummary.slice(0, 300)}`
              ).join(" | ")
            }`
          );
        });
        assertEquals(violations, [], where);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert(wide <= 0, `${where}: ${wide} pixels too wide`);
      };
      for (
        const [width, colorScheme] of [[1280, "light"], [400, "dark"], [400, "light"], [
          1280,
          "dark",
        ]] as const
      ) {
        await page.setViewportSize({ width, height: 900 });
        await page.emulateMedia({ colorScheme });
        const where = `${width} ${colorScheme}`;
        await look(where);
        if (width === 1280 && colorScheme === "light") continue;
        await page.keyboard.press("r");
        await page.locator(".tok-keyword").first().waitFor();
        await look(`${where}, all code`);
        await page.keyboard.press("r");
        const dialogs: [RegExp, string][] = [[/Keys$/, "key-sheet"], [/All actions/, "action-palette"], [
          /^Open$/,
          "open-dialog",
        ]];
        for (const [name, dialog] of dialogs) {
          await page.getByRole("button", { name }).click();
          await page.locator(`${dialog} dialog`).waitFor();
          await look(`${where}, ${dialog}`);
          await page.keyboard.press("Escape");
        }
      }
      await openFile(
        page,
        notebookOf("# Theirs", 'import { lab } from "precis"; await lab.model("base")'),
        false,
      );
      await look("a stranger's notebook");
    });
  },
);

browserTest("the browser closes", closeBrowser);
