import { assert, assertEquals, assertRejects, assertThrows } from "deno-std/assert/mod.js";
import { diskFiles } from "../../headless/files.ts";
import { gatherRows } from "../../kernels/gather_rows.ts";
import { gradNorm } from "../../kernels/grad_norm.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { crossEntropy, logprobs } from "../../kernels/logprob.ts";
import { pairwiseLoss } from "../../kernels/pairwise_loss.ts";
import { scalarHead } from "../../kernels/scalar_head.ts";
import { DamagedFileError, type Files, memoryFiles } from "../../lab/bytes.ts";
import { openCheckpoint } from "../../lab/checkpoint_files.ts";
import { drawnAt } from "../../lab/generate.ts";
import { hiddenStates, loadQwen2, type Qwen2, readByName, saveQwen2, tokenBatch } from "../../lab/qwen2.ts";
import { expectedTensors } from "../../lab/qwen2_config.ts";
import { gpuTest } from "../kernels/testing.ts";
import { assertNear, assertTensors, goldenJson, goldenPath, goldenTensors, wholeTensor } from "./golden.ts";

interface LanguageGolden {
  lengths: number[];
  tokens: number[];
  logitRows: number[];
  /** Before each of ten steps, and after the last. */
  losses: number[];
  gradNorms: number[];
  learningRate: number;
  eps: number;
  weightDecay: number;
  logSumExp: number[];
  response: { temperature: number; rows: number[]; targets: number[]; logprob: number[]; entropy: number[] };
}

/** Sequences laid end to end, apart again. */
function apart(tokens: readonly number[], lengths: readonly number[]): number[][] {
  let at = 0;
  return lengths.map((length) => tokens.slice(at, at += length));
}

/** Rows that have a next token in their own sequence, and that token. */
function nextTokens(sequences: readonly number[][]): { rows: number[]; targets: number[] } {
  const rows: number[] = [], targets: number[] = [];
  let start = 0;
  for (const sequence of sequences) {
    for (let i = 0; i + 1 < sequence.length; i++) {
      rows.push(start + i);
      targets.push(sequence[i + 1]);
    }
    start += sequence.length;
  }
  return { rows, targets };
}

/** The mean next-token loss of a model's sequences, differentiated into its gradients where it trains. */
function languageLoss(gpu: Gpu, model: Qwen2, sequences: readonly number[][], training: boolean) {
  const { rows, targets } = nextTokens(sequences);
  const batch = tokenBatch(gpu, model, sequences, training);
  const labels = gpu.from(Uint32Array.from(targets), [rows.length], "labels");
  const forward = () => {
    const picked = gatherRows(gpu, hiddenStates(gpu, model, batch), Uint32Array.from(rows));
    return crossEntropy(gpu, picked, model.head, labels).loss;
  };
  return training ? gpu.differentiate(forward) : forward();
}

/** Hidden states [T, D] on the host. */
async function hiddenOnHost(gpu: Gpu, model: Qwen2, sequences: readonly number[][]): Promise<Float32Array> {
  const hidden = gpu.scope(() => hiddenStates(gpu, model, tokenBatch(gpu, model, sequences)));
  const [values] = await gpu.read(hidden);
  gpu.release(hidden);
  return values;
}

/** hidden·headᵀ of some rows, in f64. */
async function logitsOnHost(gpu: Gpu, model: Qwen2, hidden: Float32Array, rows: readonly number[]) {
  const { tiedHead, hiddenSize: D, vocabulary: V } = model.config;
  const head = await readByName(gpu, model, tiedHead ? "model.embed_tokens.weight" : "lm_head.weight");
  const logits = new Float64Array(rows.length * V);
  rows.forEach((row, r) => {
    for (let v = 0; v < V; v++) {
      for (let d = 0; d < D; d++) logits[r * V + v] += hidden[row * D + d] * head[v * D + d];
    }
  });
  return logits;
}

