/** The inspector in a real browser: what training leaves beside weights, and weights that are not as they should be. */
import { assert, assertAlmostEquals, assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { openGpu } from "../../../headless/devices.ts";
import type { Capture, Histogram } from "../../../lab/inspect/types.ts";
import { trainedRun } from "../inspect/bench.ts";
import { axeFindings } from "./axe.ts";
import { browserTest, canBuild, closeBrowser } from "./browser.ts";
import {
  hex,
  hover,
  poison,
  property,
  published,
  readout,
  saveFinished,
  settled,
  view,
  withPage,
} from "./inspect_page.ts";

browserTest(
  "an optimiser's state and a generation's keys and values are a click away, and are what they should be",
  async () => {
    const runs = await Deno.makeTempDir({ prefix: "precis-runs-" });
    const gpu = await openGpu("auto");
    try {
      const model = await trainedRun(gpu, `${runs}/mine`);
      const name = "layers.1.mlp.down.weight", [rows, columns] = model.parameters.get(name).shape;
      const momentOf = async (which: "first" | "second") =>
        await gpu.readPart(model.parameters.momentsOf(name)[which], 0, rows * columns);
      const [first, second] = [await momentOf("first"), await momentOf("second")];
      await saveFinished(gpu, model, `${runs}/mine/models/sft`);
      await withPage(async (page, open) => {
        const tree = page.locator("tensor-tree");
        const chosen = () => new URL(page.url()).searchParams.get("tensor");
        const title = page.locator(".title");

        // From a finished model of the run, which has no state of its own, to a checkpoint of it.
        await open(`?model=runs/mine/models/sft&tensor=weights/${name}&keep=cache`);
        await settled(page);
        await tree.getByText("Also to be had: First and second moments").click();
        await tree.getByRole("button", { name: "sft, step 2: policy" }).click();
        await settled(page);
        const checkpoint = "runs/mine/checkpoints/sft/step-000002/policy";
        assertEquals(new URL(page.url()).searchParams.get("model"), checkpoint);
        assertEquals(await page.getByLabel("Of this run").inputValue(), checkpoint);
        assertEquals(await tree.getByText("First and second moments").count(), 0);
        for (const [heading, values] of [["First moments", first], ["Second moments", second]] as const) {
          assert(values.some((value) => value !== 0));
          await tree.getByRole("heading", { name: heading }).waitFor();
          await tree.locator(`button[title*="layers.1.mlp.down_proj"]`).nth(
            heading === "First moments" ? 1 : 2,
          )
            .click();
          await title.getByText(heading.slice(0, -1).toLowerCase()).waitFor();
          await settled(page);
          for (const [row, column] of [[0, 0], [rows - 1, 7], [20, columns - 1]]) {
            const said = await hover(page, row, column);
            assert(said.includes(hex(values[row * columns + column])), `${heading}: ${said}`);
          }
        }

        // What the model writes leaves keys and values of all tokens but the last.
        await tree.locator("section").filter({ hasText: "Keys and values" })
          .getByRole("button", { name: "Write 24 tokens" }).click();
        await page.waitForFunction(() => location.search.includes("cache.0.keys"));
        await settled(page);
        const after = await property<Capture>(page.locator("inspect-page"), "capture");
        assert(after.written > 0 && after.written <= 24);
        assertEquals([chosen(), new URL(page.url()).searchParams.get("write")], ["run/cache.0.keys", "24"]);
        const { keyValueHeads, headDim } = model.config;
        assertMatch(
          await title.innerText(),
          new RegExp(`${after.tokens.length - 1} × ${keyValueHeads * headDim} f32`),
        );
        const last = after.tokens.length - 2, said = await hover(page, last, 3);
        assertMatch(said, new RegExp(`” at ${last}, dim 3\\] −?[\\d.e−]+`));
        // The same token's key in the pass over all of it, behind the queries: the same but for the order of sums.
        const key = Number(/\] (−?[\d.e−]+)/.exec(said)![1].replaceAll("−", "-"));
        await tree.getByRole("button", { name: /^attn\.qkv \d+×128/ }).first().click();
        await settled(page);
        const passed = await hover(page, last, model.config.queryHeads * headDim + 3);
        assertAlmostEquals(Number(/\] (−?[\d.e−]+)/.exec(passed)![1].replaceAll("−", "-")), key, 1e-4);

        // Whoever is sent the address sees the same.
        await page.goBack();
        await page.reload();
        await title.getByText("cache.0.keys").waitFor();
        await settled(page);
      }, { runs });
      model.parameters.drop();
    } finally {
      gpu.destroy();
      await Deno.remove(runs, { recursive: true });
    }
  },
);

