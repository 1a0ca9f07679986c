/**
 * The kernel: runs compiled cells one after the other in a realm of their own, keeps what they define for the cells after them, and sends
 * what they put out. It knows neither Deno nor the DOM: it runs in the page's sandboxed frame, in the headless worker without permissions,
 * and in tests.
 *
 *     startKernel(control: Port, lab: Transport): void      in the realm, after sealRealm() (sandbox.ts) if the cells are a stranger's
 *
 * and at the other end of `control` connectKernel(control) (kernel_link.ts). The lab is called over `overPort(port)` (transport.ts), which
 * `serveLab(port, labObject(…))` (wire.ts, lab_object.ts) answers wherever the device is.
 */
import { type CellImporter, define, instantiateCell, newScope, type Scope } from "./cell_function.ts";
import type { CompiledCell } from "./cells.ts";
import { display, jsonOf } from "./display.ts";
import { ImportError } from "./import_specifiers.ts";
import { Tensor } from "./handles.ts";
import type { DisplayOutput, MimeBundle, Output } from "./ipynb.ts";
import { type CellContext, Lab } from "./lab.ts";
import { Modules, type Namespace, type SentImports } from "./module_link.ts";
import { cellConsole } from "./cell_console.ts";
import { collectOutputs, errorOutput } from "./outputs.ts";
import { randomStream } from "./random_stream.ts";
import type { ValueRecord } from "./records.ts";
import { textOf } from "./text_of.ts";
import type { Transport } from "./transport.ts";
import type { Port } from "./wire.ts";

/** A cell to run. */
export interface RunRequest {
  /** The cell's id. */
  id: string;
  compiled: CompiledCell;
  /** The notebook's: 32 bits. */
  seed: number;
  /** What errors call the cell: "cell 3". */
  label?: string;
  /** Values of knobs that a person has set. */
  knobs?: Record<string, unknown>;
  /** What its imports stand for, "precis" aside. */
  imports?: SentImports;
}

/** What came of a cell. */
export interface CellResult {
  status: "ok" | "error";
  milliseconds: number;
  outputs: Output[];
  /** Proofs of what it made, in order. */
  values: ValueRecord[];
}

/** While a cell runs: all of its outputs so far, or how far it says it is. */
export type CellEvent =
  | { outputs: Output[] }
  | { progress: { done: number; total: number; note: string } };

/** Messages of a kernel. */
export type KernelMessage =
  | { ready: true }
  | { event: number; told: CellEvent }
  | { ran: number; result: CellResult };

/** Between two tellings of a cell's outputs, and of how far it is, milliseconds. */
const tellEvery = 100, progressEvery = 40;

/** Proofs that a cell may keep. */
const mostValues = 200;

/** Serves a port: runs the cells that it is sent, in order, and calls the lab over the transport. */
export function startKernel(control: Port, lab: Transport): void {
  const realm = new Realm(lab);
  let last: Promise<unknown> = Promise.resolve();
  control.onmessage = ({ data }) => {
    const { run, request } = data as { run: number; request: RunRequest };
    last = last.then(async () => {
      const tell = (told: CellEvent) => control.postMessage({ event: run, told } satisfies KernelMessage);
      const result = await realm.run(request, tell);
      control.postMessage({ ran: run, result } satisfies KernelMessage);
    });
  };
  control.postMessage({ ready: true } satisfies KernelMessage);
}

/** Where cells run: their scope, and what each of them is given. */
export class Realm {
  private scope: Scope = newScope();
  private readonly labels = new Map<string, string>();
  private readonly modules = new Modules();
  /** What cells hold with `using`, by cell. */
  private readonly held = new Map<string, unknown[]>();
  /** The cell that is running, or the last that did. */
  private current: CellRun = new CellRun({ id: "none", seed: 0 }, new Map(), () => {});
  /** Given to every cell: whatever calls them, a function of an earlier cell perhaps, speaks for the cell that is running. */
  private readonly lab: Lab;
  private readonly console = cellConsole((name, text) =>
    this.current.put({ output_type: "stream", name, text })
  );

  constructor(private readonly transport: Transport) {
    this.lab = new Lab(transport, () => this.current);
    Math.random = () => this.current.random("Math.random");
    const world = globalThis as unknown as EventTarget;
    for (const kind of ["unhandledrejection", "error"]) {
      world.addEventListener?.(kind, (event) => {
        const { reason, error } = event as Event & { reason?: unknown; error?: unknown };
        event.preventDefault();
        this.current.strayError(reason ?? error);
      });
    }
  }

