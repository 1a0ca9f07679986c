/** Starts kernels for notebooks: each a worker without permissions, with a host of its own for its `lab` in this process. */
import type { Grant } from "../lab/notebook/grant.ts";
import { connectKernel } from "../lab/notebook/kernel_link.ts";
import { labObject } from "../lab/notebook/lab_object.ts";
import type { Started } from "../lab/notebook/run.ts";
import { serveLab } from "../lab/notebook/wire.ts";
import type { Workbench } from "../lab/workbench.ts";

export interface KernelOptions {
  /** Of the notebook. */
  seed: number;
  grant: Grant;
  versions: Record<string, string>;
}

/** A clean kernel. */
export async function startWorkerKernel(bench: Workbench, options: KernelOptions): Promise<Started> {
  // What Deno adds is missing from its types as long as it is called unstable.
  const contained = { type: "module", name: "notebook", deno: { permissions: "none" } } as WorkerOptions;
  const worker = new Worker(new URL("./notebook_worker.ts", import.meta.url), contained);
  const control = new MessageChannel(), way = new MessageChannel();
  const lab = labObject(bench, options);
  const end = () => {
    worker.terminate();
    stopServing();
    kernel.stop("the notebook was closed");
    // What a call still does on the device goes on to its end first.
    lab.settled().then(() => lab.reset());
  };
  const hostile = (why: string) => {
    worker.terminate();
    kernel.stop(`The kernel was stopped: ${why}.`);
  };
  const kernel = connectKernel(control.port1, hostile);
  const stopServing = serveLab(way.port1, lab, hostile);
  worker.onerror = (event) => {
    event.preventDefault();
    kernel.stop(`The kernel has ended: ${event.message || "its worker failed"}.`);
  };
  worker.postMessage(null, [control.port2, way.port2]);
  await kernel.ready;
  return { kernel, lab, end };
}
