/**
 * A whole training step (forward, backward, AdamW) of one small Qwen2-shaped transformer, by our engine and by jax-js's jit, from the same
 * weights on the same tokens. The losses must agree, or the times mean nothing.
 */
import type { Gpu } from "../kernels/gpu.ts";
import { crossEntropy } from "../kernels/logprob.ts";
import { allocateQwen2, hiddenStates, initialiseQwen2, type Qwen2, tokenBatch } from "../lab/qwen2.ts";
import type { Qwen2Config } from "../lab/qwen2_config.ts";
import type { StepRow } from "./bench.ts";
import { type JaxArray, openJax } from "./bench_peers.ts";

const sequences = 8, length = 128;

const config: Qwen2Config = {
  head: "language",
  vocabulary: 512,
  hiddenSize: 64,
  layers: 2,
  queryHeads: 4,
  keyValueHeads: 2,
  headDim: 16,
  feedForward: 192,
  tiedHead: true,
  attentionBias: true,
  ropeTheta: 1e4,
  rmsNormEps: 1e-6,
  maxPositions: length,
  eosTokenId: 0,
  bosTokenId: null,
  padTokenId: null,
  initializerRange: 0.05,
};

const optimiser = { learningRate: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-5, weightDecay: 0.01 };
const warmSteps = 3;

/** @throws if the two losses differ by more than 1e-3 after the same steps */
export async function benchStep(
  gpu: Gpu,
  race: (contestants: ((calls: number) => Promise<void>)[]) => Promise<number[]>,
  withJax: boolean,
): Promise<StepRow> {
  const next = numbers(5);
  const model = allocateQwen2(gpu, config, "bench model");
  initialiseQwen2(gpu, model, () => (next() + next() + next() + next() - 2) * Math.sqrt(3));
  const tokens = Array.from(
    { length: sequences },
    () => Uint32Array.from({ length: length + 1 }, () => Math.floor(next() ** 2 * config.vocabulary)),
  );
  const start = new Map<string, Float32Array<ArrayBuffer>>();
  for (const [name, tensor] of model.parameters.tensors) start.set(name, (await gpu.read(tensor))[0]);

  const ours = ourStep(gpu, model, tokens);
  const theirs = withJax ? await jaxStep(start, tokens) : null;
  for (let i = 0; i < warmSteps; i++) {
    await ours.run(1);
    await theirs?.run(1);
  }
  const ourLoss = await ours.loss(), jaxLoss = theirs ? await theirs.loss() : null;
  if (jaxLoss !== null && !(Math.abs(ourLoss - jaxLoss) < 1e-3)) {
    throw new Error(
      `after ${warmSteps} steps our loss is ${ourLoss}, jax-js's ${jaxLoss}: not the same model`,
    );
  }
  const seconds = await race([ours.run, ...theirs ? [theirs.run] : []]);
  model.parameters.freeze();
  const { layers, hiddenSize, feedForward, vocabulary } = config;
  return {
    shape:
      `${sequences} × ${length} tokens, ${layers} layers of ${hiddenSize}, feed-forward ${feedForward}, ${vocabulary} tokens known`,
    ours: seconds[0] * 1000,
    jax: theirs ? seconds[1] * 1000 : null,
    ourLoss,
    jaxLoss,
  };
}

/** Seeded uniform numbers in [0, 1) (a 32-bit linear congruence, its upper bits). */
function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) / 2 ** 24;
  };
}

interface Contestant {
  run(calls: number): Promise<void>;
  /** Of the latest step, before its update. */
  loss(): Promise<number>;
}

// ---- ours ----

function ourStep(gpu: Gpu, model: Qwen2, tokens: Uint32Array[]): Contestant {
  model.parameters.train();
  let step = 0;
  const latest = gpu.persistent([1], "bench loss");
  const one = () =>
    gpu.scope(() => {
      step++;
      model.parameters.clearGradients();
      const batch = tokenBatch(gpu, model, tokens.map((row) => row.subarray(0, length)), true);
      const wanted = Uint32Array.from(tokens.flatMap((row) => [...row.subarray(1)]));
      const targets = gpu.from(wanted, [wanted.length], "targets");
      const loss = gpu.differentiate(() =>
        crossEntropy(gpu, hiddenStates(gpu, model, batch), model.head, targets).loss
      );
      gpu.copy(latest, loss);
      model.parameters.step({ ...optimiser, step });
    });
  return {
    async run(calls) {
      for (let i = 0; i < calls; i++) {
        one();
        gpu.submit();
      }
      await gpu.finish();
    },
    loss: async () => (await gpu.read(latest))[0][0],
  };
}

// ---- jax-js's ----

type Tree = { [name: string]: JaxArray };

