import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { attention, attentionReference } from "../../kernels/attention.ts";
import { attentionDecode, keyValueCache, storePrompt, storeStep } from "../../kernels/key_value_cache.ts";
import { packSequences, uploadPacking } from "../../kernels/packing.ts";
import { assertClose, gpuTest, normals } from "./testing.ts";

for (
  const [queryHeads, keyValueHeads, headDim, lengths] of [
    [14, 2, 64, [1, 65, 130]],
    [4, 2, 32, [17, 64, 2, 3]],
    [1, 1, 24, [130]],
    [8, 4, 8, [3, 200]],
    [2, 1, 128, [70, 5]],
  ] as const
) {
  const shape = { queryHeads, keyValueHeads, headDim }, width = (queryHeads + 2 * keyValueHeads) * headDim;
  gpuTest(
    `a prompt and two decoded tokens attend as the whole sequence does, ${queryHeads}/${keyValueHeads} heads of ${headDim}`,
    async (gpu) => {
      const B = lengths.length, steps = 2, whole = lengths.map((length) => length + steps);
      const T = whole.reduce((a, b) => a + b), data = normals(T * width, 1);
      const starts = packSequences(whole).starts;
      const row = (t: number) => data.subarray(t * width, (t + 1) * width);
      const rows = (ts: number[]) => Float32Array.from(ts.flatMap((t) => [...row(t)]));
      const results = gpu.scope(() => {
        const full = attention(
          gpu,
          gpu.from(data, [T, width], "qkv"),
          uploadPacking(gpu, packSequences(whole)),
          shape,
        );
        const cache = keyValueCache(gpu, B + 1, Math.max(...whole), shape);
        const prompts = packSequences(lengths);
        const promptRows = rows(
          lengths.flatMap((length, b) => Array.from({ length }, (_, i) => starts[b] + i)),
        );
        storePrompt(
          gpu,
          gpu.from(promptRows, [prompts.tokens, width], "prompt"),
          cache,
          uploadPacking(gpu, prompts),
          shape,
        );
        const decoded = [0, 1].map((step) => {
          const qkv = gpu.from(
            rows(lengths.map((length, b) => starts[b] + length + step)),
            [B, width],
            "step",
          );
          const valid = gpu.from(
            Uint32Array.from(lengths, (length) => length + step + 1),
            [B],
            "lengths",
          );
          storeStep(gpu, qkv, cache, valid, shape);
          return attentionDecode(gpu, qkv, cache, valid, shape);
        });
        return [full, ...decoded];
      });
      const [full, ...decoded] = await gpu.read(...results);
      const expected = attentionReference(data, whole, shape).o, heads = queryHeads * headDim;
      decoded.forEach((actual, step) => {
        const last = (from: ArrayLike<number>) =>
          lengths.flatMap((length, b) =>
            Array.from({ length: heads }, (_, i) => from[(starts[b] + length + step) * heads + i])
          );
        assertClose(actual, last(full), 1e-5, "against the device's own full attention");
        assertClose(actual, last(expected), 1e-5, "against f64");
      });
    },
  );
}

gpuTest(
  "prompts go to the rows they are given, and a step of length 0 or past the end stores nothing",
  async (gpu) => {
    const shape = { queryHeads: 1, keyValueHeads: 1, headDim: 8 };
    const cache = keyValueCache(gpu, 4, 3, shape);
    gpu.clear(cache.keys);
    gpu.clear(cache.values);
    const prompt = Float32Array.from({ length: 3 * 24 }, (_, i) => i + 1);
    storePrompt(
      gpu,
      gpu.from(prompt, [3, 24], "prompt"),
      cache,
      uploadPacking(gpu, packSequences([1, 2])),
      shape,
      1,
    );
    const step = gpu.from(new Float32Array(4 * 24).fill(500), [4, 24], "step");
    const lengths = gpu.from(Uint32Array.of(0, 4, 3, 1), [4], "lengths");
    storeStep(gpu, step, cache, lengths, shape);
    const o = attentionDecode(gpu, step, cache, lengths, shape);
    const [keys, values, out] = await gpu.read(cache.keys, cache.values, o);
    const at = (cache: Float32Array, b: number, n: number) => cache[(b * 3 + n) * 8];
    const table = (cache: Float32Array) => [0, 1, 2, 3].map((b) => [0, 1, 2].map((n) => at(cache, b, n)));
    assertEquals(table(keys), [[0, 0, 0], [9, 0, 0], [33, 57, 500], [500, 0, 0]]);
    assertEquals(table(values), [[0, 0, 0], [17, 0, 0], [41, 65, 500], [500, 0, 0]]);
    assertEquals(out.slice(0, 8), new Float32Array(8)); // length 0
  },
);

gpuTest("one sequence's cache changes no bit of another's output", async (gpu) => {
  const shape = { queryHeads: 4, keyValueHeads: 2, headDim: 16 };
  const run = (fill: number) => {
    const cache = keyValueCache(gpu, 2, 40, shape);
    const data = normals(2 * 40 * 32, 5);
    gpu.upload(cache.keys, data.map((value, i) => i < 40 * 32 ? value : fill));
    gpu.upload(cache.values, data.map((value, i) => i < 40 * 32 ? -value : fill));
    return attentionDecode(
      gpu,
      gpu.from(normals(2 * 128, 6), [2, 128], "qkv"),
      cache,
      gpu.from(Uint32Array.of(39, 40), [2], "lengths"),
      shape,
    );
  };
  const [before, after] = await gpu.read(run(0.5), run(NaN));
  assertEquals(after.slice(0, 64), before.slice(0, 64));
});

gpuTest("prompts that do not fit the cache are refused", (gpu) => {
  const shape = { queryHeads: 1, keyValueHeads: 1, headDim: 8 };
  const cache = keyValueCache(gpu, 2, 3, shape);
  const prompt = (lengths: number[], first: number) => () => {
    const batch = packSequences(lengths);
    storePrompt(gpu, gpu.empty([batch.tokens, 24], "prompt"), cache, uploadPacking(gpu, batch), shape, first);
  };
  assertThrows(prompt([4], 0), Error, "a cache of 3");
  assertThrows(prompt([1, 1], 1), Error, "a cache of 2 sequences");
});
