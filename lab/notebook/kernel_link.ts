/** A kernel as its host sees it, over the port that startKernel serves. */
import * as v from "valibot";
import { canonicalJson } from "../bytes.ts";
import { type Output, soundOutputs } from "./ipynb.ts";
import type { CellEvent, CellResult, KernelMessage, RunRequest } from "./kernel.ts";
import { collectOutputs, outputLimit } from "./outputs.ts";
import { cellRecordSchema, type ValueRecord } from "./records.ts";
import type { Port } from "./wire.ts";

/**
 * The host believes nothing of what a kernel says but that it said it: every message is checked, and what a cell puts out is for its reader
 * alone. It interrupts a kernel by ending its realm and starting another.
 */
export interface Kernel {
  /** Resolves once it can run cells. */
  ready: Promise<void>;
  /** Runs a cell after those that were asked for before. Rejects with a {@link KernelStopped} where the kernel is stopped first. */
  run(request: RunRequest, onEvent?: (event: CellEvent) => void): Promise<CellResult>;
  /** Gives up on it: whoever waits for a cell hears why. Its realm must be ended by whoever started it. */
  stop(why: string): void;
}

/** A kernel was stopped while a cell was running, or waited. */
export class KernelStopped extends Error {
  override name = "KernelStopped";
}

/** Messages of a kernel in a second, at most. */
const mostMessages = 200;

/** @param hostile is told once why a kernel is not listened to any more */
export function connectKernel(control: Port, hostile: (why: string) => void = () => {}): Kernel {
  const { promise: ready, resolve } = Promise.withResolvers<void>();
  const open = new Map<
    number,
    {
      resolve: (result: CellResult) => void;
      reject: (error: Error) => void;
      event: (event: CellEvent) => void;
    }
  >();
  let next = 1, second = 0, messages = 0;
  let stopped: string | undefined;
  const stop = (why: string) => {
    if (stopped !== undefined) return;
    stopped = why;
    control.onmessage = null;
    for (const { reject } of open.values()) reject(new KernelStopped(why));
    open.clear();
  };
  control.onmessage = ({ data }) => {
    const now = Math.floor(performance.now() / 1000);
    if (now !== second) [second, messages] = [now, 0];
    const message = ++messages > mostMessages ? undefined : readMessage(data);
    if (!message) {
      const why = messages > mostMessages
        ? "it floods its host with messages"
        : "it speaks to its host in a way that no kernel does";
      hostile(why);
      return stop(why);
    }
    if ("ready" in message) return resolve();
    if ("event" in message) return open.get(message.event)?.event(message.told);
    const run = open.get(message.ran);
    open.delete(message.ran);
    run?.resolve(message.result);
  };
  return {
    ready,
    run(request, event = () => {}) {
      if (stopped !== undefined) return Promise.reject(new KernelStopped(stopped));
      const run = next++;
      return new Promise((resolve, reject) => {
        open.set(run, { resolve, reject, event });
        control.postMessage({ run, request });
      });
    },
    stop,
  };
}

/** A message of a kernel, its outputs bounded anew; undefined where it is none. */
function readMessage(data: unknown): KernelMessage | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  if ("ready" in data) return { ready: true };
  if ("event" in data && typeof data.event === "number" && "told" in data) {
    const told = readEvent(data.told);
    return told && { event: data.event, told };
  }
  if ("ran" in data && typeof data.ran === "number" && "result" in data) {
    const { status, milliseconds, outputs, values } = (data.result ?? {}) as Partial<CellResult>;
    const sound = (status === "ok" || status === "error") && typeof milliseconds === "number";
    const kept = readOutputs(outputs), proofs = readValues(values);
    return sound && kept && proofs &&
        { ran: data.ran, result: { status, milliseconds, outputs: kept, values: proofs } } ||
      undefined;
  }
  return undefined;
}

function readEvent(told: unknown): CellEvent | undefined {
  if (typeof told !== "object" || told === null) return undefined;
  if ("outputs" in told) {
    const outputs = readOutputs(told.outputs);
    return outputs && { outputs };
  }
  const { done, total, note } = ("progress" in told && told.progress || {}) as Record<string, unknown>;
  if (typeof done !== "number" || typeof total !== "number" || typeof note !== "string") return undefined;
  return { progress: { done, total, note: note.slice(0, 500) } };
}

function readOutputs(value: unknown): Output[] | undefined {
  const outputs = soundOutputs(value);
  if (!outputs) return undefined;
  try {
    canonicalJson(outputs);
  } catch {
    return undefined;
  }
  // The kernel has cut them already, if it is one of ours.
  const bounded = collectOutputs(2 * outputLimit);
  for (const output of outputs) bounded.add(output);
  return bounded.list();
}

function readValues(values: unknown): ValueRecord[] | undefined {
  const { success, output } = v.safeParse(cellRecordSchema, { values });
  return success ? (output as { values: ValueRecord[] }).values : undefined;
}
