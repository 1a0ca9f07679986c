/** The worker in the sandboxed frame, where cells run. */
import { sha256 } from "@noble/hashes/sha2.js";
import { startKernel } from "../../../notebook/kernel.ts";
import { sealRealm } from "../../../notebook/sandbox.ts";
import { overPort } from "../../../notebook/transport.ts";

// A realm without an origin is not a secure one in the browser's eyes, and lacks what cells may use as they do elsewhere.
if (!crypto.subtle) {
  const digest = (kind: string | { name: string }, data: ArrayBuffer | ArrayBufferView) => {
    const name = typeof kind === "string" ? kind : kind.name;
    if (name !== "SHA-256") {
      return Promise.reject(new DOMException(`${name} is not to be had here.`, "NotSupportedError"));
    }
    const bytes = ArrayBuffer.isView(data)
      ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
      : new Uint8Array(data);
    return Promise.resolve(sha256(bytes).buffer);
  };
  Object.defineProperty(crypto, "subtle", { value: Object.freeze({ digest }) });
}

addEventListener("message", ({ ports: [control, lab] }) => {
  sealRealm();
  startKernel(control, overPort(lab));
}, { once: true });
