/** A checkpoint of a run, with its optimiser's state, beside the model that it was begun from. */
import { assert, assertAlmostEquals, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { diskFiles } from "../../../headless/files.ts";
import { DamagedFileError, memoryFiles } from "../../../lab/bytes.ts";
import { Workbench } from "../../../lab/workbench.ts";
import { presetConfig } from "../../../lab/config.ts";
import { entryOf, readSafetensorsHeader } from "../../../lab/safetensors.ts";
import { inspectService } from "../../../lab/inspect/service.ts";
import { assertClose, gpuTest } from "../../kernels/testing.ts";
import { publicFolder, testBench, trainedIds as ids, trainedRun } from "./bench.ts";

const rule = presetConfig("demo").sft;

gpuTest("a checkpoint's moments are looked at tensor by tensor, and its next update is told", async (gpu) => {
  const folder = await Deno.makeTempDir({ prefix: "precis-inspect-" });
  try {
    const model = await trainedRun(gpu, folder);
    const place = `${folder}/checkpoints/sft/step-000002/policy`;
    const bench = testBench(gpu), inspect = inspectService(bench);
    const list = await inspect.tensors(place);
    const weights = list.filter(({ role }) => role === "weight");
    assertEquals(list.length, 3 * weights.length);

    // The arenas by which they were saved, cut where the model's tensors lie.
    for (
      const [moment, name, ours] of [
        ["firstMoment", "layers.1.mlp.down.weight", "layers.1.mlp.down.weight"],
        ["secondMoment", "embedding", "embedding.0"],
        ["secondMoment", "norm", "norm"],
      ] as const
    ) {
      const [first] = model.parameters.arenasOf(moment);
      const { offset } = model.parameters.get(ours).allocation;
      const id = `${place}#${moment}/${name}`;
      const { rows, columns } = await inspect.tensor(id);
      const expected = await gpu.readPart(first, offset / 4, rows * columns);
      const { values } = await inspect.values(id, { row0: 0, row1: rows, column0: 0, column1: columns });
      assertEquals([...values], [...expected], id);
      assert(expected.some((value) => value !== 0));
      const { min, max, rms } = await inspect.histogram(id);
      assertEquals([min, max], [Math.min(...expected), Math.max(...expected)]);
      assertClose([rms], [Math.sqrt(expected.reduce((sum, v) => sum + v * v, 0) / expected.length)], 1e-4);
    }
    const part = await inspect.tensor(`${place}#firstMoment/model.layers.1.mlp.up_proj.weight`);
    const whole = await inspect.tensor(`${place}#firstMoment/layers.1.mlp.gateUp.weight`);
    assertEquals([2 * part.rows, part.columns], [whole.rows, whole.columns]);
    const [all, half] = [
      await inspect.values(whole.id, { row0: part.rows, row1: whole.rows, column0: 0, column1: 9 }),
      await inspect.values(part.id, { row0: 0, row1: part.rows, column0: 0, column1: 9 }),
    ];
    assertEquals(half.values, all.values);

    const { flow } = await inspect.capture({
      place,
      text: { kind: "ids", ids },
      gradients: true,
      patterns: [],
    });
    const norm = flow!.weights.find(({ name }) => name === "norm")!;
    const [m, v] = await Promise.all(
      (["firstMoment", "secondMoment"] as const).map((moment) =>
        inspect.values(`${place}#${moment}/norm`, { row0: 0, row1: 1, column0: 0, column1: 9999 })
      ),
    );
    const { beta1, beta2, eps } = (await (await bench.open(place)).configuration()).sft;
    const squares = m.values.reduce(
      (sum, first, i) =>
        sum + (first / (1 - beta1 ** 2) / (Math.sqrt(v.values[i] / (1 - beta2 ** 2)) + eps)) ** 2,
      0,
    );
    const { learningRate } = (await (await bench.open(place)).configuration()).sft;
    assertClose([norm.updateRatio * norm.weightNorm], [learningRate * Math.sqrt(squares)], 1e-4);

    const changes = await inspect.changes("base", place);
    assert(
      changes.every(({ relative, largest }) =>
        relative > 0 && largest > 0 && largest <= 3 * rule.learningRate
      ),
    );
    const persistent = gpu.memory.plan().filter(({ name }) => /Moment of/.test(name)).length;
    assert(persistent > 0 && persistent <= 4, `${persistent} moments are kept`);
    await bench.close(place);
    await inspect.tensors("base"); // whoever asks next finds the place closed
    assertEquals(gpu.memory.plan().filter(({ name }) => /Moment of/.test(name)), []);
    await bench.close("base");
    model.parameters.drop();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

gpuTest("a model that is kept with its moments is looked at as its checkpoint is", async (gpu) => {
  const folder = await Deno.makeTempDir({ prefix: "precis-inspect-" });
  try {
    const model = await trainedRun(gpu, folder), checkpoint = `${folder}/checkpoints/sft/step-000002/policy`;
    const { world } = testBench(gpu), memory = memoryFiles();
    const locate: typeof world.locate = (place) =>
      place.startsWith("kept/") ? { files: memory, folder: place } : world.locate(place);
    const bench = new Workbench({ ...world, locate, kept: { files: memory, folder: "kept" } });
    const inspect = inspectService(bench), base = await bench.open("base");
    const open = { ...base, model, training: { stage: "sft" as const, step: 2 } };
    assertEquals(await bench.keep(open, "mine"), "kept/mine");
    assertEquals((await inspect.tensors("kept/mine")).filter(({ role }) => role !== "weight"), []);
    await bench.close("kept/mine");
    await bench.keep(open, "mine", { moments: true });
    const names = (await inspect.tensors("kept/mine")).map(({ id }) => id.slice(id.indexOf("#")));
    assertEquals(
      names,
      (await inspect.tensors(checkpoint)).map(({ id }) => id.slice(id.lastIndexOf("#"))),
    );
    for (const name of names.filter((name) => /Moment\/(embedding|layers.2.attn)/.test(name))) {
      const all = { row0: 0, row1: 64, column0: 0, column1: 64 };
      const [kept, saved] = await Promise.all(
        ["kept/mine", checkpoint].map((place) => inspect.values(place + name, all)),
      );
      assertEquals(kept.values, saved.values, name);
    }
    // The next update is told alike, at the same step; the run's folder, which tells no configuration, has the published one.
    const captured = async (place: string) => {
      const { id, flow } = await inspect.capture({
        place,
        text: { kind: "ids", ids },
        gradients: true,
        patterns: [],
        queryLoss: true,
      });
      await inspect.release(id);
      const { learningRate } = (await (await bench.open(place)).configuration()).sft;
      return flow!.weights.map(({ updateRatio }) => updateRatio / learningRate);
    };
    const [kept, saved] = [await captured("kept/mine"), await captured(checkpoint)];
    assert(kept.every((ratio) => ratio > 0));
    assertClose(kept, saved, 1e-4);
    for (const place of bench.places()) await bench.close(place);
    model.parameters.drop();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

gpuTest("moments that belong to another model are refused by name", async (gpu) => {
  const folder = await Deno.makeTempDir({ prefix: "precis-inspect-" });
  try {
    for await (const { name } of Deno.readDir(`${publicFolder}/demo/base`)) {
      await Deno.copyFile(`${publicFolder}/demo/base/${name}`, `${folder}/${name}`);
    }
    const { safetensorsBytes } = await import("../../../lab/safetensors.ts");
    const plans = ["firstMoment.0", "secondMoment.0"].map((name) => ({
      name,
      dtype: "F32" as const,
      shape: [640],
    }));
    await diskFiles().writeAtomic(
      `${folder}/optimizer.safetensors`,
      safetensorsBytes(plans, () => new Float32Array(640)),
    );
    const inspect = inspectService(testBench(gpu));
    const error = await assertRejects(() => inspect.tensors(folder), DamagedFileError);
    assert(
      /optimizer.safetensors does not hold the moments of .*: "embedding.0" has no place/.test(error.message),
      error.message,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

gpuTest("weights that are not finite can be looked at, and all else refuses them", async (gpu) => {
  const folder = await Deno.makeTempDir({ prefix: "precis-inspect-" });
  try {
    for await (const { name } of Deno.readDir(`${publicFolder}/demo/base`)) {
      await Deno.copyFile(`${publicFolder}/demo/base/${name}`, `${folder}/${name}`);
    }
    const path = `${folder}/model.safetensors`, header = await readSafetensorsHeader(diskFiles(), path);
    const bytes = await Deno.readFile(path);
    const numbers = new DataView(bytes.buffer);
    const put = (name: string, element: number, value: number) =>
      numbers.setFloat32(entryOf(header, name).start + 4 * element, value, true);
    put("model.layers.0.self_attn.k_proj.weight", 130, NaN);
    put("model.layers.0.self_attn.k_proj.weight", 2, Infinity);
    put("model.layers.0.self_attn.v_proj.weight", 5, NaN);
    put("model.norm.weight", 1, -Infinity);
    await Deno.writeFile(path, bytes);

    const bench = testBench(gpu), inspect = inspectService(bench), text = { kind: "ids", ids } as const;
    const refusal = 'tensor "model.layers.0.self_attn.k_proj.weight" holds Infinity at element 2';
    await assertRejects(() => bench.open(folder), DamagedFileError, refusal);
    const opened = await inspect.open(folder);
    const { hiddenSize: D, queryHeads, headDim } = opened.config;
    assertEquals(opened.strays, [
      { name: "layers.0.attn.qkv.weight", count: 3, size: 128 * D, row: queryHeads * headDim, column: 2 },
      { name: "norm", count: 1, size: D, row: 0, column: 1 },
    ]);
    const seen = await inspect.histogram(`${folder}#weights/layers.0.attn.qkv.weight`);
    assertEquals([seen.nan, seen.plusInfinity, seen.finite], [2, 1, 128 * D - 3]);
    const { distance, nonFinite } = await inspect.rowChanges(`${folder}#weights/norm`, "base#weights/norm");
    assertEquals([distance[0], nonFinite[0]], [0, 1]);

    // Though it is open now.
    await assertRejects(() => bench.open(folder), DamagedFileError, refusal);
    for (
      const run of [
        () => inspect.capture({ place: folder, text }),
        () => inspect.alternatives(["base", folder], text),
        () => inspect.samePrompt("base", folder, text),
        () => inspect.finite(folder, text),
      ]
    ) await assertRejects(run, DamagedFileError, refusal);
    assertEquals((await inspect.open("base")).strays, []);
    for (const place of [folder, "base"]) await bench.close(place);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

gpuTest("the same prompt through two models: each one's own logprobs and greedy words", async (gpu) => {
  const bench = testBench(gpu), inspect = inspectService(bench);
  const post = {
    subreddit: "cats",
    title: "My cat",
    post: "My cat sleeps all day and eats all night. I love her.",
  };
  const text = { kind: "summary", post, summary: "The cat sleeps." } as const;
  const [a, b] = ["base", "golden/qwen2_tied"];
  await assertRejects(() => inspect.samePrompt(a, b, text), RangeError, "their tokens cannot be compared");
  const same = await inspect.samePrompt(a, a, text, 5);
  assert(same.tokens.length > 3 && same.continuations[0].length <= 5);
  for (const { logprob, entropy } of same.tokens) {
    assertEquals([logprob[0], entropy[0]], [logprob[1], entropy[1]]);
  }
  assertEquals(same.continuations[0], same.continuations[1]);
  const { tokens } = await inspect.alternatives([a], text);
  const response = tokens.slice(-same.tokens.length);
  assertEquals(response.map(({ id }) => id), same.tokens.map(({ id }) => id));
  response.forEach(({ models }, t) => assertAlmostEquals(models[0].logprob, same.tokens[t].logprob[0], 1e-4));
  // The first greedy token is the likeliest one behind the query.
  assertEquals(same.continuations[0][0].id, response[0].models[0].top[0].id);
  for (const place of [a, b]) await bench.close(place);
});

gpuTest("what is not finite is traced to the first tensor that had it, by kernel", async (gpu) => {
  const bench = testBench(gpu), inspect = inspectService(bench);
  const text = { kind: "ids", ids } as const;
  assertEquals((await inspect.finite("base", text)).first, undefined);
  const { model } = await bench.open("base");
  gpu.upload(model.layers[1].down, Float32Array.of(3e38, 3e38, 3e38, 3e38));
  gpu.upload(model.layers[1].gateUp, new Float32Array(model.layers[1].gateUp.size).fill(50));
  const { first } = await inspect.finite("base", text);
  assert(/layers\.1\.mlp\.out \(made by kernel matmul/.test(first!), first);
  assert([...model.parameters.tensors.values()].every(({ grad }) => !grad));
  await bench.close("base");
});
