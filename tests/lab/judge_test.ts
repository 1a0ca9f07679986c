import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import {
  type Judge,
  judgePairs,
  orderBias,
  scoreJudge,
  type SummaryPair,
  type Verdict,
} from "../../lab/judge.ts";

const pairs: SummaryPair[] = Array.from({ length: 200 }, (_, i) => ({
  post: { id: `p${i}`, subreddit: "s", title: "t", post: `post ${i}` },
  ours: "x".repeat(1 + i % 5),
  theirs: "y".repeat(1 + i % 3),
}));
const longest = scoreJudge("longest", (_, summary) => summary.length);
const expected = pairs.map(({ ours, theirs }) => 0.5 + 0.5 * Math.sign(ours.length - theirs.length));
const firstAlways: Judge = { name: "first", compare: () => Promise.resolve({ preferred: "A" }) };

Deno.test("a score's judge gives the same outcomes in both orders and in a random one", async () => {
  for (const orders of ["both", "random"] as const) {
    const judgements = await judgePairs(longest, pairs, { orders });
    assertEquals(judgements.map((judgement) => judgement.outcome), expected);
  }
  const near = await judgePairs(scoreJudge("near", (_, summary) => summary.length, 10), pairs);
  assert(near.every((judgement) => judgement.outcome === 0.5));
});

Deno.test("a judge that always takes the first is found out, and both orders cancel it", async () => {
  const both = await judgePairs(firstAlways, pairs);
  assert(both.every((judgement) => judgement.outcome === 0.5));
  assertEquals(orderBias(both), { verdicts: 400, firstPreferred: 1, pairs: 200, consistent: 0 });
  assertEquals(orderBias(await judgePairs(longest, pairs)).consistent, 1);
  const once = await judgePairs(firstAlways, pairs, { orders: "random", seed: 4 });
  const share = once.filter((judgement) => judgement.outcome === 1).length / 200;
  assert(share > 0.4 && share < 0.6, `ours stood first in ${share}`);
});

Deno.test("the random order hangs on seed and pair, not on place or on which is ours", async () => {
  const options = { orders: "random", seed: 9 } as const;
  const forward = await judgePairs(firstAlways, pairs, options);
  const backward = await judgePairs(firstAlways, pairs.toReversed(), options);
  assertEquals(backward.toReversed(), forward);
  const other = await judgePairs(firstAlways, pairs, { orders: "random", seed: 10 });
  assert(other.some((judgement, i) => judgement.outcome !== forward[i].outcome));
  const exchanged = pairs.map(({ post, ours, theirs }) => ({ post, ours: theirs, theirs: ours }));
  const mirrored = await judgePairs(firstAlways, exchanged, options);
  assertEquals(
    mirrored.map((judgement) => judgement.outcome),
    forward.map((judgement) => 1 - judgement.outcome),
  );
});

Deno.test("verdicts once given are not asked for again", async () => {
  let asked = 0;
  const counting: Judge = { name: "counting", compare: (...args) => (asked++, longest.compare(...args)) };
  const cache = new Map<string, Verdict>();
  const progress: number[] = [];
  const first = await judgePairs(counting, pairs, { cache, onProgress: (done) => progress.push(done) });
  assertEquals([asked, progress.length, progress.at(-1)], [400, 200, 200]);
  assertEquals(await judgePairs(counting, pairs, { cache, concurrency: 7 }), first);
  assertEquals(asked, 400);
  await judgePairs({ ...counting, name: "another" }, pairs.slice(0, 3), { cache });
  assertEquals(asked, 406);
});

Deno.test("concurrency changes neither results nor their order", async () => {
  let running = 0;
  let most = 0;
  const slow: Judge = {
    name: "slow",
    async compare(post, a, b) {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, a.length));
      running--;
      return longest.compare(post, a, b);
    },
  };
  const judgements = await judgePairs(slow, pairs.slice(0, 40), { concurrency: 5 });
  assertEquals(judgements.map((judgement) => judgement.outcome), expected.slice(0, 40));
  assertEquals(most, 5);
});

Deno.test("a failing judge and an aborted signal stop the work; verdicts before are kept", async () => {
  const cache = new Map<string, Verdict>();
  let asked = 0;
  const failing: Judge = {
    name: "failing",
    compare: (...args) => {
      if (++asked === 6) throw new Error("the judge is gone");
      return longest.compare(...args);
    },
  };
  await assertRejects(() => judgePairs(failing, pairs, { cache }), Error, "the judge is gone");
  assertEquals([cache.size, asked], [5, 6]);
  const stopped = AbortSignal.abort(new Error("stopped"));
  await assertRejects(() => judgePairs(longest, pairs, { signal: stopped }), Error, "stopped");
  const odd = { name: "odd", compare: () => Promise.resolve({ preferred: "C" as "A" }) };
  await assertRejects(() => judgePairs(odd, pairs), TypeError, 'Judge odd answered "C"');
  await assertRejects(
    () => judgePairs(scoreJudge("nan", () => NaN), pairs),
    RangeError,
    "Judge nan scored a summary of post p0 as NaN",
  );
  assertEquals(await judgePairs(longest, []), []);
});
