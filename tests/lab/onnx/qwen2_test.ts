import { assert, assertEquals } from "deno-std/assert/mod.js";
import { diskFiles } from "../../../headless/files.ts";
import type { Gpu } from "../../../kernels/gpu.ts";
import { memoryFiles } from "../../../lab/bytes.ts";
import { openCheckpoint } from "../../../lab/checkpoint_files.ts";
import { type OnnxOptions, writeOnnx } from "../../../lab/onnx/write.ts";
import { hiddenStates, loadQwen2, readByName, readQwen2Config, tokenBatch } from "../../../lab/qwen2.ts";
import { sequenceScores } from "../../../lab/scoring.ts";
import { gpuTest, uniforms } from "../../kernels/testing.ts";
import { goldenPath } from "../golden.ts";
import { decode, emptyCache, integers, openSession } from "./runtime.ts";

const demoBase = decodeURIComponent(new URL("../../../public/demo/base", import.meta.url).pathname);
const disk = diskFiles();

/** Exports a model folder into memory and opens it. */
async function exported(folder: string, options: OnnxOptions) {
  const files = memoryFiles();
  const config = await readQwen2Config(disk, folder);
  const written = await writeOnnx(files, "", config, await openCheckpoint(disk, folder), options);
  return { written, session: await openSession(files, "", written.file) };
}

/** Our logits of every token of every sequence, product with the head in f64. */
async function ourLogits(gpu: Gpu, folder: string, sequences: number[][]): Promise<Float64Array[][]> {
  const model = await loadQwen2(gpu, disk, folder, "model");
  const states = gpu.scope(() => hiddenStates(gpu, model, tokenBatch(gpu, model, sequences)));
  const [hidden] = await gpu.read(states);
  gpu.release(states);
  const { tiedHead, hiddenSize: D, vocabulary: V } = model.config;
  const head = await readByName(gpu, model, tiedHead ? "model.embed_tokens.weight" : "lm_head.weight");
  model.parameters.drop();
  let row = 0;
  return sequences.map((sequence) =>
    sequence.map(() => {
      const logits = new Float64Array(V);
      for (let v = 0; v < V; v++) {
        for (let d = 0; d < D; d++) logits[v] += hidden[row * D + d] * head[v * D + d];
      }
      row++;
      return logits;
    })
  );
}

function randomSequences(vocabulary: number, lengths: number[], seed: number): number[][] {
  const next = uniforms(seed);
  return lengths.map((length) => Array.from({ length }, () => Math.floor(next() * vocabulary)));
}

/** Padded on the left, as policies are. */
function padded(sequences: number[][]): { ids: number[][]; mask: number[][]; length: number } {
  const length = Math.max(...sequences.map((sequence) => sequence.length));
  const zeros = (sequence: number[]) => Array.from({ length: length - sequence.length }, () => 0);
  return {
    ids: sequences.map((sequence) => [...zeros(sequence), ...sequence]),
    mask: sequences.map((sequence) => [...zeros(sequence), ...sequence.map(() => 1)]),
    length,
  };
}

/** The largest difference of two lists of logits. NaN counts as infinitely large. */
function farthest(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  assertEquals(actual.length, expected.length);
  let most = 0;
  for (let i = 0; i < actual.length; i++) {
    const off = Math.abs(actual[i] - expected[i]);
    if (!(off <= most)) most = Number.isNaN(off) ? Infinity : off;
  }
  return most;
}

