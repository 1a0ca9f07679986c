/**
 * Runs a whole notebook from clean, in the order of the document: what comes of it is the notebook with new outputs and proofs, and how it
 * stands to what was stored before.
 *
 *     runNotebook(notebook, start, { timeout, keepGoing, onCell }): Promise<NotebookRun>
 */
import { type CellRun, type Certificate, certificate, type CleanRun } from "./certify.ts";
import { CellSyntaxError, compileCell } from "./cells.ts";
import { analyseCells, dependencies, inputRecords } from "./dependencies.ts";
import { type CodeCell, type ErrorOutput, isCode, type Notebook, type Output } from "./ipynb.ts";
import type { Imports } from "./import_graph.ts";
import type { CellEvent, CellResult } from "./kernel.ts";
import { type Kernel, KernelStopped } from "./kernel_link.ts";
import { kernelsDigest } from "./kernels_digest.ts";
import type { Lab } from "./lab_object.ts";
import type { NotebookRecord, ValueRecord } from "./records.ts";

/** A kernel in a clean realm, with a lab of its own behind it. */
export interface Started {
  kernel: Kernel;
  lab: Lab;
  /** Ends the realm, whatever it is doing. */
  end(): void;
}

export interface RunOptions {
  /** Milliseconds that a cell may take. */
  timeout?: number;
  /** Where what the notebook's import lock has is to be had; without, nothing but "precis" can be imported. */
  imports?: Imports;
  /** Go on after a cell that failed. */
  keepGoing?: boolean;
  /** Aborts the run: the cell that is running then is interrupted, those after it are skipped. */
  signal?: AbortSignal;
  /** A cell begins; what is returned hears what it tells. @param position from 1 */
  onCell?: (cell: CodeCell, position: number) => ((event: CellEvent) => void) | void;
  /** A cell has ended. */
  onEnd?: (cell: RanCell) => void;
}

/** What came of one code cell. */
export interface RanCell {
  id: string;
  /** From 1, among the code cells. */
  position: number;
  status: "ok" | "failed" | "skipped";
  outputs: Output[];
  values: ValueRecord[];
  milliseconds: number;
  /** In which the device worked for it. */
  gpuMilliseconds: number;
  /** Expectations of the cell (`lab.expect`) that were not met, in words. */
  unmet: string[];
}

export interface NotebookRun {
  /** The notebook with the outputs and proofs of this run. */
  notebook: Notebook;
  cells: RanCell[];
  /** This run held against what the notebook had stored. */
  certificate: Certificate;
  /** Whether all cells ran, none failed, and all expectations were met. */
  ok: boolean;
  /** Digests of the models that were opened, by place. */
  models: Record<string, string>;
}

/**
 * @param start makes a kernel; called once, and again after a cell that had to be interrupted, if the run goes on
 * @throws what `start` throws
 */
export async function runNotebook(
  notebook: Notebook,
  start: () => Promise<Started>,
  options: RunOptions = {},
): Promise<NotebookRun> {
  const { keepGoing = false, onCell, onEnd } = options;
  const codeCells = notebook.cells.filter(isCode);
  const ran: RanCell[] = [];
  const models: Record<string, string> = {};
  let started: Started | null = null;
  let stopped = false;
  try {
    for (const [i, cell] of codeCells.entries()) {
      const position = i + 1;
      let result: RanCell;
      if (stopped || options.signal?.aborted) result = skipped(cell, position);
      else {
        const event = onCell?.(cell, position) ?? (() => {});
        started ??= await start();
        const came = await runCell(started, cell, position, notebook.metadata.lab, event, options);
        result = came.cell;
        if (came.interrupted) {
          started.end();
          started = null;
        }
        stopped = result.status === "failed" && !keepGoing;
      }
      ran.push(result);
      onEnd?.(result);
    }
    if (started) Object.assign(models, await started.lab.models());
  } finally {
    started?.end();
  }
  return await conclude(notebook, ran, models);
}

function skipped({ id }: CodeCell, position: number): RanCell {
  return {
    id,
    position,
    status: "skipped",
    outputs: [],
    values: [],
    milliseconds: 0,
    gpuMilliseconds: 0,
    unmet: [],
  };
}

