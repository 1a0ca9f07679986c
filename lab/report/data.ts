/**
 * What a report is made from: the parsed files of a run directory. Everything that may be missing because its stage has not run is
 * optional, so that a report of half a run can be drawn too.
 */
import type { DeviceFacts } from "../../kernels/device.ts";
import type { StagePlan } from "../plan_table.ts";
import type { Difference, LengthBin, LengthControlled, WinRate } from "../winrate.ts";

/** The stages of a run, in order. */
export const stageNames = ["preprocess", "sft", "reward", "ppo", "evaluate"] as const;
export type StageName = typeof stageNames[number];

/** `run.json`. */
export interface RunRecord {
  format: 1;
  /** The whole configuration, as `Config` of lab/config.ts. */
  config: Record<string, unknown>;
  /** Why this preset and this adapter, in one sentence each. */
  choices?: string[];
  /** Sentences on what of the data is left out. */
  notes?: string[];
  /** ISO 8601, UTC. */
  startedAt: string;
  device: DeviceFacts;
  /** Kernel → variant taken and why: `{ "matmul 512": "f32 tiled: 1.8 × the plain one in a trial" }`. */
  kernels: Record<string, string>;
  /** SHA-256 of all kernel sources. */
  kernelDigest: string;
  /** `{ precis: "0.1.0 (2997f59)", deno: "2.9.6", … }`. */
  versions: Record<string, string>;
  /** SHA-256 of input files by name. */
  inputs?: Record<string, string>;
  /** What came from the Hub or another server, by configuration field; resuming takes the same commit wherever a branch is by then. */
  sources?: Partial<Record<"model" | "data" | "comparisons", PinnedSource>>;
}

/** Something fetched. */
export interface PinnedSource {
  /** As the configuration has it: "Qwen/Qwen2.5-0.5B", a URL. */
  name: string;
  /** Git's 40 digits, or 40 of a digest over files that are in no repository. */
  commit: string;
}

/** One line of `metrics.jsonl`: the figures that became known at one step, by the names of lab/metrics.ts. */
export interface MetricRecord {
  stage: StageName;
  /** Optimiser step (sft, reward) or update (ppo), from 1; 0 for what was measured before the first. */
  step: number;
  /** Null stands for a figure that was not finite. */
  [metric: string]: number | string | null | undefined;
}

/** An entry of `alarms.json`: something went wrong in a run, and what was done about it. */
export interface Alarm {
  stage: StageName;
  /** Optimiser step (sft, reward) or update (ppo); for a lost device, 0. */
  step: number;
  /** The metric that was out of bounds, "non-finite", or "device". */
  figure: string;
  /** What happened and what was done, with a full stop. */
  sentence: string;
  reaction: "warn" | "stop" | "rollback" | "reopen";
  /** Digest of the stage's inputs. */
  inputs: string;
  /** After a rollback: what the learning rate has been multiplied by since. */
  learningRateFactor?: number;
}

/** Something that must hold by construction, as it was found in this run. */
export interface Invariant {
  /** For instance "ratio is 1 in the first epoch of update 1". */
  name: string;
  /** What was found; null where it was not finite. */
  found: number | null;
  expected: number;
  /** Largest |found − expected| that passes. */
  tolerance: number;
  passed: boolean;
}

/** What the report tells about a stage's execution; kept in the stage's record. */
export interface StageFacts {
  name: StageName;
  /** False where the output of an earlier run was still good. */
  ran: boolean;
  seconds: number;
  steps?: number;
  /** Tokens that went through a forward pass. */
  tokens?: number;
  /** Bytes. */
  peakMemory?: number;
  /** One line on what came of it. */
  summary?: string;
  invariants?: Invariant[];
}

/** A policy that writes summaries, or "reference" for the human ones. */
export type Author = "reference" | "base" | "sft" | "ppo";

/** A mean with its 95 % interval and the number of posts behind it. */
export interface Mean {
  mean: number;
  lower?: number;
  upper?: number;
  count?: number;
}

