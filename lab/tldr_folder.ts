/**
 * The published TL;DR data in a folder, in whichever form it is there, at any depth: the posts as OpenAI's JSONL files or as Parquet
 * (vwxyzjn/summarize_from_feedback_tldr_3_filtered), the comparisons as OpenAI's batches or as Parquet
 * (vwxyzjn/summarize_from_feedback_oai_preprocessing_*, whose token columns are Pythia's and left alone).
 */
import { DamagedFileError, type Files, joinPath, shortened } from "./bytes.ts";
import {
  batchNames,
  type Comparison,
  comparisonRowCounts,
  comparisonsIn,
  type ComparisonSource,
  splitComparisons,
} from "./comparisons.ts";
import type { Dataset, PostSplit, Rows, SummarisedPost } from "./dataset.ts";
import { groupThousands } from "./format.ts";
import { readJsonl } from "./jsonl.ts";
import { openParquet, type ParquetFile, readParquet } from "./parquet.ts";
import { type JsonLine, tldrColumns, tldrRow, tldrRowCounts } from "./tldr.ts";

/** A file of the data, and how its rows are read: some hundred at a time, so that no more are in memory than are looked at. */
interface Source {
  path: string;
  lines(): AsyncGenerator<JsonLine[]>;
  count(): Promise<number>;
}

/**
 * A folder of data: all that lies in it, or those of its files, by paths relative to it, that are known to be the data. Others may have
 * put more beside these, and what is known and not there is missed.
 */
export type DataFolder = string | { folder: string; files: readonly { path: string }[] };

/** The data's files: for each split of the posts, and of the comparisons. */
export interface TldrFiles {
  posts: Record<PostSplit, Source[]>;
  comparisons: Source[];
  /** Paths inside the folders of files that look like data, but are none that is known. */
  unread: string[];
  /** Paths of comparisons beside the posts, where others go before them. */
  unused: string[];
}

/** A folder's files by what they hold and in which form. */
interface FoundFiles {
  posts: Record<"jsonl" | "parquet", Record<PostSplit, Source[]>>;
  comparisons: Record<"json" | "parquet", Source[]>;
  unread: string[];
}

const splitNames: Record<PostSplit, RegExp> = {
  train: /^train[.-]/,
  validation: /^valid(ation)?[.-]/,
  test: /^test[.-]/,
};

const comparisonColumns = ["info", "summaries", "choice"] as const;
const optionalComparisonColumns = ["worker", "batch", "split", "extra"] as const;

/** What a folder must hold, for messages. */
const wanted = {
  posts:
    "train.jsonl, valid.jsonl and test.jsonl of OpenAI's tldr_3_filtered, or data/train-*.parquet and so on of " +
    "vwxyzjn/summarize_from_feedback_tldr_3_filtered",
  comparisons:
    "comparisons/batch3.json and so on of OpenAI's summarize-from-feedback, or data/train-*.parquet and so on of " +
    "vwxyzjn/summarize_from_feedback_oai_preprocessing_1706381144",
};

/**
 * Finds the data in a folder, or the posts in one and the comparisons in another. Which file is what is told from names and, for
 * Parquet, from columns; in a folder for comparisons all JSON is comparisons.
 * @throws DamagedFileError where posts or comparisons are missing, there twice, or a Parquet file holds neither
 */
export async function findTldrFiles(
  files: Files,
  posts: DataFolder,
  comparisons?: DataFolder,
): Promise<TldrFiles> {
  const folder = pathOf(posts),
    comparisonsFolder = comparisons === undefined ? undefined : pathOf(comparisons);
  const found = await sortFiles(files, posts, "");
  const other = comparisons === undefined ? undefined : await sortFiles(files, comparisons, "comparisons");
  const beside = other ? Object.values(found.comparisons).flat().map(({ path }) => path) : [];
  return {
    posts: onlyForm(folder, "posts", Object.values(found.posts), (form) => Object.values(form).flat()),
    comparisons: onlyForm(
      comparisonsFolder ?? folder,
      "comparisons",
      Object.values((other ?? found).comparisons),
      (form) => form,
    ),
    unread: [...found.unread, ...other?.unread ?? []],
    unused: beside.filter((path) => !path.startsWith(joinPath(comparisonsFolder!, "/"))),
  };
}

const pathOf = (folder: DataFolder) => typeof folder === "string" ? folder : folder.folder;

