/** The data of a run: posts and comparisons as they were read, and the same as token ids. */
import { DamagedFileError, type Files, joinPath } from "./bytes.ts";
import { type Comparison, readComparisons, splitComparisons } from "./comparisons.ts";
import { type DemoPost, loadComparisons, loadPosts } from "./demo/load.ts";
import { fileOrder, readSafetensorsHeader, readTensorValues, safetensorsBytes } from "./safetensors.ts";
import { readTldr } from "./tldr.ts";

/** A post with its human summary; demo posts also carry the facts that the gold rule looks for. */
export interface SummarisedPost {
  id: string;
  subreddit: string;
  title: string;
  post: string;
  summary: string;
  facts?: DemoPost["facts"];
}

export type PostSplit = "train" | "validation" | "test";
export type PairSplit = "train" | "valid1" | "valid2" | "cnndm";

export interface Dataset {
  posts: Record<PostSplit, SummarisedPost[]>;
  pairs: Record<PairSplit, Comparison[]>;
}

/** The embedded data. @param folder where `public/demo` is */
export async function loadDemoData(files: Files, folder: string): Promise<Dataset> {
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

/**
 * The published files in a folder: `train.jsonl`, `valid.jsonl`, `test.jsonl` of tldr_3_filtered, and OpenAI's comparison batches
 * (`*.json`, one object a line) in `comparisons/`.
 * @throws naming file and line where a row cannot be understood
 */
export async function loadTldrFolder(files: Files, folder: string): Promise<Dataset> {
  const posts = async (name: string) => {
    const path = joinPath(folder, name);
    return Array.from(readTldr(path, await files.read(path)));
  };
  const names = (await files.list(joinPath(folder, "comparisons"))).filter((name) => /\.jsonl?$/.test(name));
  const rows: Comparison[] = [];
  for (const name of names) {
    const path = joinPath(folder, "comparisons", name);
    for (const row of readComparisons(path, await files.read(path))) rows.push(row);
  }
  const { train, valid1, valid2, cnndm } = splitComparisons(rows);
  return {
    posts: {
      train: await posts("train.jsonl"),
      validation: await posts("valid.jsonl"),
      test: await posts("test.jsonl"),
    },
    pairs: { train, valid1, valid2, cnndm },
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

/** Writes a table as a safetensors file of three I32 tensors. */
export async function writeTable(files: Files, path: string, table: TokenTable): Promise<void> {
  const values: Record<string, Uint32Array> = { ...table };
  const plans = fileOrder(
    Object.entries(values).map(([name, array]) => ({ name, dtype: "U32" as const, shape: [array.length] })),
  );
  await files.writeAtomic(path, safetensorsBytes(plans, (plan) => Promise.resolve(values[plan.name])));
}

/** @throws DamagedFileError where the file is not such a table */
export async function readTable(files: Files, path: string): Promise<TokenTable> {
  const header = await readSafetensorsHeader(files, path);
  const refuse = () =>
    new DamagedFileError(`${path} is not a table of token ids; remove it to run preprocess again.`);
  const read = async (name: string) => {
    if (header.tensors.get(name)?.dtype !== "U32") throw refuse();
    return await readTensorValues(files, header, name) as Uint32Array;
  };
  const table = {
    tokens: await read("tokens"),
    starts: await read("starts"),
    queryLengths: await read("queryLengths"),
  };
  const { tokens, starts, queryLengths } = table;
  const rows = queryLengths.length;
  // A row has a query and a response.
  const sound = starts.length === rows + 1 && starts[0] === 0 && starts[rows] === tokens.length &&
    queryLengths.every((length, row) => length > 0 && starts[row] + length < starts[row + 1]);
  if (!sound) throw refuse();
  return table;
}
