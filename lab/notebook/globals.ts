/** Names that a cell finds without declaring them. */

/** JavaScript's own. No cell may declare one of these at its top: the cells after it would not see it. */
export const languageNames: ReadonlySet<string> = new Set(
  `AggregateError Array ArrayBuffer AsyncDisposableStack Atomics BigInt BigInt64Array BigUint64Array Boolean DataView Date
  DisposableStack Error EvalError FinalizationRegistry Float16Array Float32Array Float64Array Function Infinity Int16Array
  Int32Array Int8Array Intl Iterator JSON Map Math NaN Number Object Promise Proxy RangeError ReferenceError Reflect RegExp
  Set SharedArrayBuffer String SuppressedError Symbol SyntaxError Temporal TypeError URIError Uint16Array Uint32Array Uint8Array
  Uint8ClampedArray WeakMap WeakRef WeakSet decodeURI decodeURIComponent encodeURI encodeURIComponent escape eval globalThis
  isFinite isNaN parseFloat parseInt undefined unescape`.split(/\s+/),
);

/** What the kernel hands to every cell. */
export const kernelNames: ReadonlySet<string> = new Set(["lab", "display", "console"]);

const hostNames: ReadonlySet<string> = new Set(
  `AbortController AbortSignal Blob BroadcastChannel ByteLengthQueuingStrategy CanvasGradient CompressionStream
  CountQueuingStrategy Crypto CryptoKey CustomEvent DOMException DOMMatrix DOMParser DOMPoint DOMRect DecompressionStream Deno
  Event EventTarget File FileReader FormData Headers Image ImageBitmap ImageData MessageChannel MessageEvent MessagePort Node
  OffscreenCanvas Path2D Performance ReadableStream Request Response TextDecoder TextDecoderStream TextEncoder TextEncoderStream
  TransformStream URL URLPattern URLSearchParams WebAssembly WebSocket Worker WritableStream addEventListener atob btoa
  cancelAnimationFrame clearInterval clearTimeout createImageBitmap crypto dispatchEvent document fetch location navigator
  performance queueMicrotask removeEventListener reportError requestAnimationFrame self setInterval setTimeout
  structuredClone window`.split(/\s+/),
);

/** Whether the world that a cell runs in has this name, a browser's frame or Deno. Any cell may declare it anew. */
export function isHostName(name: string): boolean {
  return hostNames.has(name) || kernelNames.has(name) || /^(GPU|HTML|SVG|WebGL)[A-Z]?/.test(name);
}
