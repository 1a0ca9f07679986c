/** The referee for exported graphs: onnxruntime-web's WebAssembly provider, at the version that transformers.js brings. */
import * as ort from "onnxruntime-web/webgpu";
import { type Files, joinPath } from "../../../lab/bytes.ts";

// One thread: more would be Workers, which outlive the test that started them.
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

export type Session = ort.InferenceSession;

/** Opens `folder`/onnx/`file` with the files of weights beside it. */
export async function openSession(files: Files, folder: string, file: string): Promise<Session> {
  const onnx = joinPath(folder, "onnx");
  const beside = (await files.list(onnx)).filter((name) => name.startsWith(`${file}_data`));
  const externalData = await Promise.all(
    beside.map(async (path) => ({ path, data: await files.read(joinPath(onnx, path)) })),
  );
  const model = await files.read(joinPath(onnx, file));
  return await ort.InferenceSession.create(model, { executionProviders: ["wasm"], externalData });
}

/** An int64 tensor of a graph. */
export function integers(values: readonly number[], dims: readonly number[]): ort.Tensor {
  return new ort.Tensor("int64", BigInt64Array.from(values, BigInt), dims);
}

/** Keys and values of no token, of `batch` sequences, in the shape and type that the graph wants. */
export function emptyCache(session: Session, batch: number): Record<string, ort.Tensor> {
  const cache: Record<string, ort.Tensor> = {};
  for (const input of session.inputMetadata) {
    if (!input.isTensor || !input.name.startsWith("past_key_values.")) continue;
    const [, heads, , width] = input.shape as number[];
    const data = input.type === "float16" ? new Float16Array(0) : new Float32Array(0);
    cache[input.name] = new ort.Tensor(input.type, data as never, [batch, heads, 0, width]);
  }
  return cache;
}

/** One call of a decoder. @returns logits [B, kept, V], row-major, and the cache for the next call */
export async function decode(
  session: Session,
  ids: readonly (readonly number[])[],
  mask: readonly (readonly number[])[],
  cache: Record<string, ort.Tensor>,
  keep = 0,
): Promise<{ logits: Float32Array; dims: readonly number[]; cache: Record<string, ort.Tensor> }> {
  const [B, T, S] = [ids.length, ids[0].length, mask[0].length];
  // As transformers counts: the tokens before that are there; padding gets 1.
  const positions = mask.flatMap((row) => {
    let seen = 0;
    return row.map((there) => (there ? seen++ : 1)).slice(S - T);
  });
  const outputs = await session.run({
    input_ids: integers(ids.flat(), [B, T]),
    attention_mask: integers(mask.flat(), [B, S]),
    position_ids: integers(positions, [B, T]),
    num_logits_to_keep: integers([keep], []),
    ...cache,
  });
  const { logits, ...present } = outputs;
  const next = Object.entries(present).map((
    [name, value],
  ) => [name.replace("present", "past_key_values"), value]);
  return {
    logits: logits.data as Float32Array,
    dims: logits.dims,
    cache: Object.fromEntries(next) as Record<string, ort.Tensor>,
  };
}
