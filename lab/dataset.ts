/** The data of a run: posts and comparisons as they were read, and the same as token ids. */
import { DamagedFileError, digestOfJson, type Files, joinPath, sha256Of } from "./bytes.ts";
import type { Comparison } from "./comparisons.ts";
import { type DemoPost, loadComparisons, loadPosts } from "./demo/load.ts";
import { fileOrder, readSafetensorsHeader, readTensorValues, safetensorsBytes } from "./safetensors.ts";

/** A post with its human summary; demo posts also carry the facts that the gold rule looks for. */
export interface SummarisedPost {
  id: string;
  subreddit: string;
  title: string;
  post: string;
  summary: string;
  facts?: DemoPost["facts"];
  /** Where it was read, for messages: "train.jsonl:12". */
  place?: string;
}

export type PostSplit = "train" | "validation" | "test";
export type PairSplit = "train" | "valid1" | "valid2" | "cnndm";

/** Rows in order. Those of a large file are not held in memory: they are read from it each time they are gone through. */
export type Rows<T> = { readonly length: number } & (Iterable<T> | AsyncIterable<T>);

/** What is held out is in memory; of the training splits later stages need the token ids alone. */
export interface Dataset {
  posts: { train: Rows<SummarisedPost>; validation: SummarisedPost[]; test: SummarisedPost[] };
  pairs: { train: Rows<Comparison>; valid1: Comparison[]; valid2: Comparison[]; cnndm: Comparison[] };
  /** Sentences on what was found, to be shown. */
  notes?: string[];
}

/** All rows at once: for a gold rule, whose data are small. */
export async function inMemory<T>(rows: Rows<T>): Promise<T[]> {
  return Array.isArray(rows) ? rows : await Array.fromAsync(rows);
}

/** A data set with all of its rows in memory. */
export interface DemoDataset extends Dataset {
  posts: Record<PostSplit, SummarisedPost[]>;
  pairs: Record<PairSplit, Comparison[]>;
}

/** The embedded data. @param folder where `public/demo` is */
export async function loadDemoData(files: Files, folder: string): Promise<DemoDataset> {
  const read = (path: string) => files.read(joinPath(folder, path));
  const validation = await loadComparisons(read, "validation");
  return {
    posts: {
      train: await loadPosts(read, "train"),
      validation: await loadPosts(read, "validation"),
      test: await loadPosts(read, "test"),
    },
    pairs: {
      train: await loadComparisons(read, "train"),
      valid1: validation.filter(({ split }) => split === "valid1"),
      valid2: validation.filter(({ split }) => split === "valid2"),
      cnndm: [],
    },
  };
}

// ---- token ids ----

/** Sequences of ids end to end: query, then response with its EOS. Pairs take two rows each, the chosen one first. */
export interface TokenTable {
  tokens: Uint32Array;
  /** rows + 1: where each sequence starts. */
  starts: Uint32Array;
  /** Tokens of each row's query. */
  queryLengths: Uint32Array;
}

export function tableOf(rows: readonly { tokens: ArrayLike<number>; queryLength: number }[]): TokenTable {
  const starts = new Uint32Array(rows.length + 1);
  rows.forEach((row, i) => starts[i + 1] = starts[i] + row.tokens.length);
  const tokens = new Uint32Array(starts[rows.length]);
  rows.forEach((row, i) => tokens.set(row.tokens, starts[i]));
  return { tokens, starts, queryLengths: Uint32Array.from(rows, (row) => row.queryLength) };
}

export function rowCount(table: TokenTable): number {
  return table.queryLengths.length;
}

/** Query and response of a row. */
export function sequenceAt(table: TokenTable, row: number): Uint32Array {
  return table.tokens.subarray(table.starts[row], table.starts[row + 1]);
}

export function queryAt(table: TokenTable, row: number): Uint32Array {
  return table.tokens.subarray(table.starts[row], table.starts[row] + table.queryLengths[row]);
}

/** A table as it comes from the tokenizer, with what its arrays do not tell. */
export interface TokenisedTable extends TokenTable {
  /** Rows whose query lost its end. */
  truncated: number;
  /** Rows in which a token spans query and response. */
  spanning: number;
}

/** A piece of a table on its way to or from a file, with what it was made from. */
export interface TokenShard extends TokenisedTable {
  /** Digest of the rows, the tokenizer and the limits. */
  key: string;
}

/** Path of a table's shard: as Hugging Face names them, with numbers from 1, and none where there is only one. */
export function shardPath(table: string, shard: number, shards: number): string {
  if (shards === 1) return table;
  const numbers = [shard + 1, shards].map((number) => String(number).padStart(5, "0"));
  return table.replace(/\.safetensors$/, `-${numbers.join("-of-")}.safetensors`);
}

