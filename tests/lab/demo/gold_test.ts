import { assert, assertAlmostEquals, assertEquals } from "deno-std/assert/mod.js";
import { posts } from "../../../lab/demo/corpus.ts";
import { bestScore, goldDetail, goldScore } from "../../../lab/demo/gold.ts";
import { voices } from "../../../lab/demo/lexicon.ts";
import { random } from "../../../lab/demo/random.ts";
import { fullSummary } from "../../../lab/demo/summary.ts";

const record = {
  title: "Trouble with my roommate Dana",
  post: "I was making soup. I live with my roommate Dana. Last week Dana sold my bike. Now I can't sleep. " +
    "I told Omar about it. Should I move out?",
  facts: {
    who: "roommate Dana",
    what: "sold my bike",
    result: "I can't sleep",
    question: "Should I move out",
    noise: ["soup", "Omar"],
  },
};

/** Scores worked out by hand from the formula at the head of lab/demo/gold.ts. */
const byHand: [string, number][] = [
  [" My roommate Dana sold my bike, so now I can't sleep. Should I move out?", 5],
  ["Should I move out? My roommate Dana sold my bike and now I can't sleep.", 5],
  ["MY ROOMMATE DANA SOLD MY BIKE, SO NOW I CAN'T SLEEP. SHOULD I MOVE OUT?", 5],
  [" My roommate Dana sold my bike.", 2.5],
  // The relation alone is half of who.
  [" My roommate sold my bike.", 2],
  [" Someone sold my bike. Should I move out?", 3],
  [" Should I move out?", 1.5],
  // A different object: half of what, one word made up.
  [" My roommate Dana sold my lamp.", 1 + 0.75 - 1],
  // A different name: half of who, one word made up.
  [" My roommate Lena sold my bike.", 0.5 + 1.5 - 1],
  // Omar is in the post, but as noise.
  [" My roommate Omar sold my bike.", 0.5 + 1.5 - 1],
  [" I was making soup. My roommate Dana sold my bike.", 2.5 - 1 - 1 * 0],
  // Twice the same sentence: five content words too often are roommate, Dana, sold, bike.
  [" My roommate Dana sold my bike. My roommate Dana sold my bike.", 2.5 - 4 * 0.75],
  // No full stop: one word pair (bike, end) that no well-formed summary has.
  [" My roommate Dana sold my bike", 2.5 - 0.4],
  [" Need advice.", 0],
  ["", -2],
  ["   \n", -2],
  ["?????", -2],
  [" My", -2],
];

for (const [summary, score] of byHand) {
  Deno.test(`the gold rule gives ${score} for "${summary.trim()}"`, () => {
    assertAlmostEquals(goldScore(record, summary), score, 1e-12);
  });
}

Deno.test("a full summary of any post reaches the best score, and nothing scores above it", () => {
  const rng = random(1);
  assertEquals(bestScore, 5);
  for (const seed of [21, 22]) {
    for (const post of posts(seed, 1000)) {
      const text = fullSummary(post.facts, rng);
      assertEquals(goldScore(post, text), bestScore, text);
      assert(goldScore(post, post.summary) <= bestScore);
    }
  }
});

Deno.test("well-formed references are never punished for grammar or invention", () => {
  for (const post of posts(23, 2000)) {
    const { unseenPairs, invented } = goldDetail(post, post.summary);
    assertEquals([unseenPairs, invented], [[], []], post.summary);
  }
});

Deno.test("no result carries a part of a question, in no subreddit", () => {
  for (const { results, questions, relations, verbs, things } of voices) {
    for (const question of questions) {
      for (const result of results) {
        const facts = {
          who: `${relations[0]} Dana`,
          what: `${verbs[0]} ${things[0].replace("#", "25")}`,
          result,
          question,
          noise: [],
        };
        const told = { title: "", post: `My ${facts.who} ${facts.what}. ${result}. ${question}?`, facts };
        const detail = goldDetail(told, `My ${facts.who} ${facts.what}, so now ${result}.`);
        assertEquals(detail.carried, { who: 1, what: 1, result: 1, question: 0 }, `${result} | ${question}`);
        assertEquals(goldDetail(told, `${question}?`).carried.result, 0, `${result} | ${question}`);
      }
    }
  }
});

Deno.test("the rule cannot be gamed by copying, by lists of keywords, or by saying a good summary twice", () => {
  const list = posts(24, 500);
  const rng = random(2);
  const mean = (scores: number[]) => scores.reduce((sum, score) => sum + score, 0) / scores.length;
  const references = mean(list.map((post) => goldScore(post, post.summary)));
  const tricks = {
    copy: list.map((post) => goldScore(post, post.post)),
    keywords: list.map((post) => {
      const { who, what, result, question } = post.facts;
      return goldScore(post, `${who} ${what} ${result} ${question} ?`);
    }),
    twice: list.map((post) => {
      const full = fullSummary(post.facts, rng);
      return goldScore(post, `${full} ${full}`);
    }),
    elsewhere: list.map((post, at) => goldScore(post, fullSummary(list[(at + 1) % 500].facts, rng))),
  };
  assert(references > 2 && references < 3, `references ${references}`);
  assert(mean(tricks.copy) < 0, `copy ${mean(tricks.copy)}`);
  assert(mean(tricks.keywords) < 4.2, `keywords ${mean(tricks.keywords)}`);
  assert(mean(tricks.twice) < 0, `twice ${mean(tricks.twice)}`);
  assert(mean(tricks.elsewhere) < -2, `elsewhere ${mean(tricks.elsewhere)}`);
});

Deno.test("junk of any kind has a finite score of at least −5", () => {
  for (
    const junk of [
      "\u{1F410}".repeat(50),
      "a b ".repeat(500),
      "\ud800 \udfff",
      "\u0000\u0000 x",
      "7 7 7 7 7 7 7",
    ]
  ) {
    const score = goldScore(record, junk);
    assert(Number.isFinite(score) && score >= -5 && score <= 0, `${score}`);
  }
});
