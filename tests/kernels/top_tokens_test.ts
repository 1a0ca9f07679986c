import { assert, assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { noToken, tokenOrder, tokenRanks, topTokens } from "../../kernels/top_tokens.ts";
import { fold, tensorRanges } from "./ranges.ts";
import { asIf, assertClose, gpuTest, normals, uniforms } from "./testing.ts";

/** Hidden states and head of small whole numbers: products are exact, and many logits are equal. */
function whole(count: number, seed: number): Float32Array<ArrayBuffer> {
  const next = uniforms(seed);
  return Float32Array.from({ length: count }, () => Math.floor(next() * 5) - 2);
}

function logitsOf(hidden: Float32Array, head: Float32Array, D: number, row: number): number[] {
  return Array.from({ length: head.length / D }, (_, v) => {
    let z = 0;
    for (let d = 0; d < D; d++) z += hidden[row * D + d] * head[v * D + d];
    return z;
  });
}

const cases = [
  { R: 1, V: 1, D: 4, k: 1, cuts: [], vocabulary: undefined, scratchBytes: undefined },
  { R: 3, V: 5, D: 8, k: 10, cuts: [], vocabulary: 4, scratchBytes: undefined },
  { R: 37, V: 333, D: 12, k: 10, cuts: [64, 200], vocabulary: 330, scratchBytes: 16 * 64 * 4 },
  { R: 5, V: 1000, D: 7, k: 16, cuts: [600], vocabulary: undefined, scratchBytes: undefined },
];

for (const { R, V, D, k, cuts, vocabulary, scratchBytes } of cases) {
  for (const software of [true, false]) {
    const world = software ? "for CPUs" : "for GPUs";
    gpuTest(
      `the ${k} likeliest of ${vocabulary ?? V} tokens, and ranks, are those of a sort, ${world}`,
      async (gpu) => {
        const x = whole(R * D, 1), table = whole(V * D, 2);
        const hidden = gpu.from(x, [R, D], "hidden"), head = tensorRanges(gpu, table, V, D, cuts);
        const live = vocabulary ?? V, K = Math.min(3, live), next = uniforms(3);
        const ids = Uint32Array.from({ length: R * K }, () => Math.floor(next() * live));
        const wanted = gpu.from(ids, [R, K], "wanted");
        const options = { vocabulary, scratchBytes };
        const [top, ranked] = await asIf(gpu, software, async () => {
          const top = topTokens(gpu, hidden, head, k, options);
          const ranked = tokenRanks(gpu, hidden, head, wanted, options);
          await gpu.finish();
          return [top, ranked];
        });
        const [topIds, ranks] = await gpu.readU32(top.ids, ranked.ranks);
        const [topLogits, logits] = await gpu.read(top.logits, ranked.logits);
        for (let r = 0; r < R; r++) {
          const z = logitsOf(x, fold([table]), D, r).slice(0, live);
          const order = tokenOrder(z);
          const list = topIds.subarray(r * k, (r + 1) * k);
          assertEquals([...list], Array.from({ length: k }, (_, n) => order[n] ?? noToken), `row ${r}`);
          for (let n = 0; n < Math.min(k, live); n++) assertEquals(topLogits[r * k + n], z[order[n]]);
          for (let n = 0; n < K; n++) {
            assertEquals(ranks[r * K + n], order.indexOf(ids[r * K + n]), `rank ${n} of row ${r}`);
            assertEquals(logits[r * K + n], z[ids[r * K + n]]);
          }
        }
        for (const tensor of [hidden, wanted, ...Object.values(top), ...Object.values(ranked)]) {
          gpu.release(tensor);
        }
      },
    );
  }
}

gpuTest("tokens whose logits are NaN are in no list, and more than 16 are refused", async (gpu) => {
  const table = normals(40 * 4, 1);
  table.fill(NaN, 4 * 7, 4 * 9);
  const hidden = gpu.from(normals(8, 2), [2, 4], "hidden"), head = tensorRanges(gpu, table, 40, 4);
  const top = topTokens(gpu, hidden, head, 16);
  const [ids] = await gpu.readU32(top.ids);
  assert(!ids.includes(7) && !ids.includes(8) && ids.every((id) => id < 40));
  assertThrows(() => topTokens(gpu, hidden, head, 17), Error, "1 to 16");
  const [logits] = await gpu.read(top.logits);
  assertClose(logits.subarray(0, 1), [
    Math.max(...logitsOf(normals(8, 2), table, 4, 0).filter((z) => z === z)),
  ]);
  for (const tensor of [hidden, top.ids, top.logits]) gpu.release(tensor);
});

gpuTest(
  "logits that only rise push every token down the list, over a vocabulary as long as Qwen2's",
  async (gpu) => {
    const V = 151_936, k = 16;
    const table = Float32Array.from({ length: V * 4 }, (_, i) => i % 4 === 0 ? i / 4 : 0);
    const hidden = gpu.from(Float32Array.of(1, 0, 0, 0), [1, 4], "hidden"),
      head = tensorRanges(gpu, table, V, 4);
    const wanted = gpu.from(Uint32Array.from({ length: k }, (_, n) => 9000 * n), [1, k], "wanted");
    const top = topTokens(gpu, hidden, head, k), ranked = tokenRanks(gpu, hidden, head, wanted);
    const [ids, ranks] = await gpu.readU32(top.ids, ranked.ranks);
    assertEquals([...ids], Array.from({ length: k }, (_, n) => V - 1 - n));
    assertEquals([...ranks], Array.from({ length: k }, (_, n) => V - 1 - 9000 * n));
    for (const tensor of [hidden, wanted, ...Object.values(top), ...Object.values(ranked)]) {
      gpu.release(
        tensor,
      );
    }
  },
);
