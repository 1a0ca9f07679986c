/** The inspector against PyTorch and transformers: tests/oracles/inspection.py. */
import { assert, assertAlmostEquals, assertEquals } from "deno-std/assert/mod.js";
import { inspectService } from "../../../lab/inspect/service.ts";
import { gpuTest } from "../../kernels/testing.ts";
import { assertNear, goldenJson } from "../golden.ts";
import { testBench } from "./bench.ts";

interface Reading {
  ids: number[][];
  logprob: number[][];
  entropy: number[];
}

interface Golden {
  ids: number[];
  long: number[];
  k: number;
  /** [layers, heads, T, T] */
  attention: number[][][][];
  /** Of the last layer's last head over `long`. */
  thumbnail: number[][];
  /** By depth: the embedding, then each layer. */
  lens: (Reading & { next: number[]; nextRank: number[] })[];
  across: (Reading & { rankElsewhere: number[][]; logprobElsewhere: number[][] })[];
  changes: {
    tensors: Record<string, { relative: number; largest: number }>;
    rows: number[];
    distance: number[];
    cosine: number[];
  };
  flow: {
    loss: number;
    stream: number[];
    gradients: Record<string, number>;
    weights: Record<string, number>;
  };
}

const golden = await goldenJson<Golden>("inspection");
const [a, b] = ["golden/qwen2_reference", "golden/qwen2_policy"];
const text = { kind: "ids", ids: golden.ids } as const;

/** Ids by logprob may change places where two are as good as equal. */
function assertSameList(
  actual: { id: number; logprob: number }[],
  ids: number[],
  logprob: number[],
  what: string,
) {
  assertNear(actual.map((one) => one.logprob), logprob, `${what}'s logprobs`, 1e-4);
  actual.forEach(({ id }, n) => {
    const twin = ids.indexOf(id);
    assert(
      id === ids[n] || (twin >= 0 && Math.abs(logprob[twin] - logprob[n]) < 1e-5),
      `${what}: ${id} in place ${n}`,
    );
  });
}

gpuTest("attention maps and thumbnails are transformers' attentions", async (gpu) => {
  const bench = testBench(gpu), inspect = inspectService(bench);
  const capture = await inspect.capture({ place: a, text });
  for (const [layer, heads] of golden.attention.entries()) {
    for (const [head, map] of heads.entries()) {
      const { probabilities } = await inspect.attention(capture.id, layer, head);
      assertNear(probabilities, map.flat(), `layer ${layer}, head ${head}`, 1e-5);
    }
  }
  const long = await inspect.capture({ place: a, text: { kind: "ids", ids: golden.long } });
  const { probabilities, edge } = await inspect.attentionThumbnails(long.id);
  assertEquals(edge, 48);
  assertNear(probabilities.subarray(-48 * 48), golden.thumbnail.flat(), "the last thumbnail", 1e-5);
  for (const { id } of inspect.captures()) await inspect.release(id);
  await bench.close(a);
});

gpuTest("the logit lens is transformers' hidden states through norm and head", async (gpu) => {
  const bench = testBench(gpu), inspect = inspectService(bench);
  const capture = await inspect.capture({ place: a, text });
  const { depths } = await inspect.logitLens(capture.id, undefined, golden.k);
  assertEquals(depths.map(({ name }) => name), ["embed", "layers.0.mlp.out", "layers.1.mlp.out"]);
  depths.forEach(({ name, cells }, depth) => {
    const expected = golden.lens[depth];
    assertNear(cells.map(({ entropy }) => entropy), expected.entropy, `${name}'s entropies`);
    assertEquals(cells.at(-1)!.next, undefined);
    assertNear(cells.slice(0, -1).map(({ next }) => next!.logprob), expected.next, `${name}'s next`);
    assertEquals(cells.slice(0, -1).map(({ next }) => next!.rank), expected.nextRank, `${name}'s ranks`);
    for (const { position, top } of cells) {
      assertSameList(top, expected.ids[position], expected.logprob[position], `${name} at ${position}`);
    }
  });
  const some = await inspect.logitLens(capture.id, [7, 2], 3);
  assertEquals(some.positions, [2, 7]);
  assertEquals(some.depths[1].cells[1].top, depths[1].cells[7].top.slice(0, 3));
  await bench.close(a); // the weights are opened again for it
  assertEquals(
    (await inspect.logitLens(capture.id, [7], 3)).depths[1].cells[0].top,
    depths[1].cells[7].top.slice(0, 3),
  );
  await inspect.release(capture.id);
  await bench.close(a);
});

