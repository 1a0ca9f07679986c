/**
 * From a post to the model's input: the query text, its truncation, padding, and the responses that follow it. To the byte what
 * vwxyzjn/summarize_from_feedback_details does (`process_query` in tldr_dataset.py), which follows OpenAI's published code.
 */
import { endOfText, illFormedAt, type Tokenizer } from "./tokenizer.ts";

/** A Reddit post, as in the TL;DR data. `subreddit` stands without "r/". */
export interface Post {
  id?: string;
  subreddit: string;
  title: string;
  post: string;
}

/** A CNN/DailyMail article, the out-of-distribution half of OpenAI's comparisons. */
export interface Article {
  id?: string;
  article: string;
}

/** A query that fits. `text` is the untouched string that was tokenised; never make it from the ids. */
export interface Query {
  text: string;
  /** At most the limit; not padded. */
  tokens: number[];
  /** UTF-16 units that were cut off the post's (or the article's) end. */
  cut: number;
}

/** A post cannot be made into a query, or a text into a response. The message says which, why, and what to do. */
export class QueryError extends Error {
  override name = "QueryError";
}

/** Query tokens of a TL;DR post, at most (S1 `TaskQueryHParams`). */
export const tldrQueryLimit = 512;
/** Query tokens of a CNN/DM article, at most: a context of 2,047 less 128 for the response. */
export const cnndmQueryLimit = 2047 - 128;

/** The query of a whole post, not truncated. No space follows the last colon. */
export function formatTldrQuery({ subreddit, title, post }: Post): string {
  return `SUBREDDIT: r/${subreddit}\n\nTITLE: ${title}\n\nPOST: ${post}\n\nTL;DR:`;
}

/** The query of a whole article, not truncated; unlike TL;DR's it ends in a newline. */
export function formatCnndmQuery({ article }: Article): string {
  return `Article:\n${article}\n\nTL;DR:\n`;
}

/**
 * The query of a post, truncated to `limit` tokens by dropping paragraphs off its end (see `truncate`).
 *
 * @throws QueryError where the post is blank, is not valid Unicode, or nothing of it is left within the limit
 */
export function tldrQuery(tokenizer: Tokenizer, post: Post, limit: number = tldrQueryLimit): Query {
  const name = post.id === undefined ? "The post" : `Post ${post.id}`;
  for (const field of ["subreddit", "title", "post"] as const) {
    checkUnicode(`${name}'s ${field}`, post[field]);
  }
  const [before, after] = around(formatTldrQuery({ ...post, post: "" }), "\n\nTL;DR:");
  return truncate(tokenizer, name, before, post.post, after, limit);
}

/** The query of an article, truncated to `limit` tokens. Throws as `tldrQuery` does. */
export function cnndmQuery(tokenizer: Tokenizer, article: Article, limit: number = cnndmQueryLimit): Query {
  const name = article.id === undefined ? "The article" : `Article ${article.id}`;
  checkUnicode(name, article.article);
  const [before, after] = around(formatCnndmQuery({ article: "" }), "\n\nTL;DR:\n");
  return truncate(tokenizer, name, before, article.article, after, limit);
}

function around(format: string, after: string): [string, string] {
  return [format.slice(0, format.length - after.length), after];
}

/**
 * UTF-16 units that are tokenised again before a post is given up: thousands of cuts of any prose, seconds of work. A megabyte of one
 * letter would take the rule days.
 */
const mostRepeated = 2_000_000;
/** No token stands for more characters, or so few that it does not matter to when a post is given up. */
const longestToken = 256;

/**
 * While `before + field + after` has more than `limit` tokens, `field` is cut just before its last newline or, where it has
 * none, loses its last character (a whole one, never half a surrogate pair, which is what Python's slices count).
 *
 * The rule tokenises again after every cut. Most cuts are decided without: a space between two Latin letters, or a newline behind
 * one, always ends a piece in the pre-tokenizers of GPT-2's family, so the tokens up to it are the same in every longer text, and
 * cuts that keep `limit` tokens up to there and something beyond are still too long. The result is the rule's.
 */
function truncate(
  tokenizer: Tokenizer,
  name: string,
  before: string,
  field: string,
  after: string,
  limit: number,
): Query {
  if (!/\S/u.test(field)) throw new QueryError(`${name} is empty; leave it out.`);
  let kept = field;
  let tokens = tokenizer.encode(before + kept + after);
  if (tokens.length > limit) {
    const tooLong = certainlyTooLong(tokenizer, before, field, limit);
    let repeated = 0;
    do {
      const newline = kept.lastIndexOf("\n");
      if (newline >= 0) kept = kept.slice(0, newline);
      else if (kept.length > tooLong) kept = kept.slice(0, tooLong);
      else {
        const pair = kept.length > 1 && kept.codePointAt(kept.length - 2)! > 0xffff;
        // What is left to drop one by one, at the least.
        repeated += kept.length * Math.max(0, kept.length - longestToken * limit);
        kept = kept.slice(0, pair ? -2 : -1);
      }
      if (kept.length >= tooLong) continue;
      if (kept === "") {
        throw new QueryError(
          `${name} cannot be truncated to a query of ${limit} tokens: nothing of it is left; ` +
            `shorten the title or the first paragraph.`,
        );
      }
      repeated += kept.length;
      if (repeated > mostRepeated) {
        throw new QueryError(
          `${name} would take too long to truncate to a query of ${limit} tokens; ` +
            `shorten it or break it into words and lines.`,
        );
      }
      tokens = tokenizer.encode(before + kept + after);
    } while (kept.length >= tooLong || tokens.length > limit);
  }
  return { text: before + kept + after, tokens, cut: field.length - kept.length };
}

