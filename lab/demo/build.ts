/** Makes every file of the demo data from one seed. */
import { formatTldrQuery } from "../query.ts";
import { tokenizerConfigJson, tokenizerJson, trainBpe } from "./bpe.ts";
import { comparisons } from "./comparisons.ts";
import { type DemoPost, posts } from "./corpus.ts";
import { demoFiles } from "./load.ts";

/** How much there is of everything, and the encoding's size. */
export const demoSizes = {
  posts: { train: 3000, validation: 200, test: 200 },
  /** Comparisons a post, over the first `comparedPosts` training posts and over all validation posts. */
  pairsPerPost: 2,
  comparedPosts: 2000,
  /** Ids 0 … 255 bytes, 256 … 765 merges, 766 `<|endoftext|>`, 767 the unnamed pad: 768 rows in the embedding. */
  merges: 510,
} as const;

/** The seed of the files that ship. */
export const defaultSeed = 1;

/** The id of `<|endoftext|>` and the dedicated pad id, which the tokenizer does not know; and the embedding's rows. */
export const demoIds = {
  endOfText: 256 + demoSizes.merges,
  pad: 257 + demoSizes.merges,
  embeddingRows: 258 + demoSizes.merges,
} as const;

/**
 * The demo's files by name, ready to be written. Same seed, same bytes (gzip as the runtime's zlib writes it, so
 * across versions of the runtime only the unpacked bytes are promised).
 */
export async function buildDemo(seed: number = defaultSeed): Promise<Map<string, Uint8Array>> {
  const { train, validation, test } = demoSizes.posts;
  const all = posts(seed, train + validation + test);
  const splits = {
    train: all.slice(0, train),
    validation: all.slice(train, train + validation),
    test: all.slice(train + validation),
  };
  const half = validation / 2;
  const pairs = {
    train: comparisons(
      seed + 1,
      splits.train.slice(0, demoSizes.comparedPosts),
      demoSizes.pairsPerPost,
      "train",
    ),
    validation: [
      ...comparisons(seed + 2, splits.validation.slice(0, half), demoSizes.pairsPerPost, "valid1"),
      ...comparisons(seed + 3, splits.validation.slice(half), demoSizes.pairsPerPost, "valid2"),
    ],
  };
  const bpe = trainBpe(splits.train.map(trainingText), demoSizes.merges);
  if (bpe.tokens.length !== demoIds.endOfText) {
    throw new Error(
      `the corpus gave ${bpe.merges.length} merges, ${demoSizes.merges} are needed: use more text`,
    );
  }
  const files = new Map<string, Uint8Array>();
  const utf8 = new TextEncoder();
  for (const split of ["train", "validation", "test"] as const) {
    files.set(demoFiles.posts[split], await gzip(utf8.encode(jsonLines(splits[split]))));
  }
  for (const split of ["train", "validation"] as const) {
    files.set(demoFiles.comparisons[split], await gzip(utf8.encode(jsonLines(pairs[split]))));
  }
  files.set(demoFiles.tokenizer, utf8.encode(tokenizerJson(bpe)));
  files.set(demoFiles.tokenizerConfig, utf8.encode(tokenizerConfigJson(bpe)));
  return files;
}

/** What the tokenizer learns from: a post as the model reads it, with its reference. */
function trainingText(post: DemoPost): string {
  return `${formatTldrQuery(post)} ${post.summary}`;
}

/** JSON Lines: one record a line, a newline after each. */
function jsonLines(records: readonly unknown[]): string {
  return records.map((record) => JSON.stringify(record) + "\n").join("");
}

async function gzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const packed = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}
