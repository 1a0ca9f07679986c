/**
 * The `lab` of a notebook, as its cells see it: one object for all of them, everything on it asynchronous but random numbers, knobs and progress. The same
 * class serves in the page's frame, in the headless worker and in JupyterLab's kernel; what needs a device or data it asks of the host
 * (lab_object.ts), whichever way that is reached.
 *
 * Its methods, with their docstrings, are what the editor completes and explains: reference.ts is made from this file, lab_ops.ts and
 * handles.ts.
 */
import type { Comparison } from "../comparisons.ts";
import type { DemoPost } from "../demo/corpus.ts";
import type { GoldDetail } from "../demo/gold.ts";
import type { Derivation } from "../live/derivation.ts";
import type { Place, Quantity, Trace } from "../live/trace.ts";
import type { Post } from "../query.ts";
import type { Series } from "./chart_picture.ts";
import { check, checkBundle, type Expectation } from "./checks.ts";
import {
  chartBundle,
  display,
  jsonOf,
  type Knob,
  knobsBundle,
  markdownBundle,
  postBundle,
  stripBundle,
  type StripToken,
  tableBundle,
  tensorBundle,
  textBundle,
} from "./display.ts";
import { type DrawingOptions, handleKinds, Model, Tensor } from "./handles.ts";
import type { DisplayOutput, MimeBundle } from "./ipynb.ts";
import { Ops } from "./lab_ops.ts";
import type { Tier, Tolerance, ValueRecord } from "./records.ts";
import { textOf } from "./text_of.ts";
import type { Microscope, MicroscopeOptions, Trainer, TrainerOptions } from "./training.ts";
import { Caller, type Transport } from "./transport.ts";

/** What a running cell gives the lab. */
export interface CellContext {
  /** The cell's id. */
  cell: string;
  /** The notebook's: 32 bits. */
  seed: number;
  /** Values of knobs that a person has set, by name. */
  knobs: Readonly<Record<string, unknown>>;
  /** Shows an output, in the order of the calls, whenever it is ready. @returns what puts another in its place */
  show(output: DisplayOutput | Promise<DisplayOutput>): (other: DisplayOutput) => void;
  /** Keeps a proof of a value; see digests.ts. */
  record(value: ValueRecord): void;
  progress(done: number, total: number, note: string): void;
  /** The next number of one of the cell's streams. */
  random(stream: string): number;
}

/** Where the lab runs. */
export interface LabFacts {
  /** The device, as it names itself. */
  adapter: string;
  /** Whose WebGPU: "dawn", "native" (Deno's own) or "browser". */
  runtime: string;
  /** Whether shaders run on CPU cores. */
  software: boolean;
  vendor: string;
  driver: string;
  features: { f16: boolean; subgroups: boolean; timestamps: boolean };
  /** SHA-256 of all kernels. */
  kernels: string;
  versions: Record<string, string>;
  /** The notebook's. */
  seed: number;
}

/** A kernel of one's own; user_kernel.ts has the conventions of its text. */
export interface KernelDefinition {
  /** What errors and gradients call it. Default "kernel". */
  name?: string;
  /** WGSL with an entry point `main`; scalars in `struct Params` at binding 0; one storage binding a tensor, by name. */
  wgsl: string;
  /** Bound as `read`. */
  inputs?: Record<string, Tensor>;
  /** Bound as `read_write`, zeros at first. A shape, or { shape, dtype }. */
  outputs: Record<string, number[] | { shape: number[]; dtype?: "f32" | "u32" }>;
  /** A number for each field of Params. */
  params?: Record<string, number>;
  /** Values of pipeline-overridable constants. */
  overrides?: Record<string, number>;
  /** Workgroups in x, y, z; by default one invocation for each element of the first output. */
  workgroups?: number | number[];
  /** Its gradient: reads inputs, outputs and `d_<output>`, writes `d_<input>`, zeros at first. */
  gradient?: {
    wgsl: string;
    params?: Record<string, number>;
    overrides?: Record<string, number>;
    workgroups?: number | number[];
  };
}

type ReadAs = { json: unknown; text: string; bytes: Uint8Array };

export class Lab {
  /** Our kernels as operations on tensors. */
  readonly ops: Ops;
  private readonly caller: Caller;

