/**
 * Preprocess: posts and comparisons become token tables. Queries are truncated at paragraphs, references get a leading space and EOS,
 * preference texts only EOS, and query and response are tokenised jointly (rlhf details 1–5).
 */
import { joinPath } from "../bytes.ts";
import type { Comparison } from "../comparisons.ts";
import {
  type Dataset,
  type PairSplit,
  type PostSplit,
  type SummarisedPost,
  tableOf,
  writeTable,
} from "../dataset.ts";
import {
  cnndmQuery,
  preferenceResponse,
  QueryError,
  referenceResponse,
  tldrQuery,
  tokenizeSequence,
} from "../query.ts";
import { logMetrics, type Run, Stopped } from "../run.ts";
import type { Tokenizer } from "../tokenizer.ts";

export const postSplits: readonly PostSplit[] = ["train", "validation", "test"];
export const pairSplits: readonly PairSplit[] = ["train", "valid1", "valid2", "cnndm"];

/** Where a split's table is. */
export function tablePath(run: Pick<Run, "path">, kind: "posts" | "pairs", split: string): string {
  return joinPath(run.path, "data", `${kind}-${split}.safetensors`);
}

/** Longest and mean lengths of a table, in tokens. */
export interface TableFigures {
  rows: number;
  longestQuery: number;
  longestResponse: number;
  longestSequence: number;
  meanQuery: number;
  meanResponse: number;
  /** Rows whose query lost its end. */
  truncated: number;
  /** Rows in which a token spans query and response; of comparisons alone. */
  spanning: number;
}

interface Row {
  tokens: number[];
  queryLength: number;
  cut: number;
  separable: boolean;
}

/** Rows between two looks at the progress. */
const chunk = 250;

/**
 * Tokenises every split, writes the tables, and returns their figures by `kind-split`.
 * @throws Stopped when the run is asked to stop; QueryError naming a row that cannot be used
 */
export async function preprocess(run: Run): Promise<Record<string, TableFigures>> {
  const { dataset, tokenizer, config } = run;
  const total = postSplits.reduce((sum, split) => sum + dataset.posts[split].length, 0) +
    pairSplits.reduce((sum, split) => sum + dataset.pairs[split].length, 0);
  const progress = run.progress.stage("preprocess", { steps: total, unit: "rows" });
  await run.files.makeDirectory(joinPath(run.path, "data"));
  const figures: Record<string, TableFigures> = {};
  progress.step(0);
  let done = 0;
  const tokenise = async <T>(
    kind: "posts" | "pairs",
    split: string,
    items: readonly T[],
    rowsOf: (item: T) => Row[],
  ) => {
    const rows: Row[] = [];
    for (const item of items) {
      rows.push(...rowsOf(item));
      if (++done % chunk !== 0) continue;
      progress.step(done);
      // Tokenising never waits for anything: without a pause no Ctrl-C and no redrawing would get through.
      await new Promise((resume) => setTimeout(resume));
      if (run.stopping()) throw new Stopped(run, `${done} of ${total} rows of preprocess`);
    }
    await writeTable(run.files, tablePath(run, kind, split), tableOf(rows));
    const found = figures[`${kind}-${split}`] = figuresOf(rows);
    if (found.spanning > 0) {
      progress.note(
        `In ${found.spanning} of ${found.rows} rows of ${kind}-${split} a token spans query and response, as these are tokenised together.`,
      );
    }
  };
  const limits = config.preprocess;
  for (const split of postSplits) {
    await tokenise("posts", split, dataset.posts[split], (post) => [postRow(tokenizer, post, limits)]);
  }
  for (const split of pairSplits) {
    await tokenise("pairs", split, dataset.pairs[split], (pair) => pairRows(tokenizer, pair, limits));
  }
  progress.step(done);
  await logMetrics(run, "preprocess", 0, flatten(figures));
  const { longestQuery, longestResponse } = figures["posts-train"];
  progress.done(`queries to ${longestQuery} tokens, references to ${longestResponse}`);
  return figures;
}

interface Limits {
  queryTokens: number;
  responseTokens: number;
  preferenceTokens: number;
}

/** @throws QueryError naming the post, where it cannot be made to fit */
export function postRow(tokenizer: Tokenizer, post: SummarisedPost, limits: Limits): Row {
  const query = tldrQuery(tokenizer, post, limits.queryTokens);
  const made = row(
    tokenizer,
    query,
    referenceResponse(post.summary, `The summary of post ${post.id}`),
    limits.responseTokens,
    `post ${post.id}`,
    "responseTokens",
  );
  if (!made.separable) {
    throw new QueryError(
      `In post ${post.id} a token spans query and summary; correct how the summary begins.`,
    );
  }
  return made;
}

/**
 * The chosen summary's row, then the rejected one's. Only TL;DR's have a limit (nobody has published Qwen's longest CNN/DM response),
 * and a text that brings no space may share a token with the query: the reward model reads the end and nothing else.
 * @throws QueryError naming the comparison
 */
export function pairRows(tokenizer: Tokenizer, pair: Comparison, limits: Limits): Row[] {
  const { id, subreddit, title, post, article } = pair.source;
  const query = article !== null ? cnndmQuery(tokenizer, { id, article }) : tldrQuery(
    tokenizer,
    { id, subreddit: subreddit ?? "", title: title ?? "", post: post ?? "" },
    limits.queryTokens,
  );
  return [pair.chosen, pair.rejected].map(({ text }) =>
    row(
      tokenizer,
      query,
      preferenceResponse(text, `A summary compared on ${id}`),
      article !== null ? Infinity : limits.preferenceTokens,
      `comparison on ${id}`,
      "preferenceTokens",
    )
  );
}

function row(
  tokenizer: Tokenizer,
  query: { text: string; cut: number },
  response: string,
  most: number,
  what: string,
  field: string,
): Row {
  const { tokens, queryLength, separable } = tokenizeSequence(tokenizer, query.text, response);
  const length = tokens.length - queryLength;
  if (length > most) {
    throw new QueryError(
      `In ${what} the response has ${length} tokens, above --preprocess.${field} ${most}; raise that.`,
    );
  }
  // A response has at least its EOS.
  return { tokens, queryLength: Math.min(queryLength, tokens.length - 1), cut: query.cut, separable };
}

function figuresOf(rows: readonly Row[]): TableFigures {
  const longest = (length: (row: Row) => number) =>
    rows.reduce((most, row) => Math.max(most, length(row)), 0);
  const mean = (length: (row: Row) => number) =>
    rows.reduce((sum, row) => sum + length(row), 0) / Math.max(1, rows.length);
  const response = (row: Row) => row.tokens.length - row.queryLength;
  return {
    rows: rows.length,
    longestQuery: longest((row) => row.queryLength),
    longestResponse: longest(response),
    longestSequence: longest((row) => row.tokens.length),
    meanQuery: mean((row) => row.queryLength),
    meanResponse: mean(response),
    truncated: rows.filter(({ cut }) => cut > 0).length,
    spanning: rows.filter(({ separable }) => !separable).length,
  };
}

function flatten(figures: Record<string, TableFigures>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(figures).flatMap(([table, values]) =>
      Object.entries(values).map(([name, value]) => [`precis/${table}/${name}`, value])
    ),
  );
}

/** Rows of posts that the dataset has by split, to be compared with the tables. */
export function splitSizes(dataset: Dataset): { posts: number; pairs: number } {
  return { posts: dataset.posts.train.length, pairs: dataset.pairs.train.length };
}
