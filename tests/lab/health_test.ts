/** What goes wrong in long runs: it is noticed, traced, told, and acted upon. */
import { assert, assertEquals, assertMatch, assertRejects } from "deno-std/assert/mod.js";
import { scale } from "../../kernels/elementwise.ts";
import { gatherRows } from "../../kernels/gather_rows.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { crossEntropy } from "../../kernels/logprob.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import { type Files, memoryFiles } from "../../lab/bytes.ts";
import { configure, type Overrides } from "../../lab/config.ts";
import { random } from "../../lab/demo/random.ts";
import { demoBaseConfig } from "../../lab/demo/pretrain.ts";
import {
  type HealthState,
  judgeHealth,
  readAlarms,
  tellAlarm,
  traceNonFinite,
  Unhealthy,
} from "../../lab/health.ts";
import { type Progress, silent } from "../../lab/progress.ts";
import { allocateQwen2, hiddenStates, initialiseQwen2, type Qwen2, tokenBatch } from "../../lab/qwen2.ts";
import type { Alarm, MetricRecord } from "../../lab/report/data.ts";
import { Stopped } from "../../lab/run.ts";
import { optimiserStep, standardNormal } from "../../lab/training.ts";
import { gpuTest } from "../kernels/testing.ts";
import { feedDamaged } from "./damage.ts";
import { fingerprint, runToy, toy, toyDataset, toyDisk } from "./toy.ts";

// ---- bounds ----

const names = [
  "objective/kl",
  "precis/length",
  "precis/eos_rate",
  "policy/entropy_avg",
  "policy/clipfrac_avg",
];

/** Judges one update after the other. @returns "update figure reaction" of every alarm */
function judged(rows: readonly (readonly number[])[], overrides: Overrides = {}): string[] {
  const config = configure("demo", overrides);
  const state: HealthState = { recent: [], raised: [] };
  return rows.flatMap((row, i) =>
    judgeHealth(config, state, Object.fromEntries(names.map((name, n) => [name, row[n]]))).map((
      { figure, reaction },
    ) => `${i + 1} ${figure} ${reaction}`)
  );
}

/** KL, length, EOS rate, entropy and clip fraction of the demo's 16 updates, as `deno task train --preset demo` gave them. */
const demo = [
  [0, 11.844, 0.984, 0.459, 0.055],
  [0.817, 14.625, 1, 0.459, 0.036],
  [1.943, 17.719, 0.969, 0.363, 0.01],
  [2.071, 18.328, 0.969, 0.348, 0.013],
  [3.272, 20, 0.922, 0.38, 0.012],
  [3.365, 19.734, 0.969, 0.311, 0.004],
  [3.198, 19.422, 0.984, 0.271, 0.003],
  [3.267, 19.938, 1, 0.245, 0.002],
  [4.637, 20.938, 0.953, 0.265, 0.004],
  [3.378, 21.266, 0.969, 0.242, 0.001],
  [3.966, 20.766, 0.984, 0.243, 0.001],
  [3.989, 21.391, 0.984, 0.235, 0],
  [4.145, 20.922, 0.969, 0.237, 0],
  [4.907, 22.234, 0.953, 0.243, 0],
  [4.263, 21.938, 0.953, 0.226, 0],
  [4.286, 22.375, 0.953, 0.23, 0],
];

Deno.test("the demo raises no alarm, nor does a run as good as the published ones", () => {
  assertEquals(judged(demo), []);
  // P1: 18 to 19 nats at β .05; P2: 30 to 45 tokens of 53, here of the demo's 32.
  const published = Array.from({ length: 200 }, (_, i) => {
    const share = i / 199;
    return [20 * share, 32 / 53 * (30 + 15 * share), 0.96, 1.2 - 0.5 * share, 0.08];
  });
  assertEquals(judged(published), []);
});