  /** @param context the cell that is running: functions of an earlier cell show what they show where they are called */
  constructor(transport: Transport, private readonly context: () => CellContext) {
    this.caller = new Caller(transport, () => context().cell, handleKinds);
    this.ops = new Ops(this.caller);
  }

  private ask<T>(method: string, ...args: unknown[]): Promise<T> {
    return this.caller.call(0, method, args) as Promise<T>;
  }

  // ---- what there is ----

  /** The adapter, whose WebGPU it is, its features, the digest of all kernels, versions and the notebook's seed. */
  facts(): Promise<LabFacts> {
    return this.ask("facts");
  }

  /** Opens a model: "base", "sft", "reward" or "ppo" of the demo, a run's such as "runs/demo/models/ppo", or the address of a model folder. */
  model(place: string, onBytes?: (bytes: number) => void): Promise<Model> {
    return this.ask("model", place, onBytes);
  }

  /** The token ids of a text, by a model's tokenizer; that of "base" if none is named. */
  encode(text: string, place?: string): Promise<number[]> {
    return this.ask("encode", text, place);
  }

  /** The text of token ids, by a model's tokenizer; that of "base" if none is named. */
  decode(ids: number[] | Uint32Array, place?: string): Promise<string> {
    return this.ask("decode", ids, place);
  }

  /** The text that each single id stands for. */
  tokens(ids: number[] | Uint32Array, place?: string): Promise<string[]> {
    return this.ask("tokens", ids, place);
  }

  /** Posts of the demo's data with their human summaries and facts: rows `from` to `from + count` (10) of a split. */
  posts(
    split: "train" | "validation" | "test",
    options: { from?: number; count?: number } = {},
  ): Promise<DemoPost[]> {
    return this.ask("posts", split, options);
  }

  /** Comparisons of the demo's data: which of two summaries was preferred; rows `from` to `from + count` (10) of a split. */
  pairs(
    split: "train" | "valid1" | "valid2",
    options: { from?: number; count?: number } = {},
  ): Promise<Comparison[]> {
    return this.ask("pairs", split, options);
  }

  /** A file that ships with the notebooks, by its path below their folder: as "json" (by default), "text" or "bytes". */
  read<As extends keyof ReadAs = "json">(path: string, options: { as?: As } = {}): Promise<ReadAs[As]> {
    return this.ask("read", path, options);
  }

  /** Fetches an address, if whoever runs the notebook has granted its host ("network:example.org"). */
  fetch<As extends keyof ReadAs = "json">(address: string, options: { as?: As } = {}): Promise<ReadAs[As]> {
    return this.ask("fetch", address, options);
  }

  // ---- tensors ----

  /** Puts numbers on the device: nested lists, or a typed array with a shape. A Uint32Array becomes u32, all else f32. */
  tensor(
    values: number | number[] | number[][] | number[][][] | ArrayLike<number>,
    shape?: number[] | null,
    options: { name?: string } = {},
  ): Promise<Tensor> {
    return this.ask("tensor", values, shape ?? null, options);
  }

  /** Runs WGSL of one's own on tensors and returns its outputs by name; with a `gradient`, operations on them can be differentiated. */
  kernel(definition: KernelDefinition): Promise<Record<string, Tensor>> {
    return this.ask("kernel", definition);
  }

  /** Gradients of a loss, one number, with respect to tensors that it was computed from: one, a list or a record, and as such returned. */
  differentiate<Of extends Tensor | Tensor[] | Record<string, Tensor>>(loss: Tensor, of: Of): Promise<Of> {
    return this.ask("differentiate", loss, of);
  }

  /** What the notebook's tensors hold on the device: cell, kind, name and bytes of each. */
  memory(): Promise<{ cell: string; kind: string; name: string; bytes: number }[]> {
    return this.ask("memory");
  }

  // ---- training ----

  /**
   * A training stage, a step at a time, on the demo's data: "sft" from `base`, "reward" from the fine-tuned `base`, "ppo" from `policy` against
   * `reward`. Other options are fields of its configuration: { learningRate, batch, klCoef, … }; `steps` sets the schedule.
   */
  trainer(stage: "sft" | "reward" | "ppo", options: TrainerOptions = {}): Promise<Trainer> {
    return this.ask("trainer", stage, options);
  }

