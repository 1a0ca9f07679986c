/** Runs a text through a model and keeps what was asked for on the device: activations, gradients, keys and values, every dispatch. */
import { Captures, nameMatcher } from "../../kernels/capture.ts";
import { gatherRows } from "../../kernels/gather_rows.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { type KeyValueCache, keyValueCache, releaseKeyValueCache } from "../../kernels/key_value_cache.ts";
import { crossEntropy } from "../../kernels/logprob.ts";
import { matrixOf, rowsOf } from "../../kernels/matrix.ts";
import { recordDispatches, type RecordedDispatch } from "../../kernels/recorder.ts";
import { scalarHead } from "../../kernels/scalar_head.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import { formatBytes } from "../format.ts";
import { hiddenStates, type Qwen2, ropeShape, tokenBatch } from "../qwen2.ts";
import { type FlowRule, StreamWatch, weightFlow } from "./flow.ts";
import { entryOf, type Inspectable, parameterEntries } from "./tensors.ts";
import type { GradientFlow } from "./types.ts";

/** What a capture keeps. */
export interface Held {
  tensors: Inspectable[];
  bytes: number;
  loss?: number;
  score?: number;
  flow?: GradientFlow;
  dispatches: RecordedDispatch[];
  /** Which dispatch had last written a tensor when it was named. */
  made: ReadonlyMap<string, number>;
  release(): void;
}

export interface HoldOptions {
  /** Of the tensors' ids: `capture 3#`. */
  prefix: string;
  patterns: readonly string[];
  gradients: boolean;
  cache: boolean;
  /** Caches that generation has filled already, as far as `tokens`; they are the capture's from here on. */
  generated?: { caches: KeyValueCache[]; tokens: number };
  dispatches: boolean;
  /** The first token that the loss is over. */
  lossFrom: number;
  /** Bytes that may be kept. */
  mostBytes: number;
  vocabulary?: number;
  rule: FlowRule;
  /** As {@link weightFlow} takes them. */
  moments?: Parameters<typeof weightFlow>[3];
}

/** Whether anything with a name like these is a gradient. */
export function asksForGradients(patterns: readonly string[]): boolean {
  return patterns.some((pattern) => pattern.endsWith(".grad"));
}

/**
 * Runs a text and keeps what matches the patterns.
 * @throws RangeError where that is more than may be kept, or gradients are asked for of a model that is being trained; nothing is kept then
 */
export async function hold(
  gpu: Gpu,
  model: Qwen2,
  ids: readonly number[],
  options: HoldOptions,
): Promise<Held> {
  const { gradients, cache, generated, mostBytes, prefix } = options;
  const kept: Tensor[] = [];
  const shape = ropeShape(model.config);
  const fresh = cache && !generated
    ? model.layers.map(() => keyValueCache(gpu, 1, ids.length, shape))
    : undefined;
  const caches = fresh ?? generated?.caches, cached = generated?.tokens ?? ids.length;
  const captures = new Captures(options.patterns, mostBytes);
  let training = false;
  const release = () => {
    for (const tensor of [...captures.hand().map(({ copy }) => copy), ...kept.splice(0)]) gpu.release(tensor);
    for (const one of caches?.splice(0) ?? []) releaseKeyValueCache(gpu, one);
  };
  try {
    if (gradients) makeRoomForGradients(model);
    training = gradients;
    const watch = gradients ? new StreamWatch() : null;
    // Only while this is being encoded: whoever uses the device in between is none of our business.
    const encode = () => {
      gpu.captures = captures;
      gpu.watcher = watch;
      try {
        return gpu.scope(() => pass(gpu, model, ids, options, fresh));
      } finally {
        gpu.captures = gpu.watcher = null;
      }
    };
    let dispatches: RecordedDispatch[] = [], made: Held["made"] = new Map(), outcome: Tensor;
    if (options.dispatches) ({ dispatches, made, result: outcome } = await recordDispatches(gpu, encode));
    else outcome = encode();
    const [[figure]] = await gpu.read(outcome);
    gpu.release(outcome);
    const stream = await watch?.take(gpu);
    const copies = captures.hand();
    kept.push(...copies.map(({ copy }) => copy));
    const tensors = copies.map(({ name, copy }): Inspectable => {
      const role = name.endsWith(".grad") ? "activation gradient" : "activation";
      const matrix = matrixOf(copy);
      return { entry: entryOf(prefix, name, role, [...copy.shape], matrix, "positions", "channels"), matrix };
    });
    caches?.forEach(({ keys, values }, layer) => {
      for (const [name, tensor] of [["keys", keys], ["values", values]] as const) {
        const matrix = rowsOf(matrixOf(tensor), 0, cached);
        const extent = [matrix.rows, matrix.columns];
        const entry = entryOf(
          prefix,
          `cache.${layer}.${name}`,
          "cache",
          extent,
          matrix,
          "positions",
          "channels",
        );
        tensors.push({ entry, matrix });
      }
    });
    let bytes = captures.bytes +
      tensors.reduce((sum, { entry }) => sum + (entry.role === "cache" ? entry.bytes : 0), 0);
    if (gradients) {
      const copied = keepGradients(gpu, model, options, bytes);
      kept.push(...copied.kept);
      tensors.push(...copied.tensors);
      bytes = copied.bytes;
    }
    requireRoom(bytes, mostBytes);
    const flow = stream
      ? { stream, ...await weightFlow(gpu, model, options.rule, options.moments) }
      : undefined;
    const named = model.head.length > 0 ? { loss: figure } : { score: figure };
    return { tensors, bytes, ...named, flow, dispatches, made, release };
  } catch (error) {
    release();
    throw error;
  } finally {
    if (training) model.parameters.freeze();
  }
}

