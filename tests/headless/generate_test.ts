import { assertEquals, assertMatch, assertRejects } from "deno-std/assert/mod.js";
import { openGpu } from "../../headless/devices.ts";
import { diskFiles } from "../../headless/files.ts";
import { generateTask, type Outcome, type World } from "../../headless/generate.ts";
import { type Files, joinPath } from "../../lab/bytes.ts";
import { random } from "../../lab/demo/random.ts";
import { columnsOf } from "../../lab/format.ts";
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
  await Deno.writeTextFile(`${run}/empty.jsonl`, "\n");
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

const jsonl = [
  {
    id: "a",
    subreddit: "pets",
    title: "Goat | *one*",
    post: "The goat <b>ate</b>\n\nmy | hat.",
    summary: " Hat gone.",
  },
  { post: "A second post about a boat." },
].map((row) => JSON.stringify(row)).join("\n");

slow(
  "many posts come from a JSONL file or standard input, in JSON as a list with their references",
  async () => {
    const run = await theRun(), folder = await Deno.makeTempDir();
    await Deno.writeTextFile(`${folder}/posts.jsonl`, jsonl);
    const args = ["--model", run, "--compare", "sft,ppo", "--format", "json", "--temperature", "1"];
    const outcomes = JSON.parse(
      await generateTask([...args, "--post", `${folder}/posts.jsonl`], world()),
    ) as Outcome[];
    assertEquals(
      outcomes.map(({ post, reference, models }) => [post.id, post.subreddit, reference, models.length]),
      [
        ["a", "pets", { text: "Hat gone." }, 2],
        [undefined, "relationships", undefined, 2],
      ],
    );
    assertEquals(JSON.parse(await generateTask(args, world(jsonl))), outcomes);
    const first = JSON.parse(await generateTask([...args, "--limit", "1"], world(jsonl))) as Outcome[];
    const tokens = ({ models }: Outcome) => models.map(({ samples: [{ tokens }] }) => tokens);
    assertEquals([first.length, tokens(first[0])], [1, tokens(outcomes[0])]);
    // The first post's samples do not depend on how many posts follow, and a lone post is no list.
    const { subreddit, title, post } = outcomes[0].post;
    const lone = JSON.parse(
      await generateTask([...args, "--subreddit", subreddit, "--title", title, "--text", post], world()),
    ) as Outcome;
    assertEquals(tokens(lone), tokens(outcomes[0]));
    // What only looks like JSON is a post.
    await generateTask(["--model", run], world("{sigh} my goat is gone"));
  },
);

slow("a list of posts is a table as wide as the terminal, a list where that is too narrow", async () => {
  const run = await theRun();
  const args = ["--model", run, "--compare", "sft,ppo", "--demo", "2,7"];
  for (const columns of [80, 100, 140]) {
    const lines = (await generateTask(args, { ...world(), columns })).split("\n");
    assertMatch(lines[0], /^input +│ SFT model tldr +│ PPO$/);
    assertEquals(lines.filter((line) => line.startsWith("─")).length, 2);
    for (const line of lines) {
      assertEquals(columnsOf(line) <= columns, true, line);
      assertEquals(line.split(/[│┼]/).length, 3, line);
    }
    assertMatch(lines.join("\n"), /Reference:/);
  }
  const narrow = await generateTask(args, { ...world(), columns: 60 });
  assertMatch(narrow, /^reference /m);
  assertEquals(narrow.match(/^ppo /gm)?.length, 2);
});

slow("Markdown is one table whose cells hold whatever a post holds", async () => {
  const run = await theRun();
  const args = ["--model", run, "--compare", "sft,ppo", "--format", "markdown"];
  const lines = (await generateTask(args, world(jsonl))).split("\n");
  assertEquals(lines.length, 4);
  assertEquals(lines[0], "| input | reference | SFT model tldr | PPO |");
  for (const line of lines) assertEquals(line.replaceAll("\\|", "").split("|").length, 6, line);
  assertMatch(
    lines[2],
    /^\| \*\*r\/pets: Goat \\\| \\\*one\\\*\*\*<br>The goat &lt;b&gt;ate&lt;\/b&gt;<br>my \\\| hat\./,
  );
});

slow("the page is whole, shows every summary and runs nothing", async () => {
  const run = await theRun();
  const page = await generateTask(
    ["--model", run, "--compare", "sft,ppo", "--format", "html", "--demo", "2,3", "--samples", "2"],
    world(),
  );
  assertMatch(page, /^<!doctype html>/);
  assertEquals(/<script|(?:src|href)=/.test(page), false);
  assertEquals(page.match(/class="scores"/g)?.length, 2 * (1 + 2 * 2));
  assertMatch(page, /<mark class="fact">/);
  const poisoned = await generateTask(["--model", run, "--format", "html"], world(jsonl));
  assertEquals(poisoned.includes("<b>ate"), false);
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
      /--demo takes numbers from 1 to \d+, not 999999/,
    ],
    [
      "a post that is not UTF-8",
      ["--model", "RUN"],
      Uint8Array.of(0x61, 0xff),
      /Standard input is not UTF-8/,
    ],
    [
      "no post in the list",
      ["--model", "RUN"],
      '{"post": 3}',
      /Standard input:1 has "post" that is not text/,
    ],
    [
      "a list that ends in a fault",
      ["--model", "RUN"],
      '{"post": "a"}\n{"post"',
      /Standard input:2 is not valid JSON/,
    ],
    ["an empty list", ["--model", "RUN", "--post", "RUN/empty.jsonl"], null, /empty\.jsonl has no posts/],
    [
      "a format that there is none of",
      ["--format", "xml"],
      "x",
      /--format takes text, markdown, html or json/,
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
    '"post" that is not text',
  );
});
