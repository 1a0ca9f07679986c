/** The page's end of the GPU worker. */
import { proxy, type Remote, wrap } from "comlink";
import type { Lab, Opened } from "./worker.ts";

/** The worker or its device is gone, and with it all that it held; a new one can be started. */
export class EngineLost extends Error {
  override name = "EngineLost";
}

export interface Engine {
  lab: Remote<Lab>;
  /** Opens GPU and model, at the first call. */
  open(model: string, received: (bytes: number) => void): Promise<Opened>;
  /** A call's result, unless the worker is lost first: it would never answer then. */
  unlessLost<T>(call: Promise<T>): Promise<T>;
  /** Rejects with an EngineLost; never resolves. */
  lost: Promise<never>;
  stop(): void;
}

export function startEngine(): Engine {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: "GPU" });
  const lab = wrap<Lab>(worker);
  const { promise: lost, reject } = Promise.withResolvers<never>();
  // What is left of a worker after a fault of its own would go on computing.
  lost.catch(() => worker.terminate());
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    const why = event.message?.replace(/^Uncaught (Error: )?|\.$/g, "") || "its script cannot be loaded";
    reject(new EngineLost(`The GPU worker has stopped: ${why}.`));
  });
  const unlessLost = <T>(call: Promise<T>) => Promise.race([call, lost]);
  let opened: Promise<Opened> | null = null;
  return {
    lab,
    lost,
    unlessLost,
    open(model, received) {
      opened ??= unlessLost(lab.open(model, proxy(received))).then((what) => {
        lab.lost().then((why) =>
          reject(new EngineLost(`The GPU device was lost: ${why.replace(/\.$/, "")}.`))
        );
        return what;
      });
      opened.catch(() => opened = null);
      return opened;
    },
    stop: () => worker.terminate(),
  };
}
