/**
 * One PPO update under the microscope: a few episodes are sampled and measured once; then the update is taken as often as one likes, from the
 * same weights, with the knobs turned, and every number of it shown. Sampling, measuring and updating are what training does
 * (lab/stages/ppo_update.ts); the scalar part is derived a second time in f64 (derivation.ts), and the two are compared.
 */
import { Captures } from "../../kernels/capture.ts";
import { gradNorm } from "../../kernels/grad_norm.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import { gumbel, philox } from "../../kernels/random.ts";
import { readConfig } from "../config.ts";
import type { SummarisedPost } from "../dataset.ts";
import { temperatureShift } from "../generate.ts";
import { tldrQuery } from "../query.ts";
import type { Qwen2 } from "../qwen2.ts";
import { joined, responseProbe, tokenLogprobs } from "../scoring.ts";
import { improve, type Improvement, type Networks, type Rollout, rollOut } from "../stages/ppo_update.ts";
import { stageKeys } from "../training.ts";
import { type AdamWLine, adamwLines, type WeightState } from "./adamw.ts";
import {
  type Derivation,
  derive,
  knobNames,
  type Knobs,
  knobsOf,
  type ObservedEpisode,
  type ObservedPass,
} from "./derivation.ts";
import { copyQwen2, type Ground, type Heeded, trainedCopy } from "./trainer.ts";
import { turns } from "./turns.ts";

/** A token as it was drawn: the id with the greatest logit/τ + Gumbel variate (Philox4x32-10, keyed by who asks). */
export interface DrawnToken {
  slot: number;
  id: number;
  text: string;
  /** Under the policy and under the reference, at the sampling temperature, nats. */
  logprob: number;
  reference: number;
  /** Of the policy's distribution, nats. */
  entropy: number;
  /** The random word behind its Gumbel variate, and what the word is keyed by. */
  draw: { counter: [number, number, number, number]; key: [number, number]; word: number; gumbel: number };
}

export interface SeenEpisode extends ObservedEpisode {
  post: { id: string; title: string; subreddit: string };
  query: string;
  queryTokens: number;
  /** The summary, without EOS. */
  text: string;
  tokens: DrawnToken[];
}

/** What was sampled and measured, before any update. */
export interface SeenRollout {
  /** T. */
  slots: number;
  temperature: number;
  seed: number;
  update: number;
  episodes: SeenEpisode[];
}

/** Which weight AdamW is shown for. */
export interface WeightPlace {
  network: "policy" | "critic";
  /** A name of the network's parameters; "layers.1.mlp.down.weight". */
  tensor: string;
  /** Row-major. */
  index: number;
}

/** The size of a gradient: the whole of a network's, or of a part of it. */
export interface GradientNorm {
  network: "policy" | "critic";
  /** "embedding", "layers.0", …, "norm", "score", or a tensor's name. */
  part: string;
  norm: number;
}

/** One optimiser step. */
export interface SeenStep {
  step: number;
  /** Over both networks, as AdamW's clipping sees it. */
  norm: number;
  layers: GradientNorm[];
  tensors: GradientNorm[];
  weight: WeightPlace;
  adamw: AdamWLine[];
  /** What the GPU's AdamW made of the weight and its moments. */
  after: Omit<WeightState, "gradient">;
}

/** Whether the kernels, in f32, came to what the derivation did in f64. */
export interface KernelCheck {
  what: string;
  /** Largest difference; of losses and figures relative to 1. */
  gap: number;
  tolerance: number;
  passed: boolean;
}

export interface SeenUpdate {
  derivation: Derivation;
  steps: SeenStep[];
  checks: KernelCheck[];
  /** As training logs them. */
  figures: Record<string, number>;
}

