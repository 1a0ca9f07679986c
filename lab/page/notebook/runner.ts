/** Runs a notebook's cells in order, and knows how each stands: what ran, what has become stale and why, what came out as before. */
import { transfer } from "comlink";
import { digestOfJson } from "../../bytes.ts";
import type { CellRun, Certificate } from "../../notebook/certify.ts";
import type { AnalysedCell, CellLinks } from "../../notebook/dependencies.ts";
import type { CompiledCell } from "../../notebook/cells.ts";
import { type Grant, mayImportFrom } from "../../notebook/grant.ts";
import type { Imports } from "../../notebook/import_graph.ts";
import { hostsOf } from "../../notebook/import_specifiers.ts";
import type { CodeCell, Notebook, Output } from "../../notebook/ipynb.ts";
import type { CellEvent } from "../../notebook/kernel.ts";
import { KernelStopped } from "../../notebook/kernel_link.ts";
import type { SentImports } from "../../notebook/module_link.ts";
import type { InputRecord, ValueRecord } from "../../notebook/records.ts";
import { EngineLost, sharedEngine } from "../engine.ts";
import { type RunningKernel, startKernel } from "./kernel_host.ts";
import type { OpenNotebook } from "./open_notebook.ts";

export interface CellState {
  status: "unrun" | "queued" | "running" | "fresh" | "stale" | "failed" | "verified" | "differs";
  /** What there is to say of the status: why it is stale, where it differs. */
  why: readonly string[];
  /** Where in its lines something is wrong. */
  faults: readonly { line: number; column?: number; said: string }[];
  milliseconds?: number;
  gpuMilliseconds?: number;
  /** While it runs: how far it says it is. */
  progress?: { done: number; total: number; note: string };
}

/** How the notebook stands as a whole. */
export interface Standing {
  word: "certified" | "differs" | "failed" | "edited" | "running" | "not run" | "run" | "stored";
  said: string;
  /** The cell that it is about. */
  at?: string;
}

/** The compiler and what it takes: 80 kB that the first sight of a notebook does without. */
const loadAnalysis = () => import("./analysis.ts");
type Analysis = Awaited<ReturnType<typeof loadAnalysis>>;

/** What a cell did in this page. */
interface Ran {
  inputs: InputRecord;
  values: ValueRecord[];
  milliseconds: number;
  gpuMilliseconds: number;
}

export class Runner {
  private analysis: Analysis | null = null;
  private cells: AnalysedCell[] = [];
  private links: CellLinks[] = [];
  /** Of every code cell as it is now; from the analysis. */
  private now = new Map<string, InputRecord>();
  private kernel: RunningKernel | null = null;
  private imports: Imports | null = null;
  /** Gives up on the modules that a cell waits for, if one does. */
  private stopFetching: (why: KernelStopped) => void = () => {};
  /** By cell, what it did since the page opened the notebook. */
  private readonly ran = new Map<string, Ran>();
  /** Cells whose names are in the kernel. */
  private readonly live = new Set<string>();
  private readonly faults = new Map<string, CellState["faults"]>();
  /** What the reader has set of the knobs of a cell, until all cells run anew. */
  private readonly knobs = new Map<string, Record<string, unknown>>();
  /** Cells that need one whose knobs were turned after they ran. */
  private readonly outdated = new Map<string, string>();
  private progress: CellState["progress"];
  private certified: Certificate | null = null;
  private queue: string[] = [];
  private running: string | null = null;
  private working: Promise<void> | null = null;
  private closed = false;
  /** Whether the GPU was not there, or went, for a cell of the last run of all. */
  private unanswered = false;
  private analysing: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param mayLock whether what a cell imports is looked for and locked as it runs; of a stranger's notebook nothing is fetched but
   * what its lock has
   * @param changed is told whenever a cell stands otherwise
   * @param trouble is told of what concerns the notebook as a whole: the kernel or the GPU is gone
   */
  constructor(
    readonly open: OpenNotebook,
    private readonly grant: () => Grant,
    private readonly mayLock: boolean,
    private readonly changed: () => void,
    private readonly trouble: (said: string, remedy?: "gpu") => void,
  ) {
    requestIdleCallback(() => this.analyse(), { timeout: 2000 });
  }

