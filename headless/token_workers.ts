/** Tokenising on all cores: a pool of Deno's workers, each with a tokenizer of its own. */
import { type Files, joinPath } from "../lab/bytes.ts";
import type { TokenisedTable } from "../lab/dataset.ts";
import { QueryError } from "../lab/query.ts";
import type { RowBatch, Tokenisers, TokenLimits } from "../lab/tokenise.ts";
import type { WorkerAnswer, WorkerSetup } from "../lab/tokenise_worker.ts";

/** One reading thread feeds about so many workers, of a few thousand rows a second each. */
const mostWorkers = 8;

/** Starts a worker that runs lab/tokenise_worker.ts. */
export type Spawn = () => Worker;

const spawnWorker: Spawn = () =>
  new Worker(new URL("../lab/tokenise_worker.ts", import.meta.url), { type: "module" });

interface Job {
  batch: RowBatch;
  resolve(done: TokenisedTable): void;
  reject(error: Error): void;
}

/**
 * Opens a pool; workers are started as batches come.
 * @param folder where the tokenizer's two files lie
 * @param count of workers; by default one for each core
 */
export async function tokenWorkers(
  files: Files,
  folder: string,
  limits: TokenLimits,
  count: number = Math.min(navigator.hardwareConcurrency, mostWorkers),
  spawn: Spawn = spawnWorker,
): Promise<Tokenisers> {
  const setup: WorkerSetup = { folder, tokenizer: {}, limits };
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    const path = joinPath(folder, name);
    setup.tokenizer[path] = await files.read(path);
  }
  const workers: Worker[] = [];
  const idle: Worker[] = [];
  const waiting: Job[] = [];
  const atWork = new Set<Job>();

  const start = (): Worker => {
    const worker = spawn();
    worker.postMessage(setup);
    workers.push(worker);
    return worker;
  };
  const next = () => {
    while (waiting.length > 0) {
      const worker = idle.pop() ?? (workers.length < count ? start() : undefined);
      if (!worker) return;
      give(worker, waiting.shift()!);
    }
  };
  const give = (worker: Worker, job: Job) => {
    const { batch, resolve, reject } = job;
    atWork.add(job);
    worker.onmessage = ({ data }: MessageEvent<WorkerAnswer>) => {
      atWork.delete(job);
      idle.push(worker);
      if ("done" in data) resolve(data.done);
      else reject("bad" in data ? new QueryError(data.bad) : lost(batch, data.failed));
      next();
    };
    worker.onerror = (event) => {
      // Otherwise the whole process would end with it.
      event.preventDefault();
      atWork.delete(job);
      workers.splice(workers.indexOf(worker), 1);
      worker.terminate();
      reject(lost(batch, event.message));
      next();
    };
    worker.postMessage({ batch });
  };
  return {
    count,
    tokenise: (batch) =>
      new Promise((resolve, reject) => {
        waiting.push({ batch, resolve, reject });
        next();
      }),
    close() {
      for (const worker of workers.splice(0)) worker.terminate();
      for (const { reject } of [...atWork, ...waiting.splice(0)]) {
        reject(new Error("Tokenising was given up."));
      }
    },
  };
}

/** A worker ended, or failed in a way that no row is known to be the cause of. */
function lost({ kind, rows }: RowBatch, why: string): Error {
  const placeOf = (row: RowBatch["rows"][number]) =>
    row.place ?? (kind === "posts" ? "id" in row && row.id : "source" in row && row.source.id);
  return new Error(
    `A tokenising worker failed (${why.replace(/\.$/, "")}) between ${placeOf(rows[0])} and ${
      placeOf(rows[rows.length - 1])
    }; run again, what is done is kept.`,
  );
}
