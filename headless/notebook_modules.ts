/** Modules that notebooks import, on this machine: fetched once, and kept beside what other libraries keep in Hugging Face's cache. */
import { type Files, joinPath } from "../lab/bytes.ts";
import type { ModuleSource } from "../lab/notebook/import_graph.ts";

/** @param assets folder of the cache for what is in no repository (hub_settings.ts) */
export function diskModules(files: Files, assets: string): ModuleSource {
  const place = joinPath(assets, "precis", "modules");
  /** Base64 has slashes, and means both cases; names of files do not on every disk. */
  const pathOf = (integrity: string) => {
    const [kind, digest] = integrity.split("-");
    const hex = Array.from(atob(digest), (c) => c.charCodeAt(0).toString(16).padStart(2, "0")).join("");
    return joinPath(place, `${kind}-${hex}.js`);
  };
  return {
    place,
    fetch: (address, signal) => fetch(address, { signal, credentials: "omit" }),
    read: async (integrity) => {
      const path = pathOf(integrity);
      if (!await files.exists(path)) return undefined;
      return await files.read(path) as Uint8Array<ArrayBuffer>;
    },
    keep: async (integrity, bytes) => {
      try {
        await files.makeDirectory(place);
        await files.writeAtomic(pathOf(integrity), bytes);
      } catch {
        // A cache that is full, or may not be written, costs nothing but another fetch.
      }
    },
  };
}