gpuTest("alternatives under two models, each with its rank under the other, are PyTorch's", async (gpu) => {
  const bench = testBench(gpu), inspect = inspectService(bench);
  const { tokens } = await inspect.alternatives([a, b], text, golden.k);
  assertEquals(tokens.map(({ id }) => id), golden.ids.slice(1));
  tokens.forEach(({ models }, t) => {
    models.forEach(({ top, entropy }, m) => {
      const expected = golden.across[m];
      assertSameList(top, expected.ids[t], expected.logprob[t], `model ${m} at ${t}`);
      assertAlmostEquals(entropy, expected.entropy[t], 1e-4);
      for (const { id, rankElsewhere, logprobElsewhere } of top) {
        const n = expected.ids[t].indexOf(id);
        assertAlmostEquals(logprobElsewhere!, expected.logprobElsewhere[t][n], 1e-4);
        assert(Math.abs(rankElsewhere! - expected.rankElsewhere[t][n]) <= 1, `rank of ${id}`);
      }
    });
  });
  assertEquals(tokens.map(({ models }) => models[0].rank), golden.lens.at(-1)!.nextRank);
  const alone = await inspect.alternatives([b], text, 3);
  assertEquals(alone.tokens[0].models[0].top[0].rankElsewhere, undefined);
  for (const place of [a, b]) await bench.close(place);
});

gpuTest("a gradient's flow is that of PyTorch's automatic differentiation", async (gpu) => {
  const bench = testBench(gpu), inspect = inspectService(bench);
  const capture = await inspect.capture({ place: a, text, patterns: [], gradients: true });
  const { loss, stream, gradients, weights } = golden.flow;
  assertAlmostEquals(capture.loss!, loss, 1e-4);
  assertNear(capture.flow!.stream.map(({ norm }) => norm), stream, "the stream");
  const entries = await inspect.tensors(a);
  for (const { name, weightNorm, gradientNorm, gradientRatio, nonFinite } of capture.flow!.weights) {
    const { published } = entries.find((one) => one.name === name)!;
    const norm = (of: Record<string, number>) => Math.hypot(...published.map((part) => of[part.name]));
    assertNear([gradientNorm, weightNorm], [norm(gradients), norm(weights)], name);
    assertAlmostEquals(gradientRatio, gradientNorm / weightNorm, 1e-6);
    assertEquals(nonFinite, 0);
  }
  await inspect.release(capture.id);
  await bench.close(a);
});

gpuTest("changes between two checkpoints, and the rows that moved most, are PyTorch's", async (gpu) => {
  const bench = testBench(gpu), inspect = inspectService(bench);
  const { tensors, rows, distance, cosine } = golden.changes;
  const published: Record<string, string> = {
    "embedding": "model.embed_tokens.weight",
    "norm": "model.norm.weight",
    "layers.1.attn.norm": "model.layers.1.input_layernorm.weight",
    "layers.0.attn.out.weight": "model.layers.0.self_attn.o_proj.weight",
    "layers.1.mlp.down.weight": "model.layers.1.mlp.down_proj.weight",
  };
  const changes = await inspect.changes(a, b);
  for (const [name, theirs] of Object.entries(published)) {
    const { relative, largest } = changes.find((one) => one.name === name)!;
    assertNear([relative, largest], [tensors[theirs].relative, tensors[theirs].largest], name);
  }
  const moved = await inspect.movedRows(a, b, "embedding", rows.length);
  assertEquals(moved.map(({ row }) => row), rows);
  assertNear(moved.map((row) => row.distance), distance, "distances");
  assertNear(moved.map((row) => row.cosine), cosine, "cosines");
  assertEquals(moved[0].token, `[${rows[0]}]`); // there is no tokenizer beside these
  for (const place of [a, b]) await bench.close(place);
});
