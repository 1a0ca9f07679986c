import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { diskFiles } from "../../headless/files.ts";
import { type Spawn, tokenWorkers } from "../../headless/token_workers.ts";
import { type Files, memoryFiles } from "../../lab/bytes.ts";
import { configure } from "../../lab/config.ts";
import type { SummarisedPost } from "../../lab/dataset.ts";
import { posts } from "../../lab/demo/corpus.ts";
import { silent } from "../../lab/progress.ts";
import { QueryError } from "../../lab/query.ts";
import { type Run, Stopped } from "../../lab/run.ts";
import { preprocess } from "../../lab/stages/preprocess.ts";
import { tokeniseBatch, type Tokenisers } from "../../lab/tokenise.ts";
import { loadTokenizer } from "../../lab/tokenizer.ts";

const folder = decodeURIComponent(new URL("../../public/demo", import.meta.url).pathname);
const disk = diskFiles();
const tokenizer = await loadTokenizer((path) => disk.read(path), folder, 768);
const limits = { queryTokens: 160, responseTokens: 60, preferenceTokens: 80 };

const some = posts(5, 500);
const short = some.map((post) => ({ ...post, post: post.post.slice(0, 80) }));
/** Enough for workers to be taken: six shards. */
const train: SummarisedPost[] = Array.from(
  { length: 22_000 },
  (_, i) => ({ ...short[(i * 7) % 500], title: `Number ${i}`, place: `train.jsonl:${i + 1}` }),
);

const runOf = (
  files: Files,
  rows: SummarisedPost[],
  tokenisers?: () => Promise<Tokenisers>,
  stopping = () => false,
) =>
  ({
    files,
    path: "run",
    config: configure("demo", { preprocess: limits }),
    dataset: {
      posts: { train: rows, validation: some.slice(0, 5), test: [] },
      pairs: { train: [], valid1: [], valid2: [], cnndm: [] },
    },
    tokenizer,
    tokenisers,
    directory: { appendMetrics: () => Promise.resolve() },
    progress: silent,
    stopping,
  }) as unknown as Run;

async function written(files: Files): Promise<Record<string, Uint8Array>> {
  const found: Record<string, Uint8Array> = {};
  for (const name of await files.list("run/data")) found[name] = await files.read(`run/data/${name}`);
  return found;
}

Deno.test("the shards are the same with no, one, two and three workers", async () => {
  const alone = memoryFiles();
  await preprocess(runOf(alone, train));
  const expected = await written(alone);
  assertEquals(Object.keys(expected).filter((name) => name.startsWith("posts-train")).length, 6);
  for (const count of [1, 2, 3]) {
    const files = memoryFiles();
    await preprocess(runOf(files, train, () => tokenWorkers(disk, folder, limits, count)));
    assertEquals(await written(files), expected, `${count} workers`);
  }
});

Deno.test("batches wait their turn, and each gets its own answer", async () => {
  const pool = await tokenWorkers(disk, folder, limits, 2);
  const batches = Array.from({ length: 7 }, (_, i) => ({
    kind: "posts" as const,
    rows: train.slice(i * 40, i * 40 + 1 + 5 * i),
  }));
  const answers = await Promise.all(batches.map((batch) => pool.tokenise(batch)));
  assertEquals(answers, batches.map((batch) => tokeniseBatch(tokenizer, batch, limits)));
  pool.close();
});

Deno.test("a bad row is named by file and row, and the worker goes on", async () => {
  const pool = await tokenWorkers(disk, folder, limits, 1);
  const batch = (rows: SummarisedPost[]) => ({ kind: "posts" as const, rows });
  const bad = { ...train[7], post: " " };
  await assertRejects(
    () => pool.tokenise(batch([train[6], bad, train[8]])),
    QueryError,
    `train.jsonl:8: Post ${bad.id} is empty; leave it out.`,
  );
  assertEquals((await pool.tokenise(batch([train[6]]))).starts.length, 2);
  pool.close();
});

Deno.test("a stop is heard within a second while workers are busy, and leaves none behind", async () => {
  const files = memoryFiles();
  let stop = 0;
  const shards = async () => await files.exists("run/data") ? (await files.list("run/data")).length : 0;
  const stopping = () => stop > 0;
  // As a signal would come: at any instant, here soon after the first shard.
  const asking = (async () => {
    while (await shards() === 0) await new Promise((resume) => setTimeout(resume, 5));
    stop = performance.now();
  })();
  await assertRejects(
    () => preprocess(runOf(files, train, () => tokenWorkers(disk, folder, limits, 2), stopping)),
    Stopped,
  );
  await asking;
  assert(performance.now() - stop < 1000, `${performance.now() - stop} ms`);
  const done = await shards();
  await new Promise((resume) => setTimeout(resume, 200));
  assertEquals(await shards(), done, "nothing is written afterwards");
  const notes: string[] = [];
  const run = runOf(files, train);
  await preprocess({ ...run, progress: { ...silent, note: (text) => notes.push(text) } });
  assert(notes[0].startsWith(`${done} of 12 token shards were there`), notes[0]);
});

/** Workers that run this source. */
const running = (source: string): Spawn => () =>
  new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })), { type: "module" });

Deno.test("a worker that breaks down ends the stage with a sentence that names its rows, not the process", async () => {
  for (
    const [source, why] of [
      [
        "self.onmessage = ({ data }) => { if (data.batch) throw new Error('out of cheese'); };",
        "out of cheese",
      ],
      ["throw new Error('cannot start');", "cannot start"],
      ["self.onmessage = ({ data }) => data.batch && self.postMessage({ failed: 'cannot' });", "cannot"],
    ]
  ) {
    const error = await assertRejects(
      () =>
        preprocess(runOf(memoryFiles(), train, () => tokenWorkers(disk, folder, limits, 2, running(source)))),
      Error,
      why,
    );
    assert(
      /^A tokenising worker failed \([^\n]+\) between train\.jsonl:(1|4097) and train\.jsonl:(4096|8192); /
        .test(error.message),
      error.message,
    );
  }
});

Deno.test("without the tokenizer's files no worker is started", async () => {
  await assertRejects(
    () => tokenWorkers(memoryFiles(), "nowhere", limits, 2),
    Error,
    "nowhere/tokenizer.json",
  );
  const damaged = memoryFiles({ "m/tokenizer.json": "{}", "m/tokenizer_config.json": "{}" });
  const pool = await tokenWorkers(damaged, "m", limits, 1);
  await assertRejects(
    () => pool.tokenise({ kind: "posts", rows: train.slice(0, 2) }),
    Error,
    "m/tokenizer.json",
  );
  pool.close();
});
