/** The exported page in a real browser: what its escaping must hold even where its policy is gone, and its download. */
import { assert, assertEquals } from "deno-std/assert/mod.js";
import { notebookHtml } from "../../../lab/notebook/html.ts";
import { serialiseNotebook } from "../../../lab/notebook/ipynb.ts";
import { browserTest, closeBrowser, openBrowser } from "../page/browser.ts";
import { hostileNotebook } from "./hostile.ts";

browserTest(
  "a hostile notebook's page runs nothing and fetches nothing, without its policy too",
  async () => {
    const page = await (await openBrowser()).newPage();
    const happened: string[] = [];
    page.on("dialog", async (dialog) => {
      happened.push(`dialog ${dialog.message()}`);
      await dialog.dismiss();
    });
    page.on("request", (request) => {
      if (!request.url().startsWith("data:") && request.url() !== "about:blank") happened.push(request.url());
    });
    const whole = String(notebookHtml(hostileNotebook(), "Hostile"));
    const bare = whole.replace(/<meta http-equiv[^>]*>/, "");
    assert(bare.length < whole.length - 50);
    for (const source of [whole, bare]) {
      await page.setContent(source);
      // Whatever waits for a pointer or a click.
      await page.evaluate(() => {
        for (const element of document.querySelectorAll("*")) {
          for (const type of ["mouseover", "focus", "load", "error"]) element.dispatchEvent(new Event(type));
        }
      });
      assertEquals(
        await page.evaluate(() =>
          document.scripts.length + document.querySelectorAll("iframe,object").length
        ),
        0,
      );
      const handlers = await page.evaluate(() =>
        [...document.querySelectorAll("*")].flatMap((one) => one.getAttributeNames()).filter((name) =>
          name.startsWith("on")
        )
      );
      assertEquals(handlers, []);
    }
    assertEquals(happened, []);
    await page.setContent(whole);
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("a[download]")]);
    assertEquals(download.suggestedFilename(), "Hostile.ipynb");
    const path = await download.path();
    assertEquals(await Deno.readTextFile(path), serialiseNotebook(hostileNotebook()));
    await page.close();
    await closeBrowser();
  },
);
