/**
 * Writes a model folder's weights as ONNX files under `onnx/`, named as transformers.js looks for them. Weights go from checkpoint to
 * file in pieces of at most 16 MiB; no tensor is ever whole in memory.
 */
import { type Files, joinPath } from "../bytes.ts";
import { type CheckpointWeights, readInPieces } from "../checkpoint_files.ts";
import { expectedTensors, type Qwen2Config } from "../qwen2_config.ts";
import { bytesPerElement, elementsOf, encodeTensor } from "../safetensors.ts";
import { OnnxGraph, type Place, type Weight } from "./graph.ts";
import { encode, exactly } from "./protobuf.ts";
import { decoderGraph, opset, rewardGraph } from "./qwen2.ts";

export interface OnnxOptions {
  type: "f32" | "f16";
  /** Of a reward model: what its scores have besides the product with `score.weight`, that is bias − offset. */
  scoreConstant?: number;
  /** Key and value pairs for the file's metadata. */
  facts?: Record<string, string>;
  /**
   * Weights of more bytes than this lie beside the graph: a protocol buffer must stay below 2 GiB, and onnxruntime holds the whole file
   * while it makes its own copy of what is inside. Default 256 MiB.
   */
  mostInline?: number;
  /** Most bytes of one file of weights. Default 2 × 10⁹, which every browser can hold in one buffer. */
  mostPerFile?: number;
  /** Called as weights are written: bytes so far, and in all. */
  onProgress?: (done: number, total: number) => void;
}

export interface WrittenOnnx {
  /** "model.onnx" or "model_fp16.onnx". */
  file: string;
  /** The files of weights beside it; transformers.js must be told how many (`use_external_data_format`). */
  dataFiles: string[];
  /** Of all weights. */
  bytes: number;
}

/** Weights begin at multiples of this, so that they can be mapped into memory. */
const alignment = 4096;

/**
 * Writes `folder`/onnx/model.onnx or model_fp16.onnx, and the files of weights beside it where there are many.
 * @throws DamagedFileError where weights are missing or not finite, RangeError where one is too large for f16, FileAccessError
 */
export async function writeOnnx(
  files: Files,
  folder: string,
  config: Qwen2Config,
  weights: CheckpointWeights,
  options: OnnxOptions,
): Promise<WrittenOnnx> {
  const { type, mostInline = 256 << 20, mostPerFile = 2e9, facts = {} } = options;
  const file = type === "f16" ? "model_fp16.onnx" : "model.onnx";
  const graph = new OnnxGraph();
  const total = { bytes: 0, done: 0 };
  const known = new Map(expectedTensors(config).map(({ name, shape }) => [name, shape]));
  const used = new Set<string>();
  const weightOf = (name: string) => {
    if (!used.has(name)) {
      used.add(name);
      const shape = known.get(name)!;
      const bytes = elementsOf(shape) * bytesPerElement(type === "f16" ? "F16" : "F32");
      total.bytes += bytes;
      const stream = () =>
        encoded(weights, name, type, (count) => {
          total.done += count;
          options.onProgress?.(total.done, total.bytes);
        });
      graph.weight({ name, type, shape, bytes, stream });
    }
    return name;
  };
  if (config.head === "score") rewardGraph(graph, config, weightOf, type, options.scoreConstant ?? 0);
  else decoderGraph(graph, config, weightOf, type);

  const beside = total.bytes > mostInline ? distribute(graph.weights, file, mostPerFile) : [];
  const places = new Map(
    beside.flatMap(({ placed }) => placed.map(({ weight, place }): [string, Place] => [weight.name, place])),
  );
  const target = joinPath(folder, "onnx");
  await files.makeDirectory(target);
  for (const { name, placed } of beside) await files.writeAtomic(joinPath(target, name), dataBytes(placed));
  await files.writeAtomic(joinPath(target, file), encode(graph.model("Qwen2", opset, facts, places)));
  return { file, dataFiles: beside.map(({ name }) => name), bytes: total.bytes };
}

/** A tensor's bytes in the file's type, piece by piece. */
async function* encoded(
  weights: CheckpointWeights,
  name: string,
  type: "f32" | "f16",
  onBytes: (count: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const values of readInPieces(weights, name)) {
    let bytes: Uint8Array;
    try {
      bytes = encodeTensor(type === "f16" ? "F16" : "F32", values);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new RangeError(
        `Tensor "${name}" of ${weights.folder} cannot be written in f16: ${error.message}`,
      );
    }
    onBytes(bytes.length);
    yield bytes;
  }
}

interface DataFile {
  name: string;
  placed: { weight: Weight; place: Place }[];
  bytes: number;
}

/** Deals the weights out to files `model.onnx_data`, `model.onnx_data_1` …, in their order. */
function distribute(weights: readonly Weight[], model: string, mostPerFile: number): DataFile[] {
  const found: DataFile[] = [];
  for (const weight of weights) {
    let last = found.at(-1);
    let offset = last ? Math.ceil(last.bytes / alignment) * alignment : 0;
    if (!last || offset + weight.bytes > mostPerFile) {
      last = { name: `${model}_data${found.length === 0 ? "" : `_${found.length}`}`, placed: [], bytes: 0 };
      found.push(last);
      offset = 0;
    }
    last.placed.push({ weight, place: { file: last.name, offset } });
    last.bytes = offset + weight.bytes;
  }
  return found;
}

async function* dataBytes(placed: DataFile["placed"]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const { weight, place } of placed) {
    if (place.offset > at) yield new Uint8Array(place.offset - at);
    yield* exactly(weight);
    at = place.offset + weight.bytes;
  }
}
