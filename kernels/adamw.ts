/** AdamW over flat buffers (arXiv 1711.05101), with the arithmetic of `torch.optim.AdamW`. */
import source from "./adamw.wgsl" with { type: "text" };
import { scalarOrVec4 } from "./elementwise.ts";
import { elementwise, type Gpu } from "./gpu.ts";
import { Tensor } from "./tensor.ts";

const kernels = scalarOrVec4("adamw", source);

/** Equal-sized flat tensors [N]. The moments start as zeros. */
export interface AdamWState {
  weights: Tensor;
  gradients: Tensor;
  firstMoment: Tensor;
  secondMoment: Tensor;
}

export interface AdamWOptions {
  learningRate: number;
  beta1: number;
  beta2: number;
  /** Added to √v after bias correction, as PyTorch does (TensorFlow's Adam differs). */
  eps: number;
  /** Decoupled: weights shrink by learningRate·weightDecay. */
  weightDecay: number;
  /** 1 for the first step. */
  step: number;
  /** Multiplies the gradients; a tensor [1] is read on the GPU, and a 0 in it skips the step (see grad_norm.ts). */
  gradientScale?: Tensor | number;
}

/**
 * One step in place on weights and moments; the gradients are left as they are.
 * @throws if the tensors differ in size or the step is not a positive whole number
 */
export function adamw(gpu: Gpu, state: AdamWState, options: AdamWOptions): void {
  const { weights, gradients, firstMoment, secondMoment } = state;
  for (const tensor of [gradients, firstMoment, secondMoment]) {
    if (tensor.size !== weights.size) {
      throw new Error(
        `adamw: ${tensor.name} has ${tensor.size} elements, ${weights.name} has ${weights.size}`,
      );
    }
  }
  const { scalars, multiplier } = scalarsOf(options);
  const inBuffer = options.gradientScale instanceof Tensor;
  const vectors = weights.size % 4 === 0;
  const size = vectors ? weights.size / 4 : weights.size;
  gpu.run(
    vectors ? kernels.vec4 : kernels.scalar,
    {
      weights,
      gradients,
      firstMoment,
      secondMoment,
      gradientScale: inBuffer ? options.gradientScale as Tensor : gpu.constant(1),
    },
    { size, ...scalars, scale: multiplier },
    elementwise(size),
  );
}

/** The same in f64 on the host, in place; the gradient scale must be a number. */
export function adamwReference(
  state: {
    weights: Float64Array;
    gradients: ArrayLike<number>;
    firstMoment: Float64Array;
    secondMoment: Float64Array;
  },
  options: AdamWOptions,
): void {
  const { weights, gradients, firstMoment, secondMoment } = state;
  const { scalars, multiplier } = scalarsOf(options);
  for (let i = 0; i < weights.length; i++) {
    const gradient = gradients[i] * multiplier;
    firstMoment[i] += scalars.towardsFirst * (gradient - firstMoment[i]);
    secondMoment[i] = scalars.beta2 * secondMoment[i] + scalars.towardsSecond * gradient ** 2;
    const denominator = Math.sqrt(secondMoment[i]) / scalars.rootCorrection + scalars.eps;
    weights[i] = weights[i] * scalars.decay - scalars.stepSize * firstMoment[i] / denominator;
  }
}

function scalarsOf({ learningRate, beta1, beta2, eps, weightDecay, step, gradientScale = 1 }: AdamWOptions) {
  if (!Number.isInteger(step) || step < 1) throw new Error(`adamw: steps count from 1, not ${step}`);
  return {
    multiplier: typeof gradientScale === "number" ? gradientScale : 1,
    scalars: {
      decay: 1 - learningRate * weightDecay,
      stepSize: learningRate / (1 - beta1 ** step),
      rootCorrection: Math.sqrt(1 - beta2 ** step),
      eps,
      towardsFirst: 1 - beta1,
      beta2,
      towardsSecond: 1 - beta2,
    },
  };
}
