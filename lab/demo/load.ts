/** Reads the demo data that ships in `public/demo/`: posts with their facts, and comparisons, all as typed records. */
import { DamagedFileError } from "../bytes.ts";
import { type Comparison, readComparisons } from "../comparisons.ts";
import { fieldAt, readJsonLines, stringField } from "../tldr.ts";
import { type DemoPost } from "./corpus.ts";

export { type DemoPost, type Facts, posts } from "./corpus.ts";

/** Where bytes live: gives the whole file at a path relative to the demo folder. */
export type Read = (path: string) => Promise<Uint8Array>;

/** File names in the demo folder. */
export const demoFiles = {
  posts: {
    train: "posts-train.jsonl.gz",
    validation: "posts-validation.jsonl.gz",
    test: "posts-test.jsonl.gz",
  },
  comparisons: { train: "comparisons-train.jsonl.gz", validation: "comparisons-validation.jsonl.gz" },
  tokenizer: "tokenizer.json",
  tokenizerConfig: "tokenizer_config.json",
} as const;

/** The posts of a split. Throws a DamagedFileError that names the file and line of the first damaged record. */
export async function loadPosts(read: Read, split: keyof typeof demoFiles.posts): Promise<DemoPost[]> {
  const path = demoFiles.posts[split];
  return Array.from(readJsonLines(path, await unpacked(read, path)), ({ place, fields }): DemoPost => {
    const text = (name: string) => stringField(place, fields, name);
    const noise = fieldAt(fields, "facts.noise");
    if (!Array.isArray(noise) || !noise.every((one) => typeof one === "string")) {
      throw new DamagedFileError(`${place} has no list of texts "facts.noise"; ${remedy}.`);
    }
    return {
      id: text("id"),
      subreddit: text("subreddit"),
      title: text("title"),
      post: text("post"),
      summary: text("summary"),
      facts: {
        who: text("facts.who"),
        what: text("facts.what"),
        result: text("facts.result"),
        question: text("facts.question"),
        noise,
      },
    };
  });
}

/** The comparisons of a split; validation holds valid1 and valid2. Throws as {@link loadPosts} does. */
export async function loadComparisons(
  read: Read,
  split: keyof typeof demoFiles.comparisons,
): Promise<Comparison[]> {
  const path = demoFiles.comparisons[split];
  return [...readComparisons(path, await unpacked(read, path))];
}

const remedy = 'make the demo data again with "deno task demo-data"';

/** The file's bytes, unpacked if it is gzipped. Servers may unpack `.gz` on the way, so the bytes decide, not the name. */
async function unpacked(read: Read, path: string): Promise<Uint8Array> {
  const bytes = await read(path);
  if (bytes.length === 0) throw new DamagedFileError(`${path} is empty; ${remedy}.`);
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  try {
    const stream = new Blob([bytes.slice()]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch {
    throw new DamagedFileError(`${path} is a damaged gzip file; ${remedy}.`);
  }
}