export interface Microscope {
  readonly rollout: SeenRollout;
  /** The knobs as the configuration has them. */
  readonly knobs: Knobs;
  /** Names and shapes of the parameters, to choose a weight from. */
  readonly parameters: { network: "policy" | "critic"; tensor: string; shape: number[] }[];
  /** Samples the same posts anew. @param update numbers the random numbers, from 1 */
  rollOut(options?: Heeded & { update?: number }): Promise<SeenRollout>;
  /** Everything up to the loss of the first pass, by arithmetic alone. */
  derive(knobs?: Partial<Knobs>): Derivation;
  /**
   * Takes the update, from the weights that sampled; these stay as they are.
   * @param onPass is told after each pass how many of how many are done
   * @throws RangeError where a knob or the weight's place is none
   */
  update(
    knobs?: Partial<Knobs>,
    options?: Heeded & { weight?: WeightPlace; onPass?: (done: number, of: number) => void },
  ): Promise<SeenUpdate>;
  /**
   * The slope of the first pass's loss in one weight of the policy, by central differences: what its gradient has to be.
   * @param step how far the weight is moved to either side
   */
  slope(
    weight: Omit<WeightPlace, "network">,
    knobs?: Partial<Knobs>,
    options?: Heeded & { step?: number },
  ): Promise<{ slope: number; step: number; losses: [number, number] }>;
  dispose(): void;
  [Symbol.dispose](): void;
}

/**
 * Samples and measures. The networks given stay as they are.
 * @param ground `posts`: one episode each
 * @throws QueryError where a post cannot be made into a query
 */
