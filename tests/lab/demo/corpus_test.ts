import { assert, assertEquals, assertNotEquals, assertThrows } from "deno-std/assert/mod.js";
import { factKinds, posts } from "../../../lab/demo/corpus.ts";
import { voices } from "../../../lab/demo/lexicon.ts";
import { random } from "../../../lab/demo/random.ts";

Deno.test("one seed gives one list of posts, and a longer list begins with the shorter one", () => {
  assertEquals(posts(7, 40), posts(7, 60).slice(0, 40));
  assertNotEquals(posts(7, 5), posts(8, 5));
  assertEquals(posts(7, 0), []);
});

Deno.test("no two posts share id or facts, so that splits are disjoint", () => {
  const list = posts(3, 4000);
  assertEquals(new Set(list.map((post) => post.id)).size, list.length);
  const facts = list.map(({ subreddit, facts }) =>
    [subreddit, ...factKinds.map((kind) => facts[kind])].join("|")
  );
  assertEquals(new Set(facts).size, list.length);
});

Deno.test("every fact and every noise word stands in its post word for word", () => {
  for (const { post, facts } of posts(11, 1000)) {
    const told = post.toLowerCase();
    for (const kind of factKinds) {
      assert(told.includes(facts[kind].toLowerCase()), `${kind} "${facts[kind]}" is missing from: ${post}`);
    }
    for (const word of facts.noise) {
      assert(told.split(/[ .]/).includes(word.toLowerCase()), `${word}: ${post}`);
    }
    assert(facts.noise.length >= 1 && facts.noise.length <= 3);
    assert(facts.noise.every((word) => !facts.who.includes(word)), `noise names the hero: ${post}`);
    assertEquals(post, post.trim());
    assert(!post.includes("@") && !post.includes("{") && !post.includes("#"), post);
  }
});

Deno.test("every subreddit, every fact and every order of telling occurs", () => {
  const list = posts(1, 3000);
  for (const { subreddit, results, questions } of voices) {
    const mine = list.filter((post) => post.subreddit === subreddit);
    assert(mine.length > 3000 / voices.length * 0.8, subreddit);
    for (const result of results) assert(mine.some(({ facts }) => facts.result === result), result);
    for (const question of questions) assert(mine.some(({ facts }) => facts.question === question), question);
  }
  const asksFirst = list.filter(({ post, facts }) => post.startsWith(facts.question)).length;
  const asksLast = list.filter(({ post }) => post.endsWith("?")).length;
  assert(asksFirst > 100 && asksLast > 1000, `${asksFirst} ask first, ${asksLast} last`);
});

Deno.test("references carry a part of the facts, with large differences between writers", () => {
  const shares = posts(5, 2000).map(({ summary, facts }) =>
    factKinds.filter((kind) => summary.includes(facts[kind])).length
  );
  const mean = shares.reduce((sum, share) => sum + share) / shares.length;
  assert(mean > 1.6 && mean < 2.4, `${mean} facts of four on average`);
  for (const count of [0, 1, 2, 3, 4]) {
    const share = shares.filter((one) => one === count).length / shares.length;
    assert(share > 0.05, `${count} facts in ${share} of the references`);
  }
});

Deno.test("an impossible number of posts is refused in a sentence", () => {
  for (const count of [-1, 1.5, NaN, 100_001]) {
    assertThrows(() => posts(1, count), RangeError, "posts() makes");
  }
});

Deno.test("the random stream is uniform and the same on every machine", () => {
  const rng = random(2009);
  const first = Array.from({ length: 4 }, () => rng.below(1000));
  assertEquals(first, [158, 162, 611, 253]);
  const counts = new Array(10).fill(0);
  for (let draw = 0; draw < 100_000; draw++) counts[rng.below(10)]++;
  // Chi-squared with 9 degrees of freedom exceeds 27.9 with probability 0.001.
  const chi = counts.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0);
  assert(chi < 27.9, `chi-squared ${chi}`);
  const weights = Array.from({ length: 10_000 }, () => rng.weighted({ rare: 1, common: 3 }));
  const rare = weights.filter((key) => key === "rare").length / 10_000;
  assert(Math.abs(rare - 0.25) < 0.02, `${rare}`);
  assertThrows(() => rng.pick([]), RangeError);
});
