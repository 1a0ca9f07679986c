import { assert, assertAlmostEquals, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import type { Gpu } from "../../../kernels/gpu.ts";
import { type Files, memoryFiles, readJson } from "../../../lab/bytes.ts";
import { configure, type Overrides } from "../../../lab/config.ts";
import { posts as demoPosts } from "../../../lab/demo/corpus.ts";
import { type Progress, silent } from "../../../lab/progress.ts";
import { loadQwen2 } from "../../../lab/qwen2.ts";
import { referenceResponse, tldrQuery } from "../../../lab/query.ts";
import type { Evaluation } from "../../../lab/report/data.ts";
import { type Run, Stopped } from "../../../lab/run.ts";
import { sequenceScores } from "../../../lab/scoring.ts";
import { type Contest, judge } from "../../../lab/stages/judging.ts";
import type { Entry } from "../../../lab/stages/matches.ts";
import { loadTokenizer } from "../../../lab/tokenizer.ts";
import { gpuTest } from "../../kernels/testing.ts";
import { judgeFolder } from "../judges/folder.ts";
import { completion, shown, standIn } from "../judges/stand_in.ts";
import { openToy, runToy, toy, toyDataset, toyDisk } from "../toy.ts";

const posts = demoPosts(3, 6);
const entry = (author: Entry["author"], texts: string[], reward?: number[]): Entry => ({
  author,
  texts,
  lengths: texts.map((text) => 1 + text.length),
  ended: texts.map(() => true),
  scores: reward ? { reward } : {},
});
const numbered = (word: string, count = 6) => Array.from({ length: count }, (_, i) => ` ${word} ${i}.`);
const entries = () => [
  entry("reference", posts.map(({ summary }) => summary), [0, 0, 0, 0, 0, 0]),
  entry("sft", numbered("short"), [1, 1, 1, 1, 1, 1]),
  entry("ppo", numbered("rather long"), [2, 2, 2, 2, 2, 0]),
  entry("best-of-2", numbered("middling", 3), [1, 2, 3]),
];

function testRun(
  evaluate: Overrides["evaluate"],
  more: { gpu?: Gpu; files?: Files; judge?: Run["judge"]; progress?: Progress; stopping?: () => boolean } =
    {},
): Run {
  return {
    files: memoryFiles(),
    path: "run",
    config: configure("demo", { evaluate }),
    progress: silent,
    stopping: () => false,
    ...more,
  } as unknown as Run;
}

const contest = (notes: string[] = []): Contest => ({
  posts,
  entries: entries(),
  hasReward: true,
  notes,
  keep: (_keeping, measure) => measure((_name, count, _batch, rows) => rows(0, count)),
});

Deno.test("an endpoint judges all matches in both orders, the reward model those between authors too", async () => {
  await using server = standIn(({ text }) => {
    const [a, b] = shown(text);
    return completion(`Comparison: length.\nPreferred: ${a.length > b.length ? "A" : "B"}`);
  });
  const notes: string[] = [];
  const run = testRun({ judge: "openai", judgeModel: "some/model", judgePosts: 5 }, {
    judge: { endpoint: server.endpoint },
  });
  const { matches, judging } = await judge(run, contest(notes));
  assertEquals(matches.map(({ ours, theirs, judge, raw }) => [ours, theirs, judge, raw.count]), [
    ["ppo", "sft", "some/model", 5],
    ["ppo", "reference", "some/model", 5],
    ["sft", "reference", "some/model", 5],
    ["best-of-2", "sft", "some/model", 3],
    ["best-of-2", "reference", "some/model", 3],
    ["ppo", "sft", "reward", 6],
    ["ppo", "reference", "reward", 6],
    ["sft", "reference", "reward", 6],
  ]);
  assertEquals([matches[0].raw.rate, matches[3].raw.rate, matches[2].raw.rate], [1, 1, 0]);
  assertEquals([matches[0].orderDisagreement, matches[0].firstPreferred], [0, 0.5]);
  assert(matches[0].lengthControlled!.upper > matches[0].lengthControlled!.lower);
  assertEquals([judging!.requests, judging!.comparisons, judging!.unread], [42, 42, 0]);
  assert(notes.join().includes("some/model compares on the first 5 posts"), notes.join());
  assert(server.requests.every(({ body }) => body.model === "some/model"));
});

Deno.test("a biased endpoint, and one that says nothing, are exposed in the matches", async () => {
  for (const [answer, first, disagreement] of [["Preferred: B", 0, 1], ["no idea", undefined, undefined]]) {
    await using server = standIn(() => completion(answer));
    const run = testRun({ judge: "openai", judgeModel: "m" }, { judge: { endpoint: server.endpoint } });
    const { matches: [match], judging } = await judge(run, contest());
    if (first === 0) {
      assertEquals([match.firstPreferred, match.orderDisagreement], [0, disagreement]);
      assertEquals([match.raw.rate, match.raw.ties, match.unread], [0.5, 6, undefined]);
    } else {
      assertEquals([match.unread, judging!.unread], [1, judging!.comparisons]);
    }
  }
});

Deno.test("a stopped evaluation has asked for nothing in vain", async () => {
  await using server = standIn(() => completion("Preferred: A"));
  const files = memoryFiles();
  const fields = { judge: "openai", judgeModel: "m", judgeAtOnce: 1 } as const;
  let due = 7;
  const stopped = testRun(fields, { files, judge: { endpoint: server.endpoint }, stopping: () => --due < 0 });
  const error = await assertRejects(() => judge(stopped, contest()), Stopped);
  assert(/comparisons of the judge; to go on: .*--resume/.test(error.message), error.message);
  const before = server.requests.length;
  assert(before > 0 && before < 48, String(before));
  const { judging } = await judge(
    testRun(fields, { files, judge: { endpoint: server.endpoint } }),
    contest(),
  );
  assertEquals([judging!.kept, judging!.requests, server.requests.length], [before, 48 - before, 48]);
});

gpuTest("a second reward model judges by its own scores, read with its own tokenizer", async (gpu) => {
  const files = memoryFiles();
  await judgeFolder(gpu, files, "second-model", 5, { head: "score" });
  const run = testRun({ judge: "second", judgeModel: "second-model" }, { gpu, files });
  const all = contest();
  const { matches } = await judge(run, all);
  assertEquals(matches.map(({ judge }) => judge), [...Array(5).fill("second"), ...Array(3).fill("reward")]);
  const tokenizer = await loadTokenizer((path) => files.read(path), "second-model", 768);
  const model = await loadQwen2(gpu, files, "second-model", "alone");
  const alone = async (i: number, response: string) => {
    const { tokens } = tldrQuery(tokenizer, posts[i], run.config.preprocess.queryTokens);
    return (await sequenceScores(gpu, model, [[...tokens, ...tokenizer.encode(response)]], 64))[0];
  };
  const scores = (author: Entry["author"]) =>
    all.entries.find((one) => one.author === author)!.scores.second!;
  assertAlmostEquals(
    scores("reference")[2],
    await alone(2, referenceResponse(posts[2].summary)),
    1e-4,
  );
  assertAlmostEquals(scores("ppo")[4], await alone(4, " rather long 4.<|endoftext|>"), 1e-4);
  model.parameters.drop();
  const won = scores("ppo").filter((score, i) => score > scores("sft")[i]).length;
  assertEquals(matches[0].raw.wins, won);
  assert(matches[0].difference !== undefined);
  assertEquals(gpu.memory.pooledBytesInUse, 0);
  await assertRejects(
    () => judge(testRun({ judge: "local", judgeModel: "second-model" }, { gpu, files }), contest()),
    Error,
    "set evaluate.judge second",
  );
});

gpuTest("a local language model judges under its folder's name and asks nothing twice", async (gpu) => {
  const files = memoryFiles();
  await judgeFolder(gpu, files, "models-of/Tiny-Instruct", 6);
  const fields = { judge: "local", judgeModel: "models-of/Tiny-Instruct/" } as const;
  const first = await judge(testRun(fields, { gpu, files }), contest());
  assertEquals(first.matches[0].judge, "Tiny-Instruct");
  const size = await files.size("run/judge/local.jsonl");
  const again = await judge(testRun(fields, { gpu, files }), contest());
  assertEquals(again.matches, first.matches);
  assertEquals(await files.size("run/judge/local.jsonl"), size);
  // Other weights are another judge.
  await files.remove("models-of/Tiny-Instruct");
  await judgeFolder(gpu, files, "models-of/Tiny-Instruct", 7);
  await judge(testRun(fields, { gpu, files }), contest());
  assert(await files.size("run/judge/local.jsonl") > 1.9 * size);
});

gpuTest("another judge finds what has been written: no model is asked again", async (gpu) => {
  const files = await toyDisk(gpu);
  const dataset = await toyDataset();
  const stages = ["preprocess", "sft", "evaluate"] as const;
  const config = configure("demo", { ...toy, evaluate: { ...toy.evaluate, bestOf: [] } });
  await runToy({ gpu, files, dataset, config, stages });
  const before = await readJson(files, "run/evaluation.json") as Evaluation;
  await using server = standIn(() => completion("Preferred: A"));
  const judged = structuredClone(config);
  Object.assign(judged.evaluate, { judge: "openai", judgeModel: "m" });
  // Weights that are gone cannot be asked.
  for (const folder of ["base", "run/models/sft"]) await files.remove(`${folder}/model.safetensors`);
  const run = await openToy({ gpu, files, dataset, config: judged });
  const { runStages } = await import("../../../lab/pipeline.ts");
  await runStages({ ...run, judge: { endpoint: server.endpoint } }, ["evaluate"], {}, () => 0);
  await run.directory.release();
  const after = await readJson(files, "run/evaluation.json") as Evaluation;
  assertEquals(after.authors, before.authors);
  assertEquals(before.matches[0].judge, "gold");
  assertEquals(after.matches[0].judge, "m");
  assertEquals(after.matches.find(({ judge }) => judge === "gold"), before.matches[0]);
  assert(server.requests.length > 0 && after.judging!.requests === server.requests.length);
});
