/**
 * What a page, or a notebook's cell, may ask of the tensors on a workbench. Everything is looked at where it lies, on the device; what comes back
 * is as large as what is shown. Types and ids are told of in types.ts.
 */
import { attentionMap, attentionThumbnails } from "../../kernels/attention_map.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { keyValueCache, releaseKeyValueCache } from "../../kernels/key_value_cache.ts";
import { copyGigabytesPerSecond } from "../../kernels/peak.ts";
import { type RecordedDispatch, timeDispatch, writersOf } from "../../kernels/recorder.ts";
import { mostTokens } from "../../kernels/top_tokens.ts";
import { generate } from "../generate.ts";
import { firstNonFinite } from "../health.ts";
import { ropeShape } from "../qwen2.ts";
import type { Tokenizer } from "../tokenizer.ts";
import { stageKeys } from "../training.ts";
import { type OpenModel, requireFinite, type Workbench } from "../workbench.ts";
import { rate, type RatedToken, write } from "../writing.ts";
import {
  asksForGradients,
  type Held,
  hold,
  type HoldOptions,
  makeRoomForGradients,
  passAgain,
} from "./captures.ts";
import { movedRows, rowDistances, tensorChanges } from "./changes.ts";
import { knownLetters, shownDispatches } from "./dispatches.ts";
import { alternativesOf, logitLens } from "./lens.ts";
import { countsOf, floats, marginalsOf, measured, overviewOf, valuesOf } from "./look.ts";
import { openPlace, type Place } from "./places.ts";
import { findTensor, type Inspectable, NoSuchTensor, parameterEntries } from "./tensors.ts";
import { labelled, textOf, type Tokens, tokensOf } from "./texts.ts";
import {
  type Alternatives,
  type AttentionMap,
  type AttentionThumbnails,
  type Behind,
  type Capture,
  type CaptureRequest,
  type FiniteCheck,
  type Histogram,
  type InspectedModel,
  type InspectedText,
  type LogitLens,
  type Marginals,
  type MovedRow,
  type Overview,
  type Recording,
  type Rect,
  type RowChanges,
  type SamePrompt,
  type StrayTensor,
  type TensorChange,
  type TensorEntry,
  type TokenLabel,
  usualPatterns,
  type Values,
} from "./types.ts";

export type InspectService = ReturnType<typeof inspectService>;

export interface InspectOptions {
  /** Bytes that captures may keep on the device, all together. */
  mostBytes?: number;
}

/** A capture, and what it was made from. */
interface HeldCapture {
  capture: Capture;
  held: Held;
  place: Place;
  ids: number[];
}

