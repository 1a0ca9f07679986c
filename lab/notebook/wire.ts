/**
 * What travels between a cell and the host of its `lab`, and what the host makes sure of. The cell's end may be a stranger's: comlink's
 * `expose` would let it walk from any function to `Function` and run what it likes where the host is, so the host answers named calls
 * alone, looked up in tables, whose arguments are plain data that it has walked through itself.
 */

import { withoutPaths } from "./outputs.ts";

/** A call of a cell. */
export interface LabRequest {
  /** The cell that calls: it owns what the call makes. */
  cell: string;
  /** The handle whose method is called; 0 is the lab itself. */
  to: number;
  method: string;
  /** Handles as {@link HandleReference}, functions as {@link CallbackReference}. */
  args: unknown[];
}

/** Told to the caller while its call runs: callback number `callback` was called. */
export type LabEvent = (callback: number, args: unknown[]) => void;

/** What answers the calls of cells; see lab_object.ts. */
export interface LabHost {
  call(request: LabRequest, event: LabEvent): Promise<unknown>;
}

/** A thing of the host's, as a cell's end sees it. */
export interface WireHandle {
  $handle: number;
  kind: string;
  facts: Record<string, unknown>;
}

/** How a cell's end names a handle. */
export interface HandleReference {
  $handle: number;
}

/** How a cell's end names a function of its own. */
export interface CallbackReference {
  $callback: number;
}

/** Messages from the cell's end. */
export interface CallMessage extends LabRequest {
  call: number;
}

/** Messages to the cell's end. */
export type ReplyMessage =
  | { answer: number; value: unknown }
  | { answer: number; error: { name: string; message: string } }
  | { event: number; callback: number; args: unknown[] };

/** A `MessagePort`, of a page or a process. */
export interface Port {
  postMessage(message: unknown, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent) => unknown) | null;
  close(): void;
}

/** What a peer may send at most. */
export const limits = {
  /** Bytes of a call's arguments, about. */
  argumentBytes: 64 << 20,
  depth: 12,
  /** Calls that wait for their answer. */
  waiting: 1000,
  /** Calls that are answered at once in each slice of time; those beyond wait for the next. */
  slice: { calls: 200, milliseconds: 20 },
};

/** The peer sent what no honest one sends, or too much of it. */
export class HostileMessageError extends Error {
  override name = "HostileMessageError";
}

const typedArrays = [
  Float32Array,
  Float64Array,
  Uint32Array,
  Int32Array,
  Uint16Array,
  Int16Array,
  Uint8Array,
  Int8Array,
  Uint8ClampedArray,
];

/**
 * Rebuilds what a peer sent: null, undefined, booleans, numbers, bigints, strings, typed arrays, arrays and plain objects of these, and
 * references, which `resolve` replaces.
 * @throws HostileMessageError for anything else, too deep or too big
 */
export function readArgument(
  value: unknown,
  resolve: (reference: HandleReference | CallbackReference) => unknown,
): unknown {
  let bytes = 0;
  const spend = (count: number) => {
    bytes += count;
    if (bytes > limits.argumentBytes) {
      throw new HostileMessageError(`A call's arguments may have ${limits.argumentBytes >> 20} MiB at most.`);
    }
  };
  const read = (value: unknown, depth: number): unknown => {
    spend(8);
    if (value === null || ["undefined", "boolean", "number", "bigint"].includes(typeof value)) return value;
    if (typeof value === "string") {
      spend(2 * value.length);
      return value;
    }
    if (depth > limits.depth) throw new HostileMessageError("A call's arguments are nested too deeply.");
    if (typedArrays.some((kind) => value instanceof kind)) {
      spend((value as Uint8Array).byteLength);
      return value;
    }
    if (Array.isArray(value)) return value.map((item) => read(item, depth + 1));
    const prototype = typeof value === "object" ? Object.getPrototypeOf(value) : undefined;
    if (prototype !== Object.prototype && prototype !== null) {
      throw new HostileMessageError(`A call's arguments are plain data, not ${nameOfKind(value)}.`);
    }
    const record = value as Record<string, unknown>;
    if (Object.hasOwn(record, "$handle") || Object.hasOwn(record, "$callback")) {
      return resolve(record as unknown as HandleReference | CallbackReference);
    }
    const copy: Record<string, unknown> = {};
    for (const [name, field] of Object.entries(record)) {
      if (name === "__proto__") throw new HostileMessageError(`A field may not be called "${name}".`);
      copy[name] = read(field, depth + 1);
    }
    return copy;
  };
  return read(value, 0);
}

function nameOfKind(value: unknown): string {
  return value instanceof Map
    ? "a Map"
    : value instanceof Set
    ? "a Set"
    : value instanceof Date
    ? "a Date"
    : `a ${typeof value} of another kind`;
}

/**
 * Answers a port's calls from a host. Nothing that the peer sends can make it throw; a peer that sends nonsense or floods is told to
 * `hostile`, once, and not listened to any more. Its realm should be ended then. The port is left alone: Deno never comes back from closing
 * one that is being flooded.
 * @returns what stops listening
 */
export function serveLab(port: Port, host: LabHost, hostile: (why: string) => void = () => {}): () => void {
  let waiting = 0, slice = 0, calls = 0, deaf = false;
  const stop = () => {
    deaf = true;
    port.onmessage = null;
  };
  const refuse = (why: string) => {
    if (deaf) return;
    stop();
    hostile(why);
  };
  const send = (message: ReplyMessage) => {
    if (!deaf) port.postMessage(message);
  };
  const answer = (request: CallMessage) => {
    if (deaf) return;
    const { call } = request;
    host.call(request, (callback, args) => send({ event: call, callback, args }))
      .then((value) => send({ answer: call, value }))
      .catch((error) => send({ answer: call, error: told(error) }))
      .finally(() => waiting--);
  };
  port.onmessage = ({ data }) => {
    if (deaf) return;
    if (waiting >= limits.waiting) return refuse("it floods the lab with calls");
    const request = readCall(data);
    if (!request) return refuse("it speaks to the lab in a way that cells cannot");
    waiting++;
    const now = Math.floor(performance.now() / limits.slice.milliseconds);
    if (now !== slice) [slice, calls] = [now, 0];
    // Whoever waits for answers does not get here; who does not, soon has too many calls waiting.
    if (++calls > limits.slice.calls) setTimeout(answer, limits.slice.milliseconds, request);
    else answer(request);
  };
  return stop;
}

function readCall(data: unknown): CallMessage | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  const { call, cell, to, method, args } = data as Partial<CallMessage>;
  const sound = Number.isSafeInteger(call) && Number.isSafeInteger(to) && typeof method === "string" &&
    method.length < 100 && typeof cell === "string" && cell.length < 100 && Array.isArray(args) &&
    args.length < 20;
  return sound ? { call, cell, to, method, args } as CallMessage : undefined;
}

/** What a cell hears of a failure: its kind and its message, without the folders of this machine. */
function told(error: unknown): { name: string; message: string } {
  if (!(error instanceof Error)) return { name: "Error", message: "Something failed without saying why." };
  return { name: error.name, message: withoutPaths(error.message) };
}