export async function ppoMicroscope(
  ground: Ground & Networks & Heeded & { posts: readonly SummarisedPost[]; update?: number },
): Promise<Microscope> {
  const { gpu, tokenizer, posts } = ground;
  const B = posts.length;
  // One minibatch, so that a pass is a step and its loss one number.
  const whole = { batch: B, episodes: B, minibatches: 1, lossAggregation: "minibatch" };
  const config = readConfig({ ...ground.config, ppo: { ...ground.config.ppo, ...whole } });
  const run = { gpu, config, tokenizer };
  const T = config.ppo.responseLength;
  const queries = posts.map((post) =>
    Uint32Array.from(tldrQuery(tokenizer, post, config.preprocess.queryTokens).tokens)
  );
  const networks: Networks = {
    policy: copyQwen2(gpu, ground.policy, "policy"),
    critic: copyQwen2(gpu, ground.critic, "critic"),
    reference: ground.reference,
    rewardModel: ground.rewardModel,
  };
  const trained = {
    policy: trainedCopy({ gpu, config }, ground.policy, "policy in training"),
    critic: trainedCopy({ gpu, config }, ground.critic, "critic in training"),
  };
  const { inTurn, heeding, dispose } = turns("microscope", () => {
    for (const { parameters } of [networks.policy, networks.critic, ...Object.values(trained)]) {
      parameters.drop();
    }
    gpu.trim();
  });

  const sample = async (update: number, heed?: () => void) => {
    const rollout = await rollOut(run, networks, queries, update, heed);
    return { rollout, seen: seenRollout(ground, posts, rollout, update) };
  };
  let current: { rollout: Rollout; seen: SeenRollout };
  try {
    current = await sample(ground.update ?? 1, ground.heed);
  } catch (error) {
    dispose();
    throw error;
  }
  const knobsWith = (change: Partial<Knobs> = {}): Knobs => {
    const none = Object.keys(change).find((name) => !(knobNames as readonly string[]).includes(name));
    if (none !== undefined) throw new RangeError(`"${none}" is no knob; there are ${knobNames.join(", ")}.`);
    return knobsOf(readConfig({ ...config, ppo: { ...config.ppo, ...change } }));
  };
  const asSampled = (): ObservedPass => ({
    logprob: current.seen.episodes.map(({ logprob }) => logprob),
    value: current.seen.episodes.map(({ value }) => value),
  });

  return {
    get rollout() {
      return current.seen;
    },
    knobs: knobsOf(config),
    parameters: (["policy", "critic"] as const).flatMap((network) =>
      [...trained[network].parameters.tensors].map(([tensor, { shape }]) => ({
        network,
        tensor,
        shape: [...shape],
      }))
    ),
    rollOut: ({ update = 1, heed } = {}) =>
      inTurn(async () => (current = await sample(update, heeding(heed))).seen),
    derive: (change) => derive(T, current.seen.episodes, [asSampled()], knobsWith(change)),
    update: (change, options = {}) =>
      inTurn(async () => {
        const knobs = knobsWith(change);
        const heed = heeding(options.heed);
        const { rollout, seen } = current;
        const place = options.weight ?? { network: "policy", tensor: "norm", index: 0 };
        requireWeight(trained[place.network], place);
        for (const name of ["policy", "critic"] as const) {
          trained[name].parameters.copyFrom(networks[name].parameters);
          // Moments are zeros again.
          trained[name].parameters.freeze();
          trained[name].parameters.train();
        }
        const passes: ObservedPass[] = [], steps: SeenStep[] = [];
        const settled = readConfig({ ...config, ppo: { ...config.ppo, ...knobs } });
        const { beta1, beta2, eps, weightDecay, maxGradNorm } = settled.ppo;
        let captures = gpu.captures = new Captures(["logprob", "value"]);
        let before: WeightState | undefined;
        let improved: Improvement;
        try {
          improved = await improve(
            { ...run, config: settled },
            trained,
            rollout,
            1,
            knobs.learningRate,
            knobs.klCoef,
            async (moment, { step, minibatch }) => {
              const model = trained[place.network];
              if (moment === "gradients") {
                gpu.captures = null;
                passes.push(ordered(await captures.take(gpu), minibatch, rollout, T));
                before = await weightState(model, place);
                const tensors = await gradientNorms();
                const norm = Math.hypot(...tensors.map((one) => one.norm));
                // As kernels/grad_norm.ts has it.
                const gradientScale = maxGradNorm > 0 ? Math.min(1, maxGradNorm / (norm + 1e-6)) : 1;
                const setting = {
                  learningRate: knobs.learningRate,
                  beta1,
                  beta2,
                  eps,
                  weightDecay,
                  step,
                  gradientScale,
                };
                const adamw = adamwLines(before, setting);
                const layers = byLayer(tensors);
                steps.push({ step, norm, layers, tensors, weight: place, adamw, after: before });
              } else {
                const { gradient: _, ...after } = await weightState(model, place);
                steps.at(-1)!.after = after;
                options.onPass?.(step, knobs.epochs);
                heed();
                captures = gpu.captures = new Captures(["logprob", "value"]);
              }
            },
          );
        } finally {
          gpu.captures = null;
          await captures.take(gpu);
        }
        const derivation = derive(T, seen.episodes, passes, knobs);
        return {
          derivation,
          steps,
          checks: kernelChecks(derivation, rollout, improved, steps),
          figures: improved.figures,
        };
      }),
    slope: ({ tensor, index }, change, { heed, step = 1e-2 } = {}) =>
      inTurn(async () => {
        const knobs = knobsWith(change);
        const { policy } = trained;
        requireWeight(policy, { tensor, index });
        const weights = policy.parameters.get(tensor);
        policy.parameters.copyFrom(networks.policy.parameters);
        const [here] = await gpu.readPart(weights, index, 1);
        const losses: number[] = [];
        // What f32 makes of the two weights decides how far apart they are.
        const [low, high] = [Math.fround(here - step), Math.fround(here + step)];
        for (const weight of [low, high]) {
          gpu.upload(weights, new Float32Array([weight]), index);
          const pass = { ...asSampled(), logprob: await currentLogprobs(policy, heeding(heed)) };
          losses.push(derive(T, current.seen.episodes, [pass], knobs).passes[0].policyLoss);
        }
        policy.parameters.copyFrom(networks.policy.parameters);
        return { slope: (losses[1] - losses[0]) / (high - low), step, losses: [losses[0], losses[1]] };
      }),
    dispose,
    [Symbol.dispose]: dispose,
  };

  async function currentLogprobs(policy: Qwen2, heed?: () => void): Promise<number[][]> {
    const { last, responses } = current.rollout;
    const probes = queries.map((query, b) => {
      const tokens = joined(query, responses[b].subarray(0, last[b] + 1));
      return responseProbe(tokens, query.length, last[b] + 1);
    });
    const { temperature, microTokens } = config.ppo;
    const rule = {
      temperature: temperature + temperatureShift,
      vocabulary: tokenizer.padId,
      microTokens,
      heed,
    };
    return (await tokenLogprobs(gpu, policy, probes, rule)).map(({ logprob }) => Array.from(logprob));
  }

  async function gradientNorms(): Promise<GradientNorm[]> {
    const parts = (["policy", "critic"] as const).flatMap((network) =>
      [...trained[network].parameters.tensors].map(([part, { grad }]) => ({ network, part, grad: grad! }))
    );
    const norms = parts.map(({ grad }) => gpu.scope(() => gradNorm(gpu, [grad]).norm));
    const values = await gpu.read(...norms);
    for (const norm of norms) gpu.release(norm);
    return parts.map(({ network, part }, i) => ({ network, part, norm: values[i][0] }));
  }

  async function weightState({ parameters }: Qwen2, { tensor, index }: WeightPlace): Promise<WeightState> {
    const weights = parameters.get(tensor), { first, second } = parameters.momentsOf(tensor);
    const one = async (of: Tensor) => (await gpu.readPart(of, index, 1))[0];
    return {
      weight: await one(weights),
      gradient: await one(weights.grad!),
      firstMoment: await one(first),
      secondMoment: await one(second),
    };
  }
}