Deno.test("a run that collapses as two of four published seeds did is warned of, then rolled back", () => {
  for (const end of [50, 85]) {
    const rows = Array.from({ length: 101 }, (_, i) => [end * i / 100, 22, 0.97, 0.5, 0.1]);
    // The mean of four updates lags by one and a half.
    const at = (bound: number) => Math.floor(bound / end * 100 + 1.5) + 2;
    assertEquals(judged(rows), [
      `${at(25)} objective/kl warn`,
      `${at(45)} objective/kl rollback`,
    ]);
  }
});

Deno.test("an alarm is raised when a bound comes to be exceeded, again after it was kept, and on means alone", () => {
  const good = [5, 20, 0.97, 0.5, 0.1];
  const rows = [good, good, [5, 20, 0.5, 0.5, 0.1], ...Array(3).fill([5, 20, 0.6, 0.5, 0.1])];
  assertEquals(judged([...rows, ...Array(4).fill(good), ...Array(4).fill([5, 20, 0.3, 0.5, 0.1])]), [
    "4 precis/eos_rate warn",
    "12 precis/eos_rate warn",
  ]);
  assertEquals(judged([good, good, good, [100, 20, 0.97, 0.5, 0.1]]), ["4 objective/kl warn"]);
  assertEquals(judged([[5, 31.5, 0.97, 0.01, 0.6]]), [
    "1 precis/length warn",
    "1 policy/entropy_avg warn",
    "1 policy/clipfrac_avg warn",
  ]);
});

Deno.test("reactions are those of the configuration; what stops or rolls back goes before what warns; 0 is off", () => {
  const bad = [[100, 32, 0.1, 0, 0.9]];
  assertEquals(judged(bad, { health: { eosReaction: "stop", klMost: 0 } }), ["1 precis/eos_rate stop"]);
  assertEquals(judged(bad), ["1 objective/kl rollback"]);
  const off = { klWarn: 0, klMost: 0, lengthMost: 0, eosLeast: 0, entropyLeast: 0, clipMost: 0 };
  assertEquals(judged(bad, { health: off }), []);
});

// ---- what is kept ----

Deno.test("a thousand damaged records of alarms end in a named error, or are read as they were written", async () => {
  const files = memoryFiles({ "run/metrics.jsonl": "" });
  const run = { files, path: "run", progress: silent };
  const alarm: Alarm = {
    stage: "ppo",
    step: 12,
    figure: "objective/kl",
    sentence: "Too far.",
    reaction: "rollback",
    inputs: "d1",
    learningRateFactor: 0.5,
  };
  await tellAlarm(run, alarm);
  await tellAlarm(run, { ...alarm, step: 14, learningRateFactor: 0.25 });
  const path = "run/alarms.json";
  const sound = new TextDecoder().decode(await files.read(path));
  const whole = await readAlarms(run);
  assertEquals(whole.map(({ step }) => step), [12, 14]);
  await feedDamaged(sound, async (bytes) => {
    await files.writeAtomic(path, bytes);
    assertEquals(await readAlarms(run), whole);
  }, { names: path });
});

// ---- what is not finite ----

function small(gpu: Gpu, name = "policy"): Qwen2 {
  const shape = { ...demoBaseConfig, hiddenSize: 16, headDim: 8, queryHeads: 2, keyValueHeads: 1, layers: 3 };
  const model = allocateQwen2(gpu, { ...shape, feedForward: 24 }, name);
  initialiseQwen2(gpu, model, standardNormal(random(3)));
  model.parameters.train();
  return model;
}

/** Adds the gradients of two sequences' cross-entropy, each a micro-batch of its own. */
function pass(gpu: Gpu, model: Qwen2, through: (loss: Tensor) => Tensor = (loss) => loss): void {
  for (const tokens of [[1, 2, 3, 4], [5, 6, 7]]) {
    gpu.scope(() => {
      const batch = tokenBatch(gpu, model, [tokens], true);
      const rows = Uint32Array.from(tokens.slice(1), (_, i) => i);
      const targets = gpu.from(Uint32Array.from(tokens.slice(1)), [tokens.length - 1], "targets");
      const weights = gpu.from(new Float32Array(tokens.length - 1).fill(0.2), [tokens.length - 1], "weights");
      gpu.differentiate(() => {
        const hidden = gatherRows(gpu, hiddenStates(gpu, model, batch), rows);
        return through(crossEntropy(gpu, hidden, model.head, targets, { weights }).loss);
      });
    });
  }
}

