/** The worker that owns the GPU. The page speaks to it over comlink, with whatever `Lab` offers; models come over HTTP. */
import { expose, type ProxyMarked } from "comlink";
import { type DeviceFacts, openDevice } from "../../kernels/device.ts";
import { Gpu } from "../../kernels/gpu.ts";
import { DamagedFileError, type Files } from "../bytes.ts";
import { type Config, presetConfig } from "../config.ts";
import type { Post } from "../query.ts";
import { loadQwen2, type Qwen2 } from "../qwen2.ts";
import { readStartedRun } from "../run_record.ts";
import {
  type Drawing,
  drawingOptions,
  rateSummary,
  type ShownToken,
  summarise,
  type Writer,
  type Written,
} from "../summarise.ts";
import { loadTokenizer, type Tokenizer } from "../tokenizer.ts";
import { rate, type RatedToken, write } from "../writing.ts";
import { httpFiles } from "./http_files.ts";

/** What opening took. */
export interface Opened {
  facts: DeviceFacts;
  /** Bytes that came over the network, weights and tokenizer. */
  bytes: number;
  milliseconds: number;
  model: { url: string; parameters: number; layers: number; vocabulary: number };
}

/** A result and the time that the engine took for it. */
export interface Timed extends Written {
  milliseconds: number;
}

/** A function of the page's, passed with comlink's `proxy`. */
type Callback<T> = ((value: T) => void) & ProxyMarked;

/** A model on the device, with what belongs to it. */
interface Loaded {
  gpu: Gpu;
  model: Qwen2;
  opened: Opened;
  /** Throws where the folder has none: such a model, somebody's test model perhaps, can be spoken to in ids alone. */
  tokenizer: () => Promise<Tokenizer>;
  configuration: () => Promise<Config>;
}

let loading: Promise<Loaded> | null = null;

function loaded(): Promise<Loaded> {
  if (!loading) throw new Error("No model has been opened.");
  return loading;
}

/** What the page may ask for. */
const lab = {
  /**
   * Opens the GPU and a model folder; afterwards, tells again what that took.
   * @param url absolute
   * @param received is told how many bytes have come
   */
  async open(url: string, received: Callback<number>): Promise<Opened> {
    loading ??= load(url, received);
    try {
      return (await loading).opened;
    } catch (error) {
      loading = null;
      throw error;
    }
  },

  /** Resolves once the device is lost, with the reason. */
  async lost(): Promise<string> {
    return (await (await loaded()).gpu.device.lost).message || "no reason was given";
  },

  /** Writes a summary; every token is told as soon as it is there. */
  async summarise(post: Post, drawing: Drawing, onToken: Callback<ShownToken>): Promise<Timed> {
    return await timed(async (writer) => await summarise(writer, post, drawing, onToken));
  },

  /** What the model makes of somebody else's summary. */
  async rate(post: Post, summary: string): Promise<Timed> {
    return await timed(async (writer) => await rateSummary(writer, post, summary));
  },

  /** Goes on from ids, exactly so many tokens. */
  async writeIds(prompt: number[], count: number, drawing: Drawing): Promise<RatedToken[]> {
    const { gpu, model } = await loaded();
    return await Array.fromAsync(
      write(gpu, model, prompt, { ...drawingOptions(drawing), responseLength: count }),
    );
  },

  /** What the model makes of ids, from the second on. */
  async rateIds([first, ...rest]: number[]): Promise<RatedToken[]> {
    const { gpu, model } = await loaded();
    return await rate(gpu, model, [first], rest);
  },
};

export type Lab = typeof lab;

async function load(url: string, received: (bytes: number) => void): Promise<Loaded> {
  const start = performance.now();
  let bytes = 0;
  const files = httpFiles(url, (count) => received(bytes += count));
  const gpu = await openBrowserGpu();
  try {
    const model = await loadQwen2(gpu, files, "", "model");
    if (model.config.head === "score") {
      throw new DamagedFileError(`${url} is a reward model: it scores summaries and writes none.`);
    }
    const { vocabulary, layers } = model.config;
    const tokenizer = once(() => loadTokenizer((path) => files.read(path), "", vocabulary));
    const configuration = once(() => configurationOf(files, url));
    if (await files.exists("tokenizer.json")) await tokenizer();
    let parameters = 0;
    for (const { size } of model.parameters.tensors.values()) parameters += size;
    const milliseconds = performance.now() - start;
    const opened = { facts: gpu.facts, bytes, milliseconds, model: { url, parameters, layers, vocabulary } };
    return { gpu, model, opened, tokenizer, configuration };
  } catch (error) {
    gpu.destroy();
    throw error;
  }
}

async function timed(work: (writer: Writer) => Promise<Written>): Promise<Timed> {
  const { gpu, model, tokenizer, configuration } = await loaded();
  const writer = { gpu, model, tokenizer: await tokenizer(), lengths: (await configuration()).preprocess };
  const start = performance.now();
  return { ...await work(writer), milliseconds: performance.now() - start };
}

/** Chromium's WebGPU is Dawn; every other browser has one of its own. */
async function openBrowserGpu(): Promise<Gpu> {
  if (!navigator.gpu) throw new Error("This browser has no WebGPU in workers.");
  if (!await navigator.gpu.requestAdapter()) {
    throw new Error(
      "This browser has WebGPU but finds no graphics adapter for it; look at its page chrome://gpu or about:support.",
    );
  }
  const runtime = /Chrom(e|ium)\//.test(navigator.userAgent) ? "dawn" : "browser";
  return new Gpu(await openDevice(navigator.gpu, { runtime }));
}

/** The demo's configuration for the demo's model; else that of the run that a model folder lies in, else the published one. */
async function configurationOf(files: Files, url: string): Promise<Config> {
  if (/\/demo\/base\/?$/.test(url)) return presetConfig("demo");
  const inRun = await files.exists("../../run.json");
  return inRun ? (await readStartedRun(files, "../..")).config : presetConfig("spark");
}

/** Does a work once, at the first call. */
function once<T>(work: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | null = null;
  return () => result ??= work();
}

expose(lab);
