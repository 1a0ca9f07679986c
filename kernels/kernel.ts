/**
 * A kernel as its WGSL text declares it. The host side is read off the shader, so the two cannot disagree:
 * `struct Params` gives the names, order and types of the scalars, the `@binding` lines the names and access of the tensors.
 *
 * Conventions of every `.wgsl` file here: one group; binding 0 is `var<uniform> params: Params` when there are scalars;
 * at most 8 storage bindings (the default limit); entry point `main`.
 *
 * A tensor may also be read through a *window*: `var<uniform> a: array<vec4f, 4096>` at any binding but 0 shows 64 KiB of its buffer, from an offset
 * that each dispatch gives. Some software drivers read uniform buffers ten times faster than storage buffers.
 */
export interface Kernel {
  readonly name: string;
  readonly source: string;
  readonly fields: readonly { name: string; type: "u32" | "i32" | "f32" }[];
  readonly bindings: readonly Binding[];
  readonly overrides: readonly string[];
}

export interface Binding {
  name: string;
  binding: number;
  writable: boolean;
  /** Bytes that a window shows; 0 for an ordinary storage binding. */
  window: number;
}

const maxStorageBindings = 8;

/** Every kernel there is so far, so that a test can see to it that all of them compile on every front end. */
export const declaredKernels: Kernel[] = [];

/** Bytes of one slot of the parameter ring: WebGPU's default alignment of dynamic uniform offsets. */
export const parameterSlotBytes = 256;

/** Bytes of a window: the uniform binding that every device allows. */
export const windowBytes = 65536;

/**
 * A kernel of ours: its interface is read off its source, and it is one of {@link declaredKernels}.
 * @throws as {@link readKernel} does
 */
export function kernel(name: string, source: string): Kernel {
  const declared = readKernel(name, source);
  declaredKernels.push(declared);
  return declared;
}

/**
 * Reads a kernel's interface off its source, whoever wrote it.
 * @throws if the source breaks a convention above, naming the kernel.
 */
export function readKernel(name: string, source: string): Kernel {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/\/\/[^\n]*/g, "");
  const fields = readFields(name, code);
  const bindings = [
    ...code.matchAll(/@group\(0\)\s*@binding\((\d+)\)\s*var<storage(?:,\s*(read|read_write))?>\s*(\w+)/g),
  ]
    .map((match): Binding => ({
      name: match[3],
      binding: Number(match[1]),
      writable: match[2] === "read_write",
      window: 0,
    }));
  if (bindings.length > maxStorageBindings) {
    throw new Error(
      `kernel ${name}: ${bindings.length} storage bindings, but WebGPU guarantees only ${maxStorageBindings}`,
    );
  }
  for (
    const match of code.matchAll(
      /@group\(0\)\s*@binding\(([1-9]\d*)\)\s*var<uniform>\s*(\w+)\s*:\s*array<vec4f,\s*(\d+)>/g,
    )
  ) {
    const [binding, window] = [Number(match[1]), Number(match[3]) * 16];
    bindings.push({ name: match[2], binding, writable: false, window });
  }
  bindings.sort((a, b) => a.binding - b.binding);
  if (!/fn\s+main\s*\(/.test(code)) throw new Error(`kernel ${name}: no entry point "main"`);
  const overrides = [...code.matchAll(/^\s*override\s+(\w+)/gm)].map((match) => match[1]);
  return { name, source, fields, bindings, overrides };
}

function readFields(name: string, code: string): Kernel["fields"] {
  const body = /struct\s+Params\s*\{([^}]*)\}/.exec(code)?.[1];
  if (body === undefined) return [];
  const fields = body.split(",").map((line) => line.trim()).filter((line) => line !== "").map((line) => {
    const match = /^(\w+)\s*:\s*(u32|i32|f32)$/.exec(line);
    if (!match) {
      throw new Error(`kernel ${name}: Params holds "${line}"; only u32, i32 and f32 scalars are allowed`);
    }
    return { name: match[1], type: match[2] as "u32" | "i32" | "f32" };
  });
  if (fields.length * 4 > parameterSlotBytes) {
    throw new Error(
      `kernel ${name}: Params needs ${fields.length * 4} bytes, a slot has ${parameterSlotBytes}`,
    );
  }
  return fields;
}