/** @param top name of the folder as far as it tells what is in it */
async function sortFiles(files: Files, data: DataFolder, top: "" | "comparisons"): Promise<FoundFiles> {
  const folder = pathOf(data);
  const names = typeof data === "string"
    ? await dataFiles(files, data)
    : data.files.map(({ path }) => path).filter((path) => dataFile.test(path));
  const posts = { jsonl: noSplits(), parquet: noSplits() };
  const comparisons: FoundFiles["comparisons"] = { json: [], parquet: [] };
  const unread: string[] = [];
  for (const inside of names) {
    const path = joinPath(folder, inside);
    const [name, parent = top] = inside.split("/").reverse();
    const split = (Object.keys(splitNames) as PostSplit[]).find((one) => splitNames[one].test(name));
    if (name.endsWith(".parquet")) {
      const file = await openParquet(files, path);
      if (comparisonColumns.every((column) => file.columns.includes(column))) {
        comparisons.parquet.push(parquetSource(file, [...comparisonColumns, ...optionalComparisonColumns]));
      } else if (tldrColumns.every((column) => file.columns.includes(column))) {
        if (!split) {
          throw new DamagedFileError(
            `${path} holds posts, but its name does not say of which split; rename it to train-…, validation-… or test-….`,
          );
        }
        posts.parquet[split].push(parquetSource(file, tldrColumns));
      } else {
        throw new DamagedFileError(
          `${path} holds neither posts (${tldrColumns.join(", ")}) nor comparisons (${
            comparisonColumns.join(", ")
          }): its columns are ${shortened(file.columns.join(", "))}; take it out of ${folder}.`,
        );
      }
    } else if (/^dataset_(infos?|dict)\.json$/.test(name)) continue;
    else if (parent === "comparisons" || batchNames.includes(name.replace(/\.jsonl?$/, ""))) {
      comparisons.json.push(jsonlSource(files, path));
    } else if (name.endsWith(".jsonl") && split) posts.jsonl[split].push(jsonlSource(files, path));
    else unread.push(inside);
  }
  requireParts(folder, [...Object.values(posts.parquet).flat(), ...comparisons.parquet]);
  return { posts, comparisons, unread };
}

/** Files that may be data, as paths inside the folder; hidden ones (a download's own) are passed over. */
async function dataFiles(files: Files, folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of await files.list(folder)) {
    if (name.startsWith(".")) continue;
    if (name.endsWith("/")) {
      for (const below of await dataFiles(files, joinPath(folder, name))) found.push(name + below);
    } else if (dataFile.test(name)) found.push(name);
  }
  return found;
}

const dataFile = /\.(jsonl?|parquet)$/;

/** Of the forms that something may be there in, the one that is. */
function onlyForm<Form>(
  folder: string,
  what: keyof typeof wanted,
  forms: readonly Form[],
  sourcesOf: (form: Form) => Source[],
): Form {
  const [form, second] = forms.filter((one) => sourcesOf(one).length > 0);
  if (!form) throw lacking(folder, what);
  if (second) {
    throw new DamagedFileError(
      `${folder} holds its ${what} twice, among others in ${sourcesOf(form)[0].path} and in ${
        sourcesOf(second)[0].path
      }; take one of the two forms away.`,
    );
  }
  return form;
}

function lacking(folder: string, what: keyof typeof wanted): DamagedFileError {
  return new DamagedFileError(`${folder} holds no ${what}; it needs ${wanted[what]}.`);
}

/** @throws DamagedFileError where of files named …-00000-of-00002.parquet and so on one is not there */
function requireParts(folder: string, sources: readonly Source[]): void {
  const paths = new Set(sources.map(({ path }) => path));
  for (const path of paths) {
    const numbered = /^(.*-)(\d+)(-of-)(\d+)(.*\.parquet)$/.exec(path);
    if (!numbered) continue;
    const [, stem, part, of, parts] = numbered;
    for (let i = 0; i < Number(parts); i++) {
      const start = stem + String(i).padStart(part.length, "0") + of + parts;
      // Names may end in a digest of the file.
      if ([...paths].some((other) => other.startsWith(start))) continue;
      throw new DamagedFileError(
        `${start}.parquet is missing, though ${path} is there; complete the download to ${folder}.`,
      );
    }
  }
}

function noSplits(): Record<PostSplit, Source[]> {
  return { train: [], validation: [], test: [] };
}

/**
 * The data set of a folder, or of one with the posts and another with the comparisons. What is held out is read at once; the rows of the
 * training splits are counted now and read, file by file, each time they are asked for. Comparisons that do not say which split they
 * are of are left out, and counted in `notes`.
 * @param ownComparisons goes before what the posts' folder holds of comparisons
 * @throws DamagedFileError naming file and line, or row, where a row cannot be understood; the file that has no posts; the folder
 * that has no comparisons, or none with a split; see also `findTldrFiles`
 */
