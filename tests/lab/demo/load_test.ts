import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { DamagedFileError } from "../../../lab/bytes.ts";
import { comparisons } from "../../../lab/demo/comparisons.ts";
import { loadComparisons, loadPosts, posts } from "../../../lab/demo/load.ts";

const list = posts(41, 20);
const jsonl = (records: unknown[]) =>
  new TextEncoder().encode(records.map((one) => JSON.stringify(one) + "\n").join(""));
const gzip = async (bytes: Uint8Array<ArrayBuffer>) =>
  new Uint8Array(
    await new Response(new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer(),
  );
const reader = (bytes: Uint8Array) => () => Promise.resolve(bytes);

Deno.test("posts come back as they were written, gzipped or already unpacked by a server", async () => {
  assertEquals(await loadPosts(reader(jsonl(list)), "train"), list);
  assertEquals(await loadPosts(reader(await gzip(jsonl(list))), "train"), list);
});

Deno.test("comparisons come back with chosen and rejected summaries", async () => {
  const rows = comparisons(1, list, 1, "valid1");
  const read = await loadComparisons(reader(await gzip(jsonl(rows))), "validation");
  assertEquals(read.length, rows.length);
  read.forEach(({ source, summaries, chosen, split, confidence }, at) => {
    assertEquals(source.id, rows[at].info.id);
    assertEquals(source.post, rows[at].info.post);
    assertEquals(summaries.map(({ text }) => text), rows[at].summaries.map(({ text }) => text));
    assertEquals(chosen.text, rows[at].summaries[rows[at].choice].text);
    assertEquals([split, confidence], ["valid1", rows[at].extra.confidence]);
  });
});

Deno.test("damaged files are named in one sentence", async () => {
  const whole = await gzip(jsonl(list));
  const plain = jsonl(list);
  const bad: [string, Uint8Array][] = [
    ["empty", new Uint8Array()],
    ["cut gzip", whole.slice(0, whole.length / 2)],
    ["flipped bit", whole.map((byte, at) => at === 200 ? byte ^ 8 : byte)],
    ["cut line", plain.slice(0, plain.length - 40)],
    [
      "no facts",
      jsonl(list.map(({ id, subreddit, title, post, summary }) => ({ id, subreddit, title, post, summary }))),
    ],
    ["noise of numbers", jsonl([{ ...list[0], facts: { ...list[0].facts, noise: [1] } }])],
  ];
  for (const [name, bytes] of bad) {
    const error = await assertRejects(
      () => loadPosts(reader(bytes), "test"),
      DamagedFileError,
      undefined,
      name,
    );
    assertEquals(error.message.includes("posts-test.jsonl.gz"), true, error.message);
  }
});
