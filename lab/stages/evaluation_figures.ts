/** What an evaluation adds up to: figures by author, best-of-n, sentences on what they are over, the report's table. */
import type { SummarisedPost } from "../dataset.ts";
import { markedPhrases } from "../demo/phrases.ts";
import type {
  Author,
  AuthorFigures,
  BestOfN,
  Evaluation,
  Match,
  Mean,
  SampleRow,
  SampleSummary,
} from "../report/data.ts";
import { meanRouge, rouge } from "../rouge.ts";
import type { Run } from "../run.ts";
import { bestOfNKl } from "../winrate.ts";
import type { Entry } from "./matches.ts";

/** A summary as it is kept between models. */
export interface Written {
  text: string;
  /** Up to and with EOS. */
  tokens: number[];
  ended: boolean;
}

export function entriesOf(
  run: Pick<Run, "config" | "gold">,
  posts: readonly SummarisedPost[],
  written: Partial<Record<Author, Written[]>>,
  rewards: Partial<Record<Author, number[]>>,
): Entry[] {
  const order: readonly Author[] = ["reference", "base", "sft", "ppo"];
  return order.flatMap((author): Entry[] => {
    const summaries = written[author];
    if (!summaries) return [];
    return [{
      author,
      texts: summaries.map(({ text }) => text),
      lengths: summaries.map(({ tokens }) => tokens.length),
      ended: summaries.map(({ ended }) => ended),
      scores: {
        ...(run.gold && { gold: summaries.map(({ text }, i) => run.gold!(posts[i], text)) }),
        ...(rewards[author] && { reward: rewards[author] }),
      },
    }];
  });
}

export interface Best {
  entry: Entry;
  figures: BestOfN;
}

/** For each n the sample that the reward model likes best among a post's first n; the earliest of equals. */
export function chooseBest(
  run: Pick<Run, "config" | "gold">,
  posts: readonly SummarisedPost[],
  samples: readonly Written[][],
  rewards: readonly number[][],
): Best[] {
  if (samples.length === 0) return [];
  return [...new Set(run.config.evaluate.bestOf)].sort((a, b) => a - b).map((n) => {
    const at = rewards.map((scores) =>
      scores.slice(0, n).reduce((best, x, i) => x > scores[best] ? i : best, 0)
    );
    const chosen = samples.map((some, i) => some[at[i]]);
    const scores: Entry["scores"] = {
      reward: rewards.map((some, i) => some[at[i]]),
      ...(run.gold && { gold: chosen.map(({ text }, i) => run.gold!(posts[i], text)) }),
    };
    const lengths = chosen.map(({ tokens }) => tokens.length);
    return {
      entry: {
        author: `best-of-${n}`,
        texts: chosen.map(({ text }) => text),
        lengths,
        ended: chosen.map(({ ended }) => ended),
        scores,
      },
      figures: {
        n,
        kl: bestOfNKl(n),
        ...(scores.gold && { gold: meanOf(scores.gold) }),
        reward: meanOf(scores.reward!),
        length: meanOf(lengths),
      },
    };
  });
}

export function authorFigures(
  { author, lengths, scores }: Entry,
  posts: readonly SummarisedPost[],
  summaries: readonly Written[],
): AuthorFigures {
  const figures: AuthorFigures = {
    author: author as Author,
    ...(scores.gold && { gold: meanOf(scores.gold) }),
    ...(scores.reward && { reward: meanOf(scores.reward) }),
    length: meanOf(lengths),
  };
  if (author === "reference") return figures;
  const { rouge1, rouge2, rougeL } = meanRouge(summaries.map(({ text }, i) => rouge(text, posts[i].summary)));
  return {
    ...figures,
    eosRate: summaries.filter(({ ended }) => ended).length / summaries.length,
    rouge1: rouge1.fmeasure,
    rouge2: rouge2.fmeasure,
    rougeL: rougeL.fmeasure,
  };
}

/** The mean with its 95 % interval by the normal approximation; a single number has none. */
export function meanOf(values: readonly number[]): Mean {
  const count = values.length;
  const mean = values.reduce((sum, x) => sum + x, 0) / count;
  if (count < 2) return { mean, count };
  const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (count - 1);
  const half = 1.959963984540054 * Math.sqrt(variance / count);
  return { mean, lower: mean - half, upper: mean + half, count };
}

