/** Samples, word differences, blind choices and configurations side by side. */
import { assert, assertEquals } from "deno-std/assert/mod.js";
import { presetConfig } from "../../../lab/config.ts";
import { random } from "../../../lab/demo/random.ts";
import { type BlindChoice, choicesJsonl, tally, trialsOf, verdictOf } from "../../../lab/runs/blind.ts";
import { fieldRows } from "../../../lab/runs/config_diff.ts";
import { sampleBook } from "../../../lab/runs/samples.ts";
import { likeness, wordDiff } from "../../../lab/runs/words.ts";

Deno.test("a word difference gives back both texts", () => {
  const [before, after] = ["My cousin Carl lost 60 dollars.", "My cousin lost 50 dollars, again."];
  const stretches = wordDiff(before, after);
  const without = (change: string) =>
    stretches.filter((one) => one.change !== change).map(({ text }) => text).join("");
  assertEquals([without("new"), without("gone")], [before, after]);
  assert(stretches.some(({ text, change }) => change === "gone" && text.includes("60")));
  assertEquals(likeness(before, before), 1);
  assertEquals(likeness("", ""), 1);
  assertEquals(likeness("a b c", "d e"), 0);
  assert(likeness(before, after) > 0.4 && likeness(before, after) < 0.9);
});

Deno.test("samples become posts over updates", () => {
  const book = sampleBook();
  const sample = {
    stage: "ppo",
    update: 8,
    id: "a",
    title: "t",
    reference: "r",
    summary: "s",
    length: 1,
    reward: 1,
  };
  book.add([sample, { ...sample, update: 0, reward: -2 }, { ...sample, id: "b", reward: 3 }, {
    ...sample,
    summary: "later",
  }]);
  book.add([null, { ...sample, reward: "1" }, { stage: "sft" }]);
  assertEquals(book.updates, [0, 8]);
  assertEquals(book.posts.map(({ id, summaries }) => [id, [...summaries.keys()]]), [["a", [8, 0]], ["b", [
    8,
  ]]]);
  assertEquals(book.posts[0].summaries.get(8)!.summary, "later");
  assertEquals(book.rewards, [-2, 3]);
  book.clear();
  assertEquals([book.posts, book.updates, book.rewards], [[], [], undefined]);
});

Deno.test("blind trials hide sides evenly, and choices find their way back", () => {
  const pairs = Array.from(
    { length: 400 },
    (_, i) => ({ id: `${i}`, title: "t", texts: [`a${i}`, `b${i}`] as const }),
  );
  const trials = trialsOf(
    [...pairs, { id: "x", title: "same", texts: ["same", "same "] }],
    random(4).uniform,
  );
  assertEquals(trials.map(({ id }) => Number(id)).sort((a, b) => a - b), pairs.map((_, i) => i));
  assert(trials.some(({ id }, i) => Number(id) !== i), "the order is drawn");
  const left = trials.filter((trial) => trial.left === "first").length;
  assert(left > 160 && left < 240, `${left} of 400 on the left`);
  assertEquals(verdictOf({ left: "first" }, "left"), "first");
  assertEquals(verdictOf({ left: "second" }, "left"), "second");
  assertEquals(verdictOf({ left: "second" }, "right"), "first");
  assertEquals(verdictOf({ left: "second" }, "tie"), "tie");
  const choice = (verdict: BlindChoice["verdict"], left: BlindChoice["left"]): BlindChoice => ({
    id: "p",
    title: "t",
    contenders: ["SFT", "PPO"],
    texts: ["one", "two"],
    verdict,
    left,
    decidedAt: "2026-01-01T00:00:00Z",
  });
  const choices = [
    choice("second", "first"),
    choice("second", "second"),
    choice("tie", "first"),
    choice("first", "first"),
  ];
  assertEquals(tally(choices), { first: 1, second: 2, tie: 1, left: 2 });
  const lines = choicesJsonl(choices).trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals([lines[0].chosen, lines[0].rejected], [{ by: "PPO", text: "two" }, {
    by: "SFT",
    text: "one",
  }]);
  assertEquals([lines[2].tie.length, lines[2].chosen], [2, undefined]);
});

Deno.test("configurations differ where they do, whatever version wrote them", () => {
  const one = presetConfig("demo"), two = { ...one, seed: 2, ppo: { ...one.ppo, klCoef: 0.1 } };
  const rows = fieldRows([one, two, { seed: 44413, former: 1, ppo: { gone: [1, 2] } }]);
  const row = (path: string) => rows.find((one) => one.path === path)!;
  assertEquals(row("ppo.klCoef").values, [String(one.ppo.klCoef), "0.1", undefined]);
  assertEquals([row("ppo.klCoef").published, row("ppo.klCoef").differs], ["0.05", true]);
  assert(row("ppo.klCoef").doc!.length > 5);
  assertEquals(row("seed").values, ["44413", "2", "44413"]);
  assertEquals([row("former").values, row("former").published], [[undefined, undefined, "1"], undefined]);
  assertEquals(row("ppo.gone").values[2], "1,2");
  const same = fieldRows([one, one]);
  assertEquals(same.filter(({ differs }) => differs), []);
  assertEquals(fieldRows(["nothing"]).every(({ values }) => values[0] === undefined), true);
});
