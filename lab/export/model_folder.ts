/**
 * A trained model as a folder for the rest of the world: weights for transformers (safetensors) or for onnxruntime and transformers.js
 * (ONNX), with config.json, generation_config.json and tokenizer. No GPU is needed, and weights go through memory in pieces of 16 MiB.
 *
 * transformers' `Qwen2ForSequenceClassification` has a score head without bias and knows no offset, and neither can be folded into its
 * weights: the head sees only a normed hidden state, which has no constant component to carry them. config.json says how to get ours:
 *
 *     score = logits + precis_score_bias − precis_score_offset
 *
 * The ONNX graph of a reward model has both built in, and its config.json says 0 for both.
 */
import { type Files, joinPath, writeJson } from "../bytes.ts";
import { openCheckpoint, readInPieces, requireTensors, writeCheckpoint } from "../checkpoint_files.ts";
import { writeOnnx } from "../onnx/write.ts";
import type { StageProgress } from "../progress.ts";
import { readQwen2Config, readScoreOffset } from "../qwen2.ts";
import { expectedTensors, type Qwen2Config, qwen2ConfigJson } from "../qwen2_config.ts";
import { elementsOf } from "../safetensors.ts";
import { loadTokenizer, type Tokenizer } from "../tokenizer.ts";
import { writeTokenizerFiles } from "./tokenizer_files.ts";

export const formats = ["huggingface", "onnx"] as const;
export type Format = typeof formats[number];

export const dtypes = ["f32", "f16", "bf16"] as const;
export type ExportDtype = typeof dtypes[number];

export interface ExportOptions {
  to: Format;
  /** Of the weights; ONNX takes f32 and f16. */
  dtype: ExportDtype;
  /** Longest response that the model was trained to write, tokens; becomes `max_new_tokens`. */
  responseTokens?: number;
  /** Goes into an ONNX file's metadata. */
  facts?: Record<string, string>;
  /** Weights of more bytes go into files of their own; see `OnnxOptions`. */
  mostInline?: number;
  /** Its steps are bytes of weights. */
  progress?: StageProgress;
}

/** What was exported. */
export interface ExportedModel {
  config: Qwen2Config;
  parameters: number;
  score?: { bias: number; offset: number };
  /** Names of files of weights beside an ONNX graph. */
  dataFiles: string[];
  padId: number;
  eosId: number;
}

/** Everything about a model folder that can be checked without reading its weights. */
export interface Source {
  folder: string;
  config: Qwen2Config;
  tokenizer: Tokenizer;
  offset: number;
  /** Bytes of the weights in the given type. */
  bytes(dtype: ExportDtype): number;
}

/** Opens a model folder for exporting. @throws DamagedFileError naming file and remedy where it is no whole model */
export async function openSource(files: Files, folder: string): Promise<Source> {
  const config = await readQwen2Config(files, folder);
  requireTensors(await openCheckpoint(files, folder), expectedTensors(config), ["score.bias"]);
  const tokenizer = await loadTokenizer((file) => files.read(file), folder, config.vocabulary);
  return {
    folder,
    config,
    tokenizer,
    offset: config.head === "score" ? await readScoreOffset(files, folder) : 0,
    bytes: (dtype) => parametersOf(config) * (dtype === "f32" ? 4 : 2),
  };
}

/**
 * Writes the model into `target`, which must be empty or absent. The weights come last.
 * @throws RangeError for a type that the format does not have, or a folder that is in use
 */
export async function exportModel(
  files: Files,
  source: Source,
  target: string,
  options: ExportOptions,
): Promise<ExportedModel> {
  const { to, dtype, progress } = options;
  if (to === "onnx" && dtype === "bf16") {
    throw new RangeError(
      "onnxruntime-web computes in f32 and f16, not in bf16; export to onnx with --dtype f32 or f16.",
    );
  }
  if (await files.exists(target) && (await files.list(target)).length > 0) {
    throw new RangeError(`${target} is not empty; name a new folder with --out.`);
  }
  await files.makeDirectory(target);
  const { tokenizer } = source;
  const config = { ...source.config, eosTokenId: tokenizer.eosId, padTokenId: tokenizer.padId };
  const weights = await openCheckpoint(files, source.folder);
  const bias = weights.has("score.bias") ? (await readInPieces(weights, "score.bias").next()).value![0] : 0;
  const score = config.head === "score" ? { bias, offset: source.offset } : undefined;

  await writeTokenizerFiles(
    files,
    source.folder,
    target,
    tokenizer,
    config.head === "score" ? "right" : "left",
  );
  if (config.head === "language") {
    await writeJson(files, joinPath(target, "generation_config.json"), generationConfig(config, options));
  }
  const dataFiles: string[] = [];
  if (to === "huggingface") {
    const tensors = [
      ...expectedTensors(config),
      // Only ours have one.
      ...(weights.has("score.bias") ? [{ name: "score.bias", shape: [1] }] : []),
    ];
    const stored = ({ f32: "F32", f16: "F16", bf16: "BF16" } as const)[dtype];
    const bytesPerNumber = dtype === "f32" ? 4 : 2;
    let done = 0;
    const read = async function* (name: string): AsyncGenerator<Float32Array> {
      for await (const piece of readInPieces(weights, name)) {
        yield piece;
        progress?.step(done += piece.length * bytesPerNumber);
      }
    };
    await writeCheckpoint(
      files,
      target,
      {
        ...qwen2ConfigJson(config, stored),
        ...(score && { precis_score_bias: score.bias, precis_score_offset: score.offset }),
      },
      tensors.map(({ name, shape }) => ({ name, shape, read: () => read(name) })),
      { dtype: stored },
    );
  } else {
    const written = await writeOnnx(files, target, config, weights, {
      type: dtype as "f32" | "f16",
      scoreConstant: score && score.bias - score.offset,
      facts: options.facts,
      mostInline: options.mostInline,
      onProgress: (bytes) => progress?.step(bytes),
    });
    dataFiles.push(...written.dataFiles);
    // transformers.js takes 8-bit weights in WebAssembly unless it is told otherwise, here or by its caller.
    await writeJson(files, joinPath(target, "config.json"), {
      ...qwen2ConfigJson(config, dtype === "f16" ? "F16" : "F32"),
      ...(score && { precis_score_bias: 0, precis_score_offset: 0 }),
      "transformers.js_config": {
        dtype: dtype === "f16" ? "fp16" : "fp32",
        ...(dataFiles.length > 0 && { use_external_data_format: { [written.file]: dataFiles.length } }),
      },
    });
  }
  return {
    config,
    parameters: parametersOf(config),
    score,
    dataFiles,
    padId: tokenizer.padId,
    eosId: tokenizer.eosId,
  };
}

/**
 * How both libraries write: greedily until `<|endoftext|>`. Ids from the padding id on have embedding rows that were never trained; our
 * sampler and logprobs leave them out of the distribution, and so shall theirs.
 */
function generationConfig(config: Qwen2Config, { responseTokens }: ExportOptions): Record<string, unknown> {
  const padId = config.padTokenId!;
  return {
    do_sample: false,
    eos_token_id: config.eosTokenId,
    ...(responseTokens !== undefined && { max_new_tokens: responseTokens }),
    pad_token_id: padId,
    suppress_tokens: Array.from({ length: config.vocabulary - padId }, (_, i) => padId + i),
  };
}

function parametersOf(config: Qwen2Config): number {
  return expectedTensors(config).reduce((sum, { shape }) => sum + elementsOf(shape), 0);
}
