/** The operations that cells compute with: our kernels on handles. All but those that say so have gradients. */
import { attention } from "../../kernels/attention.ts";
import { scale, weightedSum } from "../../kernels/elementwise.ts";
import { firstEos } from "../../kernels/first_eos.ts";
import { gae } from "../../kernels/gae.ts";
import { gatherRows } from "../../kernels/gather_rows.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { klReward, type RewardOptions } from "../../kernels/kl_reward.ts";
import { crossEntropy, logprobs } from "../../kernels/logprob.ts";
import { matmul } from "../../kernels/matmul.ts";
import { packSequences, uploadPacking } from "../../kernels/packing.ts";
import { pairwiseLoss } from "../../kernels/pairwise_loss.ts";
import { ppoPolicyLoss } from "../../kernels/ppo_policy_loss.ts";
import { ppoValueLoss } from "../../kernels/ppo_value_loss.ts";
import { mean, sum } from "../../kernels/reduce.ts";
import { rmsnorm } from "../../kernels/rmsnorm.ts";
import { rope } from "../../kernels/rope.ts";
import { scalarHead } from "../../kernels/scalar_head.ts";
import { swiglu } from "../../kernels/swiglu.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import { whiten } from "../../kernels/whiten.ts";
import type { Arguments, Options } from "./arguments.ts";
import type { HeldTensor } from "./held_tensor.ts";
import type { Session } from "./session.ts";

/** An operation: reads its arguments, computes, and gives the results by name, or one alone. */
type Op = (session: Session, args: Arguments) => Promise<HeldTensor | Record<string, HeldTensor>>;

/** One result of a computation on the given tensors. */
async function one(
  session: Session,
  args: Arguments,
  inputs: readonly HeldTensor[],
  run: (gpu: Gpu, inputs: Tensor[]) => Tensor,
): Promise<HeldTensor> {
  const name = nameOf(args);
  const [result] = await session.compute({ name, inputs, run: (gpu, tensors) => [run(gpu, tensors)] });
  return result;
}

/** Several results by name. */
async function several<Name extends string>(
  session: Session,
  args: Arguments,
  names: readonly Name[],
  inputs: readonly HeldTensor[],
  run: (gpu: Gpu, inputs: Tensor[]) => Record<Name, Tensor>,
): Promise<Record<Name, HeldTensor>> {
  const results = await session.compute({
    name: nameOf(args),
    results: names,
    inputs,
    run(gpu, tensors) {
      const outputs = run(gpu, tensors);
      return names.map((name) => outputs[name]);
    },
  });
  return Object.fromEntries(names.map((name, i) => [name, results[i]])) as Record<Name, HeldTensor>;
}

const nameOf = (args: Arguments) => args.method.replace(/^.*\./, "");

/** @throws unless the tensor has so many extents */
function extents(args: Arguments, tensor: HeldTensor, count: number, name: string): void {
  if (tensor.shape.length !== count) throw args.wrong(name, `a tensor of ${count} extents`, tensor);
}

/** @throws unless it holds whole numbers */
function whole(args: Arguments, tensor: HeldTensor, name: string): HeldTensor {
  if (tensor.dtype !== "u32") {
    throw args.wrong(name, "a tensor of u32 (give lab.tensor a Uint32Array)", tensor);
  }
  return tensor;
}

/** Weights of a sum of two tensors. */
const combined = (wa: number, wb: number): Op => (session, args) => {
  const [a, b] = [args.tensor(0, "a"), args.tensor(1, "b")];
  return one(session, args, [a, b], (gpu, [a, b]) => weightedSum(gpu, a, wa, b, wb));
};

