/** Which metrics stand together, in which order, and whose they are. */
import type { StageName } from "../report/data.ts";

/** Whose colour a metric has; see the roles of lab/page/style.css. */
export type Role = "reference" | "sft" | "policy" | "reward" | "value";

export interface MetricGroup {
  title: string;
  names: string[];
}

/** By the first part of TRL's names; what runs well or badly as a whole comes last but one, what is ours last. */
const groups: readonly [title: string, belongs: (name: string) => boolean][] = [
  ["objective", (name) => name.startsWith("objective/")],
  ["loss", (name) => name === "loss" || name.startsWith("loss/") || name.startsWith("precis/loss")],
  ["policy", (name) => name.startsWith("policy/") || /^val\/ratio/.test(name)],
  ["val", (name) => name.startsWith("val/")],
  ["eval", (name) => name.startsWith("eval/")],
  ["health", (name) => ["accuracy", "lr", "grad_norm", "eps", "episode"].includes(name)],
  ["precis", () => true],
];

/** The metrics that are looked at first, and first shown. */
const foremost = [
  "objective/scores",
  "objective/kl",
  "objective/rlhf_reward",
  "precis/gold_score",
  "objective/entropy",
];

/** A stage's metrics in their groups, empty groups left out. */
export function groupMetrics(names: readonly string[]): MetricGroup[] {
  const rank = (name: string) => foremost.indexOf(name) + 1 || foremost.length + 1;
  const sorted = [...names].sort((a, b) => rank(a) - rank(b));
  return groups.map(([title, belongs], g) => ({
    title,
    names: sorted.filter((name) => groups.findIndex(([, fits]) => fits(name)) === g && belongs(name)),
  })).filter(({ names }) => names.length > 0);
}

/** Whose a metric is. */
export function roleOf(stage: StageName, name: string): Role {
  if (stage === "sft") return "sft";
  if (stage === "reward" || /score|reward|gold/.test(name)) return "reward";
  if (/^val\/(ratio|length|eos|num_eos)/.test(name)) return "policy";
  if (/^val\/|value/.test(name)) return "value";
  return /^(lr|eps|episode|grad_norm|precis\/tokens.*|precis\/seconds)$/.test(name) ? "reference" : "policy";
}