async function runCell(
  { kernel, lab }: Started,
  { id, source }: CodeCell,
  position: number,
  { seed, imports: lock }: NotebookRecord,
  event: (event: CellEvent) => void,
  { timeout, signal, imports }: RunOptions,
): Promise<{ cell: RanCell; interrupted: boolean }> {
  const label = `cell ${position}`;
  const begun = performance.now();
  let latest: Output[] = [];
  let result: CellResult;
  let interrupted = false;
  try {
    const compiled = compileCell(source);
    // What it imports may take its time, too.
    const running = (async () => {
      const prepared = await imports?.prepare(compiled.imports, lock, false);
      return await kernel.run({ id, compiled, seed, label, imports: prepared?.sent }, (told) => {
        if ("outputs" in told) latest = told.outputs;
        event(told);
      });
    })();
    result = await within(running, kernel, label, timeout, signal);
  } catch (error) {
    interrupted = error instanceof KernelStopped;
    if (!interrupted && !(error instanceof CellSyntaxError)) throw error;
    result = {
      status: "error",
      milliseconds: performance.now() - begun,
      outputs: [...latest, errorOf(error as Error, label)],
      values: [],
    };
  }
  const cell: RanCell = {
    id,
    position,
    status: result.status === "ok" ? "ok" : "failed",
    outputs: result.outputs,
    values: result.values,
    milliseconds: result.milliseconds,
    gpuMilliseconds: lab.gpuMilliseconds(id),
    unmet: unmetIn(result.outputs),
  };
  return { cell, interrupted };
}

/** The result of a cell, unless it takes too long or the run is aborted: the kernel is stopped then. */
async function within(
  running: Promise<CellResult>,
  kernel: Kernel,
  label: string,
  timeout: number | undefined,
  signal: AbortSignal | undefined,
): Promise<CellResult> {
  const abort = () => kernel.stop(`${label} was interrupted.`);
  const timer = timeout === undefined ? undefined : setTimeout(
    () => kernel.stop(`${label} did not end within ${timeout / 1000} s; it was stopped.`),
    timeout,
  );
  signal?.addEventListener("abort", abort);
  try {
    return await running;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

function errorOf(error: Error, label: string): ErrorOutput {
  const where = error instanceof CellSyntaxError ? [`    at ${label}, line ${error.line}`] : [];
  const ename = error instanceof CellSyntaxError ? "SyntaxError" : "Interrupted";
  return {
    output_type: "error",
    ename,
    evalue: error.message,
    traceback: [`${ename}: ${error.message}`, ...where],
  };
}

/** Expectations among outputs that were not met, in the words of their outputs. */
export function unmetIn(outputs: readonly Output[]): string[] {
  return outputs.flatMap((output) => {
    if (output.output_type !== "display_data") return [];
    const check = output.data["application/vnd.precis.check+json"] as { passed?: unknown } | undefined;
    return check && check.passed !== true ? [String(output.data["text/plain"] ?? "an expectation")] : [];
  });
}

async function conclude(
  notebook: Notebook,
  ran: RanCell[],
  models: Record<string, string>,
): Promise<NotebookRun> {
  const { lab } = notebook.metadata;
  const codeCells = notebook.cells.filter(isCode);
  const analysed = analyseCells(codeCells);
  const inputs = await inputRecords(analysed, dependencies(analysed), { ...lab, models });
  const run: CleanRun = {
    cells: ran.map(({ id, status, values, outputs }, i): CellRun => ({
      id,
      status,
      source: codeCells[i].source,
      inputs: inputs.get(id)!,
      values,
      outputs,
    })),
  };
  const byId = new Map(ran.map((cell) => [cell.id, cell]));
  const usedGpu = ran.some(({ gpuMilliseconds }) => gpuMilliseconds > 0);
  return {
    notebook: {
      ...notebook,
      metadata: {
        ...notebook.metadata,
        lab: { ...lab, models, ...(usedGpu && { kernels: await kernelsDigest() }) },
      },
      cells: notebook.cells.map((cell) => {
        const result = byId.get(cell.id);
        if (!isCode(cell) || !result || result.status === "skipped") return cell;
        const record = result.status === "ok"
          ? { inputs: inputs.get(cell.id)!, values: result.values }
          : { inputs: inputs.get(cell.id)! };
        return {
          ...cell,
          metadata: { ...cell.metadata, lab: record },
          outputs: result.outputs,
          execution_count: result.position,
        };
      }),
    },
    cells: ran,
    certificate: certificate(notebook, run),
    ok: ran.every(({ status, unmet }) => status === "ok" && unmet.length === 0),
    models,
  };
}
