/** What is foreseen of judges, beside what they then take. */
import { assert, assertEquals } from "deno-std/assert/mod.js";
import type { Gpu } from "../../kernels/gpu.ts";
import { type Files, readJson } from "../../lab/bytes.ts";
import { configure, type Overrides } from "../../lab/config.ts";
import { judgePrompt } from "../../lab/judges/prompt.ts";
import { planRun } from "../../lab/plan.ts";
import { memoryTable, planTable } from "../../lab/plan_table.ts";
import { silent } from "../../lab/progress.ts";
import type { Qwen2Config } from "../../lab/qwen2_config.ts";
import type { SampleRow } from "../../lab/report/data.ts";
import { loadTokenizer } from "../../lab/tokenizer.ts";
import { gpuTest, withGpu } from "../kernels/testing.ts";
import { judgeFolder } from "./judges/folder.ts";
import { completion, standIn } from "./judges/stand_in.ts";
import { openToy, runToy, toy, toyDataset, toyDisk } from "./toy.ts";

/** Larger than the toy's own models, so that it decides on the memory. */
const large: Partial<Qwen2Config> = {
  hiddenSize: 128,
  headDim: 32,
  queryHeads: 4,
  layers: 3,
  feedForward: 512,
};

/** What judges read goes through in several micro-batches, as it does at full size. */
const settings: Overrides = { ...toy, reward: { ...toy.reward, microTokens: 2000 } };

const demoBase = new URL("../../public/demo/base/", import.meta.url);

/**
 * A toy whose stages are done, the evaluation included: another judge only reads what was written. That is by the demo's base model, as
 * noise would be cut into more tokens than any summary.
 */
async function evaluated(gpu: Gpu) {
  const files = await toyDisk(gpu), dataset = await toyDataset();
  for await (const { name } of Deno.readDir(demoBase)) {
    await files.writeAtomic(`base/${name}`, await Deno.readFile(new URL(name, demoBase)));
  }
  await runToy({ gpu, files, dataset, config: configure("demo", settings) });
  const judged = async (
    evaluate: Overrides["evaluate"],
    judge?: { endpoint: ReturnType<typeof standIn>["endpoint"] },
  ) => {
    const config = configure("demo", { ...settings, evaluate: { ...toy.evaluate, ...evaluate } });
    let asked = { steps: 0, unit: "", done: 0 };
    const progress = {
      ...silent,
      stage: (name: string, total: { steps: number; unit: string }) =>
        name !== "judge" ? silent.stage(name, total) : {
          ...silent.stage(name, total),
          step: (done: number) => void (asked = { ...total, done }),
        },
    };
    gpu.trim();
    const setting = { gpu, files, dataset, config, judge, progress };
    const run = await openToy(setting);
    const plans = await planRun(run, ["evaluate"], { clock: () => performance.now(), measure: "auto" });
    await run.directory.release();
    const [fact] = await runToy({ ...setting, stages: ["evaluate"] });
    return { plans, fact, asked };
  };
  return { files, judged };
}

/** Posts with everybody's summaries, as they were written. */
async function rows(files: Files): Promise<SampleRow[]> {
  return await readJson(files, "run/summaries.json") as SampleRow[];
}

gpuTest(
  "judges are in the plan: what they are asked, and the memory of those on the device within 10 %",
  () =>
    withGpu({}, async (gpu) => {
      const { files, judged } = await evaluated(gpu);
      await judgeFolder(gpu, files, "language", 5, large);
      await judgeFolder(gpu, files, "score", 6, { ...large, head: "score" });
      const tokenizer = await loadTokenizer((path) => files.read(path), "language", 768);

      const scores = await judged({ judge: "gold" });
      assertEquals(scores.plans.map(({ name }) => name), ["evaluate"]);

      for (
        const [judge, folder, unit] of [["local", "language", "comparisons"], [
          "second",
          "score",
          "summaries",
        ]] as const
      ) {
        const { plans, fact, asked } = await judged({ judge, judgeModel: folder });
        assertEquals(plans.map(({ name }) => name), ["evaluate", "judge"]);
        const [, plan] = plans;
        assertEquals([plan.steps, plan.unit], [asked.steps, unit]);
        assertEquals([asked.unit, plan.seconds], [unit, undefined]);
        const ratio = plan.peakMemory / fact.peakMemory!;
        assert(ratio > 0.9 && ratio < 1.1, `${judge}: foreseen ${plan.peakMemory}, taken ${fact.peakMemory}`);
        assert(plan.flops > 0);
        assert(memoryTable(plans).some((line) => line.startsWith("judge weights")));
      }

      // Six posts in three matches, four in two of best-of-2, in both orders; no summary is longer than the plan has it.
      const { plans } = await judged({ judge: "local", judgeModel: "language" });
      assertEquals(plans[1].steps, 2 * (3 * 6 + 2 * 4));
      const read = (await rows(files)).flatMap(({ summaries, ...post }) => {
        const of = (author: string) => summaries.find((one) => one.author === author);
        return [["ppo", "sft"], ["ppo", "reference"], ["sft", "reference"], ["best-of-2", "sft"], [
          "best-of-2",
          "reference",
        ]]
          .map(([ours, theirs]) => [of(ours), of(theirs)])
          .filter(([ours]) => ours)
          .map(([ours, theirs]) =>
            2 * judgePrompt({ post, a: ours!.text, b: theirs!.text })
              .reduce((sum, { content }) => sum + tokenizer.encode(content).length, 0)
          );
      }).reduce((sum, tokens) => sum + tokens, 0);
      assert(plans[1].tokens > 0.9 * read && plans[1].tokens < 1.3 * read, `${plans[1].tokens} and ${read}`);

      // Behind an endpoint a judge takes nothing of the device.
      await using server = standIn(() => completion("Preferred: A"));
      const fields = { judge: "openai", judgeModel: "m", judgePosts: 3, orders: "random" } as const;
      const elsewhere = await judged({ ...fields, judgePerMinute: 60_000 }, { endpoint: server.endpoint });
      const [, plan] = elsewhere.plans;
      assertEquals([plan.steps, plan.unit, plan.flops, plan.peakMemory, plan.memory], [
        5 * 3,
        "comparisons",
        0,
        0,
        [],
      ]);
      assertEquals(plan.steps, elsewhere.asked.steps);
      assertEquals(plan.seconds, 15 * 60 / 60_000);
      const told = server.requests.reduce((sum, { body }) => sum + JSON.stringify(body).length / 4, 0);
      assert(plan.tokens > told && plan.tokens < 2.5 * told, `${plan.tokens} and ${told}`);
      const table = planTable(elsewhere.plans);
      assert(/^judge +15 comparisons +\S+ +– +–$/.test(table[2]), table[2]);
    }),
);