/** The least length known from which on every prefix of `field` makes a query of more than `limit` tokens. */
function certainlyTooLong(tokenizer: Tokenizer, before: string, field: string, limit: number): number {
  const ends = Array.from(field.matchAll(/(?<=[A-Za-z])(?: (?=[A-Za-z])|\n)/g), (match) => match.index);
  const full = (i: number) => tokenizer.encode(before + field.slice(0, ends[i])).length >= limit;
  // Doubling first, so that the work follows the limit and not the length of the text.
  let high = 1;
  while (high < ends.length && !full(high)) high *= 2;
  let low = Math.floor(high / 2);
  high = Math.min(high, ends.length);
  while (low < high) {
    const middle = (low + high) >> 1;
    if (full(middle)) high = middle;
    else low = middle + 1;
  }
  return low < ends.length ? ends[low] + 2 : Infinity;
}

/**
 * The response that SFT learns: a reference summary, which has no leading space, with a space before and EOS behind it.
 * @param name what the message calls it
 * @throws QueryError where it is not valid Unicode or contains EOS
 */
export function referenceResponse(summary: string, name = "The summary"): string {
  return response(" " + summary, name);
}

/**
 * The response that the reward model reads: a text of the comparisons, which brings its own leading space, with EOS behind it.
 * Throws as {@link referenceResponse} does.
 */
export function preferenceResponse(text: string, name = "The summary"): string {
  return response(text, name);
}

function response(text: string, name: string): string {
  checkUnicode(name, text);
  if (text.includes(endOfText)) {
    throw new QueryError(`${name} contains ${endOfText} itself, which would end it early; remove it.`);
  }
  return text + endOfText;
}

/** Query and response tokenised as one text, as every stage sees them. */
export interface Sequence {
  /** Not padded; the last one is EOS. */
  tokens: number[];
  /** Tokens of the (stripped) query alone; the response starts here where `separable`. */
  queryLength: number;
  /** Whether the ids are those of the query followed by those of the response: so wherever a space divides them. */
  separable: boolean;
}

/**
 * Tokenises `query.trim() + response` jointly (S1 `process_response_data`). TL;DR's queries have nothing to strip; CNN/DM's lose
 * their last newline, and where such a response starts without a space a token may span both.
 */
export function tokenizeSequence(tokenizer: Tokenizer, query: string, response: string): Sequence {
  const stripped = query.trim();
  const tokens = tokenizer.encode(stripped + response);
  const separate = tokenizer.encode(stripped);
  const queryLength = separate.length;
  for (const token of tokenizer.encode(response)) separate.push(token);
  const separable = separate.length === tokens.length && separate.every((token, i) => token === tokens[i]);
  return { tokens, queryLength, separable };
}

/** Ids with padding before them, `length` in all (queries). Throws a RangeError where they are more. */
export function padLeft(tokens: ArrayLike<number>, length: number, padId: number): Uint32Array {
  return pad(tokens, length, padId, length - tokens.length);
}

/** Ids with padding behind them, `length` in all (responses and sequences). Throws a RangeError where they are more. */
export function padRight(tokens: ArrayLike<number>, length: number, padId: number): Uint32Array {
  return pad(tokens, length, padId, 0);
}

function pad(tokens: ArrayLike<number>, length: number, padId: number, at: number): Uint32Array {
  if (tokens.length > length) {
    throw new RangeError(
      `${tokens.length} tokens do not fit a row of ${length}; raise the length, or leave the row out.`,
    );
  }
  const row = new Uint32Array(length).fill(padId);
  row.set(tokens, at);
  return row;
}

/** The ids of a left-padded row without its padding: a view, not a copy. */
export function withoutLeftPadding(row: Uint32Array, padId: number): Uint32Array {
  let start = 0;
  while (start < row.length && row[start] === padId) start++;
  return row.subarray(start);
}

function checkUnicode(name: string, text: string): void {
  if (text.isWellFormed()) return;
  throw new QueryError(
    `${name} is not valid Unicode (half a surrogate pair at character ${
      illFormedAt(text)
    }); replace or remove that character.`,
  );
}
