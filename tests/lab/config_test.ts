import { assert, assertEquals, assertThrows } from "deno-std/assert/mod.js";
import {
  type Config,
  configFields,
  configure,
  derivedFields,
  differences,
  presetConfig,
  readConfig,
  stageInputs,
  valueAt,
} from "../../lab/config.ts";
import { checkField, nearest, parseField } from "../../lab/config_fields.ts";
import { digestOfJson } from "../../lab/bytes.ts";

Deno.test("the defaults are the published recipe's", () => {
  const { sft, reward, ppo } = presetConfig("spark");
  // arXiv 2403.17031, Tables of hyper-parameters, and the released scripts.
  assertEquals([sft.learningRate, sft.eps, sft.batch, sft.epochs, sft.schedule], [
    3e-6,
    1e-5,
    128,
    1,
    "cosine",
  ]);
  assertEquals([reward.learningRate, reward.eps, reward.batch, reward.rows], [3e-6, 1e-5, 64, 92_832]);
  assertEquals([ppo.episodes, ppo.batch, ppo.minibatches, ppo.epochs], [1_000_000, 512, 1, 4]);
  assertEquals([ppo.klCoef, ppo.gamma, ppo.lambda, ppo.clipRange, ppo.valueCoef], [0.05, 1, 0.95, 0.2, 0.1]);
  assertEquals([ppo.temperature, ppo.topK, ppo.topP, ppo.responseLength], [0.7, 0, 1, 53]);
  assertEquals([ppo.whitenRewards, ppo.whitenAdvantages, ppo.missingEos], [false, true, "replace"]);
});

Deno.test("the published counts follow: 911 SFT steps, 1,450 reward steps, 1,953 updates of four steps", () => {
  const derived = derivedFields(presetConfig(), { posts: 116_722, pairs: 92_858 });
  assertEquals([derived.sft.steps, derived.reward.steps, derived.ppo.updates], [911, 1450, 1953]);
  assertEquals(derived.ppo.steps, 7812);
  assert(Math.abs(derived.ppo.passes - 8.567) < 0.001);
});

Deno.test("data that do not fill one batch are refused with the flag to lower", () => {
  assertThrows(
    () => derivedFields(presetConfig(), { posts: 100, pairs: 10_000 }),
    RangeError,
    "The training split has 100 posts, too few for one batch; lower --sft.batch.",
  );
});

Deno.test("values are typed by their fields", () => {
  const config = presetConfig("demo");
  const schedule: "cosine" | "linear" | "constant" = config.sft.schedule;
  const queryLoss: boolean = config.sft.queryLoss;
  const bestOf: readonly number[] = config.evaluate.bestOf;
  // @ts-expect-error a choice is not any text
  const wrong: "cosine" = config.ppo.schedule;
  assertEquals([schedule, queryLoss, bestOf, wrong], ["cosine", true, [8], "linear"]);
});

Deno.test("a configuration survives JSON, and what is missing gets its default", () => {
  for (const preset of ["demo", "spark"] as const) {
    const config = configure(preset, { seed: 7, ppo: { klCoef: 0.07 }, evaluate: { bestOf: [] } });
    assertEquals(readConfig(JSON.parse(JSON.stringify(config))), config);
  }
  assertEquals(readConfig({}), presetConfig("spark"));
  assertEquals(readConfig({ ppo: { klCoef: 0.1 } }).ppo.batch, 512);
});

Deno.test("changing one configuration leaves the defaults alone", () => {
  const config = presetConfig("spark");
  (config.evaluate.bestOf as number[]).push(64);
  config.ppo.klCoef = 1;
  assertEquals([presetConfig("spark").evaluate.bestOf, presetConfig("spark").ppo.klCoef], [[8, 64], 0.05]);
});

Deno.test("every field's default passes its own check, has one line of documentation and an origin", () => {
  for (const { path, field } of configFields) {
    checkField(path, field, field.default);
    assert(
      field.doc.length > 5 && field.doc.length <= 90 && !/[.\n]$/.test(field.doc),
      `${path}: ${field.doc}`,
    );
    assert(field.from, path);
  }
  assertEquals(new Set(configFields.map(({ path }) => path)).size, configFields.length);
});