for (
  const [name, description] of [
    ["qwen2_tied", "a tied model in BF16 with seven query heads to a key head"],
    ["qwen2_untied", "an untied model in F16 shards with sizes no vector divides"],
  ]
) {
  gpuTest(`PyTorch agrees on logits, logprobs, loss and every gradient of ${description}`, async (gpu) => {
    const golden = await goldenJson<LanguageGolden>(name);
    const tensors = await goldenTensors(name);
    const sequences = apart(golden.tokens, golden.lengths);
    const model = await loadQwen2(gpu, diskFiles(), goldenPath(name), name);
    try {
      const hidden = await hiddenOnHost(gpu, model, sequences);
      assertNear(hidden, tensors.of.hidden, "hidden", 1e-5);
      assertNear(await logitsOnHost(gpu, model, hidden, golden.logitRows), tensors.of.logits, "logits", 1e-5);

      const { rows, targets, temperature } = golden.response;
      const scored = gpu.scope(() => {
        const states = hiddenStates(gpu, model, tokenBatch(gpu, model, sequences));
        const all = logprobs(
          gpu,
          states,
          model.head,
          gpu.from(Uint32Array.from(golden.tokens), [golden.tokens.length], "any"),
        );
        const labels = gpu.from(Uint32Array.from(targets), [targets.length], "targets");
        const picked = gatherRows(gpu, states, Uint32Array.from(rows));
        return { all: all.logSumExp, ...logprobs(gpu, picked, model.head, labels, { temperature }) };
      });
      const [logSumExp, logprob, entropy] = await gpu.read(scored.all, scored.logprob, scored.entropy);
      [scored.all, scored.logprob, scored.logSumExp, scored.entropy].forEach((tensor) => gpu.release(tensor));
      assertNear(logSumExp, golden.logSumExp, "log-sum-exp", 1e-5);
      assertNear(logprob, golden.response.logprob, "logprob at temperature 0.7", 1e-5);
      assertNear(entropy, golden.response.entropy, "entropy at temperature 0.7", 1e-5);

      model.parameters.train();
      const measured = gpu.scope(() => {
        const loss = languageLoss(gpu, model, sequences, true);
        return { loss, norm: gradNorm(gpu, model.parameters.gradients).norm };
      });
      const [[loss], [norm]] = await gpu.read(measured.loss, measured.norm);
      gpu.release(measured.loss);
      gpu.release(measured.norm);
      assertNear([loss], [golden.losses[0]], "loss", 1e-5);
      assertNear([norm], [golden.gradNorms[0]], "gradient norm", 1e-5);
      await assertTensors(gpu, model, "gradient", tensors.gradient);
    } finally {
      model.parameters.drop();
    }
  });

  gpuTest(`ten AdamW steps take ${description} where they take PyTorch's`, async (gpu) => {
    const golden = await goldenJson<LanguageGolden>(name);
    const tensors = await goldenTensors(name);
    const sequences = apart(golden.tokens, golden.lengths);
    const model = await loadQwen2(gpu, diskFiles(), goldenPath(name), name);
    try {
      const before = new Map<string, Float32Array>();
      for (const { name } of expectedTensors(model.config)) {
        before.set(name, await readByName(gpu, model, name));
      }
      model.parameters.train();
      for (let step = 1; step <= 11; step++) {
        model.parameters.clearGradients();
        const measured = gpu.scope(() => {
          const loss = languageLoss(gpu, model, sequences, true);
          return { loss, norm: gradNorm(gpu, model.parameters.gradients).norm };
        });
        const [[loss], [norm]] = await gpu.read(measured.loss, measured.norm);
        gpu.release(measured.loss);
        gpu.release(measured.norm);
        assertNear([loss], [golden.losses[step - 1]], `loss before step ${step}`);
        if (step > 10) break;
        assertNear([norm], [golden.gradNorms[step - 1]], `gradient norm of step ${step}`);
        const { learningRate, eps, weightDecay } = golden;
        model.parameters.step({ learningRate, eps, weightDecay, beta1: 0.9, beta2: 0.999, step });
      }
      assert(golden.losses[10] < golden.losses[0] - 0.5, "ten steps should teach something");
      await assertTensors(gpu, model, "value", tensors.after10);
      // The weights hardly move; how they moved is the harder question.
      for (const [name, start] of before) {
        const moved = (await readByName(gpu, model, name)).map((value, i) => value - start[i]);
        const should = tensors.after10[name].map((value, i) => value - start[i]);
        assertNear(moved, should, `how ${name} moved`, 1e-3);
      }
    } finally {
      model.parameters.drop();
    }
  });
}

