/**
 * How long looking at Qwen2.5-0.5B's embedding takes on this machine: deno run -A tests/bench/inspect.ts [auto|dawn|native]
 * The table is 151,936 × 896 in f32, 544.5 MB, of made-up numbers. Times are the kernels' own, by timestamp queries, best of seven; each is held
 * against a copy of 32 or 128 MiB measured in between, since other work on the machine slows both.
 */
import { type GpuChoice, openGpu } from "../../headless/devices.ts";
import { cellStarts, heatMap } from "../../kernels/heat_map.ts";
import { histogram } from "../../kernels/histogram.ts";
import { type Matrix, matrixOf } from "../../kernels/matrix.ts";
import { rowChange } from "../../kernels/row_change.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import { measured } from "../../lab/inspect/look.ts";

const V = 151_936, D = 896, bytes = 4 * V * D;
const gpu = await openGpu((Deno.args[0] ?? "auto") as GpuChoice);
if (!gpu.facts.timestamps) throw new Error("this adapter has no timestamp queries");

/** In ranges as a model's embedding has them. */
function table(factor: number): Matrix {
  const most = Math.floor((64 << 20) / (4 * D) / 64) * 64, ranges: Tensor[] = [];
  for (let row = 0; row < V; row += most) {
    const rows = Math.min(most, V - row), tensor = gpu.persistent([rows, D], `rows ${row}`);
    const numbers = new Float32Array(rows * D);
    for (let i = 0; i < numbers.length; i++) numbers[i] = factor * Math.sin(12.9898 * (row * D + i)) ** 3;
    gpu.upload(tensor, numbers);
    ranges.push(tensor);
  }
  return matrixOf(...ranges);
}

/** Each row far from the one before it: 7919 is prime to V. */
const scattered = Uint32Array.from({ length: V }, (_, place) => place * 7919 % V);

const a = table(0.05), b = table(0.051);
await gpu.finish();
const elements = gpu.facts.software ? 1 << 23 : 1 << 25;
const [source, target] = ["source", "target"].map((name) => gpu.hold([elements], name));
const copy = () => {
  gpu.copy(target, source);
  return [gpu.empty([1], "nothing")];
};

const works: [string, number, () => Tensor[]][] = [
  ["overview in 1000 × 600", bytes, () => [heatMap(gpu, a, cellStarts(0, V, 600), cellStarts(0, D, 1000))]],
  ["overview in 100 × 600", bytes, () => [heatMap(gpu, a, cellStarts(0, V, 600), cellStarts(0, D, 100))]],
  [
    "overview, rows in order",
    bytes,
    () => [heatMap(gpu, a, cellStarts(0, V, 600), cellStarts(0, D, 1000), 1, scattered)],
  ],
  ["histogram", bytes, () => Object.values(histogram(gpu, a))],
  ["marginals of rows", bytes, () => [heatMap(gpu, a, cellStarts(0, V, V), Uint32Array.of(0, D))]],
  ["marginals of columns", bytes, () => [heatMap(gpu, a, cellStarts(0, V, 256), cellStarts(0, D, D))]],
  ["change of rows", 2 * bytes, () => [rowChange(gpu, a, b)]],
];
console.log(`${gpu.facts.adapter} (${gpu.facts.runtime}; ${gpu.facts.driver})`);
for (const [name, moved, encode] of works) {
  let best = Infinity, copied = Infinity;
  for (let trial = 0; trial < 7; trial++) {
    const { cost } = await measured(gpu, moved, encode, () => null);
    best = Math.min(best, cost.gpuMilliseconds!);
    copied = Math.min(copied, (await measured(gpu, 8 * elements, copy, () => null)).cost.gpuMilliseconds!);
  }
  const rate = moved / best / 1e6, peak = 8 * elements / copied / 1e6;
  console.log(
    `${name.padEnd(24)} ${best.toFixed(1).padStart(8)} ms  ${rate.toFixed(2).padStart(7)} GB/s, ${
      (100 * rate / peak).toFixed(0)
    } % of the copy's ${peak.toFixed(2)}`,
  );
}
gpu.destroy();
