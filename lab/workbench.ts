/**
 * The workbench: one device and the models that are open on it, each by its place. Notebook cells, the inspector and the referee work on
 * it; in the page it lives in the GPU worker, headless in the process itself.
 *
 * A place is a name of the demo's ("base", "sft", "reward", "ppo"), a model that comes with the notebooks ("notebooks/data/…"), a model that
 * was kept ("kept/mine"), a folder below the runs ("runs/demo/models/ppo"), or any other address of a model folder that the world can read.
 */
import type { Gpu } from "../kernels/gpu.ts";
import { FileAccessError, type Files, joinPath, readJson, sha256OfFile, shown, writeJson } from "./bytes.ts";
import { isDemoPlace } from "./demo/places.ts";
import { type Config, presetConfig, readConfig } from "./config.ts";
import { saveMoments } from "./optimizer_file.ts";
import { loadQwen2, type Qwen2, readQwen2Config, saveQwen2 } from "./qwen2.ts";
import type { StageName } from "./report/data.ts";
import { readStartedRun } from "./run_record.ts";
import { loadTokenizer, type Tokenizer } from "./tokenizer.ts";
import type { Stray } from "./transfer.ts";

/** What differs between a page and a process. */
export interface World {
  openGpu(): Promise<Gpu>;
  /**
   * Where a model folder is.
   * @param received is told of bytes as they come, where they come from afar
   */
  locate(place: string, received?: (bytes: number) => void): { files: Files; folder: string };
  /** The folder that ships as it is: `demo/`, `notebooks/`. */
  shipped: { files: Files; folder: string };
  /** Where models are kept, each in a folder of its name; without it none can be. */
  kept?: { files: Files; folder: string };
}

/** How far a model's training has come. */
export interface Trained {
  stage: StageName;
  step: number;
}

/** A model on the device, with what belongs to it. */
export interface OpenModel {
  place: string;
  gpu: Gpu;
  model: Qwen2;
  /** Rejects where the folder has none: such a model, somebody's test model perhaps, can be spoken to in ids alone. */
  tokenizer(): Promise<Tokenizer>;
  /** Of the run that the folder lies in; else that of the demo for its models, and the published one for others. */
  configuration(): Promise<Config>;
  /** Where its tokenizer's files lie. */
  source: { files: Files; folder: string };
  /** SHA-256 of the weights' file, or of the index where they are in several. */
  digest(): Promise<string>;
  /** Bytes that were read, where they came from afar. */
  bytes: number;
  milliseconds: number;
  /** Of a model that is being trained: the stage, and the steps that have been taken. */
  training?: Trained;
  /** Weights that are not finite, of a model that was opened in spite of them. */
  strays?: readonly Stray[];
}

export class Workbench {
  private device: Promise<Gpu> | null = null;
  private readonly open_ = new Map<string, Promise<OpenModel>>();

  constructor(readonly world: World) {}

  /** The device, opened at the first call; after a loss, another. */
  gpu(): Promise<Gpu> {
    if (!this.device) {
      const opening = this.device = this.world.openGpu();
      opening.then(
        (gpu) => gpu.device.lost.then(() => this.device === opening && this.forget()),
        () => this.device === opening && this.forget(),
      );
    }
    return this.device;
  }

  /**
   * The model of a place, loaded at the first call.
   * @param received is told how many bytes have come so far
   * @param strays whether one with weights that are not finite is wanted too, by somebody who only looks at them
   * @throws DamagedFileError where there are such weights and they are not wanted
   */
  open(
    place: string,
    received: (bytes: number) => void = () => {},
    { strays = false }: { strays?: boolean } = {},
  ): Promise<OpenModel> {
    const there = this.open_.get(place);
    if (there) return strays ? there : there.then(requireFinite);
    const opening = this.load(place, received, strays);
    this.open_.set(place, opening);
    opening.catch(() => this.open_.get(place) === opening && this.open_.delete(place));
    return opening;
  }

  /** Frees a place's model, if it is open. */
  async close(place: string): Promise<void> {
    const opening = this.open_.get(place);
    this.open_.delete(place);
    const opened = await opening?.catch(() => undefined);
    opened?.model.parameters.drop();
  }

