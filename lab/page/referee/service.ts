/** What the referee's page may ask the GPU worker. */
import { type Files, joinPath, memoryFiles } from "../../bytes.ts";
import { exportModel, openSource } from "../../export/model_folder.ts";
import { compareOn, type Referee, writeBoth } from "../../referee.ts";
import type { OpenModel, Workbench } from "../../workbench.ts";
import { httpFiles } from "../http_files.ts";
import { openReferee, type Provider } from "./model.ts";

/** Files that can only be read, and a folder in memory beside them. */
function besideInMemory(source: Files, folder: string): Files {
  const memory = memoryFiles();
  const of = (path: string) => path === folder || path.startsWith(`${folder}/`) ? memory : source;
  return {
    ...memory,
    read: (path) => of(path).read(path),
    readRange: (path, start, end) => of(path).readRange(path, start, end),
    size: (path) => of(path).size(path),
    exists: (path) => of(path).exists(path),
  };
}

/** A folder's files by their paths within it; only to be read. */
function within(files: Files, folder: string): Pick<Files, "read" | "exists"> {
  return {
    read: (path) => files.read(joinPath(folder, path)),
    exists: (path) => files.exists(joinPath(folder, path)),
  };
}

export interface RefereeRequest {
  place: string;
  /** Address of a folder in the layout of `deno task export --to onnx`; empty for an export of the place's weights, made here. */
  onnx: string;
  provider: Provider;
}

/** @param page the page's address */
export function refereeService(bench: Workbench, page: () => string) {
  let open: { key: string; referee: Promise<Referee> } | null = null;

  const refereeFor = async (
    { place, onnx, provider }: RefereeRequest,
    device: GPUDevice,
    note: (doing: string) => void,
  ): Promise<Referee> => {
    let files: Pick<Files, "read" | "exists">;
    if (onnx) files = httpFiles(new URL(onnx, page()).href);
    else {
      note("Exporting the weights to ONNX");
      const { files: source, folder } = bench.world.locate(place);
      const both = besideInMemory(source, "exported");
      await exportModel(both, await openSource(both, folder), "exported", { to: "onnx", dtype: "f32" });
      files = within(both, "exported");
    }
    note("Loading transformers.js and onnxruntime-web");
    return await openReferee(files, { provider, device });
  };

  const ready = async (
    request: RefereeRequest,
    note: (doing: string) => void,
  ): Promise<[OpenModel, Referee]> => {
    note("Opening the model");
    const ours = await bench.open(request.place);
    const key = JSON.stringify([request.place, request.onnx, request.provider]);
    if (open?.key !== key) {
      await (await open?.referee.catch(() => null))?.dispose();
      open = { key, referee: refereeFor(request, ours.gpu.device, note) };
      open.referee.catch(() => open = null);
    }
    return [ours, await open.referee];
  };

  return {
    /**
     * Compares logits on a text, then lets both go on from it.
     * @param note is told what is being done
     */
    async compare(request: RefereeRequest, text: string, count: number, note: (doing: string) => void) {
      const [ours, referee] = await ready(request, note);
      const both = { gpu: ours.gpu, model: ours.model, tokenizer: await ours.tokenizer() };
      note("Logits of every position, by both");
      const comparison = await compareOn(both, referee, text);
      note("Greedy text, by both");
      const wrote = await writeBoth(both, referee, text, count);
      return { comparison, wrote, facts: ours.gpu.facts };
    },
  };
}
