/** The inspector in a real browser, on the models that ship: what it shows is what is in the files. */
import { assert, assertAlmostEquals, assertEquals, assertMatch } from "deno-std/assert/mod.js";
import type { Page } from "playwright-core";
import { buildPage } from "../../../headless/lab.ts";
import type { Alternatives, AttentionMap, LogitLens, Overview } from "../../../lab/inspect/types.ts";
import { entryOf, readSafetensorsHeader } from "../../../lab/safetensors.ts";
import { compressedBytes } from "./assets.ts";
import { axeFindings } from "./axe.ts";
import { browserTest, canBuild, closeBrowser } from "./browser.ts";
import {
  files,
  hex,
  hover,
  placeOf,
  property,
  published,
  readout,
  root,
  settled,
  view,
  withPage,
  zoomedIn,
} from "./inspect_page.ts";

/** Waits until the address has this of the view: it follows what is done in its own time. */
async function cites(page: Page, name: string, value: string | null): Promise<void> {
  await page.waitForURL((url) => url.searchParams.get(name) === value);
}

browserTest(
  "values on hover are the file's, bit for bit, by token and dimension, zoomed out and in",
  async () => {
    const embedding = await published("base", "model.embed_tokens.weight");
    const keys = await published("base", "model.layers.1.self_attn.k_proj.weight");
    await withPage(async (page, open) => {
      await open();
      await settled(page);
      assertEquals(
        await view(page).locator("canvas").getAttribute("aria-label").then((label) => label?.slice(0, 9)),
        "embedding",
      );
      for (const [row, column] of [[0, 0], [404, 63], [767, 17]]) {
        const said = await hover(page, row, column);
        const value = embedding.values[row * embedding.columns + column];
        assert(said.includes(hex(value)), `${said} has no ${hex(value)}`);
        assertMatch(said, new RegExp(`= ${row}, dim ${column}\\]`));
      }
      assertMatch(await hover(page, 404, 63), /“·and” = 404/);

      // The wheel zooms about the pointer, until elements have their numbers in them.
      const { x, y } = await placeOf(page, 404, 20);
      await page.mouse.move(x, y);
      for (let turn = 0; turn < 40; turn++) await page.mouse.wheel(0, -300);
      await zoomedIn(page);
      const [low, high] = new URL(page.url()).searchParams.get("rows")!.split("~").map(Number);
      assert(low <= 404 && 404 < high && high - low < 20, `rows ${low} to ${high}`);
      const said = await hover(page, 404, 20);
      assert(said.includes(hex(embedding.values[404 * embedding.columns + 20])), said);
      const layers = await property<{ overview: Overview }[]>(view(page), "layers");
      const { overview } = layers.at(-1)!;
      assertEquals(overview.width * overview.height, overview.extreme.length);
      for (let i = 0; i < overview.extreme.length; i++) {
        const row = overview.rowStarts[0] + Math.floor(i / overview.width);
        const column = overview.columnStarts[0] + i % overview.width;
        assertEquals(overview.extreme[i], embedding.values[row * embedding.columns + column]);
      }

      // The same address, the same part; a double click, the whole.
      await page.reload();
      await settled(page);
      await cites(page, "rows", `${low}~${high}`);
      await page.mouse.dblclick(...Object.values(await placeOf(page, 404, 20)) as [number, number]);
      await settled(page);
      await cites(page, "rows", null);

      // Our rows 64 to 95 of attn.qkv are the published keys.
      await page.getByRole("button", { name: "layers.1.attn.qkv.weight" }).or(
        page.locator("tensor-tree button[title*='layers.1.self_attn.k_proj.weight']").first(),
      ).first().click();
      await settled(page);
      assertMatch(await page.locator(".title").innerText(), /k_proj\.weight \(rows 64–95\)/);
      const key = await hover(page, 64 + 5, 9);
      assert(key.includes(hex(keys.values[5 * keys.columns + 9])), key);
    });
  },
);

