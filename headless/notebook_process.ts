/**
 * The main thread of a notebook's process: carries messages between the host, at the other end of stdin and stdout, and the worker that the
 * cells run in, and ends the process where they take more memory than they may. All that it is permitted is to load that worker.
 *
 *     deno run … headless/notebook_process.ts MEGABYTES
 */
import { exits, frame, FrameError, readFrames } from "./notebook_frames.ts";

/** Milliseconds between two looks at the memory: a cell fills some hundred megabytes in that time. */
const lookEvery = 50;

const mostBytes = Number(Deno.args[0]) * 2 ** 20;

/** Ends the process with its last words. */
function end(status: number, words: string): never {
  Deno.stderr.writeSync(new TextEncoder().encode(words));
  Deno.exit(status);
}

function writeWhole(bytes: Uint8Array): void {
  while (bytes.length > 0) bytes = bytes.subarray(Deno.stdout.writeSync(bytes));
}

// Ctrl-C reaches all processes of a terminal; the host has its own way to end this one.
Deno.addSignalListener("SIGINT", () => {});

const contained = { type: "module", name: "notebook", deno: { permissions: "none" } } as WorkerOptions;
const worker = new Worker(new URL("./notebook_worker.ts", import.meta.url), contained);
worker.onerror = (event) => {
  event.preventDefault();
  end(exits.failed, event.message || "its worker failed");
};

const ways = [new MessageChannel(), new MessageChannel()].map(({ port1, port2 }, way) => {
  port1.onmessage = ({ data }) => {
    let framed: Uint8Array;
    try {
      framed = frame(way, data);
    } catch (error) {
      const why = error instanceof FrameError ? error.message : `it sent what cannot leave its process`;
      end(exits.hostile, why);
    }
    writeWhole(framed);
  };
  return { port1, port2 };
});
worker.postMessage(null, ways.map(({ port2 }) => port2));

setInterval(() => {
  if (Deno.memoryUsage().rss > mostBytes) end(exits.memory, "");
}, lookEvery);

for await (const { way, message } of readFrames(Deno.stdin.readable)) ways[way].port1.postMessage(message);
// The host has ended, whatever the cells are doing.
Deno.exit(0);
