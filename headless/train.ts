/**
 * `deno task train`: takes a base model through the published recipe, preprocess → sft → reward → ppo → evaluate, and writes a run
 * directory with a report. Started again in the same directory it skips what is done and goes on from the last checkpoint.
 */
import { declaredKernels } from "../kernels/kernel.ts";
import {
  DamagedFileError,
  digestOfJson,
  type Files,
  joinPath,
  readJson,
  sha256OfFile,
  writeJson,
} from "../lab/bytes.ts";
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
import { goldScore } from "../lab/demo/gold.ts";
import { readAlarms, Unhealthy } from "../lab/health.ts";
import { fitMicroBatches } from "../lab/micro_batches.ts";
import { readMetrics } from "../lab/metrics.ts";
import { runStages, stagesToRun } from "../lab/pipeline.ts";
import { planRun } from "../lab/plan.ts";
import { memoryTable, planTable, type StagePlan } from "../lab/plan_table.ts";
import { readQwen2Config } from "../lab/qwen2.ts";
import { expectedTensors } from "../lab/qwen2_config.ts";
import { buildReport } from "../lab/report/report.ts";
import { terminalSummary } from "../lab/report/summary.ts";
import {
  type Evaluation,
  type ReportData,
  type RunRecord,
  type StageFacts,
  stageNames,
} from "../lab/report/data.ts";
import { type Run, Stopped } from "../lab/run.ts";
import { openRunDirectory, readSealed, readStageRecord, writeSealed } from "../lab/run_directory.ts";
import { newestOf, readStartedRun, runsIn } from "../lab/run_record.ts";
import { evaluationPath } from "../lab/stages/evaluate.ts";
import { readSamples } from "../lab/stages/ppo_records.ts";
import { splitSizes } from "../lab/stages/preprocess.ts";
import { loadTokenizer } from "../lab/tokenizer.ts";
import { openGpu } from "./devices.ts";
import { failWith } from "./exit.ts";
import { findJudge } from "./judge_endpoint.ts";
import { settleKernels } from "./kernel_choices.ts";
import { diskFiles, hasEnded, thisProcess } from "./files.ts";
import { type Flags, helpText, parseFlags } from "./flags.ts";
import { isAtHand } from "./hub.ts";
import { onInterrupt } from "./interrupts.ts";
import { standardOutput, terminalProgress } from "./progress.ts";
import { changedBatches, digestSources, fetchSources, loadSources, pinnedSources } from "./sources.ts";
import { tokenWorkers } from "./token_workers.ts";
import { versions } from "./versions.ts";

