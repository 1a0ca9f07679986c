/** A made-up run with every part that a report can show, hostile texts included. */
import { presetConfig } from "../../../lab/config.ts";
import { random } from "../../../lab/demo/random.ts";
import type {
  Author,
  Evaluation,
  Match,
  MetricRecord,
  ReportData,
  SampleRow,
  TrainingSample,
} from "../../../lab/report/data.ts";
import { winRate } from "../../../lab/winrate.ts";

export const hostile =
  `</script><script>alert("1")</script><img src=x onerror='alert(2)'>\u0000\u202e&amp;\ud800`;

export function syntheticReport(): ReportData {
  const rng = random(7);
  const noise = (size: number) => (rng.below(2001) / 1000 - 1) * size;
  const metrics: MetricRecord[] = [];
  for (let step = 0; step <= 93; step++) {
    const fall = Math.exp(-step / 20);
    if (step > 0) {
      metrics.push({
        stage: "sft",
        step,
        "loss": 1.4 + 2 * fall + noise(0.15),
        "precis/loss_query_and_response": 1.4 + 2 * fall + noise(0.15),
        "precis/loss_response": 0.9 + 2.4 * fall + noise(0.2),
        "grad_norm": 1 + 3 * fall + noise(0.3),
        "lr": 1e-3 * 0.5 * (1 + Math.cos(Math.PI * step / 93)),
      });
    }
    if (step % 20 === 0 || step === 93) {
      metrics.push({
        stage: "sft",
        step,
        "eval/loss_query_and_response": 1.5 + 2 * fall,
        "eval/loss_response": 1 + 2.4 * fall,
        "eval/rouge1": 0.5 - 0.35 * fall,
        "eval/rouge2": 0.3 - 0.28 * fall,
        "eval/rougeL": 0.45 - 0.33 * fall,
      });
    }
  }
  for (let step = 1; step <= 125; step++) {
    const learnt = 1 - Math.exp(-step / 35);
    metrics.push({
      stage: "reward",
      step,
      "loss": 0.72 - 0.4 * learnt + noise(0.1),
      "accuracy": 0.5 + 0.36 * learnt + noise(0.08),
      "precis/margin": 1.6 * learnt + noise(0.2),
      "grad_norm": 2 + noise(0.8),
      "lr": 5e-4 * (1 - step / 126),
    });
    if (step % 25 === 0) {
      metrics.push({
        stage: "reward",
        step,
        "eval/accuracy": 0.5 + 0.35 * learnt,
        "eval/loss": 0.7 - 0.33 * learnt,
      });
    }
  }
  for (let step = 1; step <= 30; step++) {
    const rise = 1 - Math.exp(-step / 10);
    metrics.push({
      stage: "ppo",
      step,
      "objective/scores": 0.1 + 2.1 * rise + noise(0.15),
      "objective/rlhf_reward": 0.1 + 1.8 * rise + noise(0.15),
      "objective/kl": 6.4 * rise + noise(0.4),
      "precis/gold_score": 1.6 + 1.7 * rise + noise(0.2),
      "precis/length": 14 + 5 * rise + noise(0.7),
      "precis/eos_rate": Math.min(1, 0.95 + 0.05 * rise + noise(0.02)),
      "policy/entropy_avg": 1.2 - 0.5 * rise + noise(0.05),
      "policy/clipfrac_avg": 0.08 + noise(0.03),
      "val/clipfrac_avg": 0.2 - 0.1 * rise + noise(0.03),
      "policy/approxkl_avg": 0.006 + noise(0.002),
      "loss/value_avg": 0.9 - 0.7 * rise + noise(0.08),
      "loss/policy_avg": -0.02 + noise(0.01),
      "val/explained_variance": step === 5 ? null : -0.2 + 0.9 * rise + noise(0.05),
      "val/ratio": 1 + noise(0.004),
      "grad_norm": 1.4 + noise(0.4),
      "lr": 2e-4 * (1 - (step - 1) / 30),
      "episode": 64 * step,
    });
  }
  return {
    run: {
      format: 1,
      config: { ...presetConfig("demo"), seed: 44413 } as unknown as Record<string, unknown>,
      choices: [
        "Preset demo: the adapter computes on the CPU and there is no model folder; --preset spark for the recipe.",
      ],
      startedAt: "2026-11-22T16:48:47.123Z",
      device: {
        runtime: "native",
        adapter: "llvmpipe (LLVM 15.0.6, 256 bits)",
        vendor: "Mesa",
        driver: "22.3.6",
        software: true,
        f16: false,
        subgroups: true,
        matrixUnits: [],
        timestamps: true,
      },
      kernels: {
        "matmul 64–512": "software: 2.3 × the tiled one in a trial of 4 ms",
        "attention": "software: shaders run on the CPU",
        "logprob": "tiles of 512 rows of the head",
      },
      kernelDigest: "9f2c".repeat(16),
      versions: { precis: "0.1.0 (2997f59)", deno: "2.9.6", typescript: "5.9.2" },
      inputs: { "posts-train.jsonl.gz": "ab".repeat(32), "base/model.safetensors": "cd".repeat(32) },
    },
    stages: [
      {
        name: "preprocess",
        ran: true,
        seconds: 2.4,
        steps: 7800,
        summary: "7800 rows; queries to 94 tokens",
      },
      {
        name: "sft",
        ran: true,
        seconds: 48,
        steps: 93,
        tokens: 310_000,
        peakMemory: 210 * 2 ** 20,
        summary: "validation loss of responses 3.401 → 1.023, ROUGE-L 0.121 → 0.447",
      },
      {
        name: "reward",
        ran: true,
        seconds: 71,
        steps: 125,
        tokens: 590_000,
        peakMemory: 240 * 2 ** 20,
        summary: "held-out accuracy 0.843, offset 0.412",
      },
      {
        name: "ppo",
        ran: true,
        seconds: 131,
        steps: 30,
        tokens: 700_000,
        peakMemory: 402 * 2 ** 20,
        summary: "score 0.12 → 2.18, KL 6.3 nats",
        invariants: [
          {
            name: "KL of policy to reference is 0",
            found: 2.1e-7,
            expected: 0,
            tolerance: 1e-3,
            passed: true,
          },
          {
            name: "largest |ratio − 1| of the first pass is 0",
            found: 3.1e-6,
            expected: 0,
            tolerance: 1e-4,
            passed: true,
          },
          { name: "clip fraction of the first pass is 0", found: 0, expected: 0, tolerance: 0, passed: true },
          {
            name: "policy loss of the first pass is 0, as advantages are whitened",
            found: -1.1e-8,
            expected: 0,
            tolerance: 1e-4,
            passed: true,
          },
          {
            name: "value one slot behind EOS equals the score",
            found: 0.0214,
            expected: 0,
            tolerance: 1e-3,
            passed: false,
          },
        ],
      },
      { name: "evaluate", ran: true, seconds: 22, steps: 200 },
    ],
    plan: [{
      name: "ppo",
      steps: 30,
      unit: "updates",
      tokens: 712_000,
      flops: 8.1e11,
      peakMemory: 391 * 2 ** 20,
      memory: Array.from({ length: 18 }, (_, i) => ({
        name: i < 8
          ? `${["policy", "critic"][i % 2]} ${
            ["weights", "gradients", "first moment", "second moment"][i >> 1]
          }`
          : `pool of ${2 ** (i - 8)} MiB`,
        bytes: (30 - i) * 2 ** 20,
        lifetime: i < 8 ? "persistent" as const : "pooled" as const,
        count: i < 8 ? 1 : i - 6,
      })),
    }],
    metrics,
    samples: trainingSamples(),
    evaluation: syntheticEvaluation(),
    madeAt: "2026-11-22T16:54:12.000Z",
  };
}

