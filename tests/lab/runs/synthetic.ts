/** A run directory made up for tests: the files that training leaves, with figures that look like a course of PPO. */
import { type Config, configure, type Overrides } from "../../../lab/config.ts";
import { random } from "../../../lab/demo/random.ts";
import { metrics } from "../../../lab/metrics.ts";
import type { Episode } from "../../../lab/runs/episode.ts";

export interface SyntheticRun {
  updates: number;
  seed?: number;
  /** Whether somebody holds the lock. */
  running?: boolean;
  /** Summaries every so many updates. */
  sampleEvery?: number;
  overrides?: Overrides;
}

const posts = [
  ["My cousin owes me money", " Cousin owes me 60 dollars and won't pay it back."],
  ["Advice about a flat", " I need advice about a flat with a broken window."],
  ["Dog ate the homework", " My dog ate my homework and nobody believes me."],
  ["Moving abroad", " Should I move abroad with my partner?"],
] as const;

const words = "I my cousin owes sixty dollars and will not pay it back to me so what should be done about it"
  .split(
    " ",
  );

/** The PPO metrics that the lab knows, as one line of `metrics.jsonl`. */
export function ppoLine(update: number, updates: number, uniform: () => number): string {
  const t = update / updates, noise = () => uniform() - 0.5;
  const known: Record<string, number> = {
    "objective/kl": update === 1 ? 0 : 18 * Math.sqrt(t) + noise(),
    "objective/scores": 3 * (1 - Math.exp(-3 * t)) + 0.4 * noise(),
    "objective/kl_coef": 0.05,
    "precis/gold_score": 4 * t * (1.6 - t) + 0.5 * noise(),
    "lr": 3e-6 * (1 - t),
    "episode": 512 * update,
    "val/ratio": 1 + 0.01 * noise(),
    "precis/eos_rate": 0.9 + 0.1 * uniform(),
  };
  const names = [...metrics].filter(([, { stages }]) => stages.includes("ppo")).map(([name]) => name);
  const figures = names.map((
    name,
  ) => [name, known[name] ?? 1 + Math.sin(name.length + 5 * t) + 0.3 * noise()]);
  return JSON.stringify({ stage: "ppo", step: update, ...Object.fromEntries(figures) }) + "\n";
}

function episodeOf(update: number, uniform: () => number, beta: number): Episode {
  const count = 6 + Math.floor(8 * uniform());
  const lane = (length: number, scale: number) =>
    Array.from({ length }, () => Number((scale * (uniform() - 0.5)).toPrecision(6)));
  const logprob = lane(count, 2).map((x) => x - 1.5);
  const reference = logprob.map((x) => update === 1 ? x : x + 0.4 * (uniform() - 0.5));
  const score = 4 * uniform() - 1;
  return {
    update,
    query: Array.from({ length: 12 }, () => Math.floor(600 * uniform())),
    response: Array.from({ length: count }, () => Math.floor(600 * uniform())),
    score,
    ended: true,
    logprob,
    reference,
    entropy: lane(count, 1).map((x) => x + 0.6),
    value: [...lane(count, 2), score],
    reward: [...logprob.map((x, t) => -beta * (x - reference[t])), score],
    advantage: [...lane(count, 2), 0],
    whitened: lane(count, 3),
    return: lane(count + 1, 2),
    updated: logprob.map((x) => x + 0.5 * (uniform() - 0.5)),
    beta,
  };
}

/** The files by path inside the run directory. */
export function syntheticRun(
  { updates, seed = 1, running = false, sampleEvery = Math.ceil(updates / 8), overrides = {} }: SyntheticRun,
): Record<string, string> {
  const { uniform } = random(seed);
  const config: Config = configure("demo", { seed, ...overrides });
  const json = (value: unknown) => JSON.stringify(value) + "\n";
  const training = (["sft", "reward"] as const).flatMap((stage) =>
    Array.from({ length: 60 }, (_, i) =>
      json({
        stage,
        step: i + 1,
        loss: 1 / (1 + i / 20) + 0.1 * uniform(),
        lr: 1e-3 * (1 - i / 60),
        grad_norm: 1 + uniform(),
        ...(stage === "reward" ? { accuracy: 0.5 + i / 150 } : {}),
        ...(i % 20 === 19
          ? stage === "reward" ? { "eval/accuracy": 0.5 + i / 160 } : { "eval/rougeL": 0.2 + i / 300 }
          : {}),
      }))
  );
  const samples: string[] = [], episodes: string[] = [];
  for (let update = 0; update <= updates; update++) {
    if (update % sampleEvery === 0 || update === updates) {
      posts.forEach(([title, reference], p) => {
        const kept = Math.floor(update / updates * words.length);
        const summary = [...reference.trim().split(" ").slice(0, 6), ...words.slice(p, kept)].join(" ");
        const reward = 4 * update / updates - 1 + 0.5 * uniform();
        samples.push(
          json({
            stage: "ppo",
            update,
            id: `p${p}`,
            title,
            reference,
            summary,
            length: summary.length,
            ended: true,
            reward,
          }),
        );
      });
    }
    if (update > 0) { for (let i = 0; i < 4; i++) episodes.push(json(episodeOf(update, uniform, 0.05))); }
  }
  const done = running ? ["preprocess", "sft", "reward"] : ["preprocess", "sft", "reward", "ppo", "evaluate"];
  const check = (name: string, found: number, passed = true) => ({
    name,
    found,
    expected: 0,
    tolerance: 1e-4,
    passed,
  });
  const ppo = Array.from(
    { length: updates },
    (_, i) => ppoLine(i + 1, running ? 2 * updates : updates, uniform),
  );
  return {
    "run.json": json({
      format: 1,
      config,
      startedAt: "2026-11-20T08:00:00.000Z",
      device: { adapter: "a made-up adapter", runtime: "native", software: true, matrixUnits: [] },
      kernels: {},
      kernelDigest: "0".repeat(64),
      versions: { precis: "0.1.0" },
    }),
    "plan.json": json({
      stages: [
        {
          name: "sft",
          steps: 60,
          unit: "steps",
          tokens: 1,
          flops: 1,
          peakMemory: 1,
          memory: [],
          seconds: 60,
        },
        {
          name: "ppo",
          steps: running ? 2 * updates : updates,
          unit: "updates",
          tokens: 1,
          flops: 1,
          peakMemory: 1,
          memory: [],
        },
      ],
    }),
    "metrics.jsonl": [...training, ...ppo].join(""),
    "samples.jsonl": samples.join(""),
    "episodes/ppo.jsonl": episodes.join(""),
    "invariants.json": json({
      invariants: [
        check("KL of policy to reference is 0", 0),
        check("clip fraction of the first pass is 0", 0.2, false),
      ],
    }),
    ...Object.fromEntries(
      done.map((stage) => [`stages/${stage}.json`, json({ output: { name: stage, ran: true, seconds: 5 } })]),
    ),
    ...(running
      ? {
        "lock.json": json({ pid: 7, host: "spark", instance: "", since: "2026-11-20T08:00:00Z", token: "a" }),
      }
      : {}),
  };
}
