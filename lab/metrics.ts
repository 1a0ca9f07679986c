/**
 * The names in metrics.jsonl and what they mean. Names are those of TRL's PPO and of the released scripts where these have one;
 * quantities of ours stand under `precis/`. Means over tokens are masked: they count a response up to its end and nothing behind it.
 * Where the reference logs something else under the name, the description says so.
 */
import { DamagedFileError, type Files, shown } from "./bytes.ts";
import { readJsonl } from "./jsonl.ts";
import { type MetricRecord, type StageName, stageNames } from "./report/data.ts";

export interface Metric {
  /** For axes and tables: "KL". */
  title: string;
  /** "nats a response", "tokens"; empty for plain numbers. */
  unit: string;
  /** One or two sentences. */
  doc: string;
  /** Where the name comes from. */
  source: "trl" | "precis";
  stages: readonly StageName[];
  /** Shares between 0 and 1 are drawn on that axis. */
  share?: boolean;
}

type Row = readonly [title: string, unit: string, doc: string, options?: Partial<Metric>];

const sft: Partial<Metric> = { stages: ["sft"] };
const reward: Partial<Metric> = { stages: ["reward"] };
const trained: Partial<Metric> = { stages: ["sft", "reward", "ppo"] };
const share: Partial<Metric> = { share: true };

const rows: Record<string, Row> = {
  // Every trained stage
  "loss": ["Training loss", "nats", "What the step minimised, before it.", { stages: ["sft", "reward"] }],
  "lr": ["Learning rate", "", "Of this step.", trained],
  "grad_norm": ["Gradient norm", "", "Over all parameters, before any clipping.", trained],
  "episode": ["Episodes", "", "Sequences, pairs or responses used so far.", trained],
  "eps": ["Episodes a second", "1/s", "As TRL logs it.", trained],
  "precis/tokens": ["Tokens", "tokens", "Trained on so far.", trained],
  "precis/tokens_per_second": ["Speed", "tokens/s", "Over this step.", trained],
  "precis/seconds": ["Time", "s", "Since the stage began, earlier runs included.", trained],

  // SFT
  "precis/loss_query_and_response": [
    "Training loss, all tokens",
    "nats a token",
    "Query tokens counted.",
    sft,
  ],
  "precis/loss_response": ["Training loss, response", "nats a token", "Response tokens only.", sft],
  "eval/loss_query_and_response": [
    "Validation loss, all tokens",
    "nats a token",
    "Query tokens counted; not comparable with the response's.",
    sft,
  ],
  "eval/loss_response": ["Validation loss, response", "nats a token", "Response tokens only.", sft],
  "eval/rouge1": ["ROUGE-1", "", "F of near-greedy samples against the references.", sft],
  "eval/rouge2": ["ROUGE-2", "", "F of near-greedy samples against the references.", sft],
  "eval/rougeL": ["ROUGE-L", "", "F of near-greedy samples against the references.", sft],

  // Reward model
  "accuracy": [
    "Training accuracy",
    "",
    "Share of the step's pairs whose preferred summary scored higher, before the step.",
    { ...reward, ...share },
  ],
  "precis/margin": ["Margin", "points", "Mean score of the preferred summary less the other's.", reward],
  "eval/loss": ["Validation loss", "nats", "Mean −log σ(r_chosen − r_rejected) of held-out pairs.", reward],
  "eval/accuracy": [
    "Validation accuracy",
    "",
    "Share of held-out pairs whose preferred summary scores higher.",
    { ...reward, ...share },
  ],
  "eval/accuracy_valid1": ["Accuracy, valid1", "", "The split for choosing models.", { ...reward, ...share }],
  "eval/accuracy_valid2": [
    "Accuracy, valid2",
    "",
    "The split for final evaluation.",
    { ...reward, ...share },
  ],

  // PPO: the rollout
  "objective/kl": [
    "KL to the SFT policy",
    "nats a response",
    "k1 estimate: log π − log π_ref summed over the response. Unbiased, so single batches may be negative.",
  ],
  "objective/kl_k2": ["KL, k2 estimate", "nats a response", "Half the squared log ratio, summed."],
  "objective/kl_k3": [
    "KL, k3 estimate",
    "nats a response",
    "exp(−d) − 1 + d of the log ratio d, summed: never negative.",
  ],
  "objective/kl_per_token": ["KL a token", "nats a token", "The k1 estimate over all tokens of the batch."],
  "objective/kl_coef": ["β", "per nat", "The price of KL in this update."],
  "objective/entropy": [
    "Surprise of responses",
    "nats a response",
    "−log π of the sampled tokens, summed. The reference counts −1 for each slot behind the end.",
  ],
  "objective/entropy_per_token": [
    "Surprise a token",
    "nats a token",
    "The same over all tokens of the batch.",
  ],
  "objective/entropy_with_sentinels": [
    "Surprise as the reference has it",
    "nats a response",
    "With −1 for each slot behind the end.",
  ],
  "objective/non_score_reward": ["KL reward", "points", "−β · KL, summed over the response."],
  "objective/rlhf_reward": ["Total reward", "points", "Score and KL reward together: what PPO maximises."],
  "objective/scores": ["Score", "points", "The reward model's, penalty for a missing EOS included."],
  "objective/scores_std": ["Score, deviation", "points", "Standard deviation within the batch."],
  "objective/scores_max": ["Highest score", "points", "In the batch."],
  "objective/scores_min": ["Lowest score", "points", "In the batch."],
  "objective/raw_scores": ["Score without penalty", "points", "The reward model's alone."],
  "objective/raw_scores_std": [
    "Score without penalty, deviation",
    "points",
    "Standard deviation within the batch.",
  ],

  // PPO: the policy
  "loss/policy_avg": ["Policy loss", "", "Clipped surrogate, mean over tokens and passes."],
  "policy/approxkl_avg": [
    "KL of the update",
    "nats a token",
    "½ (log π_new − log π_old)², mean over tokens and passes. The reference's mean has the slots behind the end in it.",
  ],
  "policy/approxkl_k1": ["KL of the update, k1", "nats a token", "log π_old − log π_new."],
  "policy/approxkl_k3": ["KL of the update, k3", "nats a token", "ρ − 1 − log ρ."],
  "policy/approxkl_unmasked": [
    "KL of the update as the reference has it",
    "nats a token",
    "Mean over all slots.",
  ],
  "policy/clipfrac_avg": ["Clip fraction", "", "Share of tokens whose ratio is clipped.", share],
  "policy/clipfrac_unmasked": ["Clip fraction as the reference has it", "", "Share of all slots.", share],
  "policy/dual_clipfrac": ["Dual-clip fraction", "", "Share of tokens held by the dual clip.", share],
  "policy/entropy_avg": ["Entropy", "nats a token", "Of the policy's distribution, mean over tokens."],
  "policy/tokens": ["Policy tokens", "tokens", "Tokens in one pass."],
  "val/ratio": ["Ratio", "", "π_new / π_old, mean over tokens and passes."],
  "val/ratio_var": ["Ratio, variance", "", "Over tokens; the reference's is over micro-batches."],
  "val/ratio_max_change": ["Largest |ratio − 1|", "", "Over tokens, mean over passes."],

  // PPO: the critic
  "loss/value_avg": ["Value loss", "", "½ of the clipped squared error, mean over tokens and passes."],
  "val/clipfrac_avg": ["Value clip fraction", "", "Share of tokens whose value is clipped.", share],
  "val/mean": ["Value", "points", "Mean of the critic's."],
  "val/error": ["Value, error", "points", "Mean of value less return."],
  "val/mse": ["Value, squared error", "", "Unclipped."],
  "val/return": ["Return", "points", "Mean."],
  "val/explained_variance": [
    "Explained variance",
    "",
    "Share of the returns' variance that the critic explains in the first pass; 1 is perfect, 0 no better than the mean.",
  ],
  "val/rows": ["Value rows", "", "Slots in one pass of the critic."],

  // PPO: the responses
  "val/num_eos_tokens": ["EOS tokens", "", "Among all sampled tokens; a response may have several."],
  "val/length": ["Length", "tokens", "Of responses, EOS included."],
  "val/length_std": ["Length, deviation", "tokens", "Standard deviation within the batch."],
  "val/length_max": ["Greatest length", "tokens", "In the batch."],
  "val/eos_fraction": ["EOS rate", "", "Share of responses that end.", share],
  "precis/length": ["Length", "tokens", "Of responses, EOS included."],
  "precis/eos_rate": ["EOS rate", "", "Share of responses that end.", share],
  "precis/gold_score": ["Gold score", "points", "By the demo's rule, which no model sees."],
};

