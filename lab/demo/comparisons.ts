/**
 * Preference pairs over demo posts in the schema of the published comparisons: two summaries, and which of them a
 * noisy labeller preferred. Candidates are summaries as a fine-tuned model would write them, with its mistakes.
 */
import { type DemoPost, drawFacts, factKinds, type Facts, voiceOf } from "./corpus.ts";
import { goldScore } from "./gold.ts";
import { type Random, random } from "./random.ts";
import { drawSaid, everything, fullSummary, type Said, word } from "./summary.ts";

/** One row of OpenAI's comparison data, with the fields that the demo fills. */
export interface DemoComparison {
  info: { id: string; post: string; title: string; subreddit: string };
  /** Texts begin with a space and carry no `<|endoftext|>`, as published. */
  summaries: [Candidate, Candidate];
  /** Index of the preferred summary. */
  choice: 0 | 1;
  worker: string;
  /** How the pair was made: one of `batches`. */
  batch: string;
  split: "train" | "valid1" | "valid2";
  /** 1 … 9: 1 is sure of the first, 9 sure of the second. */
  extra: { confidence: number };
}

/** A summary and the way in which it was made. */
export interface Candidate {
  text: string;
  policy: string;
}

/** The labeller: prefers by Bradley–Terry on the gold score, and then slips now and again. */
export const labeller = {
  /** Slope of the Bradley–Terry sigmoid, per point of gold score. */
  slope: 3,
  /** Probability that a finished label is turned round. */
  flip: 0.03,
} as const;

/** Pair types with their shares. `samples` are two independent summaries; the others change one in one way. */
export const batches = {
  samples: 40,
  facts: 24,
  noise: 12,
  swap: 7,
  truncate: 5,
  repeat: 4,
  lead: 3,
  garble: 3,
  elsewhere: 2,
} as const;
type Batch = keyof typeof batches;

/** The most words of a candidate, so that responses stay short enough for the demo's model. */
const longest = 19;

/**
 * Two different summaries of each post, `perPost` times, with a label each.
 *
 * @param split where the rows belong
 * @throws RangeError if `perPost` is not a positive whole number
 */
export function comparisons(
  seed: number,
  list: readonly DemoPost[],
  perPost: number,
  split: DemoComparison["split"],
): DemoComparison[] {
  if (!Number.isInteger(perPost) || perPost < 1) {
    throw new RangeError(`comparisons() makes one or more pairs a post, not ${perPost}`);
  }
  const rng = random(seed);
  return list.flatMap((post) =>
    Array.from({ length: perPost }, (_, at): DemoComparison => {
      const batch = rng.weighted(batches);
      const [one, other] = drawPair(batch, post, rng);
      const summaries: [Candidate, Candidate] = rng.chance(0.5) ? [one, other] : [other, one];
      const second = secondPreferred(post, summaries);
      let choice: 0 | 1 = rng.chance(second) ? 1 : 0;
      if (rng.chance(labeller.flip)) choice = choice === 1 ? 0 : 1;
      const sure = Math.max(1, Math.round(4 * Math.abs(2 * second - 1)));
      return {
        info: { id: post.id, post: post.post, title: post.title, subreddit: post.subreddit },
        summaries,
        choice,
        worker: `labeller-${1 + (at + rng.below(5)) % 5}`,
        batch,
        split,
        extra: { confidence: choice === 1 ? 5 + sure : 5 - sure },
      };
    })
  );
}

/** Probability, before slips, that the labeller prefers the second summary. */
export function secondPreferred(post: DemoPost, [first, second]: readonly [Candidate, Candidate]): number {
  const margin = goldScore(post, second.text) - goldScore(post, first.text);
  return 1 / (1 + Math.exp(-labeller.slope * margin));
}