  get busy(): boolean {
    return this.working !== null;
  }

  /** Names that the cells before one define. */
  namesBefore(id: string): string[] {
    const at = this.cells.findIndex((cell) => cell.id === id);
    return [...new Set(this.cells.slice(0, Math.max(0, at)).flatMap(({ defines }) => defines))];
  }

  // ---- how it stands ----

  state(id: string): CellState {
    const cell = this.open.cell(id) as CodeCell;
    const { milliseconds, gpuMilliseconds, inputs: ran } = this.ran.get(id) ?? {};
    const is = (status: CellState["status"], why: readonly string[] = []): CellState => ({
      status,
      why,
      faults: this.faults.get(id) ?? [],
      milliseconds,
      gpuMilliseconds,
    });
    if (cell?.cell_type !== "code") return is("unrun");
    if (this.running === id) return { ...is("running"), progress: this.progress };
    if (this.queue.includes(id)) return is("queued");
    const now = this.now.get(id);
    if (!now || !this.analysis) return is(cell.outputs.length > 0 ? "fresh" : "unrun");
    const verdict = this.certified?.cells.find((one) => one.id === id);
    const { state, why } = this.analysis.cellState(cell, now, { ran, verdict: verdict?.verdict });
    if (state === "never run") return is("unrun");
    const outdated = this.outdated.get(id);
    if (outdated && state !== "stale" && state !== "failed") return is("stale", [outdated]);
    return is(state, state === "differs" && verdict ? [verdict.says.replace(/^cell \d+ |\.$/g, "")] : why);
  }

  standing(): Standing {
    const cells = this.open.codeCells;
    const position = (id: string) => cells.findIndex((cell) => cell.id === id) + 1;
    if (this.running) {
      return { word: "running", said: `cell ${position(this.running)} of ${cells.length}`, at: this.running };
    }
    if (this.working) return { word: "running", said: "the kernel is starting" };
    const states = cells.map(({ id }) => ({ id, ...this.state(id) }));
    const first = (status: CellState["status"]) => states.find((one) => one.status === status);
    const failed = first("failed"), stale = first("stale"), differs = first("differs");
    if (failed) return { word: "failed", said: `at cell ${position(failed.id)}`, at: failed.id };
    if (stale) {
      const count = states.filter(({ status }) => status === "stale").length;
      const said = `${count} ${count === 1 ? "cell is" : "cells are"} stale: not reproducible as it stands`;
      return { word: "edited", said, at: stale.id };
    }
    if (differs) {
      return { word: "differs", said: `at cell ${position(differs.id)}: ${differs.why[0]}`, at: differs.id };
    }
    if (this.certified?.certified) {
      return { word: "certified", said: this.certified.says.replace(/^Certified: /, "") };
    }
    const missing = states.filter(({ status }) => status === "unrun").length;
    if (missing > 0) {
      const said = missing === cells.length
        ? "Run all runs it from clean"
        : `${missing} of ${cells.length} cells have not run`;
      return { word: "not run", said };
    }
    if (cells.length === 0) return { word: "not run", said: "it has no code" };
    return this.ran.size > 0
      ? { word: "run", said: "cell by cell; Run all from clean certifies it" }
      : { word: "stored", said: "results as stored; Run all verifies them" };
  }

  /** What a run that differs gave becomes what is stored. */
  accept(id: string): void {
    const cell = this.open.cell(id), ran = this.ran.get(id);
    if (cell?.cell_type !== "code" || !ran) return;
    this.open.setOutputs(id, cell.outputs, cell.execution_count, { inputs: ran.inputs, values: ran.values });
    this.certified = null;
    this.changed();
  }

  // ---- analysis ----

  /** A cell was changed: after a moment, what depends on it is found anew. */
  edited(): void {
    const cells = this.open.codeCells;
    const same = this.certified?.cells.length === cells.length &&
      cells.every(({ id }, i) => this.certified!.cells[i].id === id);
    // What was verified still is, but for what an edit makes stale.
    if (!same) this.certified = null;
    clearTimeout(this.analysing);
    this.analysing = setTimeout(() => this.analyse(), 150);
  }

