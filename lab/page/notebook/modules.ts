/** Modules that notebooks import, in this browser: fetched by the page, which no cell can reach, and kept in its cache. */
import type { ModuleSource } from "../../notebook/import_graph.ts";

/** By integrity; nothing is ever asked for at these addresses. */
const keyOf = (integrity: string) =>
  new URL(`modules/${encodeURIComponent(integrity)}`, document.baseURI).href;

const opened = () => caches.open("precis-modules");

export const pageModules: ModuleSource = {
  place: "this browser’s cache",
  fetch: (address, signal) => fetch(address, { signal, credentials: "omit", referrerPolicy: "no-referrer" }),
  read: async (integrity) => {
    try {
      const kept = await (await opened()).match(keyOf(integrity));
      return kept && new Uint8Array(await kept.arrayBuffer());
    } catch {
      return undefined; // some private windows keep nothing
    }
  },
  keep: async (integrity, bytes) => {
    try {
      await (await opened()).put(keyOf(integrity), new Response(bytes));
    } catch {
      // It is fetched again, then.
    }
  },
};
