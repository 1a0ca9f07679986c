/**
 * `deno task train`: takes a base model through the published recipe, preprocess → sft → reward → ppo → evaluate, and writes a run
 * directory with a report. Started again in the same directory it skips what is done and goes on from the last checkpoint.
 */
import { GpuError } from "../kernels/gpu.ts";
import { DamagedFileError, type Files, joinPath, readJson, sha256OfFile, writeJson } from "../lab/bytes.ts";
import { openCheckpoint, requireTensors } from "../lab/checkpoint_files.ts";
import {
  type Config,
  configure,
  derivedFields,
  differences,
  type PresetName,
  readConfig,
} from "../lab/config.ts";
import { boolean, words } from "../lab/config_fields.ts";
import { type Dataset, loadDemoData, loadTldrFolder } from "../lab/dataset.ts";
import { goldScore } from "../lab/demo/gold.ts";
import { readJsonl } from "../lab/jsonl.ts";
import { runStages, stagesToRun } from "../lab/pipeline.ts";
import { planRun } from "../lab/plan.ts";
import { memoryTable, planTable, type StagePlan } from "../lab/plan_table.ts";
import { readQwen2Config } from "../lab/qwen2.ts";
import { expectedTensors } from "../lab/qwen2_config.ts";
import { buildReport } from "../lab/report/report.ts";
import { terminalSummary } from "../lab/report/summary.ts";
import {
  type Evaluation,
  type MetricRecord,
  type ReportData,
  type RunRecord,
  type StageFacts,
  stageNames,
  type TrainingSample,
} from "../lab/report/data.ts";
import type { Run } from "../lab/run.ts";
import { openRunDirectory } from "../lab/run_directory.ts";
import { splitSizes } from "../lab/stages/preprocess.ts";
import { loadTokenizer } from "../lab/tokenizer.ts";
import { openGpu } from "./devices.ts";
import { failWith } from "./exit.ts";
import { findJudge } from "./judge_endpoint.ts";
import { settleKernels } from "./kernel_choices.ts";
import { diskFiles, hasEnded, thisProcess } from "./files.ts";
import { type Flags, helpText, parseFlags } from "./flags.ts";
import { standardOutput, terminalProgress } from "./progress.ts";
import { versions } from "./versions.ts";

const usage = {
  task: "train",
  about:
    "Runs the recipe: preprocess, supervised fine-tuning, reward model, PPO, evaluation; then writes report.html.",
  own: {
    stages: words(stageNames, stageNames, { doc: "Only these stages; earlier ones must have been run" }),
    "dry-run": boolean(false, {
      doc:
        "Preprocess, print the plan (steps, tokens, operations, memory, time by a few measured steps), and stop",
    }),
    resume: boolean(false, {
      doc: "Take the configuration from the run directory's run.json; other flags still count",
    }),
  },
  fields: true,
  examples: [
    ["deno task train", "the demo, or the published recipe where model and data are there"],
    ["deno task train --seed 2 --out runs/two", "another seed, another folder"],
    ["deno task train --resume", "go on where an interrupted run stopped"],
    ["deno task train --stages ppo,evaluate --ppo.klCoef 0.1", "only these stages, with another β"],
  ],
} as const;

/** The demo's folders, beside this file wherever the repository lies. */
const demoFolder = decodeURIComponent(new URL("../public/demo", import.meta.url).pathname);