browserTest(
  "rows in an order: values, names, norms and pins are those of the rows themselves, at every zoom",
  async () => {
    const [sft, base] = [
      await published("sft", "model.embed_tokens.weight"),
      await published("base", "model.embed_tokens.weight"),
    ];
    const { values, columns } = sft, rows = values.length / columns;
    const ordered = (measure: (row: number) => number, sign = -1) =>
      Array.from({ length: rows }, (_, row) => row).sort((a, b) => sign * (measure(a) - measure(b)) || a - b);
    const over = (row: number, of: (i: number) => number) =>
      Array.from({ length: columns }, (_, column) => of(row * columns + column));
    const sum = (numbers: number[]) => numbers.reduce((total, one) => total + one, 0);
    const measures = {
      rms: (row: number) => Math.sqrt(sum(over(row, (i) => values[i] ** 2)) / columns),
      absolute: (row: number) => Math.max(...over(row, (i) => Math.abs(values[i]))),
      mean: (row: number) => sum(over(row, (i) => values[i])) / columns,
      change: (row: number) => Math.sqrt(sum(over(row, (i) => (values[i] - base.values[i]) ** 2))),
    };
    await withPage(async (page, open) => {
      await open("?model=sft&other=base&pins=404.20");
      await settled(page);
      assertEquals(await view(page).locator(".order").count(), 0);
      const choice = view(page).getByRole("combobox", { name: "Rows", exact: true });
      const labels = { rms: "rms", absolute: "|max|", mean: "mean", change: "change from base" };
      for (const by of ["rms", "absolute", "mean", "change"] as const) {
        await choice.selectOption(by);
        await view(page).locator(".order").filter({ hasText: `Rows by ${labels[by]}, falling.` }).waitFor();
        await settled(page);
        await cites(page, "order", by);
        const expected = ordered(measures[by]);
        const { order } = await property<{ order: Uint32Array }>(view(page), "ordering");
        const found = Object.values(order);
        // Sums in 32 bits may tell two rows apart otherwise only where they are as good as equal.
        for (const [place, row] of expected.entries()) {
          assertAlmostEquals(measures[by](found[place]), measures[by](row), 1e-5, `${by}, place ${place}`);
        }
        assertEquals(found.toSorted((a, b) => a - b), Array.from({ length: rows }, (_, row) => row));
        for (const place of [0, 5, rows - 1]) {
          const row = found[place], said = await hover(page, row, 17);
          assert(said.includes(hex(values[row * columns + 17])), `${said} has no value of row ${row}`);
          assertMatch(said, new RegExp(`= ${row}, dim 17\\]`));
          assert(said.includes(`row ${place + 1} of ${rows} by`), said);
        }
        // The pin is of the row that it was set on.
        await cites(page, "pins", "404.20");
        await page.mouse.move(5, 5);
        await readout(page).getByText(hex(values[404 * columns + 20])).waitFor();
      }
      await choice.selectOption("rms");
      await view(page).getByRole("button", { name: /^falling/ }).click();
      await view(page).locator(".order").filter({ hasText: "Rows by rms, rising." }).waitFor();
      await settled(page);
      await cites(page, "order", "rms.rising");

      // Near enough that each cell is an element, and every cell is that of its own row.
      const { order } = await property<{ order: Uint32Array }>(view(page), "ordering");
      const place = 300, { x, y } = await placeOf(page, order[place], 20);
      await page.mouse.move(x, y);
      for (let turn = 0; turn < 40; turn++) await page.mouse.wheel(0, -300);
      await zoomedIn(page);
      const [low, high] = new URL(page.url()).searchParams.get("rows")!.split("~").map(Number);
      assert(low <= place && place < high && high - low < 20, `places ${low} to ${high}`);
      const { overview } = (await property<{ overview: Overview }[]>(view(page), "layers")).at(-1)!;
      for (let i = 0; i < overview.extreme.length; i++) {
        const row = order[overview.rowStarts[0] + Math.floor(i / overview.width)];
        const column = overview.columnStarts[0] + i % overview.width;
        assertEquals(overview.extreme[i], values[row * columns + column]);
      }
      // A click pins what is there; the address brings all of it back; and the list of rows goes to a row's place.
      const pinned = order[place + 1], there = await placeOf(page, pinned, 21);
      await page.mouse.click(there.x, there.y);
      await cites(page, "pins", `${pinned}.21`);
      await page.reload();
      await view(page).locator(".order").filter({ hasText: "rising" }).waitFor();
      await settled(page);
      const again = await hover(page, pinned, 21);
      assert(again.includes(hex(values[pinned * columns + 21])), again);
      await view(page).getByPlaceholder("token or number").fill("404");
      await page.keyboard.press("Enter");
      await settled(page);
      const box = (await view(page).locator("canvas").boundingBox())!, shown = await placeOf(page, 404, 40);
      assert(box.y < shown.y && shown.y < box.y + box.height, "row 404 is on show");

      await choice.selectOption("");
      await settled(page);
      await cites(page, "order", null);
      assertEquals(await view(page).locator(".order").count(), 0);
    });
  },
);

