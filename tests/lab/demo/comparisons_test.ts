import { assert, assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { batches, comparisons, labeller, secondPreferred } from "../../../lab/demo/comparisons.ts";
import { posts } from "../../../lab/demo/corpus.ts";
import { goldScore } from "../../../lab/demo/gold.ts";

const list = posts(31, 1000);
const byId = new Map(list.map((post) => [post.id, post]));
const rows = comparisons(32, list, 2, "train");

Deno.test("comparisons have the published schema: texts with a leading space and no EOS, ids of known posts", () => {
  assertEquals(rows.length, 2000);
  for (const { info, summaries, choice, worker, split, extra } of rows) {
    const post = byId.get(info.id)!;
    assertEquals(info, { id: post.id, post: post.post, title: post.title, subreddit: post.subreddit });
    assert(summaries[0].text !== summaries[1].text);
    for (const { text, policy } of summaries) {
      assert(/^ \S/.test(text) && !text.includes("<|") && text === text.trimEnd(), `"${text}"`);
      assert(policy.length > 0);
      assert(text.split(" ").length - 1 <= 19, text);
    }
    assert(
      choice === 0 ? extra.confidence < 5 : extra.confidence > 5,
      "confidence lies on the side of the choice",
    );
    assert(extra.confidence >= 1 && extra.confidence <= 9);
    assert(worker !== "" && split === "train");
  }
});

Deno.test("every pair type occurs in about its share, and neither side is preferred", () => {
  const total = Object.values(batches).reduce((sum, weight) => sum + weight, 0);
  for (const [batch, weight] of Object.entries(batches)) {
    const share = rows.filter((row) => row.batch === batch).length / rows.length;
    assert(Math.abs(share - weight / total) < 0.035, `${batch}: ${share}`);
  }
  const second = rows.filter(({ choice }) => choice === 1).length / rows.length;
  assert(Math.abs(second - 0.5) < 0.04, `${second}`);
});

Deno.test("labels follow the gold rule with the stated noise", () => {
  // Where the scores are 3 or more apart, Bradley–Terry errs in at most one of 8,000: what is left are the slips.
  const clear = rows.map((row) => {
    const post = byId.get(row.info.id)!;
    const margin = goldScore(post, row.summaries[1].text) - goldScore(post, row.summaries[0].text);
    return { margin, agrees: (margin > 0) === (row.choice === 1) };
  });
  const far = clear.filter(({ margin }) => Math.abs(margin) >= 3);
  const wrong = far.filter(({ agrees }) => !agrees).length / far.length;
  const deviation = Math.sqrt(labeller.flip * (1 - labeller.flip) / far.length);
  assert(
    Math.abs(wrong - labeller.flip) < 4 * deviation,
    `${wrong} of ${far.length} labels are turned round`,
  );
  const close = clear.filter(({ margin }) => Math.abs(margin) === 0.5);
  const doubt = close.filter(({ agrees }) => !agrees).length / close.length;
  const expected = 1 / (1 + Math.exp(labeller.slope / 2));
  assert(
    Math.abs(doubt - (expected + labeller.flip * (1 - 2 * expected))) < 0.08,
    `${doubt} of ${close.length}`,
  );
});

Deno.test("a preference that knows the gold score is right in 92 to 96 of 100 pairs", () => {
  const ceiling = rows.map(({ info, summaries }) => {
    const second = secondPreferred(byId.get(info.id)!, summaries);
    const stated = second * (1 - labeller.flip) + (1 - second) * labeller.flip;
    return Math.max(stated, 1 - stated);
  }).reduce((sum, one) => sum + one) / rows.length;
  assert(ceiling > 0.92 && ceiling < 0.96, `${ceiling}`);
});

Deno.test("neither the longer nor the shorter summary wins so often that length would be enough", () => {
  const unequal = rows.filter(({ summaries: [a, b] }) => a.text.length !== b.text.length);
  const longer =
    unequal.filter(({ summaries, choice }) =>
      summaries[choice].text.length > summaries[1 - choice].text.length
    ).length / unequal.length;
  assert(longer > 0.5 && longer < 0.7, `${longer}`);
});

Deno.test("the same seed gives the same pairs, and no pairs a post is refused", () => {
  assertEquals(comparisons(32, list.slice(0, 50), 2, "train"), rows.slice(0, 100));
  assertThrows(() => comparisons(1, list, 0, "train"), RangeError, "one or more");
});
