/**
 * A notebook's own WGSL, run on its tensors. The text follows the conventions of our kernels (kernels/kernel.ts): one group, an entry point
 * `main`, `struct Params` at binding 0 for scalars, one storage binding a tensor, `read` for inputs and `read_write` for outputs, matched
 * by name. Outputs start as zeros. A second text makes it differentiable: it reads any of the inputs and outputs, `d_<output>`, the
 * gradient of an output, and writes `d_<input>`, that of an input, which starts as zeros too.
 */
import type { Gpu } from "../../kernels/gpu.ts";
import { dialect } from "../../kernels/device.ts";
import { type Kernel, readKernel } from "../../kernels/kernel.ts";
import { passGradient, record } from "../../kernels/tape.ts";
import type { DType, Tensor } from "../../kernels/tensor.ts";

/** One WGSL text with what its dispatch needs. */
export interface Dispatch {
  wgsl: string;
  params: Record<string, number>;
  overrides: Record<string, number>;
  /** Workgroups in x, y, z; left out: one invocation for each element of the first tensor that is written. */
  workgroups?: readonly [number, number, number];
}

/** A kernel as a notebook gives it. */
export interface UserKernel extends Dispatch {
  name: string;
  outputs: Record<string, { shape: readonly number[]; dtype: DType }>;
  gradient?: Dispatch;
}

/** Characters of a WGSL text. */
const longest = 65536;

/** A kernel of a notebook's that the device would not take. */
export class UserKernelError extends Error {
  override name = "UserKernelError";
}

/** A user's kernel that the device has compiled; `run` encodes it. */
export interface CompiledKernel {
  name: string;
  run: (gpu: Gpu, inputs: Record<string, Tensor>) => Record<string, Tensor>;
}

/**
 * Compiles a kernel.
 * @throws UserKernelError with the line where the text is wrong, or the binding that does not fit
 */
export async function compileUserKernel(
  gpu: Gpu,
  user: UserKernel,
  inputNames: readonly string[],
): Promise<CompiledKernel> {
  const forward = await compile(gpu, user.name, user);
  const outputNames = Object.keys(user.outputs);
  matchBindings(forward, inputNames, outputNames);
  const backward = user.gradient && await compile(gpu, `${user.name} gradient`, user.gradient);
  if (backward) {
    matchBindings(
      backward,
      [...inputNames, ...outputNames, ...outputNames.map((name) => `d_${name}`)],
      inputNames.map((name) => `d_${name}`),
    );
  }
  return {
    name: user.name,
    run(gpu, inputs) {
      const outputs: Record<string, Tensor> = {};
      for (const [name, { shape, dtype }] of Object.entries(user.outputs)) {
        outputs[name] = gpu.empty(shape, `${user.name}.${name}`, dtype);
        gpu.clear(outputs[name]);
      }
      dispatch(gpu, forward, user, { ...inputs, ...outputs }, outputNames);
      if (backward) {
        record(
          gpu,
          user.name,
          inputNames.map((name) => inputs[name]),
          outputNames.map((name) => outputs[name]),
          (gradients) => differentiate(gpu, backward, user.gradient!, inputs, outputs, gradients),
        );
      }
      return outputs;
    },
  };
}

function differentiate(
  gpu: Gpu,
  kernel: Kernel,
  how: Dispatch,
  inputs: Record<string, Tensor>,
  outputs: Record<string, Tensor>,
  gradients: readonly (Tensor | null)[],
): void {
  gpu.scope(() => {
    const bound: Record<string, Tensor> = { ...inputs, ...outputs };
    Object.entries(outputs).forEach(([name, output], i) => {
      bound[`d_${name}`] = gradients[i] ?? zeros(gpu, output.shape, `d_${name}`);
    });
    const written: [Tensor, Tensor][] = [];
    for (const { name, writable } of kernel.bindings) {
      if (!writable) continue;
      const input = inputs[name.slice(2)];
      bound[name] = zeros(gpu, input.shape, name);
      written.push([input, bound[name]]);
    }
    dispatch(gpu, kernel, how, bound, written.map(([, { name }]) => name));
    for (const [input, gradient] of written) passGradient(gpu, input, gradient);
  });
}

function zeros(gpu: Gpu, shape: readonly number[], name: string): Tensor {
  const tensor = gpu.empty(shape, name);
  gpu.clear(tensor);
  return tensor;
}

/** Encodes a dispatch, each tensor bound in exactly its size, so that `arrayLength` counts its elements. */
function dispatch(
  gpu: Gpu,
  kernel: Kernel,
  { params, overrides, workgroups }: Dispatch,
  tensors: Record<string, Tensor>,
  written: readonly string[],
): void {
  const bound: Record<string, Tensor> = {};
  const views: Tensor[] = [];
  for (const { name } of kernel.bindings) {
    const tensor = tensors[name];
    const view = tensor.as(tensor.shape);
    Object.assign(view, { allocation: gpu.memory.view(tensor.allocation, 0, tensor.bytes) });
    bound[name] = view;
    views.push(view);
  }
  const groups = workgroups ?? groupsFor(kernel.source, tensors[written[0]].size);
  gpu.run(kernel, bound, params, groups, overrides);
  for (const view of views) gpu.drop(view);
}

