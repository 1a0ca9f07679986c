import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import type { Gpu } from "../../kernels/gpu.ts";
import { sample, type SampleOptions, sampleReference } from "../../kernels/sample.ts";
import { tensorRanges } from "./ranges.ts";
import { gpuTest, normals } from "./testing.ts";

type Options = Partial<Omit<SampleOptions, "samples" | "positions">> & {
  samples?: Uint32Array<ArrayBuffer>;
  positions?: Uint32Array<ArrayBuffer>;
};

async function draw(
  gpu: Gpu,
  hidden: Float32Array<ArrayBuffer>,
  head: Float32Array<ArrayBuffer>,
  D: number,
  { samples, positions, ...options }: Options,
  cuts: readonly number[] = [],
) {
  const B = hidden.length / D;
  const rows = tensorRanges(gpu, head, head.length / D, D, cuts);
  const { token, logprob } = gpu.scope(() =>
    sample(gpu, gpu.from(hidden, [B, D], "hidden"), rows, {
      seed: 1,
      step: 0,
      samples: gpu.from(
        samples ?? Uint32Array.from({ length: B }, (_, b) => b),
        [samples?.length ?? B],
        "samples",
      ),
      positions: positions && gpu.from(positions, [B], "positions"),
      ...options,
    })
  );
  const [tokens] = await gpu.readU32(token);
  const [logprobs] = await gpu.read(logprob);
  for (const tensor of [token, logprob]) gpu.release(tensor);
  for (const tensor of rows) {
    gpu.drop(tensor.grad!);
    gpu.drop(tensor);
  }
  return { tokens, logprobs };
}

function logits(hidden: Float32Array, head: Float32Array, D: number, temperature: number) {
  return Array.from(
    { length: hidden.length / D },
    (_, b) =>
      Array.from({ length: head.length / D }, (_, v) => {
        let z = 0;
        for (let d = 0; d < D; d++) z += hidden[b * D + d] * head[v * D + d];
        return z / temperature;
      }),
  );
}

const cases: [B: number, V: number, D: number, cuts: number[], options: Options][] = [
  [1, 5, 8, [], {}],
  [3, 513, 50, [130], { temperature: 0.7, step: 7, position: 3, stage: 2 }],
  [65, 640, 64, [1, 320], { vocabulary: 601, scratchBytes: 65 * 64 * 4 }],
  [65, 640, 64, [322], { greedy: true, vocabulary: 577 }],
  [3, 513, 50, [130], { topK: 5 }],
  [65, 640, 64, [321], { topP: 0.8, temperature: 0.7, scratchBytes: 640 * 4 * 10 }],
  [65, 513, 64, [], { topK: 40, topP: 0.9, vocabulary: 511 }],
  [3, 5, 8, [2], { topK: 9, topP: 0.5 }],
];
for (const [B, V, D, cuts, options] of cases) {
  const said = Object.entries(options).map(([name, value]) => `, ${name} ${value}`).join("");
  gpuTest(`sampling takes the reference's tokens at B ${B}, V ${V}, D ${D}${said}`, async (gpu) => {
    const hidden = normals(B * D, 1, 2 / Math.sqrt(D)), head = normals(V * D, 2);
    const samples = Uint32Array.from({ length: B }, (_, b) => 1000 + 3 * b);
    const positions = Uint32Array.from({ length: B }, (_, b) => b % 5);
    const { tokens, logprobs } = await draw(gpu, hidden, head, D, { ...options, samples, positions }, cuts);
    const key = { seed: 1, step: options.step ?? 0, stage: options.stage };
    let close = 0;
    logits(hidden, head, D, options.temperature ?? 1).forEach((z, b) => {
      const at = { sample: samples[b], position: (options.position ?? 0) + positions[b] };
      const expected = sampleReference(z, options, key, at);
      if (expected.margin < 1e-4) close++;
      else {
        assertEquals(tokens[b], expected.token);
        assert(Math.abs(logprobs[b] - expected.logprob) < 2e-5, `${logprobs[b]} is not ${expected.logprob}`);
      }
    });
    assert(close <= 1 + B / 20, `${close} draws were too close to call`);
  });
}

/** The draws of many rows of the same logits, as counts. */
async function frequencies(gpu: Gpu, probabilities: number[], rows: number, options: Options) {
  const hidden = new Float32Array(rows).fill(1), head = Float32Array.from(probabilities, (p) => Math.log(p));
  const { tokens } = await draw(gpu, hidden, head, 1, options);
  const counts = probabilities.map(() => 0);
  for (const token of tokens) counts[token]++;
  return { counts, tokens };
}

/** Pearson's statistic; an id of probability 0 must not be drawn. */
function chiSquare(counts: number[], probabilities: number[]): number {
  const rows = counts.reduce((sum, count) => sum + count, 0);
  const total = probabilities.reduce((sum, p) => sum + p, 0);
  return counts.reduce((sum, count, v) => {
    const expected = rows * probabilities[v] / total;
    if (expected === 0) return sum + (count === 0 ? 0 : Infinity);
    return sum + (count - expected) ** 2 / expected;
  }, 0);
}

