/**
 * The gold rule: how good a summary of a demo post really is. It stands in for the labellers: preferences are
 * drawn from it with noise, and PPO is judged by it, but no model ever sees it.
 *
 *     score = who 1 + what 1.5 + result 1 + question 1.5      for each fact carried, half of it if half carried
 *           − 1    for each sentence of noise carried (its give-away word appears)
 *           − 1    for each made-up word (one that neither the post nor plain summary language contains)
 *           − 0.75 for each content word used more often than the facts use it
 *           − 0.25 for each word beyond 20
 *           − 0.4  for each word pair that well-formed summaries never contain (broken grammar, no final stop)
 *
 * held within −5 … 5; a text of fewer than two words scores −2. A fact is carried if it stands in the summary word for word,
 * and half carried if at least half of its content words stand there side by side; a question counts in full only
 * if a question mark closes it. Case does not matter.
 */
import { type DemoPost, type FactKind, factKinds, posts } from "./corpus.ts";
import { names, noiseSentences, noiseWords, voices } from "./lexicon.ts";
import { random } from "./random.ts";
import { everything, type Said, word } from "./summary.ts";

/** The weights of the rule, in points. */
export const gold = {
  facts: { who: 1, what: 1.5, result: 1, question: 1.5 } as Record<FactKind, number>,
  noise: 1,
  invented: 1,
  repeated: 0.75,
  wordLimit: 20,
  overLimit: 0.25,
  unseenPair: 0.4,
  empty: -2,
  floor: -5,
} as const;

/** The score of a summary taken apart, for display; `score` is what the rule says. */
export interface GoldDetail {
  score: number;
  /** Share of each fact that the summary carries: 0, 0.5 or 1. */
  carried: Record<FactKind, number>;
  /** Give-away words of noise, invented words, words repeated too often, unseen word pairs. */
  noise: string[];
  invented: string[];
  repeated: string[];
  unseenPairs: string[];
  /** Number of words, punctuation not counted. */
  words: number;
}

/** The best score that the rule gives: all four facts and no fault. */
export const bestScore = factKinds.reduce((sum, kind) => sum + gold.facts[kind], 0);

/**
 * The gold score of a summary of a post, between −5 and 5.
 *
 * @param record the post with its facts
 * @param summary the generated text, with or without the leading space, without `<|endoftext|>`
 */
export function goldScore(record: Pick<DemoPost, "title" | "post" | "facts">, summary: string): number {
  return goldDetail(record, summary).score;
}

/** The gold score with its reasons; see {@link goldScore}. */
export function goldDetail(
  record: Pick<DemoPost, "title" | "post" | "facts">,
  summary: string,
): GoldDetail {
  const tokens = split(summary);
  const words = tokens.filter(isWord);
  const detail: GoldDetail = {
    score: gold.empty,
    carried: { who: 0, what: 0, result: 0, question: 0 },
    noise: [],
    invented: [],
    repeated: [],
    unseenPairs: [],
    words: words.length,
  };
  if (words.length < 2) return detail;

  for (const kind of factKinds) detail.carried[kind] = share(kind, record.facts[kind], tokens);
  detail.noise = record.facts.noise.filter((give) => words.includes(give.toLowerCase()));
  const told = new Set(split(`${record.title} ${record.post}`));
  detail.invented = [...new Set(words)].filter((one) => !told.has(one) && !plain.has(one));
  const allowed = counts(factKinds.flatMap((kind) => split(record.facts[kind])));
  for (const [one, count] of counts(words.filter((one) => !plain.has(one)))) {
    for (let over = count - Math.max(1, allowed.get(one) ?? 0); over > 0; over--) detail.repeated.push(one);
  }
  const known = seenPairs();
  detail.unseenPairs = pairs(tokens).filter((pair) => !known.has(pair));

  const earned = factKinds.reduce((sum, kind) => sum + gold.facts[kind] * detail.carried[kind], 0);
  const lost = gold.noise * detail.noise.length + gold.invented * detail.invented.length +
    gold.repeated * detail.repeated.length + gold.unseenPair * detail.unseenPairs.length +
    gold.overLimit * Math.max(0, words.length - gold.wordLimit);
  detail.score = Math.max(gold.floor, earned - lost);
  return detail;
}

