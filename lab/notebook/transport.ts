/** The cell's end of the way to the host of `lab`: handles and functions go out as references and come back as what they stand for. */
import type { LabHost, LabRequest, Port, ReplyMessage, WireHandle } from "./wire.ts";

/** How calls get to the host. */
export interface Transport {
  call(request: LabRequest, event: (callback: number, args: unknown[]) => void): Promise<unknown>;
}

/** A thing of the host's. */
export abstract class Handle {
  /** @param number the host's for it */
  constructor(protected readonly caller: Caller, readonly number: number) {}

  protected ask<T>(method: string, ...args: unknown[]): Promise<T> {
    return this.caller.call(this.number, method, args) as Promise<T>;
  }

  /** Frees what it holds on the device; otherwise that happens when the cell that made it runs again. */
  async free(): Promise<void> {
    await this.ask("free");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.free();
  }

  /** What stands for it where it is printed. */
  abstract toString(): string;
}

/** The classes of handles by kind. */
export type HandleKinds = Record<
  string,
  new (caller: Caller, number: number, facts: Record<string, never>) => Handle
>;

/** Calls on behalf of whichever cell is running. */
export class Caller {
  private readonly known = new Map<number, Handle>();

  constructor(
    private readonly transport: Transport,
    private readonly cell: () => string,
    private readonly kinds: HandleKinds,
  ) {}

  /** @throws what the host says, with the place in the cell that called */
  async call(to: number, method: string, args: readonly unknown[]): Promise<unknown> {
    const called = new Error();
    const callbacks: ((...args: unknown[]) => void)[] = [];
    try {
      const sent = trimmed(args).map((value) => this.outgoing(value, callbacks));
      const request = { cell: this.cell(), to, method, args: sent };
      const value = await this.transport.call(
        request,
        (callback, args) => callbacks[callback]?.(...args.map((value) => this.incoming(value))),
      );
      return this.incoming(value);
    } catch (error) {
      throw relocated(error, called);
    }
  }

  private outgoing(value: unknown, callbacks: ((...args: unknown[]) => void)[]): unknown {
    if (value instanceof Handle) return { $handle: value.number };
    if (typeof value === "function") return { $callback: callbacks.push(value as () => void) - 1 };
    if (Array.isArray(value)) return value.map((item) => this.outgoing(item, callbacks));
    if (isPlain(value)) {
      return Object.fromEntries(
        Object.entries(value).map(([name, item]) => [name, this.outgoing(item, callbacks)]),
      );
    }
    return value;
  }

  private incoming(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((item) => this.incoming(item));
    if (!isPlain(value)) return value;
    if (Object.hasOwn(value, "$handle")) {
      const { $handle: number, kind, facts } = value as unknown as WireHandle;
      let handle = this.known.get(number);
      if (!handle) {
        handle = new this.kinds[kind](this, number, facts as Record<string, never>);
        this.known.set(number, handle);
      }
      return handle;
    }
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, this.incoming(item)]));
  }
}

/** Without the arguments at the end that were left out. */
function trimmed(args: readonly unknown[]): readonly unknown[] {
  let count = args.length;
  while (count > 0 && args[count - 1] === undefined) count--;
  return args.slice(0, count);
}

function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** The host's error as if it had come up where the cell called. */
function relocated(error: unknown, called: Error): Error {
  const { name, message } = error instanceof Error ? error : { name: "Error", message: String(error) };
  const kind = { TypeError, RangeError }[name] ?? Error;
  const moved = new kind(message);
  if (moved.name !== name) moved.name = name;
  const frames = called.stack?.split("\n").slice(1).join("\n") ?? "";
  moved.stack = `${name}: ${message}\n${frames}`;
  return moved;
}

/** Calls over a port; `serveLab` is at the other end. */
export function overPort(port: Port): Transport {
  let next = 1;
  const open = new Map<
    number,
    {
      resolve: (value: unknown) => void;
      reject: (error: Error) => void;
      event: (callback: number, args: unknown[]) => void;
    }
  >();
  port.onmessage = ({ data }) => {
    const message = data as ReplyMessage;
    if ("event" in message) {
      open.get(message.event)?.event(message.callback, message.args);
      return;
    }
    const call = open.get(message.answer);
    open.delete(message.answer);
    if ("error" in message) {
      call?.reject(Object.assign(new Error(message.error.message), { name: message.error.name }));
    } else call?.resolve(message.value);
  };
  return {
    call(request, event) {
      const call = next++;
      return new Promise((resolve, reject) => {
        port.postMessage({ call, ...request });
        open.set(call, { resolve, reject, event });
      });
    },
  };
}

/** Calls in this very place: for JupyterLab's kernel, where nothing is contained anyhow, and for tests. */
export function directly(host: LabHost): Transport {
  return { call: (request, event) => host.call(request, event) };
}
