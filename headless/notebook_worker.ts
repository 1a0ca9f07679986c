/**
 * Where the cells of a notebook run headless: a worker without permissions in a process of its own (notebook_process.ts), which reaches the
 * world through two ports alone.
 */
import { startKernel } from "../lab/notebook/kernel.ts";
import { sealRealm } from "../lab/notebook/sandbox.ts";
import { overPort } from "../lab/notebook/transport.ts";

const scope = self as unknown as { onmessage: ((event: MessageEvent) => void) | null };

scope.onmessage = ({ ports: [control, lab] }) => {
  scope.onmessage = null;
  // Cells are given one that puts out; this one would write between the messages to the host.
  Reflect.deleteProperty(globalThis, "console");
  sealRealm();
  startKernel(control, overPort(lab));
};
