/**
 * What goes wrong in runs of days, and what is done about it.
 *
 * - A figure that is not finite: the step's passes are computed once more from the same weights, this time looking at every named tensor,
 *   and the first one that is not finite is told. AdamW has skipped the step, so the weights are those before it.
 * - KL, length, EOS rate, entropy and clip fraction of PPO outside their bounds. At 1B two of four published seeds collapsed, to a KL of 50
 *   and 85 nats, while the reward went on rising (arXiv 2403.17031): a run must tell.
 *
 * Each alarm has a reaction from the configuration: warn, stop, or roll back, which takes the stage to its last checkpoint before the alarm
 * and lowers its learning rate, so that it does not meet the same wall again. Alarms are kept in `alarms.json`, which no rewinding of records touches.
 */
import type { Watcher } from "../kernels/capture.ts";
import { gradNorm } from "../kernels/grad_norm.ts";
import type { Gpu } from "../kernels/gpu.ts";
import type { Tensor } from "../kernels/tensor.ts";
import { DamagedFileError, joinPath } from "./bytes.ts";
import { discardCheckpoints, newestCheckpoint } from "./checkpoints.ts";
import type { Config } from "./config.ts";
import { formatFigure, groupThousands, percent } from "./format.ts";
import type { Qwen2 } from "./qwen2.ts";
import { type Alarm, alarmPlace, type StageName } from "./report/data.ts";
import { logMetrics, type Run } from "./run.ts";
import { readSealed, writeSealed } from "./run_directory.ts";

/** A stage was stopped for its health. The message says why, and how to go on. */
export class Unhealthy extends Error {
  override name = "Unhealthy";
}

/** A stage goes back to its last checkpoint; why has been told. */
export class RolledBack extends Error {
  override name = "RolledBack";
}

// ---- alarms ----

/**
 * All alarms of a run, in the order in which they were raised.
 * @throws DamagedFileError where they are not as they were written
 */
export async function readAlarms({ files, path }: Pick<Run, "files" | "path">): Promise<Alarm[]> {
  const file = joinPath(path, "alarms.json");
  if (!await files.exists(file)) return [];
  const record = await readSealed(files, file);
  if (!Array.isArray(record?.alarms)) {
    throw new DamagedFileError(
      `${file} is not as it was written; delete it to go on as if nothing had been rolled back.`,
    );
  }
  return record.alarms;
}

async function writeAlarms(
  { files, path }: Pick<Run, "files" | "path">,
  alarms: readonly Alarm[],
): Promise<void> {
  await writeSealed(files, joinPath(path, "alarms.json"), { alarms });
}

/** Shows an alarm and keeps it; what a resumed run meets again is kept once. */
export async function tellAlarm(run: Pick<Run, "files" | "path" | "progress">, alarm: Alarm): Promise<void> {
  run.progress.note(`${alarmPlace(alarm)}: ${alarm.sentence}`);
  const others = (await readAlarms(run)).filter((one) =>
    !(one.stage === alarm.stage && one.step === alarm.step && one.figure === alarm.figure &&
      one.learningRateFactor === alarm.learningRateFactor && one.inputs === alarm.inputs &&
      one.figure !== "device")
  );
  await writeAlarms(run, [...others, alarm]);
}

/** Forgets alarms, of stages that begin anew. */
export async function forgetAlarms(run: Run, isPast: (alarm: Alarm) => boolean): Promise<void> {
  const alarms = await readAlarms(run);
  const kept = alarms.filter((alarm) => !isPast(alarm));
  if (kept.length < alarms.length) await writeAlarms(run, kept);
}

/** How often a stage has gone back, and what its learning rate is multiplied by since then. */
export interface Rollbacks {
  count: number;
  learningRateFactor: number;
}

/**
 * What has been rolled back in this attempt at a stage. Alarms that are younger than the checkpoint, whose lines have been cut out of
 * metrics.jsonl with all that came after it, are written there again.
 * @param restored the checkpoint which the stage goes on from, if any; its notes hold `rollbacks`, their count at its time
 */