export async function loadTldrFolder(
  files: Files,
  postsFolder: DataFolder,
  ownComparisons?: DataFolder,
): Promise<Dataset> {
  const { posts, comparisons, unread, unused } = await findTldrFiles(files, postsFolder, ownComparisons);
  const folder = pathOf(postsFolder),
    comparisonsFolder = ownComparisons === undefined ? undefined : pathOf(ownComparisons);
  requireSplits(folder, posts);
  const validation = await Array.fromAsync(postsIn(posts.validation));
  const test = await Array.fromAsync(postsIn(posts.test));
  let trainPosts = 0;
  for (const source of posts.train) trainPosts += await source.count();
  const postCounts = { train: trainPosts, validation: validation.length, test: test.length };
  for (const split of Object.keys(postCounts) as PostSplit[]) {
    if (postCounts[split] > 0) continue;
    throw new DamagedFileError(`${posts[split][0].path} has no posts; download it again.`);
  }

  const { trainPairs, held, splitNotes } = await surveyComparisons(comparisonsFolder ?? folder, comparisons);
  const notes = [
    ...differingCounts("posts", tldrRowCounts, postCounts),
    ...differingCounts("comparisons", comparisonRowCounts, {
      train: trainPairs,
      validation: held.valid1.length + held.valid2.length,
      cnndm: held.cnndm.length,
    }),
  ];
  const absent = absentBatches(comparisons);
  if (absent.length > 0) {
    notes.push(
      `Of OpenAI's ${batchNames.length} batches of comparisons ${absent.length} are not there: ${
        firstOf(absent)
      }.`,
    );
  }
  if (unread.length > 0) notes.push(`Not read, as no published file has such a name: ${firstOf(unread)}.`);
  if (unused.length > 0) {
    notes.push(`Not used, as the comparisons in ${comparisonsFolder} go before them: ${firstOf(unused)}.`);
  }
  return {
    posts: { train: rowsOf(trainPosts, () => postsIn(posts.train)), validation, test },
    pairs: { train: rowsOf(trainPairs, () => trainingPairsIn(comparisons)), ...held },
    notes: [...notes, ...splitNotes],
  };
}

/** A list for a note. */
function firstOf(names: readonly string[]): string {
  return names.slice(0, 8).join(", ") + (names.length > 8 ? ", …" : "");
}

/**
 * Goes through all comparisons: keeps those held out, counts those to train on, and those that do not say their split.
 * @throws DamagedFileError where there are none, or none with a split
 */
async function surveyComparisons(
  folder: string,
  sources: readonly Source[],
): Promise<{ trainPairs: number; held: Omit<Dataset["pairs"], "train">; splitNotes: string[] }> {
  const held: Omit<Dataset["pairs"], "train"> = { valid1: [], valid2: [], cnndm: [] };
  const share = sharedSources();
  const unassigned: string[] = [];
  let trainPairs = 0, total = 0, left = 0;
  for (const source of sources) {
    let [rows, without] = [0, 0], first: string | undefined;
    for await (const some of comparisonsOf([source])) {
      const split = splitComparisons(some);
      rows += some.length;
      without += split.unassigned.length;
      first ??= split.unassigned[0]?.place;
      trainPairs += split.train.length;
      for (const name of ["valid1", "valid2", "cnndm"] as const) {
        for (const row of split[name]) held[name].push({ ...row, source: share(row.source) });
      }
    }
    if (without > 0) unassigned.push(`${without} of ${rows}, the first at ${first}`);
    total += rows;
    left += without;
  }
  if (total === 0) throw lacking(folder, "comparisons");
  const which = `which split they are of ("split": train, valid1 or valid2)`;
  if (left === total) {
    throw new DamagedFileError(
      `None of the ${total} comparisons in ${folder} say ${which}; add it to the rows.`,
    );
  }
  const splitNotes: string[] = [];
  if (left > 0) {
    splitNotes.push(`Comparisons that do not say ${which} are left out: ${unassigned.join("; ")}.`);
  }
  if (held.valid1.length + held.valid2.length === 0) {
    splitNotes.push(
      `No comparison in ${folder} is of the splits valid1 and valid2: the reward model's accuracy will not be known.`,
    );
  }
  return { trainPairs, held, splitNotes };
}

/** Published batches that have no file, where the comparisons are in such files. */
function absentBatches(comparisons: readonly Source[]): string[] {
  const names = comparisons.map(({ path }) => path.slice(path.lastIndexOf("/") + 1).replace(/\.\w+$/, ""));
  return comparisons[0].path.endsWith(".parquet") ? [] : batchNames.filter((name) => !names.includes(name));
}

