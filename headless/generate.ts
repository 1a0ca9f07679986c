/** `deno task generate`: summarises a post with any checkpoint folder, or with several models of a run beside each other. */
import type { Gpu } from "../kernels/gpu.ts";
import { DamagedFileError, type Files, joinPath, parseJson } from "../lab/bytes.ts";
import { type Config, presetConfig } from "../lab/config.ts";
import { boolean, choice, integer, number, text, words } from "../lab/config_fields.ts";
import { goldScore } from "../lab/demo/gold.ts";
import { type DemoPost, loadPosts } from "../lab/demo/load.ts";
import { drawnAt, generate } from "../lab/generate.ts";
import { type Post, type Query, tldrQuery } from "../lab/query.ts";
import { loadQwen2, readQwen2Config } from "../lab/qwen2.ts";
import type { Qwen2Config } from "../lab/qwen2_config.ts";
import type { Progress } from "../lab/progress.ts";
import { tokenLogprobs } from "../lab/scoring.ts";
import { newestOf, readStartedRun, runsIn } from "../lab/run_record.ts";
import { cutAtEos } from "../lab/stages/sft.ts";
import { loadTokenizer, type Tokenizer } from "../lab/tokenizer.ts";
import { stageKeys } from "../lab/training.ts";
import { openGpu } from "./devices.ts";
import { failWith } from "./exit.ts";
import { diskFiles } from "./files.ts";
import { helpText, parseFlags } from "./flags.ts";
import { fetchModel } from "./hub.ts";
import { standardError, terminalProgress } from "./progress.ts";
import { pinnedSources } from "./sources.ts";

const maySay = { mayBeEmpty: true };

const usage = {
  task: "generate",
  about: "summarises a post with any model folder, or with several models of a run side by side.",
  own: {
    model: text("", {
      doc:
        "Model folder in Hugging Face layout, owner/name on the Hub, or a run directory. By default the newest run's ppo, else its sft, else the demo's base model",
      placeholder: "MODEL",
      ...maySay,
    }),
    compare: words(["base", "sft", "ppo"], [], {
      doc: "Several models of one run (--model RUN, or the newest)",
    }),
    post: text("", {
      doc: "The post: a text file, or JSON with subreddit, title, post",
      placeholder: "FILE",
      ...maySay,
    }),
    text: text("", { doc: "The post itself", placeholder: "TEXT", ...maySay }),
    demo: integer(0, {
      doc: "The Nth post of the demo's test split, with its reference and gold score",
      min: 0,
    }),
    subreddit: text("relationships", { doc: 'Without "r/"', placeholder: "NAME" }),
    title: text("", { doc: "The post's title", placeholder: "TEXT", ...maySay }),
    temperature: number(0.01, { doc: "0 always takes the likeliest token", min: 0, from: "S1" }),
    topK: integer(0, { doc: "Only the K likeliest tokens; 0 for all", min: 0 }),
    topP: number(1, { doc: "Only the likeliest tokens that together reach this share", above: 0, max: 1 }),
    samples: integer(1, { doc: "Summaries per model", min: 1, max: 1024 }),
    seed: integer(1, { doc: "The same seed draws the same summaries", min: 0, max: 2 ** 32 - 1 }),
    responseTokens: integer(0, {
      doc: "Longest summary; 0 for what the model was trained with",
      min: 0,
      max: 4096,
      unit: "tokens",
    }),
    logprobs: boolean(false, { doc: "Each token with its logprob under the model itself, nats" }),
    json: boolean(false, { doc: "Print JSON" }),
    gpu: choice(["auto", "dawn", "native"], "auto", { doc: "Whose WebGPU: Dawn's or Deno's own" }),
  },
  examples: [
    [
      "deno task generate --demo 3 --compare base,sft,ppo",
      "what training did to the third demo post's summary",
    ],
    [
      'deno task generate --text "So yesterday I …" --title "My goat" --temperature 0.7 --samples 4',
      "four draws",
    ],
    [
      "deno task generate --model ./my-model < post.txt",
      "any Qwen2 checkpoint, the post from standard input",
    ],
  ],
} as const;

