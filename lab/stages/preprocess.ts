/**
 * Preprocess: posts and comparisons become token tables (see lab/tokenise.ts), in shards of a few thousand rows. A shard knows what it
 * was made from, so that one that an earlier or interrupted run has left is taken over where rows, tokenizer and limits are the same.
 */
import { DamagedFileError, FileAccessError, type Files, joinPath, sha256Of } from "../bytes.ts";
import type { Comparison } from "../comparisons.ts";
import {
  type Dataset,
  type PairSplit,
  type PostSplit,
  readShard,
  readTable,
  rowCount,
  type Rows,
  shardPath,
  type SummarisedPost,
  type TokenShard,
  type TokenTable,
  writeShard,
} from "../dataset.ts";
import {
  countTokens,
  type Lengths,
  lengthsOf,
  lengthTable,
  publishedLengths,
  shownRow,
  type TokenCounts,
} from "../lengths.ts";
import { logMetrics, type Run, Stopped } from "../run.ts";
import type { Tokenizer } from "../tokenizer.ts";
import { inThisThread, type RowBatch, type Tokenisers } from "../tokenise.ts";

export const postSplits: readonly PostSplit[] = ["train", "validation", "test"];
export const pairSplits: readonly PairSplit[] = ["train", "valid1", "valid2", "cnndm"];

/** Where a split's table is; in several shards, what their names are made from. */
export function tablePath(run: Pick<Run, "path">, kind: "posts" | "pairs", split: string): string {
  return joinPath(run.path, "data", `${kind}-${split}.safetensors`);
}

/** Rows of a shard: posts, or comparisons of two sequences each. */
const shardRows = 4096;

/** From so many rows on, starting workers takes less time than they save. */
const manyRows = 20_000;

/** Fewer rows are done sooner than gone on with another time. */
const worthStopping = 250;

/** To be raised when the same rows, tokenizer and limits come to give other ids. */
const recipe = 1;

/** Milliseconds between two looks at whether the run is to stop. */
const stopEvery = 100;

/** What the stage's record tells. */
export interface PreprocessOutcome {
  /** By `kind-split`. */
  tables: Record<string, Lengths>;
  /** A few rows as text. */
  samples: string[];
  /** Sentences on lengths that are published, and on tokens that span query and response. */
  notes: string[];
}

/**
 * Tokenises every split, writes the tables, shows their lengths and a few rows.
 * @throws Stopped when the run is asked to stop; QueryError naming file and row where a row cannot be used
 */
export async function preprocess(run: Run): Promise<PreprocessOutcome> {
  const { dataset, config, files, tokenizer } = run;
  const limits = config.preprocess;
  const tables = [
    ...postSplits.map((split) => ({ kind: "posts" as const, split, rows: dataset.posts[split] })),
    ...pairSplits.map((split) => ({ kind: "pairs" as const, split, rows: dataset.pairs[split] })),
  ];
  const total = tables.reduce((sum, { rows }) => sum + rows.length, 0);
  const progress = run.progress.stage("preprocess", { steps: total, unit: "rows" });
  await files.makeDirectory(joinPath(run.path, "data"));
  // Without a digest there is no knowing whether an earlier shard is of this tokenizer.
  const source = { recipe, tokenizer: tokenizer.digest ?? crypto.randomUUID(), ...limits };

  let tokenisers: Tokenisers | undefined;
  const open = async () =>
    tokenisers ??= total >= manyRows && run.tokenisers
      ? await run.tokenisers(limits)
      : inThisThread(tokenizer, limits);
  const atWork = new Set<Promise<void>>();
  let done = 0, taken = 0, shardCount = 0;
  let failure: { error: unknown } | undefined;
  const requireGoing = () => {
    if (failure) throw failure.error;
    if (total >= worthStopping && run.stopping()) {
      throw new Stopped(run, `${done} of ${total} rows of preprocess`);
    }
  };
  /** Waits until no more than so many batches are at work. */
  const waitFor = async (most: number) => {
    requireGoing();
    while (atWork.size > most) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const look = new Promise((resume) => timer = setTimeout(resume, stopEvery));
      await Promise.race([...atWork, look]).finally(() => clearTimeout(timer));
      requireGoing();
    }
  };
  const counts = new Map<string, TokenCounts[]>();
  const samples: string[] = [];
  progress.step(0);
  try {
    for (const { kind, split, rows } of tables) {
      const path = tablePath(run, kind, split);
      const shards = shardCountOf(rows);
      const name = `${kind}-${split}`;
      const counted: TokenCounts[] = [];
      counts.set(name, counted);
      let shard = 0, read = 0;
      for await (const some of batchesOf<SummarisedPost | Comparison>(rows)) {
        const batch = { kind, rows: some } as RowBatch;
        const number = shard++;
        read += some.length;
        if (read > rows.length) break;
        const target = shardPath(path, number, shards);
        const key = await keyOf(source, batch);
        shardCount++;
        const keep = (made: TokenShard) => {
          counted[number] = countTokens(made);
          if (split === "train" && number === 0) samples.push(...firstRows(name, made, tokenizer));
          progress.step(done += some.length);
        };
        const known = await soundShard(files, target, key);
        if (known) {
          taken++;
          keep(known);
        } else {
          const { count, tokenise } = await open();
          await waitFor(count);
          const work = tokenise(batch).then(async (made) => {
            await writeShard(files, target, { ...made, key });
            keep({ ...made, key });
          });
          const tracked: Promise<void> = work.finally(() => atWork.delete(tracked));
          tracked.catch((error) => failure ??= { error });
          atWork.add(tracked);
        }
        requireGoing();
      }
      if (read !== rows.length) {
        throw new DamagedFileError(
          `${name} had ${rows.length} rows when the run began and ${read} when they were read; ` +
            `leave the data alone while a run reads them.`,
        );
      }
    }
    await waitFor(0);
  } catch (error) {
    // A row that cannot be used costs its own batch only: those beside it come to their end, unless the run is to stop.
    if (failure && !run.stopping()) await Promise.allSettled(atWork);
    throw error;
  } finally {
    tokenisers?.close();
    // Nothing may be written any more once the stage has ended.
    await Promise.allSettled(atWork);
  }
  for (const { kind, split, rows } of tables) {
    await removeOthers(files, tablePath(run, kind, split), shardCountOf(rows));
  }

  const figures = Object.fromEntries([...counts].map(([name, shards]) => [name, lengthsOf(shards)]));
  await logMetrics(run, "preprocess", 0, flatten(figures));
  const { longestQuery, longestResponse } = figures["posts-train"];
  progress.done(`queries to ${longestQuery} tokens, references to ${longestResponse}`);
  if (taken > 0) {
    run.progress.note(
      `${taken} of ${shardCount} token shards were there from before, made from the same rows, tokenizer and limits.`,
    );
  }
  const notes = [...publishedLengths(figures, tokenizer), ...spanningRows(figures)];
  for (const text of [lengthTable(figures), ...notes, ...samples]) run.progress.note(text);
  return { tables: figures, samples, notes };
}

