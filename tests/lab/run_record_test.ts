import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { DamagedFileError, memoryFiles } from "../../lab/bytes.ts";
import { configure, readConfig } from "../../lab/config.ts";
import { newestOf, readStartedRun, runsIn } from "../../lab/run_record.ts";
import { feedDamaged } from "./damage.ts";

const config = configure("demo", { seed: 3, ppo: { klCoef: 0.07 }, evaluate: { bestOf: [2, 8] } });
const record = (startedAt: string) =>
  JSON.stringify({ format: 1, config, startedAt, kernels: {}, versions: {} });

Deno.test("a run's configuration comes back, and the run that was started last is found", async () => {
  const files = memoryFiles({
    "runs/a/run.json": record("2026-01-02T00:00:00.000Z"),
    "runs/b/run.json": record("2026-01-10T00:00:00.000Z"),
    "runs/c/other.json": "{}",
    "runs/note.txt": "",
  });
  assertEquals((await readStartedRun(files, "runs/a")).config, config);
  const runs = await runsIn(files, "runs");
  assertEquals(runs, ["runs/a", "runs/b"]);
  assertEquals(await newestOf(files, runs), "runs/b");
  assertEquals([await runsIn(files, "none"), await newestOf(files, [])], [[], undefined]);
});

Deno.test("a run of another version is refused by field, and does not stop others from being found", async () => {
  const files = memoryFiles({
    "runs/old/run.json": JSON.stringify({
      config: { ppo: { klCoeff: 1 } },
      startedAt: "2025-01-01T00:00:00.000Z",
    }),
    "runs/new/run.json": record("2026-01-10T00:00:00.000Z"),
  });
  await assertRejects(
    () => readStartedRun(files, "runs/old"),
    DamagedFileError,
    "runs/old/run.json cannot be used: its configuration has an unknown field ppo.klCoeff; the nearest is ppo.klCoef.",
  );
  assertEquals(await newestOf(files, await runsIn(files, "runs")), "runs/new");
});

Deno.test("a thousand damaged run.json end in a named error, or in a configuration that every field takes", async () => {
  await feedDamaged(record("2026-01-02T00:00:00.000Z"), async (bytes) => {
    const files = memoryFiles({ "runs/a/run.json": bytes });
    const started = await readStartedRun(files, "runs/a");
    assertEquals(readConfig(JSON.parse(JSON.stringify(started.config))), started.config);
    assertEquals(Number.isNaN(Date.parse(started.startedAt)), false);
  }, { names: "runs/a/run.json" });
});