export function inspectService(bench: Workbench, { mostBytes = 512 << 20 }: InspectOptions = {}) {
  const places = new Map<OpenModel, Promise<Place>>();
  const captures = new Map<string, HeldCapture>();
  const peaks = new WeakMap<Gpu, Promise<number>>();
  let captured = 0;
  /** Runs that put gradients beside a model's weights go one after the other. */
  let running: Promise<unknown> = Promise.resolve();

  const at = async (place: string): Promise<Place> => {
    const opened = await bench.open(place, undefined, { strays: true });
    const open = bench.places();
    for (const [other, known] of places) {
      if (open.includes(other.place) && (other.place !== place || other === opened)) continue;
      places.delete(other);
      known.then((gone) => gone.free(), () => {});
    }
    let found = places.get(opened);
    if (!found) {
      places.set(opened, found = openPlace(bench, opened));
      found.catch(() => places.delete(opened));
    }
    return await found;
  };

  /** A place whose model a text can be run through. */
  const sound = async (place: string): Promise<Place> => {
    const found = await at(place);
    requireFinite(found.opened);
    return found;
  };

  const taken = async (id: string): Promise<HeldCapture> => {
    const one = captures.get(id);
    if (!one) throw new NoSuchTensor(`There is no ${id}: it was released, or went with the device.`);
    if (one.place.opened.gpu !== await bench.gpu()) {
      captures.delete(id);
      throw new NoSuchTensor(`${id} went with the device that was lost; run the text again.`);
    }
    return one;
  };

  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = running.then(work, work);
    running = turn.catch(() => {});
    return turn;
  };

  /** A tensor by its id, on its device, with whoever knows what its tokens are. */
  const tensorOf = async (
    id: string,
  ): Promise<Inspectable & { gpu: Gpu; tokenizer?: Tokenizer; positions?: TokenLabel[] }> => {
    const hash = id.lastIndexOf("#");
    const [owner, rest] = [id.slice(0, hash), id.slice(hash + 1)];
    if (hash < 0) throw new NoSuchTensor(`"${id}" names no tensor; ids look like base#weights/embedding.`);
    if (/^capture \d+$/.test(owner)) {
      const { held, capture, place } = await taken(owner);
      const found = findTensor(held.tensors, `${owner}#`, rest);
      return { ...found, gpu: place.opened.gpu, tokenizer: place.tokenizer, positions: capture.tokens };
    }
    const place = await at(owner);
    return { ...await place.find(rest), gpu: place.opened.gpu, tokenizer: place.tokenizer };
  };

  const peakOf = (gpu: Gpu): Promise<number> => {
    let peak = peaks.get(gpu);
    if (!peak) peaks.set(gpu, peak = copyGigabytesPerSecond(gpu));
    return peak;
  };

  const recordingOf = async ({ held, ids, place }: HeldCapture): Promise<Recording> => {
    const { gpu, model } = place.opened;
    const shown = shownDispatches(held.dispatches, knownLetters(model.config, ids.length));
    return { ...shown, peakGigabytesPerSecond: await peakOf(gpu) };
  };

  const qkvOf = ({ held, capture }: HeldCapture, layer: number) => {
    const name = `layers.${layer}.attn.qkv`;
    const found = held.tensors.find(({ entry }) => entry.name === name);
    if (found) return found.matrix.parts[0].tensor;
    throw new NoSuchTensor(
      `${capture.id} has not kept ${name}; run the text again with the pattern layers.*.attn.qkv.`,
    );
  };

  const both = async (a: string, b: string) => {
    const [left, right] = [await at(a), await at(b)];
    return { gpu: left.opened.gpu, left, right };
  };

  return {
    /**
     * Opens the device and a place's model, where they are not open yet.
     * @param received is told how many bytes have come
     */
    async open(place: string, received?: (bytes: number) => void): Promise<InspectedModel> {
      const opened = await bench.open(place, received, { strays: true });
      const { gpu, model, bytes, milliseconds } = opened;
      let parameters = 0;
      for (const { size } of model.parameters.tensors.values()) parameters += size;
      const strays = await strayTensors(opened);
      return { place, facts: gpu.facts, config: model.config, parameters, bytes, milliseconds, strays };
    },

    /** Frees a place's model and all that is kept of it beside, if it is open. */
    async close(place: string): Promise<void> {
      for (const [opened, known] of places) {
        if (opened.place !== place) continue;
        places.delete(opened);
        await known.then((gone) => gone.free(), () => {});
      }
      await bench.close(place);
    },

    /** The texts of all token ids; none where the place has no tokenizer. */
    async vocabulary(place: string): Promise<string[]> {
      const { tokenizer, opened } = await at(place);
      if (!tokenizer) return [];
      return Array.from({ length: opened.model.config.vocabulary }, (_, id) => textOf(tokenizer, id));
    },

    // ---- tensors ----

    /** Every tensor of a place: weights, and AdamW's moments where its folder has them. Opens the model where it is not open yet. */
    async tensors(place: string): Promise<TensorEntry[]> {
      return (await at(place)).entries();
    },

    /** One tensor by its id, ours or with a published name. */
    async tensor(id: string): Promise<TensorEntry> {
      return (await tensorOf(id)).entry;
    },

    /**
     * A part of a tensor, all of it where none is named, in at most width × height cells.
     * @param order the rows in the order in which they are looked at, for the places that the part touches, which then are places in it
     */
    async overview(
      id: string,
      rect: Rect | null,
      width: number,
      height: number,
      order?: Uint32Array<ArrayBuffer>,
    ): Promise<Overview> {
      const found = await tensorOf(id);
      const { rows, columns } = found.matrix;
      const part = rect ?? { row0: 0, row1: rows, column0: 0, column1: columns };
      return { id, ...await overviewOf(found.gpu, found.matrix, part, width, height, order) };
    },

    /** All of a tensor, counted. */
    async histogram(id: string): Promise<Histogram> {
      const { gpu, matrix } = await tensorOf(id);
      return { id, ...await countsOf(gpu, matrix) };
    },

    /** Norm, mean and largest magnitude of each row or column. */
    async marginals(id: string, axis: "rows" | "columns"): Promise<Marginals> {
      const { gpu, matrix } = await tensorOf(id);
      return { id, ...await marginalsOf(gpu, matrix, axis) };
    },

    /** How far each row of a tensor is from that of another, both named by id: of two checkpoints, say. */
    async rowChanges(id: string, other: string): Promise<RowChanges> {
      const [b, a] = [await tensorOf(id), await tensorOf(other)];
      return { id, other, ...await rowDistances(b.gpu, a.matrix, b.matrix, [other, id]) };
    },

    /** Exact values; at most 65,536. */
    async values(id: string, rect: Rect): Promise<Values> {
      const { gpu, matrix } = await tensorOf(id);
      return { id, ...await valuesOf(gpu, matrix, rect) };
    },

    /** What rows or columns stand for: the texts of tokens, or numbers. */
    async labels(id: string, axis: "rows" | "columns", indices: readonly number[]): Promise<string[]> {
      const { entry, tokenizer, positions } = await tensorOf(id);
      const meaning = axis === "rows" ? entry.rowMeaning : entry.columnMeaning;
      return indices.map((index) => {
        if (meaning === "tokens") return textOf(tokenizer, index);
        return meaning === "positions" ? positions?.[index]?.text ?? String(index) : String(index);
      });
    },

    /** Tokens whose text has this in it: the same text first, then those that begin with it, then by id. Case counts only where it is given. */
    async findTokens(place: string, text: string, most = 50): Promise<TokenLabel[]> {
      return (await at(place)).findTokens(text, most);
    },

    // ---- captures ----

    /** Runs a text and keeps what is asked for on the device until it is released. */
    capture(request: CaptureRequest): Promise<Capture> {
      return inTurn(async () => {
        const place = await sound(request.place);
        const { gpu, model } = place.opened;
        const patterns = request.patterns ?? usualPatterns;
        const { queryLoss = (await place.configuration()).sft.queryLoss } = request;
        const rule = await place.rule();
        const given = await tokensOf(place.opened, place.tokenizer, request.text);
        const writing = await continued(place, given, request);
        const { ids, response } = writing ?? given;
        const gradients = request.gradients || asksForGradients(patterns);
        const lossFrom = queryLoss ? 1 : response;
        const kept = [...captures.values()].reduce((sum, { capture }) => sum + capture.bytes, 0);
        const id = `capture ${++captured}`;
        const held = await hold(gpu, model, ids, {
          prefix: `${id}#`,
          patterns,
          gradients,
          cache: request.cache ?? false,
          generated: writing?.generated,
          dispatches: request.dispatches ?? false,
          lossFrom,
          mostBytes: mostBytes - kept,
          vocabulary: place.tokenizer?.padId,
          rule,
          moments: place.momentsOf,
        });
        const capture: Capture = {
          id,
          place: request.place,
          tokens: labelled(place.tokenizer, ids),
          response,
          written: writing ? ids.length - response : 0,
          lossFrom,
          tensors: held.tensors.map(({ entry }) => entry),
          bytes: held.bytes,
          layers: model.config.layers,
          queryHeads: model.config.queryHeads,
          loss: held.loss,
          score: held.score,
          flow: held.flow,
          dispatches: held.dispatches.length,
        };
        captures.set(id, { capture, held, place, ids });
        return capture;
      });
    },

    /** The captures that are kept. */
    captures(): Capture[] {
      return [...captures.values()].map(({ capture }) => capture);
    },

    /** Frees a capture; nothing happens where there is none. */
    async release(id: string): Promise<void> {
      const one = captures.get(id);
      captures.delete(id);
      if (one && one.place.opened.gpu === await bench.gpu()) one.held.release();
    },

    /** The attention of one head over a captured text, in full. */
    async attention(id: string, layer: number, head: number): Promise<AttentionMap> {
      const one = await taken(id);
      const { gpu, model } = one.place.opened;
      const qkv = qkvOf(one, layer), tokens = one.ids.length, shape = ropeShape(model.config);
      const { result, cost } = await measured(
        gpu,
        qkv.bytes,
        () => [attentionMap(gpu, qkv, shape, { first: 0, tokens }, head)],
        ([map]) => floats(map),
      );
      return { layer, head, tokens, probabilities: result, cost };
    },

    /** All heads of all layers, shrunk. */
    async attentionThumbnails(id: string): Promise<AttentionThumbnails> {
      const one = await taken(id);
      const { gpu, model } = one.place.opened;
      const { layers, queryHeads } = model.config, tokens = one.ids.length, shape = ropeShape(model.config);
      const qkv = Array.from({ length: layers }, (_, layer) => qkvOf(one, layer));
      const bytes = qkv.reduce((sum, tensor) => sum + tensor.bytes, 0);
      const { result, cost } = await measured(
        gpu,
        bytes,
        () => qkv.map((tensor) => attentionThumbnails(gpu, tensor, shape, { first: 0, tokens })),
        (each) => each.map(floats),
      );
      const edge = Math.sqrt(result[0].length / queryHeads);
      const probabilities = new Float32Array(layers * queryHeads * edge * edge);
      result.forEach((values, layer) => probabilities.set(values, layer * values.length));
      return { layers, heads: queryHeads, edge, probabilities, cost };
    },

    /**
     * What each layer would say of the next token, at some positions of a captured text, by default all.
     * @param k likeliest tokens a cell, at most 16
     */
    async logitLens(id: string, positions?: readonly number[], k = 5): Promise<LogitLens> {
      const one = await taken(id);
      // The weights may have been closed and opened again since.
      const { opened: { gpu, model }, tokenizer } = await at(one.capture.place);
      const names = ["embed", ...model.layers.map((_, i) => `layers.${i}.mlp.out`)];
      const stream = names.map((name) => {
        const found = one.held.tensors.find(({ entry }) => entry.name === name);
        if (found) return { name, tensor: found.matrix.parts[0].tensor };
        throw new NoSuchTensor(
          `${id} has not kept ${name}; run the text again with the patterns embed and layers.*.mlp.out.`,
        );
      });
      const all = positions ?? one.ids.map((_, position) => position);
      const rising = [...new Set(all)].sort((a, b) => a - b);
      const stray = rising.find((position) =>
        !(Number.isInteger(position) && one.ids[position] !== undefined)
      );
      if (stray !== undefined || rising.length === 0) {
        throw new RangeError(`${id} has positions 0 to ${one.ids.length - 1}, and not ${stray ?? "none"}.`);
      }
      const options = { k: checkedCount(k), vocabulary: tokenizer?.padId, tokenizer };
      return await logitLens(gpu, model, stream, one.ids, rising, options);
    },

    /** What one or two models held likely at each token of a text. */
    async alternatives(
      places: readonly string[],
      text: InspectedText,
      k = 10,
    ): Promise<Alternatives> {
      if (places.length < 1 || places.length > 2) {
        throw new RangeError(`Alternatives are of one or two models, not of ${places.length}.`);
      }
      const opened: Place[] = [];
      for (const place of places) opened.push(await sound(place));
      const [{ tokenizer, opened: first }] = opened;
      requireOneVocabulary(opened);
      const { ids } = await tokensOf(first, tokenizer, text);
      const options = { k: checkedCount(k), vocabulary: tokenizer?.padId, tokenizer };
      const models = opened.map(({ opened: { gpu, model } }) => ({ gpu, model }));
      return { places: [...places], k, tokens: await alternativesOf(models, ids, options) };
    },

    // ---- kernels ----

    /** Every dispatch of a capture that was asked to record them. */
    async recording(id: string): Promise<Recording> {
      return await recordingOf(await taken(id));
    },

    /** The dispatches behind a tensor of a capture, kept or not: `layers.3.attn.out`, `layers.0.attn.qkv.weight.grad`. */
    async behind(id: string, tensor: string): Promise<Behind> {
      const one = await taken(id);
      const writers = writersOf(one.held.dispatches, one.held.made, tensor);
      if (writers.length === 0) {
        throw new NoSuchTensor(
          one.held.dispatches.length > 0
            ? `No dispatch of ${id} wrote "${tensor}".`
            : `${id} has no record of dispatches; run the text again with dispatches: true.`,
        );
      }
      const { dispatches, sources, peakGigabytesPerSecond } = await recordingOf(one);
      const own = writers.map((index) => dispatches[index]);
      const texts = Object.fromEntries(own.map(({ source }) => [source, sources[source]]));
      return { tensor, writers, dispatches: own, sources: texts, peakGigabytesPerSecond };
    },

    /** Runs one dispatch of a capture alone a few times, on zeros. @returns microseconds; undefined where that cannot be told */
    async timeDispatch(id: string, index: number): Promise<number | undefined> {
      const { held, place } = await taken(id);
      const dispatch: RecordedDispatch | undefined = held.dispatches[index];
      if (!dispatch) throw new NoSuchTensor(`${id} has no dispatch ${index}.`);
      return await timeDispatch(place.opened.gpu, dispatch);
    },

    /** Runs a text forward and backward and names the first tensor with values that are not finite. */
    finite(place: string, text: InspectedText): Promise<FiniteCheck> {
      return inTurn(async () => {
        const { opened, tokenizer } = await sound(place);
        const { gpu, model } = opened;
        const { ids } = await tokensOf(opened, tokenizer, text);
        makeRoomForGradients(model);
        try {
          const options = { gradients: true, lossFrom: 1, vocabulary: tokenizer?.padId };
          const first = await firstNonFinite(gpu, [model], [], () => passAgain(gpu, model, ids, options));
          return { first, tokens: labelled(tokenizer, ids) };
        } finally {
          model.parameters.freeze();
        }
      });
    },

    // ---- two places ----

    /** How each tensor changed from a to b. */
    async changes(a: string, b: string): Promise<TensorChange[]> {
      const { gpu, left, right } = await both(a, b);
      return await tensorChanges(gpu, left.opened.model, right.opened.model);
    },

    /** The rows of a tensor (by our name: `embedding`) that moved furthest from a to b. */
    async movedRows(
      a: string,
      b: string,
      name: string,
      count = 20,
      by: "distance" | "relative" = "distance",
    ): Promise<MovedRow[]> {
      const { gpu, left, right } = await both(a, b);
      const rows = await movedRows(gpu, left.opened.model, right.opened.model, name, count, by);
      if (name !== "embedding" && name !== "head") return rows;
      return rows.map((row) => ({ ...row, token: textOf(left.tokenizer, row.row) }));
    },

    /** The same text through two models: how likely each finds it, and what each goes on with. */
    async samePrompt(a: string, b: string, text: InspectedText, newTokens = 32): Promise<SamePrompt> {
      const [left, right] = [await sound(a), await sound(b)];
      requireOneVocabulary([left, right]);
      const { tokenizer } = left, vocabulary = tokenizer?.padId;
      const { ids, response } = await tokensOf(left.opened, tokenizer, text);
      const prompt = text.kind === "summary" || (text.kind === "ids" && text.response !== undefined)
        ? ids.slice(0, response)
        : ids;
      const rated: RatedToken[][] = [], continued: TokenLabel[][] = [];
      for (const { opened: { gpu, model } } of [left, right]) {
        rated.push(await rate(gpu, model, ids.slice(0, response), ids.slice(response), vocabulary));
        const room = Math.min(newTokens, model.config.maxPositions - prompt.length);
        const options = {
          greedy: true,
          responseLength: room,
          seed: 0,
          stage: stageKeys.samples,
          step: 0,
          vocabulary,
        };
        const [drawn] = room > 0 ? await generate(gpu, model, [prompt], options) : [new Uint32Array()];
        const end = tokenizer ? drawn.indexOf(tokenizer.eosId) : -1;
        continued.push(labelled(tokenizer, end < 0 ? drawn : drawn.subarray(0, end + 1)));
      }
      return {
        places: [a, b],
        tokens: rated[0].map(({ id }, t) => ({
          id,
          text: textOf(tokenizer, id),
          position: response + t,
          logprob: [rated[0][t].logprob, rated[1][t].logprob],
          entropy: [rated[0][t].entropy, rated[1][t].entropy],
        })),
        continuations: [continued[0], continued[1]],
      };
    },
  };
}

