/** What in a summary the reward model pays for: the score with each token left out, and of every beginning. */
import type { Gpu } from "../../kernels/gpu.ts";
import { type Post, tldrQuery } from "../query.ts";
import type { Qwen2 } from "../qwen2.ts";
import { joined, sequenceScores } from "../scoring.ts";
import type { Tokenizer } from "../tokenizer.ts";
import type { Heeded } from "./trainer.ts";

/** A token of the summary, EOS left out. */
export interface XrayedToken {
  id: number;
  text: string;
  /** The score of the summary without this token, points. */
  without: number;
  /** What the token brings: the whole summary's score less that. */
  contribution: number;
  /** The score of the summary up to and with this token, ended there. */
  prefix: number;
  /** What it added to the score of the beginning before it. */
  step: number;
}

export interface Xray {
  /** The score of the whole summary, points. */
  score: number;
  /** Of a summary without a word: EOS alone. */
  empty: number;
  tokens: XrayedToken[];
}

/**
 * Scores a summary, and every variant of it in a few batches.
 * @param summary its text; a leading space and EOS are added, as references have them
 * @throws QueryError where the post cannot be made into a query, RangeError where the summary has no token, is not valid Unicode or does not fit
 */
export async function xray(
  { gpu, tokenizer, model, queryTokens, microTokens = 4096 }: {
    gpu: Gpu;
    tokenizer: Tokenizer;
    /** A reward model. */
    model: Qwen2;
    /** Most tokens of the query. */
    queryTokens: number;
    microTokens?: number;
  },
  post: Post,
  summary: string,
  { heed, onProgress }: Heeded & { onProgress?: (done: number, of: number) => void } = {},
): Promise<Xray> {
  if (!model.score) throw new RangeError(`${model.name} is no reward model: it has no scalar head.`);
  const query = Uint32Array.from(tldrQuery(tokenizer, post, queryTokens).tokens);
  const ids = summary.trim() === "" ? [] : tokenizer.encode(` ${summary.trim()}`);
  if (ids.length === 0) throw new RangeError("The summary is empty; write a word or two.");
  const room = model.config.maxPositions - query.length - 1;
  if (ids.length > room) {
    throw new RangeError(
      `The summary has ${ids.length} tokens, and ${room} fit behind the post; shorten it.`,
    );
  }
  const ended = (response: readonly number[]) => joined(query, [...response, tokenizer.eosId]);
  const variants = [
    ended(ids),
    ended([]),
    ...ids.map((_, t) => ended(ids.toSpliced(t, 1))),
    // The last beginning is the whole.
    ...ids.slice(0, -1).map((_, t) => ended(ids.slice(0, t + 1))),
  ];
  const scores: number[] = [];
  const some = Math.max(1, Math.floor(microTokens / variants[0].length));
  for (let at = 0; at < variants.length; at += some) {
    scores.push(...await sequenceScores(gpu, model, variants.slice(at, at + some), microTokens, heed));
    onProgress?.(scores.length, variants.length);
  }
  const [score, empty] = scores;
  const without = scores.slice(2, 2 + ids.length);
  const prefixes = [...scores.slice(2 + ids.length), score];
  return {
    score,
    empty,
    tokens: ids.map((id, t) => ({
      id,
      text: tokenizer.decodeToken(id),
      without: without[t],
      contribution: score - without[t],
      prefix: prefixes[t],
      step: prefixes[t] - (t > 0 ? prefixes[t - 1] : empty),
    })),
  };
}
