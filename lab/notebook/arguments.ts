/** Checks of what cells pass to the lab; each error names the method, the argument, and what should stand there. */
import { shown } from "../bytes.ts";
import type { Post } from "../query.ts";
import { HeldTensor } from "./held_tensor.ts";

/** The arguments of one call. Every getter throws a TypeError or RangeError where the argument is not what it should be. */
export class Arguments {
  constructor(readonly method: string, private readonly values: readonly unknown[]) {}

  get(index: number): unknown {
    return this.values[index];
  }

  /** The options that come last; a missing argument is none. */
  options(index: number): Options {
    const value = this.values[index] ?? {};
    if (typeof value !== "object" || Array.isArray(value) || ArrayBuffer.isView(value)) {
      throw this.wrong("the options", "an object", value);
    }
    return new Options(this, value as Record<string, unknown>);
  }

  tensor(index: number, name: string): HeldTensor {
    return this.asTensor(this.values[index], name);
  }

  text(index: number, name: string): string {
    const value = this.values[index];
    if (typeof value !== "string") throw this.wrong(name, "a text", value);
    return value;
  }

  number(index: number, name: string): number {
    return this.asNumber(this.values[index], name);
  }

  ids(index: number, name: string): number[] {
    return this.asIds(this.values[index], name);
  }

  callback(index: number, name: string): (...args: unknown[]) => void {
    const value = this.values[index] ?? (() => {});
    if (typeof value !== "function") throw this.wrong(name, "a function", value);
    return value as (...args: unknown[]) => void;
  }

  post(index: number): Post {
    const value = this.values[index];
    const { id, subreddit, title, post } = (typeof value === "object" && value ? value : {}) as Partial<Post>;
    if (typeof subreddit !== "string" || typeof title !== "string" || typeof post !== "string") {
      throw this.wrong("the post", "{ subreddit, title, post }, all texts", value);
    }
    return { subreddit, title, post, ...(typeof id === "string" && { id }) };
  }

  asTensor(value: unknown, name: string): HeldTensor {
    if (value instanceof HeldTensor) return value;
    throw this.wrong(name, "a tensor of the lab", value);
  }

  asNumber(value: unknown, name: string): number {
    if (typeof value !== "number" || !Number.isFinite(value)) {
      throw this.wrong(name, "a finite number", value);
    }
    return value;
  }

  asIds(value: unknown, name: string): number[] {
    const ids = Array.isArray(value) || ArrayBuffer.isView(value)
      ? Array.from(value as ArrayLike<unknown>)
      : null;
    if (!ids || !ids.every((id) => Number.isInteger(id) && (id as number) >= 0)) {
      throw this.wrong(name, "a list of token ids", value);
    }
    return ids as number[];
  }

  wrong(name: string, wanted: string, value: unknown): TypeError {
    const found = value instanceof HeldTensor
      ? `a tensor [${value.shape}]`
      : ArrayBuffer.isView(value)
      ? "a typed array"
      : shown(value);
    return new TypeError(`${this.method}: ${name} should be ${wanted}, not ${found}.`);
  }
}

/** The named options of a call. */
export class Options {
  constructor(private readonly args: Arguments, readonly values: Record<string, unknown>) {}

  /** Refuses names that the method does not know. */
  only(...names: string[]): this {
    for (const name of Object.keys(this.values)) {
      if (!names.includes(name)) {
        throw new RangeError(
          `${this.args.method} has no option "${name}"${
            names.length > 0 ? `; it has ${names.join(", ")}` : ""
          }.`,
        );
      }
    }
    return this;
  }

  has(name: string): boolean {
    return this.values[name] !== undefined;
  }

  number(name: string, otherwise?: number): number {
    const value = this.values[name] ?? otherwise;
    return this.args.asNumber(value, name);
  }

  whole(name: string, otherwise: number, { min = 0, max = 2 ** 32 - 1 } = {}): number {
    const value = this.number(name, otherwise);
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    throw this.args.wrong(name, `a whole number from ${min} to ${max}`, value);
  }

  boolean(name: string, otherwise: boolean): boolean {
    const value = this.values[name] ?? otherwise;
    if (typeof value !== "boolean") throw this.args.wrong(name, "true or false", value);
    return value;
  }

  text(name: string, otherwise?: string): string {
    const value = this.values[name] ?? otherwise;
    if (typeof value !== "string") throw this.args.wrong(name, "a text", value);
    return value;
  }

  choice<const T extends string>(name: string, choices: readonly T[], otherwise: NoInfer<T>): T {
    const value = this.text(name, otherwise);
    if (!choices.includes(value as T)) throw this.args.wrong(name, `one of ${choices.join(", ")}`, value);
    return value as T;
  }

  tensor(name: string): HeldTensor {
    return this.args.asTensor(this.values[name], name);
  }

  tensorIfAny(name: string): HeldTensor | undefined {
    return this.values[name] === undefined ? undefined : this.tensor(name);
  }

  list(name: string): unknown[] {
    const value = this.values[name];
    if (Array.isArray(value)) return value;
    throw this.args.wrong(name, "a list", value);
  }

  record(name: string): Record<string, unknown> {
    const value = this.values[name] ?? {};
    if (typeof value !== "object" || Array.isArray(value) || ArrayBuffer.isView(value)) {
      throw this.args.wrong(name, "an object", value);
    }
    return value as Record<string, unknown>;
  }
}