gpuTest("gradients of two micro-batches add up to those of their union", async (gpu) => {
  const golden = await goldenJson<LanguageGolden>("qwen2_tied");
  const { gradient } = await goldenTensors("qwen2_tied");
  const sequences = apart(golden.tokens, golden.lengths);
  const tokens = golden.tokens.length - golden.lengths.length;
  const model = await loadQwen2(gpu, diskFiles(), goldenPath("qwen2_tied"), "micro-batches");
  try {
    model.parameters.train();
    for (const part of [sequences.slice(0, 3), sequences.slice(3)]) {
      const { rows, targets } = nextTokens(part);
      gpu.scope(() => {
        const batch = tokenBatch(gpu, model, part, true);
        const labels = gpu.from(Uint32Array.from(targets), [rows.length], "labels");
        const weights = gpu.from(new Float32Array(rows.length).fill(1 / tokens), [rows.length], "weights");
        gpu.differentiate(() => {
          const picked = gatherRows(gpu, hiddenStates(gpu, model, batch), Uint32Array.from(rows));
          return crossEntropy(gpu, picked, model.head, labels, { weights }).loss;
        });
      });
    }
    await assertTensors(gpu, model, "gradient", gradient);
  } finally {
    model.parameters.drop();
  }
});

interface RewardGolden {
  lengths: number[];
  tokens: number[];
  scores: number[];
  loss: number;
  accuracy: number;
  gradNorm: number;
}

gpuTest("PyTorch agrees on a reward model's scores, pairwise loss and every gradient", async (gpu) => {
  const golden = await goldenJson<RewardGolden>("qwen2_reward");
  const { gradient } = await goldenTensors("qwen2_reward");
  const sequences = apart(golden.tokens, golden.lengths);
  const model = await loadQwen2(gpu, diskFiles(), goldenPath("qwen2_reward"), "reward");
  try {
    assertEquals(model.config.head, "score");
    assertEquals(model.head, []);
    model.parameters.train();
    let end = -1;
    const lastRows = Uint32Array.from(golden.lengths, (length) => end += length);
    const results = gpu.scope(() => {
      const batch = tokenBatch(gpu, model, sequences, true);
      const kept = { scores: gpu.hold([sequences.length], "scores"), accuracy: gpu.hold([1], "accuracy") };
      const loss = gpu.differentiate(() => {
        const states = gatherRows(gpu, hiddenStates(gpu, model, batch), lastRows);
        const scores = scalarHead(gpu, states, model.score!.weight, model.score!.bias, model.score!.offset);
        const { loss, accuracy } = pairwiseLoss(gpu, scores, null);
        gpu.copy(kept.scores, scores);
        gpu.copy(kept.accuracy, accuracy);
        return loss;
      });
      return { loss, ...kept };
    });
    const [[loss], scores, [accuracy]] = await gpu.read(results.loss, results.scores, results.accuracy);
    Object.values(results).forEach((tensor) => gpu.release(tensor));
    assertNear(scores, golden.scores, "scores", 1e-5);
    assertNear([loss], [golden.loss], "loss", 1e-5);
    assertEquals(accuracy, golden.accuracy);
    await assertTensors(gpu, model, "gradient", gradient);
    // A difference of scores does not depend on what is added to both.
    const [slope] = await readByName(gpu, model, "score.bias", "gradient");
    assert(Math.abs(slope) < 1e-6, `the bias has gradient ${slope}`);
  } finally {
    model.parameters.drop();
  }
});