function syntheticEvaluation(): Evaluation {
  const outcomes = (wins: number, ties: number, losses: number) =>
    winRate([...Array(wins).fill(1), ...Array(ties).fill(0.5), ...Array(losses).fill(0)]);
  const around = (mean: number, half: number) => ({
    mean,
    lower: mean - half,
    upper: mean + half,
    count: 200,
  });
  const match = (ours: Match["ours"], theirs: Author, wins: number, ties: number, losses: number): Match => {
    const raw = outcomes(wins, ties, losses);
    return {
      ours,
      theirs,
      judge: "gold",
      orders: "both",
      raw,
      orderDisagreement: 0,
      lengthControlled: {
        name: ours,
        rate: raw.rate - 0.03,
        lower: raw.lower - 0.04,
        upper: raw.upper - 0.02,
        raw: raw.rate,
      },
      difference: {
        difference: 3 * (raw.rate - 0.5),
        lower: 3 * (raw.lower - 0.5),
        upper: 3 * (raw.upper - 0.5),
        positive: 1,
      },
      ...(ours === "ppo"
        ? {
          byLength: [-1, -0.5, 0, 0.5].map((from, i) => ({
            from,
            to: from + 0.5,
            winRate: i === 0 ? null : outcomes(10 + 10 * i, 2, 20),
          })),
        }
        : {}),
    };
  };
  return {
    format: 1,
    posts: 200,
    split: "test",
    temperature: 0.01,
    authors: [
      {
        author: "reference",
        gold: around(2.9, 0.2),
        reward: around(0, 0.15),
        length: around(15.2, 0.6),
        eosRate: 1,
      },
      {
        author: "base",
        gold: around(-2.8, 0.2),
        reward: around(-2.9, 0.2),
        length: around(28, 0),
        eosRate: 0,
        rouge1: 0.17,
        rouge2: 0.04,
        rougeL: 0.12,
        lossResponse: 3.4,
        lossWithQuery: 3.5,
      },
      {
        author: "sft",
        gold: around(1.7, 0.2),
        reward: around(0.05, 0.15),
        length: around(14.1, 0.6),
        eosRate: 0.985,
        kl: around(0, 0),
        rouge1: 0.5,
        rouge2: 0.31,
        rougeL: 0.45,
        lossResponse: 1.02,
        lossWithQuery: 1.51,
      },
      {
        author: "ppo",
        gold: around(3.3, 0.15),
        reward: around(2.1, 0.12),
        length: around(18.9, 0.5),
        eosRate: 1,
        kl: around(6.3, 0.4),
        rouge1: 0.46,
        rouge2: 0.26,
        rougeL: 0.4,
        lossResponse: 1.4,
        lossWithQuery: 1.6,
      },
    ],
    matches: [
      match("ppo", "sft", 148, 16, 36),
      match("ppo", "reference", 104, 20, 76),
      match("sft", "reference", 62, 22, 116),
      match("best-of-8", "sft", 130, 24, 46),
      {
        ...match("ppo", "sft", 120, 30, 50),
        judge: "some/gpt-model-4",
        orderDisagreement: 0.213,
        firstPreferred: 0.571,
        unread: 0.012,
        difference: undefined,
      },
    ],
    bestOf: [
      { n: 8, kl: 1.2, gold: around(2.7, 0.3), reward: around(1.4, 0.2), length: around(15.8, 0.9) },
      { n: 64, kl: 3.17, gold: around(3.1, 0.3), reward: around(1.9, 0.2), length: around(16.9, 0.9) },
    ],
    optimisation: {
      sft: { kl: 0, reward: 0.02, gold: 1.6 },
      bestOf: [{ n: 8, kl: 1.2, reward: 1.4, gold: 2.7 }, { n: 64, kl: 3.17, reward: 1.9, gold: 3.1 }],
      ppo: Array.from({ length: 30 }, (_, i) => {
        const kl = 0.45 * i + (i % 3 === 0 ? -0.2 : 0.15);
        const distance = Math.sqrt(Math.max(0, kl));
        return { update: i + 1, kl, reward: 1.1 * distance, gold: 1.6 + 1.3 * distance - 0.28 * kl };
      }),
    },
    judging: {
      judge: "some/gpt-model-4",
      comparisons: 1212,
      kept: 200,
      requests: 1020,
      repeated: 8,
      promptTokens: 612_000,
      completionTokens: 61_000,
      cost: 0.3975,
      unread: 14,
    },
    reward: {
      accuracy: [
        { by: "all", name: "all", accuracy: outcomes(337, 0, 63), loss: 0.36 },
        { by: "split", name: "valid1", accuracy: outcomes(170, 0, 30), loss: 0.35 },
        { by: "split", name: "valid2", accuracy: outcomes(167, 0, 33), loss: 0.37 },
        { by: "batch", name: "samples", accuracy: outcomes(250, 0, 50), loss: 0.37 },
        { by: "confidence", name: "1", accuracy: outcomes(60, 0, 3) },
        { by: "confidence", name: "5", accuracy: outcomes(33, 0, 30) },
      ],
      calibration: [0.2, 0.7, 1.3, 2, 3, 4.4].map((margin, i) => ({
        margin,
        accuracy: 0.53 + 0.085 * i,
        lower: 0.53 + 0.085 * i - 0.05,
        upper: Math.min(1, 0.53 + 0.085 * i + 0.04),
        expected: 1 / (1 + Math.exp(-margin)),
        count: 100 - 12 * i,
      })),
      calibrationError: 0.061,
      distribution: {
        edges: Array.from({ length: 33 }, (_, i) => -5 + i * 0.3125),
        chosen: bell(0.7, 340),
        rejected: bell(-0.6, 340),
        reference: bell(0.05, 200),
      },
      labelNoise: 0.1,
      goldAgreement: 0.9,
      referenceMean: 0.0001,
    },
    samples: samples(),
    notes: ["The gold rule is the demo's own; with real data its place is taken by another judge."],
  };
}

