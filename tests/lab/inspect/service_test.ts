import { assert, assertAlmostEquals, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { diskFiles } from "../../../headless/files.ts";
import { heatMapReference } from "../../../kernels/heat_map.ts";
import { histogramReference } from "../../../kernels/histogram.ts";
import { attentionMapReference, thumbnailReference } from "../../../kernels/attention_map.ts";
import { matrixOf } from "../../../kernels/matrix.ts";
import { countsOf, marginalsOf, overviewOf, valuesOf } from "../../../lab/inspect/look.ts";
import { mostValues } from "../../../lab/inspect/types.ts";
import { rowMeasures, rowOrder } from "../../../lab/inspect/order.ts";
import { inspectService } from "../../../lab/inspect/service.ts";
import { findTensor, NoSuchTensor, parameterEntries } from "../../../lab/inspect/tensors.ts";
import { allocateQwen2, loadQwen2, readByName, readQwen2Config, ropeShape } from "../../../lab/qwen2.ts";
import { generate } from "../../../lab/generate.ts";
import { scores } from "../../../lab/scoring.ts";
import { rate } from "../../../lab/writing.ts";
import { assertClose, gpuTest, normals } from "../../kernels/testing.ts";
import { goldenFolder, publicFolder, testBench } from "./bench.ts";

const ids = [300, 400, 500, 600, 700, 310, 320, 330, 340, 350, 360, 370];

gpuTest(
  "a model's tensors are listed by our names and the published ones, and found by either",
  async (gpu) => {
    const bench = testBench(gpu), inspect = inspectService(bench);
    const list = await inspect.tensors("base");
    const { model } = await bench.open("base");
    const { vocabulary, hiddenSize: D, layers, queryHeads, keyValueHeads, headDim } = model.config;
    assertEquals(list.length, 2 + 7 * layers);
    const elements = list.reduce((sum, { rows, columns }) => sum + rows * columns, 0);
    assertEquals(elements, [...model.parameters.tensors.values()].reduce((sum, { size }) => sum + size, 0));
    const embedding = list.find(({ name }) => name === "embedding")!;
    assertEquals([embedding.id, embedding.rows, embedding.columns, embedding.rowMeaning], [
      "base#weights/embedding",
      vocabulary,
      D,
      "tokens",
    ]);
    const queries = queryHeads * headDim, keys = keyValueHeads * headDim;
    const qkv = list.find(({ name }) => name === "layers.1.attn.qkv.weight")!;
    assertEquals(qkv.published.map(({ name, row, rows }) => [name.split(".").at(-2), row, rows]), [
      ["q_proj", 0, queries],
      ["k_proj", queries, keys],
      ["v_proj", queries + keys, keys],
    ]);
    for (
      const name of [
        "model.layers.1.self_attn.k_proj.weight",
        "model.layers.0.self_attn.v_proj.bias",
        "model.norm.weight",
        "model.embed_tokens.weight",
      ]
    ) {
      const found = await inspect.tensor(`base#weights/${name}`);
      const { values } = await inspect.values(found.id, {
        row0: 0,
        row1: Math.min(4, found.rows),
        column0: 0,
        column1: found.columns,
      });
      assertEquals(
        [...values],
        [...await readByName(gpu, model, name, "value", { to: values.length })],
        name,
      );
    }
    await assertRejects(
      () => inspect.tensor("base#weights/nothing"),
      NoSuchTensor,
      "embedding, layers.0.attn.norm",
    );
    await assertRejects(
      () => inspect.tensor("base#gradients/embedding"),
      NoSuchTensor,
      "begin with weights/",
    );
    await assertRejects(
      () => inspect.tensor("base#firstMoment/embedding"),
      NoSuchTensor,
      "a run's checkpoints have",
    );
    await assertRejects(() => inspect.tensor("capture 9#embed"), NoSuchTensor, "no capture 9");
    await bench.close("base");
  },
);

gpuTest("overview, histogram, marginals and values of a table are those of its numbers", async (gpu) => {
  const bench = testBench(gpu), inspect = inspectService(bench);
  const { model } = await bench.open("base");
  const id = "base#weights/embedding";
  const { rows, columns } = await inspect.tensor(id);
  const x = Float32Array.from(await readByName(gpu, model, "model.embed_tokens.weight"));
  const all = await inspect.overview(id, null, 20, 33);
  assertEquals([all.width, all.height, all.rect.row1, all.rect.column1], [20, 33, rows, columns]);
  assertEquals([all.rowStarts[33], all.columnStarts[20]], [rows, columns]);
  const expected = heatMapReference(x, columns, all.rowStarts, all.columnStarts);
  assertEquals(all.extreme, expected.extreme);
  assertClose(all.mean, Array.from(expected.sum, (sum, i) => sum / expected.finite[i]), 1e-5, "mean");
  assertClose(
    all.rms,
    Array.from(expected.squares, (sum, i) => Math.sqrt(sum / expected.finite[i])),
    1e-5,
    "rms",
  );
  assertEquals([all.cost.bytes, all.cost.gpuMilliseconds! > 0], [4 * rows * columns, gpu.facts.timestamps]);

  const near = await inspect.overview(id, { row0: 100.5, row1: 104.5, column0: 2.2, column1: 6.9 }, 800, 600);
  assertEquals([near.width, near.height], [5, 5]);
  const { values } = await inspect.values(id, near.rect);
  assertEquals(near.extreme, values);

  const histogram = await inspect.histogram(id);
  const counted = histogramReference(x);
  assertEquals([histogram.positive, histogram.negative], [counted.positive, counted.negative]);
  assertEquals([histogram.min, histogram.max, histogram.finite, histogram.firstNonFinite], [
    counted.min,
    counted.max,
    x.length,
    undefined,
  ]);
  const sorted = Float32Array.from(x).sort();
  for (const { q, low, high } of histogram.quantiles) {
    const truth = sorted[Math.ceil(q * x.length) - 1];
    assert(low <= truth && truth <= high, `quantile ${q}: ${low} ≤ ${truth} ≤ ${high}`);
  }

  for (const axis of ["rows", "columns"] as const) {
    const { norm, mean, largest } = await inspect.marginals(id, axis);
    const lines = Array.from(
      { length: axis === "rows" ? rows : columns },
      (_, i) =>
        axis === "rows"
          ? x.subarray(i * columns, (i + 1) * columns)
          : Float32Array.from({ length: rows }, (_, row) => x[row * columns + i]),
    );
    assertClose(norm, lines.map((line) => Math.sqrt(line.reduce((sum, v) => sum + v * v, 0))), 1e-5, "norm");
    assertClose(mean, lines.map((line) => line.reduce((sum, v) => sum + v, 0) / line.length), 1e-4, "mean");
    assertEquals([...largest], lines.map((line) => line.reduce((most, v) => Math.max(most, Math.abs(v)), 0)));
  }
  // Through an order, the same numbers from other rows.
  const order = rowOrder(rowMeasures(await inspect.marginals(id, "rows"), columns, "absolute"));
  const most = (row: number) =>
    x.subarray(row * columns, (row + 1) * columns).reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  assertEquals([...order], Array.from(order, (_, row) => row).sort((a, b) => most(b) - most(a) || a - b));
  const top = await inspect.overview(
    id,
    { row0: 3.5, row1: 9, column0: 0, column1: columns },
    999,
    999,
    order.slice(3, 9),
  );
  assertEquals([top.width, top.height], [columns, 6]);
  for (const [place, row] of order.slice(3, 9).entries()) {
    assertEquals(
      top.extreme.slice(place * columns, (place + 1) * columns),
      x.slice(row * columns, (row + 1) * columns),
    );
  }
  await assertRejects(
    () => inspect.overview(id, { row0: rows, row1: rows + 9, column0: 0, column1: 1 }, 9, 9),
    RangeError,
    "are not in a matrix",
  );
  await bench.close("base");
});

gpuTest("rows of the table are told as tokens, and tokens are found by their text", async (gpu) => {
  const bench = testBench(gpu), inspect = inspectService(bench);
  const { tokenizer } = await bench.open("base");
  const speaker = await tokenizer();
  const [id] = speaker.encode(" the");
  assertEquals(await inspect.labels("base#weights/embedding", "rows", [id]), [" the"]);
  assertEquals(await inspect.labels("base#weights/embedding", "columns", [3]), ["3"]);
  const found = await inspect.findTokens("base", "the");
  assert(found.slice(0, 2).some((token) => token.id === id));
  assert(found.every(({ text }) => text.toLowerCase().includes("the")));
  await bench.close("base");
});

gpuTest("a capture keeps activations, cache and attention of a text until it is released", async (gpu) => {
  const bench = testBench(gpu), inspect = inspectService(bench);
  const { model } = await bench.open("base");
  const { layers, queryHeads: heads, keyValueHeads, headDim } = model.config, T = ids.length;
  const before = gpu.memory.pooledBytesInUse;
  const capture = await inspect.capture({
    place: "base",
    text: { kind: "ids", ids, response: 5 },
    cache: true,
    queryLoss: false,
  });
  assertEquals(capture.tensors.map(({ name }) => name).filter((name) => name.startsWith("layers.0")), [
    "layers.0.attn.qkv",
    "layers.0.mlp.out",
  ]);
  const rated = await rate(
    gpu,
    model,
    ids.slice(0, 5),
    ids.slice(5),
    (await (await bench.open("base")).tokenizer()).padId,
  );
  assertAlmostEquals(
    capture.loss!,
    -rated.reduce((sum, { logprob }) => sum + logprob, 0) / rated.length,
    1e-4,
  );
  assertEquals([capture.tokens.length, capture.response, capture.lossFrom, capture.flow], [
    T,
    5,
    5,
    undefined,
  ]);

  const shape = ropeShape(model.config), width = (heads + 2 * keyValueHeads) * headDim;
  const thumbnails = await inspect.attentionThumbnails(capture.id);
  assertEquals([thumbnails.layers, thumbnails.heads, thumbnails.edge], [layers, heads, T]);
  for (const [layer, head] of [[0, 0], [layers - 1, heads - 1]]) {
    const qkv = await inspect.values(`${capture.id}#layers.${layer}.attn.qkv`, {
      row0: 0,
      row1: T,
      column0: 0,
      column1: width,
    });
    const expected = attentionMapReference(qkv.values, shape, { first: 0, tokens: T }, head);
    const { probabilities } = await inspect.attention(capture.id, layer, head);
    assertClose(probabilities, expected, 1e-5);
    const at = (layer * heads + head) * T * T;
    assertClose(thumbnails.probabilities.subarray(at, at + T * T), thumbnailReference(expected, T), 1e-5);
    const keys = await inspect.values(`${capture.id}#cache.${layer}.keys`, {
      row0: 0,
      row1: T,
      column0: 0,
      column1: 9999,
    });
    const first = heads * headDim;
    assertEquals([...keys.values.subarray(0, 4)], [...qkv.values.subarray(first, first + 4)]);
  }
  assertEquals(await inspect.labels(`${capture.id}#embed`, "rows", [2]), [capture.tokens[2].text]);
  await assertRejects(() => inspect.behind(capture.id, "embed"), NoSuchTensor, "dispatches: true");
  assertEquals(inspect.captures().map(({ id }) => id), [capture.id]);
  await inspect.release(capture.id);
  assertEquals([inspect.captures().length, gpu.memory.pooledBytesInUse], [0, before]);
  await assertRejects(() => inspect.attention(capture.id, 0, 0), NoSuchTensor, "it was released");
  await bench.close("base");
});

gpuTest("a capture of what a model writes keeps the cache that writing left", async (gpu) => {
  const bench = testBench(gpu), inspect = inspectService(bench);
  const opened = await bench.open("base"), { model } = opened, { padId } = await opened.tokenizer();
  const { queryHeads, keyValueHeads, headDim, layers } = model.config, width = keyValueHeads * headDim;
  const before = gpu.memory.pooledBytesInUse;
  const text = { kind: "ids", ids } as const, write = 6;
  const capture = await inspect.capture({ place: "base", text, write, cache: true });
  const [drawn] = await generate(gpu, model, [ids], {
    greedy: true,
    responseLength: write,
    seed: 0,
    stage: 0,
    step: 0,
    vocabulary: padId,
  });
  assertEquals(capture.tokens.map(({ id }) => id), [...ids, ...drawn.subarray(0, capture.written)]);
  assertEquals([capture.response, capture.written > 1], [ids.length, true]);
  for (const layer of [0, layers - 1]) {
    const qkv = `${capture.id}#layers.${layer}.attn.qkv`;
    for (const [i, part] of ["keys", "values"].entries()) {
      const { id, rows, columns, rowMeaning } = capture.tensors.find(({ name }) =>
        name === `cache.${layer}.${part}`
      )!;
      // The last token was never asked about.
      assertEquals([rows, columns, rowMeaning], [ids.length + capture.written - 1, width, "positions"]);
      const column0 = (queryHeads + i * keyValueHeads) * headDim;
      const { values: passed } = await inspect.values(qkv, {
        row0: 0,
        row1: rows,
        column0,
        column1: column0 + width,
      });
      const { values } = await inspect.values(id, { row0: 0, row1: rows, column0: 0, column1: width });
      // Token by token as in one pass, but for the order of sums.
      assertClose(values, passed, 1e-4, `${part} of layer ${layer}`);
      const { finite, max } = await inspect.histogram(id);
      assertEquals([finite, max], [rows * width, Math.max(...values)]);
    }
  }
  await inspect.release(capture.id);
  assertEquals(gpu.memory.pooledBytesInUse, before);
  await assertRejects(
    () => inspect.capture({ place: "base", text, write: 99999, cache: true }),
    RangeError,
    "more, not for 99999",
  );
  assertEquals(gpu.memory.pooledBytesInUse, before);
  await bench.close("base");
});

gpuTest("captures stay within their memory, and one that would not is given up whole", async (gpu) => {
  const bench = testBench(gpu), inspect = inspectService(bench, { mostBytes: 100_000 });
  await bench.open("base");
  const before = gpu.memory.pooledBytesInUse;
  const text = { kind: "ids", ids } as const;
  const error = await assertRejects(
    () => inspect.capture({ place: "base", text, patterns: ["*"] }),
    RangeError,
  );
  assert(/there is room for 97.7 KiB; ask for fewer names/.test(error.message), error.message);
  assertEquals([gpu.memory.pooledBytesInUse, gpu.captures, inspect.captures().length], [before, null, 0]);
  await assertRejects(
    () => inspect.capture({ place: "base", text: { kind: "ids", ids: [1] } }),
    RangeError,
    "two are needed",
  );
  await assertRejects(
    () => inspect.capture({ place: "base", text: { kind: "ids", ids: [1, 99999] } }),
    RangeError,
    "99999 is no id",
  );
  await bench.close("base");
});

gpuTest(
  "gradients: of activations, of weights, and how they flow; the model is as it was afterwards",
  async (gpu) => {
    const bench = testBench(gpu), inspect = inspectService(bench);
    const { model } = await bench.open("base");
    const persistent = gpu.memory.bytes;
    const capture = await inspect.capture({
      place: "base",
      text: { kind: "ids", ids },
      patterns: ["layers.1.mlp.out.grad", "weights.embedding.grad", "weights.layers.0.attn.qkv.weight.grad"],
      dispatches: true,
    });
    const names = capture.tensors.map(({ name, role }) => [name, role]);
    assertEquals(names, [
      ["layers.1.mlp.out.grad", "activation gradient"],
      ["weights.embedding.grad", "weight gradient"],
      ["weights.layers.0.attn.qkv.weight.grad", "weight gradient"],
    ]);
    assert([...model.parameters.tensors.values()].every(({ requiresGrad, grad }) => !requiresGrad && !grad));
    // The same gradients by hand, on a model of our own.
    const own = await loadQwen2(gpu, diskFiles(), `${publicFolder}/demo/base`, "own");
    own.parameters.train();
    const { crossEntropy } = await import("../../../kernels/logprob.ts");
    const { gatherRows } = await import("../../../kernels/gather_rows.ts");
    const { hiddenStates, tokenBatch } = await import("../../../lab/qwen2.ts");
    const vocabulary = (await (await bench.open("base")).tokenizer()).padId;
    gpu.scope(() => {
      const batch = tokenBatch(gpu, own, [ids], true);
      const targets = gpu.from(Uint32Array.from(ids.slice(1)), [ids.length - 1], "targets");
      gpu.differentiate(() => {
        const rows = Uint32Array.from({ length: ids.length - 1 }, (_, t) => t);
        return crossEntropy(gpu, gatherRows(gpu, hiddenStates(gpu, own, batch), rows), own.head, targets, {
          vocabulary,
        }).loss;
      });
    });
    for (const { name, id, rows, columns } of capture.tensors.slice(1)) {
      const parameter = name.replace(/^weights\.|\.grad$/g, "");
      const [expected] = await gpu.read(
        own.parameters.get(parameter === "embedding" ? "embedding.0" : parameter).grad!,
      );
      const { values } = await inspect.values(id, {
        row0: 0,
        row1: Math.min(rows, 40),
        column0: 0,
        column1: columns,
      });
      assertEquals([...values], [...expected.subarray(0, values.length)], name);
      const flow = capture.flow!.weights.find((one) => one.name === parameter)!;
      assertClose([flow.gradientNorm], [Math.sqrt(expected.reduce((sum, g) => sum + g * g, 0))], 1e-4);
      const [weights] = await gpu.read(
        own.parameters.get(parameter === "embedding" ? "embedding.0" : parameter),
      );
      assertClose([flow.weightNorm], [Math.sqrt(weights.reduce((sum, w) => sum + w * w, 0))], 1e-4);
      const { learningRate, eps } = (await (await bench.open("base")).configuration()).sft;
      const step = Math.sqrt(expected.reduce((sum, g) => sum + (g / (Math.abs(g) + eps)) ** 2, 0));
      assertClose([flow.updateRatio], [learningRate * step / flow.weightNorm], 1e-4, `update of ${name}`);
    }
    own.parameters.drop();
    const { flow } = capture;
    assertEquals(flow!.stream.map(({ name }) => name), [
      "embed",
      ...model.layers.map((_, i) => `layers.${i}.mlp.out`),
    ]);
    assert(flow!.stream.every(({ norm, rms }) => norm > 0 && rms > 0 && norm > rms));
    assertEquals(flow!.layers.map(({ name }) => name), [
      "embedding",
      ...model.layers.map((_, i) => `layers.${i}`),
      "norm",
    ]);
    const sum = (rows: { gradientNorm: number }[]) =>
      rows.reduce((total, { gradientNorm }) => total + gradientNorm ** 2, 0);
    assertClose([sum(flow!.layers)], [sum(flow!.weights)]);

    const { kernel, bindings } = (await inspect.behind(capture.id, "layers.0.attn.qkv")).dispatches.at(-1)!;
    assertEquals([kernel, bindings.find(({ access }) => access === "write")!.tensor], [
      "rope",
      "layers.0.attn.qkv",
    ]);
    const behind = await inspect.behind(capture.id, "layers.0.attn.qkv.weight.grad");
    assert(behind.dispatches[0].kernel.startsWith("matmul"), behind.dispatches[0].kernel);
    await inspect.release(capture.id);
    gpu.trim();
    assert(gpu.memory.bytes <= persistent, "gradients were left on the device");
    await bench.close("base");
  },
);

gpuTest("a recording tells what each dispatch cost, and which made what", async (gpu) => {
  const bench = testBench(gpu), inspect = inspectService(bench);
  const capture = await inspect.capture({
    place: "base",
    text: { kind: "ids", ids },
    patterns: [],
    dispatches: true,
  });
  const { dispatches, sources, peakGigabytesPerSecond } = await inspect.recording(capture.id);
  assertEquals(dispatches.length, capture.dispatches);
  assert(peakGigabytesPerSecond > 0);
  const norm = dispatches.find(({ kernel }) => kernel === "rmsnorm")!;
  const { model } = await bench.open("base");
  const size = ids.length * model.config.hiddenSize;
  assertEquals([norm.path, norm.bytesMoved, norm.bytesBy, norm.flops], [
    "layers.0",
    12 * size,
    "contract",
    4 * size,
  ]);
  assertEquals(norm.microseconds !== undefined, gpu.facts.timestamps);
  assert(sources[norm.source].includes("fn main"));
  const product = dispatches.find(({ kernel, path }) => kernel.startsWith("matmul") && path === "layers.0")!;
  assert(product.flops === 2 * product.params.M * product.params.N * product.params.K);
  const out = await inspect.behind(capture.id, "layers.1.attn.out");
  const mixed = out.dispatches.at(-1)!.bindings.find(({ tensor }) => tensor === "layers.1.attn.mixed")!;
  assert(dispatches[mixed.producer!].kernel.startsWith("attention"));
  const alone = await inspect.timeDispatch(capture.id, norm.index);
  assertEquals(alone !== undefined, gpu.facts.timestamps);
  await assertRejects(() => inspect.behind(capture.id, "nothing"), NoSuchTensor, 'wrote "nothing"');
  await inspect.release(capture.id);
  await bench.close("base");
});

gpuTest("no more than 65,536 values are handed out at once", async (gpu) => {
  const tensor = gpu.hold([257, 256], "x");
  const all = { row0: 0, row1: 257, column0: 0, column1: 256 };
  await assertRejects(
    () => valuesOf(gpu, matrixOf(tensor), all),
    RangeError,
    "257 × 256 values are asked for, and 65536",
  );
  assertEquals((await valuesOf(gpu, matrixOf(tensor), { ...all, row1: 256 })).values.length, mostValues);
  gpu.release(tensor);
});

gpuTest("tiny and huge numbers have their root mean squares, by cells, rows and altogether", async (gpu) => {
  for (const size of [1e-30, 1e30]) {
    const x = normals(50 * 40, 3, size);
    const tensor = gpu.from(x, [50, 40], "x"), matrix = matrixOf(tensor);
    const rms = Math.sqrt(x.reduce((sum, value) => sum + (value / size) ** 2, 0) / x.length);
    assertClose([(await countsOf(gpu, matrix)).rms / size], [rms]);
    const rect = { row0: 0, row1: 50, column0: 0, column1: 40 };
    assertClose([(await overviewOf(gpu, matrix, rect, 1, 1)).rms[0] / size], [rms]);
    const { norm } = await marginalsOf(gpu, matrix, "columns");
    assertClose([Math.sqrt(norm.reduce((sum, value) => sum + (value / size) ** 2, 0) / x.length)], [rms]);
    gpu.release(tensor);
  }
});

gpuTest(
  "a reward model's captures have a score, whose gradient flows; of tokens it says nothing",
  async (gpu) => {
    const bench = testBench(gpu), inspect = inspectService(bench);
    const place = "golden/qwen2_reward", text = { kind: "ids", ids: [5, 17, 3, 60, 22, 9] } as const;
    const capture = await inspect.capture({ place, text, gradients: true });
    const { model } = await bench.open(place);
    const [[expected]] = await scores(gpu, model, [{ tokens: text.ids, positions: [5] }], 100);
    assertAlmostEquals(capture.score!, expected, 1e-5);
    assertEquals([capture.loss, capture.flow!.layers.at(-1)!.name], [undefined, "score"]);
    assert(capture.flow!.stream.every(({ norm }) => norm > 0));
    assertEquals(capture.tokens[1], { id: 17, text: "[17]" });
    await assertRejects(() => inspect.logitLens(capture.id), RangeError, "says nothing of the next token");
    await assertRejects(
      () => inspect.alternatives([place], text),
      RangeError,
      "says nothing of the next token",
    );
    await assertRejects(
      () => inspect.capture({ place, text: { kind: "text", text: "Hello" } }),
      RangeError,
      "no tokenizer",
    );
    await assertRejects(() => inspect.capture({ place, text, write: 3 }), RangeError, "it writes nothing");
    await inspect.release(capture.id);
    await bench.close(place);
  },
);

gpuTest("a table in several ranges is one matrix, by our name and the published one", async (gpu) => {
  const config = {
    ...(await readQwen2Config(diskFiles(), `${goldenFolder}/qwen2_tied`)),
    vocabulary: 300_000,
    layers: 1,
  };
  const model = allocateQwen2(gpu, config, "wide");
  assertEquals(model.embedding.length, 2); // 64 MiB a range
  const all = parameterEntries(model, "wide#weights/", "weight");
  const { entry, matrix } = findTensor(all, "wide#weights/", "model.embed_tokens.weight");
  assertEquals([entry.rows, entry.shape, matrix.parts.length], [300_000, [300_000, config.hiddenSize], 2]);
  const seam = model.embedding[0].shape[0], at = seam * config.hiddenSize - 2;
  gpu.upload(model.embedding[0], Float32Array.of(3, 4), at);
  gpu.upload(model.embedding[1], Float32Array.of(-5, 6));
  const { values } = await valuesOf(gpu, matrix, {
    row0: seam - 1,
    row1: seam + 1,
    column0: 0,
    column1: config.hiddenSize,
  });
  assertEquals([...values].filter((value) => value !== 0), [3, 4, -5, 6]);
  const overview = await overviewOf(
    gpu,
    matrix,
    { row0: 0, row1: 300_000, column0: 0, column1: config.hiddenSize },
    1,
    1,
  );
  assertEquals([overview.extreme[0], overview.zeros[0]], [6, 300_000 * config.hiddenSize - 4]);
  const counts = await countsOf(gpu, matrix);
  assertEquals([counts.min, counts.max, counts.finite - counts.zeros], [-5, 6, 4]);
  model.parameters.drop();
});