/** Everything outside that the task touches, so that tests can stand in for it. */
export interface World {
  files: Files;
  /** All of standard input, or null where it is a terminal. */
  readInput: () => Promise<Uint8Array | null>;
  openGpu: typeof openGpu;
  /** Of downloads. */
  progress: Progress;
}

/** One summary of one model. */
export interface Sample {
  text: string;
  /** With EOS, if there is one. */
  tokens: number[];
  /** Whether it ended by itself, rather than at the longest length. */
  ended: boolean;
  /** Of the whole summary under the model at temperature 1, nats. */
  logprob: number;
  /** Per token, with what it stands for; with --logprobs alone. */
  tokenLogprobs?: { token: string; logprob: number }[];
  /** By the demo's rule; demo posts alone. */
  gold?: number;
}

/** What the task prints with --json. */
export interface Outcome {
  post: { subreddit: string; title: string; queryTokens: number; charactersCut: number };
  reference?: { text: string; gold: number };
  models: { name: string; folder: string; samples: Sample[] }[];
}

const demoFolder = decodeURIComponent(new URL("../public/demo", import.meta.url).pathname);

/** Runs the task. Returns what to print. @throws with one sentence for every kind of bad input */
export async function generateTask(args: readonly string[], world: World): Promise<string> {
  const { own, given, help } = parseFlags(args, usage);
  if (help) return helpText(usage);
  const models = await chooseModels(world, own.model, own.compare);
  const { post, record } = await choosePost(own, given, world);
  const prepared: Prepared[] = []; // before any GPU is asked for: most mistakes are found here
  for (const model of models) prepared.push(await prepare(world.files, model, post, own.responseTokens));

  const gpu = await world.openGpu(own.gpu);
  try {
    const outcome: Outcome = {
      post: {
        subreddit: post.subreddit,
        title: post.title,
        queryTokens: prepared[0].query.tokens.length,
        charactersCut: prepared[0].query.cut,
      },
      reference: record && { text: record.summary, gold: goldScore(record, record.summary) },
      models: [],
    };
    for (const model of prepared) {
      const samples = await draw(gpu, world.files, model, own);
      if (record) { for (const sample of samples) sample.gold = goldScore(record, sample.text); }
      outcome.models.push({ name: model.name, folder: model.folder, samples });
    }
    return own.json ? JSON.stringify(outcome, null, 2) : present(outcome);
  } finally {
    gpu.destroy();
  }
}

// ---- models ----

interface Model {
  name: string;
  folder: string;
  /** What it was trained with, as far as is known. */
  config: Config;
}

interface Prepared extends Model {
  shape: Qwen2Config;
  tokenizer: Tokenizer;
  query: Query;
  responseTokens: number;
}

/** The folders that the flags mean. */
async function chooseModels(
  { files, progress }: World,
  named: string,
  compare: readonly string[],
): Promise<Model[]> {
  const isRun = named !== "" && await files.exists(joinPath(named, "run.json"));
  if (named !== "" && !isRun) {
    if (compare.length > 0) {
      throw new RangeError(
        `--compare needs a run directory, and ${named} has no run.json; name one with --model.`,
      );
    }
    const { folder } = await fetchModel(named, { progress });
    return [{ name: nameOf(named), folder, config: await configOf(files, folder) }];
  }
  const run = isRun ? named : await newestRun(files, compare);
  const base = { name: "base", folder: joinPath(demoFolder, "base"), config: presetConfig("demo") };
  if (run === undefined) return [base];
  const { config } = await readStartedRun(files, run);
  const folders: Record<string, string> = {
    base: config.model === "demo" || !compare.includes("base")
      ? base.folder
      : (await fetchModel(config.model, {
        progress,
        pinned: (await pinnedSources(files, run))?.model?.commit,
      })).folder,
    sft: joinPath(run, "models/sft"),
    ppo: joinPath(run, "models/ppo"),
  };
  const there = async (name: string) => await files.exists(joinPath(folders[name], "config.json"));
  if (compare.length === 0) {
    for (const name of ["ppo", "sft"]) {
      if (await there(name)) return [{ name, folder: folders[name], config }];
    }
    throw new DamagedFileError(
      `${run} has no finished model yet, neither ppo nor sft; wait for it, or name another.`,
    );
  }
  for (const name of compare) {
    if (!await there(name)) {
      throw new DamagedFileError(
        `${run} has no ${name} model (${folders[name]}); train it first or leave it out.`,
      );
    }
  }
  return compare.map((name) => ({ name, folder: folders[name], config }));
}