browserTest(
  "pins are compared and cited; a part of the spread is shown alone; colours say what they clip",
  async () => {
    const { values, columns } = await published("base", "model.layers.0.mlp.down_proj.weight");
    await withPage(async (page, open) => {
      await open("?tensor=weights/layers.0.mlp.down.weight&rows=4~16&columns=10~40&colours=fixed&high=0.125");
      await settled(page);
      const click = async (row: number, column: number, modifiers: "Shift"[] = []) => {
        const { x, y } = await placeOf(page, row, column);
        for (const key of modifiers) await page.keyboard.down(key);
        await page.mouse.click(x, y);
        for (const key of modifiers) await page.keyboard.up(key);
      };
      await click(7, 12);
      await click(11, 30, ["Shift"]);
      await cites(page, "pins", "7.12~11.30");
      const said = await readout(page).innerText();
      const [a, b] = [values[7 * columns + 12], values[11 * columns + 30]];
      assert(said.includes(hex(a)) && said.includes(hex(b)), said);
      const difference = Number(/B − A\s*(\S+)/.exec(said)![1].replace("−", "-"));
      assertAlmostEquals(difference, b - a, 1e-6);

      // Of the whole tensor, whatever is on show.
      await view(page).locator("tensor-histogram").waitFor();
      const beyond = values.filter((value) => Math.abs(value) > 0.125).length / values.length;
      const legend = await view(page).locator(".legend p").innerText();
      const shares = [...legend.matchAll(/([\d.]+) % are|([\d.]+) % above/g)].map(([, below, above]) =>
        Number(below ?? above)
      );
      assertAlmostEquals(shares[0] + shares[1], beyond * 100, 0.02 + 0.01);

      const drawn = view(page).locator("tensor-histogram svg"), box = (await drawn.boundingBox())!;
      await page.mouse.move(box.x + box.width * 0.75, box.y + 40);
      await page.mouse.down();
      await page.mouse.move(box.x + box.width * 0.95, box.y + 40, { steps: 4 });
      await page.mouse.up();
      const [low, high] = new URL(page.url()).searchParams.get("only")!.split("~").map(Number);
      assert(0 < low && low < high, `${low} to ${high}`);
      const share = values.filter((value) => value >= low && value < high).length / values.length;
      const told = Number(
        /([\d.]+) % in\s+the\s+part\s+chosen/.exec(
          await view(page).locator("tensor-histogram p").innerText(),
        )![1],
      );
      // Bins are an eighth of an octave: what falls into part of one is taken to be even.
      assertAlmostEquals(told, share * 100, 1);
      await view(page).getByRole("button", { name: /^Only/ }).click();
      await cites(page, "only", null);
    });
  },
);

browserTest(
  "a captured text: attention sums to one, the lens ends in the model's answer, kernels have their WGSL",
  async () => {
    await withPage(async (page, open) => {
      await open("?pane=attention&layer=1&head=2&position=20");
      const attention = page.locator("attention-view");
      await attention.getByText("Each row sums to one").waitFor();
      const { probabilities, tokens, layer, head } = await property<AttentionMap>(attention, "map");
      assertEquals([layer, head], [1, 2]);
      for (let row = 0; row < tokens; row++) {
        const sum = probabilities.slice(row * tokens, row * tokens + row + 1).reduce((sum, p) => sum + p, 0);
        assertAlmostEquals(sum, 1, 1e-4);
        assert(
          probabilities.slice(row * tokens + row + 1, (row + 1) * tokens).every((p) => p === 0),
          `row ${row}`,
        );
      }
      assertEquals(await attention.getByRole("button", { name: /^Layer \d, head \d$/ }).count(), 12);
      await attention.getByRole("button", { name: "Layer 2, head 0" }).click();
      await cites(page, "layer", "2");
      assertEquals(await attention.locator(".tokens button").count(), tokens);
      assertEquals(await attention.locator(".tokens button[aria-pressed=true]").count(), 1);

      await page.getByRole("tab", { name: "Logit lens" }).click();
      const lensView = page.locator("lens-view");
      await lensView.locator("td button").first().waitFor();
      const lens = await property<LogitLens>(lensView, "lens");
      await page.getByRole("tab", { name: "Next tokens" }).click();
      const alternativesView = page.locator("alternatives-view");
      await alternativesView.locator(".models").waitFor();
      const { tokens: rated } = await property<Alternatives>(alternativesView, "found");
      for (const { position, top } of lens.depths.at(-1)!.cells) {
        const after = rated.find((token) => token.position === position + 1);
        if (after) assertEquals(top[0].id, after.models[0].top[0].id);
      }

      await page.getByRole("tab", { name: "Gradient flow" }).click();
      assertEquals(await page.locator("flow-view section").first().locator("tbody tr").count(), 4);

      await page.getByRole("tab", { name: "Kernels" }).click();
      const kernels = page.locator("kernel-view");
      await kernels.locator("tr.row").first().waitFor();
      const all = await kernels.locator("tr.row").count();
      await page.locator("tensor-tree").getByRole("button", { name: /^attn\.qkv 64/ }).last().click();
      await kernels.getByText("what writes layers.2.attn.qkv").waitFor();
      const behind = await kernels.locator("tr.row").count();
      assert(behind > 10 && behind < all, `${behind} of ${all} dispatches`);
      await kernels.getByRole("button", { name: /rope/ }).last().click();
      const source = await Deno.readTextFile(`${root}kernels/rope.wgsl`);
      assertEquals((await kernels.locator("pre").innerText()).trim(), source.trim());
      assertMatch(await kernels.locator("td.detail").innerText(), /layers\.2\.attn\.qkv\s+64 × 128\s+f32/);
    });
  },
);