/** @throws DamagedFileError where a split has no file */
function requireSplits(folder: string, posts: Record<PostSplit, Source[]>): void {
  const { path } = Object.values(posts).flat()[0];
  const names = path.endsWith(".parquet")
    ? { train: "train-*.parquet", validation: "validation-*.parquet", test: "test-*.parquet" }
    : { train: "train.jsonl", validation: "valid.jsonl", test: "test.jsonl" };
  for (const split of Object.keys(names) as PostSplit[]) {
    if (posts[split].length > 0) continue;
    throw new DamagedFileError(
      `${
        joinPath(folder, names[split])
      } does not exist, though ${path} does; add it, the posts have three splits.`,
    );
  }
}

/** One sentence where there are more or fewer rows than were published. */
function differingCounts(
  what: string,
  published: Readonly<Record<string, number>>,
  found: Record<string, number>,
): string[] {
  const differing = Object.keys(published).filter((split) => published[split] !== found[split]).map((split) =>
    `${groupThousands(found[split])} for ${split} (published: ${groupThousands(published[split])})`
  );
  return differing.length > 0
    ? [`The data are not the whole published set; there are ${what}: ${differing.join(", ")}.`]
    : [];
}

// ---- rows ----

function rowsOf<T>(length: number, read: () => AsyncIterator<T>): Rows<T> {
  return { length, [Symbol.asyncIterator]: read };
}

async function* postsIn(sources: readonly Source[]): AsyncGenerator<SummarisedPost> {
  for (const source of sources) {
    for await (const lines of source.lines()) {
      for (const line of lines) yield { ...tldrRow(line), place: line.place };
    }
  }
}

async function* comparisonsOf(sources: readonly Source[]): AsyncGenerator<Comparison[]> {
  for (const source of sources) {
    for await (const lines of source.lines()) yield Array.from(comparisonsIn(lines));
  }
}

async function* trainingPairsIn(sources: readonly Source[]): AsyncGenerator<Comparison> {
  for await (const rows of comparisonsOf(sources)) yield* splitComparisons(rows).train;
}

/** Many comparisons are about one post: equal sources become one object, in memory once. */
function sharedSources(): (source: ComparisonSource) => ComparisonSource {
  const seen = new Map<string, ComparisonSource>();
  return (source) => {
    const known = seen.get(source.id);
    const names = Object.keys(source) as (keyof ComparisonSource)[];
    if (known && names.every((name) => known[name] === source[name])) return known;
    seen.set(source.id, source);
    return source;
  };
}

// ---- files ----

/** Lines of a JSONL file that are handed over together. */
const linesTogether = 256;

function jsonlSource(files: Files, path: string): Source {
  return {
    path,
    async *lines() {
      let lines: JsonLine[] = [];
      for await (const { line, value } of readJsonl(files, path)) {
        const place = `${path}:${line}`;
        if (typeof value !== "object" || value === null || Array.isArray(value)) {
          throw new DamagedFileError(`${place} is not a JSON object; one is needed a line.`);
        }
        lines.push({ place, fields: value as Record<string, unknown> });
        if (lines.length < linesTogether) continue;
        yield lines;
        lines = [];
      }
      yield lines;
    },
    count: () => countLines(files, path),
  };
}

/** Lines that are not blank. */
async function countLines(files: Files, path: string): Promise<number> {
  const size = await files.size(path);
  const block = 4 * 1024 * 1024;
  let count = 0;
  let blank = true;
  for (let start = 0; start < size; start += block) {
    const bytes = await files.readRange(path, start, Math.min(size, start + block));
    for (let at = 0; at < bytes.length;) {
      if (bytes[at] === 0x0a) blank = true;
      else if (blank && bytes[at] > 0x20) {
        blank = false;
        count++;
      }
      // Once a line has shown that it is not blank, only its end is of interest.
      const newline = blank ? at + 1 : bytes.indexOf(0x0a, at + 1);
      at = newline < 0 ? bytes.length : newline;
    }
  }
  return count;
}

function parquetSource(file: ParquetFile, columns: readonly string[]): Source {
  const present = columns.filter((column) => file.columns.includes(column));
  return {
    path: file.path,
    async *lines() {
      for await (const rows of readParquet(file, present)) {
        yield rows.map(({ place, fields }) => ({ place, fields: withPlainNumbers(fields) }));
      }
    },
    count: () => Promise.resolve(file.rows),
  };
}

/** 64-bit columns come as bigint; the numbers of comparisons are small. */
function withPlainNumbers(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => {
      if (typeof value === "bigint") return [name, Number(value)];
      return [name, name === "extra" && value !== null ? withPlainNumbers({ ...value as object }) : value];
    }),
  );
}