function spanningRows(figures: Record<string, Lengths>): string[] {
  return Object.entries(figures).filter(([, { spanning }]) => spanning > 0).map((
    [name, { spanning, rows }],
  ) =>
    `In ${spanning} of ${rows} rows of ${name} a token spans query and response, as these are tokenised together.`
  );
}

function shardCountOf(rows: { length: number }): number {
  return Math.max(1, Math.ceil(rows.length / shardRows));
}

/** Rows in batches of a shard each; at least one, which may be empty. */
async function* batchesOf<T>(rows: Rows<T>): AsyncGenerator<T[]> {
  let batch: T[] = [];
  for await (const row of rows) {
    batch.push(row);
    if (batch.length < shardRows) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0 || rows.length === 0) yield batch;
}

/** Digest of a batch's texts and of what else its ids depend on. */
function keyOf(source: Record<string, unknown>, batch: RowBatch): Promise<string> {
  const texts = batch.kind === "posts"
    ? batch.rows.map(({ subreddit, title, post, summary }) => [subreddit, title, post, summary])
    : batch.rows.map(({ source: { subreddit, title, post, article }, chosen, rejected }) => [
      ...[subreddit, title, post, article],
      ...[chosen.text, rejected.text],
    ]);
  return sha256Of(new TextEncoder().encode(JSON.stringify([source, texts])));
}

/** A shard with this key that is undamaged; undefined where there is none. */
async function soundShard(files: Files, path: string, key: string): Promise<TokenShard | undefined> {
  if (!await files.exists(path)) return undefined;
  try {
    const shard = await readShard(files, path);
    return shard.key === key ? shard : undefined;
  } catch (error) {
    if (error instanceof DamagedFileError) return undefined;
    throw error;
  }
}

/** Removes what an earlier run has left of a table that had another number of shards. */
async function removeOthers(files: Files, table: string, shards: number): Promise<void> {
  const folder = table.slice(0, table.lastIndexOf("/"));
  const stem = table.slice(folder.length + 1).replace(/\.safetensors$/, "");
  const own = new Set(Array.from({ length: shards }, (_, i) => shardPath(table, i, shards)));
  for (const name of await files.list(folder)) {
    const path = joinPath(folder, name);
    const ofTable = name === `${stem}.safetensors` ||
      /^-\d+-of-\d+\.safetensors$/.test(name.slice(stem.length));
    if (name.startsWith(stem) && ofTable && !own.has(path)) await files.remove(path);
  }
}

/** Whether all tables are there as they were written; if not, it is said which is not. */
export async function tablesAreSound(run: Pick<Run, "path" | "files" | "progress">): Promise<boolean> {
  const paths = [
    ...postSplits.map((split) => tablePath(run, "posts", split)),
    ...pairSplits.map((split) => tablePath(run, "pairs", split)),
  ];
  for (const path of paths) {
    try {
      await readTable(run.files, path);
    } catch (error) {
      if (!(error instanceof DamagedFileError || error instanceof FileAccessError)) throw error;
      run.progress.note(error.message);
      return false;
    }
  }
  return true;
}

/** The first rows of a table as the models will read them. */
function firstRows(name: string, table: TokenTable, tokenizer: Tokenizer): string[] {
  return [0, 1].filter((row) => row < rowCount(table)).map((row) => shownRow(name, row, table, tokenizer));
}

function flatten(figures: Record<string, Lengths>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(figures).flatMap(([table, values]) =>
      Object.entries(values).map(([name, value]) => [`precis/${table}/${name}`, value])
    ),
  );
}

/** Rows that there are to train on. */
export function splitSizes(dataset: Dataset): { posts: number; pairs: number } {
  return { posts: dataset.posts.train.length, pairs: dataset.pairs.train.length };
}