Deno.test("JSON with unknown or ill-typed fields is refused in a sentence that helps", () => {
  const cases: [unknown, string][] = [
    [{ ppo: { klcoef: 1 } }, "run.json has an unknown field ppo.klcoef; the nearest is ppo.klCoef."],
    [{ sead: 1 }, "run.json has an unknown field sead; the nearest is seed."],
    [{ run: {} }, "run.json has an unknown field run."],
    [JSON.parse('{"__proto__": {"seed": 1}}'), "run.json has an unknown field __proto__."],
    [{ ppo: { toString: 1 } }, "run.json has an unknown field ppo.toString."],
    [{ sft: 3 }, "sft of run.json is not a JSON object of fields."],
    [[], "run.json is not a JSON object of fields."],
    [{ seed: "1" }, 'seed takes a whole number from 0 to 4294967295, not "1".'],
    [{ ppo: { gamma: 1.5 } }, "ppo.gamma takes a number from 0 to 1, not 1.5."],
    [{ ppo: { gamma: null } }, "ppo.gamma takes a number from 0 to 1, not null."],
    [{ sft: { beta1: 1 } }, "sft.beta1 takes a number from 0 and below 1, not 1."],
    [{ sft: { eps: 0 } }, "sft.eps takes a number above 0, not 0."],
    [{ sft: { batch: 1.5 } }, "sft.batch takes a whole number from 1, not 1.5."],
    [{ sft: { schedule: "cos" } }, 'sft.schedule takes cosine, linear or constant, not "cos".'],
    [{ out: "" }, 'out takes text that is not empty, not "".'],
    [
      { evaluate: { bestOf: [8, 8] } },
      "evaluate.bestOf takes whole numbers from 1 with commas between them, not [8,8].",
    ],
  ];
  for (const [json, message] of cases) {
    const error = assertThrows(() => readConfig(json, "run.json"), RangeError);
    assertEquals(error.message, message);
  }
});

Deno.test("fields that do not go together are refused", () => {
  assertThrows(() => configure("spark", { ppo: { episodes: 100 } }), RangeError, "ppo.batch is 512 but only");
  assertThrows(
    () => configure("spark", { ppo: { minibatches: 3 } }),
    RangeError,
    "3 does not divide ppo.batch 512",
  );
  assertThrows(
    () => configure("spark", { ppo: { dualClip: 0.5 } }),
    RangeError,
    "0 (off) or a number above 1",
  );
  assertThrows(() => configure("demo", { comparisons: "x/y" }), RangeError, "leave --comparisons out");
});

Deno.test("a stage's inputs are the fields that change its result, and no others", async () => {
  const stages = ["preprocess", "sft", "reward", "ppo", "evaluate"] as const;
  const digests = (config: Config) =>
    Promise.all(stages.map((stage) => digestOfJson(stageInputs(config, stage))));
  const base = presetConfig("demo");
  const before = await digests(base);
  const firstChanged = async (change: (config: Config) => void) => {
    const config = structuredClone(base);
    change(config);
    const after = await digests(config);
    const changed = stages.filter((_, i) => after[i] !== before[i]);
    assertEquals(
      changed,
      stages.slice(stages.length - changed.length),
      "a later stage forgot its predecessor",
    );
    return changed[0];
  };
  assertEquals(await firstChanged((c) => c.seed++), "preprocess");
  assertEquals(await firstChanged((c) => c.model = "other"), "preprocess");
  assertEquals(await firstChanged((c) => c.preprocess.queryTokens = 64), "preprocess");
  assertEquals(await firstChanged((c) => c.sft.queryLoss = false), "sft");
  assertEquals(await firstChanged((c) => c.reward.headScale = 0), "reward");
  assertEquals(await firstChanged((c) => c.ppo.klCoef = 0.07), "ppo");
  assertEquals(await firstChanged((c) => c.evaluate.posts = 3), "evaluate");
  assertEquals(await firstChanged((c) => c.out = "elsewhere"), undefined);
  assertEquals(await firstChanged((c) => c.gpu = "dawn"), undefined);
  assertEquals(await firstChanged((c) => c.sft.evalEvery = 1), undefined);
  assertEquals(await firstChanged((c) => c.checkpoints.keep = 9), undefined);
});

Deno.test("differences name what is not as published", () => {
  assertEquals(differences(configure("spark", { out: "x", ppo: { klCoef: 0.07 } })), [
    { path: "ppo.klCoef", value: 0.07, published: 0.05 },
  ]);
  const demo = differences(presetConfig("demo"));
  assert(demo.some(({ path }) => path === "model"));
  for (const { path, value } of demo) assertEquals(valueAt(presetConfig("demo"), path), value);
});

Deno.test("numbers are read as people write them, and nothing else is a number", () => {
  const { field } = configFields.find(({ path }) => path === "ppo.episodes")!;
  assertEquals(
    ["1000000", "1e6", "1_000_000", "+1000000.", " 1000000 "].map((t) => parseField("x", field, t)),
    [
      1e6,
      1e6,
      1e6,
      1e6,
      1e6,
    ],
  );
  for (const bad of ["", " ", "1,5", "0x10", "1e", "NaN", "Infinity", "1e999", "--", "1_", "١"]) {
    assertThrows(() => parseField("x", field, bad), RangeError, "x takes a whole number from 1, not");
  }
});

Deno.test("the nearest name is found by edit distance, in any section, or not at all", () => {
  const paths = configFields.map(({ path }) => path);
  assertEquals(nearest("ppo.klCoeff", paths), ["ppo.klCoef"]);
  assertEquals(nearest("klCoef", paths), ["ppo.klCoef"]);
  assertEquals(nearest("learning-rate", paths), [
    "sft.learningRate",
    "reward.learningRate",
    "ppo.learningRate",
  ]);
  assertEquals(nearest("rl.klCoef", paths), ["ppo.klCoef"]);
  assertEquals(nearest("xyzzyplugh", paths), []);
  assertEquals(nearest("é".repeat(100_000), paths), []);
});
