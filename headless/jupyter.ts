/**
 * What `import { lab } from "precis"` gives in JupyterLab's Deno kernel, started anywhere below this repository: the lab itself, on this
 * machine's device, with nothing between it and the cells. That kernel runs everything with all permissions, so open only what you trust.
 *
 * It does not tell which cell is running: what cells make is freed with `free()` or `using`, not when they run again, and lab.random()
 * draws one stream for the whole notebook.
 */
import type { CellContext } from "../lab/notebook/lab.ts";
import { Lab } from "../lab/notebook/lab.ts";
import { ownersGrant } from "../lab/notebook/grant.ts";
import type { DisplayOutput, MimeBundle } from "../lab/notebook/ipynb.ts";
import { labObject } from "../lab/notebook/lab_object.ts";
import { randomStream } from "../lab/notebook/random_stream.ts";
import { directly } from "../lab/notebook/transport.ts";
import { Workbench } from "../lab/workbench.ts";
import { openGpu } from "./devices.ts";
import { diskWorld } from "./disk_world.ts";
import { versions } from "./versions.ts";

export type { Lab } from "../lab/notebook/lab.ts";
export type { Model, Tensor } from "../lab/notebook/handles.ts";

/** Shows a bundle; the next one with the same id takes its place. */
export type Display = (bundle: MimeBundle, options: { display_id: string; update: boolean }) => Promise<void>;

/** What Deno has in its kernel alone, and in no types. */
interface Jupyter {
  display(bundle: MimeBundle, options: { raw: true; display_id: string; update: boolean }): Promise<void>;
}

/** Deno's, in its Jupyter kernel; elsewhere the bundle's plain text is printed. */
const kernelDisplay: Display = async (bundle, options) => {
  let jupyter: Jupyter | undefined;
  try {
    ({ jupyter } = Deno as unknown as { jupyter: Jupyter });
  } catch {
    // Outside of the kernel Deno refuses to be asked.
  }
  if (jupyter) await jupyter.display(bundle, { raw: true, ...options });
  else if (!options.update) console.log(bundle["text/plain"]);
};

/** The lab of a whole notebook. @param openDevice opened at the first call that needs it */
export function jupyterLab(
  { display = kernelDisplay, openDevice = () => openGpu("auto"), seed = 0 }: {
    display?: Display;
    openDevice?: () => ReturnType<typeof openGpu>;
    seed?: number;
  } = {},
): { lab: Lab; bench: Workbench } {
  const bench = new Workbench(diskWorld(openDevice));
  const streams = new Map<string, () => number>();
  let shown = 0;
  let last: Promise<void> = Promise.resolve();
  const context: CellContext = {
    cell: "jupyter",
    seed,
    knobs: {},
    show(output) {
      const display_id = `precis-${++shown}`;
      const put = (ready: DisplayOutput | Promise<DisplayOutput>, update: boolean) => {
        last = last.then(async () => await display((await ready).data, { display_id, update })).catch(
          () => {},
        );
      };
      put(output, false);
      return (other) => put(other, true);
    },
    record() {},
    progress(done, total, note) {
      console.error(`${done}/${total} ${note}`.trim());
    },
    random(stream) {
      let next = streams.get(stream);
      if (!next) streams.set(stream, next = randomStream(seed, "jupyter", stream));
      return next();
    },
  };
  // Only whoever asks lab.facts() or for a proof is told of them, so they are looked up meanwhile.
  const facts: Record<string, string> = {};
  versions().then((found) => Object.assign(facts, found));
  const host = labObject(bench, { seed, grant: ownersGrant, versions: facts });
  return { lab: new Lab(directly(host), () => context), bench };
}

/** The lab of this kernel's notebook. */
export const lab: Lab = jupyterLab().lab;
export default lab;
