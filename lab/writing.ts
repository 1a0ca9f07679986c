/**
 * Writes one response token by token, each shown with how sure the model was of it: for people who watch. What is drawn is to the bit what
 * lab/generate.ts draws, which waits for nothing in between and is the faster for it.
 */
import { gatherRows } from "../kernels/gather_rows.ts";
import type { Gpu } from "../kernels/gpu.ts";
import { type KeyValueCache, keyValueCache, releaseKeyValueCache } from "../kernels/key_value_cache.ts";
import { logprobs } from "../kernels/logprob.ts";
import { sample, type SampleRule } from "../kernels/sample.ts";
import type { Tensor } from "../kernels/tensor.ts";
import { topTokens } from "../kernels/top_tokens.ts";
import { hiddenOfStep } from "./generate.ts";
import { hiddenStates, type Qwen2, ropeShape, tokenBatch } from "./qwen2.ts";
import { tokenLogprobs } from "./scoring.ts";

/** A token, and what the model made of it where it stands. */
export interface RatedToken {
  id: number;
  /** log p of it at temperature 1, nats. */
  logprob: number;
  /** Of the distribution it comes from, at temperature 1, nats. */
  entropy: number;
  /** How far its logit was above the second best; of greedy writing that was asked for margins. */
  margin?: number;
}

export interface WritingOptions extends SampleRule {
  /** Tokens at most. */
  responseLength: number;
  /** What ends the response, the last token of it; none if left out. */
  eosId?: number;
  seed: number;
  stage: number;
  step: number;
  /** What numbers the prompt in the random numbers' key. Default 0. */
  sample?: number;
  /** Tells of each token that is chosen greedily how near the second best came. */
  margins?: boolean;
  /**
   * The caller's own caches, one a layer, for prompt and response: they hold the keys and values of all tokens but the last one drawn in the
   * end. By default caches that are freed.
   */
  caches?: readonly KeyValueCache[];
}

/**
 * Yields the tokens of a response as they are drawn, EOS included.
 * @param prompt token ids, at least one
 */
export async function* write(
  gpu: Gpu,
  model: Qwen2,
  prompt: readonly number[],
  options: WritingOptions,
): AsyncGenerator<RatedToken> {
  const { responseLength, eosId, vocabulary } = options;
  const shape = ropeShape(model.config);
  const one = (value: number, name: string) => gpu.from(Uint32Array.of(value), [1], name);
  const caches = options.caches ??
    model.layers.map(() => keyValueCache(gpu, 1, prompt.length + responseLength, shape));
  const draw = async (t: number, hiddenOf: () => Tensor): Promise<RatedToken> => {
    const drawn = gpu.scope(() => {
      const hidden = hiddenOf();
      const { token } = sample(gpu, hidden, model.head, {
        ...options,
        samples: one(options.sample ?? 0, "sample"),
        position: t,
      });
      const { logprob, entropy } = logprobs(gpu, hidden, model.head, token, { vocabulary });
      const near = options.greedy && options.margins
        ? [topTokens(gpu, hidden, model.head, 2, { vocabulary }).logits]
        : [];
      return [token, logprob, entropy, ...near];
    });
    const [token, logprob, entropy, near] = await gpu.read(...drawn);
    for (const tensor of drawn) gpu.release(tensor);
    return {
      id: new Uint32Array(token.buffer)[0],
      logprob: logprob[0],
      entropy: entropy[0],
      ...(near && { margin: near[0] - near[1] }),
    };
  };
  try {
    let latest = await draw(0, () => {
      const batch = tokenBatch(gpu, model, [prompt]);
      return gatherRows(gpu, hiddenStates(gpu, model, batch, caches), Uint32Array.of(prompt.length - 1));
    });
    yield latest;
    for (let t = 1; t < responseLength && latest.id !== eosId; t++) {
      const at = prompt.length + t - 1, { id } = latest;
      latest = await draw(
        t,
        () =>
          hiddenOfStep(
            gpu,
            model,
            one(id, "token"),
            one(at, "position"),
            one(at + 1, "length"),
            caches,
          ),
      );
      yield latest;
    }
  } finally {
    if (!options.caches) { for (const cache of caches) releaseKeyValueCache(gpu, cache); }
  }
}

/**
 * What the model makes of a given response.
 * @param prompt token ids, at least one
 */
export async function rate(
  gpu: Gpu,
  model: Qwen2,
  prompt: readonly number[],
  response: readonly number[],
  vocabulary?: number,
): Promise<RatedToken[]> {
  if (response.length === 0) return [];
  const probe = {
    tokens: [...prompt, ...response],
    positions: response.map((_, t) => prompt.length - 1 + t),
  };
  const rule = { temperature: 1, vocabulary, microTokens: 4096 };
  const [{ logprob, entropy }] = await tokenLogprobs(gpu, model, [probe], rule);
  return response.map((id, t) => ({ id, logprob: logprob[t], entropy: entropy[t] }));
}
