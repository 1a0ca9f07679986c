/** What a page may ask of the host of its notebook's `lab`: one notebook at a time, reached by its kernel through a port of its own. */
import type { Grant } from "./notebook/grant.ts";
import { type Lab, labObject } from "./notebook/lab_object.ts";
import { type LabHost, serveLab } from "./notebook/wire.ts";
import type { Workbench } from "./workbench.ts";

/** @param versions of what runs here, for `lab.facts()` */
export function notebookService(bench: Workbench, versions: Record<string, string>) {
  let open: { lab: Lab; end: () => Promise<void> } | null = null;

  let last: { key: string; lab: Lab } | null = null;

  const close = async (): Promise<void> => {
    const closing = open;
    open = null;
    await closing?.end();
  };

  return {
    /** Answers the calls that come through a port, in place of whatever notebook was open before. */
    async open(port: MessagePort, options: { seed: number; grant: Grant }): Promise<void> {
      await close();
      const key = JSON.stringify(options);
      // The same notebook again, with a new kernel: what was read for it need not be read anew.
      const lab = last?.key === key ? last.lab : labObject(bench, { ...options, versions });
      last = { key, lab };
      let before: Promise<unknown> = Promise.resolve(), over = false;
      // One after the other here already, so that those that wait as it is closed never begin.
      const host: LabHost = {
        call(request, event) {
          const result = before.then(() => {
            if (over) throw new Error("The notebook was closed.");
            return lab.call(request, event);
          });
          before = result.catch(() => {});
          return result;
        },
      };
      const stop = serveLab(port, host);
      open = {
        lab,
        async end() {
          over = true;
          stop();
          await before;
          lab.reset();
        },
      };
    },

    /** Resolves once the device is through with what the notebook had begun, and all that it held is freed. */
    close,

    /** Time in which the device worked for a cell, milliseconds, since the cell last began. */
    gpuMilliseconds: (cell: string): number => open?.lab.gpuMilliseconds(cell) ?? 0,

    /** Digests of the models that were opened, by place. */
    models: async (): Promise<Record<string, string>> => await open?.lab.models() ?? {},
  };
}