async function main(): Promise<void> {
  const flags = parseFlags(Deno.args, usage);
  const terminal = standardOutput();
  if (flags.help) return console.log(helpText(usage, { width: terminal.columns(), colour: terminal.colour }));

  const files = diskFiles();
  const { config, why } = await chooseConfig(files, flags);
  const progress = terminalProgress(terminal);
  progress.note(why);
  const baseFolder = config.model === "demo" ? joinPath(demoFolder, "base") : config.model;
  const dataset = await loadDataset(files, config);
  // What needs no device and little time is looked at first: bad input must not cost an hour of preprocessing.
  if (flags.own.stages.some((stage) => stage !== "preprocess")) derivedFields(config, splitSizes(dataset));
  const shape = await readQwen2Config(files, baseFolder);
  requireTensors(await openCheckpoint(files, baseFolder), expectedTensors(shape));
  const tokenizer = await loadTokenizer((path) => files.read(path), baseFolder, shape.vocabulary);
  const endpoint = flags.own.stages.includes("evaluate")
    ? await findJudge(files, config, (name) => Deno.env.get(name))
    : undefined;
  const gpu = await openGpu(config.gpu);
  const adapter =
    `${gpu.facts.adapter} through ${gpu.facts.runtime === "dawn" ? "Dawn" : "Deno's own WebGPU"}` +
    (gpu.facts.software ? " (software: shaders run on the CPU)" : "");
  progress.note(`Adapter: ${adapter}. Run directory: ${config.out}`);

  const directory = await openRunDirectory(files, config.out, await thisProcess(), hasEnded);
  const interrupts = watchInterrupts();
  try {
    for (const sentence of directory.healed) progress.note(sentence);
    const settled = await settleKernels(gpu, files, config, shape);
    if (settled) progress.note(settled);
    const inputs = await digests(files, config, baseFolder);
    const record: RunRecord = {
      format: 1,
      config: config as unknown as Record<string, unknown>,
      choices: [why],
      startedAt: new Date().toISOString(),
      device: gpu.facts,
      kernels: Object.fromEntries(gpu.choices),
      versions: await versions(),
      inputs,
    };
    await writeJson(files, joinPath(config.out, "run.json"), record);
    const run: Run = {
      gpu,
      files,
      path: config.out,
      directory,
      config,
      baseFolder,
      dataset,
      tokenizer,
      gold: config.data === "demo"
        ? (post, summary) => goldScore({ ...post, facts: post.facts! }, summary)
        : undefined,
      endpoint,
      progress,
      stopping: () => interrupts.count > 0,
    };
    const stages = stageNames.filter((stage) => flags.own.stages.includes(stage));
    const clock = () => performance.now();
    await runStages(run, stages.filter((stage) => stage === "preprocess"), inputs, clock);
    const plan = await planRun(run, await stagesToRun(run, stages, inputs), {
      clock,
      measure: flags.own["dry-run"] ? "always" : "auto",
    });
    for (const line of planTable(plan)) progress.note(line);
    if (flags.own["dry-run"]) {
      for (const line of memoryTable(plan)) progress.note(line);
      return;
    }
    if (plan.length > 0) await writeJson(files, joinPath(config.out, "plan.json"), plan);
    const rest = stages.filter((stage) => stage !== "preprocess");
    await runThroughLosses(run, () => runStages(run, rest, inputs, clock));
    record.kernels = Object.fromEntries(run.gpu.choices);
    await writeJson(files, joinPath(config.out, "run.json"), record);
    const data = await reportData(files, config.out, record);
    await files.writeAtomic(joinPath(config.out, "report.html"), new TextEncoder().encode(buildReport(data)));
    console.log(`\n${terminalSummary(data, terminal.columns() ?? 100)}`);
    console.log(`\nReport: ${joinPath(config.out, "report.html")}`);
    if (run.gpu !== gpu) run.gpu.destroy();
  } finally {
    await directory.release();
    interrupts.close();
    gpu.destroy();
  }
}

/** How often in one run a lost device is opened again. */
const mostLosses = 3;

/** Runs the stages; where the device is lost (a driver reset, memory gone), opens it again and goes on from the last checkpoint. */
async function runThroughLosses(run: Run, stages: () => Promise<unknown>): Promise<void> {
  for (let losses = 1;; losses++) {
    try {
      await stages();
      return;
    } catch (error) {
      if (!(error instanceof GpuError && error.kind === "lost") || losses > mostLosses) throw error;
      run.progress.note(`${error.message}. Opening the device again and going on from the last checkpoint.`);
      run.gpu = await openGpu(run.config.gpu);
      await settleKernels(run.gpu, run.files, run.config, await readQwen2Config(run.files, run.baseFolder));
    }
  }
}

/** The configuration, and in one sentence why it is this one. */
async function chooseConfig(
  files: Files,
  flags: Flags<typeof usage.own>,
): Promise<{ config: Config; why: string }> {
  if (flags.own.resume) {
    if (flags.preset) throw new RangeError("--resume takes the preset from run.json; leave --preset out.");
    const out = flags.overrides.out ?? await newestRun(files);
    const path = joinPath(out, "run.json");
    if (!await files.exists(path)) {
      throw new DamagedFileError(`There is no run in ${out} to resume: it has no run.json; check --out.`);
    }
    const config = merge(readConfig((await readRun(files, path)).config, path), flags);
    return { config: { ...config, out }, why: `Going on with ${out} as its run.json says.` };
  }
  const preset: PresetName = flags.preset ??
    (flags.overrides.model || flags.overrides.data ? "spark" : await findPreset(files));
  const config = configure(preset, flags.overrides);
  const why = flags.preset
    ? `Preset ${preset}, as asked for.`
    : preset === "demo"
    ? "Preset demo, as no real model and data are in sight; for the published recipe, use --preset spark with --model FOLDER --data FOLDER."
    : "Preset spark, the published recipe, as model and data are there; --preset demo for the embedded one.";
  const changed = differences(config, configure(preset, {})).map(({ path }) => path);
  return { config, why: changed.length > 0 ? `${why} Changed: ${changed.join(", ")}.` : why };
}

