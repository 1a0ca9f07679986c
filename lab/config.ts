/**
 * The configuration of a run. The table below is the only place where a field is stated: its type, default, check, flag and line of
 * `--help` are derived from it. Defaults are those of the published recipe; the other presets are tables of differences.
 */
import {
  boolean,
  checkField,
  choice,
  type Field,
  type Fields,
  formatValue,
  integer,
  integers,
  nearestOf,
  number,
  text,
  type ValueOf,
  type Values,
} from "./config_fields.ts";
import { isObject, shortened } from "./bytes.ts";
import { healthFields } from "./health_fields.ts";
import { judgeFields } from "./judges/fields.ts";
import { presets } from "./presets.ts";

/** What the origins of defaults refer to. */
export const originsNote =
  "P1: Stiennon et al. 2020 (arXiv 2009.01325). P2: Huang et al. 2024, the N+ implementation details (arXiv 2403.17031), by detail. " +
  "sft.py, reward.py, ppo.py, eval: their released code (vwxyzjn/summarize_from_feedback_details). ours: no published value.";

/** AdamW and its learning-rate schedule, alike in all trained stages but for their origin. */
function optimiser(file: string, schedule: "cosine" | "linear" | "constant", detail: string) {
  return {
    learningRate: number(3e-6, { doc: "Peak learning rate", from: `${detail}, ${file}`, above: 0 }),
    schedule: choice(["cosine", "linear", "constant"], schedule, {
      doc: "Course of the learning rate after warm-up: to 0 by a cosine, to 0 in a line, or constant",
      from: `${detail}, ${file}`,
    }),
    warmupSteps: integer(0, {
      doc: "Optimiser steps in which the learning rate rises from 0",
      unit: "steps",
      from: file,
      min: 0,
    }),
    beta1: number(0.9, { doc: "AdamW's decay of the mean", from: "torch's default", min: 0, below: 1 }),
    beta2: number(0.999, { doc: "AdamW's decay of the square", from: "torch's default", min: 0, below: 1 }),
    eps: number(1e-5, { doc: "AdamW's ε", from: file, above: 0 }),
    weightDecay: number(0.01, { doc: "AdamW's decoupled weight decay", from: "torch's default", min: 0 }),
    maxGradNorm: number(0, { doc: "Gradient norm is clipped to this; 0 = off", from: file, min: 0 }),
  };
}

const microTokens = () =>
  integer(4096, {
    doc: "Most tokens in one micro-batch; sets memory and speed",
    unit: "tokens",
    from: "ours: fits WebGPU's default limits",
    min: 16,
  });

