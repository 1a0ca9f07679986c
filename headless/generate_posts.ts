/** The posts that `deno task generate` summarises: one or many, from a file, standard input, the command line or the demo. */
import { DamagedFileError, type Files, joinPath, parseJson } from "../lab/bytes.ts";
import { type DemoPost, loadPosts } from "../lab/demo/load.ts";
import type { Post } from "../lab/query.ts";
import { optionalString, readJsonLines, stringField } from "../lab/tldr.ts";

/** The demo's folder, beside this file wherever the repository lies. */
export const demoFolder = decodeURIComponent(new URL("../public/demo", import.meta.url).pathname);

/** A post with what is known about it. */
export interface GivenPost {
  post: Post;
  /** A summary by a human. */
  reference?: string;
  /** Of demo posts, for the gold rule. */
  record?: DemoPost;
}

export interface PostFlags {
  post: string;
  text: string;
  demo: readonly number[];
  limit: number;
  subreddit: string;
  title: string;
}

/**
 * The posts that the flags mean.
 * @param given names of the flags that were given
 * @param readInput all of standard input, or null where it is a terminal
 * @returns `many` is true where the source is a list, however long
 * @throws in one sentence naming file and line where there is no post, or one cannot be read
 */
export async function choosePosts(
  flags: PostFlags,
  given: ReadonlySet<string>,
  files: Files,
  readInput: () => Promise<Uint8Array | null>,
): Promise<{ posts: GivenPost[]; many: boolean }> {
  const sources = ["post", "text", "demo"].filter((name) => given.has(name));
  if (sources.length > 1) {
    throw new RangeError(
      `The post can come from only one place, not from ${sources.map((name) => `--${name}`).join(" and ")}.`,
    );
  }
  const { subreddit, title } = flags;
  const single = (post: string) => ({ posts: [{ post: { subreddit, title, post } }], many: false });
  if (given.has("text")) return single(flags.text);
  if (given.has("demo")) {
    const all = await loadPosts((path) => files.read(joinPath(demoFolder, path)), "test");
    const posts = flags.demo.map((number): GivenPost => {
      const record = all[number - 1];
      if (!record) throw new RangeError(`--demo takes numbers from 1 to ${all.length}, not ${number}.`);
      const { id, subreddit, title, post, summary } = record;
      return { post: { id, subreddit, title, post }, reference: summary, record };
    });
    if (posts.length === 0) {
      throw new RangeError(`--demo takes numbers from 1 to ${all.length}, at least one.`);
    }
    return { posts, many: posts.length > 1 };
  }
  if (given.has("post")) {
    const bytes = await files.read(flags.post);
    if (/\.(jsonl|ndjson)$/i.test(flags.post)) {
      return { posts: readList(flags.post, bytes, flags), many: true };
    }
    if (!/\.json$/i.test(flags.post)) return single(decode(flags.post, bytes));
    return { posts: [postOf(flags.post, parseJson(flags.post, bytes), flags)], many: false };
  }
  const bytes = await readInput();
  if (bytes === null) {
    throw new RangeError('There is no post: give --text "…", --post FILE or --demo N, or pipe one in.');
  }
  const text = decode("Standard input", bytes);
  return looksLikeRecords(text)
    ? { posts: readList("Standard input", bytes, flags), many: true }
    : single(text);
}

/** Whether a text is posts in JSON rather than a post: its first line is an object. */
function looksLikeRecords(text: string): boolean {
  const line = text.trimStart().split("\n", 1)[0];
  if (!line.startsWith("{")) return false;
  try {
    return typeof JSON.parse(line) === "object";
  } catch {
    return false;
  }
}

function readList(name: string, bytes: Uint8Array, flags: PostFlags): GivenPost[] {
  const posts: GivenPost[] = [];
  for (const { place, fields } of readJsonLines(name, bytes)) {
    if (flags.limit > 0 && posts.length === flags.limit) break;
    posts.push(postOf(place, fields, flags));
  }
  if (posts.length === 0) {
    throw new DamagedFileError(`${name} has no posts; one JSON object a line is needed.`);
  }
  return posts;
}

function postOf(place: string, json: unknown, { subreddit, title }: PostFlags): GivenPost {
  const fields = typeof json === "object" && json !== null ? json as Record<string, unknown> : {};
  const id = optionalString(place, fields, "id"), reference = optionalString(place, fields, "summary");
  return {
    post: {
      ...(id !== null && { id }),
      subreddit: optionalString(place, fields, "subreddit") ?? subreddit,
      title: optionalString(place, fields, "title") ?? title,
      post: stringField(place, fields, "post"),
    },
    ...(reference !== null && { reference: reference.trim() }),
  };
}

function decode(name: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new DamagedFileError(`${name} is not UTF-8 text; convert it first.`);
  }
}