for (
  const [title, folder, type, tolerance] of [
    ["the demo's base model in f32", demoBase, "f32", 1e-3],
    ["the demo's base model in f16", demoBase, "f16", 0.05],
    ["a tied model with seven query heads to a key head", goldenPath("qwen2_tied"), "f32", 1e-3],
    ["an untied model in f16 shards", goldenPath("qwen2_untied"), "f32", 1e-3],
  ] as const
) {
  gpuTest(`onnxruntime gives our logits of ${title}: whole, token by token, and padded`, async (gpu) => {
    const { session } = await exported(folder, { type });
    const V = (await readQwen2Config(disk, folder)).vocabulary;
    const sequences = randomSequences(V, [19, 12], 5);
    const ours = await ourLogits(gpu, folder, sequences);
    const { ids, mask, length } = padded(sequences);

    const whole = await decode(session, ids, mask, emptyCache(session, 2));
    assertEquals(whole.dims, [2, length, V]);
    const rowOf = (logits: Float32Array, b: number, t: number, rows: number) =>
      logits.subarray((b * rows + t) * V, (b * rows + t + 1) * V);
    sequences.forEach((sequence, b) => {
      for (let t = 0; t < sequence.length; t++) {
        const row = rowOf(whole.logits, b, length - sequence.length + t, length);
        const off = farthest(row, ours[b][t]);
        assert(off < tolerance, `sequence ${b}, token ${t}: logits differ by ${off}`);
      }
    });

    // A prompt of ten, then three at once, then one by one.
    let cache = emptyCache(session, 2);
    for (
      const [from, to] of [
        [0, 10],
        [10, 13],
        ...Array.from({ length: length - 13 }, (_, i) => [13 + i, 14 + i]),
      ]
    ) {
      const step = await decode(
        session,
        ids.map((row) => row.slice(from, to)),
        mask.map((row) => row.slice(0, to)),
        cache,
        1,
      );
      cache = step.cache;
      assertEquals(step.dims, [2, 1, V]);
      sequences.forEach((sequence, b) => {
        const t = to - 1 - (length - sequence.length);
        if (t < 0) return;
        const off = farthest(rowOf(step.logits, b, 0, 1), ours[b][t]);
        assert(off < tolerance, `sequence ${b}, token ${t} over the cache: logits differ by ${off}`);
      });
    }
    await session.release();
  });
}

gpuTest("only the last logits are made where only they are asked for", async () => {
  const { session } = await exported(demoBase, { type: "f32" });
  const ids = randomSequences(768, [9, 9], 2), mask = ids.map((row) => row.map(() => 1));
  const all = await decode(session, ids, mask, emptyCache(session, 2), 0);
  const two = await decode(session, ids, mask, emptyCache(session, 2), 2);
  assertEquals(two.dims, [2, 2, 768]);
  for (const b of [0, 1]) {
    assert(
      farthest(
        two.logits.subarray(b * 1536, (b + 1) * 1536),
        all.logits.subarray((b * 9 + 7) * 768, (b * 9 + 9) * 768),
      ) < 1e-5,
    );
  }
  const more = await decode(session, ids, mask, emptyCache(session, 2), 50);
  assertEquals(more.dims, [2, 9, 768]);
  await session.release();
});

Deno.test("weights in files beside the graph are the same weights", async () => {
  const ids = randomSequences(768, [7], 3), mask = [ids[0].map(() => 1)];
  const logits = [];
  for (const options of [{}, { mostInline: 1000, mostPerFile: 300_000 }]) {
    const { written, session } = await exported(demoBase, { type: "f32", ...options });
    assertEquals(written.bytes, 197_440 * 4);
    const beside = ["", "_1", "_2", "_3"].map((end) => `model.onnx_data${end}`);
    assertEquals(written.dataFiles, logits.length === 0 ? [] : beside);
    logits.push((await decode(session, ids, mask, emptyCache(session, 1))).logits);
    await session.release();
  }
  assertEquals(logits[0], logits[1]);
});

for (const [type, tolerance] of [["f32", 1e-4], ["f16", 0.02]] as const) {
  gpuTest(`a reward model's graph gives our scores in ${type}, padded on either side`, async (gpu) => {
    const folder = goldenPath("qwen2_reward");
    const model = await loadQwen2(gpu, disk, folder, "reward");
    gpu.upload(model.score!.bias, Float32Array.of(0.5));
    model.score!.offset = -1.25;
    const sequences = randomSequences(model.config.vocabulary, [5, 17, 11], 7);
    const ours = await sequenceScores(gpu, model, sequences, 4096);
    model.parameters.drop();

    const { session } = await exported(folder, { type, scoreConstant: 0.5 + 1.25 });
    const left = padded(sequences);
    const flipped = padded(sequences.map((sequence) => sequence.toReversed()));
    const right = {
      ids: flipped.ids.map((row) => row.toReversed()),
      mask: flipped.mask.map((row) => row.toReversed()),
    };
    for (const { ids, mask } of [left, right]) {
      const dims = [ids.length, ids[0].length];
      const { logits } = await session.run({
        input_ids: integers(ids.flat(), dims),
        attention_mask: integers(mask.flat(), dims),
      });
      assertEquals(logits.dims, [3, 1]);
      const off = farthest(logits.data as Float32Array, ours);
      assert(off < tolerance, `scores differ by ${off}: ${logits.data} against ${ours}`);
    }
    await session.release();
  });
}
