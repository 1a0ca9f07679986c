/** One post's summary with everything that is to be seen of it: text, tokens, and how sure the model was of each. */
import type { Gpu } from "../kernels/gpu.ts";
import { drawnAt } from "./generate.ts";
import { type Post, type Query, tldrQuery } from "./query.ts";
import type { Qwen2 } from "./qwen2.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { stageKeys } from "./training.ts";
import { rate, type RatedToken, write, type WritingOptions } from "./writing.ts";

/** A model that can be asked, and the lengths it was trained with. */
export interface Writer {
  gpu: Gpu;
  model: Qwen2;
  tokenizer: Tokenizer;
  lengths: { queryTokens: number; responseTokens: number };
}

/** How tokens are drawn. */
export interface Drawing {
  /** 0 always takes the likeliest. */
  temperature: number;
  seed: number;
  /** As {@link WritingOptions} has it. */
  margins?: boolean;
}

/** A token with the text that stands for it. */
export interface ShownToken extends RatedToken {
  text: string;
}

/** A summary that was written, or one that was rated. */
export interface Written {
  /** Without EOS and blanks at the ends. */
  text: string;
  /** With EOS, if there is one. */
  tokens: ShownToken[];
  queryTokens: number;
  /** UTF-16 units of the post that did not fit. */
  charactersCut: number;
}

/** The drawing as options of `write`; the key is that of `deno task generate`'s first sample. */
export function drawingOptions(
  { temperature, seed, margins }: Drawing,
): Omit<WritingOptions, "responseLength"> {
  return { ...drawnAt(temperature), margins, seed, stage: stageKeys.samples, step: 0 };
}

/**
 * Writes a summary.
 * @param onToken called with each token as soon as it is there
 * @throws QueryError where the post cannot be made into a query
 */
export async function summarise(
  { gpu, model, tokenizer, lengths }: Writer,
  post: Post,
  drawing: Drawing,
  onToken: (token: ShownToken) => void = () => {},
): Promise<Written> {
  const query = tldrQuery(tokenizer, post, lengths.queryTokens);
  const room = model.config.maxPositions - query.tokens.length;
  const tokens: ShownToken[] = [];
  const options = {
    ...drawingOptions(drawing),
    responseLength: Math.min(lengths.responseTokens, room),
    eosId: tokenizer.eosId,
    vocabulary: tokenizer.padId,
  };
  for await (const token of write(gpu, model, query.tokens, options)) {
    const shown = { ...token, text: tokenizer.decodeToken(token.id) };
    tokens.push(shown);
    onToken(shown);
  }
  return written(tokens, tokenizer, query);
}

/**
 * What the model makes of somebody else's summary, EOS included.
 * @throws QueryError where the post cannot be made into a query, RangeError where the summary is not valid Unicode or does not fit
 */
export async function rateSummary(
  { gpu, model, tokenizer, lengths }: Writer,
  post: Post,
  summary: string,
): Promise<Written> {
  const query = tldrQuery(tokenizer, post, lengths.queryTokens);
  const response = [...tokenizer.encode(` ${summary.trim()}`), tokenizer.eosId];
  const room = model.config.maxPositions - query.tokens.length;
  if (response.length > room) {
    throw new RangeError(
      `The summary has ${response.length} tokens, and ${room} fit behind the post; shorten it.`,
    );
  }
  const rated = await rate(gpu, model, query.tokens, response, tokenizer.padId);
  return written(
    rated.map((token) => ({ ...token, text: tokenizer.decodeToken(token.id) })),
    tokenizer,
    query,
  );
}

function written(tokens: ShownToken[], tokenizer: Tokenizer, query: Query): Written {
  const ids = tokens.map(({ id }) => id).filter((id) => id !== tokenizer.eosId);
  return {
    text: tokenizer.decode(ids).trim(),
    tokens,
    queryTokens: query.tokens.length,
    charactersCut: query.cut,
  };
}