export async function recallRollbacks(
  run: Run,
  stage: StageName,
  inputs: string,
  restored: { step: number; notes: Record<string, unknown> } | undefined,
): Promise<Rollbacks> {
  const back = rollbacksOf(await readAlarms(run), stage, inputs);
  for (const alarm of back.slice(Number(restored?.notes.rollbacks ?? 0))) {
    await logMetrics(run, stage, restored?.step ?? 0, {
      "precis/alarm": `${alarmPlace(alarm)}: ${alarm.sentence}`,
    });
  }
  return { count: back.length, learningRateFactor: back.at(-1)?.learningRateFactor ?? 1 };
}

function rollbacksOf(alarms: readonly Alarm[], stage: StageName, inputs: string): Alarm[] {
  return alarms.filter((one) => one.stage === stage && one.inputs === inputs && one.reaction === "rollback");
}

/** What an alarm is about, before it has been decided what comes of it. */
export interface Finding {
  /** The figure's name in metrics.jsonl. */
  figure: string;
  /** Without a full stop. */
  what: string;
  reaction: "warn" | "stop" | "rollback";
  /** The field that gives the reaction: "health.klReaction". */
  field: string;
}

/**
 * Raises an alarm and does what it asks for.
 * @param free frees the stage's models, before it is run again
 * @throws Unhealthy or RolledBack, unless it only warns
 */
export async function raise(
  run: Run,
  { stage, step, inputs }: { stage: StageName; step: number; inputs: string },
  { figure, what, reaction, field }: Finding,
  free: () => void,
): Promise<void> {
  const { mostRollbacks, rollbackFactor } = run.config.health;
  const back = rollbacksOf(await readAlarms(run), stage, inputs);
  const exhausted = reaction === "rollback" && back.length >= mostRollbacks;
  if (reaction === "rollback" && !exhausted) {
    // The figures of a step are those of the weights before it: a checkpoint of these would lead to the same alarm, whatever the rate.
    // Nor does it go to one that happens to be there since somebody stopped the run: it would not repeat itself.
    const every = Math.max(1, run.config.checkpoints.every);
    await discardCheckpoints(run.files, run.path, stage, (at) => at >= step - 1 || at % every !== 0);
  }
  const { checkpoint } = await newestCheckpoint(run.files, run.path, stage, "sizes");
  const from = checkpoint ? `the checkpoint of step ${checkpoint.step}` : "the beginning of the stage";
  const alarm: Alarm = { stage, step, figure, inputs, reaction: exhausted ? "stop" : reaction, sentence: "" };
  if (alarm.reaction === "rollback") {
    alarm.learningRateFactor = rollbackFactor ** (back.length + 1);
    alarm.sentence = `${what}. Going back to ${from} with ${
      formatFigure(alarm.learningRateFactor)
    } of the learning rate (rollback ${back.length + 1} of at most ${mostRollbacks})`;
  } else if (alarm.reaction === "stop") {
    const spent = exhausted && mostRollbacks > 0 ? ` after ${mostRollbacks} rollbacks` : "";
    alarm.sentence = `${what}. The run stops${spent}; what was done up to ${from} is kept`;
  } else alarm.sentence = what;
  alarm.sentence += ".";
  await tellAlarm(run, alarm);
  await logMetrics(run, stage, step, { "precis/alarm": alarm.sentence });
  if (alarm.reaction === "stop") {
    const goOn = figure === "non-finite"
      ? `lower --${stage}.learningRate or set --${stage}.maxGradNorm, which begins the stage anew`
      : `--resume --${field} warn goes on from there all the same`;
    throw new Unhealthy(`${alarmPlace(alarm)}: ${alarm.sentence.slice(0, -1)}; ${goOn}.`);
  }
  if (alarm.reaction === "rollback") {
    free();
    throw new RolledBack(alarm.sentence);
  }
}