/** Writes a shard as a safetensors file of three tensors, with digests to know it by again. */
export async function writeShard(files: Files, path: string, shard: TokenShard): Promise<void> {
  const values: Record<string, Uint32Array> = arraysOf(shard);
  const plans = fileOrder(
    Object.entries(values).map(([name, array]) => ({ name, dtype: "U32" as const, shape: [array.length] })),
  );
  const told = { key: shard.key, truncated: String(shard.truncated), spanning: String(shard.spanning) };
  const metadata = { ...told, sha256: await digestOf(shard, told) };
  await files.writeAtomic(
    path,
    safetensorsBytes(plans, (plan) => Promise.resolve(values[plan.name]), metadata),
  );
}

/** @throws DamagedFileError where the file is not a shard of a table, or is not as it was written */
export async function readShard(files: Files, path: string): Promise<TokenShard> {
  const header = await readSafetensorsHeader(files, path);
  const refuse = (what: string) =>
    new DamagedFileError(`${path} is not ${what}; run the stage preprocess again.`);
  const read = async (name: string) => {
    if (header.tensors.get(name)?.dtype !== "U32") throw refuse("a table of token ids");
    return await readTensorValues(files, header, name) as Uint32Array;
  };
  const table: TokenTable = {
    tokens: await read("tokens"),
    starts: await read("starts"),
    queryLengths: await read("queryLengths"),
  };
  const { tokens, starts, queryLengths } = table;
  const rows = queryLengths.length;
  // A row has a query and a response.
  const sound = starts.length === rows + 1 && starts[0] === 0 && starts[rows] === tokens.length &&
    queryLengths.every((length, row) => length > 0 && starts[row] + length < starts[row + 1]);
  if (!sound) throw refuse("a table of token ids");
  const { sha256, ...told } = header.metadata;
  if (sha256 !== await digestOf(table, told)) throw refuse("as it was written");
  const { key, truncated, spanning } = told;
  return { ...table, key, truncated: Number(truncated), spanning: Number(spanning) };
}

/**
 * Reads a table, in however many shards it is.
 * @param path its path if it were one file, see `shardPath`
 * @throws DamagedFileError where a shard is damaged or missing
 */
export async function readTable(files: Files, path: string): Promise<TokenTable> {
  const shards: TokenTable[] = [];
  for (const shard of await shardsOf(files, path)) shards.push(await readShard(files, shard));
  if (shards.length === 1) return arraysOf(shards[0]);
  const total = (length: (shard: TokenTable) => number) =>
    shards.reduce((sum, shard) => sum + length(shard), 0);
  const rows = total(rowCount);
  const table: TokenTable = {
    tokens: new Uint32Array(total(({ tokens }) => tokens.length)),
    starts: new Uint32Array(rows + 1),
    queryLengths: new Uint32Array(rows),
  };
  let row = 0, token = 0;
  for (const { tokens, starts, queryLengths } of shards) {
    table.tokens.set(tokens, token);
    table.queryLengths.set(queryLengths, row);
    for (let i = 0; i < queryLengths.length; i++) table.starts[row + i + 1] = token + starts[i + 1];
    row += queryLengths.length;
    token += tokens.length;
  }
  return table;
}

/** Paths of the shards that a table is in, in order. */
async function shardsOf(files: Files, path: string): Promise<string[]> {
  if (await files.exists(path)) return [path];
  const cut = path.lastIndexOf("/") + 1;
  const [folder, stem] = [path.slice(0, cut), path.slice(cut).replace(/\.safetensors$/, "")];
  const found = (await files.list(folder)).map((name) => /^(.+)-\d{5}-of-(\d{5})\.safetensors$/.exec(name))
    .filter((match) => match?.[1] === stem);
  const shards = Number(found[0]?.[2] ?? 1);
  const expected = Array.from({ length: shards }, (_, i) => shardPath(path, i, shards));
  for (const shard of expected) {
    if (!await files.exists(shard)) {
      throw new DamagedFileError(`${shard} is missing; run the stage preprocess again.`);
    }
  }
  return expected;
}

function arraysOf({ tokens, starts, queryLengths }: TokenTable): TokenTable & Record<string, Uint32Array> {
  return { tokens, starts, queryLengths };
}

/** @param told what the file says beside its arrays */
async function digestOf(table: TokenTable, told: Record<string, string>): Promise<string> {
  const digests = Object.values(arraysOf(table)).map((array) =>
    sha256Of(new Uint8Array(array.buffer, array.byteOffset, array.byteLength))
  );
  return digestOfJson([told, ...await Promise.all(digests)]);
}
