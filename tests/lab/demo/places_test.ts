import { assertEquals } from "deno-std/assert/mod.js";
import { shippedFolder } from "../../../lab/demo/places.ts";

Deno.test("places that ship lie below the shipped folder, and no way leads out of it", () => {
  assertEquals(shippedFolder("sft"), "demo/sft");
  assertEquals(shippedFolder("notebooks/data/qwen2_tied"), "notebooks/data/qwen2_tied");
  for (
    const elsewhere of [
      "runs/demo/models/ppo",
      "kept/mine",
      "notebooks",
      "notebooks/",
      "notebooks/../runs/demo/models/ppo",
      "notebooks/%2e%2e/x",
      "notebooks//x",
      "/notebooks/data",
      "https://example.org/notebooks/data",
      "demo",
    ]
  ) assertEquals(shippedFolder(elsewhere), undefined, elsewhere);
});
