/**
 * The demo's posts: short Reddit-like stories, each made of four facts that a summary should carry (who, what
 * happened, what came of it, what is asked) told in varied order between sentences that a summary should leave
 * out. Everything follows from a seed.
 */
import { amounts, namesFor, noiseSentences, noiseWords, type Voice, voices } from "./lexicon.ts";
import { type Random, random } from "./random.ts";
import { drawReference } from "./summary.ts";

/** What a post says: four facts word for word as they stand in the post, and the give-away words of its noise. */
export interface Facts {
  /** Relation and name: "roommate Dana". */
  who: string;
  /** Verb and object: "sold my bike". */
  what: string;
  /** A clause: "I can't sleep". */
  result: string;
  /** The question without its question mark: "Should I move out". */
  question: string;
  /** One word for each sentence of the post that no summary needs: "pizza". */
  noise: string[];
}

/** One post in the columns of the TL;DR data set, with the facts behind it. `summary` has no leading space. */
export interface DemoPost {
  id: string;
  subreddit: string;
  title: string;
  post: string;
  summary: string;
  facts: Facts;
}

/** The four facts that count, in the order in which a full summary tells them. */
export const factKinds = ["who", "what", "result", "question"] as const;
export type FactKind = typeof factKinds[number];

/**
 * Generates posts. A longer list with the same seed begins with the shorter one, and no two posts of a list
 * share all four facts, so any cut of it gives disjoint splits.
 *
 * @throws RangeError if `count` is not a whole number between 0 and 100,000
 */
export function posts(seed: number, count: number): DemoPost[] {
  if (!Number.isInteger(count) || count < 0 || count > 100_000) {
    throw new RangeError(`posts() makes between 0 and 100000 posts, not ${count}: ask for fewer`);
  }
  const rng = random(seed);
  const seen = new Set<string>();
  const made: DemoPost[] = [];
  while (made.length < count) {
    const voice = rng.pick(voices);
    const facts = drawFacts(voice, rng);
    const key = [voice.subreddit, ...factKinds.map((kind) => facts[kind])].join("|");
    if (seen.has(key)) continue;
    seen.add(key);
    const id = "d3_" + (seed >>> 0).toString(36) + "_" + made.length.toString(36).padStart(3, "0");
    const noise = drawNoise(facts, rng);
    const told = { ...facts, noise: noise.map((sentence) => sentence.word) };
    made.push({
      id,
      subreddit: voice.subreddit,
      title: drawTitle(told, rng),
      post: tell(voice, told, noise.map((sentence) => sentence.text), rng),
      summary: drawReference(told, noise.map((sentence) => sentence.text), rng),
      facts: told,
    });
  }
  return made;
}

/** The body of a post told a second time: the same facts in another order and wording, with other noise. */
export function tellAgain({ subreddit, facts }: Pick<DemoPost, "subreddit" | "facts">, rng: Random): string {
  return tell(voiceOf(subreddit), facts, drawNoise(facts, rng).map((sentence) => sentence.text), rng);
}

/** Sentences beside the point, such as people add to their posts. */
export function addNothing({ facts }: Pick<DemoPost, "facts">, rng: Random): string {
  return drawNoise(facts, rng).map((sentence) => sentence.text).join(" ");
}

/** Four facts that fit one voice; `noise` is still empty. */
export function drawFacts(voice: Voice, rng: Random): Facts {
  const relation = rng.pick(voice.relations);
  return {
    who: `${relation} ${rng.pick(namesFor(relation))}`,
    what: `${rng.pick(voice.verbs)} ${rng.pick(voice.things).replace("#", rng.pick(amounts))}`,
    result: rng.pick(voice.results),
    question: rng.pick(voice.questions),
    noise: [],
  };
}

/** The voice of a subreddit. Throws a RangeError for a name that the demo does not have. */
export function voiceOf(subreddit: string): Voice {
  const voice = voices.find((candidate) => candidate.subreddit === subreddit);
  if (!voice) {
    throw new RangeError(
      `the demo has no subreddit "${subreddit}": use one of ${voices.map((v) => v.subreddit).join(", ")}`,
    );
  }
  return voice;
}

/** One to three sentences that no summary needs, each with its give-away word; no kind comes twice. */
function drawNoise(facts: Facts, rng: Random): { text: string; word: string }[] {
  const count = Number(rng.weighted({ "1": 3, "2": 5, "3": 2 }));
  const drawn: { text: string; word: string; slot: string }[] = [];
  const kept = [facts.who.split(" ")[1]];
  while (drawn.length < count) {
    const pattern = rng.pick(noiseSentences);
    const slot = pattern.slice(pattern.indexOf("{") + 1, pattern.indexOf("}"));
    const word = rng.pick(noiseWords[slot]);
    if (kept.includes(word) || drawn.some((one) => one.slot === slot)) continue;
    kept.push(word);
    drawn.push({ text: pattern.replace(`{${slot}}`, word), word, slot });
  }
  return drawn;
}

/** A headline that gives away a part of the story. */
function drawTitle({ who, what, question }: Facts, rng: Random): string {
  const relation = who.split(" ")[0];
  switch (rng.weighted({ deed: 3, trouble: 3, advice: 2, question: 2 })) {
    case "deed":
      return `My ${relation} ${what}`;
    case "trouble":
      return `Trouble with my ${who}`;
    case "advice":
      return `Need advice about my ${relation}`;
    default:
      return `${question}?`;
  }
}

/** The body: the facts in one of several orders, with the noise between them. */
function tell(voice: Voice, { who, what, result, question }: Facts, noise: string[], rng: Random): string {
  const name = who.split(" ")[1];
  const opened = rng.pick(["Last week", "Today", "Then"]);
  const intro = rng.pick(voice.intros).replace("@", `my ${who}`);
  const deed = `${opened} ${name} ${what}.`;
  const outcome = `${rng.pick(["Now", "So now"])} ${result}.`;
  const asks = rng.weighted({ plain: 6, reddit: 3 }) === "plain"
    ? `${question}?`
    : `Reddit, ${question[0].toLowerCase()}${question.slice(1)}?`;
  const order = {
    plain: [intro, deed, outcome, asks],
    asksFirst: [asks, intro, deed, outcome],
    merged: [`My ${who} ${what}.`, outcome, asks],
    backwards: [`${capital(result)} because ${name} ${what}.`, intro, asks],
  }[rng.weighted({ plain: 5, asksFirst: 2, merged: 3, backwards: 2 })];
  for (const sentence of noise) order.splice(rng.below(order.length), 0, sentence);
  return order.join(" ");
}

/** The same text with its first letter in upper case. */
function capital(text: string): string {
  return text[0].toUpperCase() + text.slice(1);
}