/** What a model writes greedily behind a text, before it is captured; undefined where nothing is asked for. */
async function continued(
  { opened: { gpu, model }, tokenizer }: Place,
  { ids: given, response: answer }: Tokens,
  { write: most = 0, text, cache }: CaptureRequest,
): Promise<Tokens & Pick<HoldOptions, "generated"> | undefined> {
  if (most === 0) return undefined;
  if (model.score) throw new RangeError(`${model.name} is a reward model: it writes nothing.`);
  const prompt = text.kind === "summary" ? given.slice(0, answer) : given;
  const room = model.config.maxPositions - prompt.length;
  if (!(Number.isInteger(most) && most >= 1 && most <= room)) {
    throw new RangeError(
      `Behind ${prompt.length} tokens ${model.name} has room for 1 to ${room} more, not for ${most}.`,
    );
  }
  const shape = ropeShape(model.config);
  const caches = cache
    ? model.layers.map(() => keyValueCache(gpu, 1, prompt.length + most, shape))
    : undefined;
  const ids = [...prompt];
  try {
    const rule = { greedy: true, seed: 0, stage: stageKeys.samples, step: 0, vocabulary: tokenizer?.padId };
    const options = { ...rule, responseLength: most, eosId: tokenizer?.eosId, caches };
    for await (const { id } of write(gpu, model, prompt, options)) ids.push(id);
  } catch (error) {
    for (const one of caches ?? []) releaseKeyValueCache(gpu, one);
    throw error;
  }
  return { ids, response: prompt.length, generated: caches && { caches, tokens: ids.length - 1 } };
}

