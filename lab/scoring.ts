/** Forward passes without gradients over many sequences, in micro-batches: logprobs, values, scores. */
import { gatherRows } from "../kernels/gather_rows.ts";
import type { Gpu } from "../kernels/gpu.ts";
import { logprobs } from "../kernels/logprob.ts";
import { scalarHead } from "../kernels/scalar_head.ts";
import { Tensor } from "../kernels/tensor.ts";
import { hiddenStates, type Qwen2, tokenBatch } from "./qwen2.ts";
import { microBatches } from "./training.ts";

/** A sequence and the positions in it whose hidden states are wanted, rising. */
export interface Probe {
  tokens: ArrayLike<number>;
  positions: ArrayLike<number>;
}

/** Query and response end to end. */
export function joined(query: Uint32Array, response: ArrayLike<number>): Uint32Array {
  const tokens = new Uint32Array(query.length + response.length);
  tokens.set(query);
  tokens.set(response, query.length);
  return tokens;
}

/** Positions query − 1, query, …: those whose hidden states stand before response tokens 0, 1, … */
export function responseProbe(tokens: Uint32Array, query: number, count: number): Probe {
  return { tokens, positions: Uint32Array.from({ length: count }, (_, t) => query - 1 + t) };
}

/** Rows of a packed batch that the probes ask for, and the ids that follow them. */
export function probedRows(
  probes: readonly Probe[],
  starts: ArrayLike<number>,
): { rows: Uint32Array<ArrayBuffer>; targets: Uint32Array<ArrayBuffer> } {
  const rows: number[] = [], targets: number[] = [];
  probes.forEach(({ tokens, positions }, b) => {
    for (let i = 0; i < positions.length; i++) {
      rows.push(starts[b] + positions[i]);
      targets.push(tokens[positions[i] + 1] ?? 0);
    }
  });
  return { rows: Uint32Array.from(rows), targets: Uint32Array.from(targets) };
}

export interface TokenScores {
  /** log p of the id after each probed position. */
  logprob: Float32Array;
  /** Of the distribution there, nats. */
  entropy: Float32Array;
}

/**
 * The logprob of the token after each probed position.
 * @param options τ; ids at or above `vocabulary` do not exist; `heed` is called after every micro-batch and may throw to give up
 * @returns for each probe as many numbers as it has positions
 */
export async function tokenLogprobs(
  gpu: Gpu,
  model: Qwen2,
  probes: readonly Probe[],
  options: { temperature: number; vocabulary?: number; microTokens: number; heed?: () => void },
): Promise<TokenScores[]> {
  const { microTokens, heed, ...rule } = options;
  const rows = await overMicroBatches(gpu, model, probes, { microTokens, heed }, (hidden, targets) => {
    const { logprob, entropy } = logprobs(gpu, hidden, model.head, targets, rule);
    return [logprob, entropy];
  });
  return rows.map(([logprob, entropy]) => ({ logprob, entropy }));
}

/**
 * How likely each of some ids is as the next token.
 * @param sequences none empty
 * @returns for each sequence log p of each id, at temperature 1
 */
export async function nextLogprobs(
  gpu: Gpu,
  model: Qwen2,
  sequences: readonly ArrayLike<number>[],
  ids: readonly number[],
  options: { vocabulary?: number; microTokens: number; heed?: () => void },
): Promise<number[][]> {
  const probes = sequences.map((tokens) => ({ tokens, positions: [tokens.length - 1] }));
  const measure = (hidden: Tensor) =>
    ids.map((id) => {
      const rows = hidden.shape[0];
      const target = gpu.from(new Uint32Array(rows).fill(id), [rows], `next ${id}`);
      return logprobs(gpu, hidden, model.head, target, { vocabulary: options.vocabulary }).logprob;
    });
  const rows = await overMicroBatches(gpu, model, probes, options, measure);
  return rows.map((columns) => columns.map(([value]) => value));
}

/** The scalar head's output at each probed position, less the model's offset. */
export async function scores(
  gpu: Gpu,
  model: Qwen2,
  probes: readonly Probe[],
  microTokens: number,
  heed?: () => void,
): Promise<Float32Array[]> {
  const { weight, bias, offset } = model.score!;
  const rows = await overMicroBatches(
    gpu,
    model,
    probes,
    { microTokens, heed },
    (hidden) => [scalarHead(gpu, hidden, weight, bias, offset)],
  );
  return rows.map(([score]) => score);
}

/** The score of each sequence at its last token (EOS, wherever the response has one). */
export async function sequenceScores(
  gpu: Gpu,
  model: Qwen2,
  sequences: readonly ArrayLike<number>[],
  microTokens: number,
  heed?: () => void,
): Promise<Float32Array> {
  const probes = sequences.map((tokens) => ({ tokens, positions: [tokens.length - 1] }));
  return Float32Array.from((await scores(gpu, model, probes, microTokens, heed)).map(([score]) => score));
}

async function overMicroBatches(
  gpu: Gpu,
  model: Qwen2,
  probes: readonly Probe[],
  { microTokens, heed }: { microTokens: number; heed?: () => void },
  measure: (hidden: Tensor, targets: Tensor) => Tensor[],
): Promise<Float32Array[][]> {
  const results: Float32Array[][] = [];
  for (const [from, to] of microBatches(probes.map(({ tokens }) => tokens.length), microTokens)) {
    const some = probes.slice(from, to);
    const measured = gpu.scope(() => {
      const batch = tokenBatch(gpu, model, some.map(({ tokens }) => tokens));
      const { rows, targets } = probedRows(some, batch.packing.host.starts);
      const following = gpu.from(targets, [targets.length], "targets");
      return measure(gatherRows(gpu, hiddenStates(gpu, model, batch), rows), following);
    });
    const values = await gpu.read(...measured);
    for (const tensor of measured) gpu.release(tensor);
    let at = 0;
    for (const { positions } of some) {
      const end = at + positions.length;
      results.push(values.map((column) => column.subarray(at, end)));
      at = end;
    }
    heed?.();
  }
  return results;
}