/** Every metric by its name in metrics.jsonl. */
export const metrics: ReadonlyMap<string, Metric> = new Map(
  Object.entries(rows).map(([name, [title, unit, doc, options]]) => [name, {
    title,
    unit,
    doc,
    source: name.startsWith("precis/") ? "precis" : "trl",
    stages: ["ppo"],
    ...options,
  }]),
);

/** A metric's title, or the name itself where it is not in the table. */
export function metricTitle(name: string): string {
  return metrics.get(name)?.title ?? name;
}

/**
 * The records of a `metrics.jsonl`.
 * @throws DamagedFileError naming file and line where a line is no such record
 */
export async function readMetrics(files: Files, path: string): Promise<MetricRecord[]> {
  const records: MetricRecord[] = [];
  for await (const { line, value } of readJsonl(files, path)) {
    const { stage, step, ...figures } = (value ?? {}) as Partial<MetricRecord>;
    const sound = stageNames.some((name) => name === stage) && Number.isSafeInteger(step) && step! >= 0 &&
      Object.values(figures).every((figure) =>
        figure === null || ["number", "string"].includes(typeof figure)
      );
    if (!sound) {
      throw new DamagedFileError(
        `${path}:${line} is ${shown(value)}, not a line of metrics; correct or remove the line.`,
      );
    }
    records.push(value as MetricRecord);
  }
  return records;
}
