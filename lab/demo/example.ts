/** What the page shows before any GPU has started: a demo post, the base model's summary of it, and how it rates the reference. */
import { presetConfig } from "../config.ts";
import { type Post } from "../query.ts";
import { rateSummary, summarise, type Writer, type Written } from "../summarise.ts";
import type { DemoPost } from "./corpus.ts";

/** The content of `public/demo/example.json`. */
export interface Example {
  post: Post;
  /** The post's own summary. */
  reference: string;
  /** The model's, greedy. */
  summary: Written;
  /** The reference, as the model rates it. */
  rated: Written;
  /** What computed it. */
  adapter: string;
  /** SHA-256 of the model's weights. */
  model: string;
}

/** Which post of the test split. */
export const examplePost = 0;

/** The lengths that the demo's base model was trained for. */
export const demoLengths = presetConfig("demo").preprocess;

/** Makes the example anew. */
export async function makeExample(
  writer: Writer,
  { id, subreddit, title, post, summary }: DemoPost,
  model: string,
) {
  const shown = { id, subreddit, title, post };
  const example: Example = {
    post: shown,
    reference: summary,
    summary: await summarise(writer, shown, { temperature: 0, seed: 1 }),
    rated: await rateSummary(writer, shown, summary),
    adapter: writer.gpu.facts.adapter,
    model,
  };
  return example;
}
