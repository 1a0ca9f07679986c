import { assert, assertEquals } from "deno-std/assert/mod.js";
import { openGpu } from "../../headless/devices.ts";
import { type Display, jupyterLab } from "../../headless/jupyter.ts";
import { testRuntime } from "../kernels/testing.ts";

Deno.test({
  name: "the lab of JupyterLab's kernel shows through it, in order, and replaces what it showed",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const shown: [string, boolean, unknown][] = [];
    const display: Display = (bundle, { display_id, update }) => {
      shown.push([display_id, update, bundle["text/plain"]]);
      return Promise.resolve();
    };
    const { lab, bench } = jupyterLab({ display, openDevice: () => openGpu(testRuntime) });
    try {
      const x = await lab.tensor([[1, 2], [3, 4]], null, { name: "x" });
      lab.show(x);
      await lab.markdown("*after*");
      assertEquals(await lab.expect("sum", await (await lab.ops.sum(x)).item(), 10), true);
      const [post] = await lab.posts("test", { count: 1 });
      await lab.post(post, { models: ["base"] });
      await lab.markdown("end");
      await new Promise((resolve) => setTimeout(resolve, 20));
      assertEquals(shown.slice(0, 3), [
        ["precis-1", false, "x f32[2, 2]  mean 2.500, rms 2.739, 1 to 4"],
        ["precis-2", false, "*after*"],
        ["precis-3", false, "✓ sum"],
      ]);
      assert(shown.some(([id, update]) => id === "precis-4" && update));
      assertEquals(shown.at(-1), ["precis-5", false, "end"]);
    } finally {
      await bench.destroy();
    }
  },
});

Deno.test("precis is what a cell imports in that kernel", async () => {
  const config = JSON.parse(await Deno.readTextFile(new URL("../../deno.json", import.meta.url)));
  assertEquals(config.imports.precis, "./headless/jupyter.ts");
  const { lab } = await import("precis");
  assertEquals(typeof lab.model, "function");
});
