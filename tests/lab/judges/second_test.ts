import { assertAlmostEquals, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { memoryFiles } from "../../../lab/bytes.ts";
import { configure } from "../../../lab/config.ts";
import { posts as demoPosts } from "../../../lab/demo/corpus.ts";
import { secondScores } from "../../../lab/judges/second.ts";
import { loadQwen2 } from "../../../lab/qwen2.ts";
import { tldrQuery } from "../../../lab/query.ts";
import { sequenceScores } from "../../../lab/scoring.ts";
import type { KeepRows } from "../../../lab/stages/kept.ts";
import { loadTokenizer } from "../../../lab/tokenizer.ts";
import { gpuTest } from "../../kernels/testing.ts";
import { judgeFolder } from "./folder.ts";

gpuTest(
  "a text that has ended is scored at its end token, another at its last, an empty one too",
  async (gpu) => {
    const files = memoryFiles();
    await judgeFolder(gpu, files, "folder", 9, { head: "score" });
    const posts = demoPosts(2, 3);
    const run = { gpu, files, config: configure("demo", {}) };
    const asked: [string, number, number][] = [];
    const rows: KeepRows = (name, count, batch, measure) => {
      asked.push([name, count, batch]);
      return measure(0, count);
    };
    const texts = [" It ended.", " It went on and", ""];
    const [first, second] = await secondScores(
      run,
      "folder",
      posts,
      [{ texts, ended: [true, false, true] }, { texts: texts.slice(0, 1), ended: [false] }],
      rows,
    );
    assertEquals([first.length, second.length], [3, 1]);
    assertEquals(asked, [["scores", 4, 256]]);
    const tokenizer = await loadTokenizer((path) => files.read(path), "folder", 768);
    const model = await loadQwen2(gpu, files, "folder", "alone");
    const alone = async (i: number, response: number[]) => {
      const { tokens } = tldrQuery(tokenizer, posts[i], run.config.preprocess.queryTokens);
      return (await sequenceScores(gpu, model, [[...tokens, ...response]], 64))[0];
    };
    const eos = tokenizer.eosId;
    assertAlmostEquals(first[0], await alone(0, [...tokenizer.encode(texts[0]), eos]), 1e-4);
    assertAlmostEquals(first[1], await alone(1, tokenizer.encode(texts[1])), 1e-4);
    assertAlmostEquals(first[2], await alone(2, [eos]), 1e-4);
    assertAlmostEquals(second[0], await alone(0, tokenizer.encode(texts[0])), 1e-4);
    model.parameters.drop();

    await judgeFolder(gpu, files, "language", 9);
    await assertRejects(
      () => secondScores(run, "language", posts, [], rows),
      Error,
      "set evaluate.judge local",
    );
  },
);