export function sizeNotes(
  { posts, klPosts, bestPosts }: { posts: readonly SummarisedPost[]; klPosts: number; bestPosts: number },
  authors: readonly AuthorFigures[],
): string[] {
  const notes = authors.flatMap(({ author, eosRate = 1, reward }) => {
    const open = Math.round((1 - eosRate) * posts.length);
    if (open === 0) return [];
    const scored = reward ? "; the reward model scored them at their last token" : "";
    return [`${open} of ${posts.length} summaries by ${author} do not end in <|endoftext|>${scored}.`];
  });
  if (klPosts > 0 && klPosts < posts.length) {
    notes.push(`PPO's KL is over the first ${klPosts} posts.`);
  }
  if (bestPosts > 0 && bestPosts < posts.length) {
    notes.push(`Best-of-n is over the first ${bestPosts} posts, and so are its matches.`);
  }
  return notes;
}

export function sampleRow(
  run: Pick<Run, "config" | "gold">,
  post: SummarisedPost,
  row: number,
  entries: readonly Entry[],
): SampleRow {
  // Phrases are marked where they will be shown.
  const facts = run.gold && row < run.config.evaluate.table ? post.facts : undefined;
  const { id, subreddit, title, post: text } = post;
  const summaries = entries.filter(({ texts }) => row < texts.length).map((entry): SampleSummary => ({
    author: entry.author,
    text: entry.texts[row],
    gold: entry.scores.gold?.[row],
    reward: entry.scores.reward?.[row],
    length: entry.lengths[row],
    ended: entry.ended[row],
    ...(facts && markedPhrases({ title, post: text, facts }, entry.texts[row])),
  }));
  return {
    id,
    subreddit,
    title,
    post: text,
    ...(facts && { facts: [facts.who, facts.what, facts.result, facts.question] }),
    summaries,
  };
}

export function metricsOf({ authors, matches, bestOf, reward }: Evaluation): Record<string, number> {
  const figures: Record<string, number> = {};
  const put = (name: string, value: number | Mean | undefined) => {
    if (value !== undefined) figures[`eval/${name}`] = typeof value === "number" ? value : value.mean;
  };
  for (const { author, gold, reward, length, eosRate, kl, rougeL, lossWithQuery, lossResponse } of authors) {
    put(`${author}/gold`, gold);
    put(`${author}/reward`, reward);
    put(`${author}/length`, length);
    put(`${author}/eos_rate`, eosRate);
    put(`${author}/kl`, kl);
    put(`${author}/rougeL`, rougeL);
    put(`${author}/loss_query_and_response`, lossWithQuery);
    put(`${author}/loss_response`, lossResponse);
  }
  for (const { ours, theirs, judge, raw, lengthControlled } of matches) {
    const match = `${ours}_vs_${theirs}/${judge.replaceAll(/[^\w.-]+/g, "_")}`;
    put(`${match}/win_rate`, raw.rate);
    put(`${match}/win_rate_at_equal_length`, lengthControlled?.rate);
  }
  for (const { n, gold, reward } of bestOf) {
    put(`best-of-${n}/gold`, gold);
    put(`best-of-${n}/reward`, reward);
  }
  for (const { by, name, accuracy } of reward?.accuracy ?? []) {
    if (by === "all" || by === "split") put(`reward/accuracy/${name.replaceAll(" ", "_")}`, accuracy.rate);
  }
  put("reward/reference_mean", reward?.referenceMean);
  return figures;
}

export function summaryOf({ posts, authors, matches }: Evaluation): string {
  const percent = (share: number) => `${(100 * share).toFixed(0)} %`;
  const won = ({ ours, theirs, judge, raw }: Match) =>
    `${ours} over ${theirs} ${percent(raw.rate)} (${percent(raw.lower)} to ${
      percent(raw.upper)
    }) by ${judge}`;
  const ppo = authors.find(({ author }) => author === "ppo");
  return [
    `${posts} posts`,
    ...matches.slice(0, 2).map(won),
    ...(ppo?.kl ? [`KL ${ppo.kl.mean.toFixed(1)} nats`] : []),
    ...(ppo?.eosRate === undefined ? [] : [`${percent(ppo.eosRate)} of PPO's end`]),
  ].join("; ");
}
