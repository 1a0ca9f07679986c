/**
 * `deno task export`: writes a trained model for the rest of the world, as a folder that Python's transformers loads or that transformers.js
 * and onnxruntime run, with tokenizer and model card; and, if asked to, uploads it to the Hugging Face Hub.
 */
import { DamagedFileError, type Files, joinPath, readJson } from "../lab/bytes.ts";
import { type Config, readConfig } from "../lab/config.ts";
import { boolean, choice, text } from "../lab/config_fields.ts";
import { type CardFacts, modelCard, type ModelRole, originOf } from "../lab/export/card.ts";
import { dtypes, exportModel, formats, openSource } from "../lab/export/model_folder.ts";
import type { Progress } from "../lab/progress.ts";
import type { Evaluation, RunRecord } from "../lab/report/data.ts";
import { failWith } from "./exit.ts";
import { diskFiles } from "./files.ts";
import { helpText, parseFlags } from "./flags.ts";
import { checkRepositoryName, pushFolder, requireToken } from "./hub_push.ts";
import { hubSettings } from "./hub_settings.ts";
import { standardOutput, terminalProgress } from "./progress.ts";

const maySay = { mayBeEmpty: true };

const usage = {
  task: "export",
  about:
    "writes a trained model as a folder that transformers (Python), transformers.js or onnxruntime loads.",
  own: {
    from: text("", { doc: "A run directory, or a model folder", placeholder: "FOLDER", ...maySay }),
    model: choice(["ppo", "sft", "reward"], "ppo", {
      doc: "Which model of the run; sft is also PPO's reference policy",
    }),
    to: choice(formats, "huggingface", {
      doc: "huggingface: safetensors for transformers; onnx: a graph for transformers.js and onnxruntime",
    }),
    dtype: choice(dtypes, "f32", { doc: "Of the weights; onnx takes f32 and f16" }),
    out: text("", { doc: "The folder to write, new or empty", placeholder: "FOLDER", ...maySay }),
    baseModel: text("", {
      doc: "Base model on the Hub, for the card, where the run does not tell",
      placeholder: "OWNER/NAME",
      ...maySay,
    }),
    license: text("", {
      doc: "The model's licence, for the card, where the base model does not tell",
      placeholder: "ID",
      ...maySay,
    }),
    push: text("", {
      doc: "Upload to this repository of the Hub, with the token in HF_TOKEN; without --from, --out as it is",
      placeholder: "OWNER/NAME",
      ...maySay,
    }),
    private: boolean(false, { doc: "Make the repository private, if it has to be made" }),
  },
  examples: [
    ["deno task export --from runs/spark --out tldr-ppo --dtype bf16", "the policy for transformers"],
    ["deno task export --from runs/demo --to onnx --out demo-onnx", "the policy for the browser"],
    [
      "deno task export --from runs/spark --model reward --out tldr-rm --push your-name/tldr-rm",
      "the reward model, uploaded as well",
    ],
  ],
} as const;

/** What the task touches of the world. */
export interface World {
  files: Files;
  env: (name: string) => string | undefined;
  progress: Progress;
}

/** Runs the task. Returns what to print. @throws with one sentence for every kind of bad input */
export async function exportTask(args: readonly string[], world: World): Promise<string> {
  const { own, given, help } = parseFlags(args, usage);
  if (help) return helpText(usage);
  const { files, progress } = world;
  if (own.out === "") throw new RangeError("Name the folder to write with --out FOLDER.");
  const settings = await hubSettings(world.env);
  if (own.push) {
    // Before anything is written: an export takes minutes.
    checkRepositoryName(own.push);
    requireToken(settings);
  }
  const lines: string[] = [];
  if (own.from === "") {
    if (!own.push) {
      throw new RangeError("Name what to export with --from, a run directory or a model folder.");
    }
    if (!await files.exists(joinPath(own.out, "config.json"))) {
      throw new DamagedFileError(`${own.out} is no exported model: it has no config.json; check --out.`);
    }
  } else {
    lines.push(await writeFolder(own, given.has("model"), world));
  }
  if (own.push) {
    lines.push(
      `Pushed: ${await pushFolder(own.out, own.push, { settings, progress, private: own.private })}`,
    );
  }
  return lines.join("\n");
}

interface ExportFlags {
  from: string;
  model: "ppo" | "sft" | "reward";
  to: typeof formats[number];
  dtype: typeof dtypes[number];
  out: string;
  baseModel: string;
  license: string;
  push: string;
}

