/**
 * Rows to token ids: queries are truncated at paragraphs, references get a leading space and EOS, preference texts only EOS, and query
 * and response are tokenised jointly (rlhf details 1–5). Rows are independent, so batches of them can be at work in several places.
 */
import type { Comparison } from "./comparisons.ts";
import { type SummarisedPost, tableOf, type TokenisedTable } from "./dataset.ts";
import {
  cnndmQuery,
  preferenceResponse,
  QueryError,
  referenceResponse,
  tldrQuery,
  tokenizeSequence,
} from "./query.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Most tokens of each, EOS included; see the configuration's `preprocess`. */
export interface TokenLimits {
  queryTokens: number;
  responseTokens: number;
  preferenceTokens: number;
}

/** Rows of one split, in order. Plain data, so that it can be sent to a worker. */
export type RowBatch = { kind: "posts"; rows: SummarisedPost[] } | { kind: "pairs"; rows: Comparison[] };

/** Whatever turns batches into ids: this thread, or workers. */
export interface Tokenisers {
  /** Batches that can be at work at a time. */
  readonly count: number;
  /** Rejects with QueryError naming file and row where a row cannot be used. */
  tokenise(batch: RowBatch): Promise<TokenisedTable>;
  /** Ends them. Batches at work are given up. */
  close(): void;
}

/** Rows between two pauses. */
const chunk = 250;

/** Tokenises in this thread. It pauses now and then: otherwise neither Ctrl-C nor a redrawn line would get through. */
export function inThisThread(tokenizer: Tokenizer, limits: TokenLimits): Tokenisers {
  let closed = false;
  return {
    count: 1,
    async tokenise(batch) {
      const rows: Row[] = [];
      for (let at = 0; at < batch.rows.length; at += chunk) {
        if (closed) throw new Error("Tokenising was given up.");
        for (const row of tokenRows(tokenizer, part(batch, at, at + chunk), limits)) rows.push(row);
        await new Promise((resume) => setTimeout(resume));
      }
      return tokenisedTable(rows);
    },
    close: () => closed = true,
  };
}

/** The ids of a batch, in one go. @throws QueryError naming file and row */
export function tokeniseBatch(tokenizer: Tokenizer, batch: RowBatch, limits: TokenLimits): TokenisedTable {
  return tokenisedTable(tokenRows(tokenizer, batch, limits));
}

function part(batch: RowBatch, start: number, end: number): RowBatch {
  return { kind: batch.kind, rows: batch.rows.slice(start, end) } as RowBatch;
}

function tokenisedTable(rows: readonly Row[]): TokenisedTable {
  return {
    ...tableOf(rows),
    truncated: rows.filter(({ cut }) => cut > 0).length,
    spanning: rows.filter(({ separable }) => !separable).length,
  };
}

interface Row {
  tokens: number[];
  queryLength: number;
  cut: number;
  separable: boolean;
}

function tokenRows(tokenizer: Tokenizer, batch: RowBatch, limits: TokenLimits): Row[] {
  return batch.kind === "posts"
    ? batch.rows.map((post) => placed(post, () => postRow(tokenizer, post, limits)))
    : batch.rows.flatMap((pair) => placed(pair, () => pairRows(tokenizer, pair, limits)));
}

/** Adds to an error where the row was read. */
function placed<T>({ place }: { place?: string }, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (place === undefined || !(error instanceof Error)) throw error;
    if (error instanceof QueryError) throw new QueryError(`${place}: ${error.message}`);
    throw new Error(`${place} could not be tokenised (${error.message}).`, { cause: error });
  }
}

function postRow(tokenizer: Tokenizer, post: SummarisedPost, limits: TokenLimits): Row {
  const query = tldrQuery(tokenizer, post, limits.queryTokens);
  const row = rowOf(
    tokenizer,
    query,
    referenceResponse(post.summary, `The summary of post ${post.id}`),
    limits.responseTokens,
    `post ${post.id}`,
    "responseTokens",
  );
  if (!row.separable) {
    throw new QueryError(
      `In post ${post.id} a token spans query and summary; correct how the summary begins.`,
    );
  }
  return row;
}

/**
 * The chosen summary's row, then the rejected one's. Only TL;DR's have a limit (nobody has published Qwen's longest CNN/DM response),
 * and a text that brings no space may share a token with the query: the reward model reads the end and nothing else.
 */
function pairRows(tokenizer: Tokenizer, pair: Comparison, limits: TokenLimits): Row[] {
  const { id, subreddit, title, post, article } = pair.source;
  const query = article !== null ? cnndmQuery(tokenizer, { id, article }) : tldrQuery(
    tokenizer,
    { id, subreddit: subreddit ?? "", title: title ?? "", post: post ?? "" },
    limits.queryTokens,
  );
  return [pair.chosen, pair.rejected].map(({ text }) =>
    rowOf(
      tokenizer,
      query,
      preferenceResponse(text, `A summary compared on ${id}`),
      article !== null ? Infinity : limits.preferenceTokens,
      `comparison on ${id}`,
      "preferenceTokens",
    )
  );
}

function rowOf(
  tokenizer: Tokenizer,
  query: { text: string; tokens: number[]; cut: number },
  response: string,
  most: number,
  what: string,
  field: string,
): Row {
  const { tokens, queryLength, separable } = tokenizeSequence(tokenizer, query.text, response, query.tokens);
  const length = tokens.length - queryLength;
  if (length > most) {
    throw new QueryError(
      `In ${what} the response has ${length} tokens, above --preprocess.${field} ${most}; raise that.`,
    );
  }
  // A response has at least its EOS.
  return { tokens, queryLength: Math.min(queryLength, tokens.length - 1), cut: query.cut, separable };
}
