/**
 * Reads stories260K, a small model trained on TinyStories by somebody else, in llama2.c's format, as a Qwen2 model: its rotary
 * embeddings pair neighbouring dimensions where Qwen2's pair the halves of a head, so the rows of wq and wk are permuted, and
 * its projections have no biases, so ours are zero. And reads llama2.c's tokenizer, and encodes text with it.
 */
import { type Files, memoryFiles } from "../../lab/bytes.ts";
import { writeCheckpoint } from "../../lab/checkpoint_files.ts";
import { expectedTensors, type Qwen2Config, qwen2ConfigJson } from "../../lab/qwen2_config.ts";

const folder = new URL("../../../shared/data/stories260k/", import.meta.url);

/** What the shared test data has of stories260K, or null where it is missing. */
export function storiesData(): {
  model: Uint8Array<ArrayBuffer>;
  tokenizer: Uint8Array<ArrayBuffer>;
  /** BOS and the 256 ids of its greedy continuation. */
  greedy: number[];
  /** Five stories. */
  texts: string[];
} | null {
  try {
    const text = (name: string) => Deno.readTextFileSync(new URL(name, folder));
    return {
      model: Deno.readFileSync(new URL("stories260K.bin", folder)),
      tokenizer: Deno.readFileSync(new URL("tok512.bin", folder)),
      greedy: JSON.parse(text("greedy_ids.json")).ids,
      texts: text("tinystories_sample.txt").split("<|endoftext|>").map((story) => story.trim()).filter((
        story,
      ) => story),
    };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** A llama2.c checkpoint (version 0): seven i32 sizes, then every weight as f32, one kind after another for all layers. */
export function readLlama2c(bytes: Uint8Array<ArrayBuffer>) {
  const header = new Int32Array(bytes.slice(0, 28).buffer);
  const [D, F, layers, queryHeads, keyValueHeads, signedVocabulary, maxPositions] = header;
  const headDim = D / queryHeads, vocabulary = Math.abs(signedVocabulary);
  const config: Qwen2Config = {
    head: "language",
    vocabulary,
    hiddenSize: D,
    layers,
    queryHeads,
    keyValueHeads,
    headDim,
    feedForward: F,
    // A negative vocabulary is how the format says that the head is a matrix of its own.
    tiedHead: signedVocabulary > 0,
    attentionBias: true,
    ropeTheta: 1e4,
    rmsNormEps: 1e-5,
    maxPositions,
    eosTokenId: 2,
    bosTokenId: 1,
    padTokenId: null,
    initializerRange: 0.02,
  };
  const numbers = new Float32Array(bytes.slice(28).buffer);
  let at = 0;
  const take = (count: number) => numbers.subarray(at, at += count);
  const perLayer = (size: number) => Array.from({ length: layers }, () => take(size));
  const kinds = {
    embedding: take(vocabulary * D),
    attentionNorm: perLayer(D),
    query: perLayer(D * D).map((matrix) => halfSplit(matrix, queryHeads, headDim)),
    key: perLayer(keyValueHeads * headDim * D).map((matrix) => halfSplit(matrix, keyValueHeads, headDim)),
    value: perLayer(keyValueHeads * headDim * D),
    out: perLayer(D * D),
    feedForwardNorm: perLayer(D),
    gate: perLayer(F * D),
    down: perLayer(D * F),
    up: perLayer(F * D),
    norm: take(D),
  };
  take(maxPositions * headDim); // tables of cosines and sines, not needed
  if (at !== numbers.length) {
    throw new Error(`a llama2.c file with ${numbers.length} numbers, of which ${at} are known`);
  }
  return { config, kinds };
}

/** Rows of each head from (0, 1), (2, 3), … being pairs to (i, i + headDim / 2) being pairs. */
function halfSplit(matrix: Float32Array, heads: number, headDim: number): Float32Array {
  const columns = matrix.length / (heads * headDim);
  const permuted = new Float32Array(matrix.length);
  for (let head = 0; head < heads; head++) {
    for (let i = 0; i < headDim; i++) {
      const from = head * headDim + (i < headDim / 2 ? 2 * i : 2 * (i - headDim / 2) + 1);
      permuted.set(matrix.subarray(from * columns, (from + 1) * columns), (head * headDim + i) * columns);
    }
  }
  return permuted;
}

/** The model as a Hugging Face folder "stories" in memory. */
export async function storiesCheckpoint(bytes: Uint8Array<ArrayBuffer>): Promise<Files> {
  const { config, kinds } = readLlama2c(bytes);
  const ofLayer = {
    "input_layernorm.weight": kinds.attentionNorm,
    "self_attn.q_proj.weight": kinds.query,
    "self_attn.k_proj.weight": kinds.key,
    "self_attn.v_proj.weight": kinds.value,
    "self_attn.o_proj.weight": kinds.out,
    "post_attention_layernorm.weight": kinds.feedForwardNorm,
    "mlp.gate_proj.weight": kinds.gate,
    "mlp.up_proj.weight": kinds.up,
    "mlp.down_proj.weight": kinds.down,
  };
  const weights = expectedTensors(config).map(({ name, shape }) => ({
    name,
    shape,
    read: () => {
      if (name === "model.embed_tokens.weight") return kinds.embedding;
      if (name === "model.norm.weight") return kinds.norm;
      if (name.endsWith(".bias")) return new Float32Array(shape[0]);
      const [, layer, kind] = /^model\.layers\.(\d+)\.(.+)$/.exec(name)!;
      return ofLayer[kind as keyof typeof ofLayer][Number(layer)];
    },
  }));
  const files = memoryFiles();
  await writeCheckpoint(files, "stories", qwen2ConfigJson(config), weights);
  return files;
}

/**
 * llama2.c's tokenizer: an i32 length of the longest token, then for each id a f32 score, an i32 length and the bytes.
 * @returns an encoder: BOS, then a space and the text as characters (bytes where a character has no token), then always the merge
 * of two neighbours with the best score, the first of equals
 */
export function llama2cEncoder(
  bytes: Uint8Array<ArrayBuffer>,
  vocabulary: number,
): (text: string) => number[] {
  const view = new DataView(bytes.buffer);
  const ids = new Map<string, number>();
  const pieces: string[] = [], scores: number[] = [];
  let at = 4;
  for (let id = 0; id < vocabulary; id++) {
    const length = view.getInt32(at + 4, true);
    const piece = new TextDecoder().decode(bytes.subarray(at + 8, at + 8 + length));
    scores.push(view.getFloat32(at, true));
    pieces.push(piece);
    if (!ids.has(piece)) ids.set(piece, id);
    at += 8 + length;
  }
  if (at !== bytes.length) throw new Error(`${bytes.length - at} bytes are left after ${vocabulary} tokens`);
  const firstByte = 3;
  return (text) => {
    const tokens: number[] = [];
    for (const character of ` ${text}`) {
      const id = ids.get(character);
      if (id !== undefined) tokens.push(id);
      else for (const byte of new TextEncoder().encode(character)) tokens.push(byte + firstByte);
    }
    for (;;) {
      let best = -1, bestId = -1;
      for (let i = 0; i + 1 < tokens.length; i++) {
        const id = ids.get(pieces[tokens[i]] + pieces[tokens[i + 1]]);
        if (id !== undefined && (best < 0 || scores[id] > scores[bestId])) [best, bestId] = [i, id];
      }
      if (best < 0) return [1, ...tokens];
      tokens.splice(best, 2, bestId);
    }
  };
}
