import { assert, assertEquals } from "deno-std/assert/mod.js";
import { judgePrompt, readAnswer } from "../../../lab/judges/prompt.ts";

const post = { subreddit: "pets", title: "Goat", post: "The goat ate my hat." };

Deno.test("the prompt has the post and the two summaries in their places, and no name of a policy", () => {
  const [system, user] = judgePrompt({ post, a: " Goat ate hat.", b: "" });
  assertEquals([system.role, user.role], ["system", "user"]);
  for (const part of ["r/pets", "Goat", post.post, "Summary A\nGoat ate hat.", "Summary B\n(empty)"]) {
    assert(user.content.includes(part), part);
  }
  assert(/Comparison: .*\nPreferred: /.test(user.content));
  assert(!/sft|ppo|reference|human/i.test(user.content));
  assert(user.content.indexOf("Summary A") < user.content.indexOf("Summary B"));
});

Deno.test("verdicts are read in the forms that models give them", () => {
  for (
    const [answer, preferred] of [
      ["Comparison: A is longer.\nPreferred: B", "B"],
      ["**Comparison:** B leaves out the hat.\n**Preferred:** A", "A"],
      ["comparison: x\npreferred: a.", "A"],
      ["Preferred: Summary B", "B"],
      ['Preferred: "A"', "A"],
      ["> Preferred: (B)\n", "B"],
      ["Preferred: B — it is complete", "B"],
      ["Preferred: A\n\nPreferred: A", "A"],
      ["Comparison: good\r\nPreferred: B\r\n", "B"],
      ["<think>First I thought\nPreferred: A\nbut no.</think>\nPreferred: B", "B"],
    ] as const
  ) assertEquals(readAnswer(answer)?.preferred, preferred, answer);
  assertEquals(readAnswer("**Comparison:** A says more.\nPreferred: A")?.reason, "A says more.");
});

Deno.test("what is no verdict is none", () => {
  for (
    const answer of [
      "",
      "A",
      "I like both.",
      "Preferred: A or B",
      "Preferred: A/B",
      "Preferred: A, B",
      "Preferred: Both",
      "Preferred: A good summary would say more",
      "Preferred: C",
      "Preferred:",
      "Preferred: A\nPreferred: B",
      "Comparison: summary A is preferred: it is shorter",
      "It is preferred: A",
      "<think>\nPreferred: A</think>",
    ]
  ) assertEquals(readAnswer(answer), undefined, answer);
});