  /** One PPO update on a few episodes, every number of it shown; options are its networks, `posts`, and fields such as klCoef or lambda. */
  microscope(options: MicroscopeOptions = {}): Promise<Microscope> {
    return this.ask("microscope", options);
  }

  /** Where a number of a microscope's derivation comes from: formula, source, the formula with numbers, and the place of each of these. */
  trace(derivation: Derivation, at: Place): Promise<Trace> {
    return this.ask("trace", derivation, at);
  }

  /** What can be traced: names, symbols, formulas, sources. */
  quantities(): Promise<
    { name: Quantity; title: string; symbol: string; formula: string; source: string }[]
  > {
    return this.ask("quantities");
  }

  /** How good a summary of a demo post is by the demo's own rule, which no model sees: score and reasons. */
  gold(post: DemoPost | Post, summary: string): Promise<GoldDetail> {
    const { id, subreddit, title, post: body } = post;
    return this.ask("gold", { id, subreddit, title, post: body }, summary);
  }

  // ---- display ----

  /** Shows a value: a text, a tensor as a picture with its statistics, anything else as a console would. */
  async show(value: unknown, options: { caption?: string } = {}): Promise<void> {
    if (value instanceof Tensor) {
      const recorded = this.record(value.name, value);
      await this.put(value.view().then((view) => tensorBundle(value, view)), options.caption);
      await recorded;
      return;
    }
    await this.put(textBundle(typeof value === "string" ? value : textOf(value)), options.caption);
  }

  /** Shows a text as Markdown. */
  async markdown(text: string): Promise<void> {
    await this.put(markdownBundle(text));
  }

  /** Shows rows as a table; its columns are the fields, or those that are named. */
  async table(
    rows: readonly Record<string, unknown>[],
    options: { columns?: string[]; caption?: string } = {},
  ): Promise<void> {
    await this.put(tableBundle(rows, options.columns), options.caption);
  }

  /**
   * Shows curves: { name, x, y } each, x counted from 0 if left out; `y` is null where there is no value. `tolerance` is that of their proofs:
   * training drifts apart from one adapter to another.
   */
  async chart(
    series: readonly {
      name: string;
      x?: ArrayLike<number>;
      y: ArrayLike<number | null>;
      colour?: 1 | 2 | 3 | 4;
      points?: boolean;
    }[],
    options: {
      title?: string;
      xName?: string;
      unit?: string;
      caption?: string;
      tolerance?: Partial<Tolerance>;
    } = {},
  ): Promise<void> {
    const { caption, tolerance, ...rest } = options;
    const complete = series.map(({ x, y, ...one }): Series => ({
      ...one,
      x: Array.from(x ?? Array.from({ length: y.length }, (_, i) => i)),
      y: Array.from(y),
    }));
    await this.put(chartBundle(complete, rest), caption);
    for (const { name, y } of complete) {
      await this.record(
        name,
        Float64Array.from(y, (value) => value ?? NaN),
        tolerance && { tolerance },
      );
    }
  }

  /** Shows tokens in a row with numbers under each: { text, id, values: { logprob, kl, reward, … } }. */
  async strip(tokens: readonly StripToken[], options: { caption?: string } = {}): Promise<void> {
    await this.put(stripBundle(tokens), options.caption);
  }

  /** Shows a post, and the summary that each of the models writes of it, as it is written. */
  async post(
    post: Post & { summary?: string },
    options: DrawingOptions & { models?: (Model | string)[]; caption?: string } = {},
  ): Promise<{ model: string; text: string }[]> {
    const { models = [], caption, ...drawing } = options;
    const written: { model: string; text: string; done: boolean; tokens: StripToken[] }[] = [];
    const bundle = () => display(postBundle(post, written), caption);
    const replace = this.context().show(bundle());
    for (const one of models) {
      const model = typeof one === "string" ? await this.model(one) : one;
      const entry = { model: model.place, text: "", done: false, tokens: [] as StripToken[] };
      written.push(entry);
      const summary = await model.summarise(post, drawing, ({ id, text, logprob, entropy }) => {
        entry.text += text;
        entry.tokens.push({ id, text, values: { logprob, entropy } });
        replace(bundle());
      });
      entry.text = summary.text;
      entry.tokens = summary.tokens.map(({ id, text, logprob, entropy }) => ({
        id,
        text,
        values: { logprob, entropy },
      }));
      entry.done = true;
      replace(bundle());
      const margins = summary.tokens.map(({ margin }) => margin ?? NaN);
      await this.record(`summary of ${model.place}`, summary.tokens.map(({ id }) => id), {
        tier: "A",
        // Of drawn tokens there are none: what they hang on is a random number.
        ...(!margins.some(Number.isNaN) && { margins }),
      });
    }
    return written.map(({ model, text }) => ({ model, text }));
  }

