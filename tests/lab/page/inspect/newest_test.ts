import { assertEquals } from "deno-std/assert/mod.js";
import { newestOnly } from "../../../../lab/page/inspect/newest.ts";

Deno.test("while one question is worked on, of all others the last alone is kept", async () => {
  const waiting: ((answer: string) => void)[] = [], asked: number[] = [], told: string[] = [];
  const ask = newestOnly(
    (question: number) => {
      asked.push(question);
      return new Promise<string>((resolve) => waiting.push(resolve));
    },
    (answer, question) => told.push(`${question}: ${answer}`),
    () => {},
  );
  for (let question = 1; question <= 5; question++) ask(question);
  assertEquals(asked, [1]);
  waiting[0]("first");
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(asked, [1, 5]);
  waiting[1]("last");
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals([asked, told], [[1, 5], ["1: first", "5: last"]]);
});

Deno.test("a question that fails is told of, and the next is worked on", async () => {
  const told: string[] = [];
  const ask = newestOnly(
    (question: string) => question === "bad" ? Promise.reject(new Error("no")) : Promise.resolve("yes"),
    (answer) => told.push(answer),
    (error, question) => told.push(`${question}: ${error.message}`),
  );
  ask("bad");
  ask("good");
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(told, ["bad: no", "yes"]);
});