  private async analyse(): Promise<void> {
    this.analysis ??= await loadAnalysis();
    const { analyseCells, dependencies, inputRecords } = this.analysis;
    const { codeCells, notebook: { metadata: { lab } } } = this.open;
    const cells = analyseCells(codeCells), links = dependencies(cells);
    const { seed, imports, models, datasets } = lab;
    this.now = await inputRecords(cells, links, { seed, imports, models, datasets });
    [this.cells, this.links] = [cells, links];
    for (const { id, error } of cells) {
      if (error) this.faults.set(id, [{ line: error.line, column: error.column, said: error.what }]);
      else if (this.faults.get(id)?.some(({ column }) => column !== undefined)) this.faults.delete(id);
    }
    if (!this.closed) this.changed();
  }

  // ---- running ----

  /** Runs cells in the order of the document, and before them those whose names they need and the kernel does not have. */
  async run(ids: readonly string[]): Promise<void> {
    await this.analyse();
    const wanted = new Set(ids);
    const need = (id: string) => {
      for (const one of this.links.find((link) => link.id === id)?.needs ?? []) {
        if (this.live.has(one) || wanted.has(one)) continue;
        wanted.add(one);
        need(one);
      }
    };
    ids.forEach(need);
    const order = this.open.codeCells.map(({ id }) => id);
    this.queue = order.filter((id) => wanted.has(id) || this.queue.includes(id));
    this.start(() => this.work());
  }

  /** Runs all cells from a clean kernel, and holds what comes out against what is stored. */
  runAll(): void {
    if (this.working) return;
    this.start(async () => {
      const stored = withoutFailures(this.open.notebook);
      this.endKernel("All cells run anew.");
      this.knobs.clear();
      this.certified = null;
      await this.analyse();
      this.queue = this.open.codeCells.map(({ id }) => id);
      this.unanswered = false;
      const runs = await this.work();
      // Of a run that the GPU was not there for, nothing can be said.
      if (this.closed || this.unanswered) return;
      await this.analyse();
      const verdict = this.analysis!.certificate(stored, { cells: runs });
      this.settle(stored, verdict);
      this.certified = verdict;
    });
  }

  /** Of what came out as it was, the file keeps what it had; of what differs, the proof that it differs from. */
  private settle(stored: Notebook, { cells }: Certificate): void {
    for (const { id, verdict } of cells) {
      const before = stored.cells.find((cell) => cell.id === id), now = this.open.cell(id);
      if (before?.cell_type !== "code" || now?.cell_type !== "code") continue;
      if (verdict === "verified") this.open.setOutputs(id, before.outputs, now.execution_count, keep(before));
      else if (verdict === "differs") {
        this.open.setOutputs(id, now.outputs, now.execution_count, keep(before));
      }
    }
    function keep({ id, metadata }: CodeCell) {
      return metadata.lab ?? (stored.cells.find((cell) => cell.id === id) as CodeCell).metadata.lab;
    }
  }

  private start(work: () => Promise<unknown>): void {
    if (this.working) return;
    this.working = work().then(() => {}, (error) => this.fail(error)).finally(() => {
      this.working = null;
      this.queue = [];
      if (!this.closed) this.changed();
    });
    this.changed();
  }

  private fail(error: unknown): void {
    const { message } = error as Error;
    if (error instanceof EngineLost) {
      this.endKernel(message);
      this.trouble(`${message} The kernel ended with it; what is on show stays.`, "gpu");
    } else this.trouble(message);
  }

  /** Works the queue off; a cell that fails ends it. */
  private async work(): Promise<CellRun[]> {
    const runs: CellRun[] = [];
    while (this.queue.length > 0) {
      const [id] = this.queue;
      this.queue = this.queue.slice(1);
      const run = await this.runOne(id);
      if (run) runs.push(run);
      if (run?.status === "failed") break;
    }
    return runs;
  }