/** Two summaries of a post that differ in text. */
function drawPair(batch: Batch, post: DemoPost, rng: Random): [Candidate, Candidate] {
  const { facts } = post;
  const noise = noiseOf(post);
  for (;;) {
    const said = rng.chance(0.35) ? everything(facts) : drawSaid(facts, noise, rng);
    const text = word(said, rng);
    let pair: [string, string, string, string];
    switch (batch) {
      case "samples": {
        const [first, second] = [sample(post, noise, rng), sample(post, noise, rng)];
        pair = [first, "sample", rng.chance(0.25) ? post.summary : second, "sample"];
        if (pair[2] === post.summary) pair[3] = "ref";
        break;
      }
      case "facts":
        pair = [fullSummary(facts, rng), "full", word(dropped(facts, rng), rng), "dropped"];
        break;
      case "swap":
        pair = [text, "plain", word(swapped(said, post, rng), rng), "swapped"];
        break;
      case "noise":
        pair = [text, "plain", word({ ...said, noise: some(noise, rng) }, rng), "noisy"];
        break;
      case "repeat":
        pair = [text, "plain", repeated(text, rng), "repeated"];
        break;
      case "truncate":
        pair = [text, "plain", truncated(text, rng), "truncated"];
        break;
      case "elsewhere":
        pair = [text, "plain", fullSummary(drawFacts(voiceOf(post.subreddit), rng), rng), "elsewhere"];
        break;
      case "lead":
        pair = [text, "plain", lead(post.post, rng), "lead"];
        break;
      case "garble":
        pair = [text, "plain", garbled(text, rng), "garbled"];
    }
    const [first, firstPolicy, second, secondPolicy] = pair;
    if (first === second || [first, second].some((one) => one === "" || one.split(" ").length > longest)) {
      continue;
    }
    // A change that changes nothing of worth would be a coin toss; two independent samples may well be one.
    if (batch !== "samples" && goldScore(post, first) === goldScore(post, second)) continue;
    return [{ text: " " + first, policy: firstPolicy }, { text: " " + second, policy: secondPolicy }];
  }
}

/** A summary as a fine-tuned model would sample it: a reference, in one of ten cases with a slip of copying. */
function sample(post: DemoPost, noise: string[], rng: Random): string {
  const said = drawSaid(post.facts, noise, rng);
  const text = word(rng.chance(0.1) ? swapped(said, post, rng) : said, rng);
  return rng.chance(0.04) ? truncated(text, rng) : text;
}

/** The sentences of noise as they stand in the post. */
function noiseOf({ post, facts }: DemoPost): string[] {
  return post.match(/[^.?]+[.?]/g)!.map((sentence) => sentence.trim())
    .filter((sentence) => facts.noise.some((give) => sentence.split(/[ .]/).includes(give)));
}

/** A full summary's content with one to three facts left out. */
function dropped(facts: Facts, rng: Random): Said {
  const said = everything(facts);
  for (let left = 1 + rng.below(3); left > 0; left--) delete said[rng.pick(factKinds)];
  return said;
}

/** The same content with one fact wrong: another name, deed, amount, outcome or question of the same subreddit. */
function swapped(said: Said, post: DemoPost, rng: Random): Said {
  const kinds = factKinds.filter((kind) => said[kind]);
  if (kinds.length === 0) return said;
  const kind = rng.pick(kinds);
  const other = drawFacts(voiceOf(post.subreddit), rng);
  const [head, ...tail] = said[kind]!.split(" ");
  const [otherHead, ...otherTail] = other[kind].split(" ");
  const halves = kind === "who" || kind === "what";
  if (!halves || tail.length === 0) return { ...said, [kind]: halves ? otherHead : other[kind] };
  const wrong = rng.chance(0.35) ? [otherHead, ...tail] : [head, ...otherTail];
  return { ...said, [kind]: wrong.join(" ") };
}

/** One of the sentences, or all of them. */
function some(noise: string[], rng: Random): string[] {
  return rng.chance(0.7) ? [rng.pick(noise)] : noise;
}

/** A sentence said twice, a phrase stuttered, or the whole said again. */
function repeated(text: string, rng: Random): string {
  const sentences = text.match(/[^.?]+[.?]/g)!.map((sentence) => sentence.trim());
  if (rng.chance(0.6)) {
    const at = rng.below(sentences.length);
    return [...sentences.slice(0, at + 1), ...sentences.slice(at)].join(" ");
  }
  const words = text.split(" ");
  const start = rng.below(words.length);
  const length = 1 + rng.below(3);
  return [
    ...words.slice(0, start + length),
    ...words.slice(start, start + length),
    ...words.slice(start + length),
  ]
    .join(" ");
}

/** The text cut off somewhere in its second half, without its end. */
function truncated(text: string, rng: Random): string {
  const words = text.split(" ");
  const keep = Math.ceil(words.length / 2) + rng.below(Math.max(1, Math.floor(words.length / 2)));
  return words.slice(0, Math.min(keep, words.length - 1)).join(" ");
}

/** The first two or three sentences of the post, copied. */
function lead(post: string, rng: Random): string {
  return post.match(/[^.?]+[.?]/g)!.slice(0, 2 + rng.below(2)).join("").trim();
}

/** Two words exchanged or one left out. */
function garbled(text: string, rng: Random): string {
  const words = text.split(" ");
  const at = rng.below(words.length - 1);
  if (rng.chance(0.5)) words.splice(at, 1);
  else [words[at], words[at + 1]] = [words[at + 1], words[at]];
  return words.join(" ");
}