  /**
   * Keeps a model, so that it is there at the next visit, too; one of the same name is replaced.
   * @param moments whether AdamW's state is kept beside it, for the inspector: twice the bytes of the weights
   * @returns its place
   * @throws RangeError for a name that is none, or where there is no such state; FileAccessError where there is no room
   */
  async keep(
    { place: of, gpu, model, source, configuration, training }: OpenModel,
    name: string,
    { moments = false }: { moments?: boolean } = {},
  ): Promise<string> {
    if (!/^[\w-][\w.-]{0,63}$/.test(name)) {
      throw new RangeError(
        `A model cannot be called ${shown(name)}: use up to 64 letters, digits, ".", "-" and "_".`,
      );
    }
    if (moments && !training) {
      throw new RangeError(
        `${of} has no moments to keep: only a trainer's model has, until the trainer is freed.`,
      );
    }
    const { kept } = this.world;
    if (!kept) {
      throw new FileAccessError("Models cannot be kept here: this browser keeps nothing for this page.");
    }
    const place = `kept/${name}`;
    const folder = joinPath(kept.folder, name), next = joinPath(kept.folder, `.${name}.next`);
    const { files } = kept;
    await this.close(place);
    await files.remove(next);
    await files.makeDirectory(next);
    try {
      for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
        await files.writeAtomic(joinPath(next, file), await source.files.read(joinPath(source.folder, file)));
      }
      await writeJson(files, joinPath(next, configurationFile), await configuration());
      await saveQwen2(gpu, files, next, model);
      if (moments) {
        await writeJson(files, joinPath(next, trainingFile), {
          stage: training!.stage,
          step: training!.step,
        });
        await saveMoments(gpu, files, next, model);
      }
    } catch (error) {
      await files.remove(next).catch(() => {});
      throw error;
    }
    // A kill in between leaves the new one whole under its other name.
    await files.remove(folder);
    await files.rename(next, folder);
    return place;
  }

  /** The places that are open or being opened. */
  places(): string[] {
    return [...this.open_.keys()];
  }

  /** Ends the device and all that is on it. */
  async destroy(): Promise<void> {
    const device = this.device;
    this.forget();
    (await device?.catch(() => null))?.destroy();
  }

  private forget(): void {
    this.device = null;
    this.open_.clear();
  }

  private async load(
    place: string,
    received: (bytes: number) => void,
    lenient: boolean,
  ): Promise<OpenModel> {
    const start = performance.now();
    let bytes = 0;
    const { files, folder } = this.world.locate(place, (count) => received(bytes += count));
    const gpu = await this.gpu();
    // Before the weights: a folder that is none is told of at once.
    const { vocabulary } = await readQwen2Config(files, folder);
    const tokenizer = once(() => loadTokenizer((path) => files.read(path), folder, vocabulary));
    const strays: Stray[] = [];
    const hear = lenient ? (stray: Stray) => void strays.push(stray) : undefined;
    const model = await loadQwen2(gpu, files, folder, place, undefined, hear);
    if (await files.exists(joinPath(folder, "tokenizer.json"))) await tokenizer();
    return {
      place,
      gpu,
      model,
      tokenizer,
      source: { files, folder },
      configuration: once(() => configurationOf(files, folder, place)),
      digest: once(async () => {
        const [single, index] = ["model.safetensors", "model.safetensors.index.json"];
        const file = await files.exists(joinPath(folder, single)) ? single : index;
        return (await sha256OfFile(files, joinPath(folder, file))).sha256;
      }),
      bytes,
      milliseconds: performance.now() - start,
      ...(strays.length > 0 && { strays }),
    };
  }
}

/** @throws DamagedFileError for a model that can be looked at and no more */
export function requireFinite(opened: OpenModel): OpenModel {
  if (opened.strays) throw opened.strays[0].error;
  return opened;
}

/** Beside a model that was kept: the configuration that it was made with. */
const configurationFile = "precis_config.json";

/** Beside a model that was kept with its moments: how far its training had come. */
export const trainingFile = "precis_training.json";

async function configurationOf(files: Files, folder: string, place: string): Promise<Config> {
  if (isDemoPlace(place)) return presetConfig("demo");
  const beside = joinPath(folder, configurationFile);
  if (await files.exists(beside)) return readConfig(await readJson(files, beside), beside);
  const run = joinPath(folder, "..", "..");
  const inRun = await files.exists(joinPath(run, "run.json"));
  return inRun ? (await readStartedRun(files, run)).config : presetConfig("spark");
}

/** Does a work once, at the first call, and again at the next where it failed. */
function once<T>(work: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | null = null;
  return () => {
    if (!result) {
      result = work();
      result.catch(() => result = null);
    }
    return result;
  };
}