const p = [0.3, 0.02, 0.25, 0.1, 0.005, 0.175, 0.15];
const laws: [name: string, options: Options, law: number[], limit: number][] = [
  // Limits: the 99.9 % point of chi-square with (ids that can be drawn − 1) degrees of freedom.
  ["all of it", {}, p, 22.46],
  ["all of it, from another stage", { stage: 3, step: 9, seed: 77 }, p, 22.46],
  ["τ = 0.5", { temperature: 0.5 }, p.map((q) => q * q), 22.46],
  ["top-k 3", { topK: 3 }, p.map((q) => q >= 0.175 ? q : 0), 13.82],
  ["top-p 0.6", { topP: 0.6 }, p.map((q) => q >= 0.175 ? q : 0), 13.82],
  ["a vocabulary of 5", { vocabulary: 5 }, p.map((q, v) => v < 5 ? q : 0), 18.47],
];
for (const [name, options, law, limit] of laws) {
  gpuTest(`20,000 draws follow the law of ${name} (chi-square, 99.9 %)`, async (gpu) => {
    const { counts } = await frequencies(gpu, p, 20000, options);
    const statistic = chiSquare(counts, law);
    assert(statistic < limit, `chi-square ${statistic} of ${counts}`);
  });
}

gpuTest("two runs draw the same tokens, and every part of the key draws others", async (gpu) => {
  const base = { seed: 5, stage: 1, step: 2, position: 3 };
  const first = (await frequencies(gpu, p, 500, base)).tokens;
  assertEquals((await frequencies(gpu, p, 500, base)).tokens, first);
  const others: Options[] = [{ seed: 6 }, { stage: 2 }, { step: 3 }, { position: 4 }];
  for (const other of others) {
    const { tokens } = await frequencies(gpu, p, 500, { ...base, ...other });
    const same = tokens.filter((token, i) => token === first[i]).length;
    assert(same < 200, `${same} of 500 are the same with ${JSON.stringify(other)}`);
  }
});

gpuTest("a row draws the same token whatever batch, tiling and ranges it is computed in", async (gpu) => {
  const [B, V, D] = [33, 513, 16], hidden = normals(B * D, 1, 0.5), head = normals(V * D, 2);
  const samples = Uint32Array.from({ length: B }, (_, b) => b);
  const whole = await draw(gpu, hidden, head, D, { samples });
  const tiled = await draw(gpu, hidden, head, D, { samples, scratchBytes: B * 64 * 4 }, [131, 262]);
  assertEquals(tiled.tokens, whole.tokens);
  const part = await draw(gpu, hidden.slice(20 * D), head, D, { samples: samples.slice(20) });
  assertEquals(part.tokens, whole.tokens.slice(20));
  const untruncated = await draw(gpu, hidden, head, D, { samples, topK: V, topP: 1 });
  assertEquals(untruncated.tokens, whole.tokens);
});

gpuTest("among equals the lowest ids are kept: greedy, top-k and top-p", async (gpu) => {
  const even = [1, 1, 1, 1, 1, 1, 1, 1].map((q) => q / 8);
  assertEquals((await frequencies(gpu, even, 50, { greedy: true })).counts, [50, 0, 0, 0, 0, 0, 0, 0]);
  assertEquals((await frequencies(gpu, even, 50, { topK: 1 })).counts, [50, 0, 0, 0, 0, 0, 0, 0]);
  const kept = async (options: Options) =>
    (await frequencies(gpu, even, 400, options)).counts.map((count) => count > 0 ? 1 : 0);
  assertEquals(await kept({ topK: 3 }), [1, 1, 1, 0, 0, 0, 0, 0]);
  assertEquals(await kept({ topP: 0.6 }), [1, 1, 1, 1, 1, 0, 0, 0]);
  assertEquals(await kept({ topK: 4, topP: 0.5 }), [1, 1, 0, 0, 0, 0, 0, 0]);
  assertEquals(await kept({ topP: 1e-6 }), [1, 0, 0, 0, 0, 0, 0, 0]);
});

gpuTest("logits of ±10,000 are sampled, with a finite logprob", async (gpu) => {
  const head = Float32Array.of(-1, 0.5, 1, -0.5);
  for (const options of [{}, { topP: 0.9 }, { topK: 2 }, { greedy: true }]) {
    const { tokens, logprobs } = await draw(gpu, Float32Array.of(1e4, -1e4), head, 1, options);
    assertEquals([...tokens], [2, 0]);
    assertEquals([...logprobs], [0, 0]);
  }
});

gpuTest("sample refuses options out of range, naming them", async (gpu) => {
  const wrong: [Options, string][] = [
    [{ topK: -1 }, "topK is -1"],
    [{ topP: 0 }, "topP is 0"],
    [{ temperature: 0 }, "temperature is 0"],
    [{ vocabulary: 9 }, "vocabulary is 9"],
    [{ seed: 2 ** 32 }, "seed is 4294967296"],
    [{ samples: Uint32Array.of(1) }, "1 samples"],
  ];
  for (const [options, message] of wrong) {
    await assertRejects(() => draw(gpu, normals(4, 1), normals(8, 2), 2, options), Error, message);
  }
});

gpuTest(
  "top-k holds over a vocabulary as long as Qwen2's, on adapters that cut long loops short too",
  async (gpu) => {
    const V = 151_936, topK = 50;
    const z = Float32Array.from({ length: V }, (_, id) => 3 * Math.sin(0.7 * id) + (id % 1000 === 0 ? 2 : 0));
    const table = Float32Array.from({ length: 4 * V }, (_, i) => i % 4 === 0 ? z[i / 4] : 0);
    const likeliest = Array.from(z.keys()).sort((a, b) => z[b] - z[a] || a - b).slice(0, topK);
    const hidden = Float32Array.from({ length: 8 * 4 }, (_, i) => i % 4 === 0 ? 1 : 0);
    const { tokens } = await draw(gpu, hidden, table, 4, { topK });
    for (const token of tokens) {
      assert(
        likeliest.includes(token),
        `${token} is not among the ${topK} likeliest`,
      );
    }
  },
);
