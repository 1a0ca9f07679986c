import { assert, assertAlmostEquals, assertEquals } from "deno-std/assert/mod.js";
import { memoryFiles } from "../../../lab/bytes.ts";
import { judgePairsTogether, type SummaryPair } from "../../../lab/judge.ts";
import { openAnswers } from "../../../lab/judges/answers.ts";
import { type ChatAnswer, chatClient } from "../../../lab/judges/endpoint.ts";
import { remoteJudge } from "../../../lab/judges/remote.ts";
import { lengthControlledWinRates, logLengthRatio, winRate } from "../../../lab/winrate.ts";
import { judgedPosts } from "../qwen.ts";
import { completion, shown, standIn } from "./stand_in.ts";

const rows = await judgedPosts();

Deno.test({
  name:
    "a thousand verdicts that GPT gave on real posts, played back, give the published win rate (shared/data)",
  ignore: rows === null,
  fn: async () => {
    const pairs = rows!.map(({ row, query, ppo_1b, reference }): SummaryPair => {
      const [, subreddit, title, post] = /^SUBREDDIT: r\/(.*?)\n\nTITLE: ([^]*?)\n\nPOST: ([^]*)\n\nTL;DR:$/
        .exec(query.trimEnd())!;
      return { post: { id: String(row), subreddit, title, post }, ours: ppo_1b, theirs: reference };
    });
    const recorded = new Map(
      rows!.map((row) => [JSON.stringify([row.ppo_1b.trim(), row.reference.trim()]), row]),
    );
    await using server = standIn((request) => {
      const [a, b] = shown(request.text);
      const oursFirst = recorded.get(JSON.stringify([a, b]));
      const { preferred } = oursFirst ?? recorded.get(JSON.stringify([b, a]))!;
      const letter = (preferred !== "reference") === (oursFirst !== undefined) ? "A" : "B";
      return completion(`Comparison: as recorded.\nPreferred: ${letter}`);
    });
    const { judge, figures } = remoteJudge({
      client: chatClient(server.endpoint, { perMinute: 0, retries: 0, timeout: 10 }),
      model: "gpt",
      longestAnswer: 256,
      atOnce: 16,
      seed: 1,
      answers: await openAnswers<ChatAnswer>(memoryFiles(), "run", "openai"),
      prices: { input: 0, output: 0 },
      note: () => {},
      onAnswer: () => {},
    });
    const judgements = await judgePairsTogether(judge, pairs, { orders: "random", seed: 3 });
    const outcomes = judgements.map(({ outcome }) => outcome);
    assertEquals([winRate(outcomes).wins, figures.unread], [640, 0]);
    // Chance puts ours first about as often as second.
    const first = judgements.filter(({ verdicts: [{ oursFirst }] }) => oursFirst).length;
    assert(first > 440 && first < 560, String(first));
    const logLengthRatios = pairs.map(({ ours, theirs }) => logLengthRatio(ours.length, theirs.length));
    const controlled = lengthControlledWinRates([{ name: "ppo", outcomes, logLengthRatios }]);
    // By a two-parameter Newton iteration in Python, without a ridge: at equal length little is left of 64 %.
    const [{ raw, rate, lower, upper }] = controlled.policies;
    assertAlmostEquals(raw, 0.64);
    assertAlmostEquals(controlled.slope, 2.60484, 1e-3);
    assertAlmostEquals(rate, 0.507054, 1e-4);
    assertAlmostEquals(lower, 0.463141, 1e-4);
    assertAlmostEquals(upper, 0.550857, 1e-4);
  },
});
