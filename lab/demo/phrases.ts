/** Where in a demo summary the gold rule found facts and faults: phrases for a report to mark. */
import { type DemoPost, factKinds } from "./corpus.ts";
import { goldDetail } from "./gold.ts";

/** Phrases of a summary, as they are spelt there. */
export interface MarkedPhrases {
  /** Carry a fact, in whole or in part. */
  facts: string[];
  /** Noise, inventions, repetitions, broken grammar. */
  faults: string[];
}

/** The phrases that the gold rule rewards and charges; each once. */
export function markedPhrases(
  post: Pick<DemoPost, "title" | "post" | "facts">,
  summary: string,
): MarkedPhrases {
  const detail = goldDetail(post, summary);
  const spans = wordsOf(summary);
  const facts = factKinds.filter((kind) => detail.carried[kind] > 0)
    .map((kind) => longestShared(summary, spans, wordsOf(post.facts[kind]).map(({ word }) => word)));
  const charged = new Set(
    [...detail.noise, ...detail.invented, ...detail.repeated].map((word) => word.toLowerCase()),
  );
  const words = spans.filter(({ word }) => charged.has(word)).map(({ from, to }) => summary.slice(from, to));
  const pairs = detail.unseenPairs.map((pair) => pairPattern(pair).exec(summary)?.[0].trim() ?? "");
  const once = (phrases: string[]) => [...new Set(phrases)].filter((phrase) => phrase !== "");
  return { facts: once(facts), faults: once([...words, ...pairs]) };
}

interface Span {
  /** In lower case. */
  word: string;
  from: number;
  to: number;
}

function wordsOf(text: string): Span[] {
  return Array.from(
    text.matchAll(/\p{L}+(?:'\p{L}+)*|\p{N}+/gu),
    ({ 0: word, index }) => ({ word: word.toLowerCase(), from: index, to: index + word.length }),
  );
}

/** The stretch of the summary that repeats the most words of a phrase in a row. */
function longestShared(summary: string, spans: readonly Span[], phrase: readonly string[]): string {
  let best = "", most = 0;
  for (let start = 0; start < phrase.length; start++) {
    for (let at = 0; at < spans.length; at++) {
      let run = 0;
      while (start + run < phrase.length && spans[at + run]?.word === phrase[start + run]) run++;
      if (run > most) {
        most = run;
        best = summary.slice(spans[at].from, spans[at + run - 1].to);
      }
    }
  }
  return best;
}

/** What finds a pair of neighbours that the gold rule names in lower case, names and numbers by their class. */
function pairPattern(pair: string): RegExp {
  const classes: Record<string, string> = {
    "<start>": "^",
    "<end>": "$",
    "<name>": "\\p{L}+",
    "<number>": "\\p{N}+",
  };
  const parts = pair.split(" ").map((token) =>
    classes[token] ?? token.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")
  );
  return new RegExp(parts.join("\\s*"), "iu");
}
