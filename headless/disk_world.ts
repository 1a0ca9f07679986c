/** The workbench's world on a disk: models by path, the demo's and the notebooks' from public/, kept ones below `kept/`. */
import type { Gpu } from "../kernels/gpu.ts";
import { type Files, joinPath } from "../lab/bytes.ts";
import { shippedFolder } from "../lab/demo/places.ts";
import type { World } from "../lab/workbench.ts";
import { diskFiles } from "./files.ts";

const shipped = decodeURIComponent(new URL("../public", import.meta.url).pathname);

/** @param models folder that all places are looked for in; empty for the current one, where those that ship are from public/ */
export function diskWorld(
  openGpu: () => Promise<Gpu>,
  { files = diskFiles(), models = "" }: { files?: Files; models?: string } = {},
): World {
  return {
    openGpu,
    locate(place) {
      const below = models === "" ? shippedFolder(place) : undefined;
      return { files, folder: below === undefined ? joinPath(models, place) : joinPath(shipped, below) };
    },
    shipped: { files, folder: shipped },
    kept: { files, folder: joinPath(models, "kept") },
  };
}
