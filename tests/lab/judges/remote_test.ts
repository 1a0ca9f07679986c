import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { type Files, memoryFiles } from "../../../lab/bytes.ts";
import { judgePairsTogether, orderBias, type SummaryPair } from "../../../lab/judge.ts";
import { openAnswers } from "../../../lab/judges/answers.ts";
import { type ChatAnswer, chatClient } from "../../../lab/judges/endpoint.ts";
import { remoteJudge } from "../../../lab/judges/remote.ts";
import { completion, shown, type StandIn, standIn } from "./stand_in.ts";

const pairs: SummaryPair[] = Array.from({ length: 20 }, (_, i) => ({
  post: { id: `p${i}`, subreddit: "s", title: "t", post: `post ${i}` },
  ours: "x".repeat(2 + i % 5),
  theirs: "y".repeat(1 + i % 3),
}));
/** 1 where ours is the longer. */
const expected = pairs.map(({ ours, theirs }) => 0.5 + 0.5 * Math.sign(ours.length - theirs.length));

async function judgeOver(
  server: StandIn,
  files: Files,
  { seed = 1, prices = { input: 0, output: 0 }, onAnswer = (_: number): void => {} } = {},
) {
  const notes: string[] = [];
  const { judge, figures } = remoteJudge({
    client: chatClient(server.endpoint, { perMinute: 0, retries: 2, timeout: 5 }, () => {}, () => 0.5),
    model: "m",
    longestAnswer: 64,
    atOnce: 4,
    seed,
    answers: await openAnswers<ChatAnswer>(files, "run", "openai"),
    prices,
    note: (text) => notes.push(text),
    onAnswer,
  });
  return { judge, figures, notes };
}

const longer = ({ text }: { text: string }) => {
  const [a, b] = shown(text);
  const letter = a.length === b.length ? "neither" : a.length > b.length ? "A" : "B";
  return completion(`Comparison: by length.\nPreferred: ${letter}`);
};

Deno.test("a judge that is right gives the outcomes, side by side, whatever the order of answers", async () => {
  await using server = standIn(async (request) => {
    await new Promise((resolve) => setTimeout(resolve, request.text.length % 7));
    return longer(request);
  });
  const { judge, figures, notes } = await judgeOver(server, memoryFiles(), {
    prices: { input: 0.5, output: 1.5 },
  });
  const judgements = await judgePairsTogether(judge, pairs);
  judgements.forEach(({ outcome, verdicts }, i) => {
    if (expected[i] !== 0.5) assertEquals(outcome, expected[i]);
    assertEquals(verdicts.map(({ oursFirst }) => oursFirst), [true, false]);
  });
  assertEquals([figures.comparisons, figures.requests, figures.kept], [40, 40, 0]);
  assertEquals([figures.promptTokens, figures.completionTokens], [4000, 800]);
  assertEquals(figures.cost, (4000 * 0.5 + 800 * 1.5) / 1e6);
  const equal = expected.filter((outcome) => outcome === 0.5).length;
  assertEquals(figures.unread, 2 * equal);
  assert(server.most() > 1 && server.most() <= 4, String(server.most()));
  assert(/40 comparisons, 0 of them answered before; about .* tokens to read/.test(notes[0]), notes[0]);
  assert(/40 requests \(0 repeated\), 4k tokens read, 800 written, 0.0032/.test(notes[1]), notes[1]);
});

Deno.test("nothing is asked twice: a second evaluation takes the answers of the first, also of one that was stopped", async () => {
  await using server = standIn(longer);
  const files = memoryFiles();
  let left = 13;
  const stopping = await judgeOver(server, files, {
    onAnswer: (count) => {
      if ((left -= count) <= 0) throw new Error("stopped");
    },
  });
  await assertRejects(() => judgePairsTogether(stopping.judge, pairs), Error, "stopped");
  const before = server.requests.length;
  assert(before >= 13 && before < 13 + 4, String(before));
  assert(stopping.notes.length === 2, "the cost is told after a stop too");

  const { judge, figures } = await judgeOver(server, files);
  const judgements = await judgePairsTogether(judge, pairs);
  assertEquals([server.requests.length, figures.kept], [40, before]);
  const asked = server.requests.map(({ text }) => text);
  assertEquals(new Set(asked).size, 40);
  const again = await judgeOver(server, files);
  assertEquals(await judgePairsTogether(again.judge, pairs), judgements);
  assertEquals([server.requests.length, again.figures.requests, again.figures.kept], [40, 0, 40]);
  // Half a line, as a kill leaves it, costs that answer alone.
  const path = "run/judge/openai.jsonl";
  await files.truncate(path, await files.size(path) - 3);
  await judgePairsTogether((await judgeOver(server, files)).judge, pairs);
  assertEquals(server.requests.length, 41);
});

Deno.test("garbage and empty answers are decided by the seed, counted, and told", async () => {
  await using server = standIn((_, n) => completion(n % 2 === 0 ? "" : "Both have their merits."));
  const runs = [];
  for (const seed of [1, 1, 2]) {
    const { judge, figures, notes } = await judgeOver(server, memoryFiles(), { seed });
    const judgements = await judgePairsTogether(judge, pairs, { orders: "random", seed: 5 });
    assertEquals([figures.unread, figures.comparisons], [20, 20]);
    assert(judgements.every(({ verdicts: [{ unread }] }) => unread));
    assert(/20 answers \(100.0 %\) had no verdict; chance has decided/.test(notes.at(-1)!), notes.at(-1));
    runs.push(judgements.map(({ outcome }) => outcome));
  }
  assertEquals(runs[0], runs[1]);
  assert(runs[0].join() !== runs[2].join(), "another seed draws otherwise");
  assert(runs[0].includes(0) && runs[0].includes(1));
});

Deno.test("a judge that likes the first place is exposed by the two orders and decides nothing", async () => {
  await using server = standIn(() => completion("Comparison: hm.\nPreferred: A"));
  const { judge } = await judgeOver(server, memoryFiles());
  const judgements = await judgePairsTogether(judge, pairs);
  assert(judgements.every(({ outcome }) => outcome === 0.5));
  assertEquals(orderBias(judgements), { verdicts: 40, firstPreferred: 1, pairs: 20, consistent: 0 });
});

Deno.test("equal texts are not asked about, and one question in two matches is asked once", async () => {
  await using server = standIn(longer);
  const { judge } = await judgeOver(server, memoryFiles());
  const [one] = pairs;
  const judgements = await judgePairsTogether(judge, [one, { ...one, ours: "same", theirs: " same" }, one]);
  assertEquals(server.requests.length, 2);
  assertEquals(judgements[1].outcome, 0.5);
  assertEquals(judgements[0], judgements[2]);
});

Deno.test("the key is in no file, note or answer", async () => {
  await using server = standIn(longer);
  const files = memoryFiles();
  const { judge, notes } = await judgeOver(server, files);
  await judgePairsTogether(judge, pairs.slice(0, 2));
  const kept = new TextDecoder().decode(await files.read("run/judge/openai.jsonl"));
  assertEquals(kept.trim().split("\n").length, 4);
  assert(!kept.includes("secret") && !notes.join().includes("secret"));
});