browserTest("two checkpoints: each tensor's change is what the files say", async () => {
  const [base, sft] = await Promise.all(
    ["base", "sft"].map((model) => published(model, "model.embed_tokens.weight")),
  );
  const norm = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0));
  const relative = norm(sft.values.map((value, i) => value - base.values[i])) / norm(base.values);
  const distances = Array.from({ length: base.values.length / base.columns }, (_, row) => {
    const part = (values: Float32Array) => values.subarray(row * base.columns, (row + 1) * base.columns);
    return norm(part(sft.values).map((value, i) => value - part(base.values)[i]));
  });
  const furthest = distances.indexOf(Math.max(...distances));
  await withPage(async (page, open) => {
    await open("?pane=compare&other=sft");
    const compare = page.locator("compare-view");
    const cell = compare.getByRole("button", { name: /^embedding: / });
    await cell.waitFor();
    assertAlmostEquals(parseFloat((await cell.innerText()).replace(",", ".")), relative * 100, 0.06);
    await compare.locator("td.row").first().waitFor();
    assertMatch(await compare.locator("td.row").first().innerText(), new RegExp(`” = ${furthest}$`));
    await compare.getByText("What each goes on with").waitFor();
    assertEquals(await compare.locator(".written").count(), 2);
  });
});

browserTest("values that are not finite are counted, and the first is a click away", async () => {
  const runs = await Deno.makeTempDir({ prefix: "precis-runs-" });
  try {
    await Deno.mkdir(`${runs}/broken`);
    for await (const { name } of Deno.readDir(`${root}public/demo/base`)) {
      await Deno.copyFile(`${root}public/demo/base/${name}`, `${runs}/broken/${name}`);
    }
    // A weight that is too large makes them on the way.
    const path = `${runs}/broken/model.safetensors`;
    const header = await readSafetensorsHeader(files, path);
    const { start, dtype, shape } = entryOf(header, "model.layers.2.mlp.down_proj.weight");
    assertEquals(dtype, "F32");
    const bytes = await Deno.readFile(path), numbers = new DataView(bytes.buffer, start);
    for (let column = 0; column < shape[1]; column++) {
      numbers.setFloat32(4 * (41 * shape[1] + column), 3e38 * (-1) ** column, true);
    }
    await Deno.writeFile(path, bytes);
    await withPage(async (page, open) => {
      await open("?model=runs/broken&tensor=run/layers.2.mlp.out");
      await settled(page);
      const flag = view(page).getByRole("button", { name: /(NaN|∞): show the first$/ });
      await flag.click();
      await settled(page);
      assertMatch(new URL(page.url()).searchParams.get("pins")!, /^\d+\.41$/);
      await readout(page).locator("output").filter({ hasText: /NaN|∞/ }).waitFor();

      await page.getByRole("tab", { name: "Gradient flow" }).click();
      await page.getByRole("button", { name: "Look for the first value that is not finite" }).click();
      assertMatch(await page.locator("flow-view b.flagged").innerText(), /layers\.2\.mlp\.out/);
    }, { runs });
  } finally {
    await Deno.remove(runs, { recursive: true });
  }
});

