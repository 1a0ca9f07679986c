import { assertEquals, assertMatch, assertRejects } from "deno-std/assert/mod.js";
import { openGpu } from "../../headless/devices.ts";
import { diskFiles } from "../../headless/files.ts";
import { generateTask, type Outcome, type World } from "../../headless/generate.ts";
import { type Files, joinPath } from "../../lab/bytes.ts";
import { random } from "../../lab/demo/random.ts";
import { silent } from "../../lab/progress.ts";
import { allocateQwen2, initialiseQwen2, saveQwen2 } from "../../lab/qwen2.ts";
import type { Qwen2Config } from "../../lab/qwen2_config.ts";
import { testRuntime } from "../kernels/testing.ts";

const demo = decodeURIComponent(new URL("../../public/demo", import.meta.url).pathname);
const files = diskFiles();

/** A run directory with a random policy in models/sft and models/ppo, and a reward model. */
async function makeRun(): Promise<string> {
  const run = await Deno.makeTempDir();
  const gpu = await openGpu(testRuntime);
  const r = random(1);
  const normal = () => Math.sqrt(-2 * Math.log(1 - r.uniform())) * Math.cos(2 * Math.PI * r.uniform());
  for (const name of ["sft", "ppo", "reward"]) {
    const head = name === "reward" ? "score" as const : "language" as const;
    const model = allocateQwen2(gpu, { ...shape, head }, name);
    initialiseQwen2(gpu, model, normal);
    const folder = `${run}/models/${name}`;
    await files.makeDirectory(folder);
    await saveQwen2(gpu, files, folder, model);
    for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
      await files.writeAtomic(`${folder}/${file}`, await files.read(`${demo}/${file}`));
    }
  }
  gpu.destroy();
  const config = {
    preprocess: { queryTokens: 96, responseTokens: 5, preferenceTokens: 48 },
    model: "demo",
    data: "demo",
  };
  await Deno.writeTextFile(`${run}/run.json`, JSON.stringify({ format: 1, startedAt: "2026-01-01", config }));
  return run;
}

const shape: Qwen2Config = {
  head: "language",
  vocabulary: 832,
  hiddenSize: 32,
  layers: 1,
  queryHeads: 2,
  keyValueHeads: 1,
  headDim: 16,
  feedForward: 24,
  tiedHead: true,
  attentionBias: true,
  ropeTheta: 1e4,
  rmsNormEps: 1e-6,
  maxPositions: 128,
  eosTokenId: 0,
  bosTokenId: null,
  padTokenId: null,
  initializerRange: 0.5,
};

let made: Promise<string> | null = null;
const theRun = () => (made ??= makeRun());

const world = (input: string | Uint8Array | null = null, onDisk: Files = files): World => ({
  files: onDisk,
  progress: silent,
  readInput: () => Promise.resolve(typeof input === "string" ? new TextEncoder().encode(input) : input),
  openGpu: (_, options) => openGpu(testRuntime, options),
});

function slow(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, sanitizeOps: false, sanitizeResources: false, fn });
}

slow("two models of a run summarise a demo post, with reference, gold scores and JSON", async () => {
  const run = await theRun();
  const args = [
    "--model",
    run,
    "--compare",
    "sft,ppo",
    "--demo",
    "2",
    "--samples",
    "2",
    "--json",
    "--logprobs",
  ];
  const outcome = JSON.parse(await generateTask([...args, "--temperature", "1"], world())) as Outcome;
  assertEquals(outcome.models.map(({ name, samples }) => [name, samples.length]), [["sft", 2], ["ppo", 2]]);
  for (const sample of outcome.models.flatMap(({ samples }) => samples)) {
    const sum = sample.tokenLogprobs!.reduce((total, { logprob }) => total + logprob, 0);
    assertEquals(sample.tokenLogprobs!.length, sample.tokens.length);
    assertEquals(sum.toFixed(6), sample.logprob.toFixed(6));
    assertEquals(sample.tokens.length <= 5, true);
    assertEquals(sample.tokens.every((id) => id < shape.vocabulary), true);
    assertEquals(typeof sample.gold, "number");
  }
  assertEquals(typeof outcome.reference!.text, "string");
});