function merge(config: Config, { overrides }: Flags<typeof usage.own>): Config {
  const merged: Record<string, unknown> = { ...config };
  for (const [name, value] of Object.entries(overrides)) {
    merged[name] = typeof value === "object" && !Array.isArray(value)
      ? { ...merged[name] as object, ...value }
      : value;
  }
  return readConfig(merged);
}

/** The published recipe where its default folders are there, else the demo. */
async function findPreset(files: Files): Promise<PresetName> {
  const { model, data } = configure("spark", {});
  return await files.exists(joinPath(model, "config.json")) && await files.exists(data) ? "spark" : "demo";
}

async function readRun(files: Files, path: string): Promise<Pick<RunRecord, "config" | "startedAt">> {
  try {
    const { config, startedAt } = await readJson(files, path) as Partial<RunRecord>;
    if (typeof startedAt === "string" && typeof config === "object" && config) return { config, startedAt };
  } catch (error) {
    if (!(error instanceof DamagedFileError || error instanceof TypeError)) throw error;
  }
  throw new DamagedFileError(
    `${path} is damaged; start the run again with its flags and --out instead of --resume: what is done will be kept.`,
  );
}

/** The run directory in `runs/` that was started last. */
async function newestRun(files: Files): Promise<string> {
  const started: [string, string][] = [];
  for (const name of await files.exists("runs") ? await files.list("runs") : []) {
    const folder = joinPath("runs", name.replace(/\/$/, ""));
    const path = joinPath(folder, "run.json");
    if (!name.endsWith("/") || !await files.exists(path)) continue;
    started.push([(await readRun(files, path)).startedAt, folder]);
  }
  if (started.length === 0) {
    throw new DamagedFileError("There is no run in runs/ to resume; name one with --out FOLDER.");
  }
  return started.sort().at(-1)![1];
}

async function loadDataset(files: Files, config: Config): Promise<Dataset> {
  return config.data === "demo"
    ? await loadDemoData(files, demoFolder)
    : await loadTldrFolder(files, config.data);
}

/** SHA-256 of the base model's and the data's files: inputs of every stage. */
async function digests(files: Files, config: Config, baseFolder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const add = async (label: string, folder: string, pattern: RegExp) => {
    for (const name of (await files.list(folder)).filter((file) => pattern.test(file))) {
      found[`${label}/${name}`] = (await sha256OfFile(files, joinPath(folder, name))).sha256;
    }
  };
  await add("model", baseFolder, /\.(json|safetensors)$/);
  const data = config.data === "demo" ? demoFolder : config.data;
  await add("data", data, /\.jsonl(\.gz)?$/);
  return found;
}

/** Everything the report shows, from the run directory. */
async function reportData(files: Files, out: string, run: RunRecord): Promise<ReportData> {
  const metrics: MetricRecord[] = [];
  for await (const { value } of readJsonl(files, joinPath(out, "metrics.jsonl"))) {
    metrics.push(value as MetricRecord);
  }
  const stages: StageFacts[] = [];
  for (const name of stageNames) {
    const path = joinPath(out, "stages", `${name}.json`);
    if (!await files.exists(path)) continue;
    const { output } = await readJson(files, path) as unknown as { output: StageFacts };
    stages.push(output);
  }
  const samples: TrainingSample[] = [];
  const samplesPath = joinPath(out, "samples.jsonl");
  if (await files.exists(samplesPath)) {
    for await (const { value } of readJsonl(files, samplesPath)) samples.push(value as TrainingSample);
  }
  const plan = joinPath(out, "plan.json");
  const evaluation = joinPath(out, "evaluation.json");
  return {
    run,
    stages,
    plan: await files.exists(plan) ? await readJson(files, plan) as unknown as StagePlan[] : undefined,
    metrics,
    samples,
    evaluation: await files.exists(evaluation)
      ? await readJson(files, evaluation) as unknown as Evaluation
      : undefined,
    madeAt: new Date().toISOString(),
  };
}

/** Ctrl-C once finishes the step and saves; twice ends at once. */
function watchInterrupts(): { count: number; close: () => void } {
  const watch = { count: 0, close: () => {} };
  const onSignal = () => {
    if (++watch.count > 1) Deno.exit(130);
    console.error("\nStopping after this step; press Ctrl-C again to stop at once.");
  };
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) Deno.addSignalListener(signal, onSignal);
  watch.close = () => signals.forEach((signal) => Deno.removeSignalListener(signal, onSignal));
  return watch;
}

if (import.meta.main) await main().catch(failWith);
