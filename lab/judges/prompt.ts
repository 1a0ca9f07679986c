/**
 * What a language model is asked about two summaries, and how its answer is read. The idea is that of the published evaluation
 * (eval/oai.py of vwxyzjn/summarize_from_feedback_details): the post, two summaries called A and B, one sentence that compares, then a
 * letter. The words are ours.
 */
import type { Comparison } from "../judge.ts";

/** One turn of a conversation, as chat interfaces have it. */
export interface Message {
  role: "system" | "user" | "assistant";
  content: string;
}

const system = "You compare summaries with care and answer in exactly the form that you are asked for.";

/** The conversation that asks for a verdict. */
export function judgePrompt({ post: { subreddit, title, post }, a, b }: Comparison): Message[] {
  const user =
    `Below are a forum post and two summaries of it, A and B. Decide which of them tells a reader who has not seen the post more of ` +
    `what matters in it, and less of what does not. Look at accuracy: is everything said in the post? At coverage: are its main ` +
    `points there? At coherence: can it be understood on its own?\n\n` +
    `### Post in r/${subreddit}\n${title.trim()}\n\n${post.trim()}\n\n` +
    `### Summary A\n${a.trim() || "(empty)"}\n\n### Summary B\n${b.trim() || "(empty)"}\n\n` +
    `Write two lines and nothing else:\n` +
    `Comparison: <one sentence that sets A against B and says why one is better>\n` +
    `Preferred: <A or B>`;
  return [{ role: "system", content: system }, { role: "user", content: user }];
}

/**
 * The letter of a line such as "Preferred: B" or "**Preferred:** Summary A.". What follows it may be an explanation behind a dash or a
 * bracket, but not more of the same sentence: "Preferred: A or B" and "Preferred: A good one" say nothing.
 */
const preferredLine =
  /^[\s>*_#`"'-]*preferred[\s*_`"']*:[\s*_`"'([]*(?:summary\s+)?([AB])[\s*_`"')\]]*(?=$|[.;:(–—-])/gimu;

/**
 * The verdict in an answer, with its comparing sentence; undefined where there is none, or there are two that differ. What a reasoning
 * model has thought aloud before is passed over.
 */
export function readAnswer(text: string): { preferred: "A" | "B"; reason?: string } | undefined {
  const answer = text.replace(/<think>[^]*?<\/think>/gi, "");
  const letters = new Set(Array.from(answer.matchAll(preferredLine), ([, letter]) => letter.toUpperCase()));
  if (letters.size !== 1) return undefined;
  const reason = /^[\s>*_#`"'-]*comparison[\s*_`"']*:[\s*_]*(.+)$/imu.exec(answer)?.[1].trim();
  return { preferred: [...letters][0] as "A" | "B", ...(reason && { reason }) };
}
