/** The worker that owns the GPU. Pages speak to it over comlink, with the services below; models come over HTTP. */
import { expose, type ProxyMarked } from "comlink";
import { openDevice } from "../../kernels/device.ts";
import { Gpu } from "../../kernels/gpu.ts";
import { isDemoPlace, Workbench } from "../workbench.ts";
import { notebookService } from "../notebook_service.ts";
import { writingService } from "../writing_service.ts";
import { httpFiles } from "./http_files.ts";
import { refereeService } from "./referee_service.ts";

/** The page's address, which places are relative to. */
let page = self.location.href;

const lost = Promise.withResolvers<string>();

const bench = new Workbench({
  openGpu: openBrowserGpu,
  locate: (place, received) => {
    const url = new URL(isDemoPlace(place) ? `demo/${place}` : place, page).href;
    return { files: httpFiles(url, received), folder: "" };
  },
  get shipped() {
    return { files: httpFiles(page), folder: "" };
  },
});

/** What a page may ask for. */
const services = {
  /** Says where the page is; the first thing that it says. */
  at(address: string): void {
    page = new URL(".", address).href;
  },

  /** Resolves once the device, whenever it was opened, is lost, with the reason. */
  lost: (): Promise<string> => lost.promise,

  writing: writingService(bench),
  notebook: notebookService(bench, {
    browser: /(?:Firefox|Chrom(?:e|ium)|Version)\/[\d.]+/.exec(navigator.userAgent)?.[0] ?? "unknown",
  }),
  referee: refereeService(bench, () => page),
};

/** The services as comlink's types see them: reached through, never copied. */
export type Lab = {
  [Name in keyof typeof services]: typeof services[Name] extends (...given: never[]) => unknown
    ? typeof services[Name]
    : typeof services[Name] & ProxyMarked;
};

/** Chromium's WebGPU is Dawn; every other browser has one of its own. */
async function openBrowserGpu(): Promise<Gpu> {
  if (!navigator.gpu) throw new Error("This browser has no WebGPU in workers.");
  if (!await navigator.gpu.requestAdapter()) {
    throw new Error(
      "This browser has WebGPU but finds no graphics adapter for it; look at its page chrome://gpu or about:support.",
    );
  }
  const runtime = /Chrom(e|ium)\//.test(navigator.userAgent) ? "dawn" : "browser";
  const gpu = new Gpu(await openDevice(navigator.gpu, { runtime }));
  gpu.device.lost.then(({ message }) => lost.resolve(message || "no reason was given"));
  return gpu;
}

expose(services);