/** Workgroups for one invocation an element, by the text's own literal workgroup size. */
function groupsFor(source: string, elements: number): [number, number, number] {
  const size = /@workgroup_size\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?(?:,\s*(\d+)\s*)?\)/.exec(source);
  if (!size) {
    throw new UserKernelError(
      "The kernel's workgroup size is no literal number: give workgroups: [x, y, z].",
    );
  }
  const each = size.slice(1).reduce((product, extent) => product * Number(extent ?? 1), 1);
  const groups = Math.ceil(elements / each), x = Math.min(groups, 32768);
  return [x, Math.ceil(groups / x), 1];
}

/** The kernels of a device that compiled, by text: a cell that runs again compiles nothing. */
const compiled = new WeakMap<Gpu, Map<string, Kernel>>();

async function compile(gpu: Gpu, name: string, { wgsl, params, overrides }: Dispatch): Promise<Kernel> {
  if (wgsl.length > longest) {
    throw new UserKernelError(`The kernel ${name} has ${wgsl.length} characters; ${longest} are allowed.`);
  }
  const key = JSON.stringify([name, wgsl, overrides]);
  let known = compiled.get(gpu);
  if (!known) compiled.set(gpu, known = new Map());
  let kernel = known.get(key);
  if (!kernel) {
    kernel = read(name, wgsl);
    for (const constant of Object.keys(overrides)) {
      if (!kernel.overrides.includes(constant)) {
        throw new UserKernelError(`The kernel ${name} has no constant "${constant}" to override.`);
      }
    }
    await tryOut(gpu, kernel, overrides);
    known.set(key, kernel);
  }
  for (const { name: field } of kernel.fields) {
    if (params[field] === undefined) {
      throw new UserKernelError(
        `The kernel ${name} has a scalar "${field}" in its Params; give it in params.`,
      );
    }
  }
  return kernel;
}

function read(name: string, wgsl: string): Kernel {
  try {
    return readKernel(name, wgsl);
  } catch (error) {
    throw new UserKernelError(`The ${(error as Error).message}.`);
  }
}

/** Compiles module and pipeline where their errors reach us alone: the engine takes any other error for one of its own. */
async function tryOut(gpu: Gpu, kernel: Kernel, constants: Record<string, number>): Promise<void> {
  const { device } = gpu;
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code: dialect(kernel.source, gpu.facts), label: kernel.name });
  device.createComputePipeline({
    label: kernel.name,
    layout: "auto",
    compute: { module, entryPoint: "main", constants },
  });
  const error = await device.popErrorScope();
  if (!error) return;
  const messages = (await module.getCompilationInfo()).messages.filter(({ type }) => type === "error");
  const [{ lineNum, message } = { lineNum: 0, message: error.message }] = messages;
  const place = lineNum > 0 ? ` in line ${lineNum}` : "";
  throw new UserKernelError(`The kernel ${kernel.name} is wrong${place}: ${message.trim().split("\n")[0]}`);
}

/** Encodes and submits what a notebook asked for, where errors of the device are the notebook's and not the engine's. */
export async function contained<T>(gpu: Gpu, encode: () => T): Promise<T> {
  const { device } = gpu;
  gpu.submit();
  device.pushErrorScope("out-of-memory");
  device.pushErrorScope("validation");
  let popped: Promise<(GPUError | null)[]>;
  let result: T;
  try {
    result = encode();
    gpu.submit();
  } finally {
    popped = Promise.all([device.popErrorScope(), device.popErrorScope()]);
  }
  const error = (await popped).find((one) => one !== null);
  if (error) throw new UserKernelError(`The device refused it: ${error.message.trim().split("\n")[0]}`);
  return result;
}

function matchBindings(kernel: Kernel, readable: readonly string[], writable: readonly string[]): void {
  for (const binding of kernel.bindings) {
    const wanted = binding.writable ? writable : readable;
    if (wanted.includes(binding.name)) continue;
    const as = binding.writable ? "read_write" : "read";
    throw new UserKernelError(
      `The kernel ${kernel.name} binds "${binding.name}" as ${as}, but there is no such ${
        binding.writable ? "output" : "input"
      }; there ${wanted.length === 1 ? "is" : "are"} ${wanted.join(", ") || "none"}.`,
    );
  }
  if (!kernel.bindings.some((binding) => binding.writable)) {
    throw new UserKernelError(`The kernel ${kernel.name} writes nothing: no binding is read_write.`);
  }
}
