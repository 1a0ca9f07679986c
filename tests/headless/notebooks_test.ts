/** The notebooks that ship: canonical files whose stored outputs hold, and come out again where that takes seconds. */
import { assert, assertEquals } from "deno-std/assert/mod.js";
import { diskFiles } from "../../headless/files.ts";
import { startWorkerKernel } from "../../headless/notebook_kernels.ts";
import { joinPath } from "../../lab/bytes.ts";
import { shippedModels } from "../../lab/demo/models.ts";
import { ownersGrant } from "../../lab/notebook/grant.ts";
import { isCode, parseNotebook, serialiseNotebook } from "../../lab/notebook/ipynb.ts";
import { runNotebook, unmetIn } from "../../lab/notebook/run.ts";
import { testBench } from "../lab/notebook/lab_testing.ts";

const folder = decodeURIComponent(new URL("../../public/notebooks", import.meta.url).pathname);
const listed: { name: string; title: string; about: string }[] = JSON.parse(
  await Deno.readTextFile(joinPath(folder, "index.json")),
);

async function notebook(name: string) {
  const path = joinPath(folder, `${name}.ipynb`);
  const bytes = await Deno.readFile(path);
  return { text: new TextDecoder().decode(bytes), notebook: parseNotebook(path, bytes) };
}

Deno.test("every notebook that ships is listed, canonical, and stored with outputs that meet their expectations", async () => {
  const there = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) =>
    name.endsWith(".ipynb")
  );
  assertEquals(there.sort(), listed.map(({ name }) => `${name}.ipynb`).sort());
  for (const { name, title } of listed) {
    const { text, notebook: { cells } } = await notebook(name);
    assertEquals(serialiseNotebook(parseNotebook(name, new TextEncoder().encode(text))), text, name);
    assert(cells[0].source.startsWith(`# ${title}\n`), `${name} begins with ${cells[0].source.slice(0, 60)}`);
    for (const cell of cells.filter(isCode)) {
      assertEquals(
        cell.outputs.filter(({ output_type }) => output_type === "error"),
        [],
        `${name}, ${cell.id}`,
      );
      assertEquals(unmetIn(cell.outputs), [], `${name}, ${cell.id}`);
      assert(
        cell.execution_count !== null && cell.metadata.lab?.inputs,
        `${name}, ${cell.id} has not been run`,
      );
    }
  }
});

/** The others train for a minute: \`deno task notebook verify\` runs them all. */
const quick = ["welcome", "engine", "tokens", "ppo_update"];

const models = await Promise.all(
  shippedModels.map((name) => diskFiles().exists(joinPath(folder, "../demo", name))),
);
const missing = models.every(Boolean) ? "" : " (skipped: the demo's trained models are not here)";
for (const name of quick) {
  Deno.test({
    name: `what ${name}.ipynb holds comes out again${missing}`,
    ignore: missing !== "",
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const stored = (await notebook(name)).notebook;
      const bench = testBench();
      try {
        const start = () =>
          startWorkerKernel(bench, { seed: stored.metadata.lab.seed, grant: ownersGrant, versions: {} });
        const run = await runNotebook(stored, start);
        assertEquals(run.cells.flatMap(({ unmet }) => unmet), []);
        const { certified, says, cells } = run.certificate;
        assert(certified, `${says} ${JSON.stringify(cells.filter(({ verdict }) => verdict !== "verified"))}`);
      } finally {
        await bench.destroy();
      }
    },
  });
}