/** 1 if the fact stands in the summary word for word, 0.5 if half of its content words stand side by side. */
function share(kind: FactKind, fact: string, tokens: string[]): number {
  const phrase = split(fact);
  const exact = kind === "question" ? [...phrase, "?"] : phrase;
  if (longestRun(exact, tokens) === exact.length) return 1;
  const content = phrase.filter((one) => !plain.has(one));
  if (content.length === 0) return longestRun(phrase, tokens) === phrase.length ? 0.5 : 0;
  const said = tokens.filter((one) => !plain.has(one));
  return longestRun(content, said) * 2 >= content.length ? 0.5 : 0;
}

/** Length of the longest run of `phrase` that stands side by side in `tokens`. */
function longestRun(phrase: string[], tokens: string[]): number {
  let best = 0;
  for (let start = 0; start < phrase.length; start++) {
    for (let at = 0; at < tokens.length; at++) {
      let run = 0;
      while (start + run < phrase.length && phrase[start + run] === tokens[at + run]) run++;
      best = Math.max(best, run);
    }
  }
  return best;
}

/** Lower-case words, numbers and punctuation marks of a text; anything else becomes a mark of its own. */
function split(text: string): string[] {
  return text.toLowerCase().match(/\p{L}+(?:'\p{L}+)*|\p{N}+|[^\s\p{L}\p{N}]/gu) ?? [];
}

function isWord(token: string): boolean {
  return /^[\p{L}\p{N}]/u.test(token);
}

function counts(items: string[]): Map<string, number> {
  const found = new Map<string, number>();
  for (const item of items) found.set(item, (found.get(item) ?? 0) + 1);
  return found;
}

/** Words that carry no fact: summary language, and what any sentence is made of. */
const plain: ReadonlySet<string> = new Set(
  ("my our i a an the of on in at is am are was were we us me you this that it so now and then because " +
    "someone trouble problem with need advice about should can do does how who what would has have to be")
    .split(" "),
);

const nameSet: ReadonlySet<string> = new Set(names.map((name) => name.toLowerCase()));
/** Neighbouring tokens of a text, its two ends included, with names and numbers put into classes. */
function pairs(tokens: string[]): string[] {
  const classes = tokens.map((token) =>
    nameSet.has(token) ? "<name>" : /^\p{N}+$/u.test(token) ? "<number>" : token
  );
  return ["<start>", ...classes].map((token, at) => `${token} ${classes[at] ?? "<end>"}`);
}

let seen: Set<string> | undefined;
/** The word pairs of well-formed summaries, worked out once: every verb with every subject, object and result. */
function seenPairs(): Set<string> {
  if (seen) return seen;
  seen = new Set();
  const rng = random(2009_01325);
  const add = (said: Said) => {
    for (const pair of pairs(split(word(said, rng)))) seen!.add(pair);
  };
  const noise = noiseSentences.flatMap((pattern) => {
    const slot = pattern.slice(pattern.indexOf("{") + 1, pattern.indexOf("}"));
    return noiseWords[slot].map((filled) => pattern.replace(`{${slot}}`, filled));
  });
  for (const { relations, verbs, things, results, questions } of voices) {
    const deeds = verbs.flatMap((verb) => things.map((thing) => `${verb} ${thing.replace("#", "100")}`));
    // Six wordings each: with two connectives drawn at random, none of them is missed.
    for (let wording = 0; wording < 6; wording++) {
      for (const what of deeds) {
        for (const relation of [...relations, undefined]) add({ who: relation, what });
        for (const result of results) add({ who: `${relations[0]} Dana`, what, result });
      }
      for (const question of questions) {
        for (const relation of relations) add({ who: relation, result: rng.pick(results), question });
        for (const sentence of noise) add({ what: rng.pick(deeds), question, noise: [sentence] });
      }
    }
  }
  for (const { facts, summary } of posts(2009_01325, 3000)) {
    for (const pair of pairs(split(summary))) seen.add(pair);
    add(everything(facts));
  }
  return seen;
}
