/** The worker that owns the GPU. Pages speak to it over comlink, with the services below; models come over HTTP. */
import { expose, type ProxyMarked } from "comlink";
import { openDevice } from "../../kernels/device.ts";
import { Gpu } from "../../kernels/gpu.ts";
import { inspectService } from "../inspect/service.ts";
import { shippedFolder } from "../demo/places.ts";
import { notebookService } from "../notebook_service.ts";
import { Workbench } from "../workbench.ts";
import { writingService } from "../writing_service.ts";
import { httpFiles } from "./http_files.ts";
import { keptWeights } from "./storage/kept_weights.ts";
import { privateFiles } from "./storage/private_files.ts";
import { refereeService } from "./referee/service.ts";
import { keptFolder, storageService } from "./storage/service.ts";

/** The page's address, which places are relative to. */
let page = self.location.href;

const lost = Promise.withResolvers<string>();

const stored = privateFiles(navigator.storage);

const bench = new Workbench({
  openGpu: openBrowserGpu,
  locate: (place, received) => {
    if (place.startsWith("kept/")) return { files: stored, folder: place };
    const url = new URL((shippedFolder(place) ?? place).replace(/\/*$/, "/"), page).href;
    const tagOf = (path: string) => tagAt(new URL(path, url).href);
    return { files: keptWeights(httpFiles(url, received), url, stored, tagOf), folder: "" };
  },
  kept: { files: stored, folder: keptFolder },
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

  storage: storageService(stored, navigator.storage),
  inspect: inspectService(bench),
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

/** What the server calls the present state of a file, if it does. */
async function tagAt(url: string): Promise<string | null> {
  const answer = await fetch(url, { method: "HEAD", cache: "no-store" });
  return answer.ok ? answer.headers.get("etag") : null;
}

/** There is no device to be had in this browser, whatever is done. */
class NoGpuError extends Error {
  override name = "NoGpuError";
}

/** Chromium's WebGPU is Dawn; every other browser has one of its own. */
async function openBrowserGpu(): Promise<Gpu> {
  if (!navigator.gpu) throw new NoGpuError("This browser has no WebGPU in workers.");
  if (!await navigator.gpu.requestAdapter()) {
    throw new NoGpuError(
      "This browser has WebGPU but finds no graphics adapter for it; look at its page chrome://gpu or about:support.",
    );
  }
  const runtime = /Chrom(e|ium)\//.test(navigator.userAgent) ? "dawn" : "browser";
  const gpu = new Gpu(await openDevice(navigator.gpu, { runtime }));
  gpu.device.lost.then(({ message }) => lost.resolve(message || "no reason was given"));
  return gpu;
}

expose(services);
