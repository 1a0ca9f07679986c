/** The page's end of the GPU worker. */
import { type Remote, wrap } from "comlink";
import { Worker } from "./contained_worker.ts";
import type { Lab } from "./worker.ts";

/** The worker or its device is gone, and with it all that it held; a new one can be started. */
export class EngineLost extends Error {
  override name = "EngineLost";
}

export interface Engine {
  lab: Remote<Lab>;
  /** A call's result, unless the worker or its device is lost first: it would never answer then. */
  unlessLost<T>(call: Promise<T>): Promise<T>;
  /** Rejects with an EngineLost; never resolves. */
  lost: Promise<never>;
  stop(): void;
}

let shared: Engine | null = null;

/** The page's one engine, started at the first call; once it is stopped, the next call starts another. */
export function sharedEngine(): Engine {
  if (!shared) {
    const engine = shared = startEngine();
    const stop = engine.stop;
    engine.stop = () => {
      if (shared === engine) shared = null;
      stop();
    };
  }
  return shared;
}

export function startEngine(): Engine {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { name: "GPU" });
  const lab = wrap<Lab>(worker);
  const { promise: lost, reject } = Promise.withResolvers<never>();
  // What is left of a worker after a fault of its own would go on computing.
  lost.catch(() => worker.terminate());
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    const why = event.message?.replace(/^Uncaught (Error: )?|\.$/g, "") || "its script cannot be loaded";
    reject(new EngineLost(`The GPU worker has stopped: ${why}.`));
  });
  lab.at(document.baseURI);
  let watched: Promise<void> | null = null;
  return {
    lab,
    lost,
    unlessLost(call) {
      watched ??= lab.lost().then((why) =>
        reject(new EngineLost(`The GPU device was lost: ${why.replace(/\.$/, "")}.`))
      );
      return Promise.race([call, lost]);
    },
    stop: () => worker.terminate(),
  };
}