function requireWeight(
  { name, parameters }: Qwen2,
  { tensor, index }: { tensor: string; index: number },
): void {
  const there = parameters.tensors.get(tensor);
  if (!there) {
    throw new RangeError(
      `The ${name} has no tensor "${tensor}"; there are ${[...parameters.tensors.keys()].join(", ")}.`,
    );
  }
  if (!Number.isInteger(index) || index < 0 || index >= there.size) {
    throw new RangeError(`${tensor} has elements 0 to ${there.size - 1}, not ${index}.`);
  }
}

/** A rollout as plain numbers, each token with the random word that drew it. */
function seenRollout(
  { tokenizer, config }: Ground,
  posts: readonly SummarisedPost[],
  rollout: Rollout,
  update: number,
): SeenRollout {
  const T = config.ppo.responseLength;
  const { seed } = config;
  const episodes = rollout.queries.map((query, b): SeenEpisode => {
    const last = rollout.last[b], live = last + 1;
    const cut = (matrix: Float32Array, count: number) => Array.from(matrix.subarray(b * T, b * T + count));
    const ids = Array.from(rollout.responses[b].subarray(0, live));
    const logprob = cut(rollout.logprob, live), reference = cut(rollout.reference, live);
    const entropy = cut(rollout.entropy, live);
    const { id, title, subreddit } = posts[b];
    const ended = rollout.hasEos[b] === 1;
    return {
      post: { id, title, subreddit },
      query: tokenizer.decode(query),
      queryTokens: query.length,
      text: tokenizer.decode(ended ? ids.slice(0, -1) : ids).trim(),
      last,
      hasEos: ended,
      score: rollout.scores[b],
      logprob,
      reference,
      value: cut(rollout.values, Math.min(live + 1, T)),
      tokens: ids.map((id, slot) => {
        // As kernels/random.ts keys it: one call for four ids, the b-th prompt, the position in the response.
        const counter: DrawnToken["draw"]["counter"] = [Math.floor(id / 4), slot, b, update];
        const key: DrawnToken["draw"]["key"] = [seed, stageKeys.ppo];
        const word = philox(counter, key)[id % 4];
        return {
          slot,
          id,
          text: tokenizer.decodeToken(id),
          logprob: logprob[slot],
          reference: reference[slot],
          entropy: entropy[slot],
          draw: { counter, key, word, gumbel: gumbel(word) },
        };
      }),
    };
  });
  const temperature = config.ppo.temperature;
  return { slots: T, temperature, seed, update, episodes };
}

