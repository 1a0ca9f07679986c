/**
 * The notebooks that ship, in the browser: the first in the suite (notebook_test.ts), those that train for minutes on request.
 *
 *   PRECIS_NOTEBOOKS=sft,train_summariser deno test -A tests/lab/page/shipped_notebooks_test.ts
 */
import { assert, assertEquals } from "deno-std/assert/mod.js";
import { browserTest, closeBrowser } from "./browser.ts";
import { savedFile, withNotebook } from "./notebook_page.ts";

const wanted = (Deno.env.get("PRECIS_NOTEBOOKS") ?? "").split(",").filter((name) => name !== "");

for (const name of wanted) {
  browserTest(`${name}.ipynb is certified in the browser by a run from clean`, async () => {
    await withNotebook(async ({ page, open }) => {
      const stored = await Deno.readTextFile(
        new URL(`../../../public/notebooks/${name}.ipynb`, import.meta.url),
      );
      await open(`#shipped=${name}`);
      const start = performance.now();
      await page.getByRole("button", { name: "Run all", exact: true }).click();
      await page.getByRole("button", { name: "Interrupt", exact: true }).waitFor();
      // On a software adapter that is shared this may take an hour: where it is, is told meanwhile.
      for (let at = "";;) {
        const now = (await page.locator(".bar .standing").innerText()).replace(/\s+/g, " ");
        if (!now.startsWith("running")) break;
        if (now !== at) console.log(`${((performance.now() - start) / 1000).toFixed(0)} s: ${now}`);
        at = now;
        await page.waitForTimeout(1000);
      }
      const took = (performance.now() - start) / 1000;
      const feet = await page.locator("section.cell.code .foot").allInnerTexts();
      const told = feet.map((foot, i) => `${i + 1}: ${foot.replace(/\s+/g, " ")}`).join("\n");
      console.log(`${name}: ${took.toFixed(0)} s\n${told}`);
      const standing = await page.locator(".bar .standing").innerText();
      assert(standing.startsWith("certified"), `${standing}\n${told}`);
      assertEquals(await page.locator(".notices .notice").count(), 0);
      assertEquals(await savedFile(page), stored);
    }, { shipped: true });
  });
}

Deno.test(
  `notebooks that train for minutes${wanted.length > 0 ? "" : ": skipped; set PRECIS_NOTEBOOKS"}`,
  closeBrowser,
);