/** Every field: those of a run as a whole, then section by section. */
export const schema = {
  run: {
    preset: choice(["demo", "spark"], "spark", {
      doc: "Defaults: demo is embedded and takes minutes, spark is the published recipe",
      from: "found out from adapter, model and data if not given",
      neutral: true,
    }),
    seed: integer(44413, {
      doc: "All random numbers follow from it",
      from: "first of four in sft.py",
      min: 0,
      max: 2 ** 32 - 1,
    }),
    out: text("runs/spark", {
      doc: "Run directory: records, checkpoints, report",
      from: "ours",
      placeholder: "FOLDER",
      neutral: true,
    }),
    model: text("Qwen/Qwen2.5-0.5B", {
      doc: 'Base model: folder or Hub id (owner/name@revision); "demo" is the embedded one',
      from: "ours; P2 has Pythia",
      placeholder: "MODEL",
    }),
    data: text("vwxyzjn/summarize_from_feedback_tldr_3_filtered", {
      doc: 'TL;DR posts: folder or Hub id; "demo" is the embedded data, comparisons included',
      from: "P2",
      placeholder: "DATA",
    }),
    comparisons: text("", {
      doc: "Comparisons: folder, Hub id or URL; none = those in data's folder, or else OpenAI's",
      from: "ours",
      placeholder: "DATA",
      mayBeEmpty: true,
    }),
    gpu: choice(["auto", "dawn", "native"], "auto", {
      doc: "WebGPU implementation; auto is Dawn on a GPU and Deno's own on software adapters",
      from: "ours",
      neutral: true,
    }),
    memory: number(0, {
      doc: "Device memory a stage may take; sets microTokens; 0 = microTokens as given",
      unit: "GiB",
      from: "ours",
      min: 0,
      neutral: true,
    }),
    recompute: choice(["none", "layers"], "none", {
      doc: "layers: activations are computed twice rather than kept; same numbers, less memory",
      from: "ours",
      neutral: true,
    }),
  },
  preprocess: {
    queryTokens: integer(512, {
      doc: "Longest query; longer posts lose their last paragraphs",
      unit: "tokens",
      from: "P2 detail 2",
      min: 16,
    }),
    responseTokens: integer(63, {
      doc: "Longest reference with <|endoftext|>, and length of samples in SFT and evaluation",
      unit: "tokens",
      from: "measured with Qwen's tokenizer; 53 with Pythia's in sft.py",
      min: 2,
    }),
    preferenceTokens: integer(133, {
      doc: "Longest compared summary with <|endoftext|>",
      unit: "tokens",
      from: "measured with Qwen's tokenizer; 169 with Pythia's in reward.py",
      min: 2,
    }),
  },
  sft: {
    ...optimiser("sft.py", "cosine", "P2 detail 9"),
    batch: integer(128, { doc: "Sequences a step", unit: "sequences", from: "P2 detail 9, sft.py", min: 1 }),
    microTokens: microTokens(),
    epochs: integer(1, { doc: "Passes over the data", unit: "passes", from: "P2 detail 9, P1 B.1", min: 1 }),
    rows: integer(0, { doc: "Use the first so many rows; 0 = all", unit: "rows", from: "sft.py", min: 0 }),
    queryLoss: boolean(true, {
      doc: "Query tokens count in the loss; both losses are logged",
      from: "sft.py",
    }),
    lossAggregation: choice(["sequence", "token"], "sequence", {
      doc: "Mean over sequences of their token means, or over all tokens of the batch",
      from: "sft.py: micro-batches of 1",
    }),
    evalEvery: integer(100, {
      doc: "Validation loss and ROUGE every so many steps; 0 = at the end only",
      unit: "steps",
      from: "ours",
      min: 0,
      neutral: true,
    }),
    evalRows: integer(512, {
      doc: "Validation rows of these evaluations; 0 = all",
      unit: "rows",
      from: "ours",
      min: 0,
      neutral: true,
    }),
  },
  reward: {
    ...optimiser("reward.py", "cosine", "P2 detail 10"),
    batch: integer(64, { doc: "Pairs a step", unit: "pairs", from: "P2 detail 10, P1 B.1", min: 1 }),
    microTokens: microTokens(),
    epochs: integer(1, { doc: "Passes over the data", unit: "passes", from: "P2 detail 10", min: 1 }),
    rows: integer(92_832, {
      doc: "Use the first so many pairs after shuffling; 0 = all",
      unit: "pairs",
      from: "reward.py",
      min: 0,
    }),
    headScale: number(1, {
      doc: "Scalar head starts as N(0, σ) with σ = this / √(hidden size + 1)",
      from: "P2 detail 11",
      min: 0,
    }),
    normalise: boolean(true, { doc: "Shift scores so that SFT references average 0", from: "P2 detail 15" }),
    normaliseRows: integer(0, {
      doc: "References for that average; 0 = all of the training split",
      unit: "rows",
      from: "reward.py",
      min: 0,
    }),
    evalEvery: integer(100, {
      doc: "Validation accuracy every so many steps; 0 = at the end only",
      unit: "steps",
      from: "ours",
      min: 0,
      neutral: true,
    }),
    evalRows: integer(1024, {
      doc: "Validation pairs of these evaluations; 0 = all",
      unit: "pairs",
      from: "ours",
      min: 0,
      neutral: true,
    }),
  },
  ppo: {
    episodes: integer(1_000_000, {
      doc: "Responses sampled in all",
      unit: "episodes",
      from: "P2 detail 20, P1 B.1",
      min: 1,
    }),
    batch: integer(512, { doc: "Responses an update", unit: "episodes", from: "ppo.py, P1 B.1", min: 1 }),
    minibatches: integer(1, { doc: "Optimiser steps in one pass over a batch", from: "ppo.py", min: 1 }),
    epochs: integer(4, {
      doc: "Passes over a batch before the next is sampled",
      unit: "passes",
      from: "ppo.py, P1 B.1",
      min: 1,
    }),
    ...optimiser("ppo.py", "linear", "P2 detail 20"),
    microTokens: microTokens(),
    decodeBatch: integer(64, {
      doc: "Responses decoded side by side; sets memory and speed",
      unit: "episodes",
      from: "ppo.py",
      min: 1,
    }),
    temperature: number(0.7, {
      doc: "Of sampling and of all log-probabilities, the reference's too",
      from: "ppo.py",
      above: 0,
    }),
    topK: integer(0, { doc: "Sample from the so many likeliest tokens; 0 = off", from: "ppo.py", min: 0 }),
    topP: number(1, {
      doc: "Sample from the likeliest tokens of this total probability; 1 = off",
      from: "ppo.py",
      above: 0,
      max: 1,
    }),
    responseLength: integer(53, {
      doc: "Longest response, <|endoftext|> included",
      unit: "tokens",
      from: "ppo.py; P1 has 48",
      min: 2,
    }),
    klCoef: number(0.05, { doc: "β, price of a nat of KL", unit: "per nat", from: "ppo.py, P1 B.1", min: 0 }),
    klController: choice(["fixed", "adaptive"], "fixed", {
      doc: "Whether β stays or is steered to klTarget",
      from: "ppo.py",
    }),
    klTarget: number(6, {
      doc: "KL that the adaptive controller aims for",
      unit: "nats a response",
      from: "Ziegler et al. 2019",
      above: 0,
    }),
    klHorizon: number(10_000, {
      doc: "Episodes over which the adaptive controller corrects",
      unit: "episodes",
      from: "Ziegler et al. 2019",
      above: 0,
    }),
    klEstimator: choice(["k1", "k2", "k3"], "k1", {
      doc: "Estimate of the KL that is charged; all three are logged",
      from: "ppo.py",
    }),
    missingEos: choice(["replace", "subtract", "none"], "replace", {
      doc: "The penalty's negative is the score of a response without <|endoftext|>, or is added to it",
      from: "P2 detail 23; TRL subtracts",
    }),
    missingEosPenalty: number(1, { doc: "The penalty of missingEos", unit: "points", from: "P2 detail 23" }),
    scoreSlot: choice(["after", "last"], "after", {
      doc: "The score is paid one slot after the last token, or at it",
      from: "ppo.py",
    }),
    gamma: number(1, { doc: "γ, discount a token", from: "ppo.py", min: 0, max: 1 }),
    lambda: number(0.95, { doc: "λ of generalised advantage estimation", from: "ppo.py", min: 0, max: 1 }),
    whitenRewards: boolean(false, { doc: "Rewards to unit variance, mean kept", from: "P2 detail 24" }),
    whitenAdvantages: boolean(true, {
      doc: "Advantages to mean 0 and unit variance over the batch",
      from: "P2 detail 25",
    }),
    clipRange: number(0.2, { doc: "ε of the policy's ratio", from: "ppo.py", above: 0 }),
    dualClip: number(0, {
      doc: "c of dual-clip PPO, above 1; 0 = off",
      from: "arXiv 1912.09729; ppo.py has none",
      min: 0,
    }),
    valueClipRange: number(0.2, {
      doc: "How far a value may move before it is clipped; 0 = off",
      from: "ppo.py",
      min: 0,
    }),
    valueCoef: number(0.1, { doc: "Weight of the value loss", from: "ppo.py", min: 0 }),
    lossAggregation: choice(["minibatch", "microbatch"], "minibatch", {
      doc: "Token mean over the minibatch, or mean over micro-batches of their token means",
      from: "ours; ppo.py has microbatch",
    }),
    sampleEvery: integer(220, {
      doc: "Summaries of a fixed set of posts every so many updates; 0 = never",
      unit: "updates",
      from: "ppo.py",
      min: 0,
      neutral: true,
    }),
    sampleRows: integer(16, {
      doc: "Posts in that set",
      unit: "posts",
      from: "ours",
      min: 1,
      neutral: true,
    }),
  },
  evaluate: {
    split: choice(["validation", "test"], "validation", { doc: "Posts to summarise", from: "eval" }),
    posts: integer(0, { doc: "The first so many posts; 0 = all", unit: "posts", from: "eval", min: 0 }),
    temperature: number(0.01, { doc: "Of the summaries; 0 = greedy", from: "eval; P1 has 0", min: 0 }),
    ...judgeFields,
    orders: choice(["both", "random"], "both", {
      doc: "Each pair is judged in both orders, or once in a random one",
      from: "ours; eval has random",
    }),
    bestOf: integers([8, 64], {
      doc: "N of best-of-N from the SFT policy; empty = none",
      from: "P1 G.3",
      min: 1,
    }),
    bestOfPosts: integer(256, {
      doc: "Posts for best-of-N; 0 = all that are evaluated",
      unit: "posts",
      from: "ours",
      min: 0,
    }),
    bestOfTemperature: number(0.7, { doc: "Of those samples", from: "P1 G.3", above: 0 }),
    pairs: integer(0, {
      doc: "Held-out pairs for the reward model's accuracy; 0 = all",
      unit: "pairs",
      from: "reward.py",
      min: 0,
    }),
    decodeBatch: integer(64, {
      doc: "Summaries decoded side by side; sets memory and speed",
      unit: "posts",
      from: "ours",
      min: 1,
    }),
    table: integer(24, {
      doc: "Posts in the report's table",
      unit: "posts",
      from: "ours",
      min: 0,
    }),
  },
  health: healthFields,
  checkpoints: {
    every: integer(100, {
      doc: "Optimiser steps (PPO: updates) between checkpoints; 0 = at the end of a stage only",
      unit: "steps",
      from: "ours",
      min: 0,
      neutral: true,
    }),
    minutes: number(30, {
      doc: "A checkpoint also when the last one is so old, however slow the steps; 0 = off",
      unit: "minutes",
      from: "ours",
      min: 0,
      neutral: true,
    }),
    keep: integer(2, {
      doc: "Newest checkpoints kept of each stage",
      unit: "checkpoints",
      from: "ours",
      min: 1,
      neutral: true,
    }),
  },
} as const satisfies Record<string, Fields>;

