/**
 * Loading a checkpoint beside reading its file, and the host memory that it takes:
 *
 *   deno task make-checkpoint --like Qwen/Qwen2.5-0.5B --out DIR && deno run -A tests/bench/load.ts DIR [--cold]
 *
 * Every line is the best of three. With --cold (root on Linux) the system forgets the file before each, so that it comes from the disk.
 * Processor time is that of all threads, a software adapter's included. Four lines tell what loading is made of:
 *   reading    the file, piece by piece
 *   host       reading and handing over to a device that computes nothing (Dawn's null backend): what loading costs beside a GPU
 *   copying    as many bytes as the file has from the host to this adapter
 *   new memory the weights' bytes in device memory, allocated and written once: on a software adapter that is work of the same cores
 */
import { openGpu, openNullDevice } from "../../headless/devices.ts";
import { diskFiles } from "../../headless/files.ts";
import { openCheckpoint } from "../../lab/checkpoint_files.ts";
import { loadQwen2 } from "../../lab/qwen2.ts";
import { fillTensors } from "../../lab/transfer.ts";

const folder = Deno.args.find((arg) => !arg.startsWith("-")) ?? ".";
const cold = Deno.args.includes("--cold");
const files = diskFiles();
const path = `${folder}/model.safetensors`;
const size = await files.size(path);
const piece = 8 << 20;
/** Elements of a device tensor: 128 MiB. */
const most = 32 << 20;
const checkpoint = await openCheckpoint(files, folder);
const counts = checkpoint.names.map((name) => ({
  name,
  count: checkpoint.shape(name).reduce((product, n) => product * n, 1),
}));
const numbers = counts.reduce((sum, { count }) => sum + count, 0);

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
    if (cold) Deno.writeTextFileSync("/proc/sys/vm/drop_caches", "1");
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
const host = await handingOver();
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
const touching = await best(async () => {
  const tensors = spans(numbers).map(({ size }) => gpu.persistent([size], "new memory"));
  for (const tensor of tensors) gpu.clear(tensor);
  await gpu.finish();
  for (const tensor of tensors) gpu.drop(tensor);
  await gpu.finish();
});
const before = memory("VmRSS");
let held = 0;
const loading = await best(async () => {
  const model = await loadQwen2(gpu, files, folder, "model");
  await gpu.finish();
  held = gpu.memory.bytes / 2 ** 20;
  model.parameters.drop();
  await gpu.finish();
});
console.log(
  `${path}: ${(size / 2 ** 20).toFixed(0)} MiB; ${gpu.facts.adapter}${cold ? "; from the disk" : ""}`,
);
for (
  const [name, { seconds, processor }] of Object.entries({
    reading,
    host,
    copying,
    "new memory": touching,
    loading,
  })
) {
  console.log(
    `${name.padEnd(10)} ${seconds.toFixed(2)} s, ${(seconds / reading.seconds).toFixed(2)} of reading; ${
      processor.toFixed(2)
    } s of processor time`,
  );
}
console.log(
  `host memory above the adapter's ${held.toFixed(0)} MiB: ${
    (memory("VmHWM") - before - held).toFixed(0)
  } MiB`,
);
gpu.destroy();

/** Reads all numbers and hands them to a device that computes nothing. It has little memory, so all go to one place. */
async function handingOver() {
  const device = await openNullDevice();
  const tensor = device.persistent([most], "numbers");
  const stretches = counts.flatMap(({ name, count }) =>
    spans(count).map((span) => ({ name, ...span, tensor, to: 0 }))
  );
  try {
    return await best(async () => {
      // What such a device says of strays is arbitrary, and said after all else.
      await fillTensors(device, checkpoint, stretches).catch(() => {});
      await device.finish();
    });
  } finally {
    device.destroy();
  }
}

/** So many elements in parts that any adapter binds. */
function spans(count: number): { from: number; size: number }[] {
  return Array.from({ length: Math.ceil(count / most) }, (_, n) => {
    const from = n * most;
    return { from, size: Math.min(most, count - from) };
  });
}
