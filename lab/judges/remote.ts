/** The judge behind an endpoint: asks what has not been answered yet, several at a time, and counts requests, tokens and cost. */
import { digestOfJson } from "../bytes.ts";
import { fixed, groupThousands, percent, shortCount } from "../format.ts";
import type { Comparison, PanelJudge, Verdict } from "../judge.ts";
import type { JudgingFigures } from "../report/data.ts";
import type { KeptAnswers } from "./answers.ts";
import type { ChatAnswer, ChatClient, ChatRequest } from "./endpoint.ts";
import { judgePrompt, type Message, readAnswer } from "./prompt.ts";

export interface RemoteJudging {
  client: ChatClient;
  model: string;
  /** Tokens. */
  longestAnswer: number;
  /** Requests at the same time. */
  atOnce: number;
  /** Decides where an answer cannot be read. */
  seed: number;
  answers: KeptAnswers<ChatAnswer>;
  /** Of a million tokens; 0 where not known. */
  prices: { input: number; output: number };
  /** Takes what is to be printed before and after. */
  note: (text: string) => void;
  /** Called after each answer; may throw to stop. */
  onAnswer: (answered: number) => void;
}

/** Tokens of an answer as the prompt asks for it, about. */
export const usualAnswer = 60;

/** Tokens of a conversation, about: English has four characters in one. */
export function tokensAbout(messages: readonly Message[]): number {
  return messages.reduce((sum, { content }) => sum + content.length, 0) / 4;
}

/**
 * The judge and what it has cost so far. An answer without a verdict is decided by chance, as in the published evaluation; the draw hangs
 * on the seed and the question alone.
 */
export function remoteJudge(judging: RemoteJudging): { judge: PanelJudge; figures: JudgingFigures } {
  const { client, model, answers, prices, note } = judging;
  const figures: JudgingFigures = {
    judge: model,
    comparisons: 0,
    kept: 0,
    requests: 0,
    repeated: 0,
    promptTokens: 0,
    completionTokens: 0,
    unread: 0,
  };
  const costOf = (promptTokens: number, completionTokens: number) =>
    prices.input + prices.output > 0
      ? (promptTokens * prices.input + completionTokens * prices.output) / 1e6
      : undefined;

  const judgeAll = async (comparisons: readonly Comparison[]): Promise<Verdict[]> => {
    const questions: { key: string; request: ChatRequest }[] = [];
    for (const comparison of comparisons) {
      const request = { model, messages: judgePrompt(comparison), longestAnswer: judging.longestAnswer };
      questions.push({ key: await digestOfJson(request), request });
    }
    const open = questions.filter(({ key }) => answers.get(key) === undefined);
    figures.comparisons += comparisons.length;
    figures.kept += comparisons.length - open.length;
    const tokens = Math.round(open.reduce((sum, { request }) => sum + tokensAbout(request.messages), 0));
    const written = usualAnswer * open.length;
    note(
      `Judge ${model}: ${groupThousands(comparisons.length)} comparisons, ${
        groupThousands(comparisons.length - open.length)
      } of them answered before; about ${shortCount(tokens)} tokens to read and ${
        shortCount(written)
      } to write${costText(costOf(tokens, written), "about ")}.`,
    );
    judging.onAnswer(comparisons.length - open.length);
    await inParallel(open, judging.atOnce, async ({ key, request }) => {
      const answer = await client.ask(request);
      await answers.add(key, answer);
      figures.promptTokens += answer.promptTokens;
      figures.completionTokens += answer.completionTokens;
      judging.onAnswer(1);
    }).finally(() => {
      figures.requests = client.counts.sent;
      figures.repeated = client.counts.repeated;
      figures.cost = costOf(figures.promptTokens, figures.completionTokens);
      note(
        `Judge ${model}: ${groupThousands(figures.requests)} requests (${figures.repeated} repeated), ${
          shortCount(figures.promptTokens)
        } tokens read, ${shortCount(figures.completionTokens)} written${costText(figures.cost)}.`,
      );
    });
    const verdicts: Verdict[] = [];
    for (const { key } of questions) {
      const read = readAnswer(answers.get(key)!.text);
      if (!read) figures.unread++;
      verdicts.push(read ?? { preferred: await toss(judging.seed, key), unread: true });
    }
    if (figures.unread > 0) {
      note(
        `Judge ${model}: ${figures.unread} answers (${
          percent(figures.unread / figures.comparisons, 1)
        }) had no verdict; chance has decided.`,
      );
    }
    return verdicts;
  };
  return { judge: { name: model, compareAll: judgeAll }, figures };
}

function costText(cost: number | undefined, about = ""): string {
  return cost === undefined ? "" : `, ${about}${fixed(cost, cost < 1 ? 4 : 2)} in the unit of the prices`;
}

async function toss(seed: number, key: string): Promise<"A" | "B"> {
  return parseInt((await digestOfJson({ seed, key })).slice(0, 2), 16) % 2 === 0 ? "A" : "B";
}

/** Works on at most `width` items at a time. After an error no new one is begun, and it is thrown once all have ended. */
async function inParallel<T>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0, failed = false;
  const worker = async () => {
    while (next < items.length && !failed) {
      try {
        await work(items[next++]);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: Math.min(width, items.length) }, worker));
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}