export type SectionName = Exclude<keyof typeof schema, "run">;
export type PresetName = ValueOf<typeof schema.run.preset>;

/** The configuration of a run: fields of the run itself at the top, then `preprocess`, `sft`, … with theirs. Plain JSON. */
export type Config =
  & Values<typeof schema.run>
  & { [Section in SectionName]: Values<typeof schema[Section]> };

/** Differences from some configuration, by section. */
export type Overrides =
  & Partial<Values<typeof schema.run>>
  & { [Section in SectionName]?: Partial<Values<typeof schema[Section]>> };

/** A field and where it is: "seed", "ppo.klCoef". */
export interface PlacedField {
  path: string;
  section: keyof typeof schema;
  name: string;
  field: Field;
}

/** All fields in the order of the table. */
export const configFields: readonly PlacedField[] = Object.entries(schema).flatMap(([section, fields]) =>
  Object.entries(fields as Fields).map(([name, field]) => ({
    path: section === "run" ? name : `${section}.${name}`,
    section: section as keyof typeof schema,
    name,
    field,
  }))
);

const fieldByPath = new Map(configFields.map((placed) => [placed.path, placed]));

/** The field at a path such as "ppo.klCoef", or undefined. */
export function configField(path: string): PlacedField | undefined {
  return fieldByPath.get(path);
}

