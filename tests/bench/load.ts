/**
 * Loading a checkpoint beside reading its file, and the host memory that it takes:
 *
 *   deno task make-checkpoint --like Qwen/Qwen2.5-0.5B --out DIR && deno run -A tests/bench/load.ts DIR
 *
 * Copying is the adapter's: as many bytes as the file has, from the host to the device. Each is the best of three, with the file in the system's cache. Processor time is that of all threads, a software adapter's included.
 */
import { openGpu } from "../../headless/devices.ts";
import { diskFiles } from "../../headless/files.ts";
import { loadQwen2 } from "../../lab/qwen2.ts";

const [folder = "."] = Deno.args;
const files = diskFiles();
const path = `${folder}/model.safetensors`;
const size = await files.size(path);
const piece = 8 << 20;

/** MiB by a line of Linux's status of this process. */
function memory(line: "VmRSS" | "VmHWM"): number {
  return Number(new RegExp(`${line}:\\s+(\\d+)`).exec(Deno.readTextFileSync("/proc/self/status"))![1]) / 1024;
}

/** Seconds of processor time so far. */
function processor(): number {
  const stat = Deno.readTextFileSync("/proc/self/stat");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function best(work: () => Promise<void>): Promise<{ seconds: number; processor: number }> {
  let found = { seconds: Infinity, processor: Infinity };
  for (let round = 0; round < 3; round++) {
    const start = performance.now(), before = processor();
    await work();
    const seconds = (performance.now() - start) / 1000;
    if (seconds < found.seconds) found = { seconds, processor: processor() - before };
  }
  return found;
}

const reading = await best(async () => {
  for (let at = 0; at < size; at += piece) await files.readRange(path, at, Math.min(size, at + piece));
});
const gpu = await openGpu("auto");
const words = gpu.persistent([piece / 4], "words");
const bytes = new Uint8Array(await files.readRange(path, 0, piece));
const copying = await best(async () => {
  for (let at = 0, n = 0; at < size; at += piece) {
    gpu.upload(words, bytes);
    if (++n % 8 === 0) await gpu.finish();
  }
  await gpu.finish();
});
gpu.drop(words);
const before = memory("VmRSS");
let held = 0;
const loading = await best(async () => {
  const model = await loadQwen2(gpu, files, folder, "model");
  await gpu.finish();
  held = gpu.memory.bytes / 2 ** 20;
  model.parameters.drop();
  await gpu.finish();
});
const line = (name: string, { seconds, processor }: typeof reading) =>
  console.log(`${name.padEnd(10)} ${seconds.toFixed(2)} s, ${processor.toFixed(2)} s of processor time`);
console.log(`${path}: ${(size / 2 ** 20).toFixed(0)} MiB; ${gpu.facts.adapter}`);
line("reading", reading);
line("copying", copying);
line("loading", loading);
console.log(
  `ratio      ${(loading.seconds / reading.seconds).toFixed(2)} to reading, ${
    (loading.seconds / (reading.seconds + copying.seconds)).toFixed(2)
  } to reading and copying; host memory above the adapter's ${held.toFixed(0)} MiB: ${
    (memory("VmHWM") - before - held).toFixed(0)
  } MiB`,
);
gpu.destroy();
