/**
 * Checkpoints of random weights in the shape of a published model: for measuring and testing at real size where the real weights are not
 * at hand. Every number is a function of seed, tensor and index alone, in integer arithmetic that tests/oracles/random_checkpoint.py
 * repeats, so that two programs can have the same billion weights without a file between them.
 */
import { type Files, joinPath, writeJson } from "./bytes.ts";
import { requireNoModel, writeCheckpoint } from "./checkpoint_files.ts";
import { mix } from "./demo/random.ts";
import type { StageProgress } from "./progress.ts";
import { expectedTensors, parseQwen2Config, type Qwen2Config, qwen2ConfigJson } from "./qwen2_config.ts";
import { elementsOf } from "./safetensors.ts";

/** What differs between the models that are known by name. Both are tied, store BF16 and share Qwen2.5's vocabulary. */
const published: Record<string, Record<string, number>> = {
  "Qwen/Qwen2.5-0.5B": {
    hidden_size: 896,
    intermediate_size: 4864,
    num_hidden_layers: 24,
    num_attention_heads: 14,
    num_key_value_heads: 2,
    max_position_embeddings: 32_768,
  },
  "Qwen/Qwen2.5-1.5B": {
    hidden_size: 1536,
    intermediate_size: 8960,
    num_hidden_layers: 28,
    num_attention_heads: 12,
    num_key_value_heads: 2,
    max_position_embeddings: 131_072,
  },
};

export const publishedModels: readonly string[] = Object.keys(published);

/** The configuration of a model in the table above, as its `config.json` has it; undefined for other names. */
export function publishedConfig(id: string): Qwen2Config | undefined {
  if (!Object.hasOwn(published, id)) return undefined;
  return parseQwen2Config(
    `${id}/config.json`,
    JSON.stringify({
      architectures: ["Qwen2ForCausalLM"],
      model_type: "qwen2",
      vocab_size: 151_936,
      tie_word_embeddings: true,
      rope_theta: 1e6,
      rms_norm_eps: 1e-6,
      bos_token_id: 151_643,
      eos_token_id: 151_643,
      ...published[id],
    }),
  );
}

/** Norm weights are 1 and biases 0, give or take this deviation: what a test computes then depends on each of them. */
const smallDeviation = 0.1;

/** The deviation of the sum of four bytes that are uniform from 0 to 255, each of variance (256² − 1)/12. */
const byteSumDeviation = Math.sqrt((256 ** 2 - 1) / 3);

/** Numbers made at a time: 4 MiB of f32. */
const piece = 1 << 20;

/**
 * A tensor's weights: about normal (the four bytes of a hash, added up), and never farther from their mean than 3.45 deviations.
 * @param deviation of the matrices; that of norms and biases is fixed
 * @returns elements `from` (included) to `to` (excluded), row-major
 */
export function randomWeights(
  seed: number,
  name: string,
  deviation: number,
  from: number,
  to: number,
): Float32Array<ArrayBuffer> {
  const norm = /norm\.weight$/.test(name);
  const unit = (norm || name.endsWith(".bias") ? smallDeviation : deviation) / byteSumDeviation;
  const values = Float32Array.from({ length: 4 * 255 + 1 }, (_, sum) => (norm ? 1 : 0) + (sum - 510) * unit);
  const key = tensorKey(seed, name);
  const weights = new Float32Array(to - from);
  for (let i = 0; i < weights.length; i++) {
    const bits = mix(key + Math.imul(from + i, 0x9e3779b1));
    weights[i] = values[(bits & 255) + (bits >>> 8 & 255) + (bits >>> 16 & 255) + (bits >>> 24)];
  }
  return weights;
}

/** A 32-bit word for a tensor of a seed: FNV-1a over the name's bytes, from a start that the seed gives. */
function tensorKey(seed: number, name: string): number {
  let hash = mix(seed + 0x811c9dc5);
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

/**
 * Writes a model folder of random weights: `config.json`, `generation_config.json` and the weights with a published checkpoint's names,
 * shapes and order. Until it is whole there are no weights in the folder that could be opened.
 * @param progress is told millions of numbers written
 * @throws as {@link writeCheckpoint}
 */
export async function writeRandomCheckpoint(
  files: Files,
  folder: string,
  config: Qwen2Config,
  { seed, dtype, progress }: { seed: number; dtype: "BF16" | "F16" | "F32"; progress: StageProgress },
): Promise<void> {
  await requireNoModel(files, folder);
  await files.makeDirectory(folder);
  await writeJson(files, joinPath(folder, "generation_config.json"), {
    bos_token_id: config.bosTokenId ?? config.eosTokenId,
    do_sample: false,
    eos_token_id: config.eosTokenId,
    max_new_tokens: 2048,
  });
  let written = 0, shown = 0;
  const tensors = expectedTensors(config).map(({ name, shape }) => ({
    name,
    shape,
    async *read() {
      const size = elementsOf(shape);
      for (let from = 0; from < size; from += piece) {
        const to = Math.min(size, from + piece);
        yield randomWeights(seed, name, config.initializerRange, from, to);
        written += to - from;
        const millions = Math.floor(written / 1e6);
        if (millions > shown) progress.step(shown = millions);
      }
    },
  }));
  await writeCheckpoint(files, folder, qwen2ConfigJson(config, dtype), tensors, { dtype });
}

/** How many numbers a model of this configuration has. */
export function parameterCount(config: Qwen2Config): number {
  return expectedTensors(config).reduce((sum, { shape }) => sum + elementsOf(shape), 0);
}
