/** Models by place, opened once, kept and opened again. */
import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { openGpu } from "../../headless/devices.ts";
import { diskWorld } from "../../headless/disk_world.ts";
import { FileAccessError, memoryFiles } from "../../lab/bytes.ts";
import { readByName } from "../../lab/qwen2.ts";
import { Workbench } from "../../lab/workbench.ts";
import { rate } from "../../lab/writing.ts";
import { testRuntime } from "../kernels/testing.ts";

const open = () => openGpu(testRuntime);

Deno.test("a place is opened once, closed, and opened again; one that is not there is named", async () => {
  const bench = new Workbench(diskWorld(open));
  const [first, again] = await Promise.all([bench.open("base"), bench.open("base")]);
  assert(first === again);
  assertEquals(bench.places(), ["base"]);
  await assertRejects(() => bench.open("nowhere"), FileAccessError, "nowhere/config.json");
  await bench.close("base");
  assertEquals(bench.places(), []);
  assert(await bench.open("base") !== first);
  await bench.destroy();
});

Deno.test("a model that was kept is the same, with its tokenizer and configuration, and takes an earlier one's place", async () => {
  const world = diskWorld(open), memory = memoryFiles();
  const locate: typeof world.locate = (place) =>
    place.startsWith("kept/") ? { files: memory, folder: place } : world.locate(place);
  const bench = new Workbench({ ...world, locate, kept: { files: memory, folder: "kept" } });
  const base = await bench.open("base");
  const ids = (await base.tokenizer()).encode("SUBREDDIT: r/relationships");
  const before = await rate(base.gpu, base.model, ids.slice(0, 1), ids.slice(1));

  assertEquals(await bench.keep(base, "mine"), "kept/mine");
  assertEquals(await bench.keep(base, "mine"), "kept/mine");
  assertEquals(await memory.list("kept"), ["mine/"]);
  const kept = await bench.open("kept/mine");
  assertEquals(await rate(kept.gpu, kept.model, ids.slice(0, 1), ids.slice(1)), before);
  assertEquals(await kept.configuration(), await base.configuration());
  assertEquals((await kept.tokenizer()).encode("hello"), (await base.tokenizer()).encode("hello"));
  await assertRejects(
    () => bench.keep(base, "mine", { moments: true }),
    RangeError,
    "base has no moments to keep",
  );
  const name = "model.norm.weight";
  const weights = await Promise.all(
    [base, kept].map(({ gpu, model }) => readByName(gpu, model, name, "value")),
  );
  assertEquals(weights[0], weights[1]);

  for (const name of ["", "a/b", "..", ".x", "a b", "x".repeat(65)]) {
    await assertRejects(() => bench.keep(base, name), RangeError, "cannot be called");
  }
  // A write that fails leaves the one that is there.
  const { writeAtomic } = memory;
  memory.writeAtomic = (path, content) =>
    path.endsWith("safetensors") ? Promise.reject(new FileAccessError("full")) : writeAtomic(path, content);
  await assertRejects(() => bench.keep(base, "mine"), FileAccessError, "full");
  assertEquals(await memory.list("kept"), ["mine/"]);
  assert(await memory.exists("kept/mine/model.safetensors"));
  await bench.destroy();

  const nowhere = new Workbench({ ...world, kept: undefined });
  await assertRejects(
    async () => await nowhere.keep(await nowhere.open("base"), "mine"),
    FileAccessError,
    "cannot be kept",
  );
  await nowhere.destroy();
});