/** What one author's summaries of the evaluation posts look like. */
export interface AuthorFigures {
  author: Author;
  /** Gold score, where the data have a gold rule. */
  gold?: Mean;
  /** Normalised score of our reward model. */
  reward?: Mean;
  /** Tokens, `<|endoftext|>` included. */
  length?: Mean;
  /** Share of summaries that ended with `<|endoftext|>`. */
  eosRate?: number;
  /** KL to the SFT policy, nats a response, at the rollout temperature. */
  kl?: Mean;
  /** F-measures, 0–1, means over posts. */
  rouge1?: number;
  rouge2?: number;
  rougeL?: number;
  /** Mean negative log-likelihood of the reference: all tokens of query and response; the response's alone. */
  lossWithQuery?: number;
  lossResponse?: number;
}

/** One author against another, over the posts both wrote on. */
export interface Match {
  ours: Author | `best-of-${number}`;
  theirs: Author;
  /** "gold" for the gold rule, "reward" for our own reward model, "second" for another; else a language model's name. */
  judge: string;
  /** How often each pair was asked. */
  orders: "both" | "random";
  raw: WinRate;
  /** Share of pairs on which the two orders disagreed, where both were asked. */
  orderDisagreement?: number;
  /** Share of verdicts for the summary shown first, ties left out, where both orders were asked: one half without bias. */
  firstPreferred?: number;
  /** Share of answers without a verdict, which chance has decided; of language models only. */
  unread?: number;
  /** At equal length (P1 App. F); a row of {@link LengthControlled}. */
  lengthControlled?: LengthControlled["policies"][number];
  byLength?: LengthBin[];
  /** Mean score difference by the judge's own scale, by paired bootstrap. */
  difference?: Difference;
}

/** The best of N samples of the SFT policy, chosen by the reward model. */
export interface BestOfN {
  n: number;
  /** ln N − (N − 1) / N, nats. */
  kl: number;
  gold?: Mean;
  reward?: Mean;
  length?: Mean;
}

/** The reward model's accuracy on one group of held-out pairs. */
export interface AccuracyRow {
  /** What the group is a slice by. */
  by: "split" | "batch" | "confidence" | "all";
  /** For instance "valid1", "batch11", "9". */
  name: string;
  accuracy: WinRate;
  loss?: number;
}

/** One bucket of the calibration curve: pairs whose score margin |r_a − r_b| lies here. */
export interface CalibrationBucket {
  /** Mean margin. */
  margin: number;
  /** Share of pairs in which the higher score is the preferred summary, with its 95 % interval. */
  accuracy: number;
  lower?: number;
  upper?: number;
  /** What the share would be if scores were log odds: mean of σ(|r_a − r_b|). */
  expected?: number;
  count: number;
}

/** How scores lie: counts in bins of equal width, the outer ones open to their sides. */
export interface ScoreHistogram {
  /** Ends of the bins, points: one more than bins. */
  edges: number[];
  chosen: number[];
  rejected: number[];
  /** Of the reference summaries of the evaluation posts. */
  reference: number[];
}

/** How the reward model fares on held-out pairs. */
export interface RewardFigures {
  accuracy: AccuracyRow[];
  calibration: CalibrationBucket[];
  /** Mean over pairs of |accuracy − expected| of their bucket. */
  calibrationError?: number;
  distribution?: ScoreHistogram;
  /** Mean normalised score of the SFT references; 0 ± 0.001 if normalisation works. */
  referenceMean?: number;
  /** Share of wrong labels, where it is known. */
  labelNoise?: number;
  /** Share of pairs whose label agrees with the gold rule. */
  goldAgreement?: number;
}