/** The value of a configuration at a field's path. */
export function valueAt(config: Config, path: string): unknown {
  const { section, name } = fieldByPath.get(path)!;
  return (section === "run" ? config : config[section] as unknown as Record<string, unknown>)[name as never];
}

/** A preset's configuration. */
export function presetConfig(preset: PresetName = "spark"): Config {
  return configure(preset, {});
}

/**
 * A preset with some fields changed.
 * @throws RangeError in one sentence where a value is not one that its field takes, or fields do not go together
 */
export function configure(preset: PresetName, overrides: Overrides): Config {
  const layers = [presets[preset], overrides, { preset }] as Overrides[];
  return readConfig(layers.reduce<Record<string, unknown>>((config, layer) => {
    for (const [name, value] of Object.entries(layer)) {
      config[name] = isObject(value) ? { ...config[name] as object, ...value } : value;
    }
    return config;
  }, {}));
}

/**
 * A configuration from JSON, for instance from `run.json`; fields that are missing get the published default.
 * @param what what the message calls the whole, for instance a file's name
 * @throws RangeError in one sentence where a field is unknown, has a value it does not take, or fields do not go together
 */
export function readConfig(json: unknown, what = "the configuration"): Config {
  if (!isObject(json)) throw new RangeError(`${what} is not a JSON object of fields.`);
  const config: Record<string, unknown> = {};
  const take = (
    values: Record<string, unknown>,
    fields: Fields,
    into: Record<string, unknown>,
    at: string,
  ) => {
    for (const name of Object.keys(values)) {
      if (!Object.hasOwn(fields, name) && !(at === "" && Object.hasOwn(schema, name) && name !== "run")) {
        throw new RangeError(
          `${what} has an unknown field ${shortened(at + name)}${
            nearestOf(at + name, [...fieldByPath.keys()])
          }.`,
        );
      }
    }
    for (const [name, field] of Object.entries(fields)) {
      const value = Object.hasOwn(values, name) && values[name] !== undefined ? values[name] : field.default;
      into[name] = structuredClone(checkField(at + name, field, value));
    }
  };
  take(json, schema.run, config, "");
  for (const [section, fields] of Object.entries(schema)) {
    if (section === "run") continue;
    const values = json[section] ?? {};
    if (!isObject(values)) throw new RangeError(`${section} of ${what} is not a JSON object of fields.`);
    take(values, fields, config[section] = {}, `${section}.`);
  }
  checkTogether(config as unknown as Config);
  return config as unknown as Config;
}

