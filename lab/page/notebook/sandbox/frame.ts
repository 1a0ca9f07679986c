/**
 * The only script of the sandboxed frame's document. It keeps a notebook's kernel in a worker, starts it, ends it, and tells that it is
 * still there itself; code of cells never runs here, where there are windows, frames and navigation, but in that worker, where there are none.
 */

/** From the page: start a kernel anew with the two ports that come along, end it, or tell that the frame lives. */
export type FrameOrder = "start" | "end" | "ping";
/** To the page. */
export type FrameWord = "ready" | "pong" | { failed: string };

// Without the sandbox this document would have the page's rights, whoever embeds it.
if (self.origin === "null" && parent !== self) {
  addEventListener("message", (event) => {
    if (event.source !== parent || event.ports.length !== 1) return;
    serve(event.ports[0]);
  }, { once: true });
}

function serve(control: MessagePort): void {
  const source = document.getElementById("kernel")!.textContent!;
  const script = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const say = (word: FrameWord) => control.postMessage(word);
  let kernel: Worker | null = null;
  control.onmessage = ({ data, ports }: MessageEvent<FrameOrder>) => {
    if (data === "ping") return say("pong");
    kernel?.terminate();
    kernel = null;
    if (data !== "start") return;
    const started = kernel = new Worker(script, { name: "Kernel" });
    started.addEventListener("error", (event) => {
      event.preventDefault();
      if (kernel === started) say({ failed: event.message || "its script cannot be run" });
    });
    started.postMessage(null, [...ports]);
  };
  say("ready");
}
