/**
 * The small world in which the demo's posts take place: who lives in it, what happens to them, what they ask.
 * The vocabulary is kept to a few hundred words, so that a transformer of under half a million parameters can
 * learn to read it, yet each subreddit keeps its own voice.
 */

/** What one subreddit talks about. Phrases are copied word for word into posts and summaries. */
export interface Voice {
  /** Name without the "r/". */
  subreddit: string;
  /** Who the post may be about, said as "my …". */
  relations: readonly string[];
  /** What they did: past-tense verbs that go with every one of `things`. "#" stands for an amount of money. */
  verbs: readonly string[];
  things: readonly string[];
  /** What came of it: a clause in the present tense that reads well after "now". */
  results: readonly string[];
  /** What the writer asks, without the question mark. */
  questions: readonly string[];
  /** How this place introduces a person; "@" stands for "my sister Dana". */
  intros: readonly string[];
}

// deno-fmt-ignore
const women = ["Dana", "Lena", "Nora", "Rosa", "Mia", "Zoe", "Ivy"];
// deno-fmt-ignore
const men = ["Omar", "Hugo", "Sam", "Finn", "Abe", "Carl", "Ned"];

/** All names; those of women first. */
export const names: readonly string[] = [...women, ...men];

const female: readonly string[] = ["girlfriend", "wife", "sister", "grandma"];
const male: readonly string[] = ["boyfriend", "husband", "brother", "uncle"];

/** The names that go with a relation: an uncle is called Omar, not Zoe; a goat may be called anything. */
export function namesFor(relation: string): readonly string[] {
  return female.includes(relation) ? women : male.includes(relation) ? men : names;
}

export const voices: readonly Voice[] = [
  {
    subreddit: "relationships",
    relations: ["girlfriend", "boyfriend", "wife", "husband"],
    verbs: ["forgot", "left", "missed", "hated"],
    things: ["our date", "my birthday", "the wedding", "our dinner"],
    results: ["we barely talk", "I feel alone", "I sleep on the couch", "I cry at night"],
    questions: ["Should I leave", "Can we fix this", "Am I wrong", "Should I say sorry"],
    intros: ["I love @.", "I live with @."],
  },
  {
    subreddit: "roommates",
    relations: ["roommate", "neighbor", "landlord"],
    verbs: ["broke", "sold", "took", "painted"],
    things: ["my bike", "my lamp", "my couch", "the door"],
    results: ["I can't sleep", "we barely talk", "I hide my food", "the flat is cold"],
    questions: ["Should I move out", "Who has to pay", "Should I call the police", "How do I get even"],
    intros: ["I live with @.", "I share a flat with @."],
  },
  {
    subreddit: "jobs",
    relations: ["boss", "coworker", "manager"],
    verbs: ["took", "moved", "canceled", "lost"],
    things: ["my shift", "my raise", "my project", "my break"],
    results: ["I work nights", "my team is mad", "I can't pay rent", "I feel alone"],
    questions: ["Should I quit", "Should I tell HR", "Is this legal", "How do I say no"],
    intros: ["I work with @.", "I talk to @ all day."],
  },
  {
    subreddit: "personalfinance",
    relations: ["brother", "sister", "uncle", "cousin"],
    verbs: ["stole", "lost", "spent", "took"],
    things: ["# dollars"],
    results: ["I can't pay rent", "my bank is mad", "I have no food", "we barely talk"],
    questions: ["Should I sue", "Can we fix this", "How do I get it back", "Should I call the police"],
    intros: ["I trust @.", "I love @."],
  },
  {
    subreddit: "pets",
    relations: ["dog", "cat", "parrot", "goat"],
    verbs: ["ate", "hid", "stole", "broke"],
    things: ["my shoes", "my keys", "my phone", "my homework"],
    results: ["I hide my food", "my kids are mad", "I can't go out", "I can't sleep"],
    questions: ["Is this normal", "How do I stop this", "Can we fix this", "Am I wrong"],
    intros: ["I love @.", "I live with @."],
  },
  {
    subreddit: "travel",
    relations: ["friend", "guide", "driver"],
    verbs: ["lost", "forgot", "dropped", "sold"],
    things: ["my passport", "my phone", "the map", "my bag"],
    results: ["we are stuck", "I can't go out", "we walk all night", "I have no food"],
    questions: ["Should I leave", "Who can help us", "How do I get back", "Should I call the police"],
    intros: ["I am here with @.", "I share a room with @."],
  },
  {
    subreddit: "AskReddit",
    relations: ["teacher", "grandma", "uncle", "friend"],
    verbs: ["burned", "dropped", "broke", "painted"],
    things: ["the cake", "the piano", "my car", "the tree"],
    results: ["I cry at night", "we barely talk", "my mom is mad", "I hide at work"],
    questions: ["Am I wrong", "Should I say sorry", "How do I get even", "Is this normal"],
    intros: ["I know @ from school.", "I like @."],
  },
];

/**
 * Things people say that no summary needs. Each slot in braces names a list in `noiseWords`; the filled slot is
 * the give-away by which the gold rule recognises that a summary has carried the sentence along.
 */
export const noiseSentences: readonly string[] = [
  "I told {name} about it.",
  "{name} from school says hi.",
  "We had {food} for lunch.",
  "I was making {food}.",
  "It {weather} all day.",
  "It was a {day}.",
  "My shirt was {color}.",
  "I am {age}.",
  "Excuse my {language}.",
];

export const noiseWords: Readonly<Record<string, readonly string[]>> = {
  name: names,
  food: ["soup", "pizza", "toast", "rice"],
  weather: ["rained", "snowed"],
  day: ["Monday", "Friday", "Sunday"],
  color: ["green", "red", "blue"],
  age: ["19", "22", "26", "31", "34", "47"],
  language: ["English"],
};

/** Amounts of money that fill "#". */
// deno-fmt-ignore
export const amounts: readonly string[] = [
  "25", "35", "40", "45", "50", "55", "60", "65", "70", "75", "80", "85", "90", "95",
];