async function jaxStep(
  start: ReadonlyMap<string, Float32Array<ArrayBuffer>>,
  tokens: Uint32Array[],
): Promise<Contestant> {
  const jax = await openJax();
  const { numpy: np, nn } = jax;
  const { hiddenSize: D, queryHeads: Hq, keyValueHeads: Hkv, headDim: hd, feedForward: F, vocabulary: V } =
    config;
  const rows = (name: string, first: number, count: number, columns: number) => {
    const data = start.get(name)!.slice(first * columns, (first + count) * columns);
    return np.array(data).reshape(columns === 1 ? [count] : [count, columns]);
  };

  const weights: Tree = { embedding: rows("embedding.0", 0, V, D), norm: rows("norm", 0, D, 1) };
  for (let i = 0; i < config.layers; i++) {
    const at = `layers.${i}`, qkv = `${at}.attn.qkv`;
    weights[`${at}.norm1`] = rows(`${at}.attn.norm`, 0, D, 1);
    weights[`${at}.norm2`] = rows(`${at}.mlp.norm`, 0, D, 1);
    for (const [name, first, heads] of [["q", 0, Hq], ["k", Hq, Hkv], ["v", Hq + Hkv, Hkv]] as const) {
      weights[`${at}.${name}`] = rows(`${qkv}.weight`, first * hd, heads * hd, D);
      weights[`${at}.${name}.bias`] = rows(`${qkv}.bias`, first * hd, heads * hd, 1);
    }
    weights[`${at}.out`] = rows(`${at}.attn.out.weight`, 0, D, Hq * hd);
    weights[`${at}.gate`] = rows(`${at}.mlp.gateUp.weight`, 0, F, D);
    weights[`${at}.up`] = rows(`${at}.mlp.gateUp.weight`, F, F, D);
    weights[`${at}.down`] = rows(`${at}.mlp.down.weight`, 0, D, F);
  }

  // Angles of the rotary embedding, one row a position, one column a pair.
  const angles = Array.from(
    { length: length * hd / 2 },
    (_, i) => Math.floor(i / (hd / 2)) * config.ropeTheta ** (-2 * (i % (hd / 2)) / hd),
  );
  const table = (of: (angle: number) => number) =>
    np.array(Float32Array.from(angles, of)).reshape([1, length, 1, hd / 2]);
  const cosine = table(Math.cos), sine = table(Math.sin);

  const linear = (x: JaxArray, w: JaxArray) => np.matmul(x, w.transpose());
  const rmsnorm = (x: JaxArray, w: JaxArray) => {
    const power = np.mean(np.square(x.ref), -1, { keepdims: true }).add(config.rmsNormEps);
    return x.mul(np.reciprocal(np.sqrt(power))).mul(w);
  };
  const rope = (x: JaxArray) => {
    const low = x.ref.slice([], [], [], [0, hd / 2]), high = x.slice([], [], [], [hd / 2, hd]);
    return np.concatenate([
      low.ref.mul(cosine.ref).sub(high.ref.mul(sine.ref)),
      high.mul(cosine.ref).add(low.mul(sine.ref)),
    ], -1);
  };
  const lossOf = (w: Tree, inputs: JaxArray, targets: JaxArray) => {
    let h = np.matmul(nn.oneHot(inputs, V), w.embedding.ref);
    for (let i = 0; i < config.layers; i++) {
      const of = (name: string) => w[`layers.${i}.${name}`];
      const x = rmsnorm(h.ref, of("norm1"));
      const heads = (name: string, count: number) =>
        linear(x.ref, of(name)).add(of(`${name}.bias`)).reshape([sequences, length, count, hd]);
      const q = rope(heads("q", Hq)), k = rope(heads("k", Hkv)), v = heads("v", Hkv);
      x.dispose();
      const mixed = nn.dotProductAttention(q, k, v, { isCausal: true }).reshape([sequences, length, Hq * hd]);
      h = h.add(linear(mixed, of("out")));
      const y = rmsnorm(h.ref, of("norm2"));
      const activated = nn.silu(linear(y.ref, of("gate"))).mul(linear(y, of("up")));
      h = h.add(linear(activated, of("down")));
    }
    const logprobs = nn.logSoftmax(linear(rmsnorm(h, w.norm), w.embedding), -1);
    return logprobs.mul(nn.oneHot(targets, V)).sum().mul(-1 / (sequences * length));
  };

  const { learningRate, beta1, beta2, eps, weightDecay } = optimiser;
  const valueAndGrad = jax.valueAndGrad(lossOf);
  const update = jax.jit(
    (
      w: Tree,
      m: Tree,
      v: Tree,
      inputs: JaxArray,
      targets: JaxArray,
      correct1: JaxArray,
      correct2: JaxArray,
    ) => {
      const [loss, gradient] = valueAndGrad(jax.tree.ref(w), inputs, targets);
      const moved: [Tree, Tree, Tree] = [{}, {}, {}];
      for (const name of Object.keys(w)) {
        const g = gradient[name];
        const first = m[name].mul(beta1).add(g.ref.mul(1 - beta1));
        const second = v[name].mul(beta2).add(np.square(g).mul(1 - beta2));
        const size = np.sqrt(second.ref.mul(correct2.ref)).add(eps);
        const change = first.ref.mul(correct1.ref).div(size);
        moved[0][name] = w[name].mul(1 - learningRate * weightDecay).sub(change.mul(learningRate));
        moved[1][name] = first;
        moved[2][name] = second;
      }
      correct1.dispose();
      correct2.dispose();
      return [loss, ...moved];
    },
  );

  const zeros = () =>
    Object.fromEntries(Object.entries(weights).map(([name, w]) => [name, np.zeros(w.shape)]));
  let state: [Tree, Tree, Tree] = [weights, zeros(), zeros()];
  let latest: JaxArray | null = null, step = 0;
  const ids = (from: number) =>
    np.array(Int32Array.from(tokens.flatMap((row) => [...row.subarray(from, from + length)])))
      .reshape([sequences, length]);
  const inputs = ids(0), targets = ids(1);
  return {
    async run(calls) {
      for (let i = 0; i < calls; i++) {
        step++;
        const correct = (beta: number) => np.array(Float32Array.of(1 / (1 - beta ** step))).reshape([]);
        const [loss, ...moved] = update(
          ...state,
          inputs.ref,
          targets.ref,
          correct(beta1),
          correct(beta2),
        ) as [JaxArray, Tree, Tree, Tree];
        latest?.dispose();
        [latest, state] = [loss, moved];
      }
      await jax.blockUntilReady([latest, state]);
    },
    loss: async () => (await latest!.ref.data())[0],
  };
}