const trace = (gpu: Gpu, model: Qwen2, inputs: Tensor[], again: () => void) =>
  traceNonFinite(gpu, [model], inputs, again);

gpuTest("the first op whose result is not finite is named, going forward", async (gpu) => {
  const model = small(gpu);
  const weight = model.parameters.get("layers.1.mlp.gateUp.weight");
  const values = (await gpu.read(weight))[0];
  // Finite weights whose products with unit-sized activations are not.
  gpu.upload(weight, values.map((x) => Math.sign(x) * 3e38));
  assertMatch(
    await trace(gpu, model, [], () => pass(gpu, model)),
    /^the first values that are not finite are [\d,]+ of 192 in layers\.1\.mlp\.gateUp \(made by kernel matmul\w*, pass 1 of the step\)$/,
  );
  model.parameters.drop();
});

gpuTest("… and going backward; AdamW leaves weights and moments as they were", async (gpu) => {
  const model = small(gpu);
  // The value stays finite, its derivative overflows.
  const overflowing = (loss: Tensor) =>
    [1e-38, 1e38, 1e38].reduce((x, factor) => scale(gpu, x, factor), loss);
  model.parameters.clearGradients();
  pass(gpu, model, overflowing);
  const weights = () => gpu.read(...model.parameters.tensors.values());
  const before = await weights();
  const norm = gpu.scope(() => optimiserStep(gpu, [model], configure("demo", {}).sft, 1, 1e-3));
  assert(!Number.isFinite((await gpu.read(norm))[0][0]));
  gpu.release(norm);
  assertEquals(await weights(), before);
  const moments = await gpu.read(...model.parameters.arenasOf("firstMoment"));
  assert(moments.flatMap((values) => Array.from(values)).every((x) => x === 0));
  assertMatch(
    await trace(gpu, model, [], () => pass(gpu, model, overflowing)),
    /\.grad \(going backward, pass 1 of the step\)$/,
  );
  model.parameters.drop();
});

gpuTest(
  "weights and inputs that are not finite to begin with are blamed before what they make so",
  async (gpu) => {
    const model = small(gpu, "critic");
    const input = gpu.hold([3], "advantages");
    gpu.upload(input, Float32Array.of(1, -Infinity, NaN));
    assertEquals(
      await trace(gpu, model, [input], () => pass(gpu, model)),
      'the first values that are not finite are 2 of 3 in the input "advantages"',
    );
    gpu.upload(model.parameters.get("layers.2.attn.norm"), Float32Array.of(NaN));
    assertEquals(
      await trace(gpu, model, [input], () => pass(gpu, model)),
      "the first values that are not finite are 1 of 16 in the weights critic's layers.2.attn.norm",
    );
    gpu.release(input);
    model.parameters.drop();
  },
);

gpuTest("where nothing is wrong the second time, that is said, and no pooled memory is kept", async (gpu) => {
  const model = small(gpu);
  pass(gpu, model);
  await gpu.finish();
  const held = gpu.memory.pooledBytesInUse;
  assertMatch(await trace(gpu, model, [], () => pass(gpu, model)), /^every tensor of the step is finite/);
  assertEquals(gpu.memory.pooledBytesInUse, held);
  model.parameters.drop();
});

// ---- a run that collapses ----

/** A learning rate at which the toy policy runs away from the SFT model at once, and bounds that notice. */
const collapsing: Overrides = {
  ...toy,
  seed: 6,
  ppo: { ...toy.ppo, episodes: 64, learningRate: 0.05, schedule: "constant", klCoef: 0 },
  health: { window: 1, klWarn: 1, klMost: 3, lengthMost: 0, eosLeast: 0, entropyLeast: 0, clipMost: 0 },
};

