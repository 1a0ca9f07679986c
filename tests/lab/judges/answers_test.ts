import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { DamagedFileError, memoryFiles } from "../../../lab/bytes.ts";
import { openAnswers } from "../../../lab/judges/answers.ts";

Deno.test("answers that come at the same time are all kept, each on a line, and found again", async () => {
  const files = memoryFiles();
  const answers = await openAnswers<{ n: number }>(files, "run", "j");
  await Promise.all(Array.from({ length: 50 }, (_, n) => answers.add(`key ${n}`, { n })));
  const again = await openAnswers<{ n: number }>(files, "run", "j");
  for (let n = 0; n < 50; n++) assertEquals(again.get(`key ${n}`), { n });
  assertEquals(again.get("key 50"), undefined);
  assertEquals((await openAnswers(files, "run", "another")).get("key 1"), undefined);
});

Deno.test("a disk that is full fails the answer that found it so, and not the next", async () => {
  const files = memoryFiles();
  let full = false;
  const answers = await openAnswers<{ n: number }>(
    {
      ...files,
      append: async (path, bytes) => {
        await files.append(path, full ? bytes.subarray(0, 9) : bytes);
        if (full) throw new Error("no space");
      },
    },
    "run",
    "j",
  );
  await answers.add("a", { n: 1 });
  full = true;
  await assertRejects(() => answers.add("b", { n: 2 }), Error, "no space");
  full = false;
  await answers.add("c", { n: 3 });
  const again = await openAnswers<{ n: number }>(files, "run", "j");
  assertEquals([again.get("a"), again.get("b"), again.get("c")], [{ n: 1 }, undefined, { n: 3 }]);
});

Deno.test("a line that is no answer is named with its number and the remedy", async () => {
  const files = memoryFiles();
  await (await openAnswers(files, "run", "j")).add("a", {});
  await files.append("run/judge/j.jsonl", new TextEncoder().encode('{"key": 3}\n'));
  await assertRejects(
    () => openAnswers(files, "run", "j"),
    DamagedFileError,
    "run/judge/j.jsonl:2 is not an answer; remove the line",
  );
});
