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
  /** Sentences on what of the files is left out. */
  notes?: string[];
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
 * (`*.json`, one object a line) in a folder of their own, by default
 * `comparisons/` beside them. Comparisons that do not say which split they are of are left out, and counted
 * in `notes`.
 * @throws naming file and line where a row cannot be understood; the folder where it has no comparisons, or none with a split
 */
export async function loadTldrFolder(
  files: Files,
  folder: string,
  pairsFolder = joinPath(folder, "comparisons"),
): Promise<Dataset> {
  const posts = async (name: string) => {
    const path = joinPath(folder, name);
    const rows = Array.from(readTldr(path, await files.read(path)));
    if (rows.length === 0) throw new DamagedFileError(`${path} has no posts; download it again.`);
    return rows;
  };
  const names = (await files.list(pairsFolder)).filter((name) => /\.jsonl?$/.test(name));
  const rows: Comparison[] = [];
  const unassigned: string[] = [];
  for (const name of names) {
    const path = joinPath(pairsFolder, name);
    const found = [...readComparisons(path, await files.read(path))];
    for (const row of found) rows.push(row);
    const without = found.filter(({ split }) => split === null);
    if (without.length > 0) {
      unassigned.push(
        `${without.length} of ${found.length} in ${path}, the first in line ${without[0].line}`,
      );
    }
  }
  if (rows.length === 0) {
    throw new DamagedFileError(
      `${pairsFolder} has no comparisons; put OpenAI's batches there (batch3.json and so on, one JSON object a line).`,
    );
  }
  const { unassigned: left, ...pairs } = splitComparisons(rows);
  const which = `which split they are of ("split": train, valid1 or valid2)`;
  if (left.length === rows.length) {
    throw new DamagedFileError(
      `None of the ${rows.length} comparisons in ${pairsFolder} say ${which}; add it to the rows.`,
    );
  }
  const notes: string[] = [];
  if (left.length > 0) {
    notes.push(`Comparisons that do not say ${which} are left out: ${unassigned.join("; ")}.`);
  }
  if (pairs.valid1.length + pairs.valid2.length === 0) {
    notes.push(
      `No comparison in ${pairsFolder} is of the splits valid1 and valid2: the reward model's accuracy will not be known.`,
    );
  }
  return {
    posts: {
      train: await posts("train.jsonl"),
      validation: await posts("valid.jsonl"),
      test: await posts("test.jsonl"),
    },
    pairs,
    notes,
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

/** Writes a table as a safetensors file of three U32 tensors. */
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
