/** stories260K, which others trained and whose numbers others computed, through our engine. */
import { assert, assertEquals } from "deno-std/assert/mod.js";
import { gatherRows } from "../../kernels/gather_rows.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { keyValueCache, releaseKeyValueCache } from "../../kernels/key_value_cache.ts";
import { crossEntropy, logprobs } from "../../kernels/logprob.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import { generate, hiddenOfStep } from "../../lab/generate.ts";
import { hiddenStates, loadQwen2, type Qwen2, ropeShape, tokenBatch } from "../../lab/qwen2.ts";
import { gpuTest } from "../kernels/testing.ts";
import { assertNear } from "./golden.ts";
import { llama2cEncoder, readLlama2c, storiesCheckpoint, storiesData } from "./stories.ts";

const data = storiesData();

/** A test on the model, or one that is listed as ignored where the shared data is missing. */
function storiesTest(
  name: string,
  body: (gpu: Gpu, model: Qwen2, given: NonNullable<typeof data>) => Promise<void>,
) {
  if (!data) {
    Deno.test({
      name: `${name} (skipped: ../shared/data/stories260k is missing)`,
      ignore: true,
      fn: () => {},
    });
    return;
  }
  gpuTest(name, async (gpu) => {
    const model = await loadQwen2(gpu, await storiesCheckpoint(data.model), "stories", "stories260K");
    try {
      await body(gpu, model, data);
    } finally {
      model.parameters.drop();
    }
  });
}

/** The five stories as ids, BOS first. */
function stories({ model, tokenizer, texts }: NonNullable<typeof data>): number[][] {
  const encode = llama2cEncoder(tokenizer, readLlama2c(model).config.vocabulary);
  return texts.map(encode);
}

storiesTest(
  "stories260K continues from BOS greedily over the cache with exactly the published ids",
  async (gpu, model, given) => {
    const options = { greedy: true, seed: 1, stage: 0, step: 0 };
    const [response] = await generate(gpu, model, [[1]], { ...options, responseLength: 256 });
    assertEquals([1, ...response], given.greedy);
    // Prompts of different lengths side by side: each goes on where the story does.
    const prompts = [[1], given.greedy.slice(0, 100), given.greedy.slice(0, 7), given.greedy.slice(0, 64)];
    const together = await generate(gpu, model, prompts, { ...options, responseLength: 40, batch: 3 });
    prompts.forEach((prompt, b) => {
      assertEquals([...together[b]], given.greedy.slice(prompt.length, prompt.length + 40), `prompt ${b}`);
    });
  },
);

storiesTest(
  "stories260K rates each published id the likeliest, by full forward passes",
  async (gpu, model, { greedy }) => {
    // At once: the states of all prefixes are those of the whole, if attention is causal.
    assertEquals(
      await likeliest(gpu, model, [greedy.slice(0, -1)], greedy.slice(0, -1).map((_, i) => i)),
      greedy.slice(1),
    );
    // And prefixes as sequences of their own, which is what decoding without a cache would run: every fourth, to be quick.
    for (let first = 1; first < greedy.length; first += 64) {
      const lengths = Array.from({ length: 16 }, (_, i) => first + 4 * i);
      const prefixes = lengths.map((length) => greedy.slice(0, length));
      let row = -1;
      const ends = lengths.map((length) => row += length);
      const expected = lengths.map((length) => greedy[length]);
      assertEquals(await likeliest(gpu, model, prefixes, ends), expected, `from ${first} tokens`);
    }
  },
);

/** The likeliest next token of some rows of a packed batch, by logits computed on the host in f64. */
async function likeliest(gpu: Gpu, model: Qwen2, sequences: number[][], rows: number[]): Promise<number[]> {
  const { hiddenSize: D, vocabulary: V } = model.config;
  const hidden = gpu.scope(() => hiddenStates(gpu, model, tokenBatch(gpu, model, sequences)));
  const [states, head] = await gpu.read(hidden, model.head[0]);
  gpu.release(hidden);
  assertEquals(head.length, V * D);
  return rows.map((row) => {
    let best = 0, highest = -Infinity;
    for (let v = 0; v < V; v++) {
      let logit = 0;
      for (let d = 0; d < D; d++) logit += states[row * D + d] * head[v * D + d];
      if (logit > highest) [best, highest] = [v, logit];
    }
    return best;
  });
}