/** The newest run with a finished model; undefined if there is none and none is needed. */
async function newestRun(files: Files, compare: readonly string[]): Promise<string | undefined> {
  const finished: string[] = [];
  for (const folder of await runsIn(files, "runs")) {
    for (const name of ["ppo", "sft"]) {
      if (!await files.exists(joinPath(folder, "models", name, "config.json"))) continue;
      finished.push(folder);
      break;
    }
  }
  const newest = await newestOf(files, finished);
  if (newest === undefined && compare.some((name) => name !== "base")) {
    throw new DamagedFileError(
      "There is no run with a finished model in runs/; run deno task train, or name one with --model.",
    );
  }
  return newest;
}

/** The configuration of the run that a model folder lies in; else the demo's for the demo's model, else the published one. */
async function configOf(files: Files, folder: string): Promise<Config> {
  const run = joinPath(folder.replace(/\/+$/, ""), "../..");
  if (await files.exists(joinPath(run, "run.json"))) return (await readStartedRun(files, run)).config;
  return presetConfig(/(^|\/)public\/demo\/base\/?$/.test(folder) ? "demo" : "spark");
}

const nameOf = (folder: string) => folder.replace(/\/+$/, "").split("/").at(-1) || folder;

/** Reads what can be read without a GPU, and makes the query. */
async function prepare(files: Files, model: Model, post: Post, responseTokens: number): Promise<Prepared> {
  const shape = await readQwen2Config(files, model.folder);
  if (shape.head === "score") {
    throw new DamagedFileError(`${model.folder} is a reward model: it scores summaries and writes none.`);
  }
  const tokenizer = await loadTokenizer((path) => files.read(path), model.folder, shape.vocabulary);
  const { preprocess } = model.config;
  const longest = responseTokens || preprocess.responseTokens;
  const query = tldrQuery(tokenizer, post, preprocess.queryTokens);
  if (query.tokens.length + longest > shape.maxPositions) {
    throw new RangeError(
      `${query.tokens.length} tokens of the post and ${longest} of the summary are more than the ${shape.maxPositions} positions ` +
        `of ${model.folder}; lower --responseTokens or shorten the post.`,
    );
  }
  return { ...model, shape, tokenizer, query, responseTokens: longest };
}

async function draw(
  gpu: Gpu,
  files: Files,
  { name, folder, tokenizer, query, responseTokens }: Prepared,
  flags: {
    temperature: number;
    topK: number;
    topP: number;
    samples: number;
    seed: number;
    logprobs: boolean;
  },
): Promise<Sample[]> {
  const { temperature, topK, topP, seed, samples } = flags;
  const model = await loadQwen2(gpu, files, folder, name);
  const prompts = Array.from({ length: samples }, () => query.tokens);
  const rows = await generate(gpu, model, prompts, {
    responseLength: responseTokens,
    ...drawnAt(temperature),
    topK,
    topP,
    vocabulary: tokenizer.padId,
    seed,
    stage: stageKeys.samples,
    step: 0,
  });
  const written = rows.map((row) => cutAtEos(row, tokenizer));
  const probes = written.map(({ tokens }) => ({
    tokens: [...query.tokens, ...tokens],
    positions: Array.from(tokens, (_, i) => query.tokens.length - 1 + i),
  }));
  const scored = await tokenLogprobs(gpu, model, probes, {
    temperature: 1,
    vocabulary: tokenizer.padId,
    microTokens: 4096,
  });
  model.parameters.drop();
  gpu.trim();
  return written.map(({ tokens, text, ended }, i): Sample => {
    const logprobs = Array.from(scored[i].logprob);
    return {
      text: text.trim(),
      tokens: Array.from(tokens),
      ended,
      logprob: logprobs.reduce((sum, value) => sum + value, 0),
      tokenLogprobs: flags.logprobs
        ? logprobs.map((logprob, t) => ({ token: tokenizer.decodeToken(tokens[t]), logprob }))
        : undefined,
    };
  });
}

// ---- the post ----

type PostFlags = { post: string; text: string; demo: number; subreddit: string; title: string };