browserTest("gradients are a click away, and sum up to what the gradient flow tells", async () => {
  const name = "layers.1.mlp.down.weight";
  await withPage(async (page, open) => {
    await open(`?tensor=weights/${name}&keep=gradients`);
    await settled(page);
    const tree = page.locator("tensor-tree"), title = page.locator(".title");
    await tree.getByText("Also to be had").click();
    await tree.locator("section").filter({ hasText: "Gradients of weights" }).getByRole("button").click();
    await title.getByText("weight gradient").waitFor();
    await settled(page);
    await tree.locator(`button[title*="layers.1.mlp.down_proj"]`).nth(1).click();
    await settled(page);
    assertEquals(new URL(page.url()).searchParams.get("tensor"), `run/weights.${name}.grad`);
    await view(page).locator("tensor-histogram").waitFor();
    const { rms } = await property<Histogram>(view(page), "histogram");
    const capture = await property<Capture>(page.locator("inspect-page"), "capture");
    const flow = capture.flow!.weights.find((one) => one.name === name)!;
    assertAlmostEquals(rms / flow.gradientRms, 1, 1e-4);
  });
});

browserTest(
  "weights that are not finite are told of, counted and shown, and no text is run through them",
  async () => {
    const runs = await Deno.makeTempDir({ prefix: "precis-runs-" });
    try {
      const folder = `${runs}/broken`;
      await Deno.mkdir(folder);
      await poison(folder, "model.layers.1.mlp.down_proj.weight", { 7: NaN, 300: -Infinity, 9001: NaN });
      await withPage(async (page, open) => {
        await open("?model=runs/broken");
        await settled(page);
        const notice = page.locator(".strays");
        assertMatch(await notice.innerText(), /^3 weights are not finite, in one tensor of runs\/broken/);
        assert(await page.locator("tensor-tree .stray").innerText() === "× 3");
        await notice.getByRole("button", { name: /layers\.1\.mlp\.down\.weight: 3, the first at \[0, 7\]/ })
          .click();
        await settled(page);
        const query = (name: string) => new URL(page.url()).searchParams.get(name);
        assertEquals([query("tensor"), query("pins")], ["weights/layers.1.mlp.down.weight", "0.7"]);
        await readout(page).locator("output").filter({ hasText: "NaN" }).waitFor();
        assertMatch(await readout(page).innerText(), /0x7fc00000/);
        await view(page).getByRole("button", { name: "2 NaN, 1 −∞: show the first" }).waitFor();
        // What is told of the rest is of the rest.
        const spread = view(page).locator("tensor-histogram");
        assertMatch(
          await spread.locator("p").innerText(),
          /3 not finite, and all else here is of the other 12,285/,
        );
        const { values } = await published("base", "model.layers.1.mlp.down_proj.weight");
        const rest = values.filter((_, i) => ![7, 300, 9001].includes(i));
        const { rms, min, max } = await property<Histogram>(view(page), "histogram");
        assertAlmostEquals(rms / Math.sqrt(rest.reduce((sum, v) => sum + v * v, 0) / rest.length), 1, 1e-5);
        assertEquals([min, max], [Math.min(...rest), Math.max(...rest)]);

        // No text goes through it, in any view; the notebook and all else are refused it as ever.
        await page.getByRole("tab", { name: "Logit lens" }).click();
        assert(
          await page.locator("prompt-form").getByRole("button", { name: "Run", exact: true }).isDisabled(),
        );
        await page.getByRole("tab", { name: "Next tokens" }).click();
        await page.locator("alternatives-view").getByText(
          /holds NaN at element 7; these weights cannot be used/,
        )
          .waitFor();
        await page.setViewportSize({ width: 400, height: 900 });
        assertEquals(await axeFindings(page), []);
      }, { runs });
    } finally {
      await Deno.remove(runs, { recursive: true });
    }
  },
);

if (canBuild) {
  Deno.test({ name: "the browser closes", fn: closeBrowser, sanitizeOps: false, sanitizeResources: false });
}