  /** Knobs that the reader turns, { beta: { value, min, max, step } }: their current values, those given where nobody turns any. */
  knobs<K extends Record<string, Knob>>(knobs: K): { [Name in keyof K]: Widened<K[Name]["value"]> } {
    const values = Object.fromEntries(
      Object.entries(knobs).map(([name, knob]) => [name, knobValue(knob, this.context().knobs[name])]),
    );
    this.context().show(display(knobsBundle(knobs, values)));
    return values as { [Name in keyof K]: Widened<K[Name]["value"]> };
  }

  /** Tells the reader how far the cell is. */
  progress(done: number, total: number, note = ""): void {
    this.context().progress(done, total, note);
  }

  // ---- proof ----

  /** Expects a value, within a tolerance if one is given, and shows whether it is so. What fails here fails verification, not the cell. */
  async expect(
    name: string,
    found: unknown,
    expected: unknown,
    expectation: Expectation = {},
  ): Promise<boolean> {
    const values = (value: unknown) => value instanceof Tensor ? value.values() : Promise.resolve(value);
    const result = check(name, await values(found), await values(expected), expectation);
    await this.put(checkBundle(result));
    const value = found instanceof Tensor ? found : numbersOf(found);
    const numeric = value instanceof Tensor || ArrayBuffer.isView(value) || typeof value === "number";
    await this.record(
      name,
      value,
      numeric ? { tier: result.tier, tolerance: result.tolerance } : { tier: "A" },
    );
    return result.passed;
  }

  /**
   * Keeps a proof of a value in the notebook, for whoever runs it again. Tier A: the same everywhere; B, the default for what was computed:
   * the same bits on the same stack, within the tolerance elsewhere; C: within the tolerance. Lists and records of numbers that are given a
   * tolerance count as computed, all else that is no tensor and no number is of tier A. Of token ids that were chosen greedily,
   * `margins` are how far each one's logit was above the second best, as the tokens of `summarise` have it: where another adapter chooses
   * otherwise, it is told how near a choice that was.
   */
  async record(
    name: string,
    value: unknown,
    options: { tier?: Tier; tolerance?: Partial<Tolerance>; margins?: number[] } = {},
  ): Promise<void> {
    const given = options.tolerance ? numbersOf(listed(value)) : value;
    const held = given instanceof Tensor || ArrayBuffer.isView(given) ? given : jsonOf(given);
    const context = this.context();
    context.record(await this.ask("record", name, held, options));
  }

  // ---- chance ----

  /** The next random number in [0, 1): the cell's own stream, the same at every run, whatever other cells draw. */
  random(stream = ""): number {
    return this.context().random(stream);
  }

  private async put(bundle: MimeBundle | Promise<MimeBundle>, caption?: string): Promise<void> {
    const output = Promise.resolve(bundle).then((bundle) => display(bundle, caption));
    this.context().show(output);
    await output;
  }
}

/** Lists of numbers as such; all else as it is. */
function numbersOf(value: unknown): unknown {
  const numbers = Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === "number");
  return numbers ? Float64Array.from(value) : value;
}

/** What a record holds, in the order of its names; all else as it is. */
function listed(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) {
    return value;
  }
  return Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([, one]) => one);
}

type Widened<T> = T extends number ? number : T extends boolean ? boolean : string;

/** What a person has set, if the knob takes it. */
function knobValue(knob: Knob, set: unknown): number | boolean | string {
  if (typeof set !== typeof knob.value) return knob.value;
  if ("choices" in knob) return knob.choices.includes(set as string) ? set as string : knob.value;
  if ("min" in knob) return Math.min(knob.max, Math.max(knob.min, set as number));
  return set as boolean;
}
