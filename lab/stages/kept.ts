/**
 * What a long measurement finds, kept in the run directory: its result once it is whole, and before that row after row, so that a stop or
 * a kill costs no more than the batch that was at work.
 */
import { digestOfJson, type Files, isObject, joinPath, readJson } from "../bytes.ts";
import { appendJsonl, healJsonl, readJsonl } from "../jsonl.ts";
import type { Run } from "../run.ts";

/** Rows of a result that are measured in order, batch by batch. Those that were kept before are not measured again. */
export type KeepRows = <T>(
  name: string,
  count: number,
  batch: number,
  measure: (from: number, to: number) => Promise<T[]>,
) => Promise<T[]>;

export interface Keeping {
  /** File name of the result. */
  name: string;
  /** Digest of all that the result depends on. */
  key: string;
  /** Called after each batch of rows, kept before or now; may throw to stop. */
  tick: (rows: number) => void;
}

/**
 * The result that an earlier invocation kept with this key, or that of `measure`, which is then kept. Results are plain JSON.
 * @throws whatever `measure` or `tick` throws; rows so far are kept
 */
export async function kept<T>(
  { files, path: run }: Pick<Run, "files" | "path">,
  { name, key, tick }: Keeping,
  measure: (rows: KeepRows) => Promise<T>,
): Promise<T> {
  const folder = joinPath(run, "evaluation");
  const path = joinPath(folder, `${name}.json`), unfinished = joinPath(folder, name);
  if (await files.exists(path)) {
    try {
      const found = await readJson(files, path) as { key: string; digest: string; result: T };
      if (found.key === key && found.digest === await digestOfJson(found.result)) return found.result;
    } catch {
      // Damaged: measured again.
    }
  }
  await files.makeDirectory(unfinished);
  const rows: KeepRows = (part, count, batch, measured) =>
    keptRows(files, joinPath(unfinished, `${part}.jsonl`), { key, count, batch, tick }, measured);
  // As it will be read back: NaN has no JSON.
  const result = JSON.parse(JSON.stringify(await measure(rows))) as T;
  await files.writeAtomic(
    path,
    new TextEncoder().encode(JSON.stringify({ key, digest: await digestOfJson(result), result })),
  );
  await files.remove(unfinished);
  return result;
}

interface Batches {
  key: string;
  count: number;
  batch: number;
  tick: (rows: number) => void;
}

async function keptRows<T>(
  files: Files,
  path: string,
  { key, count, batch, tick }: Batches,
  measure: (from: number, to: number) => Promise<T[]>,
): Promise<T[]> {
  const rows = await readRows<T>(files, path, { key, count, batch });
  if (rows.length > 0) tick(rows.length);
  while (rows.length < count) {
    const from = rows.length, measured = await measure(from, Math.min(count, from + batch));
    await appendJsonl(files, path, [{ key, from, digest: await digestOfJson(measured), rows: measured }]);
    rows.push(...measured);
    tick(measured.length);
  }
  return rows;
}

/** Whole batches that are sound and belong to the key; a file in which anything else stands is begun anew. */
async function readRows<T>(
  files: Files,
  path: string,
  { key, count, batch }: Omit<Batches, "tick">,
): Promise<T[]> {
  if (!await files.exists(path)) return [];
  await healJsonl(files, path);
  const found: T[] = [];
  try {
    for await (const { value } of readJsonl(files, path)) {
      const { key: of, from, digest, rows } = isObject(value) ? value : {};
      const sound = of === key && from === found.length && Array.isArray(rows) &&
        rows.length === Math.min(batch, count - from) && digest === await digestOfJson(rows);
      if (!sound) throw new RangeError(`${path} is of another measurement.`);
      found.push(...rows);
    }
    return found;
  } catch {
    await files.remove(path);
    return [];
  }
}
