import { assert, assertEquals, assertThrows } from "deno-std/assert/mod.js";
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
      samples: gpu.from(samples ?? Uint32Array.from({ length: B }, (_, b) => b), [B], "samples"),
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
