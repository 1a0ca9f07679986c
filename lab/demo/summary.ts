/**
 * Summaries of demo posts, from careless to complete: the references that people supposedly wrote, the best that
 * can be said, and the variants between which preferences are stated.
 */
import { type Facts } from "./corpus.ts";
import { type Random } from "./random.ts";

/** What a summary chooses to say. An absent fact is left out; `who` may be the relation alone. */
export interface Said {
  who?: string;
  what?: string;
  result?: string;
  question?: string;
  /** Whole sentences of noise that slipped in. */
  noise?: string[];
}

/** Everything that counts and nothing else. */
export function everything({ who, what, result, question }: Facts): Said {
  return { who, what, result, question };
}

/** A complete summary of the facts, in one of the wordings people use; no leading space. */
export function fullSummary(facts: Facts, rng: Random): string {
  return word(everything(facts), rng);
}

/**
 * A reference as a person might write it: how much it carries depends on how careful its writer is, which varies
 * a lot; on average about two of four facts, and one in six lets a sentence of noise slip in.
 */
export function drawReference(facts: Facts, noise: readonly string[], rng: Random): string {
  return word(drawSaid(facts, noise, rng), rng);
}

/** What a reference writer of random care chooses to say. */
export function drawSaid(facts: Facts, noise: readonly string[], rng: Random): Said {
  const care = { careless: 0.25, average: 0.5, careful: 0.85 }[
    rng.weighted({ careless: 4, average: 4, careful: 2 })
  ];
  const said: Said = {};
  if (rng.chance(care)) said.who = facts.who;
  else if (rng.chance(0.6)) said.who = facts.who.split(" ")[0];
  if (rng.chance(care + 0.1)) said.what = facts.what;
  if (rng.chance(care)) said.result = facts.result;
  if (rng.chance(care)) said.question = facts.question;
  // Who says everything has no room left for noise.
  const room = !(said.what && said.result && said.question);
  if (rng.chance(0.3 * (1 - care) + 0.03) && room) said.noise = [rng.pick(noise)];
  return said;
}

/** Puts what is to be said into words: one or two sentences, with punctuation, without a leading space. */
export function word(said: Said, rng: Random): string {
  const sentences: string[] = [];
  const who = said.who ? `My ${said.who}` : "Someone";
  if (said.what) {
    const after = said.result ? `${rng.pick([", so now", " and now"])} ${said.result}` : "";
    sentences.push(`${who} ${said.what}${after}.`);
  } else if (said.who) {
    const after = said.result ? ` and now ${said.result}` : "";
    sentences.push(`${rng.pick(["Trouble with", "Problem with"])} my ${said.who}${after}.`);
  } else if (said.result) {
    sentences.push(`Now ${said.result}.`);
  }
  if (said.question) {
    const asked = `${said.question}?`;
    if (rng.chance(0.15)) sentences.unshift(asked);
    else sentences.push(asked);
  }
  if (sentences.length === 0) sentences.push("Need advice.");
  for (const sentence of said.noise ?? []) sentences.splice(rng.below(sentences.length + 1), 0, sentence);
  return sentences.join(" ");
}