slow("one seed draws the same summary, another seed another; greedy needs none", async () => {
  const run = await theRun();
  const ids = async (...more: string[]) => {
    const args = ["--model", `${run}/models/sft`, "--text", "My goat ate my homework.", "--json", ...more];
    return (JSON.parse(await generateTask(args, world())) as Outcome).models[0].samples[0].tokens;
  };
  assertEquals(
    await ids("--temperature", "1", "--seed", "1"),
    await ids("--temperature", "1", "--seed", "1"),
  );
  const [one, two] = [
    await ids("--temperature", "3", "--seed", "1"),
    await ids("--temperature", "3", "--seed", "2"),
  ];
  assertEquals(one.join() === two.join(), false);
  assertEquals(
    await ids("--temperature", "0", "--seed", "1"),
    await ids("--temperature", "0", "--seed", "2"),
  );
  assertEquals(await ids("--temperature", "0"), await ids("--topK", "1", "--temperature", "1"));
});

slow("a post comes from standard input, a text file or JSON alike", async () => {
  const run = await theRun(), folder = await Deno.makeTempDir();
  const post = "We moved. The goat stayed behind.";
  await Deno.writeTextFile(`${folder}/post.txt`, post);
  await Deno.writeTextFile(`${folder}/post.json`, JSON.stringify({ subreddit: "pets", title: "Goat", post }));
  const shared = ["--model", run, "--subreddit", "pets", "--title", "Goat"];
  const printed = await generateTask(shared, world(post));
  assertMatch(printed, /^r\/pets: Goat \(\d+ tokens\)/);
  assertMatch(printed, /^ppo /m);
  assertEquals(await generateTask([...shared, "--post", `${folder}/post.txt`], world()), printed);
  assertEquals(await generateTask(["--model", run, "--post", `${folder}/post.json`], world()), printed);
});

slow("--help names every flag and asks for no GPU", async () => {
  const help = await generateTask(["--help"], {
    ...world(),
    openGpu: () => Promise.reject(new Error("asked")),
  });
  for (const flag of ["--model", "--compare", "--demo", "--temperature", "--topP", "--logprobs", "--json"]) {
    assertMatch(help, new RegExp(flag));
  }
});

for (
  const [what, args, input, complaint] of [
    ["an unknown flag", ["--temprature", "1"], "x", /no flag --temprature; the nearest is --temperature/],
    ["a temperature below 0", ["--temperature", "-1"], "x", /--temperature takes a number from 0/],
    ["a folder that is missing", ["--model", "RUN/nowhere"], "x", /no folder .*nowhere.*check --model/],
    ["a reward model", ["--model", "RUN/models/reward"], "x", /reward is a reward model/],
    ["an empty post", ["--model", "RUN"], "", /post is empty/],
    ["a blank post", ["--model", "RUN", "--text", " \n "], null, /post is empty/],
    ["no post at all", ["--model", "RUN"], null, /There is no post/],
    [
      "two posts",
      ["--model", "RUN", "--text", "a", "--demo", "1"],
      null,
      /only one place, not from --text and --demo/,
    ],
    [
      "a demo post beyond the last",
      ["--model", "RUN", "--demo", "999999"],
      null,
      /--demo takes a number from 1 to \d+/,
    ],
    [
      "a post that is not UTF-8",
      ["--model", "RUN"],
      Uint8Array.of(0x61, 0xff),
      /Standard input is not UTF-8/,
    ],
    [
      "a title that leaves no room",
      ["--model", "RUN", "--title", "goat ".repeat(200)],
      "x",
      /cannot be truncated/,
    ],
    [
      "a summary beyond the positions",
      ["--model", "RUN", "--responseTokens", "127"],
      "x",
      /more than the 128 positions/,
    ],
    [
      "base models of no run",
      ["--model", "RUN/models/sft", "--compare", "sft"],
      "x",
      /--compare needs a run directory/,
    ],
    [
      "a post file that is missing",
      ["--model", "RUN", "--post", "RUN/none.txt"],
      null,
      /none\.txt.*does not exist/,
    ],
  ] as const
) {
  slow(`${what} ends in one sentence, before a GPU is asked for`, async () => {
    const run = await theRun();
    const filled = args.map((arg) => arg.replace("RUN", run));
    const noGpu = { ...world(input), openGpu: () => Promise.reject(new Error("a GPU was asked for")) };
    const error = await assertRejects(() => generateTask(filled, noGpu), Error);
    assertMatch(error.message, complaint);
    assertEquals(error.message.includes("\n"), false);
  });
}

slow("half a surrogate pair and a damaged JSON post are refused", async () => {
  const run = await theRun(), folder = await Deno.makeTempDir();
  await Deno.writeTextFile(joinPath(folder, "bad.json"), '{"post": 3}');
  await assertRejects(
    () => generateTask(["--model", run, "--text", "a\ud83d b"], world()),
    Error,
    "surrogate",
  );
  await assertRejects(
    () => generateTask(["--model", run, "--post", `${folder}/bad.json`], world()),
    Error,
    'no text "post"',
  );
});
