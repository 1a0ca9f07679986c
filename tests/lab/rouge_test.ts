import { assertAlmostEquals, assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { meanRouge, rouge, rougeWords } from "../../lab/rouge.ts";
import { sharedText } from "./qwen.ts";

const perl = await sharedText("rouge/rouge155_tldr100.json");

Deno.test({
  name: "a hundred real pairs score as perl ROUGE-1.5.5 scores them",
  ignore: perl === null,
  fn() {
    const cases = JSON.parse(perl!).cases;
    assertEquals(cases.length, 100);
    for (const { target, prediction, rouge155: { nostem } } of cases) {
      const ours = rouge(prediction, target);
      for (
        const [name, kind] of [["ROUGE-1", "rouge1"], ["ROUGE-2", "rouge2"], ["ROUGE-L", "rougeL"]] as const
      ) {
        for (const part of ["recall", "precision", "fmeasure"] as const) {
          assertAlmostEquals(ours[kind][part], nostem[name][part], 1e-5, `${name} ${part}: ${target}`);
        }
      }
    }
  },
});

Deno.test("words are runs of ASCII letters and digits in lower case", () => {
  assertEquals(rougeWords("Don't STOP-2nd, naïve \u212A9!"), ["don", "t", "stop", "2nd", "na", "ve", "9"]);
});

Deno.test("repeated words count as often as both texts have them; empty texts score 0", () => {
  const { rouge1, rouge2, rougeL } = rouge("the the the cat", "the cat the");
  assertEquals(rouge1, { recall: 1, precision: 0.75, fmeasure: 2 * 0.75 / 1.75 });
  assertEquals(rouge2, { recall: 1 / 2, precision: 1 / 3, fmeasure: 0.4 });
  assertEquals([rougeL.recall, rougeL.precision], [2 / 3, 1 / 2]);
  for (const pair of [["", "a"], ["a", ""], ["", ""], ["a", "a"]] as [string, string][]) {
    assertEquals(rouge(...pair).rouge2, { recall: 0, precision: 0, fmeasure: 0 });
  }
});

Deno.test("the corpus mean averages each number", () => {
  const mean = meanRouge([rouge("a b", "a b"), rouge("a", "b"), rouge("a", "a b")]);
  assertAlmostEquals(mean.rouge1.recall, (1 + 0 + 0.5) / 3, 1e-15);
  assertAlmostEquals(mean.rouge1.fmeasure, (1 + 0 + 2 / 3) / 3, 1e-15);
  assertThrows(() => meanRouge([]), RangeError, "no ROUGE scores");
});
