/**
 * Starts kernels for notebooks: each a worker without permissions in a process of its own, so that a heap which is full or an engine that
 * fails takes nobody else along, with a host for its `lab` in this process.
 */
import type { Grant } from "../lab/notebook/grant.ts";
import { connectKernel } from "../lab/notebook/kernel_link.ts";
import { labObject } from "../lab/notebook/lab_object.ts";
import { withoutPaths } from "../lab/notebook/outputs.ts";
import type { Started } from "../lab/notebook/run.ts";
import { type Port, serveLab } from "../lab/notebook/wire.ts";
import type { Workbench } from "../lab/workbench.ts";
import { exits, frame, FrameError, readFrames } from "./notebook_frames.ts";

export interface KernelOptions {
  /** Of the notebook. */
  seed: number;
  grant: Grant;
  versions: Record<string, string>;
  /** Megabytes (2^20 bytes) that its process may take; {@link usualMemory} if left out. */
  memory?: number;
}

/** Of a notebook's process, megabytes: room for a large embedding as numbers, a few times over. */
export const usualMemory = 4096;

/** What Deno needs to find its cache and the system's libraries; of anything else in the environment cells are told nothing. */
const passedOn = [
  "DENO_DIR",
  "HOME",
  "XDG_CACHE_HOME",
  "LOCALAPPDATA",
  "USERPROFILE",
  "SYSTEMROOT",
  "TMPDIR",
];

function spawn(memory: number): Deno.ChildProcess {
  const place = (name: string) => decodeURIComponent(new URL(name, import.meta.url).pathname);
  const env = passedOn.flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value]];
  });
  return new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-prompt",
      "--cached-only",
      "--no-remote",
      "--no-npm",
      "--unstable-worker-options",
      // Whoever starts a worker must be permitted to read its modules.
      `--allow-read=${["../headless", "../lab", "../kernels"].map(place)}`,
      `--v8-flags=--max-old-space-size=${memory}`,
      `--config=${place("../deno.json")}`,
      place("./notebook_process.ts"),
      String(memory),
    ],
    clearEnv: true,
    env: Object.fromEntries(env),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** The process of a kernel, as its host sees it. */
interface KernelProcess {
  /** The ports that its worker has the other ends of. */
  ports: [control: Port, lab: Port];
  /** Why it ended, in words, once it did. Never, where it was killed. */
  ended: Promise<string>;
  kill(): void;
}

function openProcess(memory: number): KernelProcess {
  const child = spawn(memory);
  const writer = child.stdin.getWriter();
  const portOf = (way: number): Port => ({
    onmessage: null,
    // A process that is gone says why by how it ended.
    postMessage: (message) => void writer.write(frame(way, message)).catch(() => {}),
    close: () => {},
  });
  const ports: [Port, Port] = [portOf(0), portOf(1)];
  const stop = () => {
    // It may be over already, which is as good.
    try {
      child.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
    }
  };
  let closed = false;
  const listen = async (): Promise<string | undefined> => {
    try {
      for await (const { way, message } of readFrames(child.stdout)) {
        if (!closed) ports[way].onmessage?.(new MessageEvent("message", { data: message }));
      }
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      stop();
      return `The kernel was stopped: ${error.message}.`;
    }
  };
  const ended = Promise.all([listen(), lastWords(child.stderr)]).then(async ([unreadable, words]) => {
    const status = await child.status;
    return closed ? await new Promise<never>(() => {}) : unreadable ?? whyEnded(status, words, memory);
  });
  return {
    ports,
    ended,
    kill() {
      closed = true;
      stop();
    },
  };
}

/** The end of what it wrote to stderr. */
async function lastWords(stderr: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  let words = "";
  for await (const text of stderr.pipeThrough(new TextDecoderStream())) words = (words + text).slice(-4000);
  return words;
}

function whyEnded({ code, signal }: Deno.CommandStatus, words: string, memory: number): string {
  // V8 ends a process where there is no room left on its heap, before anybody can look.
  if (code === exits.memory || /out of memory/.test(words)) {
    return `The notebook's cells needed more than ${memory} MB of memory; keep less in variables, ` +
      "or allow more with --memory.";
  }
  if (code === exits.hostile) return `The kernel was stopped: ${words}.`;
  const how = code === exits.failed
    ? withoutPaths(words.trim().split("\n")[0]).slice(0, 500)
    : signal === "SIGKILL"
    ? "the system ended its process, perhaps for want of memory"
    : `its process ended with ${signal ?? `status ${code}`}`;
  return `The kernel has ended: ${how}.`;
}

/** A clean kernel. @throws where its process does not come to run */
export async function startWorkerKernel(bench: Workbench, options: KernelOptions): Promise<Started> {
  const process = openProcess(options.memory ?? usualMemory);
  const [control, way] = process.ports;
  const lab = labObject(bench, options);
  const end = () => {
    process.kill();
    stopServing();
    kernel.stop("the notebook was closed");
    // What a call still does on the device goes on to its end first.
    lab.settled().then(() => lab.reset());
  };
  const hostile = (why: string) => {
    process.kill();
    kernel.stop(`The kernel was stopped: ${why}.`);
  };
  const kernel = connectKernel(control, hostile);
  const stopServing = serveLab(way, lab, hostile);
  const ended = process.ended.then((why) => {
    kernel.stop(why);
    return why;
  });
  const failure = await Promise.race([kernel.ready, ended]);
  if (failure !== undefined) throw new Error(failure);
  return { kernel, lab, end };
}