export const ops: Record<string, Op> = {
  matmul(session, args) {
    const options = args.options(2).only("bias", "residual");
    const inputs = [args.tensor(0, "x"), args.tensor(1, "weight")];
    extents(args, inputs[1], 2, "weight");
    const bias = options.tensorIfAny("bias"), residual = options.tensorIfAny("residual");
    const all = [...inputs, ...[bias, residual].filter((tensor) => tensor !== undefined)];
    return one(session, args, all, (gpu, [x, weight, ...rest]) =>
      matmul(gpu, x, weight, {
        bias: bias && rest.shift(),
        residual: residual && rest.shift(),
      }));
  },

  rmsnorm(session, args) {
    const inputs = [args.tensor(0, "x"), args.tensor(1, "weight")];
    const eps = args.options(2).only("eps").number("eps", 1e-6);
    extents(args, inputs[0], 2, "x");
    if (inputs[1].size !== inputs[0].shape[1]) {
      throw args.wrong("weight", `a tensor [${inputs[0].shape[1]}]`, inputs[1]);
    }
    return one(session, args, inputs, (gpu, [x, weight]) => rmsnorm(gpu, x, weight, eps));
  },

  swiglu: (session, args) => one(session, args, [args.tensor(0, "gateUp")], (gpu, [x]) => swiglu(gpu, x)),

  add: combined(1, 1),
  subtract: combined(1, -1),

  weightedSum(session, args) {
    const inputs = [args.tensor(0, "a"), args.tensor(2, "b")];
    const [wa, wb] = [args.number(1, "the first weight"), args.number(3, "the second weight")];
    return one(session, args, inputs, (gpu, [a, b]) => weightedSum(gpu, a, wa, b, wb));
  },

  scale(session, args) {
    const factor = args.number(1, "the factor");
    return one(session, args, [args.tensor(0, "x")], (gpu, [x]) => scale(gpu, x, factor));
  },

  sum: (session, args) => one(session, args, [args.tensor(0, "x")], (gpu, [x]) => sum(gpu, x)),
  mean: (session, args) => one(session, args, [args.tensor(0, "x")], (gpu, [x]) => mean(gpu, x)),

  rope(session, args) {
    const { lengths, shape } = attentionOptions(args, args.options(1), ["theta"]);
    const theta = args.options(1).number("theta", 1e6);
    const qkv = args.tensor(0, "qkv");
    return one(session, args, [qkv], (gpu, [qkv]) => {
      const { positions } = uploadPacking(gpu, packSequences(lengths ?? [qkv.shape[0]]));
      return rope(gpu, qkv, positions, { ...shape, theta });
    });
  },

  attention(session, args) {
    const { lengths, shape } = attentionOptions(args, args.options(1), []);
    const qkv = args.tensor(0, "qkv");
    return one(
      session,
      args,
      [qkv],
      (gpu, [qkv]) =>
        attention(gpu, qkv, uploadPacking(gpu, packSequences(lengths ?? [qkv.shape[0]])), shape),
    );
  },

  gatherRows(session, args) {
    const x = args.tensor(0, "x"), rows = args.ids(1, "the rows");
    extents(args, x, 2, "x");
    if (rows.length === 0 || rows.some((row) => row >= x.shape[0])) {
      throw args.wrong("the rows", `numbers of rows below ${x.shape[0]}`, rows);
    }
    return one(session, args, [x], (gpu, [x]) => gatherRows(gpu, x, Uint32Array.from(rows)));
  },

  scalarHead(session, args) {
    const inputs = [args.tensor(0, "hidden"), args.tensor(1, "weight"), args.tensor(2, "bias")];
    extents(args, inputs[0], 2, "hidden");
    return one(session, args, inputs, (gpu, [hidden, weight, bias]) => scalarHead(gpu, hidden, weight, bias));
  },

  logprobs(session, args) {
    const inputs = languageInputs(args);
    const temperature = args.options(3).only("temperature").number("temperature", 1);
    return several(
      session,
      args,
      ["logprob", "logSumExp", "entropy"],
      inputs,
      (gpu, [hidden, head, targets]) => ({ ...logprobs(gpu, hidden, [head], targets, { temperature }) }),
    );
  },

  crossEntropy(session, args) {
    const inputs = languageInputs(args);
    const temperature = args.options(3).only("temperature").number("temperature", 1);
    return one(
      session,
      args,
      inputs,
      (gpu, [hidden, head, targets]) => crossEntropy(gpu, hidden, [head], targets, { temperature }).loss,
    );
  },

  pairwiseLoss(session, args) {
    const inputs = [args.tensor(0, "chosen"), args.tensor(1, "rejected")];
    const margin = args.options(2).only("margin").number("margin", 0);
    return several(
      session,
      args,
      ["loss", "accuracy", "margins"],
      inputs,
      (gpu, [chosen, rejected]) => ({ ...pairwiseLoss(gpu, chosen, rejected, { margin }) }),
    );
  },

  firstEos(session, args) {
    const tokens = whole(args, args.tensor(0, "tokens"), "tokens"), eos = args.number(1, "the EOS id");
    extents(args, tokens, 2, "tokens");
    return several(
      session,
      args,
      ["last", "hasEos"],
      [tokens],
      (gpu, [tokens]) => firstEos(gpu, tokens, eos),
    );
  },

  klReward(session, args) {
    const names = ["logprob", "reference", "last", "hasEos", "scores"] as const;
    const given = args.options(0).only(...names);
    const inputs = names.map((name) => given.tensor(name));
    extents(args, inputs[0], 2, "logprob");
    const [B, T] = inputs[0].shape;
    names.forEach((name, i) => {
      const size = i < 2 ? B * T : B;
      if (inputs[i].size !== size) throw args.wrong(name, `a tensor of ${size} elements`, inputs[i]);
      if (i === 2 || i === 3) whole(args, inputs[i], name);
    });
    const options = args.options(1).only("beta", "estimator", "scoreSlot", "missingEos", "missingEosValue");
    const how: RewardOptions = {
      beta: options.number("beta"),
      estimator: options.whole("estimator", 1, { min: 1, max: 3 }) as 1 | 2 | 3,
      scoreSlot: options.choice("scoreSlot", ["after", "last"], "after"),
      missingEos: options.choice("missingEos", ["replace", "subtract", "none"], "replace"),
      ...(options.has("missingEosValue") && { missingEosValue: options.number("missingEosValue") }),
    };
    return several(
      session,
      args,
      ["reward", "penalty"],
      inputs,
      (gpu, [logprob, reference, last, hasEos, scores]) =>
        klReward(gpu, { logprob, reference, last, hasEos, scores }, how),
    );
  },

  gae(session, args) {
    const inputs = [args.tensor(0, "reward"), args.tensor(1, "values")];
    for (const [i, name] of ["reward", "values"].entries()) extents(args, inputs[i], 2, name);
    const options = args.options(2).only("gamma", "lambda");
    const how = { gamma: options.number("gamma", 1), lambda: options.number("lambda", 0.95) };
    return several(
      session,
      args,
      ["advantages", "returns"],
      inputs,
      (gpu, [reward, values]) => gae(gpu, reward, values, how),
    );
  },

  whiten(session, args) {
    const inputs = [args.tensor(0, "x"), whole(args, args.tensor(1, "last"), "last")];
    extents(args, inputs[0], 2, "x");
    if (inputs[1].size !== inputs[0].shape[0]) {
      throw args.wrong("last", `a tensor [${inputs[0].shape[0]}]`, inputs[1]);
    }
    const options = args.options(2).only("shiftMean", "unbiased", "eps");
    const how = {
      shiftMean: options.boolean("shiftMean", true),
      unbiased: options.boolean("unbiased", false),
      eps: options.number("eps", 1e-8),
    };
    return several(
      session,
      args,
      ["whitened", "moments"],
      inputs,
      (gpu, [x, last]) => whiten(gpu, x, last, how),
    );
  },

  ppoPolicyLoss(session, args) {
    const given = args.options(0).only("logprob", "oldLogprob", "advantages", "slots");
    const inputs = (["logprob", "oldLogprob", "advantages"] as const).map((name) => given.tensor(name));
    const slots = slotsOf(args, given, inputs[0]);
    const options = args.options(1).only("clipRange", "dualClip", "denominator");
    const how = {
      clipRange: options.number("clipRange", 0.2),
      denominator: options.number("denominator", inputs[0].size),
      ...(options.has("dualClip") && { dualClip: options.number("dualClip") }),
    };
    return several(
      session,
      args,
      ["loss", "sums"],
      slots ? [...inputs, slots] : inputs,
      (gpu, [logprob, oldLogprob, advantages, slots]) =>
        ppoPolicyLoss(gpu, { logprob, oldLogprob, advantages, slots: slots ?? allSlots(gpu, logprob) }, how),
    );
  },

  ppoValueLoss(session, args) {
    const given = args.options(0).only("value", "oldValues", "returns", "slots");
    const inputs = (["value", "oldValues", "returns"] as const).map((name) => given.tensor(name));
    const slots = slotsOf(args, given, inputs[0]);
    const options = args.options(1).only("clipRange", "denominator");
    const how = {
      clipRange: options.values.clipRange === null ? null : options.number("clipRange", 0.2),
      denominator: options.number("denominator", inputs[0].size),
    };
    return several(
      session,
      args,
      ["loss", "sums"],
      slots ? [...inputs, slots] : inputs,
      (gpu, [value, oldValues, returns, slots]) =>
        ppoValueLoss(gpu, { value, oldValues, returns, slots: slots ?? allSlots(gpu, value) }, how),
    );
  },
};

