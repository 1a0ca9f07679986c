/** What a page may ask a model of the workbench to write or to rate. */
import type { DeviceFacts } from "../kernels/device.ts";
import { DamagedFileError } from "./bytes.ts";
import type { Post } from "./query.ts";
import {
  type Drawing,
  drawingOptions,
  rateSummary,
  type ShownToken,
  summarise,
  type Writer,
  type Written,
} from "./summarise.ts";
import type { OpenModel, Workbench } from "./workbench.ts";
import { rate, type RatedToken, write } from "./writing.ts";

/** What opening a model took. */
export interface Opened {
  facts: DeviceFacts;
  /** Bytes that came over the network, weights and tokenizer. */
  bytes: number;
  milliseconds: number;
  model: { place: string; parameters: number; layers: number; vocabulary: number };
}

/** A result and the time that the engine took for it. */
export interface Timed extends Written {
  milliseconds: number;
}

export type WritingService = ReturnType<typeof writingService>;

/** Everything here takes the place of a language model, and opens it where it is not open yet. */
export function writingService(bench: Workbench) {
  const languageModel = async (place: string, received?: (bytes: number) => void): Promise<OpenModel> => {
    const opened = await bench.open(place, received);
    if (opened.model.config.head === "score") {
      throw new DamagedFileError(`${place} is a reward model: it scores summaries and writes none.`);
    }
    return opened;
  };

  const timed = async (
    place: string,
    work: (writer: Writer) => Promise<Written>,
  ): Promise<Timed> => {
    const { gpu, model, tokenizer, configuration } = await languageModel(place);
    const writer = { gpu, model, tokenizer: await tokenizer(), lengths: (await configuration()).preprocess };
    const start = performance.now();
    return { ...await work(writer), milliseconds: performance.now() - start };
  };

  return {
    /**
     * Opens the device and a model; afterwards, tells again what that took.
     * @param received is told how many bytes have come
     */
    async open(place: string, received?: (bytes: number) => void): Promise<Opened> {
      const { gpu, model, bytes, milliseconds } = await languageModel(place, received);
      const { layers, vocabulary } = model.config;
      let parameters = 0;
      for (const { size } of model.parameters.tensors.values()) parameters += size;
      return { facts: gpu.facts, bytes, milliseconds, model: { place, parameters, layers, vocabulary } };
    },

    /** Writes a summary; every token is told as soon as it is there. */
    summarise(place: string, post: Post, drawing: Drawing, onToken: (token: ShownToken) => void) {
      return timed(place, (writer) => summarise(writer, post, drawing, onToken));
    },

    /** What the model makes of somebody else's summary. */
    rate(place: string, post: Post, summary: string): Promise<Timed> {
      return timed(place, (writer) => rateSummary(writer, post, summary));
    },

    /** Goes on from ids, exactly so many tokens. */
    async writeIds(
      place: string,
      prompt: number[],
      count: number,
      drawing: Drawing,
    ): Promise<RatedToken[]> {
      const { gpu, model } = await languageModel(place);
      const options = { ...drawingOptions(drawing), responseLength: count };
      return await Array.fromAsync(write(gpu, model, prompt, options));
    },

    /** What the model makes of ids, from the second on. */
    async rateIds(place: string, [first, ...rest]: number[]): Promise<RatedToken[]> {
      const { gpu, model } = await languageModel(place);
      return await rate(gpu, model, [first], rest);
    },
  };
}
