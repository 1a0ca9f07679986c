/** A model on the workbench with all that the inspector knows of its folder: tensors, moments, tokens, configuration. */
import type { Tensor } from "../../kernels/tensor.ts";
import { type Files, joinPath, readJson } from "../bytes.ts";
import type { Config } from "../config.ts";
import { readStartedRun } from "../run_record.ts";
import { loadTokenizer, type Tokenizer } from "../tokenizer.ts";
import { isDemoPlace } from "../demo/places.ts";
import { type OpenModel, type Trained, trainingFile, type Workbench } from "../workbench.ts";
import type { FlowRule } from "./flow.ts";
import { type Moment, openMoments, readMoments } from "./moments.ts";
import { findTensor, type Inspectable, NoSuchTensor, parameterEntries } from "./tensors.ts";
import { textOf } from "./texts.ts";
import type { TensorEntry, TensorRole, TokenLabel } from "./types.ts";

export interface Place {
  opened: OpenModel;
  /** Undefined where the folder has none, nor the run that a checkpoint belongs to. */
  tokenizer?: Tokenizer;
  configuration(): Promise<Config>;
  /** What an update of these weights is computed with. */
  rule(): Promise<FlowRule>;
  entries(): TensorEntry[];
  /** @param name below the place: `weights/embedding`. Reads moments where they are not on the device yet */
  find(name: string): Promise<Inspectable>;
  /** AdamW's moments of a parameter, and how they are freed; undefined where the folder has none. */
  momentsOf?: (name: string) => Promise<[readonly Tensor[], readonly Tensor[], () => void]>;
  findTokens(text: string, most: number): TokenLabel[];
  /** Frees what is kept on the device beside the model. */
  free(): void;
}

const roles = {
  weights: "weight",
  firstMoment: "first moment",
  secondMoment: "second moment",
} as const satisfies Record<string, TensorRole>;

/** Moments of how many tensors stay on the device for whoever looks at them again. */
const momentsKept = 4;

/** A checkpoint's model: `<run>/checkpoints/<stage>/step-000123/<name>`. */
const checkpointFolder = /checkpoints\/(\w+)\/step-(\d+)\/[^/]+\/?$/;

