/** Recorded dispatches as they are shown: which kernels made a tensor, from what, and what that cost. */
import { contractCost } from "../../kernels/contract.ts";
import type { RecordedDispatch } from "../../kernels/recorder.ts";
import type { Qwen2Config } from "../qwen2_config.ts";
import type { Dispatch } from "./types.ts";

/** The letters of contracts that a forward or backward pass over one sequence of T tokens gives a meaning to. */
export function knownLetters(
  { hiddenSize, feedForward, queryHeads, keyValueHeads, headDim }: Qwen2Config,
  T: number,
): Record<string, number> {
  return {
    T,
    D: hiddenSize,
    F: feedForward,
    Hq: queryHeads,
    Hkv: keyValueHeads,
    hd: headDim,
    pairs: queryHeads * T * (T + 1) / 2,
  };
}

/** What is shown of dispatches; the texts of their kernels go into `sources`. */
export function shownDispatches(
  recorded: readonly RecordedDispatch[],
  known: Record<string, number>,
): { dispatches: Dispatch[]; sources: Record<string, string> } {
  const keys = new Map<string, string>(), sources: Record<string, string> = {};
  const keyOf = ({ name, source }: RecordedDispatch["kernel"]) => {
    let key = keys.get(source);
    if (key === undefined) {
      const others = Object.keys(sources).filter((one) => one.split(" ")[0] === name).length;
      keys.set(source, key = others === 0 ? name : `${name} ${others + 1}`);
      sources[key] = source;
    }
    return key;
  };
  const dispatches = recorded.map((dispatch, index): Dispatch => {
    const { kernel, bindings, params, microseconds } = dispatch;
    const { bytes, flops } = contractCost(kernel, params, known);
    const moved = bytes ?? product(params) ?? bindings.reduce((sum, { tensor }) => sum + tensor.bytes, 0);
    return {
      index,
      path: dispatch.path,
      kernel: kernel.name,
      source: keyOf(kernel),
      overrides: dispatch.overrides,
      params,
      workgroups: dispatch.groups,
      bindings: bindings.map(({ name, tensor, label, access, producer }) => ({
        name,
        tensor: label ?? tensor.name,
        shape: [...tensor.shape],
        dtype: tensor.dtype,
        bytes: tensor.bytes,
        access,
        producer,
      })),
      microseconds,
      bytesMoved: moved,
      bytesBy: bytes === undefined ? "bindings" : "contract",
      flops,
      gigabytesPerSecond: microseconds ? moved / microseconds / 1000 : undefined,
    };
  });
  return { dispatches, sources };
}

/** Bytes of the operands and the result of a matrix product, each once, by its scalars: it may read parts of what is bound. */
function product({ M, N, K }: Record<string, number>): number | undefined {
  return M && N && K ? 4 * (M * K + N * K + M * N) : undefined;
}