/** What no single field can know. */
function checkTogether({ data, comparisons, ppo, evaluate }: Config): void {
  if (data === "demo" && comparisons !== "") {
    throw new RangeError(
      "The demo's data has its own comparisons; leave --comparisons out or name other --data.",
    );
  }
  if (["second", "local", "openai"].includes(evaluate.judge) && evaluate.judgeModel === "") {
    const what = evaluate.judge === "openai" ? "the name of the model to ask" : "the judge's model folder";
    throw new RangeError(`evaluate.judge ${evaluate.judge} needs evaluate.judgeModel, ${what}.`);
  }
  if (ppo.batch > ppo.episodes) {
    throw new RangeError(
      `ppo.batch is ${ppo.batch} but only ppo.episodes ${ppo.episodes} are to be sampled; lower the one or raise the other.`,
    );
  }
  if (ppo.batch % ppo.minibatches !== 0) {
    throw new RangeError(`ppo.minibatches ${ppo.minibatches} does not divide ppo.batch ${ppo.batch}.`);
  }
  if (ppo.dualClip !== 0 && ppo.dualClip <= 1) {
    throw new RangeError(`ppo.dualClip takes 0 (off) or a number above 1, not ${ppo.dualClip}.`);
  }
  if (evaluate.bestOf.some((n) => n > 4096)) {
    throw new RangeError(`evaluate.bestOf takes numbers up to 4096, not ${Math.max(...evaluate.bestOf)}.`);
  }
}

