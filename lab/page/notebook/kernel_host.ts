/**
 * The page's end of a notebook's kernel: a worker in a sandboxed frame, with two ports out of it. One leads here and carries cells in and
 * outputs out; the other leads straight to the GPU worker and carries the calls of `lab`.
 */
import { connectKernel, type Kernel } from "../../notebook/kernel_link.ts";
import type { FrameOrder, FrameWord } from "./sandbox/frame.ts";

/** Milliseconds without a sign of life after which a frame is taken for dead. */
const silence = 15_000;

/** A kernel that runs, and what ends it. */
export interface RunningKernel extends Kernel {
  /** Resolves once it has ended, with why. */
  ended: Promise<string>;
  /** Ends it, whatever it is doing. */
  end(why: string): void;
}

/** The page's frame; kernels come and go within it. */
interface Frame {
  element: HTMLIFrameElement;
  control: MessagePort;
}

let frame: Promise<Frame> | null = null;

function openFrame(): Promise<Frame> {
  frame ??= new Promise((resolve, reject) => {
    const element = document.createElement("iframe");
    // An origin of its own, and scripts: no storage, no windows, no forms, no way to the page.
    element.setAttribute("sandbox", "allow-scripts");
    element.setAttribute("allow", "");
    element.referrerPolicy = "no-referrer";
    element.title = "Where cells run";
    element.hidden = true;
    const { port1: control, port2 } = new MessageChannel();
    const late = setTimeout(() => {
      dropFrame();
      reject(
        new Error("The sandbox that cells run in cannot be loaded: does the page’s server still answer?"),
      );
    }, 20_000);
    // The address that it is posted to is that of a document without an origin.
    element.addEventListener("load", () => element.contentWindow!.postMessage(null, "*", [port2]), {
      once: true,
    });
    control.onmessage = ({ data }: MessageEvent<FrameWord>) => {
      if (data !== "ready") return;
      clearTimeout(late);
      resolve({ element, control });
    };
    element.src = new URL("sandbox.html", document.baseURI).href;
    document.body.append(element);
  });
  return frame;
}

/** Removes the frame, and its process with it. */
function dropFrame(): void {
  frame = null;
  document.querySelector("iframe[sandbox]")?.remove();
}

/**
 * Starts a kernel, in place of the one before.
 * @param lab the kernel's end of the way to the GPU worker
 * @throws Error where the sandbox cannot be loaded
 */
export async function startKernel(lab: MessagePort): Promise<RunningKernel> {
  const { control } = await openFrame();
  const { port1: port, port2 } = new MessageChannel();
  const { promise: ended, resolve } = Promise.withResolvers<string>();
  const order = (what: FrameOrder, ports: MessagePort[] = []) => control.postMessage(what, ports);
  const kernel = connectKernel(port, (why) => end(`The kernel was ended: ${why}.`));
  let over = false;

  const end = (why: string, dead = false) => {
    if (over) return;
    over = true;
    clearInterval(watch);
    if (dead) dropFrame();
    else order("end");
    kernel.stop(why);
    resolve(why);
  };

  let heard = performance.now(), asked = heard;
  control.onmessage = ({ data }: MessageEvent<FrameWord>) => {
    heard = performance.now();
    if (typeof data === "object") end(`The kernel has stopped: ${data.failed.slice(0, 300)}.`);
  };
  // The frame itself does nothing but answer: one that does not is gone.
  const watch = setInterval(() => {
    const now = performance.now();
    // A page that was asleep did not ask meanwhile.
    if (now - asked > silence / 2) heard = now;
    asked = now;
    if (now - heard > silence) end("The sandbox has died, most likely for want of memory.", true);
    else order("ping");
  }, 1000);

  order("start", [port2, lab]);
  await Promise.race([kernel.ready, ended.then((why) => Promise.reject(new Error(why)))]);
  return { ...kernel, ended, end };
}
