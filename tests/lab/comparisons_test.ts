import { assert, assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { DamagedFileError } from "../../lab/bytes.ts";
import { readComparisons, splitComparisons } from "../../lab/comparisons.ts";
import { feedDamaged } from "./damage.ts";
import { sharedText } from "./qwen.ts";

const published = await sharedText("tldr/openai_comparisons_4.jsonl");
const read = (text: string) => [...readComparisons("batch9.json", new TextEncoder().encode(text))];

const row = {
  info: { id: "t3_1", subreddit: "tifu", title: "A", post: "B" },
  summaries: [{ text: " first", policy: "sup2" }, { text: " second", policy: "ref" }],
  choice: 1,
};

Deno.test({
  name: "four rows of OpenAI's are read, whatever they leave out",
  ignore: published === null,
  fn() {
    const rows = read(published!);
    assertEquals(rows.map((row) => row.choice), [1, 0, 0, 1]);
    assertEquals(rows.map((row) => row.split), ["train", "train", null, "train"]);
    assertEquals(rows.map((row) => row.batch), ["batch9", "batch5", null, "batch3"]);
    assertEquals(rows.map((row) => row.confidence), [8, null, null, null]);
    assertEquals(rows.map((row) => row.policies), [
      "ref--sup4_ppo_rm3_kl10",
      "sup2--sup2",
      "sup1--sup1",
      "sup1--sup1",
    ]);
    assertEquals(rows[0].chosen.policy, "ref");
    assert(
      rows[0].chosen.text.startsWith(" we suspect") && rows[0].rejected.text.startsWith(" car accident"),
    );
    assertEquals(rows[0].source.subreddit, "legaladvice");
    assertEquals(
      Object.values(splitComparisons(rows)).map((list) => list.length),
      [3, 0, 0, 0, 1],
    );
  },
});

Deno.test("what a row does not say is null", () => {
  const [only] = read(JSON.stringify(row));
  assertEquals(only.chosen, { text: " second", policy: "ref", note: null });
  assertEquals(only.rejected.text, " first");
  assertEquals([only.policies, only.split, only.confidence, only.worker], ["ref--sup2", null, null, null]);
});

Deno.test("validation rows of the CNN/DM batches stand apart; training rows never do", () => {
  const article = { info: { id: "x", site: "cnn", article: "C" } };
  const rows = [
    { split: "train", batch: "batch3" },
    { split: "train", batch: "cnndm0" },
    { split: "valid1", batch: "batch7" },
    { split: "valid2", batch: "batch7" },
    { split: "valid1", batch: "batch0_cnndm", ...article },
    { split: "valid2", batch: "cnndm0", ...article },
    { split: "valid2", batch: "cnndm2", ...article },
    { split: "valid2", batch: "edit_b2_eval_test" },
    {},
  ].map((change) => JSON.stringify({ ...row, ...change }));
  const lists = splitComparisons(read(rows.join("\n")));
  assertEquals(
    [lists.train, lists.valid1, lists.valid2, lists.cnndm, lists.unassigned].map((list) => list.length),
    [2, 1, 2, 3, 1],
  );
});

Deno.test("a bad row is named by file and line", () => {
  const refused = (change: Record<string, unknown>, message: string) =>
    assertThrows(
      () => read(JSON.stringify(row) + "\n" + JSON.stringify({ ...row, ...change })),
      DamagedFileError,
      `batch9.json:2 ${message}`,
    );
  refused({ choice: 2 }, 'has "choice" 2; it must be 0 or 1.');
  refused({ choice: undefined }, 'has no "choice"; it must be 0 or 1.');
  refused({ summaries: [row.summaries[0]] }, 'does not have two "summaries"');
  refused({ summaries: [row.summaries[0], { policy: "x" }] }, 'has no "summaries.1.text"');
  refused({ summaries: [row.summaries[0], null] }, 'has no "summaries.1.text"');
  refused({ split: "valid3" }, 'has "split" "valid3"');
  refused({ extra: { confidence: 11 } }, 'has "extra.confidence" 11');
  refused({ info: { id: "x", title: "only" } }, "has neither an article nor a post");
  refused({ info: undefined }, 'has no "info.id"');
});

Deno.test("a thousand damaged comparison files give sound rows or a named error", async () => {
  const rows = [
    { ...row, split: "train", batch: "batch3", worker: "w", extra: { confidence: 7 } },
    { ...row, info: { id: "x", site: "cnn", article: "C" }, split: "valid2", batch: "cnndm0" },
    { ...row, choice: 0, split: "valid1", summaries: row.summaries.map((one) => ({ ...one, note: "n" })) },
  ];
  await feedDamaged(rows.map((one) => JSON.stringify(one)).join("\n") + "\n", (bytes) => {
    for (const read of readComparisons("batch9.json", bytes)) {
      const { source, summaries, choice, chosen, rejected, split, confidence, batch, worker, policies } =
        read;
      assert(choice === 0 || choice === 1);
      assertEquals([chosen, rejected], [summaries[choice], summaries[1 - choice]]);
      for (const text of [source.id, chosen.text, rejected.text]) assertEquals(typeof text, "string");
      const texts = [
        source.subreddit,
        source.title,
        source.post,
        source.article,
        source.site,
        batch,
        worker,
        policies,
      ];
      for (const text of texts) assert(text === null || typeof text === "string");
      assert(
        source.article !== null ||
          [source.subreddit, source.title, source.post].every((text) => text !== null),
      );
      assert(["train", "valid1", "valid2", null].includes(split));
      assert(confidence === null || confidence >= 1 && confidence <= 9);
    }
  }, { names: "batch9.json:" });
});
