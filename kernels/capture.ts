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

export class Captures {
  private readonly copies: { name: string; copy: Tensor }[] = [];

  /** @param patterns names in which `*` stands for anything, e.g. `layers.*.attn.qkv`, `*.grad` */
  constructor(patterns: readonly string[]) {
    this.patterns = patterns.map((pattern) =>
      new RegExp(
        `^${pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&")).join(".*")}$`,
      )
    );
  }
  private readonly patterns: readonly RegExp[];

  matches(name: string): boolean {
    return this.patterns.some((pattern) => pattern.test(name));
  }

  /** Called by the engine for every named tensor; copies it if it matches. */
  see(gpu: Gpu, name: string, tensor: Tensor): void {
    if (!this.matches(name)) return;
    const copy = gpu.hold(tensor.shape, `capture of ${name}`, tensor.dtype);
    gpu.copy(copy, tensor);
    this.copies.push({ name, copy });
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
