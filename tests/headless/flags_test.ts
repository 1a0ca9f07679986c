import { assert, assertEquals, assertStringIncludes, assertThrows } from "deno-std/assert/mod.js";
import { helpText, parseFlags, type TaskUsage } from "../../headless/flags.ts";
import { configFields, configure, presetConfig } from "../../lab/config.ts";
import { boolean, integer, text, words } from "../../lab/config_fields.ts";

const own = {
  stages: words(["sft", "reward", "ppo"], ["sft", "reward", "ppo"], { doc: "Stages to run" }),
  resume: boolean(false, { doc: "Go on where the run stopped" }),
  note: text("", { doc: "Anything", mayBeEmpty: true }),
  count: integer(1, { doc: "How many", min: -5 }),
};
const usage: TaskUsage<typeof own> = { task: "train", about: "runs the recipe.", own, fields: true };

Deno.test("flags of the task and fields of the configuration are read in all their spellings", () => {
  const flags = parseFlags(
    [
      "--stages",
      "sft,ppo",
      "--resume",
      "--ppo.klCoef",
      "0.07",
      "--sft.queryLoss=false",
      "--seed=7",
      "--count",
      "-3",
    ],
    usage,
  );
  assertEquals(flags.own, { stages: ["sft", "ppo"], resume: true, note: "", count: -3 });
  assertEquals(flags.overrides, { ppo: { klCoef: 0.07 }, sft: { queryLoss: false }, seed: 7 });
  assertEquals(flags.preset, undefined);
  assertEquals([...flags.given], ["stages", "resume", "ppo.klCoef", "sft.queryLoss", "seed", "count"]);
  assertEquals(configure("demo", flags.overrides).ppo.klCoef, 0.07);
});

Deno.test("a named preset is told apart from the default one", () => {
  assertEquals(parseFlags(["--preset", "spark"], usage).preset, "spark");
  assertEquals(parseFlags(["--preset", "spark"], usage).overrides, {});
});

Deno.test("booleans take a value beside them or stand alone, also before another flag", () => {
  const read = (...args: string[]) => parseFlags(args, usage).overrides.ppo;
  assertEquals(read("--ppo.whitenRewards", "--ppo.topK", "5"), { whitenRewards: true, topK: 5 });
  assertEquals(read("--ppo.whitenAdvantages", "false", "--ppo.topK=5"), { whitenAdvantages: false, topK: 5 });
});

Deno.test("the last of several counts, and a value may hold an equals sign", () => {
  assertEquals(parseFlags(["--note=a=b", "--count=1", "--count=2"], usage).own, {
    ...parseFlags([], usage).own,
    note: "a=b",
    count: 2,
  });
});

Deno.test("what a flag cannot mean is one sentence with the remedy", () => {
  const cases: [string[], string][] = [
    [
      ["--ppo.klCoeff", "1"],
      "deno task train has no flag --ppo.klCoeff; the nearest is --ppo.klCoef; deno task train --help lists all.",
    ],
    [
      ["--klcoef=1"],
      "deno task train has no flag --klcoef; the nearest is --ppo.klCoef; deno task train --help lists all.",
    ],
    [
      ["--stage", "sft"],
      "deno task train has no flag --stage; the nearest is --stages; deno task train --help lists all.",
    ],
    [
      ["-seed", "1"],
      "deno task train has no flag -seed; the nearest is --seed; deno task train --help lists all.",
    ],
    [
      ["--run.seed", "1"],
      "deno task train has no flag --run.seed; the nearest is --seed; deno task train --help lists all.",
    ],
    [["--__proto__", "1"], "deno task train has no flag --__proto__; deno task train --help lists all."],
    [["--ppo.klCoef"], "--ppo.klCoef needs a value, such as --ppo.klCoef 0.05."],
    [["--ppo.klCoef", "--seed", "1"], "--ppo.klCoef needs a value, such as --ppo.klCoef 0.05."],
    [["--ppo.klCoef", "lots"], '--ppo.klCoef takes a number from 0, not "lots".'],
    [["--sft.queryLoss=yes"], '--sft.queryLoss takes true or false, not "yes".'],
    [
      ["--stages", "sft,dpo"],
      '--stages takes some of sft, reward, ppo with commas between them, not ["sft","dpo"].',
    ],
    [["--preset", "big"], '--preset takes demo or spark, not "big".'],
    [["sft"], 'deno task train takes flags only, not "sft"; deno task train --help lists them.'],
  ];
  for (const [args, message] of cases) {
    assertEquals(assertThrows(() => parseFlags(args, usage), RangeError).message, message);
  }
});

Deno.test("other arguments are given back where the task takes them", () => {
  const flags = parseFlags(["a", "--count", "2", "--", "--b"], { ...usage, rest: "[POST …]" });
  assertEquals(flags.rest, ["a", "--b"]);
});

Deno.test("--help wins over mistakes beside it", () => {
  assert(parseFlags(["--nonsense", "-h"], usage).help);
  assert(parseFlags(["--ppo.klCoef", "--help"], usage).help);
  assert(!parseFlags(["--", "--help"], { ...usage, rest: "" }).help);
});

Deno.test("the help has every field with default and origin, and keeps to the width", () => {
  for (const width of [80, 110]) {
    const help = helpText(usage, { width });
    for (const { path } of configFields) assertStringIncludes(help, `--${path}`);
    for (const line of help.split("\n")) assert(line.length <= width && line === line.trimEnd(), line);
    assertStringIncludes(
      help.replace(/\s+/g, " "),
      `Peak learning rate 3e-6, demo ${presetConfig("demo").sft.learningRate} · P2 detail 9, sft.py`,
    );
  }
  assert(!helpText(usage).includes("\x1b"));
  // deno-lint-ignore no-control-regex
  assertEquals(helpText(usage, { colour: true }).replace(/\x1b\[\d+m/g, ""), helpText(usage));
});

Deno.test("a task without configuration fields has only its own flags", () => {
  const plain = { ...usage, fields: false };
  assert(!helpText(plain).includes("ppo.klCoef"));
  assertThrows(
    () => parseFlags(["--ppo.klCoef", "1"], plain),
    RangeError,
    "has no flag --ppo.klCoef; deno task",
  );
});