/** The post that the flags mean; demo posts with their facts. */
async function choosePost(
  flags: PostFlags,
  given: ReadonlySet<string>,
  { files, readInput }: World,
): Promise<{ post: Post; record?: DemoPost }> {
  const sources = ["post", "text", "demo"].filter((name) => given.has(name));
  if (sources.length > 1) {
    throw new RangeError(
      `The post can come from only one place, not from ${sources.map((name) => `--${name}`).join(" and ")}.`,
    );
  }
  const { subreddit, title } = flags;
  if (given.has("demo")) {
    const posts = await loadPosts((path) => files.read(joinPath(demoFolder, path)), "test");
    const record = posts[flags.demo - 1];
    if (!record) throw new RangeError(`--demo takes a number from 1 to ${posts.length}, not ${flags.demo}.`);
    return { post: { subreddit: record.subreddit, title: record.title, post: record.post }, record };
  }
  if (given.has("text")) return { post: { subreddit, title, post: flags.text } };
  if (given.has("post")) {
    const bytes = await files.read(flags.post);
    if (!/\.json$/i.test(flags.post)) return { post: { subreddit, title, post: decode(flags.post, bytes) } };
    const json = parseJson(flags.post, bytes);
    const field = (name: "subreddit" | "title" | "post", otherwise?: string): string => {
      const value = (json as Record<string, unknown> | null)?.[name] ?? otherwise;
      if (typeof value !== "string") throw new DamagedFileError(`${flags.post} has no text "${name}".`);
      return value;
    };
    return {
      post: { subreddit: field("subreddit", subreddit), title: field("title", title), post: field("post") },
    };
  }
  const bytes = await readInput();
  if (bytes === null) {
    throw new RangeError('There is no post: give --text "…", --post FILE or --demo N, or pipe one in.');
  }
  return { post: { subreddit, title, post: decode("Standard input", bytes) } };
}

function decode(name: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new DamagedFileError(`${name} is not UTF-8 text; convert it first.`);
  }
}

// ---- what it looks like ----

function present({ post, reference, models }: Outcome): string {
  const width = Math.max(9, ...models.map(({ name }) => name.length));
  const cut = post.charactersCut > 0 ? `, its last ${post.charactersCut} characters cut off` : "";
  const lines = [
    `r/${post.subreddit}${post.title && `: ${post.title}`} (${post.queryTokens} tokens${cut})`,
    "",
  ];
  const entry = (name: string, text: string, facts: string[]) => {
    wrap(text || "(nothing)", 96 - width).forEach((line, i) =>
      lines.push(`${(i ? "" : name).padEnd(width)}  ${line}`)
    );
    lines.push(`${"".padEnd(width)}  [${facts.join(", ")}]`);
  };
  if (reference) entry("reference", reference.text, [`gold ${reference.gold.toFixed(2)}`]);
  for (const { name, samples } of models) {
    for (const sample of samples) {
      const count = sample.tokens.length;
      entry(name, sample.text, [
        `${count} tokens${sample.ended ? "" : " without an end"}`,
        `logprob ${sample.logprob.toFixed(2)}`,
        ...(sample.gold === undefined ? [] : [`gold ${sample.gold.toFixed(2)}`]),
      ]);
      for (const { token, logprob } of sample.tokenLogprobs ?? []) {
        lines.push(`${"".padEnd(width)}  ${logprob.toFixed(3).padStart(9)}  ${JSON.stringify(token)}`);
      }
    }
  }
  return lines.join("\n");
}

function wrap(text: string, width: number): string[] {
  const lines = [""];
  for (const word of text.split(/\s+/)) {
    if (lines.at(-1) && lines.at(-1)!.length + word.length >= width) lines.push("");
    lines[lines.length - 1] += (lines.at(-1) ? " " : "") + word;
  }
  return lines;
}

async function standardInput(): Promise<Uint8Array | null> {
  if (Deno.stdin.isTerminal()) return null;
  return new Uint8Array(await new Response(Deno.stdin.readable).arrayBuffer());
}

if (import.meta.main) {
  try {
    console.log(
      await generateTask(Deno.args, {
        files: diskFiles(),
        readInput: standardInput,
        openGpu,
        progress: terminalProgress(standardError()),
      }),
    );
  } catch (error) {
    failWith(error);
  }
}
