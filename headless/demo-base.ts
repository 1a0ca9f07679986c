/** `deno task demo-base`: pretrains the demo's base model on generated posts and writes it in Hugging Face layout. */
import { pretrain, pretrainDefaults } from "../lab/demo/pretrain.ts";
import { choice, integer, number, text } from "../lab/config_fields.ts";
import { saveQwen2 } from "../lab/qwen2.ts";
import { loadTokenizer } from "../lab/tokenizer.ts";
import { openGpu } from "./devices.ts";
import { failWith } from "./exit.ts";
import { diskFiles } from "./files.ts";
import { helpText, parseFlags } from "./flags.ts";

const usage = {
  task: "demo-base",
  about:
    "pretrains the demo's base model on generated posts; its tokenizer must be there (deno task demo-data).",
  own: {
    data: text("public/demo", { doc: "Folder of the tokenizer", placeholder: "FOLDER" }),
    out: text("public/demo/base", {
      doc: "Folder for the model; what is there is replaced",
      placeholder: "FOLDER",
    }),
    seed: integer(pretrainDefaults.seed, { doc: "Of the weights and the posts", min: 0 }),
    steps: integer(pretrainDefaults.steps, { doc: "Optimiser steps", unit: "steps", min: 1 }),
    batch: integer(pretrainDefaults.batch, { doc: "Posts a step", unit: "posts", min: 1 }),
    learningRate: number(pretrainDefaults.learningRate, { doc: "Peak learning rate", above: 0 }),
    gpu: choice(["auto", "dawn", "native"], "auto", { doc: "WebGPU implementation" }),
  },
};

async function main(): Promise<void> {
  const { own, help } = parseFlags(Deno.args, usage);
  if (help) return console.log(helpText(usage));
  const files = diskFiles();
  const gpu = await openGpu(own.gpu);
  const tokenizer = await loadTokenizer((path) => files.read(path), own.data);
  const start = performance.now();
  const model = await pretrain(gpu, tokenizer, {
    ...own,
    microTokens: pretrainDefaults.microTokens,
    onStep: (step, loss) => {
      if (step % 20 !== 0 && step !== own.steps) return;
      const seconds = (performance.now() - start) / 1000;
      console.log(
        `step ${step}/${own.steps}  loss ${loss.toFixed(4)}  ${(seconds / step).toFixed(2)} s a step, ` +
          `${Math.round(seconds / step * (own.steps - step))} s left`,
      );
    },
  });
  if (await files.exists(own.out)) await files.remove(own.out);
  await files.makeDirectory(own.out);
  await saveQwen2(gpu, files, own.out, model);
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    await files.writeAtomic(`${own.out}/${name}`, await files.read(`${own.data}/${name}`));
  }
  console.log(`wrote ${own.out}`);
  gpu.destroy();
}

if (import.meta.main) await main().catch(failWith);