/** hidden [R, D], head [V, D], targets u32 [R]. */
function languageInputs(args: Arguments): HeldTensor[] {
  const inputs = [args.tensor(0, "hidden"), args.tensor(1, "head"), args.tensor(2, "targets")];
  extents(args, inputs[0], 2, "hidden");
  extents(args, inputs[1], 2, "head");
  whole(args, inputs[2], "targets");
  return inputs;
}

function attentionOptions(args: Arguments, options: Options, more: readonly string[]) {
  options.only("queryHeads", "keyValueHeads", "headDim", "lengths", ...more);
  extents(args, args.tensor(0, "qkv"), 2, "qkv");
  const rows = args.tensor(0, "qkv").shape[0];
  const shape = {
    queryHeads: options.whole("queryHeads", 1, { min: 1 }),
    keyValueHeads: options.whole("keyValueHeads", 1, { min: 1 }),
    headDim: options.whole("headDim", 64, { min: 1 }),
  };
  const lengths = options.has("lengths") ? args.asIds(options.values.lengths, "lengths") : undefined;
  if (lengths && lengths.reduce((sum, length) => sum + length, 0) !== rows) {
    throw args.wrong("lengths", `numbers that add up to the ${rows} rows`, lengths);
  }
  return { lengths, shape };
}

/** Which slot b·T + t each row is; undefined where the rows are the slots in order. */
function slotsOf(args: Arguments, given: Options, rows: HeldTensor): HeldTensor | undefined {
  const slots = given.tensorIfAny("slots");
  if (slots && whole(args, slots, "slots").size !== rows.size) {
    throw args.wrong("slots", `a tensor of ${rows.size} slots`, slots);
  }
  return slots;
}

function allSlots(gpu: Gpu, rows: Tensor): Tensor {
  return gpu.from(Uint32Array.from({ length: rows.size }, (_, i) => i), [rows.size], "slots");
}
