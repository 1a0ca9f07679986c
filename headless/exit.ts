/** How a command ends when something is wrong: one sentence on stderr, a stack only for faults of our own, and a non-zero status. */
import { DamagedFileError, FileAccessError } from "../lab/bytes.ts";
import { QueryError } from "../lab/query.ts";
import { RunLockedError } from "../lab/run_directory.ts";
import { Stopped } from "../lab/run.ts";
import { GpuError } from "../kernels/gpu_error.ts";
import { FetchStopped } from "./hub_errors.ts";

/** Errors whose message is all that a user needs. */
const explained = [DamagedFileError, FileAccessError, QueryError, RunLockedError, GpuError, RangeError];

/** Prints the error and ends the process: 130 after a stop that was asked for, 1 otherwise. */
export function failWith(error: unknown): never {
  if (error instanceof Stopped || error instanceof FetchStopped) {
    console.error(error.message);
    Deno.exit(130);
  }
  const plain = explained.some((kind) => error instanceof kind) ||
    (error instanceof Error && !/^(Type|Reference|Syntax)Error$/.test(error.name));
  console.error(
    `error: ${plain ? (error as Error).message : error instanceof Error ? error.stack : String(error)}`,
  );
  Deno.exit(1);
}