/** One field that is not as in the recipe. */
export interface FieldDifference {
  path: string;
  value: unknown;
  published: unknown;
}

/** The fields whose values differ from the published recipe's (or another configuration's), but for names and places. */
export function differences(config: Config, from: Config = presetConfig("spark")): FieldDifference[] {
  return configFields
    .filter(({ path }) => path !== "preset" && path !== "out")
    .map(({ path }) => ({ path, value: valueAt(config, path), published: valueAt(from, path) }))
    .filter(({ value, published }) => formatValue(value) !== formatValue(published));
}

/** The sections that a stage's result depends on, predecessors first. */
const dependsOn = {
  preprocess: ["preprocess"],
  sft: ["preprocess", "sft"],
  reward: ["preprocess", "sft", "reward"],
  ppo: ["preprocess", "sft", "reward", "ppo"],
  evaluate: ["preprocess", "sft", "reward", "ppo", "evaluate"],
} as const satisfies Record<string, readonly SectionName[]>;

/**
 * Exactly the fields that a stage's result depends on, by path: those of the stage and of its predecessors that are not neutral,
 * and the run's seed, model and data (whose contents the caller adds by digest). Its digest decides whether the stage is done.
 */
export function stageInputs(config: Config, stage: keyof typeof dependsOn): Record<string, unknown> {
  const sections: readonly string[] = ["run", ...dependsOn[stage]];
  return Object.fromEntries(
    configFields
      .filter(({ section, field }) => sections.includes(section) && !field.neutral)
      .map(({ path }) => [path, valueAt(config, path)]),
  );
}

/** Counts that follow from the configuration and the size of the data. */
export interface DerivedFields {
  sft: { rows: number; steps: number };
  reward: { pairs: number; steps: number };
  ppo: {
    updates: number;
    /** Optimiser steps. */
    steps: number;
    /** Responses in one optimiser step. */
    minibatch: number;
    /** How often each query is used, on average. */
    passes: number;
  };
}

/**
 * The derived fields. What is left of the data after the last whole batch is not used in that pass, as in the released code.
 * @param data rows of the training splits
 * @throws RangeError where the data do not fill one batch
 */
export function derivedFields(config: Config, data: { posts: number; pairs: number }): DerivedFields {
  const limit = (all: number, wanted: number) => wanted === 0 ? all : Math.min(all, wanted);
  const rows = limit(data.posts, config.sft.rows);
  const pairs = limit(data.pairs, config.reward.rows);
  if (rows < config.sft.batch || pairs < config.reward.batch) {
    const [what, has, batch] = rows < config.sft.batch
      ? ["posts", rows, "sft.batch"]
      : ["pairs", pairs, "reward.batch"];
    const remedy = has === 0 ? "check --data" : `lower --${batch}`;
    throw new RangeError(`The training split has ${has} ${what}, too few for one batch; ${remedy}.`);
  }
  const { episodes, batch, minibatches, epochs } = config.ppo;
  const updates = Math.floor(episodes / batch);
  return {
    sft: { rows, steps: Math.floor(rows / config.sft.batch) * config.sft.epochs },
    reward: { pairs, steps: Math.floor(pairs / config.reward.batch) * config.reward.epochs },
    ppo: {
      updates,
      steps: updates * epochs * minibatches,
      minibatch: batch / minibatches,
      passes: updates * batch / data.posts,
    },
  };
}
