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
import { Tensor } from "./handles.ts";
import type { DisplayOutput, MimeBundle, Output } from "./ipynb.ts";
import { Lab } from "./lab.ts";
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

/** Between two tellings of a cell's outputs, milliseconds. */
const tellEvery = 100;

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
  /** What cells hold with `using`, by cell. */
  private readonly held = new Map<string, unknown[]>();
  private current: CellRun | null = null;

  constructor(private readonly lab: Transport) {
    Math.random = () => this.current ? this.current.random() : 0.5;
    const world = globalThis as unknown as EventTarget;
    for (const kind of ["unhandledrejection", "error"]) {
      world.addEventListener?.(kind, (event) => {
        const { reason, error } = event as Event & { reason?: unknown; error?: unknown };
        event.preventDefault();
        this.current?.strayError(reason ?? error);
      });
    }
  }

  /** Runs a cell; never rejects. */
  async run(request: RunRequest, tell: (event: CellEvent) => void): Promise<CellResult> {
    const { id, compiled, label = "this cell" } = request;
    const start = performance.now();
    const sourceName = `cell-${id}`;
    this.labels.set(sourceName, label);
    const cell = this.current = new CellRun(request, this.lab, this.labels, tell);
    let status: CellResult["status"] = "ok";
    try {
      await this.dispose(id);
      await this.lab.call({ cell: id, to: 0, method: "begin", args: [] }, () => {});
      const run = instantiateCell(compiled.code, sourceName);
      const { value, defined } = await run(this.scope, cell.lab, cell.display, cell.console, cell.imports);
      define(this.scope, defined);
      this.held.set(id, compiled.disposes.map((name) => defined[name]));
      await cell.showResult(value);
    } catch (error) {
      status = "error";
      cell.fail(error);
    }
    if (!await cell.settle()) status = "error";
    return { status, milliseconds: performance.now() - start, ...cell.finish() };
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

/** One run of one cell: what it is given, and what it puts out. */
class CellRun {
  readonly lab: Lab;
  readonly console: Console;
  readonly random: () => number;
  private readonly collector = collectOutputs();
  /** Outputs in the order in which they were asked for; later ones wait for those before them. */
  private readonly waiting: {
    ready?: Output;
    failed?: boolean;
    kept: (place: number | undefined) => void;
  }[] = [];
  private readonly pending = new Set<Promise<unknown>>();
  private readonly values: ValueRecord[] = [];
  private told = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private over = false;
  private failure: unknown;

  constructor(
    { id, seed, knobs = {} }: RunRequest,
    lab: Transport,
    private readonly labels: ReadonlyMap<string, string>,
    private readonly tell: (event: CellEvent) => void,
  ) {
    this.random = randomStream(seed, id, "Math.random");
    this.console = cellConsole((name, text) => this.put({ output_type: "stream", name, text }));
    this.lab = new Lab(lab, {
      cell: id,
      seed,
      knobs,
      show: (output) => this.show(output),
      record: (value) => {
        if (this.values.length < mostValues) this.values.push(value);
      },
      progress: (done, total, note) => {
        if (!this.over) {
          this.tell({ progress: { done: Number(done), total: Number(total), note: String(note) } });
        }
      },
    });
  }

  /** What a cell calls as `display(value)`. */
  readonly display = async (value: unknown): Promise<void> => {
    if (value instanceof Tensor) return await this.lab.show(value);
    const bundle = await bundleOf(value);
    this.put(display(bundle ?? { "text/plain": typeof value === "string" ? value : textOf(value) }));
  };

  /** Imports, static and dynamic: the kernel supplies "precis", and nothing else is to be had. */
  readonly imports: CellImporter = (specifier) => {
    if (specifier === "precis") return Promise.resolve({ lab: this.lab, default: this.lab });
    return Promise.reject(
      new Error(`There is no "${specifier}" here: a cell can import "precis", which all else comes with.`),
    );
  };

  /** The value of the cell's last expression. */
  async showResult(value: unknown): Promise<void> {
    if (value === undefined) return;
    if (value instanceof Tensor) return await this.lab.show(value);
    const data = await bundleOf(value) ?? { "text/plain": textOf(value) };
    this.put({ output_type: "execute_result", data, metadata: {}, execution_count: null });
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

  private put(output: Output): void {
    this.waiting.push({ ready: output, kept: () => {} });
    this.drain();
  }

  private show(output: DisplayOutput | Promise<DisplayOutput>): (other: DisplayOutput) => void {
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
