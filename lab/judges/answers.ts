/** Answers of a judge, kept in the run directory as they come, so that nothing is asked twice: one JSON value a line. */
import { DamagedFileError, type Files, joinPath } from "../bytes.ts";
import { appendJsonl, healJsonl, readJsonl } from "../jsonl.ts";

/** Kept answers by digest of the question. */
export interface KeptAnswers<T> {
  get(key: string): T | undefined;
  /** Resolves once the answer is on disk. */
  add(key: string, answer: T): Promise<void>;
}

/**
 * Opens `judge/<name>.jsonl` of a run directory. What a kill left of a last line is cut off.
 * @throws DamagedFileError naming file and line where one is no answer
 */
export async function openAnswers<T>(files: Files, runPath: string, name: string): Promise<KeptAnswers<T>> {
  const folder = joinPath(runPath, "judge");
  const path = joinPath(folder, `${name}.jsonl`);
  const known = new Map<string, T>();
  await files.makeDirectory(folder);
  await healJsonl(files, path);
  if (await files.exists(path)) {
    for await (const { line, value } of readJsonl(files, path)) {
      const { key, answer } = (value ?? {}) as { key?: string; answer?: T };
      if (typeof key !== "string" || typeof answer !== "object") {
        throw new DamagedFileError(
          `${path}:${line} is not an answer; remove the line, and it is asked again.`,
        );
      }
      known.set(key, answer);
    }
  }
  let last: Promise<unknown> = Promise.resolve();
  return {
    get: (key) => known.get(key),
    add(key, answer) {
      known.set(key, answer);
      // One append after the other: two at once could mix their lines.
      const mine = last.then(() => appendJsonl(files, path, [{ key, answer }]));
      // A full disk may have taken half a line, which the next must not be added to.
      last = mine.catch(() => healJsonl(files, path)).catch(() => {});
      return mine;
    },
  };
}
