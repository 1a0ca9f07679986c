import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { DamagedFileError, memoryFiles } from "../../../lab/bytes.ts";
import { appendJsonl } from "../../../lab/jsonl.ts";
import type { TrainingSample } from "../../../lab/report/data.ts";
import { readSamples } from "../../../lab/stages/ppo_records.ts";

Deno.test("samples are read as they were written; a line that is none is named", async () => {
  const files = memoryFiles();
  assertEquals(await readSamples(files, "samples.jsonl"), []);
  const sample: TrainingSample = {
    stage: "ppo",
    update: 8,
    id: "a",
    title: "t",
    reference: "r",
    summary: "",
    length: 1,
    ended: true,
    reward: 0.5,
  };
  await appendJsonl(files, "samples.jsonl", [sample, { ...sample, update: 16, gold: 2 }]);
  assertEquals(await readSamples(files, "samples.jsonl"), [sample, { ...sample, update: 16, gold: 2 }]);
  await appendJsonl(files, "samples.jsonl", [{ ...sample, summary: null }]);
  await assertRejects(() => readSamples(files, "samples.jsonl"), DamagedFileError, "samples.jsonl:3 is not");
});
