/** A fault of the device rather than of the numbers: validation, memory, loss. Names the op that was being encoded. */
export class GpuError extends Error {
  constructor(
    readonly kind: "validation" | "out-of-memory" | "internal" | "lost",
    readonly op: string,
    message: string,
  ) {
    super(`${kindWords[kind]} in ${op}: ${message}`);
    this.name = "GpuError";
  }
}

const kindWords = {
  validation: "WebGPU refused a command",
  "out-of-memory": "the GPU is out of memory",
  internal: "the GPU driver failed",
  lost: "the GPU device was lost",
};
