/** Texts as the tokens that a model is shown. */
import { tldrQuery } from "../query.ts";
import type { Tokenizer } from "../tokenizer.ts";
import type { OpenModel } from "../workbench.ts";
import type { InspectedText, TokenLabel } from "./types.ts";

/** A text's tokens, and the first one that answers to what is before it. */
export interface Tokens {
  ids: number[];
  response: number;
}

/**
 * Tokenises a text for a model.
 * @throws RangeError where it has fewer than two tokens or more than the model takes; QueryError where a post cannot be made into a query
 */
export async function tokensOf(
  { model, configuration }: Pick<OpenModel, "model" | "configuration">,
  tokenizer: Tokenizer | undefined,
  text: InspectedText,
): Promise<Tokens> {
  const speaker = () => {
    if (tokenizer) return tokenizer;
    throw new RangeError(`${model.name} has no tokenizer beside it, so it can only be shown ids.`);
  };
  const tokens = await (async (): Promise<Tokens> => {
    switch (text.kind) {
      case "ids":
        return { ids: [...text.ids], response: text.response ?? 1 };
      case "text":
        return { ids: speaker().encode(text.text), response: 1 };
      case "summary": {
        const { queryTokens } = (await configuration()).preprocess;
        const query = tldrQuery(speaker(), text.post, queryTokens).tokens;
        const summary = [...speaker().encode(` ${text.summary.trim()}`), speaker().eosId];
        return { ids: [...query, ...summary], response: query.length };
      }
    }
  })();
  const { ids, response } = tokens, { maxPositions, vocabulary } = model.config;
  if (ids.length < 2) throw new RangeError(`The text has ${ids.length} tokens, and two are needed at least.`);
  if (ids.length > maxPositions) {
    throw new RangeError(
      `The text has ${ids.length} tokens, and ${model.name} takes ${maxPositions}; shorten it.`,
    );
  }
  const stray = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabulary));
  if (stray !== undefined) {
    throw new RangeError(`${stray} is no id of ${model.name}'s vocabulary of ${vocabulary}.`);
  }
  if (!(Number.isInteger(response) && response >= 1 && response < ids.length)) {
    throw new RangeError(`The response cannot begin at token ${response} of ${ids.length}.`);
  }
  return tokens;
}

/** Ids with their texts, or with `[id]` where there is no tokenizer. */
export function labelled(tokenizer: Tokenizer | undefined, ids: Iterable<number>): TokenLabel[] {
  return Array.from(ids, (id) => ({ id, text: textOf(tokenizer, id) }));
}

export function textOf(tokenizer: Tokenizer | undefined, id: number): string {
  return tokenizer ? tokenizer.decodeToken(id) : `[${id}]`;
}
