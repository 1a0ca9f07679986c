/**
 * Takes from a realm what a stranger's cells have no business with, before the first of them runs. The walls are the sandboxed frame with
 * its policy, or the worker without permissions; this closes what they leave open. In Deno's worker without permissions that is the
 * GPU, which nobody would meter, other workers, channels to other notebooks, and code made from texts: a dynamic `import("npm:…")`
 * would fetch from the registry there, whatever the permissions. Cells' own imports have been rerouted by the compiler (cells.ts), and so
 * have those of the modules that they import, which run here as cells do (module_compiler.ts).
 */

/** Ways out of a realm, or into its walls. */
const withheld = [
  // Deno, Node and the runtime's own
  ..."Deno process Buffer global require nodeBootstrap __bootstrap setImmediate clearImmediate".split(" "),
  // other realms
  ..."Worker SharedWorker ServiceWorkerContainer MessageChannel BroadcastChannel importScripts".split(" "),
  // the network
  ..."fetch XMLHttpRequest WebSocket WebSocketStream WebTransport EventSource RTCPeerConnection RTCDataChannel"
    .split(" "),
  ..."webkitRTCPeerConnection Request open".split(" "),
  // storage
  ..."caches Cache CacheStorage indexedDB localStorage sessionStorage cookieStore".split(" "),
  // the channel to the host, beneath the lab
  ..."postMessage onmessage onmessageerror close name parent top opener frameElement".split(" "),
  // asking whoever sits there
  ..."alert confirm prompt".split(" "),
];

/** Of `navigator`, whose properties are its prototype's. */
const withheldOfNavigator =
  "gpu sendBeacon serviceWorker storage locks usb serial hid bluetooth mediaDevices credentials clipboard"
    .split(" ");

/** Takes it away from this realm, for good. Call it once everything that the kernel needs is loaded. */
export function sealRealm(): void {
  const world = globalThis as unknown as Record<string, unknown>;
  for (const name of withheld) take(world, name);
  for (const name of Object.getOwnPropertyNames(world)) if (/^GPU/.test(name)) take(world, name);
  const navigator = world.navigator as object | undefined;
  for (let level = navigator; level && level !== Object.prototype; level = Object.getPrototypeOf(level)) {
    for (const name of withheldOfNavigator) take(level as Record<string, unknown>, name);
  }
  forbidCodeFromText(world);
}

/** Deletes a property from wherever along the prototypes it is, or at least hides it. */
function take(holder: Record<string, unknown>, name: string): void {
  for (
    let level: object | null = holder;
    level && level !== Object.prototype;
    level = Object.getPrototypeOf(level)
  ) {
    if (!Object.hasOwn(level, name)) continue;
    try {
      if (delete (level as Record<string, unknown>)[name]) continue;
    } catch {
      // Not configurable: hidden below.
    }
    try {
      Object.defineProperty(holder, name, { value: undefined, writable: false, configurable: false });
    } catch {
      // A window's unforgeable ones, top and location: the sandbox attribute and the host's policy hold those.
    }
  }
}

/** `eval`, `Function` and its kin, and the texts that timers take. */
function forbidCodeFromText(world: Record<string, unknown>): void {
  const refuse = () => {
    throw new EvalError("A notebook's code is in its cells: no code can be made from a text.");
  };
  const kinds = [function () {}, async () => {}, function* () {}, async function* () {}];
  for (const kind of kinds) {
    const prototype = Object.getPrototypeOf(kind);
    Object.defineProperty(prototype, "constructor", { value: refuse, writable: false, configurable: false });
  }
  // `x instanceof Function` goes on working.
  refuse.prototype = Object.getPrototypeOf(function () {});
  Object.defineProperty(world, "Function", { value: refuse, writable: false, configurable: false });
  Object.defineProperty(world, "eval", { value: refuse, writable: false, configurable: false });
  for (const name of ["setTimeout", "setInterval"]) {
    const timer = world[name] as (work: unknown, ...rest: unknown[]) => unknown;
    const plain = (work: unknown, ...rest: unknown[]) =>
      typeof work === "function" ? timer(work, ...rest) : refuse();
    Object.defineProperty(world, name, { value: plain, writable: false, configurable: false });
  }
}