  /** Runs a cell; never rejects. */
  async run(request: RunRequest, tell: (event: CellEvent) => void): Promise<CellResult> {
    const { id, compiled, label = "this cell" } = request;
    const start = performance.now();
    const sourceName = `cell-${id}`;
    this.labels.set(sourceName, label);
    const cell = this.current = new CellRun(request, this.labels, tell);
    let status: CellResult["status"] = "ok";
    try {
      await this.dispose(id);
      await this.transport.call({ cell: id, to: 0, method: "begin", args: [] }, () => {});
      const run = instantiateCell(compiled.code, sourceName);
      const imports = this.importsOf(request);
      const { value, defined } = await run(this.scope, this.lab, this.display, this.console, imports);
      define(this.scope, defined);
      this.held.set(id, compiled.disposes.map((name) => defined[name]));
      await this.showResult(value);
    } catch (error) {
      status = "error";
      cell.fail(error);
    }
    if (!await cell.settle()) status = "error";
    const milliseconds = performance.now() - start;
    const { outputs, values } = cell.finish();
    if (status === "ok" && values.length === 0 && outputs.length > 0) {
      const request = { cell: id, to: 0, method: "words", args: [wordsOf(outputs)] };
      const proof = await this.transport.call(request, () => {}).catch(() => null);
      if (proof) values.push(proof as ValueRecord);
    }
    return { status, milliseconds, outputs, values };
  }

  /** What a cell calls as `display(value)`. */
  private readonly display = async (value: unknown): Promise<void> => {
    if (value instanceof Tensor) return await this.lab.show(value);
    const plain = () => ({ "text/plain": typeof value === "string" ? value : textOf(value) });
    const output = bundleOf(value).then((bundle) => display(bundle ?? plain()));
    this.current.show(output);
    await output;
  };

  /** Imports of a cell, static and dynamic: the kernel supplies "precis", the host has sent what the notebook's lock has, and there is no more. */
  private importsOf({ compiled, imports = { specifiers: [], modules: [] } }: RunRequest): CellImporter {
    this.modules.add(imports.modules);
    return async (asked, options) => {
      const specifier = String(asked);
      if (specifier === "precis") return { lab: this.lab, default: this.lab };
      const sent = imports.specifiers.find((one) => one.specifier === specifier);
      if (sent?.error !== undefined) throw new ImportError(sent.error);
      if (sent?.address === undefined) {
        throw new ImportError(
          `There is no "${
            specifier.slice(0, 200)
          }" here: what a cell imports is in the notebook's import lock, and written out in the cell.`,
        );
      }
      if (options?.with) {
        throw new ImportError(`"${specifier}" is JavaScript; nothing can be imported as something else.`);
      }
      const namespace = await this.modules.import(sent.address, specifier);
      for (const { names } of compiled.imports.filter((one) => one.specifier === specifier)) {
        mustHave(namespace, names, specifier);
      }
      return namespace;
    };
  }

  /** The value of the cell's last expression. */
  private async showResult(value: unknown): Promise<void> {
    if (value === undefined) return;
    if (value instanceof Tensor) await this.lab.record(value.name, value);
    const data = await bundleOf(value) ?? { "text/plain": textOf(value) };
    this.current.put({ output_type: "execute_result", data, metadata: {}, execution_count: null });
  }

  private async dispose(id: string): Promise<void> {
    const held = this.held.get(id) ?? [];
    this.held.delete(id);
    for (const one of held.toReversed()) {
      const { [Symbol.asyncDispose]: later, [Symbol.dispose]: now } = (one ?? {}) as
        & AsyncDisposable
        & Disposable;
      await (later ?? now)?.call(one as AsyncDisposable & Disposable);
    }
  }
}

/** One run of one cell: what it puts out and draws by chance. */
class CellRun implements CellContext {
  readonly cell: string;
  readonly seed: number;
  readonly knobs: Readonly<Record<string, unknown>>;
  private readonly collector = collectOutputs();
  /** Outputs in the order in which they were asked for; later ones wait for those before them. */
  private readonly waiting: {
    ready?: Output;
    failed?: boolean;
    kept: (place: number | undefined) => void;
  }[] = [];
  private readonly pending = new Set<Promise<unknown>>();
  private readonly values: ValueRecord[] = [];
  private readonly streams = new Map<string, () => number>();
  private told = 0;
  private toldProgress = -Infinity;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private over = false;
  private failure: unknown;

  constructor(
    { id, seed, knobs = {} }: Pick<RunRequest, "id" | "seed" | "knobs">,
    private readonly labels: ReadonlyMap<string, string>,
    private readonly tell: (event: CellEvent) => void,
  ) {
    this.cell = id;
    this.seed = seed;
    this.knobs = knobs;
  }

