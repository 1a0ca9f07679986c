/**
 * What the pages may load, and whom they may speak to. The build writes it into each of them, so that it holds on hosts that send no
 * headers; the GPU worker inherits it (page/contained_worker.ts). Whoever can send headers sends it there, too, with `frame-ancestors`, which
 * only a header can say.
 *
 * Styles of single elements are how the strip is coloured; the referee is WebAssembly; models may come from any address that lets itself be
 * read. A frame that could go elsewhere would be a way out of the sandbox.
 */
export const pagePolicy =
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; " +
  "style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src *; frame-src 'self'; object-src 'none'; " +
  "base-uri 'none'; form-action 'none'";
