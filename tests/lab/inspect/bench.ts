/** A workbench over the shipped demo and any folders beside it, on the device that tests share. */
import type { Files } from "../../../lab/bytes.ts";
import { diskFiles } from "../../../headless/files.ts";
import type { Gpu } from "../../../kernels/gpu.ts";
import { Workbench } from "../../../lab/workbench.ts";

export const publicFolder = decodeURIComponent(new URL("../../../public", import.meta.url).pathname);
export const goldenFolder = decodeURIComponent(new URL("../../oracles/golden", import.meta.url).pathname);

/** Places: "base" is the demo's base model, "golden/x" a golden folder, anything else a folder of `files`. */
export function testBench(gpu: Gpu, files: Files = diskFiles()): Workbench {
  return new Workbench({
    openGpu: () => Promise.resolve(gpu),
    locate(place) {
      if (place === "base") return { files: diskFiles(), folder: `${publicFolder}/demo/base` };
      if (place.startsWith("golden/")) {
        return { files: diskFiles(), folder: place.replace("golden", goldenFolder) };
      }
      return { files, folder: place };
    },
    shipped: { files: diskFiles(), folder: publicFolder },
  });
}