async function records(files: Files): Promise<MetricRecord[]> {
  const text = new TextDecoder().decode(await files.read("run/metrics.jsonl"));
  return text.trimEnd().split("\n").map((line) => JSON.parse(line)).filter(({ stage }) => stage === "ppo");
}

gpuTest(
  "a collapse is rolled back with half the learning rate, again with a quarter, then the run stops",
  async (gpu) => {
    const dataset = await toyDataset();
    const config = configure("demo", collapsing);
    const files = await toyDisk(gpu);
    const notes: string[] = [];
    const progress: Progress = { ...silent, note: (text) => void notes.push(text) };
    await runToy({ gpu, files, dataset, config, stages: ["preprocess", "sft", "reward"] });
    const seam = gpu.memory.bytes;
    const stages = ["ppo"] as const;
    const error = await assertRejects(
      () => runToy({ gpu, files, dataset, config, stages, progress }),
      Unhealthy,
    );
    assertMatch(
      error.message,
      /^ppo, update \d+: KL .*\(above --health\.klMost 3\)\. The run stops after 2 rollbacks; .* --resume --health\.klReaction warn goes on/,
    );
    const alarms = (await readAlarms({ files, path: "run" })).filter(({ reaction }) => reaction !== "warn");
    assertEquals(alarms.map(({ reaction, learningRateFactor }) => [reaction, learningRateFactor]), [
      ["rollback", 0.5],
      ["rollback", 0.25],
      ["stop", undefined],
    ]);
    for (const { sentence } of alarms) {
      assert(
        notes.some((note) => note.includes(sentence)),
        notes.join("\n"),
      );
    }

    const lines = await records(files);
    const trained = lines.filter((line) => "lr" in line);
    assertEquals(
      new Set(trained.filter((line) => line["precis/rollbacks"] === 2).map(({ lr }) => lr)),
      new Set([0.0125]),
    );
    const told = lines.filter((line) => "precis/alarm" in line).map((line) => String(line["precis/alarm"]));
    assertEquals(told.filter((text) => text.includes("Going back to")).length, 2, told.join("\n"));
    assert(told.at(-1)!.includes("The run stops"), told.join("\n"));
    assert(gpu.memory.bytes < 4 * seam + (64 << 20), "models of abandoned attempts are freed");

    // Whoever wants it all the same goes on from the last checkpoint, with the rate as it was lowered.
    const regardless = configure("demo", {
      ...collapsing,
      health: { ...collapsing.health, klReaction: "warn" },
    });
    await runToy({ gpu, files, dataset, config: regardless, stages });
    assertEquals((await records(files)).filter((line) => "lr" in line).length, 8);
  },
);

gpuTest("a run that was rolled back repeats itself to the bit, stopped in between or not", async (gpu) => {
  const dataset = await toyDataset();
  const config = configure("demo", {
    ...collapsing,
    health: { ...collapsing.health, klMost: 3, rollbackFactor: 0.001, mostRollbacks: 3 },
  });
  const whole = await toyDisk(gpu), pieces = await toyDisk(gpu);
  const stages = ["preprocess", "sft", "reward", "ppo"] as const;
  await runToy({ gpu, files: whole, dataset, config, stages });
  assert((await readAlarms({ files: whole, path: "run" })).some(({ reaction }) => reaction === "rollback"));
  for (let attempt = 0;; attempt++) {
    assert(attempt < 40);
    let left = 12 + 7 * (attempt % 5);
    try {
      await runToy({ gpu, files: pieces, dataset, config, stages, stopping: () => --left <= 0 });
      break;
    } catch (error) {
      if (!(error instanceof Stopped)) throw error;
    }
  }
  assertEquals(
    await fingerprint(pieces, { evaluated: false }),
    await fingerprint(whole, { evaluated: false }),
  );
  assertEquals(
    await readAlarms({ files: pieces, path: "run" }),
    await readAlarms({ files: whole, path: "run" }),
  );
});
