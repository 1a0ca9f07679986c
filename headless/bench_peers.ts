/**
 * The libraries that `deno task bench` measures beside ours. They are fetched only when asked for, at pinned versions, by names that the
 * module graph does not see: nothing else needs them.
 */
import type { Shape } from "../kernels/matmul.ts";

export interface Peer {
  name: "jax-js" | "tfjs";
  /** Gets the operands of a product, as our forms have them stored, onto its device. */
  product(shape: Shape, a: Float32Array<ArrayBuffer>, b: Float32Array<ArrayBuffer>): Promise<PeerProduct>;
}

export interface PeerProduct {
  /** Computes it so many times over, and waits until all are done. */
  run(calls: number): Promise<void>;
  result(): Promise<ArrayLike<number>>;
  drop(): void;
}

/** What the bench compares with; no part of the lock file. */
export const peerPackages = {
  jax: "npm:@jax-js/jax@0.1.25",
  tfjs: "npm:@tensorflow/tfjs-core@4.22.0",
  tfjsWebGpu: "npm:@tensorflow/tfjs-backend-webgpu@4.22.0",
};

async function fetched<T>(specifier: string): Promise<T> {
  try {
    return await import(specifier) as T;
  } catch (error) {
    const [why] = (error instanceof Error ? error.message : String(error)).split("\n");
    throw new Error(`${specifier} could not be fetched (${why})`);
  }
}

/** As much of jax-js as is used here. Arrays are handed over to what consumes them; `ref` keeps one for further use. */
export interface JaxArray {
  ref: JaxArray;
  shape: number[];
  add(other: JaxArray | number): JaxArray;
  sub(other: JaxArray | number): JaxArray;
  mul(other: JaxArray | number): JaxArray;
  div(other: JaxArray | number): JaxArray;
  sum(): JaxArray;
  slice(...ranges: (number | [] | [number, number])[]): JaxArray;
  transpose(): JaxArray;
  reshape(shape: number[]): JaxArray;
  data(): Promise<ArrayLike<number>>;
  dispose(): void;
}
export interface Jax {
  init(): Promise<unknown>;
  defaultDevice(device: string): unknown;
  blockUntilReady(arrays: unknown): Promise<unknown>;
  jit<Arguments extends unknown[], Result>(
    f: (...args: Arguments) => Result,
  ): (...args: Arguments) => Result;
  valueAndGrad<First, Rest extends unknown[]>(
    f: (first: First, ...rest: Rest) => JaxArray,
  ): (first: First, ...rest: Rest) => [JaxArray, First];
  tree: { ref<T>(tree: T): T };
  numpy: {
    array(data: Float32Array | Int32Array): JaxArray;
    zeros(shape: number[]): JaxArray;
    matmul(a: JaxArray, b: JaxArray): JaxArray;
    mean(x: JaxArray, axis: number, options: { keepdims: boolean }): JaxArray;
    square(x: JaxArray): JaxArray;
    sqrt(x: JaxArray): JaxArray;
    reciprocal(x: JaxArray): JaxArray;
    concatenate(xs: JaxArray[], axis: number): JaxArray;
  };
  nn: {
    oneHot(ids: JaxArray, classes: number): JaxArray;
    silu(x: JaxArray): JaxArray;
    logSoftmax(x: JaxArray, axis: number): JaxArray;
    dotProductAttention(q: JaxArray, k: JaxArray, v: JaxArray, options: { isCausal: boolean }): JaxArray;
  };
}

/** jax-js, its default device set to WebGPU. @throws if it cannot be fetched */
export async function openJax(): Promise<Jax> {
  const jax = await fetched<Jax>(peerPackages.jax);
  await jax.init();
  jax.defaultDevice("webgpu");
  return jax;
}

/** jax-js on Deno's own WebGPU. @throws if it cannot be fetched */
export async function jaxPeer(): Promise<Peer> {
  const jax = await openJax();
  return {
    name: "jax-js",
    async product({ form, M, N, K }, a, b) {
      const left = jax.numpy.array(a).reshape(form === "TN" ? [K, M] : [M, K]);
      const right = jax.numpy.array(b).reshape(form === "NT" ? [N, K] : [K, N]);
      await jax.blockUntilReady([left, right]);
      const once = () =>
        jax.numpy.matmul(
          form === "TN" ? left.ref.transpose() : left.ref,
          form === "NT" ? right.ref.transpose() : right.ref,
        );
      return {
        // Results are kept until all are done: jax-js never computes what is dropped before.
        async run(calls) {
          const results = Array.from({ length: calls }, once);
          await jax.blockUntilReady(results);
          for (const result of results) result.dispose();
        },
        result: () => once().data(),
        drop() {
          left.dispose();
          right.dispose();
        },
      };
    },
  };
}

interface TfTensor {
  data(): Promise<Float32Array>;
  dispose(): void;
}
interface Tfjs {
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  tensor2d(data: Float32Array, shape: [number, number]): TfTensor;
  matMul(a: TfTensor, b: TfTensor, turnA: boolean, turnB: boolean): TfTensor;
  slice(x: TfTensor, begin: number[], size: number[]): TfTensor;
}

/** tfjs's WebGPU backend on Deno's own WebGPU. @throws if it cannot be fetched or finds no device */
export async function tfjsPeer(): Promise<Peer> {
  const tf = await fetched<Tfjs>(peerPackages.tfjs);
  await fetched(peerPackages.tfjsWebGpu);
  if (!await tf.setBackend("webgpu")) throw new Error("tfjs found no WebGPU: go without with --no-peers");
  await tf.ready();
  return {
    name: "tfjs",
    product({ form, M, N, K }, a, b) {
      const left = tf.tensor2d(a, form === "TN" ? [K, M] : [M, K]);
      const right = tf.tensor2d(b, form === "NT" ? [N, K] : [K, N]);
      const once = () => tf.matMul(left, right, form === "TN", form === "NT");
      return Promise.resolve({
        async run(calls) {
          const results = Array.from({ length: calls }, once);
          const corner = tf.slice(results.at(-1)!, [0, 0], [1, 1]);
          await corner.data(); // the queue is in order: when the last is done, all are
          for (const result of [...results, corner]) result.dispose();
        },
        async result() {
          const result = once(), data = await result.data();
          result.dispose();
          return data;
        },
        drop() {
          left.dispose();
          right.dispose();
        },
      });
    },
  };
}