/** Counts of a bell curve around a mean in the bins of the histogram. */
function bell(mean: number, count: number): number[] {
  return Array.from({ length: 32 }, (_, i) => {
    const x = -5 + (i + 0.5) * 0.3125 - mean;
    return Math.round(count * 0.3125 * Math.exp(-x * x / 2.6) / 2.9);
  });
}

function trainingSamples(): TrainingSample[] {
  const titles = ["How do I get back?", hostile, "Überraschung 😀 日本語"];
  return titles.flatMap((title, p) =>
    Array.from({ length: 11 }, (_, i): TrainingSample => ({
      stage: "ppo",
      update: 3 * i,
      id: `d1_${p}`,
      title,
      reference: "My guide Ned dropped my phone and now we are stuck. How do I get back?",
      summary: p === 1
        ? `${hostile} ${"na ".repeat(4 * i)}`
        : i === 10
        ? ""
        : `Guide Ned dropped my phone${" and we are stuck".repeat(i)}.`,
      length: 8 + 5 * i,
      ended: i < 9,
      reward: 0.2 * i - 0.4,
      ...(p !== 2 && { gold: 2 + 0.1 * i }),
    }))
  );
}

function samples(): SampleRow[] {
  const post =
    "It rained all day. I am here with my guide Ned. We had rice for lunch. Today Ned dropped my phone. I told Abe about it. So now we are stuck. Reddit, how do I get back?";
  const facts = ["guide Ned", "dropped my phone", "we are stuck", "How do I get back?"];
  const row = (id: string, title: string, text: string): SampleRow => ({
    id,
    subreddit: "travel",
    title,
    post: text,
    facts,
    summaries: [
      {
        author: "reference",
        text: "My guide Ned dropped my phone and now we are stuck. How do I get back?",
        gold: 5,
        reward: 1.2,
        length: 19,
        ended: true,
        facts,
      },
      {
        author: "base",
        text: " We had rice for lunch. I told Abe about it. I told Abe about it. So it rained all",
        gold: -3.25,
        reward: -2.8,
        length: 28,
        ended: false,
        faults: ["rice", "Abe", "rained"],
      },
      {
        author: "sft",
        text: " Guide Ned dropped my phone.",
        gold: 2.5,
        reward: 0.3,
        length: 8,
        ended: true,
        facts: ["guide Ned", "dropped my phone"],
      },
      {
        author: "ppo",
        text: " My guide Ned dropped my phone and now we are stuck. How do I get back?",
        gold: 5,
        reward: 2.4,
        length: 19,
        ended: true,
        facts,
      },
    ],
  });
  return [
    row("d3_1", "How do I get back?", post),
    row("d3_2", hostile, `${post} ${hostile} `.repeat(6)),
    row("d3_3", "Überraschung 😀 日本語", "短い投稿。"),
    {
      id: "d3_4",
      subreddit: "a",
      title: "Empty ones",
      post: "Nothing.",
      summaries: [{ author: "sft", text: "" }, { author: "ppo", text: hostile }],
    },
  ];
}
