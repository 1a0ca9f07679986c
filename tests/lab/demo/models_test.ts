import { assert, assertEquals } from "deno-std/assert/mod.js";
import { diskFiles } from "../../../headless/files.ts";
import { joinPath, memoryFiles, sha256OfFile } from "../../../lab/bytes.ts";
import { presetConfig } from "../../../lab/config.ts";
import { loadDemoData } from "../../../lab/dataset.ts";
import { differingFiles, readDemoModels, shippedModels } from "../../../lab/demo/models.ts";
import { loadQwen2 } from "../../../lab/qwen2.ts";
import { pairScores } from "../../../lab/stages/reward.ts";
import { referenceLosses } from "../../../lab/stages/sft.ts";
import { tokeniseBatch } from "../../../lab/tokenise.ts";
import { loadTokenizer } from "../../../lab/tokenizer.ts";
import { gpuTest } from "../../kernels/testing.ts";

const demo = decodeURIComponent(new URL("../../../public/demo", import.meta.url).pathname);
const files = diskFiles();
const there = await Promise.all(shippedModels.map((name) => files.exists(joinPath(demo, name))));
const missing = there.every(Boolean) ? "" : " (skipped: the demo's trained models are not here)";

Deno.test(
  `the trained models that ship are the recorded ones${missing}`,
  { ignore: missing !== "" },
  async () => {
    const record = await readDemoModels(files, demo);
    assertEquals(await differingFiles(files, demo, record), []);
    assertEquals(record.seed, presetConfig("demo").seed);
    for (const [name, sha256] of Object.entries(record.inputs)) {
      const path = joinPath(demo, name.replace(/^model\//, "base/").replace(/^data\//, ""));
      assertEquals((await sha256OfFile(files, path)).sha256, sha256, path);
    }
    const damaged = memoryFiles({ "sft/model.safetensors": "another" });
    const told = await differingFiles(damaged, "", record);
    assert(told.includes("sft/config.json is missing."), told.join("\n"));
    const { size } = record.models.sft.files["model.safetensors"];
    assert(
      told.includes(`sft/model.safetensors (7 bytes) is not the file of ${size} bytes that was recorded.`),
    );
  },
);

if (missing) {
  Deno.test({ name: `the trained models do what the run measured${missing}`, ignore: true, fn() {} });
} else {
  gpuTest("the trained models do what the run measured of them", async (gpu) => {
    const record = await readDemoModels(files, demo);
    const config = presetConfig("demo");
    const data = await loadDemoData(files, demo);
    const tokenizer = await loadTokenizer((path) => files.read(path), demo);
    const run = { gpu, config };
    const sft = await loadQwen2(gpu, files, joinPath(demo, "sft"), "sft");
    const posts = data.posts.validation.slice(0, config.sft.evalRows);
    const table = tokeniseBatch(tokenizer, { kind: "posts", rows: posts }, config.preprocess);
    const { lossResponse } = await referenceLosses(run, sft, table, posts.length);
    const { after } = record.models.sft.figures as { after: { lossResponse: number } };
    assert(Math.abs(lossResponse - after.lossResponse) < 1e-4, `${lossResponse}, not ${after.lossResponse}`);
    sft.parameters.drop();

    const reward = await loadQwen2(gpu, files, joinPath(demo, "reward"), "reward");
    assertEquals(reward.score!.offset, record.models.reward.figures.offset);
    let correct = 0;
    const count = config.reward.evalRows / 2;
    for (const split of ["valid1", "valid2"] as const) {
      const rows = data.pairs[split].slice(0, count);
      const pairs = tokeniseBatch(tokenizer, { kind: "pairs", rows }, config.preprocess);
      const scored = await pairScores(run, reward, pairs, count);
      correct += scored.filter(([chosen, rejected]) => chosen > rejected).length;
    }
    // One pair in a hundred may be a tie to another adapter.
    assert(Math.abs(correct / (2 * count) - Number(record.models.reward.figures.accuracy)) <= 0.011);
    reward.parameters.drop();
  });
}