browserTest("the page is worked by keys alone", async () => {
  await withPage(async (page, open) => {
    await open("?tensor=weights/layers.0.mlp.down.weight");
    await settled(page);
    const query = (name: string) => new URL(page.url()).searchParams.get(name);
    await page.keyboard.press(".");
    assertEquals(query("tensor"), "weights/layers.1.mlp.down.weight");
    await page.keyboard.press(",");
    assertEquals(query("tensor"), "weights/layers.0.mlp.down.weight");
    await page.keyboard.press("/");
    await page.keyboard.type("2 o_proj");
    await page.keyboard.press("Enter");
    assertEquals(query("tensor"), "weights/layers.2.attn.out.weight");
    await settled(page);

    await view(page).locator("canvas").focus();
    await page.keyboard.press("+");
    await page.keyboard.press("+");
    assert(query("rows") !== null);
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    assertMatch(query("pins")!, /^\d+\.\d+$/);
    await page.keyboard.press("0");
    assertEquals(query("rows"), null);

    await page.keyboard.press("g");
    await page.keyboard.press("a");
    assertEquals(query("pane"), "attention");
    await page.locator("attention-view").getByText("Each row sums to one").waitFor();
    await page.keyboard.press("l");
    await page.keyboard.press("l");
    await page.keyboard.press("h");
    await page.keyboard.press(".");
    assertEquals([query("head"), query("layer")], ["1", "1"]);
    await page.keyboard.press("?");
    assert(await page.getByRole("dialog").isVisible());
    await page.keyboard.press("Escape");
    assert(!await page.getByRole("dialog").isVisible());
  });
});

browserTest("a lost device is told of, and another goes on where it was", async () => {
  await withPage(async (page, open) => {
    await open("?tensor=weights/layers.0.attn.out.weight&pins=3.4");
    await settled(page);
    await view(page).locator("tensor-histogram").waitFor();
    const before = await readout(page).innerText();
    await page.workers()[0].evaluate(() => {
      const { createCommandEncoder } = GPUDevice.prototype;
      GPUDevice.prototype.createCommandEncoder = function (...given) {
        this.destroy();
        return createCommandEncoder.apply(this, given);
      };
    });
    await view(page).getByRole("button", { name: "Zoom in" }).click();
    const alert = page.getByRole("alert");
    await alert.filter({ hasText: "The GPU device was lost" }).waitFor();
    await alert.getByRole("button", { name: "Start the GPU again" }).click();
    await settled(page);
    assertEquals(await alert.count(), 0);
    await readout(page).locator("output").waitFor();
    await view(page).locator("tensor-histogram").waitFor();
    assertEquals(await readout(page).innerText(), before);
  });
});

browserTest("a model that is not there, or no WebGPU, is told of", async () => {
  await withPage(async (page, open) => {
    await open("?model=runs/none");
    const alert = page.getByRole("alert");
    assertMatch(await alert.innerText(), /runs\/none\/config\.json cannot be read: .*404/);
    await page.getByRole("button", { name: "sft", exact: true }).click();
    await settled(page);
    assertEquals(await alert.count(), 0);

    await page.addInitScript(() => delete (Navigator.prototype as { gpu?: GPU }).gpu);
    await open();
    await page.getByText("This browser has no WebGPU").waitFor();
  });
});

for (const colorScheme of ["light", "dark"] as const) {
  browserTest(`axe finds nothing in any view, at 1280 and 400 pixels, ${colorScheme}`, async () => {
    const ready: Record<string, string> = {
      tensor: "tensor-rows ol",
      attention: "attention-view .grid button",
      lens: "lens-view td button",
      tokens: "alternatives-view .models",
      flow: "flow-view tbody tr",
      kernels: "kernel-view tr.row",
      compare: "compare-view .written",
    };
    await withPage(async (page, open) => {
      await open("?other=sft");
      for (const [pane, drawn] of Object.entries(ready)) {
        await page.setViewportSize({ width: 1280, height: 900 });
        await page.locator(`#tab-${pane}`).click();
        await page.locator(drawn).first().waitFor();
        for (const width of [1280, 400]) {
          await page.setViewportSize({ width, height: 900 });
          // Names, roles and colours are the same on a narrow page in the dark.
          if (width === 1280 || colorScheme === "light") {
            assertEquals(await axeFindings(page), [], `${pane} at ${width}`);
          }
          const wide = await page.evaluate(() => document.documentElement.scrollWidth);
          assert(wide <= width, `${pane}: ${wide} pixels on a page of ${width}`);
        }
      }
    }, { colorScheme });
  });
}

Deno.test(
  `the inspector needs at most 100 KiB, compressed${canBuild ? "" : " (skipped: vite cannot be loaded)"}`,
  { ignore: !canBuild },
  async () => {
    await buildPage();
    const bytes = await compressedBytes("inspect.html");
    assert(bytes > 20 * 1024 && bytes <= 100 * 1024, `${bytes} bytes`);
  },
);

if (canBuild) {
  Deno.test({ name: "the browser closes", fn: closeBrowser, sanitizeOps: false, sanitizeResources: false });
}