/** What asking a remote judge took in this invocation. */
export interface JudgingFigures {
  judge: string;
  comparisons: number;
  /** Of those, how many had been answered in an earlier invocation. */
  kept: number;
  /** Sent; and those among them that were sent again after a failure. */
  requests: number;
  repeated: number;
  /** As the endpoint counts them. */
  promptTokens: number;
  completionTokens: number;
  /** In the unit of the configured prices; absent where these are not known. */
  cost?: number;
  /** Answers without a verdict, kept ones included. */
  unread: number;
}

/** Scores at a distance from the SFT policy, both at the sampling temperature. */
export interface OptimisationPoint {
  /** nats a response; of best-of-n by formula, of PPO as estimated in training. */
  kl: number;
  /** Our reward model's score, no penalty in it. */
  reward: number;
  /** The gold rule's, where there is one. */
  gold?: number;
}

/** How scores rise, and the gold score perhaps falls, with distance: the over-optimisation plot. */
export interface Optimisation {
  /** Mean over all samples of the SFT policy; KL 0. Absent where no best-of-n was drawn. */
  sft?: OptimisationPoint;
  bestOf: (OptimisationPoint & { n: number })[];
  /** Means over runs of updates; `update` is the last of its run. */
  ppo: (OptimisationPoint & { update: number })[];
}

/** A line of `samples.jsonl`: a summary of one of a fixed set of posts during PPO. */
export interface TrainingSample {
  stage: StageName;
  /** 0 is the SFT policy. */
  update: number;
  id: string;
  title: string;
  reference: string;
  summary: string;
  /** Tokens. */
  length: number;
  ended: boolean;
  reward: number;
  gold?: number;
}

/** One summary in the table of posts. */
export interface SampleSummary {
  author: Author | `best-of-${number}`;
  /** As decoded, without `<|endoftext|>`. */
  text: string;
  gold?: number;
  reward?: number;
  /** Tokens. */
  length?: number;
  ended?: boolean;
  /** Phrases of `text` that carry a fact; they are marked. */
  facts?: string[];
  /** Phrases of `text` that a summary should not contain. */
  faults?: string[];
}

/** One post with everybody's summaries. */
export interface SampleRow {
  id: string;
  subreddit: string;
  title: string;
  post: string;
  /** Phrases of `post` that a summary must carry. */
  facts?: string[];
  summaries: SampleSummary[];
}

/** `evaluation.json`. */
export interface Evaluation {
  format: 1;
  /** Number of posts, and where they come from: "validation", "test". */
  posts: number;
  split: string;
  /** Of the summaries; 0 is greedy. */
  temperature: number;
  /** In the order reference, base, sft, ppo. */
  authors: AuthorFigures[];
  /** Wins first by the judge that counts. */
  matches: Match[];
  bestOf: BestOfN[];
  optimisation?: Optimisation;
  reward?: RewardFigures;
  /** Present where a remote judge was asked. */
  judging?: JudgingFigures;
  samples: SampleRow[];
  /** Sentences that a reader of the figures must know. */
  notes?: string[];
}

/** Everything that a report shows. */
export interface ReportData {
  run: RunRecord;
  stages: StageFacts[];
  /** `plan.json`: what the last invocation foresaw of the stages that it ran. */
  plan?: StagePlan[];
  metrics: MetricRecord[];
  alarms?: Alarm[];
  /** `samples.jsonl`. */
  samples?: TrainingSample[];
  evaluation?: Evaluation;
  /** ISO 8601, UTC; when the report was made. */
  madeAt: string;
}

/** Where an alarm was raised: "ppo, update 12". */
export function alarmPlace({ stage, step }: Pick<Alarm, "stage" | "step">): string {
  return step > 0 ? `${stage}, ${stage === "ppo" ? "update" : "step"} ${step}` : stage;
}

/** An author as it is shown. */
export function authorName(author: Author | `best-of-${number}`): string {
  const names: Record<string, string> = { reference: "Reference", base: "Base", sft: "SFT", ppo: "PPO" };
  return names[author] ?? author.replace(/^best-of-/, "Best of ");
}