// ---- figures that are not finite ----

/**
 * Raises the alarm where a figure of a step is not finite.
 * @param trace names the tensor that was it first
 */
export async function requireFinite(
  run: Run,
  at: { stage: StageName; step: number; inputs: string },
  figures: Record<string, number>,
  trace: () => Promise<string>,
  free: () => void,
): Promise<void> {
  const bad = Object.entries(figures).find(([, value]) => !Number.isFinite(value));
  if (!bad) return;
  await raise(run, at, {
    figure: "non-finite",
    what: `${bad[0]} is ${bad[1]}: ${await trace()}. The weights are as before this step`,
    reaction: run.config.health.nonFiniteReaction,
    field: "health.nonFiniteReaction",
  }, free);
}

/** Counts the values of every named tensor that are not finite, on the device: copies of all of them would not fit there. */
class FiniteWatch implements Watcher {
  private readonly seen: { what: string; size: number; count: Tensor }[] = [];
  /** Forward passes so far: one a micro-batch, in PPO two. */
  private passes = 0;

  see(gpu: Gpu, name: string, tensor: Tensor): void {
    if (name === "embed") this.passes++;
    const made = name.endsWith(".grad") ? "going backward" : `made by kernel ${gpu.latestKernel}`;
    this.look(gpu, `${name} (${made}, pass ${this.passes} of the step)`, tensor);
  }

  look(gpu: Gpu, what: string, tensor: Tensor): void {
    if (tensor.dtype !== "f32") return;
    const { nonFinite } = gpu.scope(() => {
      const { nonFinite } = gradNorm(gpu, [tensor]);
      return { nonFinite: gpu.keep(nonFinite) };
    });
    gpu.release(nonFinite);
    this.seen.push({ what, size: tensor.size, count: nonFinite });
  }

  /** The first tensor with such values, in words; undefined where there is none. */
  async first(gpu: Gpu): Promise<string | undefined> {
    const counts = await gpu.read(...this.seen.map(({ count }) => count));
    for (const { count } of this.seen) gpu.release(count);
    const at = counts.findIndex(([count]) => count > 0);
    if (at < 0) return undefined;
    const { what, size } = this.seen[at];
    const share = `${groupThousands(counts[at][0])} of ${groupThousands(size)}`;
    return `the first values that are not finite are ${share} in ${what}`;
  }
}

/**
 * Computes a step's passes once more and names the first tensor with a value that is not finite: weights, inputs, then forward and
 * backward as they come, gradients last.
 * @param inputs what the passes are given beside tokens
 * @param accumulate encodes the passes, gradients to be added to those of `models`
 */
export async function traceNonFinite(
  gpu: Gpu,
  models: readonly Qwen2[],
  inputs: readonly Tensor[],
  accumulate: () => void,
): Promise<string> {
  return await firstNonFinite(gpu, models, inputs, accumulate) ??
    "every tensor of the step is finite when it is computed again, so it is their sum that overflows";
}

/** The same; undefined where every tensor is finite. */
export async function firstNonFinite(
  gpu: Gpu,
  models: readonly Qwen2[],
  inputs: readonly Tensor[],
  accumulate: () => void,
): Promise<string | undefined> {
  const watch = new FiniteWatch();
  const parameters = models.flatMap((model) =>
    [...model.parameters.tensors].map(([name, tensor]) => ({ name: `${model.name}'s ${name}`, tensor }))
  );
  for (const { name, tensor } of parameters) watch.look(gpu, `the weights ${name}`, tensor);
  for (const tensor of inputs) watch.look(gpu, `the input "${tensor.name}"`, tensor);
  for (const { parameters } of models) parameters.clearGradients();
  gpu.watcher = watch;
  try {
    accumulate();
  } finally {
    gpu.watcher = null;
  }
  for (const { name, tensor } of parameters) {
    if (tensor.grad) watch.look(gpu, `the gradient of ${name}`, tensor.grad);
  }
  return await watch.first(gpu);
}

