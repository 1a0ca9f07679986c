/**
 * OpenAI's human comparisons: the raw JSONL of summarize-from-feedback/dataset/comparisons/{batch}.json. Which row belongs where
 * follows vwxyzjn/summarize_from_feedback_details, tldr_dataset.py.
 */
import { DamagedFileError, shown } from "./bytes.ts";
import { fieldAt, optionalString, readJsonLines, stringField } from "./tldr.ts";

/** One of the two texts compared, with its leading space where the source has one. */
export interface ComparedSummary {
  text: string;
  /** The policy that wrote it, e.g. "ref", "sup4_ppo_rm3_kl10"; null where not recorded. */
  policy: string | null;
  /** The labeller's note. */
  note: string | null;
}

/** What was summarised: a Reddit post, or a CNN/DM article where `article` is not null. */
export interface ComparisonSource {
  id: string;
  subreddit: string | null;
  title: string | null;
  post: string | null;
  site: string | null;
  article: string | null;
}

/** A comparison. Null stands for whatever the row does not say. */
export interface Comparison {
  /** Its line in the file, from 1. */
  line: number;
  source: ComparisonSource;
  summaries: [ComparedSummary, ComparedSummary];
  /** Which of `summaries` was preferred. */
  choice: 0 | 1;
  /** `summaries[choice]`. */
  chosen: ComparedSummary;
  /** The other one. */
  rejected: ComparedSummary;
  /** The two policies, sorted and joined by "--"; null unless both are known. */
  policies: string | null;
  worker: string | null;
  batch: string | null;
  split: "train" | "valid1" | "valid2" | null;
  /** 1 (sure of the first) to 9 (sure of the second). */
  confidence: number | null;
}

/** Rows of the published files together: train, valid1 and valid2 without CNN/DM, and CNN/DM. */
export const comparisonRowCounts = { train: 92_858, validation: 83_802, cnndm: 2_284 } as const;

const cnndmBatches: ReadonlySet<string | null> = new Set(["batch0_cnndm", "cnndm0", "cnndm2"]);

/**
 * Reads comparison rows one at a time; unknown fields are ignored, blank lines skipped.
 *
 * @param path names the file in messages
 * @throws DamagedFileError naming file and line where a row lacks its source, its two texts or its choice, or where a field that
 * it has is of the wrong type
 */
export function* readComparisons(path: string, bytes: Uint8Array): Generator<Comparison> {
  for (const { place, line, fields } of readJsonLines(path, bytes)) {
    const optional = (name: string) => optionalString(place, fields, name);
    const source: ComparisonSource = {
      id: stringField(place, fields, "info.id"),
      subreddit: optional("info.subreddit"),
      title: optional("info.title"),
      post: optional("info.post"),
      site: optional("info.site"),
      article: optional("info.article"),
    };
    if (
      source.article === null && (source.post === null || source.subreddit === null || source.title === null)
    ) {
      throw new DamagedFileError(
        `${place} has neither an article nor a post with subreddit and title in "info"; check that this is a comparisons file.`,
      );
    }
    const texts = fields.summaries;
    if (!Array.isArray(texts) || texts.length !== 2) {
      throw new DamagedFileError(
        `${place} does not have two "summaries"; check that this is a comparisons file.`,
      );
    }
    const summary = (i: 0 | 1): ComparedSummary => ({
      text: stringField(place, fields, `summaries.${i}.text`),
      policy: optional(`summaries.${i}.policy`),
      note: optional(`summaries.${i}.note`),
    });
    const summaries: [ComparedSummary, ComparedSummary] = [summary(0), summary(1)];
    const choice = fields.choice;
    if (choice !== 0 && choice !== 1) {
      const found = choice === undefined ? 'no "choice"' : `"choice" ${shown(choice)}`;
      throw new DamagedFileError(`${place} has ${found}; it must be 0 or 1.`);
    }
    const split = optional("split");
    if (split !== null && split !== "train" && split !== "valid1" && split !== "valid2") {
      throw new DamagedFileError(
        `${place} has "split" ${shown(split)}; it must be train, valid1 or valid2.`,
      );
    }
    const confidence = fieldAt(fields, "extra.confidence") ?? null;
    if (confidence !== null && !(typeof confidence === "number" && confidence >= 1 && confidence <= 9)) {
      throw new DamagedFileError(
        `${place} has "extra.confidence" ${shown(confidence)}; it must be 1 to 9 or null.`,
      );
    }
    const [first, second] = [summaries[0].policy, summaries[1].policy];
    yield {
      line,
      source,
      summaries,
      choice,
      chosen: summaries[choice],
      rejected: summaries[1 - choice],
      policies: first === null || second === null ? null : [first, second].sort().join("--"),
      worker: optional("worker"),
      batch: optional("batch"),
      split,
      confidence,
    };
  }
}

/** Comparisons by their use. `valid1` is for choosing models, `valid2` for final figures only; validation is the two together. */
export interface SplitComparisons {
  train: Comparison[];
  valid1: Comparison[];
  valid2: Comparison[];
  /** Validation rows of the CNN/DM batches: out of distribution, longer queries. */
  cnndm: Comparison[];
  /** Rows that do not say which split they are of. They are in no other list. */
  unassigned: Comparison[];
}

/** Sorts comparisons into their splits, in the order they come in. */
export function splitComparisons(rows: Iterable<Comparison>): SplitComparisons {
  const lists: SplitComparisons = { train: [], valid1: [], valid2: [], cnndm: [], unassigned: [] };
  for (const row of rows) {
    if (row.split === null) lists.unassigned.push(row);
    else if (row.split !== "train" && cnndmBatches.has(row.batch)) lists.cnndm.push(row);
    else lists[row.split].push(row);
  }
  return lists;
}
