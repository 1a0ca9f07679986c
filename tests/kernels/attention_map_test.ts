import { assert, assertThrows } from "deno-std/assert/mod.js";
import {
  attentionMap,
  attentionMapReference,
  attentionThumbnails,
  thumbnailReference,
} from "../../kernels/attention_map.ts";
import { asIf, assertClose, gpuTest, normals } from "./testing.ts";

const cases = [
  { shape: { queryHeads: 1, keyValueHeads: 1, headDim: 8 }, rows: 1, first: 0, tokens: 1 },
  { shape: { queryHeads: 4, keyValueHeads: 2, headDim: 16 }, rows: 40, first: 5, tokens: 31 },
  { shape: { queryHeads: 14, keyValueHeads: 2, headDim: 64 }, rows: 101, first: 2, tokens: 99 },
];

for (const { shape, rows, first, tokens } of cases) {
  gpuTest(`attention maps of ${tokens} tokens and their thumbnails agree with f64`, async (gpu) => {
    const width = (shape.queryHeads + 2 * shape.keyValueHeads) * shape.headDim;
    const x = normals(rows * width, tokens, 1.7);
    const qkv = gpu.from(x, [rows, width], "qkv");
    const thumbnails = attentionThumbnails(gpu, qkv, shape, { first, tokens });
    const [small] = await gpu.read(thumbnails);
    gpu.release(thumbnails);
    const edge = Math.min(48, tokens);
    for (const head of [0, shape.queryHeads - 1]) {
      const expected = attentionMapReference(x, shape, { first, tokens }, head);
      for (const software of [true, false]) {
        const actual = await asIf(gpu, software, async () => {
          const map = attentionMap(gpu, qkv, shape, { first, tokens }, head);
          const [values] = await gpu.read(map);
          gpu.release(map);
          return values;
        });
        assertClose(actual, expected, 2e-5, `head ${head}`);
      }
      const own = small.subarray(head * edge * edge, (head + 1) * edge * edge);
      assertClose(own, thumbnailReference(expected, tokens), 2e-5, `thumbnail of head ${head}`);
    }
    gpu.release(qkv);
  });
}

gpuTest(
  "scores far apart neither overflow nor vanish, and a head that is not there is refused",
  async (gpu) => {
    const shape = { queryHeads: 1, keyValueHeads: 1, headDim: 4 };
    const qkv = gpu.from(normals(70 * 12, 3, 300), [70, 12], "qkv");
    const map = attentionMap(gpu, qkv, shape, { first: 0, tokens: 70 }, 0);
    const thumbnails = attentionThumbnails(gpu, qkv, shape, { first: 0, tokens: 70 });
    const [full, small] = await gpu.read(map, thumbnails);
    for (let i = 0; i < 70; i++) {
      const sum = full.subarray(i * 70, (i + 1) * 70).reduce((total, p) => total + p, 0);
      assert(Math.abs(sum - 1) < 1e-5, `row ${i} adds up to ${sum}`);
    }
    assert(small.every((p) => p >= 0 && p <= 1.00001));
    assertThrows(
      () => attentionMap(gpu, qkv, shape, { first: 0, tokens: 70 }, 1),
      Error,
      "no head 1; there are 1",
    );
    for (const tensor of [qkv, map, thumbnails]) gpu.release(tensor);
  },
);

gpuTest("thumbnails of a long text are whole", async (gpu) => {
  const shape = { queryHeads: 1, keyValueHeads: 1, headDim: 64 }, tokens = 3000;
  const x = normals(tokens * 192, 4), qkv = gpu.from(x, [tokens, 192], "qkv");
  const thumbnails = attentionThumbnails(gpu, qkv, shape, { first: 0, tokens });
  const [actual] = await gpu.read(thumbnails);
  // Of the last cell's tokens the first one and the last one, by hand.
  for (const i of [Math.ceil(47 * tokens / 48), tokens - 1]) {
    const scores = Float64Array.from({ length: i + 1 }, (_, j) => {
      let score = 0;
      for (let d = 0; d < 64; d++) score += x[i * 192 + d] * x[j * 192 + 64 + d];
      return score / 8;
    });
    const highest = scores.reduce((a, b) => Math.max(a, b));
    const sum = scores.reduce((total, score) => total + Math.exp(score - highest), 0);
    scores.forEach((score, j) => {
      const p = Math.exp(score - highest) / sum, cell = actual[47 * 48 + Math.floor(j * 48 / tokens)];
      assert(cell >= p * (1 - 1e-4), `token ${i} attends to ${j} by ${p}, but its cell says ${cell}`);
    });
  }
  for (const tensor of [qkv, thumbnails]) gpu.release(tensor);
});