const usage = {
  task: "train",
  about:
    "runs the recipe: preprocess, supervised fine-tuning, reward model, PPO, evaluation; then writes report.html.",
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

async function main(): Promise<void> {
  const flags = parseFlags(Deno.args, usage);
  const terminal = standardOutput();
  if (flags.help) return console.log(helpText(usage, { width: terminal.columns(), colour: terminal.colour }));

  if (flags.own.stages.length === 0) {
    throw new RangeError(`--stages names none of ${stageNames.join(", ")}; leave it out to run all.`);
  }
  const files = diskFiles();
  const { config, why } = await chooseConfig(files, flags);
  const progress = terminalProgress(terminal);
  progress.note(why);
  const sources = await fetchSources(config, await pinnedSources(files, config.out), progress);
  const baseFolder = sources.base.folder;
  const dataset = await loadSources(files, sources);
  for (const sentence of dataset.notes ?? []) progress.note(sentence);
  // What needs no device and little time is looked at first: bad input must not cost an hour of preprocessing.
  if (flags.own.stages.some((stage) => stage !== "preprocess")) derivedFields(config, splitSizes(dataset));
  const shape = await readQwen2Config(files, baseFolder);
  requireTensors(await openCheckpoint(files, baseFolder), expectedTensors(shape));
  const { preprocess: { queryTokens, responseTokens, preferenceTokens }, ppo: { responseLength } } = config;
  const longest = queryTokens + Math.max(responseTokens, preferenceTokens, responseLength);
  if (longest > shape.maxPositions) {
    throw new RangeError(
      `Query and response take up to ${longest} tokens, more than the ${shape.maxPositions} positions of ${baseFolder}; ` +
        `lower --preprocess.queryTokens.`,
    );
  }
  const tokenizer = await loadTokenizer((path) => files.read(path), baseFolder, shape.vocabulary);
  const judge = flags.own.stages.includes("evaluate")
    ? await findJudge(files, config, (name) => Deno.env.get(name), progress)
    : undefined;
  const gpu = await openGpu(config.gpu);
  const adapter =
    `${gpu.facts.adapter} through ${gpu.facts.runtime === "dawn" ? "Dawn" : "Deno's own WebGPU"}` +
    (gpu.facts.software ? " (software: shaders run on the CPU)" : "");
  progress.note(`Adapter: ${adapter}. Run directory: ${config.out}`);

  let opened = gpu;
  const directory = await openRunDirectory(files, config.out, await thisProcess(), hasEnded);
  const interrupts = watchInterrupts();
  try {
    for (const sentence of directory.healed) progress.note(sentence);
    const settled = await settleKernels(gpu, files, config, shape);
    if (settled) progress.note(settled);
    const inputs = await digestSources(files, sources);
    const changed = await changedBatches(files, config.out, { sources: sources.pinned, inputs });
    for (const sentence of changed) progress.note(sentence);
    const record: RunRecord = {
      format: 1,
      config: config as unknown as Record<string, unknown>,
      choices: [why],
      notes: [...dataset.notes ?? [], ...changed],
      startedAt: new Date().toISOString(),
      device: gpu.facts,
      kernels: Object.fromEntries(gpu.choices),
      kernelDigest: await digestOfJson(
        declaredKernels.map(({ name, source }) => [name, source].join("\n")).sort(),
      ),
      versions: await versions(),
      inputs,
      sources: sources.pinned,
    };
    await writeJson(files, joinPath(config.out, "run.json"), record);
    const run: Run = {
      gpu,
      reopenGpu: async () => opened = await openGpu(config.gpu),
      files,
      path: config.out,
      directory,
      config,
      baseFolder,
      dataset,
      tokenizer,
      tokenisers: (limits) => tokenWorkers(files, baseFolder, limits),
      gold: config.data === "demo"
        ? (post, summary) => goldScore({ ...post, facts: post.facts! }, summary)
        : undefined,
      judge,
      progress,
      stopping: () => interrupts.asked,
    };
    const stages = stageNames.filter((stage) => flags.own.stages.includes(stage));
    const clock = () => performance.now();
    const rest = stages.filter((stage) => stage !== "preprocess");
    await runStages(run, stages.filter((stage) => stage === "preprocess"), inputs, clock);
    // Whether it is done is asked once alone: the answer reads all the token tables.
    const tokenised = stages.includes("preprocess") ||
      (await stagesToRun(run, ["preprocess"], inputs)).length === 0;
    if (tokenised && rest.length > 0) {
      const fitted = await fitMicroBatches(run);
      for (const sentence of fitted.notes) progress.note(sentence);
      run.config = fitted.config;
      record.config = fitted.config as unknown as Record<string, unknown>;
      await writeJson(files, joinPath(config.out, "run.json"), record);
    }
    const plan = await planRun(run, await stagesToRun(run, rest, inputs), {
      clock,
      measure: flags.own["dry-run"] ? "always" : "auto",
    });
    for (const line of planTable(plan)) progress.note(line);
    if (flags.own["dry-run"]) {
      for (const line of memoryTable(plan)) progress.note(line);
      return;
    }
    if (plan.length > 0) await writeSealed(files, joinPath(config.out, "plan.json"), { stages: plan });
    if (run.stopping() && plan.length > 0) throw new Stopped(run, "planning");
    const unhealthy = await runStages(run, rest, inputs, clock).then(
      () => {},
      (error) => {
        // What was found wrong belongs into the report, of half a run then.
        if (error instanceof Unhealthy) return error;
        throw error;
      },
    );
    record.kernels = Object.fromEntries(run.gpu.choices);
    await writeJson(files, joinPath(config.out, "run.json"), record);
    const data = await reportData(files, config.out, record);
    await files.writeAtomic(joinPath(config.out, "report.html"), new TextEncoder().encode(buildReport(data)));
    console.log(`\n${terminalSummary(data, terminal.columns() ?? 100)}`);
    console.log(`\nReport: ${joinPath(config.out, "report.html")}`);
    if (unhealthy) throw unhealthy;
  } finally {
    // On a disk that is full or read-only by now the lock stays; the next run finds its holder dead. What went wrong before is to be told.
    await directory.release().catch(() => {});
    interrupts.close();
    opened.destroy();
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
    if (!await files.exists(joinPath(out, "run.json"))) {
      throw new DamagedFileError(`There is no run in ${out} to resume: it has no run.json; check --out.`);
    }
    const config = merge((await readStartedRun(files, out)).config, flags);
    return { config: { ...config, out }, why: `Going on with ${out} as its run.json says.` };
  }
  const { preset, why } = flags.preset
    ? { preset: flags.preset, why: `Preset ${flags.preset}, as asked for.` }
    : flags.overrides.model || flags.overrides.data
    ? { preset: "spark" as const, why: "Preset spark, the published recipe, as model or data are named." }
    : await findPreset(flags.overrides.gpu);
  const config = configure(preset, flags.overrides);
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

/** The machine that the published recipe is meant for, by the name of its GPU. */
const dgxSpark = /\bGB10\b/;

/**
 * The published recipe on a DGX Spark, and on any other GPU where its model and data are there, in the Hub's cache as a rule; else the
 * demo. On a software adapter the recipe would take years.
 */
async function findPreset(choice?: Config["gpu"]): Promise<{ preset: PresetName; why: string }> {
  const { model, data } = configure("spark", {});
  const there = await isAtHand("model", model) && await isAtHand("dataset", data);
  const gpu = await openGpu(choice);
  const { adapter, software } = gpu.facts;
  gpu.destroy();
  if (dgxSpark.test(adapter)) {
    return {
      preset: "spark",
      why: "Preset spark, the published recipe, as this is a DGX Spark; --preset demo for the embedded one.",
    };
  }
  if (there && !software) {
    return {
      preset: "spark",
      why:
        "Preset spark, the published recipe, as there are a GPU, its model and its data; --preset demo for the embedded one.",
    };
  }
  const lacks = software ? "there is no GPU" : "no real model and data are in sight";
  return {
    preset: "demo",
    why:
      `Preset demo, as ${lacks}; for the published recipe, use --preset spark, which fetches what it needs.`,
  };
}

/** The run directory in `runs/` that was started last. */
async function newestRun(files: Files): Promise<string> {
  const newest = await newestOf(files, await runsIn(files, "runs"));
  if (newest === undefined) {
    throw new DamagedFileError("There is no run in runs/ to resume; name one with --out FOLDER.");
  }
  return newest;
}

/** Everything the report shows, from the run directory. */
async function reportData(files: Files, out: string, run: RunRecord): Promise<ReportData> {
  const metrics = await readMetrics(files, joinPath(out, "metrics.jsonl"));
  const stages: StageFacts[] = [];
  for (const name of stageNames) {
    const done = await readStageRecord(files, out, name);
    if (done) stages.push(done.output as unknown as StageFacts);
  }
  const planPath = joinPath(out, "plan.json");
  const plan = await files.exists(planPath) ? await readSealed(files, planPath) : undefined;
  return {
    run,
    stages,
    plan: plan?.stages as StagePlan[] | undefined,
    metrics,
    alarms: await readAlarms({ files, path: out }),
    samples: await readSamples(files, joinPath(out, "samples.jsonl")),
    evaluation: await readEvaluation(files, out),
    madeAt: new Date().toISOString(),
  };
}

/** The evaluation, if there is one; its stage's record knows what it wrote. */
async function readEvaluation(files: Files, out: string): Promise<Evaluation | undefined> {
  const path = evaluationPath(out);
  const done = await readStageRecord(files, out, "evaluate");
  if (!done || !await files.exists(path)) return undefined;
  if ((await sha256OfFile(files, path)).sha256 !== done.output.sha256) {
    throw new DamagedFileError(`${path} is not as it was written; delete it to evaluate again.`);
  }
  return await readJson(files, path) as Evaluation;
}

/** Ctrl-C once finishes the step and saves; twice ends at once. */
function watchInterrupts(): { asked: boolean; close: () => void } {
  const watch = { asked: false, close: () => {} };
  watch.close = onInterrupt(() => {
    watch.asked = true;
    console.error("\nStopping after this step; press Ctrl-C again to stop at once.");
  }, () => Deno.exit(130));
  return watch;
}

if (import.meta.main) await main().catch(failWith);
