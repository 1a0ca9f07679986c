/**
 * A worker that tokenises batches: `new Worker(new URL("lab/tokenise_worker.ts", …), { type: "module" })`, in Deno as in a browser. It is
 * told once what to do it with (`WorkerSetup`), and answers each `WorkerTask` with a `WorkerAnswer`.
 */
import type { TokenisedTable } from "./dataset.ts";
import { QueryError } from "./query.ts";
import { type RowBatch, tokeniseBatch, type TokenLimits } from "./tokenise.ts";
import { loadTokenizer, type Tokenizer } from "./tokenizer.ts";

/** The first message to a worker. */
export interface WorkerSetup {
  /** The tokenizer's folder, for messages. */
  folder: string;
  /** Its files, by path. */
  tokenizer: Record<string, Uint8Array>;
  limits: TokenLimits;
}

export interface WorkerTask {
  batch: RowBatch;
}

/** The ids, or what is wrong with a row (`bad`) or with the worker. */
export type WorkerAnswer = { done: TokenisedTable } | { bad: string } | { failed: string };

/** The part of a worker's global scope that is used here; TypeScript's DOM library has it for pages only. */
const scope = globalThis as unknown as {
  onmessage: (event: { data: WorkerSetup | WorkerTask }) => void;
  postMessage(answer: WorkerAnswer, moved?: Transferable[]): void;
};

let limits: TokenLimits;
let tokenizer: Promise<Tokenizer>;

scope.onmessage = async ({ data }) => {
  if ("limits" in data) {
    limits = data.limits;
    tokenizer = loadTokenizer((path) => Promise.resolve(data.tokenizer[path]), data.folder);
    // Whoever sends a batch hears of it.
    tokenizer.catch(() => {});
    return;
  }
  try {
    const done = tokeniseBatch(await tokenizer, data.batch, limits);
    scope.postMessage({ done }, [done.tokens.buffer, done.starts.buffer, done.queryLengths.buffer]);
  } catch (error) {
    const { message } = error as Error;
    scope.postMessage(error instanceof QueryError ? { bad: message } : { failed: message });
  }
};