  private async runOne(id: string): Promise<CellRun | null> {
    const cell = this.open.cell(id);
    if (cell?.cell_type !== "code") return null;
    const { compileCell, CellSyntaxError } = this.analysis!;
    const position = this.open.codeCells.indexOf(cell) + 1;
    let inputs = await this.inputsOf(id);
    const run: CellRun = { id, source: cell.source, inputs, status: "failed", values: [], outputs: [] };
    const { seed } = this.open.notebook.metadata.lab;
    const before = cell.outputs;
    let lost = false;
    this.running = id;
    this.progress = undefined;
    this.faults.delete(id);
    this.outdated.delete(id);
    if (this.certified) {
      const cells = this.certified.cells.map((one) =>
        one.id === id ? { ...one, verdict: "unproven" as const } : one
      );
      this.certified = { ...this.certified, cells, certified: false };
    }
    this.changed();
    const heard = (event: CellEvent) => {
      if (this.running !== id) return;
      if ("progress" in event) this.progress = event.progress;
      else cell.outputs = run.outputs = event.outputs;
      this.changed();
    };
    try {
      const compiled = compileCell(cell.source);
      const imports = await this.importsOf(compiled);
      if (imports) run.inputs = inputs = await this.inputsOf(id);
      const kernel = await this.startedKernel();
      const engine = sharedEngine();
      const request = { id, compiled, seed, label: `cell ${position}`, knobs: this.knobs.get(id), imports };
      const { status, milliseconds, outputs, values } = await engine.unlessLost(kernel.run(request, heard));
      Object.assign(run, { status: status === "ok" ? "ok" : "failed", outputs, values });
      const error = outputs.find((one) => one.output_type === "error");
      if (error?.ename === "NoGpuError" && before.length > 0) {
        this.trouble(`${error.evalue} Cell ${position} could not run; what is stored of it stays.`);
        lost = true;
        return run;
      }
      if (status === "ok") this.live.add(id);
      else this.faults.set(id, faultsIn(outputs));
      const gpuMilliseconds = await engine.unlessLost(engine.lab.notebook.gpuMilliseconds(id));
      this.ran.set(id, { inputs, values, milliseconds, gpuMilliseconds });
    } catch (error) {
      const { name, message } = error as Error;
      run.outputs = [...run.outputs, { output_type: "error", ename: name, evalue: message, traceback: [] }];
      if (error instanceof CellSyntaxError) {
        this.faults.set(id, [{ line: error.line, column: error.column, said: error.what }]);
      } else if (!(error instanceof KernelStopped)) {
        this.endKernel(message);
        this.fail(error);
        lost = true;
      }
    } finally {
      this.running = null;
      const { outputs, values } = run;
      // Where the GPU went, what the cell had put out before is worth more than half of what it would have put out now.
      this.unanswered ||= lost;
      if (lost) cell.outputs = before;
      else {this.open.setOutputs(id, [...outputs], position, {
          inputs,
          ...(values.length > 0 && { values: [...values] }),
        });}
    }
    return run;
  }

  /** What a cell imports, fetched here and not where it runs; what was not locked is locked now, if that may be. */
  private async importsOf({ imports }: CompiledCell): Promise<SentImports | undefined> {
    if (imports.every(({ specifier }) => specifier === "precis")) return undefined;
    const { Imports, pageModules } = this.analysis!;
    this.imports ??= new Imports(pageModules, {
      mayFetch: (host) => mayImportFrom(this.grant(), host),
      progress: (done, total, specifier) => {
        this.progress = { done, total, note: `modules of ${specifier}` };
        this.changed();
      },
    });
    const { metadata } = this.open.notebook;
    const interrupted = new Promise<never>((_, reject) => this.stopFetching = reject);
    const prepared = this.imports.prepare(imports, metadata.lab.imports, this.mayLock);
    const { sent, locked } = await Promise.race([prepared, interrupted]);
    this.progress = undefined;
    if (Object.keys(locked).length > 0 && !this.closed) {
      this.open.setMetadata({ lab: { ...metadata.lab, imports: { ...metadata.lab.imports, ...locked } } });
      await this.analyse();
      const hosts = hostsOf(locked).join(", ");
      this.trouble(
        `${Object.keys(locked).join(", ")}: fetched from ${hosts}, and locked in the notebook as it is now.`,
      );
    }
    return sent;
  }

