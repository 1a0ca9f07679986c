/**
 * `deno task demo-models`: trains the demo's models with the default demo run and puts them beside its base model, with a record of what
 * made them. What of the run is there already is not done again.
 */
import { joinPath, readJson, writeJson } from "../lab/bytes.ts";
import { choice, text } from "../lab/config_fields.ts";
import { presetConfig, readConfig } from "../lab/config.ts";
import { describeModels, modelsRecord, shippedModels } from "../lab/demo/models.ts";
import type { RunRecord } from "../lab/report/data.ts";
import { failWith } from "./exit.ts";
import { diskFiles } from "./files.ts";
import { helpText, parseFlags } from "./flags.ts";

const usage = {
  task: "demo-models",
  about:
    "trains the demo's models and ships them; its data and base model must be there (demo-data, demo-base).",
  own: {
    demo: text("public/demo", { doc: "Folder of the demo, where the models go", placeholder: "FOLDER" }),
    run: text("runs/demo-models", { doc: "Run directory; a finished run is taken as it is" }),
    gpu: choice(["auto", "dawn", "native"], "auto", { doc: "WebGPU implementation" }),
  },
};

async function main(): Promise<void> {
  const { own, help } = parseFlags(Deno.args, usage);
  if (help) return console.log(helpText(usage));
  const files = diskFiles();
  const train = decodeURIComponent(new URL("./train.ts", import.meta.url).pathname);
  const args = ["run", "-A", train, "--preset", "demo", "--out", own.run, "--gpu", own.gpu];
  const { success } = await new Deno.Command(Deno.execPath(), { args, stdin: "null" }).spawn().status;
  if (!success) throw new Error(`The run in ${own.run} has not come to its end; start this task again.`);

  const record = await readJson(files, joinPath(own.run, "run.json")) as RunRecord;
  const description = await describeModels(files, own.run, record);
  if (description.seed !== presetConfig("demo").seed || readConfig(record.config).preset !== "demo") {
    throw new Error(`${own.run} is not the default demo run; name another folder with --run.`);
  }
  for (const name of shippedModels) {
    const to = joinPath(own.demo, name);
    if (await files.exists(to)) await files.remove(to);
    await files.makeDirectory(to);
    for (const file of Object.keys(description.models[name].files)) {
      await files.writeAtomic(
        joinPath(to, file),
        await files.read(joinPath(own.run, "models", name, file)),
      );
    }
    console.log(`${to}  ${JSON.stringify(description.models[name].figures)}`);
  }
  await writeJson(files, joinPath(own.demo, modelsRecord), description);
  console.log(`${joinPath(own.demo, modelsRecord)}: digests, seed and figures`);
}

if (import.meta.main) await main().catch(failWith);