  record(value: ValueRecord): void {
    if (this.values.length < mostValues) this.values.push(value);
  }

  progress(done: number, total: number, note: string): void {
    const now = performance.now();
    if (this.over || now < this.toldProgress + progressEvery) return;
    this.toldProgress = now;
    this.tell({ progress: { done: Number(done), total: Number(total), note: String(note) } });
  }

  random(stream: string): number {
    let next = this.streams.get(stream);
    if (!next) this.streams.set(stream, next = randomStream(this.seed, this.cell, stream));
    return next();
  }

  fail(error: unknown): void {
    this.put(errorOutput(errorOf(error), this.labels));
  }

  /** An error that no `await` of the cell has caught. */
  strayError(error: unknown): void {
    if (this.over) return;
    this.failure ??= error;
  }

  /** Waits for what the cell left running without awaiting it. @returns whether nothing of that failed */
  async settle(): Promise<boolean> {
    while (this.pending.size > 0) await Promise.allSettled([...this.pending]);
    // A rejection that nobody handles is told of a little later.
    await new Promise((resolve) => setTimeout(resolve, 0));
    if (this.failure === undefined) return true;
    this.fail(this.failure);
    return false;
  }

  finish(): { outputs: Output[]; values: ValueRecord[] } {
    this.over = true;
    clearTimeout(this.timer);
    return { outputs: this.collector.list(), values: this.values };
  }

  put(output: Output): void {
    this.waiting.push({ ready: output, kept: () => {} });
    this.drain();
  }

  show(output: DisplayOutput | Promise<DisplayOutput>): (other: DisplayOutput) => void {
    let place: number | undefined;
    let latest: DisplayOutput | undefined;
    const slot: CellRun["waiting"][number] = {
      kept: (at) => {
        place = at;
        if (latest && place !== undefined) this.collector.replace(place, latest);
      },
    };
    this.waiting.push(slot);
    if (output instanceof Promise) {
      const settled = output.then(
        (ready) => slot.ready = ready,
        () => slot.failed = true,
      ).finally(() => {
        this.pending.delete(settled);
        this.drain();
      });
      this.pending.add(settled);
    } else {
      slot.ready = output;
      this.drain();
    }
    return (other) => {
      latest = other;
      if (place === undefined || this.over) return;
      this.collector.replace(place, other);
      this.tellSoon();
    };
  }

  private drain(): void {
    if (this.over) return;
    while (this.waiting.length > 0 && (this.waiting[0].ready || this.waiting[0].failed)) {
      const { ready, kept } = this.waiting.shift()!;
      if (ready) kept(this.collector.add(ready));
    }
    this.tellSoon();
  }

  private tellSoon(): void {
    if (this.timer !== undefined || this.over) return;
    const wait = Math.max(0, this.told + tellEvery - performance.now());
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.told = performance.now();
      if (!this.over) this.tell({ outputs: this.collector.list() });
    }, wait);
  }
}

/** @throws ImportError where a module does not export what is taken of it */
function mustHave(namespace: Namespace, names: readonly string[], specifier: string): void {
  const missing = names.find((name) => name !== "*" && !Object.hasOwn(namespace, name));
  if (missing === undefined) return;
  const exported = Object.keys(namespace);
  const listed = exported.slice(0, 12).join(", ") +
    (exported.length > 12 ? ` and ${exported.length - 12} more` : "");
  throw new ImportError(`"${specifier}" exports no "${missing}"; it exports ${listed || "nothing"}.`);
}

/** What of outputs a reader reads. */
function wordsOf(outputs: readonly Output[]): string {
  return outputs.map((output) =>
    output.output_type === "stream"
      ? output.text
      : output.output_type === "error"
      ? output.evalue
      : String(output.data["text/plain"] ?? "")
  ).join("\n");
}

/** What an object says of itself for Jupyter. */
async function bundleOf(value: unknown): Promise<MimeBundle | undefined> {
  if (typeof value !== "object" || value === null) return undefined;
  const own = (value as Record<symbol, unknown>)[Symbol.for("Jupyter.display")];
  if (typeof own !== "function") return undefined;
  const bundle = jsonOf(await own.call(value));
  return typeof bundle === "object" && !Array.isArray(bundle) ? bundle as MimeBundle : undefined;
}

function errorOf(error: unknown): { name: string; message: string; stack?: string } {
  if (error instanceof Error) return error;
  return { name: "Error", message: `A cell threw ${textOf(error, 500)}` };
}