/** @throws RangeError where the model has gradients of somebody else's */
export function makeRoomForGradients({ name, parameters }: Qwen2): void {
  if ([...parameters.tensors.values()].some(({ requiresGrad }) => requiresGrad)) {
    throw new RangeError(`${name} is being trained; its gradients belong to the trainer until it is freed.`);
  }
  parameters.train({ moments: false });
}

function requireRoom(bytes: number, mostBytes: number): void {
  if (bytes <= mostBytes) return;
  throw new RangeError(
    `What is to be kept has ${formatBytes(bytes)}, and there is room for ${
      formatBytes(mostBytes)
    }; ask for fewer names or release other captures.`,
  );
}

/** Forward, and backward where gradients are wanted. @returns loss or score [1], the caller's */
function pass(
  gpu: Gpu,
  model: Qwen2,
  ids: readonly number[],
  { gradients, lossFrom, vocabulary }: Pick<HoldOptions, "gradients" | "lossFrom" | "vocabulary">,
  caches?: Parameters<typeof hiddenStates>[3],
): Tensor {
  const batch = tokenBatch(gpu, model, [ids], gradients);
  const forward = () => {
    const hidden = hiddenStates(gpu, model, batch, caches);
    if (model.score) {
      const { weight, bias, offset } = model.score;
      return scalarHead(gpu, gatherRows(gpu, hidden, Uint32Array.of(ids.length - 1)), weight, bias, offset);
    }
    const rows = Uint32Array.from({ length: ids.length - lossFrom }, (_, t) => lossFrom - 1 + t);
    const targets = gpu.from(Uint32Array.from(ids.slice(lossFrom)), [rows.length], "targets");
    return crossEntropy(gpu, gatherRows(gpu, hidden, rows), model.head, targets, { vocabulary }).loss;
  };
  return gradients ? gpu.differentiate(forward) : forward();
}

/** The pass once more, for whoever looks for what is not finite in it. */
export function passAgain(
  gpu: Gpu,
  model: Qwen2,
  ids: readonly number[],
  options: Pick<HoldOptions, "gradients" | "lossFrom" | "vocabulary">,
): void {
  gpu.scope(() => void pass(gpu, model, ids, options));
}

/** Copies the weights' gradients that match: those of the model are freed with the pass. */
function keepGradients(
  gpu: Gpu,
  model: Qwen2,
  { patterns, prefix, mostBytes }: HoldOptions,
  before: number,
): { kept: Tensor[]; tensors: Inspectable[]; bytes: number } {
  const matches = nameMatcher(patterns), kept: Tensor[] = [];
  let bytes = before;
  const tensors = parameterEntries(model, `${prefix}weights.`, "weight gradient", (name, weights) => {
    if (!matches(`weights.${name}.grad`)) return undefined;
    bytes += weights.reduce((sum, tensor) => sum + tensor.bytes, 0);
    if (bytes > mostBytes) return undefined;
    const copies = weights.map(({ grad }) => {
      const copy = gpu.hold(grad!.shape, `capture of ${grad!.name}`);
      gpu.copy(copy, grad!);
      return copy;
    });
    kept.push(...copies);
    return copies;
  });
  for (const { entry } of tensors) {
    entry.name = `weights.${entry.name}.grad`;
    entry.id = prefix + entry.name;
  }
  return { kept, tensors, bytes };
}