// ---- bounds ----

/** What the watch over PPO remembers between updates; goes into checkpoints. */
export interface HealthState {
  /** Figures of the last few updates. */
  recent: Record<string, number>[];
  /** Bounds that are exceeded at present: an alarm is raised when one comes to be. */
  raised: string[];
}

interface Bound {
  /** Its field: "health.klMost". */
  field: "klWarn" | "klMost" | "lengthMost" | "eosLeast" | "entropyLeast" | "clipMost";
  figure: string;
  reaction: (fields: Config["health"]) => { reaction: Finding["reaction"]; field: string };
  /** What the figure is divided by. */
  of?: (config: Config) => number;
  below?: boolean;
  words: (mean: number) => string;
}

const by = (field: "klReaction" | "lengthReaction" | "eosReaction" | "entropyReaction" | "clipReaction") =>
(
  fields: Config["health"],
) => ({ reaction: fields[field], field: `health.${field}` });

const bounds: readonly Bound[] = [
  {
    field: "klMost",
    figure: "objective/kl",
    reaction: by("klReaction"),
    words: (mean) =>
      `KL to the SFT policy is ${formatFigure(mean)} nats a response: collapsed, as published runs go`,
  },
  {
    field: "klWarn",
    figure: "objective/kl",
    reaction: () => ({ reaction: "warn", field: "health.klWarn" }),
    words: (mean) =>
      `KL to the SFT policy is ${formatFigure(mean)} nats a response: beyond what good published runs reach`,
  },
  {
    field: "lengthMost",
    figure: "precis/length",
    reaction: by("lengthReaction"),
    of: ({ ppo }) => ppo.responseLength,
    words: (mean) => `responses fill ${percent(mean)} of --ppo.responseLength on average`,
  },
  {
    field: "eosLeast",
    figure: "precis/eos_rate",
    reaction: by("eosReaction"),
    below: true,
    words: (mean) => `only ${percent(mean)} of the responses end`,
  },
  {
    field: "entropyLeast",
    figure: "policy/entropy_avg",
    reaction: by("entropyReaction"),
    below: true,
    words: (mean) => `the policy's entropy is ${formatFigure(mean)} nats a token: it hardly varies any more`,
  },
  {
    field: "clipMost",
    figure: "policy/clipfrac_avg",
    reaction: by("clipReaction"),
    words: (mean) => `the ratios of ${percent(mean)} of the tokens are clipped: updates are too large`,
  },
];

/**
 * Holds an update's figures against the bounds, as means over the last `health.window` updates. A bound of 0 is off.
 * @param state of the update before; changed
 * @returns what has come to be out of bounds with this update
 */
export function judgeHealth(
  config: Config,
  state: HealthState,
  figures: Record<string, number>,
): Finding[] {
  const fields = config.health;
  state.recent.push(Object.fromEntries(bounds.map(({ figure }) => [figure, figures[figure]])));
  state.recent.splice(0, state.recent.length - fields.window);
  const findings: Finding[] = [];
  for (const { field, figure, reaction, of, below, words } of bounds) {
    const bound = fields[field];
    const mean = state.recent.reduce((sum, row) => sum + row[figure], 0) / state.recent.length /
      (of?.(config) ?? 1);
    const out = bound > 0 && (below ? mean < bound : mean > bound);
    const known = state.raised.includes(field);
    if (out && !known) {
      state.raised.push(field);
      const span = state.recent.length > 1 ? `mean of ${state.recent.length} updates, ` : "";
      findings.push({
        figure,
        what: `${words(mean)} (${span}${below ? "below" : "above"} --health.${field} ${formatFigure(bound)})`,
        ...reaction(fields),
      });
    } else if (!out && known) state.raised.splice(state.raised.indexOf(field), 1);
  }
  // The worst first: a warning beside a stop would only repeat it.
  const severest = findings.find((one) => one.reaction !== "warn");
  return severest ? [severest] : findings;
}