gpuTest(
  "a sequence's hidden states do not depend on its neighbours in the batch, nor on later tokens",
  async (gpu) => {
    const golden = await goldenJson<LanguageGolden>("qwen2_tied");
    const sequences = apart(golden.tokens, golden.lengths);
    const model = await loadQwen2(gpu, diskFiles(), goldenPath("qwen2_tied"), "alone");
    const D = model.config.hiddenSize;
    try {
      const together = await hiddenOnHost(gpu, model, sequences);
      let row = 0;
      for (const sequence of sequences) {
        const expected = together.subarray(row * D, (row + sequence.length) * D);
        assertNear(
          await hiddenOnHost(gpu, model, [sequence]),
          expected,
          `sequence of ${sequence.length}`,
          1e-6,
        );
        row += sequence.length;
      }
      const changed = sequences.map((sequence) => sequence.map((id, i) => i >= 10 ? (id + 1) % 517 : id));
      const after = await hiddenOnHost(gpu, model, changed);
      const head = (values: Float32Array) => values.subarray(0, (1 + 5 + 10) * D);
      assertEquals(head(after), head(together));
      assert(after[16 * D] !== together[16 * D], "a changed token must show");
    } finally {
      model.parameters.drop();
    }
  },
);

gpuTest(
  "weights load to exactly the numbers in the file, from BF16, from F16 shards and from F32",
  async (gpu) => {
    for (
      const [name, dtype, shards] of [["qwen2_tied", "BF16", 1], ["qwen2_untied", "F16", 4], [
        "qwen2_reward",
        "F32",
        1,
      ]] as const
    ) {
      const path = goldenPath(name);
      const held = [...Deno.readDirSync(path)].filter((entry) => entry.name.endsWith(".safetensors"));
      assertEquals(held.length, shards);
      const opened = await openCheckpoint(diskFiles(), path);
      const model = await loadQwen2(gpu, diskFiles(), path, name);
      assertEquals(expectedTensors(model.config).map((tensor) => tensor.name).sort(), opened.names);
      for (const tensor of opened.names) {
        assertEquals(opened.dtype(tensor), dtype);
        assertEquals(await readByName(gpu, model, tensor), await wholeTensor(opened, tensor), tensor);
      }
      model.parameters.drop();
    }
  },
);

gpuTest(
  "a model that was saved and loaded again gives bit-equal hidden states, whatever the file's layout",
  async (gpu) => {
    for (const name of ["qwen2_tied", "qwen2_untied"]) {
      const golden = await goldenJson<LanguageGolden>(name);
      const sequences = apart(golden.tokens, golden.lengths);
      const files = memoryFiles();
      const model = await loadQwen2(gpu, diskFiles(), goldenPath(name), name);
      const expected = await hiddenOnHost(gpu, model, sequences);
      // The tied model's numbers fit BF16 and the untied one's F16, so no layout may lose anything.
      const half = name === "qwen2_tied" ? "BF16" : "F16";
      for (
        const [folder, options] of [["whole", {}], ["half", { dtype: half }], ["shards", {
          maxShardBytes: 50_000,
        }]] as const
      ) {
        await saveQwen2(gpu, files, folder, model, options);
        const again = await loadQwen2(gpu, files, folder, `${name} ${folder}`);
        assertEquals(again.config, model.config);
        for (const { name: tensor } of expectedTensors(model.config)) {
          assertEquals(await readByName(gpu, again, tensor), await readByName(gpu, model, tensor), tensor);
        }
        assertEquals(await hiddenOnHost(gpu, again, sequences), expected);
        again.parameters.drop();
      }
      assert((await files.list("shards")).length > 4);
      model.parameters.drop();
    }
  },
);

gpuTest("a reward model keeps its head, bias and offset through a file", async (gpu) => {
  const files = memoryFiles();
  const model = await loadQwen2(gpu, diskFiles(), goldenPath("qwen2_reward"), "reward");
  gpu.upload(model.score!.bias, new Float32Array([0.75]));
  model.score!.offset = -1.5;
  await saveQwen2(gpu, files, "reward", model);
  const again = await loadQwen2(gpu, files, "reward", "reward again");
  assertEquals(again.score!.offset, -1.5);
  assertEquals(await readByName(gpu, again, "score.bias"), new Float32Array([0.75]));
  assertEquals(await readByName(gpu, again, "score.weight"), await readByName(gpu, model, "score.weight"));
  for (const { parameters } of [model, again]) parameters.drop();
});

