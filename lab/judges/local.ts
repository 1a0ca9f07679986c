/**
 * A language model on our own device as the judge: it is asked what the remote one is asked, its answer is begun for it with "Preferred:",
 * and the letter that it finds likelier next counts. By how much, in nats, is the margin: over both orders the liking for a position cancels.
 */
import type { Gpu } from "../../kernels/gpu.ts";
import { DamagedFileError, digestOfJson, type Files } from "../bytes.ts";
import type { Comparison, PanelJudge, Verdict } from "../judge.ts";
import { loadQwen2, readQwen2Config } from "../qwen2.ts";
import type { Qwen2Config } from "../qwen2_config.ts";
import { nextLogprobs } from "../scoring.ts";
import { endOfText, loadTokenizer, type Tokenizer } from "../tokenizer.ts";
import type { KeptAnswers } from "./answers.ts";
import { judgePrompt, type Message } from "./prompt.ts";

/** What is kept of a comparison: log p of the two letters, nats. */
export interface LetterLogprobs {
  a: number;
  b: number;
}

export interface LocalJudging {
  gpu: Gpu;
  files: Files;
  folder: string;
  /** For reports. */
  name: string;
  /** SHA-256 of the folder's files: answers of other weights are not taken. */
  digest: string;
  microTokens: number;
  answers: KeptAnswers<LetterLogprobs>;
  /** Called after each run of comparisons; may throw to stop. */
  onAnswer: (answered: number) => void;
  /** Called between micro-batches; may throw to stop. */
  heed?: () => void;
}

/** Comparisons between two looks at the progress. */
export const comparisonsAtOnce = 32;

/** The judge. The model is on the device only while it is asked. */
export function localJudge(judging: LocalJudging): PanelJudge {
  const { gpu, files, folder, name, digest, answers } = judging;
  const compareAll = async (comparisons: readonly Comparison[]): Promise<Verdict[]> => {
    const { shape, tokenizer, chat } = await readLocalJudge(files, folder);
    const questions: { key: string; question: Question }[] = [];
    for (const comparison of comparisons) {
      const question = letterQuestion(tokenizer, promptText(judgePrompt(comparison), chat));
      if (question.context.length > shape.maxPositions) {
        throw new RangeError(
          `A comparison has ${question.context.length} tokens and ${folder} takes ${shape.maxPositions}; ` +
            `choose another --evaluate.judgeModel, or a lower --preprocess.queryTokens.`,
        );
      }
      questions.push({ key: await digestOfJson({ digest, ...question }), question });
    }
    const open = questions.filter(({ key }) => answers.get(key) === undefined);
    judging.onAnswer(questions.length - open.length);
    if (open.length > 0) {
      // Like lengths go together, the longest first: what these needed is enough for all others.
      open.sort((one, other) => other.question.context.length - one.question.context.length);
      const model = await loadQwen2(gpu, files, folder, "judge");
      try {
        // The prompt's end is the same everywhere, and so are the letters' ids.
        const { letters } = open[0].question;
        for (let i = 0; i < open.length; i += comparisonsAtOnce) {
          const some = open.slice(i, i + comparisonsAtOnce);
          const contexts = some.map(({ question }) => question.context);
          const found = await nextLogprobs(gpu, model, contexts, letters, {
            vocabulary: tokenizer.padId,
            microTokens: judging.microTokens,
            heed: judging.heed,
          });
          for (const [n, { key }] of some.entries()) {
            const [a, b] = found[n];
            if (!Number.isFinite(a) || !Number.isFinite(b)) {
              throw new RangeError(`${folder} gives the letters logprobs ${a} and ${b}; check its weights.`);
            }
            await answers.add(key, { a, b });
          }
          judging.onAnswer(some.length);
        }
      } finally {
        model.parameters.drop();
        gpu.trim();
      }
    }
    return questions.map(({ key }) => verdictOf(answers.get(key)!));
  };
  return { name, compareAll };
}

/**
 * What a judge's folder says of it: its shape, its tokenizer, and whether it is to be spoken to in turns.
 * @throws DamagedFileError where it is a reward model
 */
export async function readLocalJudge(
  files: Files,
  folder: string,
): Promise<{ shape: Qwen2Config; tokenizer: Tokenizer; chat: boolean }> {
  const shape = await readQwen2Config(files, folder);
  if (shape.head === "score") {
    throw new DamagedFileError(
      `${folder} is a reward model: it scores summaries; set evaluate.judge second for it.`,
    );
  }
  const tokenizer = await loadTokenizer((path) => files.read(path), folder, shape.vocabulary);
  // Instruct models end their turns with a token of their own; base models, in the same files otherwise, with the text.
  const chat = tokenizer.decode([shape.eosTokenId ?? tokenizer.eosId], { skipSpecial: false }) === turnEnd;
  return { shape, tokenizer, chat };
}

function verdictOf({ a, b }: LetterLogprobs): Verdict {
  return { preferred: a > b ? "A" : a < b ? "B" : "tie", margin: a - b };
}

const turnStart = "<|im_start|>", turnEnd = "<|im_end|>";

/** The conversation as the model reads it, up to where the letter comes: in ChatML, or as plain text for a base model. */
export function promptText(messages: readonly Message[], chat: boolean): string {
  // Tokens that end a turn or a text must not come from a post.
  const plain = (text: string) =>
    [turnStart, turnEnd, endOfText].reduce(
      (kept, token) => kept.replaceAll(token, token.replace("|", " |")),
      text,
    );
  const turns = messages.map(({ role, content }) => ({ role, content: plain(content) }));
  return chat
    ? turns.map(({ role, content }) => `${turnStart}${role}\n${content}${turnEnd}\n`).join("") +
      `${turnStart}assistant\nPreferred:`
    : turns.map(({ content }) => content).join("\n\n") + "\n\nPreferred:";
}

interface Question {
  /** Ids up to the letter. */
  context: number[];
  letters: [a: number, b: number];
}

/**
 * The ids of `prompt` and, behind them, the two letters. Qwen's tokenizers have " A" and " B" as one token each, and so have the texts that
 * the model has learned; where one of them is none, the letters stand alone behind the space.
 * @throws RangeError where a letter is no token either
 */
export function letterQuestion(tokenizer: Tokenizer, prompt: string): Question {
  const context = tokenizer.encode(prompt);
  const [a, b] = [tokenizer.encode(`${prompt} A`), tokenizer.encode(`${prompt} B`)];
  const single = (tokens: number[]) =>
    tokens.length === context.length + 1 && context.every((id, i) => id === tokens[i]);
  if (single(a) && single(b)) return { context, letters: [a.at(-1)!, b.at(-1)!] };
  const letters = ["A", "B"].map((letter) => tokenizer.encode(letter));
  if (letters.some((tokens) => tokens.length !== 1)) {
    throw new RangeError(
      "The judge's tokenizer has no tokens for the letters A and B; choose another model.",
    );
  }
  return { context: tokenizer.encode(`${prompt} `), letters: [letters[0][0], letters[1][0]] };
}