  /** Knobs of a cell were turned: it runs again with them, and what needs it is marked. */
  turn(id: string, values: Record<string, unknown>): void {
    this.knobs.set(id, { ...this.knobs.get(id), ...values });
    const position = this.open.codeCells.findIndex((cell) => cell.id === id) + 1;
    for (const one of this.analysis?.staleAfter(this.links, [id]) ?? []) {
      if (one !== id && this.ran.has(one)) this.outdated.set(one, `a knob of cell ${position} was turned`);
    }
    this.run([id]);
  }

  /** What a cell runs with: of the cells that it needs, what they ran with, which may not be what they say now. */
  private async inputsOf(id: string): Promise<InputRecord> {
    const now = this.now.get(id)!;
    const needs: Record<string, string> = {};
    for (const one of Object.keys(now.needs)) {
      const ran = this.live.has(one) ? this.ran.get(one) : undefined;
      needs[one] = ran ? await digestOfJson(ran.inputs) : now.needs[one];
    }
    return { ...now, needs };
  }

  // ---- the kernel ----

  private async startedKernel(): Promise<RunningKernel> {
    if (this.kernel) return this.kernel;
    const { seed } = this.open.notebook.metadata.lab;
    const engine = sharedEngine();
    const { port1, port2 } = new MessageChannel();
    await engine.unlessLost(
      engine.lab.notebook.open(transfer(port1, [port1]), { seed, grant: this.grant() }),
    );
    const kernel = this.kernel = await startKernel(port2);
    kernel.ended.then((why) => {
      if (this.kernel !== kernel) return;
      this.forgetKernel();
      this.trouble(`${why} What cells had defined is gone; what they put out is kept.`);
    });
    return kernel;
  }

  private forgetKernel(): void {
    this.kernel = null;
    this.live.clear();
    this.queue = [];
    this.changed();
  }

  private endKernel(why: string): void {
    const { kernel } = this;
    this.stopFetching(new KernelStopped(why));
    if (!kernel) return;
    this.forgetKernel();
    kernel.end(why);
  }

  /** Ends whatever runs, at once; what cells had defined is gone. */
  interrupt(): void {
    const busy = this.working !== null;
    this.endKernel("Interrupted.");
    this.queue = [];
    if (busy) {
      this.trouble(
        "Interrupted. What cells had defined is gone; a cell that runs now runs what it needs first.",
      );
    }
    this.settleGpu();
  }

  restart(): void {
    this.interrupt();
    this.trouble("The kernel is new: no cell has defined anything in it yet.");
  }

  /** A GPU that goes on with what nobody waits for any more is shut down. */
  private async settleGpu(): Promise<void> {
    const engine = sharedEngine();
    const late = Symbol();
    const waited = await Promise.race([
      engine.lab.notebook.close().catch(() => {}),
      new Promise((resolve) => setTimeout(resolve, 8000, late)),
    ]);
    if (waited !== late) return;
    engine.stop();
    this.trouble(
      "The GPU did not come to an end with what the notebook had begun, and was shut down; the next run starts it again.",
    );
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.analysing);
    this.endKernel("The notebook was closed.");
  }
}

/** A copy of a notebook in which cells that failed have put out nothing: that they fail no more is no difference. */
function withoutFailures(notebook: Notebook): Notebook {
  const copy = structuredClone(notebook);
  for (const cell of copy.cells) {
    if (cell.cell_type !== "code" || !cell.outputs.some(({ output_type }) => output_type === "error")) {
      continue;
    }
    Object.assign(cell, { outputs: [], execution_count: null });
    delete cell.metadata.lab;
  }
  return copy;
}

/** The lines of the cell that an error's trace names. */
function faultsIn(outputs: readonly Output[]): CellState["faults"] {
  return outputs.flatMap((output) => {
    if (output.output_type !== "error") return [];
    const line = /, line (\d+)/.exec(output.traceback.join("\n"));
    return line ? [{ line: Number(line[1]), said: `${output.ename}: ${output.evalue}` }] : [];
  });
}