/** Captured rows, which come in the order of the pass, by episode. */
function ordered(
  captured: { name: string; values: Float32Array }[],
  minibatch: readonly number[],
  { last }: Rollout,
  T: number,
): ObservedPass {
  const rows = (name: string, lengthOf: (b: number) => number) => {
    const flat = captured.filter((one) => one.name === name).flatMap(({ values }) => Array.from(values));
    const byEpisode: number[][] = [];
    let at = 0;
    for (const b of minibatch) byEpisode[b] = flat.slice(at, at += lengthOf(b));
    return byEpisode;
  };
  return {
    logprob: rows("logprob", (b) => last[b] + 1),
    value: rows("value", (b) => Math.min(last[b] + 2, T)),
  };
}

/** Norms of layers, in the order of the model, from those of tensors. */
function byLayer(tensors: readonly GradientNorm[]): GradientNorm[] {
  const layers = new Map<string, GradientNorm>();
  for (const { network, part, norm } of tensors) {
    const layer = /^(layers\.\d+|[a-z]+)/.exec(part)![0], key = `${network} ${layer}`;
    const sum = layers.get(key)?.norm ?? 0;
    layers.set(key, { network, part: layer, norm: Math.hypot(sum, norm) });
  }
  return [...layers.values()];
}

/** Compares what the kernels gave in an update with its derivation. */
function kernelChecks(
  { episodes, passes, slots: T }: Derivation,
  rollout: Rollout,
  { perToken, perEpoch, figures }: Improvement,
  steps: readonly SeenStep[],
): KernelCheck[] {
  const check = (what: string, gaps: number[], tolerance: number): KernelCheck => {
    const gap = Math.max(0, ...gaps);
    return { what, gap, tolerance, passed: gaps.every((one) => one <= tolerance) };
  };
  const relative = (found: number, expected: number) =>
    Math.abs(found - expected) / Math.max(1, Math.abs(expected));
  const slotwise = (name: "reward" | "advantage" | "whitened" | "return", matrix: Float32Array) =>
    episodes.flatMap(({ slots }, b) =>
      slots.flatMap((slot, t) => slot[name] === null ? [] : [relative(matrix[b * T + t], slot[name])])
    );
  const logged = passes.flatMap((pass, p) =>
    Object.entries(pass.figures).map(([name, value]) => relative(perEpoch[p][name], value))
  );
  const weights = steps.flatMap(({ adamw, after }) => {
    const line = (symbol: string) => adamw.find((one) => one.symbol === symbol)!.value;
    // Moments are tiny: what counts is their gap to themselves.
    const own = (found: number, expected: number) =>
      Math.abs(found - expected) / Math.max(1e-30, Math.abs(expected));
    return [
      relative(after.weight, line("w′")),
      own(after.firstMoment, line("m")),
      own(after.secondMoment, line("v")),
    ];
  });
  const norm = steps.reduce((sum, one) => sum + one.norm, 0) / steps.length;
  const first = episodes.flatMap((_, b) =>
    passes[0].slots[b].flatMap(({ slot, policy }) =>
      policy ? [Math.abs(policy.logprob - rollout.logprob[b * T + slot])] : []
    )
  );
  return [
    check("log-probabilities of the first pass are those of the rollout", first, 1e-4),
    check("rewards", slotwise("reward", perToken.rewards), 1e-5),
    check("advantages", slotwise("advantage", perToken.advantages), 1e-5),
    check("whitened advantages", slotwise("whitened", perToken.whitened), 1e-4),
    check("returns", slotwise("return", perToken.returns), 1e-5),
    check("losses and figures of every pass", logged, 1e-4),
    check("norm of the gradient", [relative(figures["grad_norm"], norm)], 1e-4),
    check("the weight and its moments after every step", weights, 1e-4),
  ];
}