/** The tensors that hold weights that are not finite, counted. */
async function strayTensors({ gpu, model, strays = [] }: OpenModel): Promise<StrayTensor[]> {
  const names = new Set(strays.map(({ name }) => name));
  const found: StrayTensor[] = [];
  for (const { entry, matrix } of names.size > 0 ? parameterEntries(model, "", "weight") : []) {
    if (!entry.published.some(({ name }) => names.has(name))) continue;
    const { count, finite, firstNonFinite } = await countsOf(gpu, matrix);
    found.push({ name: entry.name, count: count - finite, size: count, ...firstNonFinite! });
  }
  return found;
}

function checkedCount(k: number): number {
  if (Number.isInteger(k) && k >= 1 && k <= mostTokens) return k;
  throw new RangeError(`Of the likeliest tokens 1 to ${mostTokens} can be had, not ${k}.`);
}

function requireOneVocabulary(places: readonly Place[]): void {
  const [first, ...others] = places.map(({ opened: { place, model } }) => ({
    place,
    ids: model.config.vocabulary,
  }));
  const other = others.find(({ ids }) => ids !== first.ids);
  if (other) {
    throw new RangeError(
      `${first.place} has a vocabulary of ${first.ids} and ${other.place} one of ${other.ids}: their tokens cannot be compared.`,
    );
  }
}
