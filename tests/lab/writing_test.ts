/** Token by token: what is written is what lab/generate.ts writes at once, and the numbers beside it are those of lab/scoring.ts. */
import { assert, assertEquals } from "deno-std/assert/mod.js";
import { diskFiles } from "../../headless/files.ts";
import { generate } from "../../lab/generate.ts";
import { alternativesOf } from "../../lab/inspect/lens.ts";
import { loadQwen2 } from "../../lab/qwen2.ts";
import { rate, type RatedToken, write } from "../../lab/writing.ts";
import { gpuTest } from "../kernels/testing.ts";

const base = decodeURIComponent(new URL("../../public/demo/base", import.meta.url).pathname);
const prompt = [300, 400, 500, 600, 700], other = [310, 320];

gpuTest("a response written token by token is the one written at once, greedy and drawn", async (gpu) => {
  const model = await loadQwen2(gpu, diskFiles(), base, "base");
  const key = { seed: 7, stage: 6, step: 2 };
  const rules = [{ greedy: true }, { temperature: 0.8, vocabulary: 760 }, { temperature: 1.3, topK: 20 }];
  for (const rule of rules) {
    const options = { ...key, ...rule, responseLength: 12 };
    // Beside another prompt, and numbered 3: neither may matter.
    const [, expected] = await generate(gpu, model, [other, prompt], { ...options, samples: [9, 3] });
    const written = await Array.fromAsync(write(gpu, model, prompt, { ...options, sample: 3 }));
    assertEquals(written.map(({ id }) => id), [...expected], JSON.stringify(rule));
    const rated = await rate(gpu, model, prompt, [...expected], options.vocabulary);
    assertEquals(rated.map(({ id }) => id), [...expected]);
    rated.forEach((token, t) => assertNear(token, written[t]));
  }
  model.parameters.drop();
});

gpuTest("greedy writing tells how near the second best came, where that is asked for", async (gpu) => {
  const model = await loadQwen2(gpu, diskFiles(), base, "base");
  const options = { greedy: true, seed: 1, stage: 6, step: 0, responseLength: 12, vocabulary: 760 };
  const plain = await Array.fromAsync(write(gpu, model, prompt, options));
  const written = await Array.fromAsync(write(gpu, model, prompt, { ...options, margins: true }));
  assertEquals(written.map(({ margin: _, ...token }) => token), plain);
  const ids = [...prompt, ...written.map(({ id }) => id)];
  const tokens = await alternativesOf([{ gpu, model }], ids, { k: 2, vocabulary: 760 });
  written.forEach(({ id, margin }, t) => {
    const [best, second] = tokens[prompt.length - 1 + t].models[0].top;
    assertEquals(best.id, id);
    // Log-probabilities of one row differ by what its logits do.
    assert(
      margin! > 0 && Math.abs(margin! - (best.logprob - second.logprob)) < 1e-4,
      `token ${t}: ${margin}`,
    );
  });
  const [drawn] = await Array.fromAsync(
    write(gpu, model, prompt, { ...options, greedy: false, margins: true }),
  );
  assertEquals(drawn.margin, undefined);
  model.parameters.drop();
});

gpuTest(
  "writing ends with EOS, or when nobody listens any more, and leaves no memory behind",
  async (gpu) => {
    const model = await loadQwen2(gpu, diskFiles(), base, "base");
    const options = { greedy: true, seed: 1, stage: 6, step: 0, responseLength: 20 };
    const whole = await Array.fromAsync(write(gpu, model, prompt, options));
    assertEquals(whole.length, 20);
    const eosId = whole[5].id;
    const ended = await Array.fromAsync(write(gpu, model, prompt, { ...options, eosId }));
    assertEquals(ended, whole.slice(0, whole.findIndex(({ id }) => id === eosId) + 1));
    const before = gpu.memory.buffersCreated;
    for (let i = 0; i < 3; i++) {
      for await (const { id } of write(gpu, model, prompt, options)) {
        assertEquals(id, whole[0].id);
        break;
      }
    }
    assertEquals(gpu.memory.buffersCreated, before);
    assertEquals(await rate(gpu, model, prompt, []), []);
    model.parameters.drop();
  },
);

function assertNear(a: RatedToken, b: RatedToken) {
  assert(Math.abs(a.logprob - b.logprob) < 1e-4, `logprobs ${a.logprob} and ${b.logprob}`);
  assert(Math.abs(a.entropy - b.entropy) < 1e-4, `entropies ${a.entropy} and ${b.entropy}`);
}
