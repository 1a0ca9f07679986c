import { AutoTokenizer, env } from "@huggingface/transformers";
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "deno-std/assert/mod.js";
import { parseDemoArgs, writeDemo } from "../../headless/demo-data.ts";
import { buildDemo, demoIds, demoSizes } from "../../lab/demo/build.ts";
import { loadComparisons, loadPosts } from "../../lab/demo/load.ts";
import { formatTldrQuery, referenceResponse } from "../../lab/query.ts";
import { loadTokenizer } from "../../lab/tokenizer.ts";
import golden from "../oracles/golden/demo_tokenizer.json" with { type: "json" };

const folder = new URL("../../public/demo/", import.meta.url);
const read = (path: string) => Deno.readFile(new URL(path, folder));
const tokenizer = await loadTokenizer((path) => read(path.replace(/^\/?/, "")), "", demoIds.embeddingRows);
const splits = ["train", "validation", "test"] as const;

/** SHA-256 of each file, unpacked where it is gzipped. */
async function digests(files: Iterable<[string, Uint8Array]>): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const [name, bytes] of files) {
    let stream: ReadableStream = new Blob([bytes.slice()]).stream();
    if (name.endsWith(".gz")) stream = stream.pipeThrough(new DecompressionStream("gzip"));
    const hash = await crypto.subtle.digest("SHA-256", await new Response(stream).arrayBuffer());
    found[name] = new Uint8Array(hash).toHex();
  }
  return found;
}

Deno.test("the demo data that ships is what its seed makes, file by file", async () => {
  const built = await buildDemo();
  const shipped: [string, Uint8Array][] = [];
  for (const name of built.keys()) shipped.push([name, await read(name)]);
  assertEquals(await digests(shipped), await digests(built));
  const total = shipped.reduce((sum, [, bytes]) => sum + bytes.length, 0);
  assert(total <= 3.5e6, `${total} bytes`);
});

Deno.test("two builds from one seed are equal byte for byte, and another seed gives other data", async () => {
  const out = await Deno.makeTempDir();
  try {
    const [one, two, other] = [await writeDemo(5, `${out}/a`), await buildDemo(5), await buildDemo(6)];
    for (const [name, bytes] of one) {
      assertEquals(bytes, two.get(name), name);
      assertEquals(await Deno.readFile(`${out}/a/${name}`), bytes, name);
      if (name !== "tokenizer_config.json") {
        assert((await digests(one))[name] !== (await digests(other))[name], name);
      }
    }
  } finally {
    await Deno.remove(out, { recursive: true });
  }
});

Deno.test("ids equal those of Python's tokenizers on 200 texts, in our tokenizer and in transformers.js", async () => {
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.localModelPath = new URL("../", folder).pathname;
  const referee = await AutoTokenizer.from_pretrained("demo", { local_files_only: true });
  assertEquals(golden.cases.length, 200);
  for (const { text, ids } of golden.cases) {
    assertEquals(tokenizer.encode(text), ids, text);
    assertEquals(Array.from(referee.encode(text)), ids, text);
  }
  assertEquals(referee.eos_token_id, demoIds.endOfText);
});

Deno.test("every text of the demo round-trips, queries stay within 96 tokens and references within 28", async () => {
  assertEquals([tokenizer.eosId, tokenizer.padId], [demoIds.endOfText, demoIds.pad]);
  assertEquals(demoIds.embeddingRows % 64, 0);
  for (const split of splits) {
    const list = await loadPosts(read, split);
    assertEquals(list.length, demoSizes.posts[split]);
    for (const post of list) {
      const [query, response] = [formatTldrQuery(post), referenceResponse(post.summary)];
      const ids = tokenizer.encode(query);
      const answer = tokenizer.encode(response);
      assert(ids.length <= 96, `${ids.length} tokens: ${query}`);
      assert(answer.length <= 28, `${answer.length} tokens: ${response}`);
      assertEquals(
        tokenizer.encode(query + response),
        [...ids, ...answer],
        "joint and separate tokens differ",
      );
      assertEquals(tokenizer.decode([...ids, ...answer]), query + response);
      assertEquals(answer.at(-1), demoIds.endOfText);
    }
  }
});

Deno.test("comparisons are about posts of their own split, and candidates stay within 34 tokens", async () => {
  const [train, validation] = [await loadPosts(read, "train"), await loadPosts(read, "validation")];
  const homes = {
    train: new Set(train.map(({ id }) => id)),
    validation: new Set(validation.map(({ id }) => id)),
  };
  for (const split of ["train", "validation"] as const) {
    const rows = await loadComparisons(read, split);
    assertEquals(rows.length, split === "train" ? 4000 : 400);
    for (const { source, summaries } of rows) {
      assert(homes[split].has(source.id));
      for (const { text } of summaries) {
        const ids = tokenizer.encode(text + "<|endoftext|>");
        assert(ids.length <= 34, `${ids.length} tokens: ${text}`);
        assertEquals(tokenizer.decode(ids), text + "<|endoftext|>");
      }
    }
    const parts = new Set(rows.map((row) => row.split));
    assertEquals([...parts].sort(), split === "train" ? ["train"] : ["valid1", "valid2"]);
  }
});

Deno.test("the command line refuses what it does not know in one sentence", async () => {
  assertEquals(parseDemoArgs(["--seed", "9", "--out", "x"]), { seed: 9, out: "x", help: false });
  assertEquals(parseDemoArgs(["--help"]).help, true);
  for (
    const args of [["--sed", "3"], ["--seed", "-3"], ["--seed", "1e3"], ["--out", ""], ["file"], ["--seed"]]
  ) {
    const { message } = assertThrows(() => parseDemoArgs(args), Error, undefined, args.join(" "));
    assertMatch(message, /^[^\n]*(--seed|--out)[^\n]*$/);
  }
  await assertRejects(() => writeDemo(1, "/dev/null/x"), Error);
});
