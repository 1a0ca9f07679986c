/**
 * Named captures: copies of any activation or gradient whose name matches a pattern, taken while a step runs and without the model
 * knowing. Names are those of `Gpu.named`, e.g. `layers.3.attn.qkv`, and `….grad` for gradients.
 */
import type { Gpu } from "./gpu.ts";
import type { Tensor } from "./tensor.ts";

export interface Captured {
  name: string;
  shape: readonly number[];
  values: Float32Array;
}

/** Is shown every named tensor while a step is encoded; see `Gpu.watcher`. */
export interface Watcher {
  see(gpu: Gpu, name: string, tensor: Tensor): void;
}

/** Tells names that match one of some patterns, in which `*` stands for anything. */
export function nameMatcher(patterns: readonly string[]): (name: string) => boolean {
  const expressions = patterns.map((pattern) => {
    const parts = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
    return new RegExp(`^${parts.join(".*")}$`);
  });
  return (name) => expressions.some((expression) => expression.test(name));
}

export class Captures {
  private readonly copies: { name: string; copy: Tensor }[] = [];

  /** Bytes of all that matched; above `mostBytes` nothing more is copied. */
  bytes = 0;
  readonly matches: (name: string) => boolean;

  /** @param patterns names in which `*` stands for anything, e.g. `layers.*.attn.qkv`, `*.grad` */
  constructor(patterns: readonly string[], readonly mostBytes = Infinity) {
    this.matches = nameMatcher(patterns);
  }

  /** Called by the engine for every named tensor; copies it if it matches. */
  see(gpu: Gpu, name: string, tensor: Tensor): void {
    if (!this.matches(name)) return;
    this.bytes += tensor.bytes;
    if (this.bytes > this.mostBytes) return;
    const copy = gpu.hold(tensor.shape, `capture of ${name}`, tensor.dtype);
    // Not part of what is being looked at.
    const { recorder } = gpu;
    gpu.recorder = null;
    gpu.copy(copy, tensor);
    gpu.recorder = recorder;
    this.copies.push({ name, copy });
  }

  /** Hands over the copies as they are, on the device, to be released by whoever takes them. In order of computation. */
  hand(): { name: string; copy: Tensor }[] {
    return this.copies.splice(0);
  }

  /** Reads and frees everything captured so far, in the order in which it was computed. */
  async take(gpu: Gpu): Promise<Captured[]> {
    const taken = this.copies.splice(0);
    const values = await gpu.read(...taken.map(({ copy }) => copy));
    return taken.map(({ name, copy }, i) => {
      gpu.release(copy);
      return { name, shape: copy.shape, values: values[i] };
    });
  }
}
