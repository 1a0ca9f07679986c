/** Imports of notebooks in the page: what is fetched, by whom, when, and that the same comes of it without a browser. */
import { assert, assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { notebookTask } from "../../../headless/notebook.ts";
import { memoryFiles } from "../../../lab/bytes.ts";
import { diskFiles } from "../../../headless/files.ts";
import { type Notebook, parseNotebook } from "../../../lab/notebook/ipynb.ts";
import type { LockedImport } from "../../../lab/notebook/records.ts";
import { Imports } from "../../../lab/notebook/import_graph.ts";
import { type Answer, cdn, graphOfThree, type ModuleServer, withModules } from "../notebook/module_server.ts";
import { axeFindings } from "./axe.ts";
import { browserTest, closeBrowser } from "./browser.ts";
import {
  cell,
  idle,
  notebookOf,
  type Opened,
  openFile,
  outputOf,
  runAll,
  savedFile,
  withNotebook,
  writeNotebook,
} from "./notebook_page.ts";

const mean = "npm:mean@1.0.0";
const source = `import { mean, sum } from "${mean}";\nmean([1, 2, 6]) + sum([0.5])`;

/** The page, in front of a web that is all this server's. */
async function withPage(
  answers: Record<string, Answer>,
  body: (opened: Opened, server: ModuleServer) => Promise<void>,
): Promise<void> {
  await withModules({ ...answers }, async (server) => {
    await withNotebook(async (opened) => {
      await opened.context.route(/^https:/, async (route) => {
        const answer = await server.source.fetch(route.request().url(), AbortSignal.timeout(5000)).catch(() =>
          null
        );
        if (!answer) return await route.abort("connectionrefused");
        await route.fulfill({
          status: answer.status,
          headers: Object.fromEntries(answer.headers),
          body: await answer.text(),
        });
      });
      await opened.open();
      await body(opened, server);
    });
  });
}

async function lockedAs(
  notebook: Notebook,
  server: ModuleServer,
  ...specifiers: string[]
): Promise<Notebook> {
  const imports = new Imports(server.source, { mayFetch: () => true });
  const lock: Record<string, LockedImport> = {};
  for (const one of specifiers) lock[one] = (await imports.lock(one)).locked;
  notebook.metadata.lab.imports = lock;
  server.heard.length = 0;
  server.kept.clear();
  return notebook;
}

browserTest(
  "one's own notebook: running a cell locks what it imports, once; the same comes out headless",
  async () => {
    await withPage(graphOfThree, async ({ page, context }, server) => {
      await writeNotebook(page, source, `const again = await import("npm:sum@2.1.0"); again.calls`);
      assertEquals(server.heard, []);
      await runAll(page);
      assertEquals(await outputOf(page, 2), "3.5");
      // The second cell has the module that the first has called.
      assertEquals(await outputOf(page, 3), "2");
      assertMatch(await page.locator(".notices").innerText(), /fetched from cdn\.jsdelivr\.net, and locked/);
      assertEquals(server.heard.toSorted(), Object.keys(graphOfThree).toSorted());

      const saved = await savedFile(page);
      const { imports } = parseNotebook("saved.ipynb", new TextEncoder().encode(saved)).metadata.lab;
      assertEquals(Object.keys(imports), [mean, "npm:sum@2.1.0"]);
      assertEquals(Object.keys(imports[mean].modules!).length, 2);

      // Without a network, and in a page that is new.
      await context.unroute(/^https:/);
      await context.route(/^https:/, (route) => route.abort("internetdisconnected"));
      await page.waitForTimeout(500);
      await page.reload();
      await cell(page, 3).waitFor();
      assertMatch(await runAll(page), /certified/i);
      assertEquals(await outputOf(page, 2), "3.5");

      let told = "";
      const memory = memoryFiles({ "saved.ipynb": saved });
      const world = {
        files: { ...diskFiles(), read: memory.read, writeAtomic: memory.writeAtomic },
        terminal: {
          write: (text: string) => told += text,
          columns: () => undefined,
          colour: false,
          now: () => performance.now(),
        },
        modules: server.source,
        openGpu: () => Promise.reject(new Error("There is no need of a device.")),
      };
      assertEquals(await notebookTask(["verify", "saved.ipynb"], world), 0, told);
      assertMatch(told, /verified {2}cell 1[^]*verified {2}cell 2/);
    });
  },
);

browserTest(
  "a stranger's notebook: the card says what it imports, and nothing is fetched but what the lock has",
  async () => {
    const other = "https://a.example/x@1.0.0/x.js";
    const answers = {
      ...graphOfThree,
      [other]: "export const x = 7;",
      [cdn("free@1.0.0")]: "export default 1;",
    };
    await withPage(answers, async ({ page }, server) => {
      const cells = [
        source,
        `import { x } from "${other}";\nx`,
        `import free from "npm:free@1.0.0";\nfree`,
        `await import("npm:free@1.0.0").catch((error) => error.message)`,
        `const name = "npm:fr" + "ee@1.0.0"; await import(name)`,
      ];
      const notebook = await lockedAs(notebookOf("# Somebody's", ...cells), server, mean, other);
      const open = async (allow: boolean) => {
        await openFile(page, notebook, false);
        const card = page.locator("stranger-card");
        const text = await card.innerText();
        assertMatch(text, /npm:mean@1\.0\.0/);
        assertMatch(
          text,
          /just as its lock has them; this page fetches what is of cdn\.jsdelivr\.net, and they run in the sandbox/,
        );
        assertMatch(text, /fetches modules of its lock from the host\s+a\.example/);
        assertEquals(await axeFindings(page), []);
        if (allow) await card.getByRole("checkbox", { name: /a\.example/ }).check();
        assertEquals(server.heard, []);
        await page.getByRole("button", { name: "Let it run in the sandbox" }).click();
        await card.waitFor({ state: "detached" });
        assertEquals(server.heard, []);
      };
      const run = async (position: number, state: string) => {
        await cell(page, position).locator("section").focus();
        await page.keyboard.press("ControlOrMeta+Enter");
        await cell(page, position).locator(`section.${state}`).waitFor();
        await idle(page);
        return await outputOf(page, position);
      };
      await open(false);
      assertEquals(await run(2, "fresh"), "3.5");
      assertEquals(server.heard.splice(0).toSorted(), Object.keys(graphOfThree).toSorted());
      assertMatch(
        await run(3, "failed"),
        /is a module of a\.example, and this notebook may not have modules from there/,
      );
      assertMatch(await run(4, "failed"), /"npm:free@1\.0\.0" is not in the notebook's import lock/);
      assertMatch(await run(5, "fresh"), /is not in the notebook's import lock/);
      assertMatch(await run(6, "failed"), /There is no "npm:free@1\.0\.0" here/);
      assertEquals(server.heard, []);
      assertEquals(
        Object.keys(parseNotebook("x", new TextEncoder().encode(await savedFile(page))).metadata.lab.imports),
        [other, mean].toSorted(),
      );

      // Another notebook by its digest, so that the card is asked anew.
      notebook.metadata.lab.seed = 8;
      await open(true);
      assertEquals(await run(3, "fresh"), "7");
      assertEquals(server.heard, [other]);
    });
  },
);

browserTest("a cell that waits for a module is interrupted at once, and runs when it is there", async () => {
  const { promise: answered, resolve: answer } = Promise.withResolvers<void>();
  const slow = () =>
    answered.then(() =>
      new Response("export default 5;", { headers: { "access-control-allow-origin": "*" } })
    );
  await withPage({ [cdn("slow@1.0.0")]: slow }, async ({ page }) => {
    await writeNotebook(page, `import slow from "npm:slow@1.0.0";\nslow`);
    await page.getByRole("button", { name: "Run all", exact: true }).click();
    await cell(page, 2).locator("section.running").waitFor();
    await page.waitForTimeout(300);
    await page.getByRole("button", { name: "Interrupt", exact: true }).click();
    await idle(page);
    assertMatch(await cell(page, 2).locator("section").getAttribute("class") ?? "", /failed/);
    answer();
    await runAll(page);
    assertEquals(await outputOf(page, 2), "5");
  });
});

browserTest("a module that is not what was locked fails the cell, by both digests", async () => {
  await withPage(graphOfThree, async ({ page }, server) => {
    const notebook = await lockedAs(notebookOf("# Changed", source), server, mean);
    server.answers[cdn("sum@2.1.0")] += " ";
    await openFile(page, notebook);
    await runAll(page);
    const said = await outputOf(page, 2);
    assertMatch(
      said,
      /"npm:mean@1\.0\.0" is not what was locked: at https:\S+sum@2\.1\.0\S+ was sha384-\S+, and there is sha384-\S+ now/,
    );
    assert(said.includes("deno task notebook lock FILE --update npm:mean@1.0.0"), said);
  });
});

browserTest("the browser closes", closeBrowser);
