/** `deno task generate`: summarises posts with any checkpoint folder, or with several models of a run beside each other. */
import type { Gpu } from "../kernels/gpu.ts";
import { DamagedFileError, type Files, joinPath } from "../lab/bytes.ts";
import { type Config, presetConfig } from "../lab/config.ts";
import { boolean, choice, integer, integers, number, text, words } from "../lab/config_fields.ts";
import { goldScore } from "../lab/demo/gold.ts";
import { drawnAt, generate } from "../lab/generate.ts";
import { type Progress, silent } from "../lab/progress.ts";
import { type Query, tldrQuery } from "../lab/query.ts";
import { loadQwen2, readQwen2Config } from "../lab/qwen2.ts";
import type { Qwen2Config } from "../lab/qwen2_config.ts";
import { tokenLogprobs } from "../lab/scoring.ts";
import { newestOf, readStartedRun, runsIn } from "../lab/run_record.ts";
import { cutAtEos } from "../lab/stages/sft.ts";
import { loadTokenizer, type Tokenizer } from "../lab/tokenizer.ts";
import { stageKeys } from "../lab/training.ts";
import { openGpu } from "./devices.ts";
import { failWith } from "./exit.ts";
import { diskFiles } from "./files.ts";
import { helpText, parseFlags } from "./flags.ts";
import { present } from "./generate_formats.ts";
import { choosePosts, demoFolder, type GivenPost } from "./generate_posts.ts";
import { fetchModel } from "./hub.ts";
import { standardError, standardOutput, terminalProgress } from "./progress.ts";
import { pinnedSources } from "./sources.ts";

const maySay = { mayBeEmpty: true };