gpuTest("a language model loads as the backbone of a reward model, with a head of zeros", async (gpu) => {
  for (const name of ["qwen2_tied", "qwen2_untied"]) {
    const model = await loadQwen2(gpu, diskFiles(), goldenPath(name), "backbone", "score");
    assertEquals(model.head, []);
    assertEquals(await readByName(gpu, model, "score.weight"), new Float32Array(model.config.hiddenSize));
    const opened = await openCheckpoint(diskFiles(), goldenPath(name));
    const norm = "model.norm.weight";
    assertEquals(await readByName(gpu, model, norm), await wholeTensor(opened, norm));
    await assertRejects(() => readByName(gpu, model, "lm_head.weight"), Error, `no tensor "lm_head.weight"`);
    model.parameters.drop();
  }
});

gpuTest("a folder whose tensors do not fit its configuration is refused by name", async (gpu) => {
  const disk = diskFiles();
  const withConfig = (change: Record<string, unknown>): Files => ({
    ...disk,
    read: async (path) => {
      const bytes = await disk.read(path);
      if (!path.endsWith("config.json")) return bytes;
      return new TextEncoder().encode(
        JSON.stringify({ ...JSON.parse(new TextDecoder().decode(bytes)), ...change }),
      );
    },
  });
  for (
    const [change, complaint] of [
      [{ num_hidden_layers: 3 }, `"model.layers.2.input_layernorm.weight" is missing`],
      [{ num_hidden_layers: 1 }, `"model.layers.1.input_layernorm.weight" is not part of such a model`],
      [{ intermediate_size: 101 }, `has shape [100,56] instead of [101,56]`],
      [{ tie_word_embeddings: false }, `"lm_head.weight" is missing`],
      [{ num_key_value_heads: 7 }, `has shape [16,56] instead of [56,56]`],
    ] as const
  ) {
    await assertRejects(
      () => loadQwen2(gpu, withConfig(change), goldenPath("qwen2_tied"), "broken"),
      DamagedFileError,
      complaint,
    );
  }
});

gpuTest("ids outside the vocabulary and empty sequences are refused", async (gpu) => {
  const model = await loadQwen2(gpu, diskFiles(), goldenPath("qwen2_tied"), "small");
  for (const id of [517, -1, NaN]) {
    assertThrows(() => gpu.scope(() => tokenBatch(gpu, model, [[1], [2, id]])), Error, "sequence 1: id");
  }
  assertThrows(() => gpu.scope(() => tokenBatch(gpu, model, [[1], []])), Error, "sequence 1");
  model.parameters.drop();
});

gpuTest("a score offset that is no number is refused, and a folder without one has 0", async (gpu) => {
  const disk = diskFiles();
  const folder = goldenPath("qwen2_reward");
  const config = new TextDecoder().decode(await disk.read(`${folder}/config.json`));
  for (
    const [offset, expected] of [[undefined, 0], ["0.25", 0.25], ['"1"', null], ["1e999", null]] as const
  ) {
    const changed = offset === undefined ? config : config.replace("{", `{"precis_score_offset":${offset},`);
    const files: Files = {
      ...disk,
      read: (path) =>
        path.endsWith("config.json") ? Promise.resolve(new TextEncoder().encode(changed)) : disk.read(path),
    };
    if (expected === null) {
      await assertRejects(
        () => loadQwen2(gpu, files, folder, "reward"),
        DamagedFileError,
        "precis_score_offset is",
      );
    } else {
      const model = await loadQwen2(gpu, files, folder, "reward");
      assertEquals(model.score!.offset, expected);
      model.parameters.drop();
    }
  }
});

Deno.test("a temperature is drawn at 1e-7 above it, as the released code has it; 0 is greedy", () => {
  assertEquals(drawnAt(0.7), { temperature: 0.7 + 1e-7 });
  assertEquals(drawnAt(0), { greedy: true });
});
