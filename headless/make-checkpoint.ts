/** `deno task make-checkpoint`: a checkpoint of random weights in the shape of a real one, for measuring and testing at full size. */
import { DamagedFileError, joinPath } from "../lab/bytes.ts";
import { requireNoModel } from "../lab/checkpoint_files.ts";
import { choice, integer, text } from "../lab/config_fields.ts";
import { formatBytes, groupThousands } from "../lab/format.ts";
import { readQwen2Config } from "../lab/qwen2.ts";
import type { Qwen2Config } from "../lab/qwen2_config.ts";
import {
  parameterCount,
  publishedConfig,
  publishedModels,
  writeRandomCheckpoint,
} from "../lab/random_checkpoint.ts";
import { failWith } from "./exit.ts";
import { diskFiles } from "./files.ts";
import { helpText, parseFlags } from "./flags.ts";
import { standardOutput, terminalProgress } from "./progress.ts";

const usage = {
  task: "make-checkpoint",
  about: "writes a model folder of random weights, with a real model's tensors, names, shapes and files.",
  own: {
    like: text("Qwen/Qwen2.5-0.5B", {
      doc: `Whose shape: ${publishedModels.join(", ")}, or a folder with a config.json`,
      placeholder: "MODEL",
    }),
    out: text("", {
      doc: "Folder to write; it must hold no model yet",
      placeholder: "FOLDER",
      mayBeEmpty: true,
    }),
    seed: integer(1, { doc: "All weights follow from it", min: 0, max: 2 ** 32 - 1 }),
    dtype: choice(["BF16", "F16", "F32"], "BF16", { doc: "Of the stored weights" }),
    layers: integer(0, { doc: "Keep only so many layers; 0 = all", unit: "layers", min: 0, max: 1024 }),
    tokenizer: text("", {
      doc: "Folder whose tokenizer is copied along; none if left out",
      placeholder: "FOLDER",
      mayBeEmpty: true,
    }),
  },
  examples: [
    ["deno task make-checkpoint --like Qwen/Qwen2.5-0.5B --out /tmp/qwen", "1 GB, 494,032,768 weights"],
    ["deno task make-checkpoint --layers 2 --out /tmp/wide", "the same width and vocabulary, two layers"],
  ],
} as const;

/** What a tokenizer may consist of; the first must be there. */
const tokenizerFiles = ["tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"];

async function main(): Promise<void> {
  const { own, help } = parseFlags(Deno.args, usage);
  if (help) return console.log(helpText(usage));
  if (own.out === "") throw new RangeError("make-checkpoint needs --out FOLDER, the folder to write.");
  const files = diskFiles();
  const config = await shapeOf(own.like);
  if (own.layers > 0) config.layers = own.layers;
  if (own.tokenizer !== "" && !await files.exists(joinPath(own.tokenizer, tokenizerFiles[0]))) {
    throw new DamagedFileError(`${own.tokenizer} has no ${tokenizerFiles[0]} to copy; check --tokenizer.`);
  }

  const count = parameterCount(config);
  const progress = terminalProgress(standardOutput());
  const stage = progress.stage("weights", { steps: Math.floor(count / 1e6), unit: "million" });
  await requireNoModel(files, own.out);
  await files.makeDirectory(own.out);
  if (own.tokenizer !== "") {
    for (const name of tokenizerFiles) {
      const path = joinPath(own.tokenizer, name);
      if (await files.exists(path)) {
        await files.writeAtomic(joinPath(own.out, name), await files.read(path));
      }
    }
  }
  await writeRandomCheckpoint(files, own.out, config, { ...own, progress: stage });
  const bytes = await files.size(joinPath(own.out, "model.safetensors"));
  stage.done(`${groupThousands(count)} ${own.dtype} weights, ${formatBytes(bytes)} in ${own.out}`);
}

/** @throws where the name is neither in the table nor a folder with a configuration */
async function shapeOf(like: string): Promise<Qwen2Config> {
  const known = publishedConfig(like);
  if (known) return known;
  const files = diskFiles();
  if (!await files.exists(joinPath(like, "config.json"))) {
    throw new RangeError(
      `--like ${like} is neither a folder with a config.json nor one of ${publishedModels.join(", ")}.`,
    );
  }
  return await readQwen2Config(files, like);
}

if (import.meta.main) await main().catch(failWith);
