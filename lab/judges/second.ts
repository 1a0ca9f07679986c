/** A second reward model, trained apart from the one that PPO was trained against, as the judge: it scores every summary. */
import { DamagedFileError, type Files } from "../bytes.ts";
import type { SummarisedPost } from "../dataset.ts";
import { loadQwen2, readQwen2Config } from "../qwen2.ts";
import type { Qwen2Config } from "../qwen2_config.ts";
import { tldrQuery } from "../query.ts";
import type { Run } from "../run.ts";
import { sequenceScores } from "../scoring.ts";
import type { KeepRows } from "../stages/kept.ts";
import { loadTokenizer, type Tokenizer } from "../tokenizer.ts";

/** Summaries of the first so many posts by one author; `ended` tells which are whole. */
export interface Scorable {
  texts: readonly string[];
  ended: readonly boolean[];
}

/** Sequences between two looks at the progress, kept together. */
export const sequencesAtOnce = 256;

/** What a reward model's folder says of it. @throws DamagedFileError where it is a language model */
export async function readSecondJudge(
  files: Files,
  folder: string,
): Promise<{ shape: Qwen2Config; tokenizer: Tokenizer }> {
  const shape = await readQwen2Config(files, folder);
  if (shape.head !== "score") {
    throw new DamagedFileError(
      `${folder} is a language model: it has no score; set evaluate.judge local for it.`,
    );
  }
  return { shape, tokenizer: await loadTokenizer((path) => files.read(path), folder, shape.vocabulary) };
}

/**
 * Scores texts with the reward model in a folder. It reads them with its own tokenizer, so it may be of another size or family.
 * @param rows keeps scores as they come
 * @param heed called between micro-batches; may throw to stop
 * @returns for each author a score for each text
 * @throws DamagedFileError where the folder has no reward model; RangeError where a score is not finite
 */
export async function secondScores(
  run: Pick<Run, "gpu" | "files" | "config">,
  folder: string,
  posts: readonly SummarisedPost[],
  authors: readonly Scorable[],
  rows: KeepRows,
  heed?: () => void,
): Promise<number[][]> {
  const { gpu, files, config } = run;
  const { tokenizer } = await readSecondJudge(files, folder);
  const queries = posts.map((post) => tldrQuery(tokenizer, post, config.preprocess.queryTokens).tokens);
  const sequences = authors.flatMap(({ texts, ended }) =>
    texts.map((text, i) => [
      ...queries[i],
      ...tokenizer.encode(text.toWellFormed()),
      ...(ended[i] ? [tokenizer.eosId] : []),
    ])
  );
  const model = await loadQwen2(gpu, files, folder, "judge");
  const { microTokens } = config.reward;
  let flat: number[];
  try {
    flat = await rows("scores", sequences.length, sequencesAtOnce, async (from, to) => {
      const found = await sequenceScores(gpu, model, sequences.slice(from, to), microTokens, heed);
      const bad = found.find((value) => !Number.isFinite(value));
      if (bad !== undefined) {
        throw new RangeError(`${folder} scored a summary as ${bad}; check its weights.`);
      }
      return Array.from(found);
    });
  } finally {
    model.parameters.drop();
    gpu.trim();
  }
  let at = 0;
  return authors.map(({ texts }) => flat.slice(at, at += texts.length));
}