/** @returns a line on what was written */
async function writeFolder(
  flags: ExportFlags,
  modelNamed: boolean,
  { files, progress }: World,
): Promise<string> {
  const { folder, role, run } = await findModel(files, flags.from, modelNamed ? flags.model : undefined);
  const source = await openSource(files, folder);
  const facts = run === undefined ? undefined : await readRun(files, run);
  const origin = originOf(facts?.config.model ?? (isDemoBase(folder) ? "demo" : folder));
  const baseModel = flags.baseModel || origin.baseModel;
  const license = flags.license || (flags.baseModel ? originOf(flags.baseModel) : origin).license;
  const stage = progress.stage("export", { steps: source.bytes(flags.dtype), unit: "bytes" });
  const inUse = await files.exists(flags.out) && (await files.list(flags.out)).length > 0;
  let exported;
  try {
    exported = await exportModel(files, source, flags.out, {
      to: flags.to,
      dtype: flags.dtype,
      responseTokens: facts?.config.preprocess.responseTokens,
      facts: { precis: facts?.record.versions.precis ?? "unknown", role },
      progress: stage,
    });
  } catch (error) {
    // Half a model helps nobody; a folder with something in it was refused and is as it was.
    if (!inUse) await files.remove(flags.out).catch(() => {});
    throw error;
  }
  const card: CardFacts = {
    name: flags.push || flags.out.replace(/\/+$/, "").split("/").at(-1)!,
    role,
    to: flags.to,
    dtype: flags.dtype,
    model: exported,
    baseModel,
    license,
    run: facts,
  };
  await files.writeAtomic(joinPath(flags.out, "README.md"), new TextEncoder().encode(modelCard(card)));
  stage.done(`weights in ${flags.dtype}`);
  if (license === "other") {
    progress.note(
      "The card says license: other, as the base model is not known; name it with --baseModel or --license.",
    );
  }
  return `Written: ${flags.out} (${role}, ${flags.to}, ${flags.dtype})`;
}

/** The model's folder, what it is, and the run it belongs to. */
async function findModel(
  files: Files,
  from: string,
  named: ExportFlags["model"] | undefined,
): Promise<{ folder: string; role: ModelRole; run?: string }> {
  if (await files.exists(joinPath(from, "run.json"))) {
    const role = named ?? "ppo";
    const folder = joinPath(from, "models", role);
    if (!await files.exists(joinPath(folder, "config.json"))) {
      const models = joinPath(from, "models");
      const there = (await files.exists(models) ? await files.list(models) : []).map((name) =>
        name.replace(/\/$/, "")
      );
      throw new DamagedFileError(
        `${from} has no finished ${role} model; ${
          there.length > 0 ? `it has ${there.join(", ")}: choose with --model` : "train it first"
        }.`,
      );
    }
    return { folder, role, run: from };
  }
  if (!await files.exists(joinPath(from, "config.json"))) {
    throw new DamagedFileError(
      `${from} is neither a run directory nor a model folder: it has no run.json and no config.json; check --from.`,
    );
  }
  if (named) {
    throw new RangeError(
      `--model chooses within a run directory, and ${from} is a model folder; leave it out.`,
    );
  }
  // A folder inside a run: models/ppo.
  const [, parent, name] = /^(.*?)\/?models\/(ppo|sft|reward)\/*$/.exec(from) ?? [];
  if (name !== undefined && await files.exists(joinPath(parent || ".", "run.json"))) {
    return { folder: from, role: name as ModelRole, run: parent || "." };
  }
  return { folder: from, role: "model" };
}

const isDemoBase = (folder: string) => /(^|\/)public\/demo\/base\/*$/.test(folder);

/** What a run's files say for the card. */
async function readRun(files: Files, run: string): Promise<NonNullable<CardFacts["run"]>> {
  const path = joinPath(run, "run.json");
  const record = await readJson(files, path) as RunRecord;
  const config: Config = readConfig(record.config, path);
  if (!record.device || !record.versions || !record.startedAt) {
    throw new DamagedFileError(
      `${path} lacks device, versions or startedAt; copy models/ out of the run and export that.`,
    );
  }
  const ifThere = async (file: string) =>
    await files.exists(joinPath(run, file)) ? await readJson(files, joinPath(run, file)) : undefined;
  const reward = await ifThere("stages/reward.json") as { output?: { accuracy?: number } } | undefined;
  const accuracy = reward?.output?.accuracy;
  return {
    config,
    record,
    evaluation: await ifThere("evaluation.json") as Evaluation | undefined,
    reward: typeof accuracy === "number" ? { accuracy } : undefined,
  };
}

if (import.meta.main) {
  const progress = terminalProgress(standardOutput());
  try {
    console.log(await exportTask(Deno.args, { files: diskFiles(), env: Deno.env.get, progress }));
  } catch (error) {
    failWith(error);
  }
}