export async function openPlace(bench: Workbench, opened: OpenModel): Promise<Place> {
  const { place, gpu, model } = opened;
  const { files, folder } = bench.world.locate(place);
  const [, ofStage, atStep] = checkpointFolder.exec(folder) ?? checkpointFolder.exec(place) ?? [];
  const run = ofStage === undefined ? undefined : joinPath(folder, "..", "..", "..", "..");
  const tokenizer = await opened.tokenizer().catch(() =>
    run === undefined ? undefined : tokenizerOfRun(files, run, model.config.vocabulary)
  );
  const moments = isDemoPlace(place) ? undefined : await openMoments(files, folder, model);
  const weights = parameterEntries(model, `${place}#weights/`, roles.weights);
  const listed = (moment: Moment) =>
    moments ? parameterEntries(model, `${place}#${moment}/`, roles[moment]) : [];
  const all = { weights, firstMoment: listed("firstMoment"), secondMoment: listed("secondMoment") };
  const names = new Map<string, string[]>();
  for (const name of model.parameters.tensors.keys()) {
    const whole = name.replace(/^(embedding|head)\.\d+$/, "$1");
    names.set(whole, [...names.get(whole) ?? [], name]);
  }
  const load = (moment: Moment, whole: string) => {
    const ranges = names.get(whole)!;
    return readMoments(
      gpu,
      files,
      moments!,
      moment,
      ranges.map((name) => model.parameters.get(name)),
      ranges,
    );
  };
  const configuration = async () =>
    run !== undefined && await files.exists(joinPath(run, "run.json"))
      ? (await readStartedRun(files, run)).config
      : await opened.configuration();

  /** Of the tensors whose moments were looked at last. */
  const kept = new Map<string, Promise<Tensor[]>>();
  const momentTensors = async (moment: Moment, whole: string): Promise<Tensor[]> => {
    const key = `${moment}/${whole}`;
    const loading = kept.get(key) ?? load(moment, whole);
    kept.delete(key);
    kept.set(key, loading);
    loading.catch(() => kept.delete(key));
    for (const [old, tensors] of [...kept].slice(0, -momentsKept)) {
      kept.delete(old);
      for (const tensor of await tensors.catch(() => [])) gpu.drop(tensor);
    }
    return await loading;
  };

  let searchable: string[] | null = null;
  return {
    opened,
    tokenizer,
    configuration,
    async rule() {
      const config = await configuration();
      const { stage, step } =
        ofStage === undefined && moments && await files.exists(joinPath(folder, trainingFile))
          ? await readJson(files, joinPath(folder, trainingFile)) as Partial<Trained>
          : { stage: ofStage, step: atStep };
      const { learningRate, beta1, beta2, eps } = stage === "reward"
        ? config.reward
        : stage === "ppo"
        ? config.ppo
        : config.sft;
      return { learningRate, beta1, beta2, eps, step: Number(step ?? 1) };
    },
    entries: () => Object.values(all).flat().map(({ entry }) => entry),
    async find(path) {
      const slash = path.indexOf("/");
      const [group, name] = [path.slice(0, slash), path.slice(slash + 1)];
      if (group !== "weights" && group !== "firstMoment" && group !== "secondMoment") {
        throw new NoSuchTensor(
          `"${path}" names no tensor of ${place}; its names begin with ${Object.keys(all).join("/, ")}/.`,
        );
      }
      if (group === "weights") return findTensor(weights, `${place}#weights/`, name);
      if (!moments) throw new NoSuchTensor(`${place} has no optimiser's state; a run's checkpoints have.`);
      const { entry } = findTensor(all[group], `${place}#${group}/`, name);
      // By its whole name or by one that is a part of it, the same moments are read.
      const whole = all[group].find((one) =>
        one.entry.name === name || one.entry.published.some((part) => part.name === name)
      )!;
      const tensors = await momentTensors(group, whole.entry.name);
      const there = parameterEntries(
        model,
        `${place}#${group}/`,
        roles[group],
        (one) => one === whole.entry.name ? tensors : undefined,
      );
      return { entry, matrix: findTensor(there, `${place}#${group}/`, name).matrix };
    },
    momentsOf: moments && (async (whole) => {
      const [first, second] = [await load("firstMoment", whole), await load("secondMoment", whole)];
      return [first, second, () => [...first, ...second].forEach((tensor) => gpu.drop(tensor))];
    }),
    free() {
      for (const loading of kept.values()) {
        loading.then((tensors) => tensors.forEach((one) => gpu.drop(one)), () => {});
      }
      kept.clear();
    },
    findTokens(text, most) {
      if (!tokenizer || text === "") return [];
      searchable ??= Array.from(
        { length: Math.min(tokenizer.vocabularySize, model.config.vocabulary) },
        (_, id) => textOf(tokenizer, id),
      );
      const folded = text === text.toLowerCase();
      const score = (token: string) => {
        const own = folded ? token.toLowerCase() : token;
        const bare = own.trim();
        return bare === text.trim() ? 0 : bare.startsWith(text.trim()) ? 1 : own.includes(text) ? 2 : 3;
      };
      return searchable.map((token, id) => ({ id, text: token, score: score(token) }))
        .filter((one) => one.score < 3)
        .sort((a, b) => a.score - b.score || a.id - b.id)
        .slice(0, most)
        .map(({ id, text }) => ({ id, text }));
    },
  };
}

/** Any finished model of a run has the tokenizer that its checkpoints were trained with. */
async function tokenizerOfRun(files: Files, run: string, vocabulary: number): Promise<Tokenizer | undefined> {
  for (const name of ["sft", "reward", "ppo"]) {
    const folder = joinPath(run, "models", name);
    if (await files.exists(joinPath(folder, "tokenizer.json"))) {
      return await loadTokenizer((path) => files.read(path), folder, vocabulary);
    }
  }
  return undefined;
}