const usage = {
  task: "generate",
  about: "summarises posts with any model folder, or with several models of a run side by side.",
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
      doc:
        "The post: a text file, or JSON with subreddit, title, post; in .jsonl many, one a line. Standard input takes text or such lines",
      placeholder: "FILE",
      ...maySay,
    }),
    text: text("", { doc: "The post itself", placeholder: "TEXT", ...maySay }),
    demo: integers([], {
      doc: "The Nth posts of the demo's test split, with reference and gold score",
      min: 1,
    }),
    limit: integer(0, { doc: "Of many posts the first so many; 0 for all", min: 0 }),
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
    format: choice(["text", "markdown", "html", "json"], "text", {
      doc: "text is a table where there are several models or posts, as wide as the terminal",
    }),
    json: boolean(false, { doc: "Short for --format json" }),
    gpu: choice(["auto", "dawn", "native"], "auto", { doc: "Whose WebGPU: Dawn's or Deno's own" }),
  },
  examples: [
    [
      "deno task generate --demo 3 --compare base,sft,ppo",
      "what training did to the third demo post's summary",
    ],
    [
      "deno task generate --post posts.jsonl --compare base,sft,ppo --format html > table.html",
      "a page with many posts and what each model makes of them",
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
  /** Columns of the terminal; 100 where there is none. */
  columns?: number;
  /** Of downloads, and of long lists of posts. */
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

/** What came of one post; JSON has it in these words. */
export interface Outcome {
  post: {
    id?: string;
    subreddit: string;
    title: string;
    post: string;
    queryTokens: number;
    charactersCut: number;
  };
  reference?: { text: string; gold?: number };
  models: { name: string; folder: string; samples: Sample[] }[];
}

/** Runs the task. Returns what to print. @throws with one sentence for every kind of bad input */
export async function generateTask(args: readonly string[], world: World): Promise<string> {
  const { own, given, help } = parseFlags(args, usage);
  if (help) return helpText(usage);
  const models = await chooseModels(world, own.model, own.compare);
  const { posts, many } = await choosePosts(own, given, world.files, world.readInput);
  const prepared: Prepared[] = []; // before any GPU is asked for: most mistakes are found here
  for (const model of models) prepared.push(await prepare(world.files, model, posts, own.responseTokens));

  const gpu = await world.openGpu(own.gpu);
  try {
    const outcomes = posts.map(({ post, reference, record }, i): Outcome => ({
      post: {
        ...post,
        queryTokens: prepared[0].queries[i].tokens.length,
        charactersCut: prepared[0].queries[i].cut,
      },
      ...(reference !== undefined && {
        reference: { text: reference, ...(record && { gold: goldScore(record, reference) }) },
      }),
      models: [],
    }));
    for (const model of prepared) {
      const drawn = await draw(gpu, world.files, model, own, world.progress);
      drawn.forEach((samples, i) => {
        const { record } = posts[i];
        if (record) { for (const sample of samples) sample.gold = goldScore(record, sample.text); }
        outcomes[i].models.push({ name: model.name, folder: model.folder, samples });
      });
    }
    return present(outcomes, {
      format: own.json ? "json" : own.format,
      many,
      width: world.columns ?? 100,
      temperature: own.temperature,
      given: posts,
    });
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
  /** Post by post. */
  queries: Query[];
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

/** Reads what can be read without a GPU, and makes the queries. */
async function prepare(
  files: Files,
  model: Model,
  posts: readonly GivenPost[],
  responseTokens: number,
): Promise<Prepared> {
  const shape = await readQwen2Config(files, model.folder);
  if (shape.head === "score") {
    throw new DamagedFileError(`${model.folder} is a reward model: it scores summaries and writes none.`);
  }
  const tokenizer = await loadTokenizer((path) => files.read(path), model.folder, shape.vocabulary);
  const { preprocess } = model.config;
  const longest = responseTokens || preprocess.responseTokens;
  const queries = posts.map(({ post }) => tldrQuery(tokenizer, post, preprocess.queryTokens));
  const tokens = Math.max(...queries.map((query) => query.tokens.length));
  if (tokens + longest > shape.maxPositions) {
    throw new RangeError(
      `${tokens} tokens of the post and ${longest} of the summary are more than the ${shape.maxPositions} positions ` +
        `of ${model.folder}; lower --responseTokens or shorten the post.`,
    );
  }
  return { ...model, shape, tokenizer, queries, responseTokens: longest };
}

/** Sequences between two looks at the progress. */
const chunk = 64;

/** @returns post by post the samples of a model, which is on the device only meanwhile */
async function draw(
  gpu: Gpu,
  files: Files,
  { name, folder, tokenizer, queries, responseTokens }: Prepared,
  flags: {
    temperature: number;
    topK: number;
    topP: number;
    samples: number;
    seed: number;
    logprobs: boolean;
  },
  progress: Progress,
): Promise<Sample[][]> {
  const { temperature, topK, topP, seed, samples } = flags;
  const model = await loadQwen2(gpu, files, folder, name);
  const prompts = queries.flatMap(({ tokens }) => Array.from({ length: samples }, () => tokens));
  const stage = (prompts.length > chunk ? progress : silent).stage(name, {
    steps: prompts.length,
    unit: "summaries",
  });
  const flat: Sample[] = [];
  for (let first = 0; first < prompts.length; first += chunk) {
    const some = prompts.slice(first, first + chunk);
    const rows = await generate(gpu, model, some, {
      responseLength: responseTokens,
      ...drawnAt(temperature),
      topK,
      topP,
      vocabulary: tokenizer.padId,
      seed,
      stage: stageKeys.samples,
      step: 0,
      samples: some.map((_, i) => first + i),
    });
    const written = rows.map((row) => cutAtEos(row, tokenizer));
    const probes = written.map(({ tokens }, i) => ({
      tokens: [...some[i], ...tokens],
      positions: Array.from(tokens, (_, t) => some[i].length - 1 + t),
    }));
    const scored = await tokenLogprobs(gpu, model, probes, {
      temperature: 1,
      vocabulary: tokenizer.padId,
      microTokens: 4096,
    });
    written.forEach(({ tokens, text, ended }, i) => {
      const logprobs = Array.from(scored[i].logprob);
      flat.push({
        text: text.trim(),
        tokens: Array.from(tokens),
        ended,
        logprob: logprobs.reduce((sum, value) => sum + value, 0),
        tokenLogprobs: flags.logprobs
          ? logprobs.map((logprob, t) => ({ token: tokenizer.decodeToken(tokens[t]), logprob }))
          : undefined,
      });
    });
    stage.step(flat.length);
  }
  model.parameters.drop();
  gpu.trim();
  return queries.map((_, i) => flat.slice(i * samples, (i + 1) * samples));
}

async function standardInput(): Promise<Uint8Array | null> {
  if (Deno.stdin.isTerminal()) return null;
  return new Uint8Array(await new Response(Deno.stdin.readable).arrayBuffer());
}

if (import.meta.main) {
  try {
    const world = {
      files: diskFiles(),
      readInput: standardInput,
      openGpu,
      progress: terminalProgress(standardError()),
      columns: standardOutput().columns(),
    };
    console.log(await generateTask(Deno.args, world));
  } catch (error) {
    failWith(error);
  }
}