storiesTest(
  "stories260K's next-token loss on five real stories is the published 1.2664",
  async (gpu, model, given) => {
    const sequences = stories(given);
    assertEquals(sequences.length, 5);
    assertEquals(sequences.flat().length - sequences.length, 1804); // without BOS, which nothing predicts
    const rows: number[] = [], targets: number[] = [];
    let start = 0;
    for (const sequence of sequences) {
      for (let i = 0; i + 1 < sequence.length; i++) {
        rows.push(start + i);
        targets.push(sequence[i + 1]);
      }
      start += sequence.length;
    }
    const results = gpu.scope(() => {
      const states = hiddenStates(gpu, model, tokenBatch(gpu, model, sequences));
      const picked = gatherRows(gpu, states, Uint32Array.from(rows));
      return crossEntropy(
        gpu,
        picked,
        model.head,
        gpu.from(Uint32Array.from(targets), [targets.length], "targets"),
      );
    });
    const [[loss], logprob] = await gpu.read(results.loss, results.logprob);
    gpu.release(results.loss);
    gpu.release(results.logprob);
    assert(Math.abs(loss - 1.2664) <= 1e-3, `the mean loss is ${loss}`);
    let at = 0;
    [1.3160, 1.2386, 0.9522, 1.4935, 1.1879].forEach((expected, b) => {
      const ofStory = logprob.subarray(at, at += sequences[b].length - 1);
      const mean = -ofStory.reduce((sum, value) => sum + value) / ofStory.length;
      assert(Math.abs(mean - expected) <= 1e-3, `story ${b} has a loss of ${mean}, published is ${expected}`);
    });
  },
);

storiesTest(
  "decoding over the cache gives the hidden states and logprobs of a full forward pass",
  async (gpu, model, given) => {
    const sequences = stories(given).map((story, b) => story.slice(0, 60 + 17 * b));
    const prompts = sequences.map((sequence, b) => sequence.slice(0, 1 + 13 * b));
    const steps = 40, B = sequences.length, D = model.config.hiddenSize;
    const starts = sequences.map((_, b) => sequences.slice(0, b).flat().length);

    // Row b of step t is token prompt + t of sequence b, which scores the one after it.
    const rows = Array.from(
      { length: steps },
      (_, t) => prompts.map((prompt, b) => starts[b] + prompt.length + t),
    );
    const targets = rows.map((ofStep) => Uint32Array.from(ofStep, (row) => sequences.flat()[row + 1]));

    const full = gpu.scope(() => hiddenStates(gpu, model, tokenBatch(gpu, model, sequences)));
    const decoded = gpu.scope(() => {
      const shape = ropeShape(model.config);
      const caches = model.layers.map(() => keyValueCache(gpu, B, 200, shape));
      hiddenStates(gpu, model, tokenBatch(gpu, model, prompts), caches);
      const states: Tensor[] = [];
      for (let t = 0; t < steps; t++) {
        const upload = (value: (b: number) => number, name: string) =>
          gpu.from(Uint32Array.from({ length: B }, (_, b) => value(b)), [B], name);
        const tokens = upload((b) => sequences[b][prompts[b].length + t], "tokens");
        const positions = upload((b) => prompts[b].length + t, "positions");
        const lengths = upload((b) => prompts[b].length + t + 1, "lengths");
        states.push(hiddenOfStep(gpu, model, tokens, positions, lengths, caches));
      }
      for (const cache of caches) releaseKeyValueCache(gpu, cache);
      return states;
    });
    const scored = gpu.scope(() =>
      decoded.map((hidden, t) =>
        logprobs(gpu, hidden, model.head, gpu.from(targets[t], [B], "targets")).logprob
      )
    );
    const scoredFull = gpu.scope(() => {
      const order = rows.flat().map((row, i) => ({ row, target: targets.flatMap((ids) => [...ids])[i] }));
      order.sort((a, b) => a.row - b.row);
      const labels = gpu.from(Uint32Array.from(order, ({ target }) => target), [order.length], "targets");
      const picked = gatherRows(gpu, full, Uint32Array.from(order, ({ row }) => row));
      return { order, logprob: logprobs(gpu, picked, model.head, labels).logprob };
    });
    const [whole] = await gpu.read(full);
    const stepped = await gpu.read(...decoded);
    const [logprobsFull] = await gpu.read(scoredFull.logprob);
    const logprobsStepped = await gpu.read(...scored);
    for (let t = 0; t < steps; t++) {
      for (let b = 0; b < B; b++) {
        const row = rows[t][b];
        const hidden = stepped[t].subarray(b * D, (b + 1) * D);
        assertNear(
          hidden,
          whole.subarray(row * D, (row + 1) * D),
          `hidden state of sequence ${b}, step ${t}`,
        );
        const expected = logprobsFull[scoredFull.order.findIndex((entry) => entry.row === row)];
        const difference = Math.abs(logprobsStepped[t][b] - expected);
        assert(difference <= 1e-4, `logprob of sequence ${b}, step ${t} differs by ${difference}`);
      }
    }
    for (const tensor of [full, scoredFull.logprob, ...decoded, ...scored]) gpu.release(tensor);
  },
);
