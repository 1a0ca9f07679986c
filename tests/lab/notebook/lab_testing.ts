/** What the tests of the notebook's running side share: a workbench on the device under test, and a lab that is called directly. */
import { diskFiles } from "../../../headless/files.ts";
import { openGpu } from "../../../headless/devices.ts";
import type { CellContext } from "../../../lab/notebook/lab.ts";
import { Lab } from "../../../lab/notebook/lab.ts";
import { type Grant, ownersGrant } from "../../../lab/notebook/grant.ts";
import { type Lab as LabHost, labObject } from "../../../lab/notebook/lab_object.ts";
import type { DisplayOutput } from "../../../lab/notebook/ipynb.ts";
import type { ValueRecord } from "../../../lab/notebook/records.ts";
import { randomStream } from "../../../lab/notebook/random_stream.ts";
import { directly } from "../../../lab/notebook/transport.ts";
import { shippedFolder } from "../../../lab/demo/places.ts";
import { Workbench } from "../../../lab/workbench.ts";
import { testRuntime } from "../../kernels/testing.ts";

const shipped = decodeURIComponent(new URL("../../../public", import.meta.url).pathname);

export function testBench(): Workbench {
  const files = diskFiles();
  return new Workbench({
    openGpu: () => openGpu(testRuntime),
    locate(place) {
      const below = shippedFolder(place);
      return { files, folder: below === undefined ? place : `${shipped}/${below}` };
    },
    shipped: { files, folder: shipped },
  });
}

/** A cell that keeps what it is given to show and to prove. */
export interface TestCell extends CellContext {
  shown: DisplayOutput[];
  records: ValueRecord[];
}

export function testCell(cell = "a", seed = 7): TestCell {
  const shown: DisplayOutput[] = [], records: ValueRecord[] = [];
  const streams = new Map<string, () => number>();
  return {
    cell,
    seed,
    knobs: {},
    shown,
    records,
    show(output) {
      const at = shown.push({ output_type: "display_data", data: {}, metadata: {} }) - 1;
      Promise.resolve(output).then((ready) => shown[at] = ready);
      return (other) => shown[at] = other;
    },
    record: (value) => void records.push(value),
    progress() {},
    random(stream) {
      if (!streams.has(stream)) streams.set(stream, randomStream(seed, cell, stream));
      return streams.get(stream)!();
    },
  };
}

/** A test with a lab on the device under test. `cells.current` is the cell that calls. */
export function labTest(
  name: string,
  body: (given: { lab: Lab; host: LabHost; cells: { current: TestCell }; bench: Workbench }) => Promise<void>,
  grant: Partial<Grant> = {},
): void {
  Deno.test({
    name,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const bench = testBench();
      const host = labObject(bench, { seed: 7, grant: { ...ownersGrant, ...grant }, versions: {} });
      const cells = { current: testCell() };
      try {
        await body({ lab: new Lab(directly(host), () => cells.current), host, cells, bench });
      } finally {
        await host.settled();
        host.reset();
        await bench.destroy();
      }
    },
  });
}
